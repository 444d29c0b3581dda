"""Preemption for watts on a real cluster: who gives way, with which notice, and that they come back and go on."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = """\
defaults: {margin: 0%, max_factor: 1}
feeds:
  left:  {side: A, limit: 45kW}
  right: {side: B, limit: 45kW}
zones:
  a: {nodes: "a[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
  b: {nodes: "b[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
partitions:
  work: {zones: "a,b"}
tiers:
  gold:   {qos: gold, notice: never}
  silver: {qos: silver, notice: 4s}
  bronze: {qos: bronze, notice: 0s}
"""
NOTICE_S = 4
AT_ONCE_S = 10.0
TELLS = """\
import json, os, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
link.sendall(json.dumps({"v": 1, "op": "checkpointed", "job": os.environ["SLURM_JOB_ID"]}).encode() + b"\\n")
print(link.makefile().readline())
"""
"""What `spower checkpointed` does, for users who cannot run the Python that the tests run in."""


def submit(home: Driver, qos: str, est_w: int, zone: str, script: str = "sleep 300") -> int:
    return home.submit(f"--qos={qos}", est_w=est_w, more=f",zones={zone}", script=script)


def started_after(home: Driver, job_id: int, since: float) -> float:
    """Seconds from then until the job runs."""
    while home.cluster.job(job_id)["JobState"] != "RUNNING":
        assert time.monotonic() - since < 60, home.ask("explain", job=str(job_id))
        time.sleep(0.05)
    return time.monotonic() - since


def story(home: Driver, *actions: str) -> list[dict[str, Any]]:
    return [line for line in home.ask("audit", limit=1_000)["lines"] if line["action"] in actions]


def comes_back(home: Driver, job_id: int, *makes_room: str) -> None:
    """It waits for power and for nobody's hold, and runs again once that command has made room."""
    home.held(job_id)
    (entry,) = home.entries(job_id)
    assert entry["hold"] == "power"
    home.cluster.run(*makes_room)
    home.may_start_now(job_id)
    home.running(job_id)
    assert home.cluster.job(job_id)["Restarts"] == "1"


def test_gold_takes_just_the_bronze_job_that_the_rule_names(home: Driver) -> None:
    """The least watts that suffice, of the lowest tier; at once, for bronze has no notice. Then it goes on."""
    large, small = submit(home, "bronze", 12_000, "a"), submit(home, "bronze", 7_000, "a")
    silver, elsewhere = submit(home, "silver", 12_000, "b"), submit(home, "gold", 7_000, "b")
    home.running(large, small, silver, elsewhere)
    since = time.monotonic()
    gold = submit(home, "gold", 6_000, "a")
    took_s = started_after(home, gold, since)
    print(f"gold runs {took_s:.1f} s after its submission")
    assert took_s < AT_ONCE_S
    home.held(small)
    home.running(large, silver, elsewhere)
    assert [line["job"] for line in story(home, "preempt")] == [str(small)]
    (line,) = story(home, "preempt")
    assert (line["rule"], line["numbers"]["est_w"], line["numbers"]["notice_s"]) == ("preempt", 7_000, 0)
    assert str(gold) not in line["cause"]
    (who,) = story(home, "preemption")
    assert who["cause"] == f"{small} (bronze) give way to {gold}"
    comes_back(home, small, "scancel", str(gold))


def test_silver_is_signalled_and_has_its_notice_to_the_second(home: Driver, notes: Path) -> None:
    alive = f"date +%s.%N >{notes}/new && mv {notes}/new {notes}/alive"  # whole, also where it is killed meanwhile
    script = f"trap 'date +%s.%N >{notes}/warned' URG\nwhile :; do sleep 0.1; {alive}; done"
    silver = submit(home, "silver", 19_000, "a", script)
    home.running(silver)
    gold = submit(home, "gold", 15_000, "a")
    warned = notes / "warned"
    home.cluster.wait(warned.exists, bool, "the signal")
    told = home.ask("explain", job=str(silver))["preemption"]
    assert "requeued at 20" in told, told
    assert "1 job with 19kW" in home.ask("explain", job=str(gold))["preemption"]
    home.running(gold)
    had_s = float((notes / "alive").read_text()) - float(warned.read_text())
    print(f"silver ran on for {had_s:.2f} s after the signal; its notice is {NOTICE_S} s")
    assert NOTICE_S - 0.3 <= had_s < NOTICE_S + 2  # it looks ten times a second
    comes_back(home, silver, "scancel", str(gold))


def test_the_notice_is_called_off(home: Driver, notes: Path) -> None:
    silver = submit(home, "silver", 19_000, "a", f"trap 'touch {notes}/warned' URG\nwhile :; do sleep 0.1; done")
    home.running(silver)
    gold = submit(home, "gold", 15_000, "a")
    home.cluster.wait((notes / "warned").exists, bool, "the signal")
    home.cluster.run("scancel", str(gold))
    home.cluster.wait(lambda: len(story(home, "preemption-called_off")), bool, "it to be called off")
    time.sleep(NOTICE_S + 1)
    assert home.cluster.job(silver)["Restarts"] == "0"
    assert home.cluster.job(silver)["JobState"] == "RUNNING"


def test_a_job_tells_of_its_own_checkpoint(home: Driver, notes: Path) -> None:
    """Of two alike the one goes that loses less; said from within the job, by its owner alone."""
    (notes / "tells.py").write_text(TELLS)
    tells = f"/usr/bin/python3 {notes}/tells.py {home.cluster.layout.run}/control.sock >{notes}/said"
    older = submit(home, "bronze", 9_000, "a", f"sleep 6; {tells}; sleep 300")
    home.running(older)
    time.sleep(2)
    newer = submit(home, "bronze", 9_000, "a")
    home.running(newer)
    said = notes / "said"
    home.cluster.wait(lambda: said.exists() and said.read_text(), bool, "the job's own word")
    assert json.loads(said.read_text())["result"]["job"] == str(older)
    gold = submit(home, "gold", 9_000, "a")
    home.running(gold, newer)
    home.held(older)


@pytest.fixture
def spring(home: Driver) -> Iterator[Callable[[], dict[str, Any]]]:
    """Shows the reservation of that name, which ends with the test."""
    yield lambda: home.ask("reservations", names=["spring"])["reservations"][0]
    home.cluster.call("sreservation", "cancel", "spring")


def test_a_reservation_in_the_place_of_jobs_begins_once_they_have_given_way(
    home: Driver, spring: Callable[[], dict[str, Any]]
) -> None:
    silver = submit(home, "silver", 17_000, "a")
    home.running(silver)
    create = ("create", "spring", "--zones=a", "--watts=11kW", "--duration=1:00:00", "--accounts=research")
    assert home.cluster.call("sreservation", "check", *create[2:], "--tier=gold").returncode == 3
    made = home.cluster.call("sreservation", *create, "--tier=gold", "--policy=preempt")
    assert made.returncode == 0, (made.stdout, made.stderr)
    assert "jobs of lower tiers are to give way before it begins" in made.stdout
    one = home.cluster.wait(spring, lambda one: "giving way" in one["cause"], "silver to be told")
    assert (one["state"], one["cause"]) == ("approved", "its window is open; jobs are giving way to it")
    home.cluster.wait(spring, lambda one: one["state"] == "active", "spring to begin")
    show = ("scontrol", "-o", "show", "res")
    home.cluster.wait(lambda: home.cluster.run(*show), lambda said: "Licenses=pw_a:11000" in said, "Slurm to have it")
    (who,) = story(home, "preempting")[-1:]
    assert who["reservation"] == "spring"
    comes_back(home, silver, "sreservation", "cancel", "spring")
