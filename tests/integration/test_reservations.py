"""Reservations of power on a real Slurm: what `scontrol` and `sreservation` show of them, and who gets which watts."""

import json
import os
import pwd
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from slurm_power.core.errors import PowerError, UsageError
from tests.integration import faults
from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = faults.TWO_RACKS + "reservations: {approval: coordinator, max_share: 90%}\n"
"""19 kW in each rack, of which an account may reserve 18, and 33 kW in both together."""

Row = Mapping[str, Any]
LENGTH = "--duration=1:00:00"


@pytest.fixture(scope="module")
def site(site: Driver) -> Driver:
    """With a coordinator, before the daemon has looked for any."""
    site.cluster.run("sacctmgr", "-i", "add", "coordinator", "accounts=research", "names=alice")
    return site


@pytest.fixture(autouse=True)
def given_up(unwatched: Driver) -> Iterator[None]:
    """No reservation outlives its test, and in Slurm none the jobs that name it."""
    yield
    for one in unwatched.ask("reservations")["reservations"]:
        unwatched.ask("reservation", do="cancel", name=one["name"])
    slurm_keeps(unwatched)
    unwatched.cancel_all()
    show_all = ("scontrol", "-o", "show", "reservation")
    unwatched.cluster.wait(lambda: unwatched.cluster.run(*show_all), lambda said: "pw_" not in said, "them to be gone")


# -- what is asked, and what is seen ---------------------------------------------------------------------------------


def sreservation(home: Driver, *words: str, code: int = 0) -> dict[str, Any]:
    """By root: the users of the sandbox may not be allowed into the directory of this Python."""
    done = home.cluster.call("sreservation", *words, "--json")
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def show(home: Driver, name: str) -> Row:
    row: Row = sreservation(home, "show", name)["reservations"][0]
    return row


def becomes(home: Driver, name: str, state: str) -> Row:
    """Wait until a reservation stands so."""

    def look() -> Row:
        found: Row = home.ask("reservations", names=[name])["reservations"][0]
        return found

    return home.cluster.wait(look, lambda one: one["state"] == state, f"{name} to be {state}")


def reserved(home: Driver) -> dict[str, int]:
    """Zone or feed → watts that slurmctld itself counts as reserved; those with none are left out."""
    said = home.cluster.run("scontrol", "-o", "show", "licenses")
    found = re.findall(r"LicenseName=pw_(\S+) .*?Reserved=(\d+)", said)
    assert found
    return {name: int(watts) for name, watts in found if int(watts)}


def slurm_keeps(home: Driver, **expected: int) -> None:
    """Wait until slurmctld keeps so many watts in each zone, and in both feeds their sum."""
    together = sum(expected.values())
    wanted = {**expected, "left": together, "right": together} if together else {}
    home.cluster.wait(lambda: reserved(home), lambda found: found == wanted, f"{wanted} reserved in Slurm")


def refused(home: Driver, *options: str, user: str) -> str:
    """What sbatch says to a job that it does not take."""
    done = home.cluster.call("sbatch", *options, user=user, stdin="#!/bin/sh\nsleep 1\n")
    assert done.returncode != 0
    return done.stderr


@contextmanager
def acting_as(user: str) -> Iterator[None]:
    """The kernel tells the daemon who asks: this process, for a while, as a user."""
    os.seteuid(pwd.getpwnam(user).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def slurm_has_saved(home: Driver) -> None:
    """Wait until slurmctld has written down the jobs that there are now; it does so when one has changed."""
    now = time.time()
    home.cluster.run("scancel", str(home.submit(est_w=1)))
    saved = home.cluster.layout.save / "job_state"

    def look() -> float:
        return saved.stat().st_mtime if saved.exists() else 0.0

    home.cluster.wait(look, lambda written: written > now, "the saved state of jobs")


# -- the story -------------------------------------------------------------------------------------------------------


def test_its_owners_have_its_watts_and_everybody_else_exactly_the_rest(home: Driver) -> None:
    # Longer than its jobs: one that outlasts it would be in the way of who is to have those watts next, and wait.
    longer = "--duration=2:00:00"
    made = sreservation(home, "create", "spring", "--zones=a", "--watts=12kW", longer, "--accounts=research")
    assert (made["verdict"], made["reservation"]["granted_w"]) == ("fits", 12_000)
    slurm_keeps(home, a=12_000)
    record = home.cluster.run("scontrol", "-o", "show", "reservation", "pw_a_research")
    assert "Accounts=research" in record
    assert "pw_a:12000" in record
    row = show(home, "spring")
    assert (row["state"], row["left_w"], row["slurm"]) == ("active", 12_000, ["pw_a_research"])

    late = home.submit(est_w=7_001, more=",zones=a", user="carol")
    home.held(late)
    rest = home.submit(est_w=7_000, more=",zones=a", user="carol")
    home.running(rest)
    within = home.submit(est_w=5_000, more=",reservation=spring")
    home.running(within)
    slurm_keeps(home, a=7_000)

    # 33 kW in both racks: 7 of carol's, 5 used, 7 kept. Were the job within counted twice, 9 kW would be left for b.
    home.held(home.submit(est_w=14_001, more=",zones=b", user="carol"))
    home.running(home.submit(est_w=14_000, more=",zones=b", user="carol"))

    by_slurms_name = home.submit("--reservation=pw_a_research", est_w=7_000, user="bob")
    home.running(by_slurms_name)
    slurm_keeps(home)
    row = show(home, "spring")
    assert (row["used_w"], row["left_w"]) == (12_000, 0)
    assert row["jobs"] == sorted(map(str, (within, by_slurms_name)))
    waits = home.submit(est_w=1, more=",reservation=spring")
    home.held(waits)
    assert {job["power_class"] for job in [*home.entries(within), *home.entries(by_slurms_name)]} == {"reserved"}

    for option in ("--comment=power:est=1W,reservation=spring", "--reservation=pw_a_research"):
        assert "it is not for user carol in account ops" in refused(home, option, user="carol")

    home.cluster.run("scancel", str(by_slurms_name))
    home.running(waits)
    slurm_keeps(home, a=6_999)
    home.still_held(late)


def test_cancelled_while_jobs_run_in_it(home: Driver) -> None:
    sreservation(home, "create", "spring", "--zones=a", "--watts=12kW", LENGTH, "--users=alice")
    slurm_keeps(home, a=12_000)
    [name] = show(home, "spring")["slurm"]
    runs = home.submit(est_w=2_000, more=",reservation=spring")
    by_slurms_name = home.submit(f"--reservation={name}", est_w=3_000)
    home.running(runs, by_slurms_name)
    slurm_keeps(home, a=7_000)
    waits = home.submit(est_w=14_000, more=",zones=a", user="carol")
    home.held(waits)
    said = sreservation(home, "cancel", "spring")["sentence"]
    assert said == "Reservation spring is cancelled; 2 of its jobs go on."
    home.running(runs, by_slurms_name, waits)
    slurm_keeps(home)
    row = show(home, "spring")
    assert (row["state"], row["cause"], row["slurm"]) == ("cancelled", "cancelled by root", [])
    assert home.agree()["a"] == 19_000
    assert "there is none of that name" in refused(home, "--comment=power:est=1W,reservation=spring", user="alice")


def test_unused_it_is_degraded_and_active_again_once_its_watts_are_free(home: Driver) -> None:
    create = ("create", "idle", "--zones=a", "--watts=10kW", LENGTH, "--users=bob", "--grace=4s")
    sreservation(home, *create)
    slurm_keeps(home, a=10_000)
    outsider = home.submit(est_w=10_000, more=",zones=a", user="carol")
    home.held(outsider)
    becomes(home, "idle", "degraded")
    home.running(outsider)
    slurm_keeps(home)
    assert show(home, "idle")["slurm"] != []
    owner = home.submit(est_w=4_000, more=",reservation=idle", user="bob")
    home.running(owner)
    home.settle()
    assert show(home, "idle")["state"] == "degraded"  # 9 kW are left of the rack, 10 were promised
    home.cluster.run("scancel", str(outsider))
    becomes(home, "idle", "active")
    slurm_keeps(home, a=6_000)


def test_in_part_not_at_all_and_what_would_fit_instead(home: Driver) -> None:
    home.running(home.submit("--time=10", est_w=15_000, more=",zones=a", user="carol"))
    ask = ("--zones=a", "--watts=10kW", LENGTH, "--accounts=research")
    part = sreservation(home, "create", "part", *ask, "--min-watts=4kW")["reservation"]
    assert (part["state"], part["granted_w"], part["watts_w"]) == ("approved", 4_000, 10_000)
    slurm_keeps(home, a=4_000)

    no = sreservation(home, "create", "whole", *ask, code=3)
    assert (no["verdict"], no["reservation"]["state"]) == ("later", "refused")
    assert [(reason["code"], reason["subject"]) for reason in no["reasons"]] == [("zone_power", "a")]
    instead = {one["kind"]: one for one in no["alternatives"]}
    assert set(instead) == {"later", "elsewhere"}
    assert (instead["elsewhere"]["zones"], instead["elsewhere"]["watts_w"]) == (["b"], 10_000)
    later = ("--start", instead["later"]["start"])
    assert sreservation(home, "create", "later", *ask, *later)["reservation"]["state"] == "approved"
    assert sreservation(home, "create", "elsewhere", *ask, "--zones=b")["reservation"]["granted_w"] == 10_000
    slurm_keeps(home, a=4_000, b=10_000)  # of what begins later Slurm holds nothing yet

    never = sreservation(home, "create", "huge", "--zones=a", "--watts=19kW", LENGTH, "--accounts=ops", code=4)
    assert [reason["code"] for reason in never["reasons"]] == ["share"]


@pytest.mark.long
def test_the_same_after_kill_9_of_the_daemon_and_of_slurmctld(unwatched: Driver) -> None:
    home = unwatched
    sreservation(home, "create", "spring", "--zones=any:a,b", "--watts=12kW", LENGTH, "--accounts=research")
    sreservation(home, "create", "summer", "--zones=b", "--watts=6kW", LENGTH, "--accounts=ops", "--start=now+1hour")
    runs = [
        home.submit(est_w=3_000, more=",reservation=spring"),
        home.submit("--reservation=pw_a_research", est_w=2_000, user="bob"),
    ]
    home.running(*runs)
    home.held(home.submit(est_w=8_000, more=",reservation=spring"))
    slurm_keeps(home, a=7_000)
    slurm_has_saved(home)
    home.cluster.wait(home.ledger, lambda found: found["a"] == 12_000, "the job that made Slurm save to be forgotten")
    before, ledger = home.ask("reservations"), home.ledger()

    def unchanged() -> None:
        home.settle(1)
        assert home.ask("reservations") == before
        assert home.ledger() == ledger
        slurm_keeps(home, a=7_000)

    faults.revive(home.cluster, faults.DAEMON)
    unchanged()
    faults.revive(home.cluster, faults.CONTROLLER)
    home.running(*runs)
    unchanged()
    with faults.dead(home):
        home.cluster.run("scontrol", "update", "reservationname=pw_a_research", "licenses=pw_a:1")
        faults.revive(home.cluster, faults.CONTROLLER)
    unchanged()


def test_rights_are_those_of_the_accounting_database(home: Driver) -> None:
    """A user of the account may ask, its coordinator approves, and a stranger does not learn of it."""
    terms = {"name": "ours", "zones": ["a"], "watts_w": 4_000, "length_s": 3_600, "accounts": ["research"]}
    terms["start"] = int(time.time()) + 3_600

    def change(user: str, do: str, **more: object) -> Row:
        with acting_as(user):
            return home.ask("reservation", do=do, **more)

    with pytest.raises(PowerError, match="only administrators and coordinators may reserve for account research"):
        change("carol", "create", terms=terms)
    assert change("bob", "create", terms=terms)["reservation"]["state"] == "requested"
    with pytest.raises(UsageError, match="coordinators to approve"):
        change("bob", "update", name="ours", approve=True)
    with pytest.raises(UsageError, match="there is no reservation 'ours'"):
        change("carol", "cancel", name="ours")
    with acting_as("carol"):
        seen = home.ask("reservations", over=True)["reservations"]
    assert "ours" not in [one["name"] for one in seen]
    assert change("alice", "update", name="ours", approve=True)["reservation"]["state"] == "approved"
    with pytest.raises(PowerError, match="only administrators and coordinators may reserve for account ops"):
        change("alice", "create", terms={**terms, "name": "theirs", "accounts": ["ops"]})
    with pytest.raises(PowerError, match="may change reservation ours"):
        change("bob", "update", name="ours", terms={"watts_w": 5_000})
    said = change("bob", "cancel", name="ours")
    assert said["reservation"]["cause"] == "cancelled by bob"
