"""The facility's file followed: derates come and go with it, and silence or nonsense raises nothing."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.signal import FileSignal
from slurm_power.config import load_site
from slurm_power.daemon.signals import Signals
from slurm_power.ports import Kind, Quantity, Reading
from tests.adapters.telemetry.hostile import Hostile, answers
from tests.service.preempt_rig import Rig

STALE_S = 60


@dataclass
class Grid:
    """A facility that writes a file, and who follows it."""

    path: Path
    rig: Rig

    def __post_init__(self) -> None:
        self.woken = 0
        self.unfit = ""
        self.measured: list[tuple[str, Sequence[Reading]]] = []
        self.signals = Signals(self.rig.desk, self.rig.rounds.derating, self._wake, self._take)

    async def _take(self, place: str, readings: Sequence[Reading]) -> str:
        if readings:
            self.measured.append((place, readings))
        return self.unfit

    def _wake(self) -> None:
        self.woken += 1

    def write(self, *cuts: dict[str, object], age_s: int = 0) -> None:
        self.path.write_text(json.dumps({"cuts": cuts}))
        written = self.rig.clock.instant - age_s
        os.utime(self.path, (written, written))

    def look(self) -> int:
        """What zone a may carry after a look at the file."""
        asyncio.run(self.signals.look(str(self.path), FileSignal(self.path), STALE_S))
        return self.limit_w

    @property
    def limit_w(self) -> int:
        return self.rig.desk.ledger.meters["a"].limit_w

    @property
    def trouble(self) -> str:
        return self.rig.desk.measured.troubles.there.get(str(self.path), "")


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    rig = Rig()
    yield Grid(tmp_path / "signal.json", rig)
    rig.end()


QUARTER = {"element": "a", "percent": 25, "reason": "grid event 17"}


def test_it_holds_as_long_as_it_is_asked_for(grid: Grid) -> None:
    grid.write(QUARTER)
    assert grid.look() == 15_000
    grid.rig.later(100, 3)
    assert (grid.look(), grid.woken) == (15_000, 1)
    grid.write()
    assert (grid.look(), grid.woken) == (20_000, 2)
    assert grid.rig.writer.flush(10)
    lines = [(line.action, line.actor, line.cause[:13]) for line in grid.rig.lines() if "derate" in line.action]
    assert lines == [("derate", None, "grid event 17"), ("derate-cleared", None, "grid event 17")]


def test_what_of_its_readings_makes_no_sense_is_told(grid: Grid) -> None:
    grid.unfit = "the temperature of zone a makes no sense and is left out"
    grid.write(QUARTER)
    assert (grid.look(), grid.trouble) == (15_000, grid.unfit)


def test_times_are_kept(grid: Grid) -> None:
    now = grid.rig.desk.now()
    start, end = ((f"{number}Z") for number in ("2027-01-15T09:00:00", "2027-01-15T10:00:00"))
    assert now == 1_800_000_000  # an hour before
    grid.write({**QUARTER, "start": start, "end": end})
    assert grid.look() == 20_000
    (cut,) = grid.rig.desk.ledger.meters["a"].cuts
    assert (cut.window.start - now, cut.window.end - now, cut.limit_w) == (3_600, 7_320, 15_000)
    grid.rig.later(3_601)
    assert grid.limit_w == 15_000
    grid.rig.later(3_600)
    assert grid.limit_w == 20_000
    grid.rig.later(60)
    assert list(grid.rig.desk.derates) == []
    assert grid.look() == 20_000  # it stands in the file still, and is over


@pytest.mark.parametrize("how", ["gone", "empty", "nonsense", "a directory", "unknown", "old"])
def test_silence_and_nonsense_raise_nothing(grid: Grid, how: str) -> None:
    grid.write(QUARTER)
    grid.look()
    if how == "gone":
        grid.path.unlink()
    elif how == "empty":
        grid.path.write_text("")
    elif how == "nonsense":
        grid.write({**QUARTER, "percent": -25})
    elif how == "a directory":
        grid.path.unlink()
        grid.path.mkdir()
    elif how == "unknown":
        grid.write(QUARTER, {**QUARTER, "element": "nowhere"})
    else:
        grid.write(QUARTER, age_s=STALE_S + 1)
    assert grid.look() == 15_000
    assert grid.trouble != ""
    if how == "a directory":
        grid.path.rmdir()
    grid.write(QUARTER)
    assert (grid.look(), grid.trouble) == (15_000, "")


def test_it_holds_over_a_crash_and_is_no_other_one_then(grid: Grid) -> None:
    grid.write(QUARTER)
    grid.look()
    grid.rig.later(2)
    (before,) = grid.rig.desk.derates
    grid.path.rename(grid.path.with_name("moved"))
    grid.rig.crash()
    again = replace(grid)
    assert (again.look(), list(again.rig.desk.derates)) == (15_000, [before])
    grid.path.with_name("moved").rename(grid.path)
    grid.rig.clock.instant += 50
    assert (again.look(), list(again.rig.desk.derates)) == (15_000, [before])


def test_what_was_ordered_by_hand_is_not_its_affair(grid: Grid) -> None:
    grid.write(QUARTER)
    grid.look()
    (asked,) = grid.rig.desk.derates
    by_hand = replace(asked, id="mine", uid=0, source="", percent=None, limit_w=9_000)
    asyncio.run(grid.rig.rounds.derating.add(by_hand))
    grid.write()
    assert (grid.look(), list(grid.rig.desk.derates)) == (9_000, [by_hand])


def following(grid: Grid, text: str, until: Callable[[], bool]) -> None:
    """With this site file for a while."""

    async def follow() -> None:
        grid.signals.follow(load_site(text=text))
        for _ in range(500):
            if until():
                break
            await asyncio.sleep(0.01)
        grid.signals.stop()

    asyncio.run(follow())
    assert until()


def test_sources_follow_the_site_file(grid: Grid) -> None:
    telemetry = f"telemetry:\n  - {{type: file, path: {grid.path}, every: 1s, stale: 60s}}\n"
    grid.write(QUARTER)
    following(grid, grid.rig.text + telemetry, lambda: grid.limit_w == 15_000)
    following(grid, grid.rig.text, lambda: grid.limit_w == 20_000)


def test_a_url_is_followed_as_a_file_is(grid: Grid) -> None:
    asked = json.dumps({"cuts": [QUARTER]}).encode()
    with Hostile(answers(asked)) as server:
        telemetry = f"telemetry:\n  - {{type: http, url: '{server.url}', every: 1s, stale: 60s}}\n"
        now = formatdate(grid.rig.clock.instant, usegmt=True)
        server.does = answers(asked, Last_Modified=now)
        following(grid, grid.rig.text + telemetry, lambda: grid.limit_w == 15_000)
        assert [one.source for one in grid.rig.desk.derates] == [server.url]
        server.does = answers(b"", 500)
        following(grid, grid.rig.text + telemetry, lambda: server.url in grid.rig.desk.measured.troubles.there)
        assert "answers 500" in grid.rig.desk.measured.troubles.there[server.url]
        assert grid.limit_w == 15_000
        old = formatdate(grid.rig.clock.instant - STALE_S - 1, usegmt=True)
        server.does = answers(b'{"readings": []}', Last_Modified=old)
        following(grid, grid.rig.text + telemetry, lambda: grid.limit_w == 20_000)
        assert "has not been written" in grid.rig.desk.measured.troubles.there[server.url]


def test_readings_that_come_along_are_passed_on(grid: Grid) -> None:
    grid.path.write_text(json.dumps({"readings": [{"element": "a", "watts": "18.5kW"}]}))
    os.utime(grid.path, (grid.rig.clock.instant,) * 2)
    grid.look()
    [(place, [reading])] = grid.measured
    assert place == str(grid.path)
    assert (reading.kind, reading.element, reading.quantity, reading.value) == (Kind.ZONE, "a", Quantity.POWER, 18_500)


def test_a_sensor_that_makes_no_sense_voids_no_cut(grid: Grid) -> None:
    """A cut that is new counts, and one that is gone ends, whatever the readings beside it say; the rest are taken."""
    readings = [{"element": "a", "watts": float("nan")}, {"element": "b", "watts": 9_000}]
    for cuts, limit_w in (([QUARTER], 15_000), ([], 20_000)):
        grid.path.write_text(json.dumps({"cuts": cuts, "readings": readings}))
        os.utime(grid.path, (grid.rig.clock.instant,) * 2)
        assert grid.look() == limit_w
        assert "readings.0.watts" in grid.trouble
        assert grid.rig.desk.measured.troubles.asked[str(grid.path)] == grid.trouble
        [(_, [reading])] = grid.measured
        assert (reading.element, reading.value) == ("b", 9_000)
        grid.measured.clear()
    grid.write()
    assert (grid.look(), grid.trouble) == (20_000, "")


def test_hours_of_each_day(grid: Grid) -> None:
    """09:00 to 10:00 by the site's clock, which is UTC here; it is 08:00 now."""
    evening = {**QUARTER, "hours": "09:00-10:00"}
    grid.write(evening)
    assert grid.look() == 20_000
    (cut, *later) = grid.rig.desk.ledger.meters["a"].cuts
    now = grid.rig.desk.now()
    assert (cut.window.start, cut.window.end, cut.limit_w) == (now + 3_600, now + 7_320, 15_000)
    assert [one.window.start for one in later] == [now + 3_600 + 86_400]
    grid.rig.later(3_600)
    grid.write(evening)
    assert grid.look() == 15_000
    grid.rig.later(3_600)
    grid.write(evening)
    assert grid.look() == 20_000
    grid.rig.later(82_800)
    grid.write(evening)
    assert grid.look() == 15_000
    grid.write()
    assert grid.look() == 20_000


def test_hours_over_midnight_within_a_span_of_days(grid: Grid) -> None:
    grid.write({**QUARTER, "hours": "23:00-09:00", "end": "2027-01-16T08:30:00Z"})
    assert grid.look() == 15_000
    grid.rig.later(3_600)
    assert grid.look() == 20_000
    grid.rig.later(15 * 3_600)
    assert grid.look() == 15_000
    grid.rig.later(8 * 3_600)
    assert grid.look() == 15_000
    grid.rig.later(1_800)
    assert grid.look() == 20_000
    grid.rig.later(20 * 3_600)
    assert grid.look() == 20_000
