"""Drift made by hand with scontrol and sacctmgr, and what `sreservation reconcile` makes of it."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from tests.integration import faults
from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = faults.TWO_RACKS
SPRING = "pw_a_research"
SRESERVATION = (sys.executable, "-m", "slurm_power.cli.sreservation")
Change = Callable[..., str]


@pytest.fixture
def home(unwatched: Driver) -> Driver:
    return unwatched


def reconcile(home: Driver, *words: str) -> tuple[int, list[tuple[str, str, str]]]:
    """The exit code, and (status, kind, subject) of each finding."""
    done = home.cluster.call(*SRESERVATION, "reconcile", "--json", *words)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, [(one["status"], one["kind"], one["subject"]) for one in found["findings"]]


def in_slurm(home: Driver, name: str) -> str:
    """A reservation as Slurm shows it; empty where there is none."""
    done = home.cluster.call("scontrol", "-o", "show", "reservation", name)
    return done.stdout if done.returncode == 0 else ""


def reserved(home: Driver, licence: str) -> int:
    """What slurmctld counts as reserved of a licence."""
    said = home.cluster.run("scontrol", "-o", "show", "licenses")
    return int(re.findall(rf"LicenseName={licence} .*?Reserved=(\d+)", said)[0])


def drift(home: Driver, job_id: int) -> None:
    """An operator takes the licences of a running job away, changes our reservation, has an update of it refused, and
    makes others, one under our prefix.
    """
    change: Change = home.cluster.run
    change("scontrol", "update", f"jobid={job_id}", "licenses=")
    refused = home.cluster.call("scontrol", "update", f"reservationname={SPRING}", "users=nosuchuser")
    assert refused.returncode != 0
    assert reserved(home, "pw_a") == 0
    for name in ("pw_old", "theirs"):
        change(
            "scontrol", "create", "reservation", f"reservationname={name}", "users=bob", "starttime=now", "duration=60",
            "licenses=pw_b:1", "flags=ANY_NODES",
        )  # fmt: skip


MADE = {("running-licences", ""), ("reservation-forgotten", SPRING), ("reservation-foreign", "pw_old")}


@pytest.mark.parametrize("away", [False, True])
def test_drift_is_mended_once_and_nothing_of_others_is_touched(home: Driver, away: bool) -> None:
    cluster = home.cluster
    cluster.run(*SRESERVATION, "create", "spring", "--zones=a", "--watts=4kW", "--duration=1h", "--accounts=research")
    runs = home.submit(est_w=3_000, more=",zones=b")
    home.running(runs)
    home.settle()
    cluster.wait(lambda: in_slurm(home, SPRING), bool, "the reservation in Slurm")
    cluster.wait(lambda: reserved(home, "pw_a"), lambda watts: watts == 4_000, "its watts")
    assert reconcile(home) == (0, [])
    assert cluster.run(*SRESERVATION, "reconcile", "-h") == ""
    try:
        with faults.dead(home) if away else nullcontext():
            drift(home, runs)
            wanted = {(kind, name or str(runs)) for kind, name in MADE}
            if away:  # a daemon's own rounds may have mended some of it by now
                code, dry = reconcile(home, "--dry-run")
                assert (code, {(kind, name) for _, kind, name in dry}) == (1, wanted)
            code, found = reconcile(home)
            assert code == 1, found
            assert {status for status, _, _ in found} == {"mended"}
            mended = {(kind, name) for _, kind, name in found}
            assert mended == wanted if away else mended <= wanted
            assert reconcile(home) == (0, [])
            assert "pw_b:3000" in cluster.job(runs)["Licenses"]
            assert reserved(home, "pw_a") == 4_000
            assert in_slurm(home, "pw_old") == ""
            assert in_slurm(home, "theirs")
    finally:
        cluster.call("scontrol", "delete", "reservationname=theirs")
        cluster.run(*SRESERVATION, "cancel", "spring")
        cluster.wait(lambda: in_slurm(home, SPRING), lambda said: not said, "Slurm without the reservation")


def test_what_a_person_has_to_mend_is_left(home: Driver) -> None:
    home.cluster.run("scontrol", "update", "nodename=b4", "availablefeatures=none", "activefeatures=none")
    try:
        home.cluster.run("sacctmgr", "-i", "delete", "qos", "silver")
        code, found = reconcile(home)
        assert code == 6
        assert set(found) == {("left", "node-feature", "b"), ("left", "qos-missing", "silver")}
    finally:
        home.cluster.run("scontrol", "update", "nodename=b4", "availablefeatures=pw_b", "activefeatures=pw_b")
