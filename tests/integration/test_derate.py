"""`spower derate` on a real cluster: who gives way, what is planned around, and that all is as before afterwards."""

import json
import sys
import time
from typing import Any

import pytest

from tests.integration.driver import Driver, wait_for
from tests.integration.test_preemption import SITE as PREEMPTING
from tests.integration.test_preemption import comes_back, story, submit

pytestmark = pytest.mark.cluster

SITE = PREEMPTING
SPOWER = (sys.executable, "-m", "slurm_power.cli.spower")
WITHIN_S = 30.0


def derate(home: Driver, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(home.cluster.run(*SPOWER, "derate", *words, "--json"))
    return found


def room(home: Driver, zone: str = "a") -> dict[str, Any]:
    return next(dict(row) for row in home.ask("zones")["zones"] if row["name"] == zone)


def test_a_quarter_is_taken_away_and_given_back(home: Driver) -> None:
    """Bronze covers it: within 30 s zone a holds no more than it may, and nobody else is touched."""
    gold, silver, bronze = (submit(home, qos, est_w, "a") for qos, est_w in
                            (("gold", 8_000), ("silver", 6_000), ("bronze", 5_000)))  # fmt: skip
    home.running(gold, silver, bronze)
    home.settle()  # the daemon knows all three as running
    dry = derate(home, "set", "a", "--percent=25", "--reason=chiller 2 is down", "--dry-run")
    assert [row["job"] for row in dry["jobs"]] == [str(bronze)]
    since = time.monotonic()
    derate(home, "set", "a", "--percent=25", "--for=1h", "--reason=chiller 2 is down")
    assert (room(home)["limit_w"], room(home)["headroom_w"]) == (15_000, -5_000)
    wait_for(lambda: room(home)["headroom_w"] >= 0, "zone a to hold no more than it may", WITHIN_S)
    assert time.monotonic() - since < WITHIN_S
    home.held(bronze)
    assert [home.cluster.job(job)["Restarts"] for job in (gold, silver)] == ["0", "0"]
    comes_back(home, bronze, *SPOWER, "derate", "clear", "a")
    assert room(home)["limit_w"] == 20_000
    assert home.agree()["a"] == 19_000
    lines = [(line["action"], line["zones"]) for line in story(home, "derate", "derate-cleared")]
    assert lines[-2:] == [("derate", ["a"]), ("derate-cleared", ["a"])]


def test_silver_goes_at_its_notice_where_bronze_does_not_cover_it(home: Driver) -> None:
    gold, silver, bronze = (submit(home, qos, est_w, "a") for qos, est_w in
                            (("gold", 8_000), ("silver", 6_000), ("bronze", 5_000)))  # fmt: skip
    home.running(gold, silver, bronze)
    derate(home, "set", "a", "--limit=9kW", "--reason=hot")
    home.held(bronze)
    assert home.cluster.job(silver)["JobState"] == "RUNNING"
    assert room(home)["headroom_w"] < 0
    home.held(silver)
    assert home.cluster.job(gold)["Restarts"] == "0"
    assert room(home)["headroom_w"] == 0
    derate(home, "clear", "a")
    for job in (silver, bronze):
        home.may_start_now(job)
    home.running(silver, bronze)


def test_one_to_come_is_planned_around(home: Driver) -> None:
    """Who would still run then waits, and says why; who is over by then starts."""
    derate(home, "set", "b", "--percent=75", "--start=now+150", "--for=1m", "--reason=grid event")
    try:
        waits = home.submit("--time=10", est_w=9_000, more=",zones=b")
        home.held(waits)
        (reason, *_) = home.ask("explain", job=str(waits))["reasons"]
        assert (reason["code"], reason["subject"]) == ("derate", "b")
        starts = home.submit("--time=1", est_w=9_000, more=",zones=b")
        home.running(starts)
    finally:
        derate(home, "clear", "b")
    home.running(waits)


@pytest.mark.long
def test_who_accepts_a_planned_cut_works_up_to_it(home: Driver) -> None:
    """Bronze does: it is started under one to come, and has left when that begins. Silver does not, and waits."""
    before = home.cluster.layout.site_file.read_text()

    def accept(data: dict[str, Any]) -> None:
        data["tiers"]["bronze"]["planned_cuts"] = "accept"
        data["preemption"] = {"min_run": "5s"}

    home.change_site(accept)
    home.settle()
    begins = time.time() + 120
    derate(home, "set", "b", "--percent=50", "--start=now+120", "--for=30s", "--reason=grid event")
    try:
        gold = submit(home, "gold", 5_000, "b")
        home.running(gold)
        silver = home.submit("--qos=silver", "--time=10", est_w=5_000, more=",zones=b")
        home.held(silver)
        assert home.ask("explain", job=str(silver))["reasons"][0]["code"] == "derate"
        bronze = home.submit("--qos=bronze", "--time=10", est_w=9_000, more=",zones=b")
        home.running(bronze)
        wait_for(lambda: home.cluster.job(bronze)["JobState"] == "PENDING", "bronze to leave", 120)
        assert begins - 65 < time.time() < begins
        assert room(home, "b")["limit_w"] == 20_000
        wait_for(lambda: room(home, "b")["limit_w"] == 10_000, "the cut", 90)
        assert (room(home, "b")["headroom_w"], home.cluster.job(gold)["Restarts"]) == (4_000, "0")
        (line,) = [line for line in story(home, "preempt") if line["job"] == str(bronze)]
        assert "b will carry less, by a cut that is planned" in json.dumps(line["reasons"])
        wait_for(lambda: room(home, "b")["limit_w"] == 20_000, "the end of the cut", 60)
        home.may_start_now(bronze)
        home.running(silver, bronze)
    finally:
        home.cluster.layout.site_file.write_text(before)
        home.change_site(lambda _: None)


def test_the_facility_asks_by_a_file(home: Driver) -> None:
    """Feed left of the pair: what runs in both zones is cut to what it may carry, until the file says otherwise."""
    path = home.cluster.layout.root / "signal.json"
    before = home.cluster.layout.site_file.read_text()
    home.change_site(lambda data: data.update(
        telemetry=[{"type": "file", "path": str(path), "every": "1s", "stale": "60s"}]))  # fmt: skip
    gold, bronze = submit(home, "gold", 15_000, "a"), submit(home, "bronze", 15_000, "b")
    home.running(gold, bronze)
    try:
        since = time.monotonic()
        path.write_text(json.dumps({"cuts": [{"element": "left", "limit": "20kW", "reason": "grid event"}]}))
        home.held(bronze)
        assert time.monotonic() - since < WITHIN_S
        assert derate(home, "list")["derates"][0]["source"] == str(path)
        path.unlink()
        home.settle()
        assert derate(home, "list")["derates"] != []
        path.write_text('{"cuts": []}')
        home.may_start_now(bronze)
        home.running(bronze)
        assert home.cluster.job(gold)["Restarts"] == "0"
    finally:
        home.cluster.layout.site_file.write_text(before)
        home.change_site(lambda _: None)


def test_it_holds_over_a_restart_of_the_daemon(home: Driver) -> None:
    derate(home, "set", "a", "--limit=9kW", "--reason=hot")
    with home.away():
        pass
    try:
        assert room(home)["limit_w"] == 9_000
        waits = home.submit(est_w=9_000, more=",zones=a")
        home.held(waits)
    finally:
        derate(home, "clear", "a")
    home.running(waits)
