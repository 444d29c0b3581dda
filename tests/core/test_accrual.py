"""Usage adds up: against a count second by second, and over any cut of time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core.accrual import Accrual, Held
from slurm_power.core.claim import Charge
from slurm_power.core.usage import HOUR_S, SUMS, Share, Usage, hour_of
from slurm_power.core.window import Window

ALICE, BOB = Share("", "research", 1_001, "gold"), Share("r1", "ops", 1_002, "bronze")
NIGHT = Share("r1", "research", 7, "gold")
CLAIM = "res:night:r1"


def held(share: Share = ALICE, within: str = "", since: int = 0, yields: bool = False, **watts: int) -> Held:
    charges = tuple(Charge(zone, 1, est_w, est_w) for zone, est_w in (watts or {"a": 10}).items())
    return Held(share, charges, since, within, yields)


def sums(rows: Sequence[Usage]) -> dict[tuple[Share, int], dict[str, int]]:
    """What rows come to, by share and hour; nothing where all is 0."""
    found: dict[tuple[Share, int], Counter[str]] = {}
    for row in rows:
        found.setdefault((row.share, row.hour), Counter()).update({name: getattr(row, name) for name in SUMS})
    return {key: {name: n for name, n in each.items() if n} for key, each in found.items() if any(each.values())}


@dataclass(frozen=True)
class Story:
    """Jobs by (start, end), a reservation with grants that change, and when it is looked at."""

    jobs: tuple[tuple[int, int, Held], ...]
    grants: tuple[tuple[int, int], ...]
    """(from when on, W in zone a)."""
    window: Window
    closes: int
    cuts: tuple[int, ...]
    end: int

    def tell(self) -> list[Usage]:
        accrual, rows = Accrual(0), []
        events = [(at, 0, number, "grant") for number, (at, _) in enumerate(self.grants)]
        events += [(start, 2, number, "start") for number, (start, _, _) in enumerate(self.jobs)]
        events += [(end, 1, number, "stop") for number, (_, end, _) in enumerate(self.jobs)]
        events += [(self.closes, 3, 0, "close"), (self.end, 5, 0, "cut")]
        events += [(cut, 4, 0, "cut") for cut in self.cuts]
        for at, _, number, what in sorted(events):
            if at > self.end:
                continue
            match what:
                case "grant" if self.window.start <= at < self.closes:
                    accrual.open(CLAIM, NIGHT, {"a": self.grants[number][1]}, self.window, at)
                case "start":
                    accrual.start(f"j{number}", replace(self.jobs[number][2], since=at), at)
                case "stop":
                    accrual.stop(f"j{number}", at)
                case "close":
                    accrual.close(CLAIM, at)
                case "cut":
                    rows += accrual.take(at)
        return rows

    def count(self) -> dict[tuple[Share, int], dict[str, int]]:
        """Second by second."""
        found: dict[tuple[Share, int], Counter[str]] = {}
        first = next((at for at, _ in self.grants if self.window.start <= at < self.closes), None)
        for second in range(self.end):
            on_nodes = [each for start, end, each in self.jobs if start <= second < end]
            for each in on_nodes:
                entry = found.setdefault((each.share, hour_of(second)), Counter())
                entry.update(jobs_ws=each.est_w, yielding_ws=each.est_w if each.yields else 0)
            granted = [w for at, w in self.grants if self.window.start <= at <= second]
            if first is None or second >= min(self.closes, self.window.end) or second < self.window.start:
                continue
            known = granted[-1] if granted else next(w for at, w in self.grants if at == first)
            drawn = sum(each.charges[0].est_w for each in on_nodes if each.within)
            used = min(known, drawn) if second >= first else 0
            found.setdefault((NIGHT, hour_of(second)), Counter()).update(reserved_ws=known, used_ws=used)
        return {key: {n: v for n, v in each.items() if v} for key, each in found.items() if any(each.values())}


INSTANTS = st.integers(0, 2 * HOUR_S + 200)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    jobs = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(INSTANTS)
        within = draw(st.sampled_from(["", CLAIM]))
        share = draw(st.sampled_from([ALICE, BOB, NIGHT]))
        one = held(share, within, draw(st.booleans()), a=draw(st.integers(1, 40)))
        jobs.append((start, start + draw(st.integers(1, 4_000)), one))
    opens = draw(st.integers(0, 4_000))
    window = Window(opens, opens + draw(st.integers(1, 4_000)))
    at = sorted(draw(st.sets(st.integers(opens, opens + 4_000), min_size=0, max_size=2)) | {opens})
    grants = tuple((one, draw(st.integers(1, 60))) for one in at)
    closes = draw(st.integers(opens, opens + 5_000))
    cuts = tuple(draw(st.lists(INSTANTS, max_size=4)))
    return Story(tuple(jobs), grants, window, closes, cuts, 2 * HOUR_S + 100)


@settings(deadline=None, max_examples=60)
@given(stories())
def test_no_watt_second_is_lost_or_counted_twice_over_any_cut_of_time(story: Story) -> None:
    assert sums(story.tell()) == story.count()


def test_hours_are_those_of_utc() -> None:
    accrual = Accrual(HOUR_S - 10)
    accrual.start("j", held(a=3, b=4, since=HOUR_S - 10), HOUR_S - 10)
    rows = accrual.take(2 * HOUR_S + 5)
    assert [(row.hour, row.jobs_ws) for row in rows] == [(0, 70), (HOUR_S, 7 * HOUR_S), (2 * HOUR_S, 35)]


def test_a_job_that_is_found_running_counts_from_its_start_but_nothing_that_was_taken_out() -> None:
    accrual = Accrual(100)
    accrual.start("before", held(a=1), 150)
    accrual.start("since", held(a=100, since=120), 150)
    assert [row.jobs_ws for row in accrual.take(150)] == [50 + 3_000]
    accrual.start("late", held(a=1_000, since=120), 160)
    assert [row.jobs_ws for row in accrual.take(160)] == [10 + 1_000 + 10_000]


def test_a_reservation_that_is_learnt_of_late_counts_from_its_start_and_to_its_end() -> None:
    accrual = Accrual(100)
    accrual.open(CLAIM, NIGHT, {"a": 10}, Window(120, 140), 200)
    accrual.close(CLAIM, 200)
    assert [row.reserved_ws for row in accrual.take(200)] == [200]
    accrual.open("res:later:r2", NIGHT, {"a": 10}, Window(120, 1_000), 205)
    assert [row.reserved_ws for row in accrual.take(205)] == [50]


def test_a_window_ends_although_nobody_has_said_so_yet() -> None:
    accrual = Accrual(0)
    accrual.open(CLAIM, NIGHT, {"a": 10}, Window(0, 50), 0)
    accrual.start("j", held(BOB, CLAIM, a=4), 0)
    rows = accrual.take(60)
    accrual.close(CLAIM, 70)
    rows += accrual.take(80)
    total = [(row.reserved_ws, row.used_ws, row.jobs_ws) for row in rows]
    assert total == [(0, 0, 240), (500, 200, 0), (0, 0, 80)]


def test_what_jobs_use_beyond_the_grant_of_a_zone_is_not_its() -> None:
    accrual = Accrual(0)
    accrual.open(CLAIM, NIGHT, {"a": 10, "b": 10}, Window(0, 1_000), 0)
    accrual.start("j", held(BOB, CLAIM, a=25, c=5), 0)
    accrual.start("k", held(BOB, CLAIM, b=3), 0)
    assert {row.used_ws for row in accrual.take(10) if row.reserved_ws} == {130}
    accrual.stop("j", 10)
    assert {row.used_ws for row in accrual.take(20) if row.reserved_ws} == {30}


def test_a_job_found_running_in_an_open_reservation_has_used_it_since_then() -> None:
    accrual = Accrual(0)
    accrual.open(CLAIM, NIGHT, {"a": 10}, Window(40, 1_000), 100)
    accrual.start("j", held(BOB, CLAIM, since=20, a=25), 100)
    assert [(row.reserved_ws, row.used_ws) for row in accrual.take(100) if row.reserved_ws] == [(600, 600)]


def test_a_job_that_holds_more_than_before_does_so_from_now_on() -> None:
    accrual = Accrual(0)
    accrual.start("j", held(a=10), 0)
    accrual.start("j", held(a=10), 50)
    accrual.start("j", held(a=20), 100)
    accrual.stop("j", 110)
    accrual.stop("j", 120)
    assert [row.jobs_ws for row in accrual.take(200)] == [1_200]


def test_time_that_goes_back_stands_still() -> None:
    accrual = Accrual(100)
    accrual.start("j", held(a=1, since=100), 100)
    assert sum(row.jobs_ws for row in accrual.take(200)) == 100
    assert accrual.take(150) == []
    assert sum(row.jobs_ws for row in accrual.take(210)) == 10
    accrual.stop("j", 150)
    assert (accrual.take(300), accrual.through) == ([], 300)


@pytest.mark.parametrize("name", ["runs", "missed", "ended_ws", "off_ws"])
def test_numbers_of_an_instant(name: str) -> None:
    accrual = Accrual(0)
    accrual.note(ALICE, 10, **{name: 3})
    accrual.note(ALICE, HOUR_S, **{name: 4})
    assert [(row.hour, getattr(row, name)) for row in accrual.take(HOUR_S)] == [(0, 3), (HOUR_S, 4)]
