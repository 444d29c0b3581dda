"""How long something was over: against a count second by second, and where the clock or memory gives out."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.overage import _KEPT, Overages
from slurm_power.core.want import Aspect, Want

RACK, FEED, BURST = Want("r1", Aspect.PACKING), Want("pdu", Aspect.PACKING), Want("r1", Aspect.BURST)
WANTS = st.frozensets(st.sampled_from((RACK, FEED, BURST)))
INSTANTS = st.integers(0, 60)


@pytest.fixture
def overages() -> Overages:
    return Overages()


@given(st.dictionaries(INSTANTS, WANTS), WANTS, INSTANTS, INSTANTS)
def test_as_counted_second_by_second(told: dict[int, frozenset[Want]], wants: frozenset[Want], a: int, b: int) -> None:
    """What was told last holds until the next time; what is asked lies before now."""
    overages = Overages()
    since, until = sorted((a, b))
    for at in sorted(told):
        if at <= until:
            overages.tell(told[at], at)
    counted = 0
    for second in range(since, until):
        last = max((at for at in told if at <= second), default=None)
        counted += last is not None and bool(told[last] & wants)
    assert overages.seconds(wants, since, until) == counted


def test_of_what_there_is_no_more_nothing_is_known(overages: Overages) -> None:
    overages.tell([RACK, FEED], 10)
    overages.tell([RACK], 20)
    overages.only({"pdu"})
    assert overages.seconds([FEED], 0, 30) == 10
    assert overages.seconds([RACK], 0, 30) == 0


def tell(overages: Overages, *told: tuple[int, Sequence[Want]]) -> None:
    for at, found in told:
        overages.tell(found, at)


def test_seconds_in_which_two_are_over_count_once(overages: Overages) -> None:
    tell(overages, (10, [RACK]), (20, [RACK, FEED]), (30, [FEED]), (40, []), (50, [RACK]))
    assert overages.seconds({RACK, FEED}, 0, 60) == 40
    assert overages.seconds({RACK}, 15, 55) == 20
    assert overages.seconds({FEED}, 0, 35) == 15
    assert overages.seconds({BURST}, 0, 60) == 0


def test_a_clock_that_was_ahead(overages: Overages) -> None:
    """What was noted at instants to come is no more than what had come by the right time."""
    tell(overages, (100, [RACK]), (110, []), (3_600, [RACK, FEED]), (3_700, [FEED]), (3_800, [FEED]))
    overages.tell([FEED], 105)
    assert overages.seconds({RACK}, 0, 9_000) == 5
    assert overages.seconds({FEED}, 0, 200) == 95


def test_of_what_wavers_the_latest_times_count(overages: Overages) -> None:
    for at in range(0, 20 * _KEPT, 10):
        overages.tell([RACK] if at % 20 == 0 else [], at)
    assert overages.seconds({RACK}, 0, 20 * _KEPT) == 10 * _KEPT
    tell(overages, (20 * _KEPT, [RACK]), (20 * _KEPT + 3, []))
    assert overages.seconds({RACK}, 0, 30 * _KEPT) == 10 * (_KEPT - 1) + 3
