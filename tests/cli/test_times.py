from zoneinfo import ZoneInfo

import pytest

from slurm_power.cli.times import parse_future, parse_past
from slurm_power.core.errors import UsageError

NOW = 1_776_700_800  # 2026-04-20T16:00:00Z
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("now", NOW),
        ("now-2hours", NOW - 7_200),
        ("NOW - 30 minutes", NOW - 1_800),
        ("now-90", NOW - 90),
        ("24h", NOW - 86_400),
        ("7d", NOW - 604_800),
        ("2026-04-20T12:00:00Z", NOW - 14_400),
        ("2026-04-20T12:00:00", NOW - 21_600),
        ("today", NOW - 64_800),
        (" Midnight ", NOW - 64_800),
    ],
)
def test_times_of_the_past(text: str, instant: int) -> None:
    assert parse_past(text, NOW, BERLIN) == instant


@pytest.mark.parametrize("text", ["", "now-", "now--2hours", "last week", "24", "-24h", "now-24h-2h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time; write"):
        parse_past(text, NOW, BERLIN)


def test_times_to_come() -> None:
    assert parse_future("now", NOW, BERLIN) == NOW
    assert parse_future("2026-04-20T18:00:00", NOW, BERLIN) == NOW
    assert parse_future("2026-04-20T18:00:00Z", NOW, BERLIN) == NOW + 7_200
    with pytest.raises(UsageError, match="'2026-04-20T17:59:59' is in the past"):
        parse_future("2026-04-20T17:59:59", NOW, BERLIN)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("18:00", NOW),  # in Berlin it is just then
        ("18:00:01", NOW + 1),
        ("6:30pm", NOW + 1_800),
        ("6:00 am", NOW + 43_200),
        ("17:59", NOW + 86_340),
        ("12:00am", NOW + 21_600),
        ("Midnight", NOW + 21_600),
        ("noon", NOW + 64_800),
        ("teatime", NOW + 79_200),
        ("tomorrow", NOW + 21_600),
    ],
)
def test_times_of_day_are_the_next_ones(text: str, instant: int) -> None:
    assert parse_future(text, NOW, BERLIN) == instant


def test_a_time_of_day_keeps_its_hour_where_the_clocks_change() -> None:
    saturday = 1_774_720_800  # 2026-03-28T18:00:00Z, 19:00 in Berlin; the night has an hour less
    assert parse_future("19:00", saturday + 1, BERLIN) == saturday + 23 * 3_600


@pytest.mark.parametrize("text", ["24:00", "18:60", "13:00pm", "0:30am", "18:0", "18"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time; write"):
        parse_future(text, NOW, BERLIN)
