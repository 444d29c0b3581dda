"""Windows are half-open; instants are read in any zone and written in UTC."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.errors import UsageError
from slurm_power.core.window import FOREVER, Window, format_instant, parse_instant, window_from

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LAST = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


def utc(*parts: int) -> int:
    """The instant of a time in UTC."""
    return int(datetime(*parts, tzinfo=UTC).timestamp())  # type: ignore[arg-type, misc]


NOW = utc(2026, 4, 20, 12)


# --- Windows ---


def test_a_window_holds_its_start_and_not_its_end() -> None:
    window = Window(10, 20)
    assert [t for t in range(8, 23) if t in window] == list(range(10, 20))
    assert 10**12 in Window(10)


@pytest.mark.parametrize(("start", "end"), [(10, 10), (10, 9), (FOREVER, FOREVER)])
def test_an_empty_window_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="ends after its start"):
        Window(start, end)


def test_window_from() -> None:
    assert window_from(10, 5) == Window(10, 15)
    assert window_from(10, 0) == Window(10, 11)
    assert window_from(10, None) == Window(10, FOREVER)


# --- Instants ---


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-04-20T18:00:00Z", BERLIN, utc(2026, 4, 20, 18)),
        ("2026-04-20T18:00:00z", BERLIN, utc(2026, 4, 20, 18)),
        ("2026-04-20T18:00:00+02:00", NEW_YORK, utc(2026, 4, 20, 16)),
        ("2026-04-20T18:00:00-0330", UTC, utc(2026, 4, 20, 21, 30)),
        ("2026-04-20T18:00:00", UTC, utc(2026, 4, 20, 18)),
        ("2026-04-20T18:00:00", BERLIN, utc(2026, 4, 20, 16)),
        ("2026-01-20T18:00:00", BERLIN, utc(2026, 1, 20, 17)),
        ("2026-04-20T18:00", NEW_YORK, utc(2026, 4, 20, 22)),
        ("2026-04-20 18:00", timezone(timedelta(hours=5, minutes=30)), utc(2026, 4, 20, 12, 30)),
        ("2026-04-20", BERLIN, utc(2026, 4, 19, 22)),
        ("20260420T180000Z", UTC, utc(2026, 4, 20, 18)),
        ("2026-W17-1T18:00Z", UTC, utc(2026, 4, 20, 18)),
        ("2026-04-20T18:00:00.999Z", UTC, utc(2026, 4, 20, 18)),
        (" 2026-04-20T18:00:00Z ", UTC, utc(2026, 4, 20, 18)),
        ("1969-12-31T23:59:58.5Z", UTC, -2),
        ("9999-12-31T23:59:59Z", UTC, LAST),
        # the hour that summer time skips counts from the offset before it, the hour that comes twice is its first
        ("2026-03-29T02:30", BERLIN, utc(2026, 3, 29, 1, 30)),
        ("2026-03-29T01:59:59", BERLIN, utc(2026, 3, 29, 0, 59, 59)),
        ("2026-03-29T03:00", BERLIN, utc(2026, 3, 29, 1)),
        ("2026-10-25T02:30", BERLIN, utc(2026, 10, 25, 0, 30)),
        ("2026-10-25T02:30+01:00", BERLIN, utc(2026, 10, 25, 1, 30)),
        ("2026-10-25T03:00", BERLIN, utc(2026, 10, 25, 2)),
        ("2026-11-01T01:30", NEW_YORK, utc(2026, 11, 1, 5, 30)),
        ("now", BERLIN, NOW),
        ("NOW", UTC, NOW),
        ("now+90", UTC, NOW + 90),
        ("now+1second", UTC, NOW + 1),
        ("now+1minute", UTC, NOW + 60),
        ("now+10minutes", UTC, NOW + 600),
        ("now+2hours", BERLIN, NOW + 7_200),
        ("now + 2 Hours", UTC, NOW + 7_200),
        ("now+1day", BERLIN, NOW + 86_400),
        ("now+2weeks", UTC, NOW + 1_209_600),
        ("now+0", UTC, NOW),
    ],
)
def test_instants(text: str, zone: tzinfo, expected: int) -> None:
    assert parse_instant(text, NOW, zone) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "18:00",
        "2026",
        "2026-13-01",
        "2026-02-30",
        "2026-04-20T25:00",
        "2026-04-20T18:00:00 CET",
        "04/20/26",
        "now-1hour",
        "now+",
        "now+2h",
        "now+1.5hours",
        "now+2fortnights",
        "now 2hours",
        "now+٢hours",
        "1776708000",
        "now+" + "9" * 5_000,
        "0000-01-01",
        "10000-01-01",
        "2026-04-20\ud80018:00",
        "2026-04-20;18:00",
        "2026-04-20918:00",
        "2026-04-20T",
        "2026-04-20T18:00:00Z\x00",
    ],
)
def test_what_is_not_a_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not a time; write 2026-04-20T18:00:00Z or now\+2hours"):
        parse_instant(text, NOW)


def test_times_at_the_ends_of_the_calendar() -> None:
    with pytest.raises(UsageError, match="after the year 9999"):
        parse_instant("now+999999999999999weeks", NOW)
    with pytest.raises(UsageError, match="after the year 9999"):
        parse_instant("9999-12-31T23:00", NOW, timezone(timedelta(hours=-5)))
    with pytest.raises(UsageError, match="after the year 9999"):
        parse_instant(f"now+{LAST - NOW + 1}", NOW)
    assert parse_instant(f"now+{LAST - NOW}", NOW) == LAST


def test_format_instant() -> None:
    assert format_instant(NOW) == "2026-04-20T12:00:00Z"
    assert format_instant(0) == "1970-01-01T00:00:00Z"
    assert format_instant(LAST) == "9999-12-31T23:59:59Z"
    assert format_instant(LAST + 1) is None
    assert format_instant(FOREVER) is None
    assert format_instant(FOREVER + 1) is None


@given(st.integers(0, LAST), st.sampled_from([UTC, BERLIN, NEW_YORK]))
def test_instants_round_trip(instant: int, zone: tzinfo) -> None:
    text = format_instant(instant)
    assert text is not None
    assert parse_instant(text, NOW, zone) == instant


@given(st.one_of(st.text(), st.text("now+0123456789-T:.Z hours\n", max_size=25)), st.sampled_from([UTC, BERLIN]))
def test_any_text_is_an_instant_or_refused(text: str, zone: tzinfo) -> None:
    try:
        instant = parse_instant(text, NOW, zone)
    except UsageError:
        return
    assert instant <= LAST


@pytest.mark.parametrize(
    ("other", "overlaps"), [((20, 30), False), ((0, 10), False), ((19, 30), True), ((12, 13), True)]
)
def test_windows_that_touch_do_not_overlap(other: tuple[int, int], overlaps: bool) -> None:
    assert Window(10, 20).overlaps(Window(*other)) is overlaps
    assert Window(*other).overlaps(Window(10, 20)) is overlaps
