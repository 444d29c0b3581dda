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
