"""A timeline against sums that are counted anew, step by step; and gaps against every instant tried."""

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slurm_power.core import timeline
from slurm_power.core.gaps import Span, first_gap, last_gap
from slurm_power.core.timeline import NOTHING, Sums, Timeline
from slurm_power.core.window import FOREVER, Window

INSTANTS = st.integers(0, 60)
SUMS = st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 81), st.integers(0, 3))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(INSTANTS)
    return Window(start, draw(st.sampled_from([start + 1, start + 7, start + 30, FOREVER])))


def added(some: Sums, more: Sums) -> Sums:
    return some[0] + more[0], some[1] + more[1], some[2] + more[2], some[3] + more[3]


class Lines(RuleBasedStateMachine):
    """Any mix of additions and removals, in chunks that are cut at four steps."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = patch.object(timeline, "_LONGEST", 4)
        self.patch.start()
        self.line = Timeline()
        self.there: list[tuple[Window, Sums]] = []

    def teardown(self) -> None:
        for window, sums in self.there:
            self.line.remove(window, sums)
        self.there = []
        self.adds_up()
        assert self.line.steps() == Timeline().steps()
        self.patch.stop()

    def at(self, instant: int) -> Sums:
        found = NOTHING
        for window, sums in self.there:
            if instant in window:
                found = added(found, sums)
        return found

    @rule(window=windows(), sums=SUMS)
    def add(self, window: Window, sums: Sums) -> None:
        self.line.add(window, sums)
        self.there.append((window, sums))

    @precondition(lambda self: bool(self.there))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        self.line.remove(*self.there.pop(data.draw(st.integers(0, len(self.there) - 1))))

    @rule(window=windows(), bound=st.integers(0, 40))
    def look(self, window: Window, bound: int) -> None:
        """Every instant that passes the bound is told, and what is told is right; the rest may be left out."""
        here = [self.at(instant) for instant in range(window.start, min(window.end, 100))]
        assert self.line.most_in(window) == tuple(max(sums[k] for sums in here) for k in range(4))
        asked = []

        def passes(first: int, most: Sums) -> bool:
            asked.append(first)
            return most[0] > bound

        told: dict[int, Sums] = {}
        ends = window.start
        for at, until, sums in self.line.over(window, passes):
            assert ends <= at < until <= window.end
            ends = until
            told |= dict.fromkeys(range(at, min(until, 100)), sums)
        assert asked[0] == window.start
        for instant in range(window.start, min(window.end, 100)):
            assert told.get(instant, self.at(instant)) == self.at(instant)
            assert instant in told or self.at(instant)[0] <= bound

    @invariant()
    def adds_up(self) -> None:
        edges = [edge for window, _ in self.there for edge in (window.start, window.end)]
        wanted = [(edge, self.at(edge), edges.count(edge)) for edge in sorted(set(edges))]
        assert self.line.steps() == [(-FOREVER, NOTHING, 1), *wanted]
        assert self.line.bounds_hold()
        most = [NOTHING, *(sums for _, sums, _ in wanted)]
        assert self.line.peak == tuple(max(sums[k] for sums in most) for k in range(4))


TestLines = Lines.TestCase


def test_a_chunk_that_cannot_matter_is_passed_over() -> None:
    line = Timeline()
    for k in range(1_000):
        line.add(Window(k * 10, k * 10 + 5), (k, 0, 0, 0))
    seen = list(line.over(Window(0, 10_000), lambda _, most: most[0] > 990))
    assert [sums[0] for *_, sums in seen if sums[0] > 990] == list(range(991, 1_000))
    assert len(seen) <= 2 * timeline._LONGEST


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    begins = sorted(draw(st.sets(st.integers(0, 40), max_size=6)))
    return [(begin, begin + draw(st.integers(1, 8))) for begin in begins]


def free(blocked: list[list[Span]], at: int, length_s: int) -> bool:
    return not any(begin < at + length_s and at < until for some in blocked for begin, until in some)


@given(blocked=st.lists(spans(), max_size=3), start=st.integers(0, 50), length_s=st.integers(1, 12))
def test_gaps_are_the_first_and_the_last_that_are_free(
    blocked: list[list[Span]], start: int, length_s: int
) -> None:
    later = [at for at in range(start, 70) if free(blocked, at, length_s)]
    assert first_gap(blocked, start, length_s) == later[0]
    before = [at for at in range(start + 1) if free(blocked, at, length_s)]
    assert last_gap(blocked, start, length_s, 0) == (before[-1] if before else None)


@pytest.mark.parametrize(("length_s", "at"), [(10, 30), (FOREVER, None)])
def test_there_may_be_no_gap(length_s: int, at: int | None) -> None:
    blocked: list[list[Span]] = [[(0, 20), (25, 30)], [(50, FOREVER)]]
    assert first_gap(blocked, 5, length_s) == at
    assert last_gap(blocked, 60, length_s, 0) == (40 if at else None)
