"""What `spower` says of a living cluster: true numbers, promises that are kept, and a panic switch."""

import json
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slurm_power.core.errors import PowerError
from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster


@pytest.fixture
def home(unwatched: Driver) -> Iterator[Driver]:
    """Back in enforce at the end."""
    yield unwatched
    unwatched.cluster.run("spower", "mode", "enforce")


def spower(home: Driver, *words: str, code: int = 0) -> dict[str, Any]:
    """By root: the users of the sandbox may not be allowed into the directory of this Python."""
    done = home.cluster.call("spower", *words, "--json")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_zones_tell_what_slurm_counts(home: Driver) -> None:
    home.running(home.submit(est_w=9_000, more=",zones=a"), home.submit(est_w=3_001, more=",zones=c"))
    loads = home.agree()
    said = spower(home, "zones")
    for each in said["zones"]:
        room = home.floor.room[each["name"]]
        assert each["committed_w"] == each["baseline_w"] + loads[each["name"]]
        assert each["headroom_w"] == each["usable_w"] - each["committed_w"] == room - loads[each["name"]]
        assert (each["license_used"], each["license_total"]) == (loads[each["name"]], room)
    for each in said["feeds"]:
        assert each["headroom_w"] == home.floor.room[each["name"]] - loads[each["name"]]
        assert each["license_used"] in (None, loads[each["name"]])
    assert {each["name"]: each["license"] for each in said["feeds"]}["f-a"] == "pw_f-a"


@pytest.mark.parametrize(
    ("comment", "code", "verdict"),
    [
        ("power:est=8kW,zones=c", 0, "admit"),
        ("power:est=9kW,zones=c", 3, "hold"),
        ("power:est=17001W,zones=c", 4, "reject"),
        ("power:est=1kW,zones=nowhere", 4, "reject"),
    ],
)
def test_check_says_what_submission_does(home: Driver, comment: str, code: int, verdict: str) -> None:
    home.running(home.submit(est_w=9_000, more=",zones=c"))
    said = spower(home, "check", "--comment", comment, code=code)
    assert said["verdict"] == verdict
    assert home.ask("health")["claims"] == 1
    options = ("--parsable", "--output=/dev/null", f"--comment={comment}", "--wrap=sleep 60")
    done = home.cluster.call("sbatch", *options, user="alice")
    if verdict == "reject":
        assert done.returncode != 0
        assert said["reasons"][0]["text"] in done.stderr
    elif verdict == "hold":
        home.still_held(int(done.stdout))
    else:
        home.running(int(done.stdout))


def test_explain_names_the_rack_the_numbers_and_the_job_that_makes_room(home: Driver) -> None:
    first = home.submit("--time=10", est_w=9_000, more=",zones=c")
    home.running(first)
    waits = home.submit("--time=10", est_w=12_000, more=",zones=c")
    home.held(waits)
    home.settle(1)
    said = spower(home, "explain", str(waits))
    short = next(reason for reason in said["reasons"] if reason["subject"] == "c")
    assert (short["asked_w"], short["free_w"], short["short_w"]) == (12_000, 8_000, 4_000)
    assert said["verdict"] == "hold"
    assert said["earliest_start"] is not None
    assert str(first) in json.dumps(said["helps"])
    said = spower(home, "explain", str(first))
    assert (said["verdict"], said["state"], said["zones"]) == ("admit", "running", ["c"])


def test_the_report_tells_a_jobs_whole_life(home: Driver) -> None:
    first = home.submit(est_w=9_000, more=",zones=c")
    home.running(first)
    second = home.submit(est_w=9_000, more=",zones=c", script="true")
    home.held(second)
    home.cluster.run("scancel", str(first))
    home.cluster.wait_job(second, "COMPLETED")
    home.settle(1)
    said = spower(home, "report")
    life = [line for line in said["decisions"] if line["job"] == str(second)]
    assert [line["action"] for line in life] == ["hold", "release", "launch", "end", "run"]
    assert {tuple(line["zones"]) for line in life[1:]} == {("c",)}
    assert said["counts"]["hold"] >= 1
    assert {line["mode"] for line in said["decisions"]} == {"enforce"}


@contextmanager
def being(user: str) -> Iterator[None]:
    """What the daemon is asked meanwhile is asked by a user, as the kernel tells it."""
    os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_everybody_may_look_and_root_alone_may_switch(home: Driver) -> None:
    with being("carol"):
        assert home.ask("mode")["mode"] == "enforce"
        assert home.ask("jobs")["jobs"] == []
        with pytest.raises(PowerError, match="only root and SlurmUser"):
            home.ask("mode", mode="observe")
    assert home.ask("mode")["mode"] == "enforce"


def test_observe_releases_every_power_hold_and_only_those(home: Driver) -> None:
    home.running(home.submit(est_w=17_000, more=",zones=c"))
    ours = [home.submit(est_w=9_000, more=",zones=c") for _ in range(3)]
    theirs = home.submit("--hold", est_w=1_000)
    array = home.submit("--array=0-2", est_w=9_000, more=",zones=c")
    for job_id in (*ours, array):
        home.held(job_id)
    home.settle(1)
    assert home.cluster.run("spower", "mode", "observe")
    home.running(*ours)
    home.cluster.wait(lambda: len(home.on_nodes()), lambda count: count == 7, "everything that we held")
    assert home.cluster.job(theirs)["Priority"] == "0"
    free = home.submit(est_w=99_000)  # nothing is refused either
    home.running(free)
    assert home.cluster.job(theirs)["JobState"] == "PENDING"


def test_back_in_enforce_what_runs_counts(home: Driver) -> None:
    home.cluster.run("spower", "mode", "observe")
    running = home.submit(est_w=12_000, more=",zones=b")
    home.running(running)
    zone = home.floor.zone_of[home.cluster.job(running)["NodeList"]]
    home.cluster.run("spower", "mode", "enforce")
    home.settle(1)
    assert home.ledger()[zone] == 12_000
    home.still_held(home.submit(est_w=9_000, more=f",zones={zone}"))
