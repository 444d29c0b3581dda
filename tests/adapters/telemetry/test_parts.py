"""When rows are a total and its parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.telemetry.parts import sum_of_parts


@pytest.mark.parametrize(
    ("values", "whole"),
    [
        ([], None),
        ([5.0], None),
        ([5.0, 5.0], None),
        ([0.0, 0.0, 0.0], None),
        ([100.0, 40.0, 60.0], 0),
        ([40.0, 100.0, 60.0], 1),
        ([40.0, 60.0, 98.1], 2),
        ([40.0, 60.0, 102.0], 2),
        ([40.0, 60.0, 97.9], None),
        ([40.0, 60.0, 103.0], None),
        ([40.0, 60.0, 50.0], None),
        ([5.0, 5.0, 0.0], 0),
        ([1.0, 0.0, 0.0], None),
        ([10.0] * 8 + [80.0], 8),
    ],
)
def test_which_is_the_sum(values: list[float], whole: int | None) -> None:
    assert sum_of_parts(values) == whole


@given(st.lists(st.integers(1, 20_000), min_size=2, max_size=48), st.integers(0, 48), st.floats(0.985, 1.015))
def test_a_total_is_found_wherever_it_is(parts: list[int], place: int, off: float) -> None:
    values = [float(part) for part in parts]
    total = sum(values) * off
    values.insert(place, total)
    assert values[sum_of_parts(values) or 0] == max(values)
    assert sum_of_parts(values) is not None


@given(st.lists(st.integers(500, 520), min_size=3, max_size=48))
def test_equals_are_no_total(values: list[float]) -> None:
    assert sum_of_parts(values) is None
