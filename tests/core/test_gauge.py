"""Readings of one source: judged, smoothed, and aging. Every trouble of a sensor is a test."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.gauge import Bounds, Draw, Gauge, add_up

RACK = Bounds(least_w=200, most_w=60_000, expected_w=10_000)


def gauge(*watts: float, every: int = 1, start: int = 100) -> Gauge:
    one = Gauge(stale_s=30, beat_s=1, window_s=10, stuck_s=60)
    for number, value in enumerate(watts):
        one.take(value, start + number * every, start + number * every, RACK)
    return one


def draw(one: Gauge, now: float) -> Draw:
    found = one.draw(now)
    assert found is not None
    return found


def test_the_mean_over_the_window_and_the_last_two() -> None:
    one = gauge(*[10_000] * 10, 12_000)
    assert draw(one, 110) == Draw(smooth_w=10_200, latest_w=12_000, mean_w=10_200, twice_w=10_000, at=110)
    one.take(13_000, 111, 111, RACK)
    assert draw(one, 111).twice_w == 12_000
    assert draw(one, 111).high_w == 13_000


def test_one_reading_alone_is_not_two_in_a_row() -> None:
    assert draw(gauge(50_000), 100).twice_w == 0


def test_two_readings_with_a_long_silence_between_them_are_not_in_a_row() -> None:
    one = gauge(50_000)
    one.take(50_000, 140, 140, RACK)
    assert draw(one, 140) == Draw(50_000, 50_000, 0, 0, 140)


def test_polled_more_slowly_than_the_window_the_last_reading_is_the_mean() -> None:
    one = Gauge(stale_s=300, beat_s=10, window_s=30, stuck_s=600)
    for number, watts in enumerate((10_000, 20_000, 30_000)):
        one.take(watts, number * 60, number * 60, RACK)
    assert draw(one, 120) == Draw(30_000, 30_000, 0, 20_000, 120)


def test_silence_grows_stale_and_is_never_zero() -> None:
    one = gauge(10_000, 10_000)
    assert one.draw(131) is not None
    assert one.draw(132) is None
    assert one.age_s(132) == 31
    assert gauge().draw(0) is None
    assert gauge().age_s(0) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (nan, "is no number"),
        (inf, "is no number"),
        (-inf, "is no number"),
        (-5.0, "is negative: -5 W"),
        (0.0, "is zero: nothing that is on draws nothing"),
        (12.5, "is not believed: 12.5 W, where at least 200 W is drawn (is the unit kW?)"),
        (12_500_000, "is not believed: 1.25e+07 W, where 60000 W is more than it could draw"),
    ],
)
def test_unfit_readings_are_left_out_until_they_are_stale(value: float, why: str) -> None:
    one = gauge(10_000)
    assert not one.take(value, 101, 101, RACK)
    assert one.trouble == why
    assert draw(one, 101).latest_w == 10_000
    for second in range(102, 140):
        one.take(value, second, second, RACK)
    assert one.draw(139) is None


def test_a_spike_that_nobody_believes_does_nothing() -> None:
    one = gauge(10_000, 10_000, 1e9, 10_000, 1e9, 1e9)
    assert draw(one, 105) == Draw(10_000, 10_000, 10_000, 10_000, 103)
    one.take(10_000, 106, 106, RACK)
    assert one.trouble == ""


@pytest.mark.parametrize(("off_s", "why"), [(3_600, "its clock is 3600 s ahead"), (-3_600, "is 3600 s old")])
def test_a_clock_an_hour_off(off_s: int, why: str) -> None:
    one = gauge(10_000)
    assert not one.take(10_000, 101 + off_s, 101, RACK)
    assert one.trouble == why
    assert one.draw(200) is None


def test_the_same_reading_told_again_is_not_a_second_one() -> None:
    one = gauge(50_000)
    for now in range(101, 110):
        assert not one.take(50_000, 100, now, RACK)
    assert (one.trouble, draw(one, 109).twice_w) == ("", 0)


def test_stuck_while_jobs_came() -> None:
    one = gauge(*[10_000.0] * 60)
    more = Bounds(200, 60_000, expected_w=15_000)
    assert not one.take(10_000, 160, 160, more)
    assert one.trouble == "has been 10000 W for 60 s while 5kW of work came or went"
    assert one.take(10_001, 161, 161, more)
    assert one.take(10_000, 162, 162, more)


def test_a_rack_in_which_nothing_happens_is_not_stuck() -> None:
    one = gauge(*[10_000.0] * 600)
    assert (one.trouble, draw(one, 699).smooth_w) == ("", 10_000)


def test_the_clock_is_set_back() -> None:
    one = gauge(*[10_000] * 20, start=5_000)
    one.not_later_than(100)
    assert one.draw(100) is None
    assert one.take(10_000, 101, 101, RACK)


def test_inlets_add_up_and_of_two_sources_the_higher_counts() -> None:
    a, b = Draw(10, 20, 8, 5, 7.0), Draw(30, 10, 9, 2, 6.0)
    assert a + b == Draw(40, 30, 17, 7, 7.0)
    assert a.or_more(b) == Draw(30, 20, 9, 5, 7.0)


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.integers(0, 60), st.floats(-4_000, 4_000)), max_size=40))
def test_whatever_comes_what_is_shown_is_within_what_is_believed(told: list[tuple[float, int, float]]) -> None:
    one, now = Gauge(30, 1, 10, 60), 10_000.0
    for value, pause_s, age_s in told:
        now += pause_s
        one.take(value, now - age_s, now, RACK)
        found = one.draw(now)
        if found is not None:
            assert RACK.least_w <= found.smooth_w <= RACK.most_w
            assert RACK.least_w <= found.latest_w <= RACK.most_w
            assert found.twice_w <= found.latest_w
            assert now - found.at <= 30


def part(watts: int, at: float, beat_s: float = 1) -> Draw:
    return Draw(watts, watts, watts, watts, at, beat_s)


def total(*parts: Draw | None) -> Draw:
    found = add_up(parts)
    assert found is not None
    return found


def test_parts_of_which_one_is_silent_are_a_lower_bound() -> None:
    both, one = total(part(3_000, 10), part(4_000, 10)), total(part(3_000, 10), None)
    assert (both.smooth_w, both.proven_w, both.whole, both.late) == (7_000, 7_000, True, False)
    assert (one.smooth_w, one.whole) == (3_000, False)
    assert add_up([None, None]) is None
    assert add_up([]) is None


def test_a_part_that_has_missed_a_beat_counts_and_proves_nothing() -> None:
    """Another may carry its load by now. One that always comes more slowly has missed none."""
    late, slow = total(part(3_000, 8), part(6_000, 10)), total(part(3_000, 8, 10), part(6_000, 10))
    assert (late.high_w, late.proven_w, late.whole, late.late, late.at) == (9_000, 6_000, True, True, 10)
    assert (slow.high_w, slow.proven_w, slow.late) == (9_000, 9_000, False)
    assert not total(part(3_000, 8), part(6_000, 8)).late  # their source is, and nothing else is newer
    above = total(late, part(1_000, 10))
    assert (above.proven_w, above.late) == (7_000, True)  # what is made of it is not left out as a whole


def test_a_lower_bound_that_is_higher_counts_and_does_not_hide_what_is_whole() -> None:
    whole, least = part(5_000, 10), part(16_000, 10).at_least()
    assert (whole.or_more(least).smooth_w, whole.or_more(least).whole) == (16_000, True)
    assert not least.or_more(least).whole
    assert whole.or_more(least.missing_a_beat()).late


def test_an_estimate_proves_nothing() -> None:
    half = part(5_000, 10).part(lambda watts: watts // 2)
    assert (half.smooth_w, half.latest_w, half.proven_w) == (2_500, 2_500, 2_500)
    assert (half.unproven().high_w, half.unproven().proven_w) == (2_500, 0)


def test_the_same_measurement_told_a_little_later_is_not_a_second_one() -> None:
    one = gauge()
    assert one.take(9_000, 10.0, 11, RACK)
    assert not one.take(9_000, 10.3, 12, RACK)
    assert one.take(9_000, 10.6, 12, RACK)
