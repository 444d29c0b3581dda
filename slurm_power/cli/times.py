"""Times of the past, as `--since` and `--until` take them, and of the future, as `--at` does."""

import re
import time
from datetime import datetime, tzinfo

from slurm_power.core.errors import UsageError
from slurm_power.core.units import parse_duration_s
from slurm_power.core.window import parse_instant

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
    """An instant from now on: ISO 8601, `now`, `now+2hours`. Raises UsageError."""
    instant = parse_instant(text, now, zone)
    if instant < now:
        raise UsageError(f"'{text}' is in the past; write a time to come, such as now+2hours")
    return instant
