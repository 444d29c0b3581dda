"""When rows are a total and its parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.telemetry.parts import sum_of_parts, total_of_inlets
from slurm_power.ports import Kind, Quantity, Reading


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


def inlets(*told: tuple[str, float], kind: Kind = Kind.ZONE) -> list[Reading]:
    return [Reading(kind, "rack01", Quantity.POWER, watts, part=inlet) for inlet, watts in told]


def test_a_total_among_inlets() -> None:
    parts = (("1", 4_000), ("2", 4_000), ("3", 4_000))
    says = "inlet 'total' of zone 'rack01' (12000 W) is the sum of 1, 2, 3: a total and its parts would count twice"
    assert total_of_inlets(inlets(*parts, ("total", 12_000))) == says
    by_phase = [Reading(Kind.ZONE, "rack01", Quantity.POWER, 4_000, part="total", phase=f"L{n}") for n in (1, 2, 3)]
    assert total_of_inlets([*by_phase, *inlets(*parts)]) == says


@pytest.mark.parametrize(
    "readings",
    [
        [],
        inlets(("1", 4_000), ("2", 4_000), ("3", 4_000)),
        inlets(("a", 4_000), ("b", 4_000)),
        inlets(("", 12_000), ("1", 4_000), ("2", 8_000)),
        inlets(("total", float("inf")), ("1", 4_000), ("2", 8_000)),
        inlets(("total", float("nan")), ("1", 4_000), ("2", 8_000)),
        inlets(("total", 12_000), ("1", -1), ("2", 12_001)),
        [*inlets(("total", 12_000)), *inlets(("1", 4_000), ("2", 8_000), kind=Kind.FEED)],
        [Reading(Kind.ZONE, "rack01", Quantity.TEMPERATURE, celsius, part=str(celsius)) for celsius in (10, 20, 30)],
    ],
)
def test_no_total_among_inlets(readings: list[Reading]) -> None:
    assert total_of_inlets(readings) == ""
