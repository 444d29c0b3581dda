"""Costs are exact, dated, and of a closed month for ever the same."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.showback import (
    KWH_WS,
    Month,
    Priced,
    Stretch,
    Tariff,
    Total,
    closed,
    cost_of,
    in_force,
    month_at,
    pieces,
    priced,
    rounded,
    watt_hours,
)
from slurm_power.core.usage import HOUR_S, Usage
from slurm_power.core.window import Window

EUR = Tariff(0, "EUR", Fraction("0.21"), Fraction("0.05"), {"gold": Fraction("1.5")}, Fraction("0.8"))
LATER = Tariff(10 * HOUR_S, "EUR", Fraction("0.42"))


def row(hour: int = 0, **sums: int) -> Usage:
    return Usage("", "research", 1, str(sums.pop("tier", "gold")), hour, **sums)


@pytest.mark.parametrize(
    ("sums", "cost"),
    [
        ({}, "0"),
        ({"jobs_ws": KWH_WS}, "0.315"),
        ({"jobs_ws": KWH_WS, "yielding_ws": KWH_WS}, "0.252"),
        ({"jobs_ws": 2 * KWH_WS, "yielding_ws": KWH_WS}, "0.567"),
        ({"reserved_ws": 3 * KWH_WS, "used_ws": KWH_WS}, "0.15"),
        ({"reserved_ws": 3 * KWH_WS, "used_ws": KWH_WS, "jobs_ws": KWH_WS}, "0.465"),
        ({"ended_ws": KWH_WS, "off_ws": KWH_WS, "runs": 1, "missed": 1}, "0"),
    ],
)
def test_what_usage_costs(sums: dict[str, int], cost: str) -> None:
    assert cost_of(row(**sums), EUR) == Fraction(cost)
    assert cost_of(replace(row(**sums), tier="other"), EUR) == Fraction(cost) / Fraction("1.5")


def test_an_hour_goes_by_the_tariff_in_force_at_its_beginning() -> None:
    tariffs = (LATER, EUR)
    assert [in_force(tariffs, at) for at in (0, 10 * HOUR_S - 1, 10 * HOUR_S)] == [EUR, EUR, LATER]
    assert in_force((LATER,), 0) is None
    found = list(priced([row(9 * HOUR_S, jobs_ws=KWH_WS), row(10 * HOUR_S, jobs_ws=KWH_WS)], tariffs))
    assert [one.cost for one in found] == [Fraction("0.315"), Fraction("0.42")]
    assert list(priced([row(0)], (LATER,))) == [Priced(row(0))]


@pytest.mark.parametrize(
    ("cost", "text"),
    [("0", "0.00"), ("0.005", "0.01"), ("0.00499999", "0.00"), ("1/3", "0.33"), ("2/3", "0.67"), ("9.565", "9.57")],
)
def test_costs_are_rounded_once(cost: str, text: str) -> None:
    assert rounded(Fraction(cost)) == text


@pytest.mark.parametrize(("ws", "wh"), [(0, 0), (1_799, 0), (1_800, 1), (3_600, 1), (5_400, 2)])
def test_watt_hours(ws: int, wh: int) -> None:
    assert watt_hours(ws) == wh


USAGES = st.builds(
    Usage,
    st.sampled_from(["", "r1"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from([1, 2]),
    st.sampled_from(["gold", "bronze"]),
    st.integers(0, 20).map(lambda hour: hour * HOUR_S),
    *[st.integers(0, 10**9)] * 8,
)


@given(st.lists(USAGES, max_size=20))
def test_a_closed_month_is_the_sum_of_its_hours(rows: list[Usage]) -> None:
    window = Window(0, 21 * HOUR_S)
    month = closed("m", window, rows, (EUR, LATER))
    before, after = Total(), Total()
    for one in priced(rows, (EUR, LATER)):
        before.add(one)
    for one in month.rows:
        after.add(one)
    assert before == after
    assert len({(one.usage.share, one.currency) for one in month.rows}) == len(month.rows)
    assert month == closed("m", window, rows[::-1], (EUR, LATER))


def test_a_closed_month_keeps_the_tariffs_that_it_went_by() -> None:
    month = closed("m", Window(0, 5 * HOUR_S), [], (EUR, LATER))
    assert month.tariffs == (EUR,)


MONTHS = (
    Month("b", Window(200, 300), (LATER,), ()),
    Month("a", Window(100, 200), (EUR,), ()),
)


@pytest.mark.parametrize(
    ("period", "found"),
    [
        (Window(0, 100), [Stretch(Window(0, 100), (LATER, EUR))]),
        (Window(100, 300), [MONTHS[1], MONTHS[0]]),
        (Window(50, 200), [Stretch(Window(50, 100), (LATER, EUR)), MONTHS[1]]),
        (Window(150, 301), [Stretch(Window(150, 200), (EUR,)), MONTHS[0], Stretch(Window(300, 301), (LATER, EUR))]),
        (Window(120, 130), [Stretch(Window(120, 130), (EUR,))]),
        (Window(299, 300), [Stretch(Window(299, 300), (LATER,))]),
    ],
)
def test_a_part_of_a_closed_month_goes_by_its_own_tariffs(period: Window, found: list[Month | Stretch]) -> None:
    assert list(pieces(period, MONTHS, (LATER, EUR))) == found


@given(st.integers(0, 400), st.integers(1, 400))
def test_pieces_cover_a_period_without_gap_or_overlap(start: int, length: int) -> None:
    windows = [piece.window for piece in pieces(Window(start, start + length), MONTHS, ())]
    edges = [edge for window in windows for edge in (window.start, window.end)]
    assert (edges[0], edges[-1]) == (start, start + length)
    assert edges[1:-1:2] == edges[2:-1:2]


@given(st.integers(0, 4_000_000_000), st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")]))
def test_months_are_those_of_the_site(at: int, zone: ZoneInfo) -> None:
    name, window = month_at(at, zone)
    assert at in window
    assert f"{datetime.fromtimestamp(at, zone):%Y-%m}" == name
    assert month_at(window.start, zone) == month_at(window.end - 1, zone) == (name, window)
    assert month_at(window.end, zone)[1].start == window.end


def test_costs_of_two_currencies_are_not_added() -> None:
    total = Total()
    for currency in ("EUR", "CHF", "EUR"):
        total.add(Priced(row(jobs_ws=1), currency, Fraction(1, 3)))
    assert total.costs == {"EUR": Fraction(2, 3), "CHF": Fraction(1, 3)}


def test_parts_of_a_total() -> None:
    total = Total()
    assert (total.use, total.accuracy) == (None, None)
    total.add(Priced(row(reserved_ws=3_000, used_ws=1_000, ended_ws=600, off_ws=200)))
    assert (total.use, total.accuracy) == (0.333, 0.75)
