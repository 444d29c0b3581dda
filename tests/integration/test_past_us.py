"""What administrators do, and what comes past the hook: none of it reaches us but by Slurm's own records."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.driver import Driver, wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def site(racks: Driver) -> Driver:
    return racks


@contextmanager
def nothing_starts(home: Driver) -> Iterator[None]:
    """Slurm takes jobs in meanwhile, and starts none."""
    home.cluster.run("scontrol", "update", "partitionname=main", "state=down")
    try:
        yield
    finally:
        home.cluster.run("scontrol", "update", "partitionname=main", "state=up")


def hold_of(home: Driver, job_id: int) -> str:
    return next((str(entry["hold"]) for entry in home.entries(job_id)), "")


def test_an_administrators_hold_stays_until_he_lifts_it(home: Driver) -> None:
    blocks = home.submit(est_w=9_000, more=",zones=c")
    home.running(blocks)
    waits = home.submit(est_w=12_000, more=",zones=c")
    home.held(waits)
    assert home.cluster.job(waits)["Reason"] == "JobHeldUser"
    home.cluster.run("scontrol", "hold", str(waits))
    wait_for(lambda: hold_of(home, waits) == "admin", "the hold to be seen")
    home.cluster.run("scancel", str(blocks))
    home.settle()
    assert not home.scontrol("release", str(waits), user="alice")
    home.settle()
    assert (home.cluster.job(waits)["Reason"], hold_of(home, waits)) == ("JobHeldAdmin", "admin")
    with nothing_starts(home):  # else it might, before we look, and the gate would count it on whatever nodes it got
        home.cluster.run("scontrol", "release", str(waits))
        wait_for(lambda: hold_of(home, waits) != "admin", "the release to be seen")
        wait_for(lambda: home.state(waits) == "admitted", "its admission")
    home.running(waits)
    assert home.agree()["c"] == 12_000


def test_what_he_releases_before_its_time_is_held_again_for_power_alone(home: Driver) -> None:
    blocks = home.submit(est_w=9_000, more=",zones=c")
    home.running(blocks)
    waits = home.submit("--begin=now+1hour", est_w=12_000, more=",zones=c")
    home.cluster.run("scontrol", "hold", str(waits))
    wait_for(lambda: hold_of(home, waits) == "admin", "the hold to be seen")
    home.cluster.run("scontrol", "release", str(waits))
    wait_for(lambda: home.cluster.job(waits)["Reason"] == "JobHeldUser", "our hold")
    assert hold_of(home, waits) == "power"


def test_by_uhold_he_leaves_it_to_its_owner(home: Driver) -> None:
    blocks = home.submit(est_w=9_000, more=",zones=c")
    home.running(blocks)
    waits = home.submit(est_w=12_000, more=",zones=c")
    home.held(waits)
    home.cluster.run("scontrol", "hold", str(waits))
    wait_for(lambda: hold_of(home, waits) == "admin", "the hold to be seen")
    home.cluster.run("scontrol", "uhold", str(waits))
    wait_for(lambda: hold_of(home, waits) == "both", "its change to be seen")
    home.cluster.run("scancel", str(blocks))
    home.settle()
    assert home.cluster.job(waits)["Priority"] == "0"
    assert home.scontrol("release", str(waits), user="alice")
    home.running(waits)


def test_a_preference_that_came_past_the_hook(home: Driver) -> None:
    conf = home.cluster.layout.slurm_conf
    with_us = conf.read_text()
    conf.write_text(re.sub(r"(?m)^JobSubmitPlugins=.*$", "", with_us))
    home.cluster.run("scontrol", "reconfigure")
    try:
        job_id = home.submit("--prefer=pw_a", "--hold", est_w=9_000, more=",zones=b")
    finally:
        conf.write_text(with_us)
        home.cluster.run("scontrol", "reconfigure")
    wait_for(lambda: home.state(job_id) == "parked", "the job to be seen")
    assert home.scontrol("release", str(job_id), user="alice")
    home.running(job_id)
    job = home.cluster.job(job_id)
    assert (job["NodeList"][0], job.get("Prefer", "(null)")) == ("b", "(null)")
    assert home.agree()["b"] == 9_000


def test_a_partition_made_a_moment_ago(home: Driver) -> None:
    home.settle()
    home.cluster.run("scontrol", "create", "partition=fresh", "nodes=c[1-2]", "state=up")
    try:
        job_id = home.submit("--partition=fresh", est_w=9_000)
        assert home.cluster.job(job_id)["Priority"] == "0"
        home.running(job_id)
        assert home.agree()["c"] == 9_000
        said = home.cluster.call("sbatch", "--partition=nosuch", "--wrap=true", user="alice")
        assert said.returncode != 0
        assert "invalid partition" in said.stderr.lower()
    finally:
        home.cancel_all()
        home.cluster.run("scontrol", "delete", "partition=fresh")


def test_requeued_into_another_zone_its_watts_count_once(home: Driver) -> None:
    job_id = home.submit(est_w=9_000)
    home.running(job_id)
    was = home.cluster.job(job_id)["NodeList"][0]
    home.cluster.run("scontrol", "requeuehold", str(job_id), user="alice")
    home.cluster.wait_job(job_id, "PENDING")
    blocks = home.submit(est_w=16_000, more=f",zones={was}")
    home.running(blocks)
    home.settle()
    assert home.licences()[was] == 16_000
    home.cluster.run("scontrol", "update", f"jobid={job_id}", "starttime=now")
    assert home.scontrol("release", str(job_id), user="alice")
    home.running(job_id)
    job = home.cluster.job(job_id)
    other = job["NodeList"][0]
    assert other != was
    assert job["Features"] == f"pw_{other}"
    assert f"pw_{was}:" not in job["Licenses"]
    counted = home.licences()
    assert (counted[was], counted[other]) == (16_000, 9_000)
    home.agree()
