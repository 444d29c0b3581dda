"""What racks draw, on a real cluster: a real Prometheus scrapes an exporter that replays logged power of H100 nodes."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.prometheus import prometheus
from tests.adapters.telemetry.hostile import Hostile, Question, Wire, answers
from tests.adapters.telemetry.replay import logs
from tests.integration.driver import Driver, wait_for
from tests.integration.test_derate import room
from tests.integration.test_preemption import NOTICE_S, story, submit
from tests.integration.test_preemption import SITE as PREEMPTING

pytestmark = pytest.mark.cluster

SITE = PREEMPTING
FIRST_ACTION_S = 2.0
WITHIN_S = 30.0


@dataclass
class Racks:
    """An exporter: each rack draws what its log says, scaled to the est of its jobs, and more on top."""

    series: Sequence[Sequence[float]] = field(default_factory=lambda: logs(2))
    promised_w: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    extra_w: dict[str, float] = field(default_factory=lambda: {"a": 0.0, "b": 0.0})
    celsius: dict[str, float] = field(default_factory=lambda: {"a": 24.0, "b": 24.0})
    begun: float = field(default_factory=time.time)
    dead: bool = False

    def watts(self, rack: str) -> float:
        log = self.series["ab".index(rack)]
        share = log[(len(log) // 2 + int(time.time() - self.begun)) % len(log)] / max(log)
        return 1_000 + self.promised_w[rack] * share + self.extra_w[rack]

    def shows(self, wire: Wire, question: Question) -> None:
        """Answer one scrape."""
        if self.dead:
            answers(b"", 500)(wire, question)
            return
        lines = [f'rack_watts{{rack="{rack}"}} {self.watts(rack)}' for rack in "ab"]
        lines += [f'inlet_celsius{{rack="{rack}"}} {warm}' for rack, warm in self.celsius.items()]
        answers("\n".join([*lines, ""]).encode(), Content_Type="text/plain; version=0.0.4")(wire, question)


@contextmanager
def measured(home: Driver, directory: Path, **more: Any) -> Iterator[Racks]:
    """The site's racks are measured through Prometheus, once a second; then they are not any more."""
    racks, before = Racks(), home.cluster.layout.site_file.read_text()
    with Hostile(racks.shows) as exporter, prometheus(exporter.url.removeprefix("http://"), directory) as server:
        source = {
            "type": "prometheus", "url": server.url, "every": "1s", "stale": "5s", "label": "rack",
            "zone_watts": "rack_watts", "zone_celsius": "inlet_celsius",
        }  # fmt: skip
        changed: dict[str, Any] = {"telemetry": [source], "control": {"smoothing": "5s", "ramp": "5s"}, **more}
        home.change_site(lambda data: data.update(changed))
        try:
            wait_for(lambda: room(home)["stale"] is False and room(home, "b")["stale"] is False, "readings")
            yield racks
        finally:
            home.cluster.layout.site_file.write_text(before)
            home.change_site(lambda _: None)


def three(home: Driver, racks: Racks) -> tuple[int, int, int]:
    """Gold, silver and bronze in zone a, which together draw what the log says."""
    jobs = [submit(home, qos, est_w, "a") for qos, est_w in (("gold", 8_000), ("silver", 6_000), ("bronze", 5_000))]
    home.running(*jobs)
    racks.promised_w["a"] = 19_000
    home.settle()
    return jobs[0], jobs[1], jobs[2]


@pytest.mark.long
def test_logged_power_sheds_nobody(home: Driver, tmp_path: Path) -> None:
    """The rack is full by est, and draws what real nodes draw: nobody has to go, and what it draws is shown."""
    with measured(home, tmp_path) as racks:
        jobs = three(home, racks)
        seen = set()
        for _ in range(15):
            row = room(home)
            seen.add(row["measured_w"])
            assert row["over_w"] == 0
            time.sleep(0.5)
        assert len(seen) > 3
        assert all(1_000 < watts <= 20_000 for watts in seen)
        home.running(*jobs)
        assert [home.cluster.job(job)["Restarts"] for job in jobs] == ["0"] * 3


def test_who_draws_too_much_gives_way_and_comes_back(home: Driver, tmp_path: Path) -> None:
    with measured(home, tmp_path) as racks:
        gold, silver, bronze = three(home, racks)
        racks.extra_w["a"] = 21_000 - racks.watts("a") + 4_000
        wait_for(lambda: racks.watts("a") > 20_000, "the breach")
        since = time.monotonic()
        wait_for(lambda: bool(story(home, "preempt")), "the first action", WITHIN_S)
        took_s = time.monotonic() - since
        print(f"first action {took_s:.1f} s after the breach")
        home.held(bronze)
        racks.promised_w["a"], racks.extra_w["a"] = 14_000, 0.0
        wait_for(lambda: room(home)["over_w"] == 0, "the draw to fall")
        home.may_start_now(bronze)
        home.running(gold, silver, bronze)
        assert [home.cluster.job(job)["Restarts"] for job in (gold, silver, bronze)] == ["0", "0", "1"]
        (line,) = story(home, "preempt")
        assert "a draws more than its limit lets it" in json.dumps(line["reasons"])
        assert took_s < FIRST_ACTION_S + 2  # one reading may be a spike: it is the second that counts


def test_an_exporter_that_dies_sheds_nobody_and_max_counts(home: Driver, tmp_path: Path) -> None:
    with measured(home, tmp_path) as racks:
        gold = home.submit("--qos=gold", est_w=8_000, more=",max=10kW,zones=a")
        home.running(gold)
        racks.dead = True
        wait_for(lambda: bool(room(home)["stale"]), "zone a to be stale")
        assert room(home)["measured_w"] is None
        waits = home.submit("--qos=gold", est_w=9_000, more=",max=10kW,zones=a")
        home.held(waits)
        (reason, *_) = home.ask("explain", job=str(waits))["reasons"]
        assert (reason["code"], reason["subject"]) == ("blind", "a")
        small = home.submit("--qos=gold", est_w=8_000, more=",max=9kW,zones=a")
        home.running(gold, small)


@pytest.mark.long
def test_a_rise_of_temperature(home: Driver, tmp_path: Path) -> None:
    """Bronze goes at once, silver at its notice, gold stays; as it cools down they come back, step by step."""
    heat = {"steps": [{"above": 30, "less": "25%"}, {"above": 34, "less": "55%"}], "dwell": "5s"}
    with measured(home, tmp_path, thermal=heat) as racks:
        gold, silver, bronze = three(home, racks)
        racks.celsius["a"] = 31.0
        wait_for(lambda: room(home)["limit_w"] == 15_000, "the limit to be cut", WITHIN_S)
        home.held(bronze)
        racks.promised_w["a"] = 14_000
        home.running(gold, silver)
        racks.celsius["a"] = 35.0
        wait_for(lambda: room(home)["limit_w"] == 9_000, "the limit to be cut again", WITHIN_S)
        home.held(silver)
        racks.promised_w["a"] = 6_000
        told, struck = (story(home, action)[-1] for action in ("preempt-notice", "preempt"))
        assert told["job"] == struck["job"] == str(silver)
        assert struck["cause"] == f"after {NOTICE_S} s of notice"
        assert home.cluster.job(gold)["JobState"] == "RUNNING"
        racks.celsius["a"] = 24.0
        wait_for(lambda: room(home)["limit_w"] == 20_000, "the limit to be given back", 120)
        for job in (silver, bronze):
            home.may_start_now(job)
        home.running(gold, silver, bronze)
        limits = [line["numbers"]["limit_w"] for line in story(home, "derate") if "inlet" in line["cause"]]
        assert limits == [15_000, 9_000, 15_000]
        assert home.cluster.job(gold)["Restarts"] == "0"


@pytest.mark.long
def test_what_a_job_declared_drew_and_cost(home: Driver, tmp_path: Path) -> None:
    with measured(home, tmp_path, tariff={"currency": "EUR", "kwh": "100"}) as racks:
        job = home.submit("--qos=gold", est_w=8_000, more=",max=10kW,zones=b", script="sleep 25")
        home.running(job)
        racks.promised_w["b"] = 8_000
        wait_for(lambda: home.ask("explain", job=str(job))["state"] == "ended", "its end", 90)
        found = home.ask("explain", job=str(job))
        print(found["sentence"])
        drawn = found["drawn"]
        assert (found["est_w"], found["max_w"]) == (8_000, 10_000)
        assert 0 < drawn["p50_w"] <= drawn["p95_w"] <= drawn["peak_w"] <= 8_100
        assert found["share"]["costs"][0]["currency"] == "EUR"
