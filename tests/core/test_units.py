"""Watts, shares and durations: what is read, how it is rounded, what is refused."""

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.errors import UsageError
from slurm_power.core.units import (
    MAX_WATTS,
    ceil_share,
    exact_watts,
    format_duration,
    format_watts,
    parse_capacity_w,
    parse_demand_w,
    parse_duration_ms,
    parse_duration_s,
    parse_fraction,
    parse_slurm_duration_s,
)

READERS: list[Callable[[str], int | Fraction]] = [
    exact_watts,
    parse_demand_w,
    parse_capacity_w,
    parse_fraction,
    parse_duration_ms,
    parse_duration_s,
    parse_slurm_duration_s,
]


@pytest.mark.parametrize(
    ("text", "exact", "demand", "capacity"),
    [
        ("18.5kW", 18_500, 18_500, 18_500),
        ("18500W", 18_500, 18_500, 18_500),
        ("18500", 18_500, 18_500, 18_500),
        ("18500w", 18_500, 18_500, 18_500),
        ("18.5kw", 18_500, 18_500, 18_500),
        ("18.5KW", 18_500, 18_500, 18_500),
        ("0.4MW", 400_000, 400_000, 400_000),
        (" 18 kW ", 18_000, 18_000, 18_000),
        ("007", 7, 7, 7),
        ("0", 0, 0, 0),
        ("0.1W", Fraction(1, 10), 1, 0),
        ("1.2345kW", Fraction(12_345, 10), 1_235, 1_234),
        ("0.3", Fraction(3, 10), 1, 0),
        ("999.9999999", Fraction(9_999_999_999, 10_000_000), 1_000, 999),
        ("2147483647", MAX_WATTS, MAX_WATTS, MAX_WATTS),
        ("2147.483647MW", MAX_WATTS, MAX_WATTS, MAX_WATTS),
        ("0" * 30 + "5." + "0" * 30, 5, 5, 5),
    ],
)
def test_watts(text: str, exact: int | Fraction, demand: int, capacity: int) -> None:
    assert exact_watts(text) == exact
    assert parse_demand_w(text) == demand
    assert parse_capacity_w(text) == capacity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "W",
        "-5kW",
        "+5kW",
        "5mW",
        "5Mw",
        "5GW",
        "5kWh",
        "5k",
        "5 k W",
        "1e3",
        "1_000",
        "1,000",
        ".5",
        "5.",
        "5..0",
        "0x10",
        "NaN",
        "inf",
        "٥kW",
        "５kW",
        "²",
        "5kW\x00",
        "5\nkW5",
        "5kW/node",
        "9" * 41,
        "1." + "9" * 41,
        "9" * 5_000,
    ],
)
def test_what_is_not_watts(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a power; write 18\.5kW"):
        exact_watts(text)


@pytest.mark.parametrize("text", ["2147483648", "2147483647.1", "2147.483648MW", "9" * 40 + "MW"])
def test_more_watts_than_can_be_counted(text: str) -> None:
    with pytest.raises(UsageError, match=r"is more than 2147483\.647kW"):
        exact_watts(text)


@pytest.mark.parametrize(
    ("watts", "text"),
    [
        (0, "0W"),
        (1, "1W"),
        (999, "999W"),
        (1_000, "1kW"),
        (1_001, "1.001kW"),
        (18_500, "18.5kW"),
        (18_050, "18.05kW"),
        (-750, "-750W"),
        (-1_000, "-1kW"),
        (-18_500, "-18.5kW"),
        (MAX_WATTS, "2147483.647kW"),
    ],
)
def test_format_watts(watts: int, text: str) -> None:
    assert format_watts(watts) == text


@given(st.integers(0, MAX_WATTS))
def test_watts_round_trip(watts: int) -> None:
    text = format_watts(watts)
    assert exact_watts(text) == watts
    assert parse_demand_w(text) == parse_capacity_w(text) == watts


@given(st.integers(0, 10**9), st.integers(0, 12), st.sampled_from([("W", 1), ("", 1), ("kW", 1_000), ("MW", 10**6)]))
def test_watts_are_exact_and_each_side_rounds_its_own_way(digits: int, places: int, unit: tuple[str, int]) -> None:
    written = str(digits).rjust(places + 1, "0")
    number = f"{written[:-places]}.{written[-places:]}" if places else written
    expected = Fraction(digits * unit[1], 10**places)
    if expected > MAX_WATTS:
        with pytest.raises(UsageError):
            exact_watts(number + unit[0])
        return
    assert exact_watts(number + unit[0]) == expected
    assert parse_demand_w(number + unit[0]) == ceil(expected)
    assert parse_capacity_w(number + unit[0]) == floor(expected)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("15%", Fraction(15, 100)),
        ("12.5%", Fraction(1, 8)),
        ("0.15", Fraction(15, 100)),
        (" 15 % ", Fraction(15, 100)),
        ("0", Fraction(0)),
        ("0%", Fraction(0)),
        ("100%", Fraction(1)),
        ("1", Fraction(1)),
    ],
)
def test_shares(text: str, share: Fraction) -> None:
    assert parse_fraction(text) == share


@pytest.mark.parametrize("text", ["", "%", "-1%", "15%%", "101%", "1.01", "15", "1e-1", "٥%", "9" * 5_000])
def test_what_is_not_a_share(text: str) -> None:
    with pytest.raises(UsageError, match=r"write 15% or 0\.15"):
        parse_fraction(text)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("100ms", 100),
        ("0.5ms", 1),
        ("2s", 2_000),
        ("2sec", 2_000),
        ("2secs", 2_000),
        ("1second", 1_000),
        ("2seconds", 2_000),
        ("1.5s", 1_500),
        ("10m", 600_000),
        ("10min", 600_000),
        ("10mins", 600_000),
        ("1minute", 60_000),
        ("10 minutes", 600_000),
        ("12h", 43_200_000),
        ("0.5hours", 1_800_000),
        ("30d", 2_592_000_000),
        ("1day", 86_400_000),
        ("2w", 1_209_600_000),
        ("1week", 604_800_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert parse_duration_ms(text) == milliseconds
    assert parse_duration_s(text) == ceil(Fraction(milliseconds, 1_000))


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-10m", "10M", "10x", "1h30m", "1:30", "٥m", "1e3s", "9" * 5_000 + "s"]
)
def test_what_is_not_a_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration_ms(text)
    with pytest.raises(UsageError, match="is not a duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5_400),
        ("0", 0),
        ("1:30", 90),
        ("90:00", 5_400),
        ("1:30:00", 5_400),
        ("1-0", 86_400),
        ("1-2", 93_600),
        ("1-2:3", 93_780),
        ("1-2:3:4", 93_784),
        ("10m", 600),
        ("12h", 43_200),
        (" 90 ", 5_400),
    ],
)
def test_slurm_durations(text: str, seconds: int) -> None:
    assert parse_slurm_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "1-", "-1", "1:2:3:4", "1.5", "UNLIMITED", "٥", "9" * 5_000])
def test_what_is_not_a_slurm_duration(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration"):
        parse_slurm_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00:00"), (59, "00:00:59"), (600, "00:10:00"), (86_399, "23:59:59"), (93_600, "1-02:00:00")],
)
def test_format_duration(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 10**10))
def test_durations_round_trip(seconds: int) -> None:
    assert parse_slurm_duration_s(format_duration(seconds)) == seconds


@given(st.integers(0, MAX_WATTS), st.integers(0, 10_000), st.integers(1, 10_000))
def test_a_share_of_demand_rounds_up(watts: int, numerator: int, denominator: int) -> None:
    assert ceil_share(watts, numerator, denominator) == ceil(Fraction(watts * numerator, denominator))


@given(st.one_of(st.text(), st.text("0123456789.-:%kMWmshdw \n٥", max_size=12)))
def test_any_text_is_read_or_refused(text: str) -> None:
    for reader in READERS:
        try:
            value = reader(text)
        except UsageError:
            continue
        assert value >= 0
