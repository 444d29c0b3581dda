"""Percentiles of the last half a day or more."""

import pytest

from slurm_power.core.rolling import Rolling

HOUR = 3_600


def filled(*hours: tuple[int, int]) -> Rolling:
    """(hour, W): drawn for an hour that ends then."""
    one = Rolling(0)
    for hour, watts in hours:
        one.add(watts, HOUR, hour * HOUR)
    return one


def test_percentiles_and_the_peak() -> None:
    found = filled(*((hour, 1_000 if hour < 11 else 9_000) for hour in range(12))).whole()
    assert found.percentile(50) == pytest.approx(1_000, rel=0.03)
    assert found.percentile(95) == pytest.approx(9_000, rel=0.03)
    assert found.peak_w == 9_000
    assert Rolling(0).whole().percentile(50) is None


def test_what_is_older_than_a_day_is_forgotten_and_half_a_day_is_not() -> None:
    assert filled((1, 9_000), (13, 1_000)).whole().peak_w == 9_000
    assert filled((1, 9_000), (13, 1_000), (26, 1_000)).whole().peak_w == 1_000
    assert filled((1, 9_000), (40, 1_000)).whole().peak_w == 1_000


def test_a_clock_that_is_set_back_drops_nothing_too_soon() -> None:
    one = filled((30, 2_000), (2, 3_000), (13, 4_000))
    assert one.whole().peak_w == 4_000
    assert one.whole().total == 3 * HOUR
