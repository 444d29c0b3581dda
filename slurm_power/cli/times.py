"""Times of the past, as `--since` and `--until` take them, and of the future, as `--at` does."""

import re
import time
from datetime import datetime, timedelta, tzinfo

from slurm_power.core.errors import UsageError
from slurm_power.core.units import parse_duration_s
from slurm_power.core.window import parse_instant

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?\s*(am|pm)?", re.ASCII | re.IGNORECASE)
_HOURS = {"midnight": 0, "noon": 12, "teatime": 16}
_AGO = re.compile(r"now\s*-\s*(.+)", re.ASCII | re.IGNORECASE)


def since(text: str) -> int:
    """The instant that a `--since` or `--until` names, on the site's clock; before 1970 is 0. Raises UsageError."""
    return max(0, parse_past(text, int(time.time()), _site_zone()))


def at(text: str) -> int:
    """The instant that an `--at` names, on the site's clock. Raises UsageError."""
    return parse_future(text, int(time.time()), _site_zone())


def _site_zone() -> tzinfo:
    from slurm_power.config import local_timezone  # noqa: PLC0415 -- slow to load, and only a given time needs it

    return local_timezone()


def parse_past(text: str, now: int, zone: tzinfo) -> int:
    """An instant: ISO 8601, `now-2hours`, `today`, or `24h` for so long ago. Raises UsageError."""
    words = text.strip()
    if words.lower() in ("today", "midnight"):
        return int(datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0).timestamp())
    match = _AGO.fullmatch(words)
    try:
        if match is not None:
            return now - (parse_instant(f"now+{match[1]}", now) - now)
        return parse_instant(words, now, zone)
    except UsageError:
        pass
    try:
        return now - parse_duration_s(words)
    except UsageError:
        example = "2026-04-20T18:00:00Z, now-2hours, today or 24h"
        raise UsageError(f"'{text}' is not a time; write {example}") from None


def parse_future(text: str, now: int, zone: tzinfo) -> int:
    """An instant from now on: ISO 8601, `now+2hours`, and Slurm's `18:00`, `6:00pm`, `noon`, `midnight`, `tomorrow`.

    A time of day is the next one. Raises UsageError.
    """
    local = datetime.fromtimestamp(now, zone)
    words = text.strip().lower()
    if words == "tomorrow":
        return int(_on_the_day(local, 1, 0, 0, 0).timestamp())
    clock = _time_of_day(words)
    if clock is not None:
        today = int(_on_the_day(local, 0, *clock).timestamp())
        return today if today >= now else int(_on_the_day(local, 1, *clock).timestamp())
    instant = parse_instant(text, now, zone)
    if instant < now:
        raise UsageError(f"'{text}' is in the past; write a time to come, such as now+2hours")
    return instant


def _on_the_day(local: datetime, days: int, hour: int, minute: int, second: int) -> datetime:
    day = (local + timedelta(days=days)).date()
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=local.tzinfo)


def _time_of_day(words: str) -> tuple[int, int, int] | None:
    """Hour, minute and second; None where it is no time of day."""
    if words in _HOURS:
        return _HOURS[words], 0, 0
    match = _CLOCK.fullmatch(words)
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    if match[4] is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[4] == "pm" else 0)
    return (hour, minute, second) if hour < 24 and minute < 60 and second < 60 else None
