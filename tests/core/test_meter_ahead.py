"""A meter with live claims, shadows and reservations, held against a count of every instant that matters."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core import timeline
from slurm_power.core.asker import Asker
from slurm_power.core.level import Booking, Load
from slurm_power.core.meter import Lack, Meter
from slurm_power.core.policy import BurstRule
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, RSS, SUM

GRAIN_S = 60


@dataclass(frozen=True)
class Item:
    """A live claim, a shadow or a reservation; the burst of a live claim or a reservation is a group of its own."""

    kind: str
    name: str
    group: str
    start: int
    end: int
    est_w: int
    burst_w: int
    milli: int

    def there(self, instant: int) -> bool:
        if self.kind != "live":
            return self.start <= instant < self.end
        return instant == NOW or -(-self.end // GRAIN_S) * GRAIN_S > instant or self.end >= FOREVER


@dataclass(frozen=True)
class Question:
    est_w: int
    burst_w: int
    group: str
    window: Window
    ignore: str | None


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["live", "live", "shadow", "res", "res", "res"]))
        name = f"{kind}{number}"
        start = NOW + draw(st.integers(1, 900))
        end = start + draw(st.sampled_from([1, 60, 61, 400, FOREVER]))
        if kind == "live":
            end = NOW + draw(st.sampled_from([-70, 0, 59, 60, 61, 500, FOREVER]))
        group = draw(st.sampled_from(["g", "h"])) if kind == "shadow" else name
        watts = st.sampled_from([0, 1, 300, 1_000, 2_000])
        found.append(
            Item(kind, name, group, start, min(end, FOREVER), draw(watts), draw(watts), draw(st.integers(0, 2)))
        )
    return found


@st.composite
def questions(draw: st.DrawFn) -> Question:
    start = NOW + draw(st.sampled_from([0, 0, 1, 60, 300, 700]))
    length_s = draw(st.sampled_from([1, 60, 333, FOREVER]))
    ignore = draw(st.sampled_from([None, None, *(f"{kind}{k}" for kind in ("shadow", "res") for k in range(4))]))
    watts = st.sampled_from([0, 1, 500, 2_000, 3_000])
    window = Window(start, min(start + length_s, FOREVER))
    return Question(draw(watts), draw(watts), draw(st.sampled_from("gn")), window, ignore)


def filled(every: list[Item], limit_w: int, margin: Fraction, rule: BurstRule, *, listed: bool = False) -> Meter:
    """The meter with these on it; with `listed` reservations are bookings, looked at one by one."""
    one = Meter("rack", limit_w, margin, 500, rule)
    for item in every:
        if item.kind == "live":
            one.add([(item.est_w, item.burst_w, item.milli, item.group, item.end, None)])
            continue
        booking = Booking(
            Window(item.start, item.end), item.group, Load(item.est_w, item.burst_w, item.milli)
        )
        keep = one.reserve if item.kind == "res" and not listed else one.book
        keep(item.name, booking)
    return one


class Count:
    """The same rules with nothing kept: sums over all items, at one instant after the other."""

    def __init__(self, every: list[Item], meter: Meter, question: Question) -> None:
        self.every = [item for item in every if item.kind == "live" or item.name != question.ignore]
        self.meter = meter
        self.question = question

    def edges(self, *kinds: str) -> list[int]:
        window = self.question.window
        found = {NOW + 1}
        for item in self.every:
            if item.kind in kinds:
                found |= {item.start, item.end, -(-item.end // GRAIN_S) * GRAIN_S}
        return [window.start, *sorted(edge for edge in found if window.start < edge < window.end)]

    def top(self, instant: int, est_w: int, burst_w: int) -> tuple[int, int]:
        """(committed, burst) with so much more, in W."""
        committed_w = 500 + est_w
        groups = {self.question.group: burst_w}
        for item in self.every:
            if item.there(instant):
                committed_w += item.est_w
                groups[item.group] = groups.get(item.group, 0) + item.burst_w
        total, rule = sum(groups.values()), self.meter.rule
        if not rule.rss:
            return committed_w, total
        squares = rule.z_milli**2 * sum(b * b for b in groups.values())
        root = isqrt(squares) // 1_000
        return committed_w, min(total, root if (1_000 * root) ** 2 == squares else root + 1)

    def fits(self, instant: int) -> bool:
        committed_w, burst_w = self.top(instant, self.question.est_w, self.question.burst_w)
        return committed_w <= self.meter.usable_w and committed_w + burst_w <= self.meter.limit_w

    def room_w(self, instant: int) -> int:
        committed_w, burst_w = self.top(instant, 0, 0)
        return min(self.meter.usable_w, self.meter.limit_w - burst_w) - committed_w

    def milli(self, instant: int) -> int:
        return sum(item.milli for item in self.every if item.there(instant))


@pytest.fixture(autouse=True)
def _small_chunks() -> Iterator[None]:
    with patch.object(timeline, "_LONGEST", 4):
        yield


FLOORS = {
    "every": items(),
    "limit_w": st.integers(2_000, 12_000),
    "margin": st.sampled_from([Fraction(0), Fraction(1, 3)]),
    "rule": st.sampled_from([RSS, SUM, BurstRule(z_milli=1_000), BurstRule(z_milli=1_000)]),
    "question": questions(),
}


@settings(max_examples=400, deadline=None)
@given(**FLOORS)
def test_answers_over_a_window_are_those_of_every_instant_in_it(
    every: list[Item], limit_w: int, margin: Fraction, rule: BurstRule, question: Question
) -> None:
    one = filled(every, limit_w, margin, rule)
    count = Count(every, one, question)
    q = question
    instants = count.edges("live", "shadow", "res")
    lack = one.lack(q.est_w, q.burst_w, Asker(q.group, q.window, q.ignore), NOW)
    assert (lack is None) == all(count.fits(instant) for instant in instants)
    room_w, at = one.least_room(q.window, NOW, q.ignore)
    rooms = [count.room_w(instant) for instant in instants]
    assert room_w == min(rooms)
    assert count.room_w(at) == room_w
    assert one.most_milli(q.window, NOW, q.ignore) == max(count.milli(instant) for instant in instants)


@settings(max_examples=400, deadline=None)
@given(**FLOORS)
def test_what_is_lacking_is_told_of_the_worst_instant(
    every: list[Item], limit_w: int, margin: Fraction, rule: BurstRule, question: Question
) -> None:
    one = filled(every, limit_w, margin, rule)
    q = question
    lack = one.lack(q.est_w, q.burst_w, Asker(q.group, q.window, q.ignore), NOW)
    listed = filled(every, limit_w, margin, rule, listed=True)
    assert lack == listed.lack(q.est_w, q.burst_w, Asker(q.group, q.window, q.ignore), NOW)
    if lack is not None:
        committed_w, burst_w = Count(every, one, q).top(lack.at, q.est_w, q.burst_w)
        asked_w, of_w = q.est_w, one.usable_w
        if lack.burst:
            assert committed_w <= one.usable_w
            committed_w, of_w = committed_w + burst_w, one.limit_w
            asked_w = lack.asked_w
        assert lack == Lack(asked_w, of_w - committed_w + asked_w, lack.burst, lack.at)
        assert lack.asked_w > lack.free_w


@settings(max_examples=400, deadline=None)
@given(**FLOORS, most_milli=st.integers(0, 4))
def test_blocked_is_where_it_does_not_fit_and_nowhere_else(
    every: list[Item], limit_w: int, margin: Fraction, rule: BurstRule, question: Question, most_milli: int
) -> None:
    one = filled(every, limit_w, margin, rule)
    count = Count(every, one, question)
    q = question
    blocked = list(one.blocked(q.est_w, q.burst_w, q.group, q.window, NOW, q.ignore, most_milli))
    assert blocked == sorted(blocked)
    for instant in count.edges("live", "shadow", "res"):
        stands = not count.fits(instant) or count.milli(instant) > most_milli
        assert any(begin <= instant < until for begin, until in blocked) == stands


@given(every=items(), data=st.data())
def test_what_is_forgotten_leaves_no_trace(every: list[Item], data: st.DataObject) -> None:
    one = filled(every, 9_000, Fraction(0), RSS)
    booked = [item for item in every if item.kind != "live"]
    gone = data.draw(st.sets(st.sampled_from(booked))) if booked else set()
    for item in sorted(gone, key=lambda item: item.name):
        one.unbook(item.name)
    assert one.numbers() == filled([item for item in every if item not in gone], 9_000, Fraction(0), RSS).numbers()


def test_the_largest_reservation_at_an_instant_is_named_of_equals_the_first() -> None:
    one = Meter("rack", 9_000, Fraction(0), 0, RSS)
    for name, est_w, start, end in (("c", 20, 0, 9), ("b", 30, 5, 9), ("a", 30, 5, 8), ("d", 10, 8, 12)):
        one.reserve(name, Booking(Window(start, end), name, Load(est_w)))
    named = [one.reserved_at(instant) for instant in (0, 5, 8, 9, 12)]
    assert named == ["c", "a", "b", "d", None]
    assert one.reserved_at(5, ignore="a") == "b"
