"""Percentiles in little memory, beside those of all values."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.sketch import Sketch


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100]))
def test_off_by_half_a_per_cent_at_most(values: list[int], percent: int) -> None:
    sketch = Sketch()
    for watts in values:
        sketch.add(watts)
    exact = sorted(values)[-(-len(values) * percent // 100) - 1]
    found = sketch.percentile(percent)
    assert found is not None
    assert abs(found - exact) <= exact * 0.00501 + 0.5
    assert found <= sketch.peak_w == max(values)


def test_weights_and_merging() -> None:
    one, other = Sketch(), Sketch()
    one.add(1_000, weight=90)
    other.add(9_000, weight=10)
    one.merge(other)
    assert (one.total, one.peak_w) == (100, 9_000)
    assert one.percentile(90) == pytest.approx(1_000, rel=0.006)
    assert one.percentile(91) == pytest.approx(9_000, rel=0.006)


def test_nothing_and_zero() -> None:
    assert Sketch().percentile(95) is None
    zero = Sketch()
    zero.add(0)
    assert zero.percentile(95) == 0


def test_stored_and_read_again() -> None:
    one = Sketch()
    for watts in range(100, 10_000, 37):
        one.add(watts)
    again = Sketch.read(json.loads(json.dumps(one.stored())))
    assert [again.percentile(p) for p in range(1, 101)] == [one.percentile(p) for p in range(1, 101)]
    assert (again.total, again.peak_w) == (one.total, one.peak_w)
    with pytest.raises(TypeError):
        Sketch.read({"counts": [], "peak_w": 1})
