"""Derates: what they let an element carry, now and later, and that nobody is placed whom a coming one would end."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.admission import Admit, Hold, decide
from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge
from slurm_power.core.derate import Derate, Planned, limit_at, limits_ahead
from slurm_power.core.ledger import Ledger
from slurm_power.core.reasons import Code
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, TWO_N, claim, ledger, pair, request, zone
from tests.core.recount import differences
from tests.core.test_preemption_floors import SETTINGS

HOUR = 3_600


def derate(start: int, end: int, limit_w: int | None = None, percent: int | None = None) -> Derate:
    part = Fraction(percent) if percent is not None else None
    return Derate("d", "r1", Window(start, end), "hot", NOW, 0, limit_w, part)


def test_a_limit_or_a_part_and_never_more_than_is_declared() -> None:
    assert derate(0, 1, limit_w=7_000).allowed_w(10_000) == 7_000
    assert derate(0, 1, limit_w=70_000).allowed_w(10_000) == 10_000
    assert derate(0, 1, percent=25).allowed_w(10_001) == 7_500
    assert derate(0, 1, percent=100).allowed_w(10_001) == 0


@pytest.mark.parametrize(("limit_w", "percent"), [(None, None), (1, 1)])
def test_one_of_both(limit_w: int | None, percent: int | None) -> None:
    with pytest.raises(ValueError, match="either"):
        derate(0, 1, limit_w, percent)


def test_the_least_counts() -> None:
    both = [derate(0, 100, limit_w=8_000), derate(50, 60, percent=50)]
    expected = {0: 8_000, 49: 8_000, 50: 5_000, 59: 5_000, 60: 8_000, 100: 10_000}
    assert {at: limit_at(10_000, both, at) for at in expected} == expected


def test_cuts_to_come_are_told_apart_and_joined() -> None:
    known = [derate(10, 30, limit_w=8_000), derate(20, 40, limit_w=5_000), derate(40, FOREVER, percent=20)]
    assert limits_ahead(10_000, known, 0, 10_000) == [
        Planned(Window(10, 20), 8_000), Planned(Window(20, 40), 5_000), Planned(Window(40, FOREVER), 8_000),
    ]  # fmt: skip
    assert limits_ahead(10_000, known, 15, 8_000) == [Planned(Window(20, 40), 5_000)]
    joined = [derate(5, 10, limit_w=1), derate(10, 20, limit_w=1)]
    assert limits_ahead(10_000, joined, 0, 10_000) == [Planned(Window(5, 20), 1)]
    assert limits_ahead(10_000, known[:2], 40, 10_000) == []


def planned(one: Ledger, *derates: Derate, declared_w: int = 10_000) -> Ledger:
    now_w = limit_at(declared_w, derates, NOW)
    one.set_limit("r1", now_w)
    one.plan_limits("r1", limits_ahead(declared_w, derates, NOW, now_w))
    return one


def test_nobody_starts_whom_it_would_end() -> None:
    one = planned(ledger([zone("r1", 10_000)]), derate(NOW + HOUR, NOW + 2 * HOUR, percent=50))
    long = decide(request(6_000, hours=1.01), one, one.empty())
    assert isinstance(long, Hold)
    assert long.reasons[0].code is Code.DERATE
    assert long.reasons[0].subject == "r1"
    assert "5kW less from" in long.reasons[0].text
    assert long.earliest == NOW + 2 * HOUR
    assert isinstance(decide(request(6_000, hours=1), one, one.empty()), Admit)
    assert isinstance(decide(request(5_000, hours=9), one, one.empty()), Admit)
    assert differences(one) == []


def test_of_a_feed_too() -> None:
    one = pair(10_000, r1=TWO_N)
    one.plan_limits("a", [Planned(Window(NOW + 60, NOW + 120), 6_000)])
    assert isinstance(decide(request(6_001, hours=1), one, one.empty()), Hold)
    assert isinstance(decide(request(6_000, hours=1), one, one.empty()), Admit)


def test_others_take_their_place_and_none_is_left() -> None:
    one = planned(ledger([zone("r1", 10_000)]), derate(NOW + 60, NOW + 90, percent=50))
    planned(one, derate(NOW + 200, NOW + 300, percent=10), derate(NOW + 400, NOW + 500, percent=20))
    assert [cut.limit_w for cut in one.meters["r1"].cuts] == [9_000, 8_000]
    planned(one)
    assert not one.meters["r1"].ahead
    assert differences(one) == []


windows = st.tuples(st.integers(-300, 600), st.integers(1, 300)).map(lambda w: Window(NOW + w[0], NOW + w[0] + w[1]))


@SETTINGS
@given(
    cuts=st.lists(st.tuples(windows, st.integers(0, 10_000)), max_size=4),
    jobs=st.lists(st.tuples(st.integers(1, 9_000), st.integers(1, 900)), max_size=8),
    margin=st.sampled_from([Fraction(0), Fraction(15, 100)]),
)
def test_whoever_is_admitted_fits_at_every_instant(
    cuts: list[tuple[Window, int]], jobs: list[tuple[int, int]], margin: Fraction
) -> None:
    known = [derate(window.start, window.end, limit_w=limit_w) for window, limit_w in cuts]
    one = planned(ledger([zone("r1", 10_000, margin=margin)]), *known)
    admitted: list[tuple[int, int]] = []
    for number, (est_w, length_s) in enumerate(jobs):
        verdict = decide(request(est_w, hours=length_s / HOUR, id=f"j{number}"), one, one.empty())
        if isinstance(verdict, Admit):
            one.add(verdict.claim)
            admitted.append((est_w, length_s))
    for at in range(NOW, NOW + 901, 7):
        load_w = sum(est_w for est_w, length_s in admitted if at < NOW + length_s)
        assert load_w <= usable_w(limit_at(10_000, known, at), margin)
    assert differences(one) == []


@SETTINGS
@given(
    cuts=st.lists(st.tuples(windows, st.integers(0, 10_000)), max_size=4),
    est_w=st.integers(1, 10_000),
    start_s=st.integers(1, 900),
    margin=st.sampled_from([Fraction(0), Fraction(15, 100)]),
)
def test_of_a_later_window_the_limits_of_then_count(
    cuts: list[tuple[Window, int]], est_w: int, start_s: int, margin: Fraction
) -> None:
    known = [derate(window.start, window.end, limit_w=limit_w) for window, limit_w in cuts]
    one = planned(ledger([zone("r1", 10_000, margin=margin)]), *known)
    window = Window(NOW + start_s, NOW + start_s + 200)
    fits = all(est_w <= usable_w(limit_at(10_000, known, at), margin) for at in range(window.start, window.end))
    assert (one.shortfall((Charge("r1", 1, est_w, est_w),), Asker("j", window)) is None) == fits


def test_it_starts_when_the_derate_ends() -> None:
    one = planned(ledger([zone("r1", 10_000)]), derate(NOW - 60, NOW + 600, limit_w=5_000))
    verdict = decide(request(8_000, hours=1), one, one.empty())
    assert isinstance(verdict, Hold)
    assert verdict.earliest == NOW + 600
    forever = planned(ledger([zone("r1", 10_000)]), derate(NOW - 60, FOREVER, limit_w=5_000))
    verdict = decide(request(8_000, hours=1), forever, forever.empty())
    assert isinstance(verdict, Hold)
    assert verdict.earliest is None


def test_claims_that_are_there_stay() -> None:
    one = ledger([zone("r1", 10_000)])
    one.add(claim("j", "r1", 9_000))
    planned(one, derate(NOW + 60, NOW + 90, percent=50))
    assert one.meters["r1"].committed_w == 9_000
    assert differences(one) == []


minutes = st.integers(1, 10).map(lambda count: 60 * count)


@SETTINGS
@given(
    cuts=st.lists(st.tuples(minutes, minutes, st.integers(0, 10_000)), max_size=3),
    jobs=st.lists(st.tuples(st.integers(1, 9_000), minutes, st.none() | minutes), max_size=6),
)
def test_whoever_goes_on_through_cuts_fits_but_for_those_that_begin_late(
    cuts: list[tuple[int, int, int]], jobs: list[tuple[int, int, int | None]]
) -> None:
    known = [derate(NOW + start, NOW + start + length, limit_w=limit_w) for start, length, limit_w in cuts]
    one = planned(ledger([zone("r1", 10_000)]), *known)
    admitted: list[tuple[int, int, int | None]] = []
    for number, (est_w, length_s, through_s) in enumerate(jobs):
        yields = through_s is not None
        job = replace(request(est_w, hours=length_s / HOUR, id=f"j{number}"), through_cuts_s=through_s)
        kept = [cut for cut in one.meters["r1"].cuts if through_s is None or cut.window.start < NOW + through_s]

        def fits_at(at: int, est_w: int = est_w, kept: list[Planned] = kept, yields: bool = yields) -> bool:
            """Who accepts cuts has left by then, if all who do have the time to."""
            there = [(watts, through_s) for watts, length, through_s in admitted if at < NOW + length]
            all_w = sum(watts for watts, _ in there)
            holding = ((cut.limit_w, cut.window.start) for cut in kept if at in cut.window)
            limit_w, begins = min(holding, default=(10_000, 0))
            longest_s = max((through_s or 0 for *_, through_s in admitted), default=0)
            gone = not yields and begins >= NOW + longest_s
            lasting_w = sum(watts for watts, through_s in there if not gone or through_s is None)
            return all_w + est_w <= 10_000 and lasting_w + est_w <= limit_w

        fits = all(fits_at(at) for at in range(NOW, NOW + length_s, 60))
        verdict = decide(job, one, one.empty())
        assert isinstance(verdict, Admit) == fits
        if isinstance(verdict, Admit):
            one.add(verdict.claim)
            admitted.append((est_w, length_s, through_s))
    assert differences(one) == []


def test_whoever_accepts_a_cut_keeps_nobody_else_out_of_it() -> None:
    """Without the cut, which may be called off, all have to fit all the same."""
    one = planned(ledger([zone("r1", 10_000)]), derate(NOW + 600, NOW + 1_200, percent=50))
    one.add(replace(claim("through", "r1", 6_000, hours=1), through_cuts_s=60))
    assert isinstance(decide(request(4_000, hours=1), one, one.empty()), Admit)
    assert isinstance(decide(request(4_001, hours=1), one, one.empty()), Hold)
    later = Window(NOW + 600, NOW + 1_200)
    assert one.shortfall((Charge("r1", 1, 4_000, 4_000),), Asker("x", later)) is None
    assert one.shortfall((Charge("r1", 1, 4_001, 4_001),), Asker("x", later)) is not None
    one.add(replace(claim("stays", "r1", 4_000, hours=1)))
    assert one.shortfall((Charge("r1", 1, 1, 1),), Asker("x", later)) is not None
    one.remove("through")
    assert one.shortfall((Charge("r1", 1, 1_000, 1_000),), Asker("x", later)) is None
    assert one.shortfall((Charge("r1", 1, 1_001, 1_001),), Asker("x", later)) is not None


def test_it_is_told_when_a_cut_may_end_it() -> None:
    cuts = (derate(NOW + 600, NOW + 700, percent=10), derate(NOW + 900, NOW + 1_000, percent=50))
    one = planned(ledger([zone("r1", 10_000)]), *cuts)
    told = {}
    for est_w in (5_000, 6_000, 9_500):
        verdict = decide(replace(request(est_w, hours=1), through_cuts_s=300), one, one.empty())
        assert isinstance(verdict, Admit)
        told[est_w] = verdict.cut_at
    assert told == {5_000: None, 6_000: NOW + 900, 9_500: NOW + 600}


def test_what_is_planned_for_after_a_cut_that_ends_it_does_not_keep_it_out() -> None:
    """A booking beyond the cut is no plan that it could delay; one that begins before is."""
    through = replace(request(6_000, hours=1), through_cuts_s=300)
    for start, admitted in ((NOW + 1_000, True), (NOW + 800, False)):
        one = planned(ledger([zone("r1", 10_000)]), derate(NOW + 900, NOW + 1_000, percent=50))
        one.add(replace(claim("shadow:x", "r1", 5_000), window=Window(start, start + HOUR), tentative=True))
        assert isinstance(decide(through, one, one.empty()), Admit) == admitted
        assert isinstance(decide(replace(through, through_cuts_s=None), one, one.empty()), Hold)
        small = replace(through, est_w=5_001, max_w=5_001)  # ended by the cut too
        assert isinstance(decide(small, one, one.empty()), Admit) == admitted
        fits = replace(through, est_w=4_000, max_w=4_000)  # goes on through it, and then beside the plan
        assert isinstance(decide(fits, one, one.empty()), Admit) == admitted


def test_a_reservation_after_a_cut_that_ends_it_does_keep_it_out() -> None:
    """The cut may be called off, and the reservation is a promise."""
    one = planned(ledger([zone("r1", 10_000)]), derate(NOW + 900, NOW + 1_000, percent=50))
    kept = claim("res:x:1", "r1", 5_000, group="res:x")
    one.add(replace(kept, window=Window(NOW + 1_000, NOW + HOUR), reserves=True))
    assert isinstance(decide(replace(request(6_000, hours=1), through_cuts_s=300), one, one.empty()), Hold)
