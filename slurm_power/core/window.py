"""Half-open windows of time, and instants.

An instant is a whole number of seconds since 1970-01-01 UTC: what Slurm itself keeps, free of time zones, and
cheap to compare. Text and time zones stay at the edges, in the two functions below.
"""

import re
from datetime import UTC, datetime, tzinfo
from math import floor

from slurm_power.core.errors import UsageError
from slurm_power.core.immutable import immutable
from slurm_power.core.units import UNIT_SECONDS

FOREVER = 1 << 53
"""An end that never comes; exact as a JSON number too."""

_LAST = 253_402_300_799
"""9999-12-31T23:59:59Z, the last instant that ISO 8601 has a plain year for."""

_RELATIVE = re.compile(
    r"now(?:\s*\+\s*(?P<number>\d{1,15})\s*(?P<unit>seconds?|minutes?|hours?|days?|weeks?)?)?",
    re.ASCII | re.IGNORECASE,
)
# datetime.fromisoformat alone takes any character between date and time, and a NUL at the end.
_ISO = re.compile(r"(?:\d{4}-\d\d-\d\d|\d{8}|\d{4}-?W\d\d(?:-?\d)?)(?:[T ]\d[\d:.,]*(?:Z|[+-][\d:.]+)?)?", re.ASCII)


@immutable
class Window:
    """The instants t with start ≤ t < end."""

    start: int
    end: int = FOREVER

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a window ends after its start: [{self.start}, {self.end})")

    def overlaps(self, other: "Window") -> bool:
        """Whether there is an instant in both."""
        return self.start < other.end and other.start < self.end

    def __contains__(self, instant: int) -> bool:
        return self.start <= instant < self.end


def window_from(start: int, length_s: int | None) -> Window:
    """The window that begins at `start` and lasts `length_s` seconds (None: without end)."""
    return Window(start, FOREVER if length_s is None else start + max(length_s, 1))


def format_instant(instant: int) -> str | None:
    """ISO 8601 in UTC, `2026-04-20T18:00:00Z`; None for FOREVER, and for what lies after the year 9999."""
    if instant > _LAST:
        return None
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_instant(text: str, now: int, zone: tzinfo = UTC) -> int:
    """ISO 8601 (without offset: in `zone`) or Slurm's `now`, `now+2hours`, `now+90` (seconds). Raises UsageError."""
    words = text.strip()
    match = _RELATIVE.fullmatch(words)
    if match is not None:
        instant = now + int(match["number"] or 0) * UNIT_SECONDS[(match["unit"] or "s")[0].lower()]
    else:
        try:
            instant = _calendar_instant(words.upper(), zone)
        except (ValueError, OverflowError):
            raise UsageError(f"'{text}' is not a time; write 2026-04-20T18:00:00Z or now+2hours") from None
    if instant > _LAST:
        raise UsageError(f"'{text}' is after the year 9999; write 2026-04-20T18:00:00Z or now+2hours")
    return instant


def _calendar_instant(text: str, zone: tzinfo) -> int:
    """ISO 8601, fractions of a second dropped. Raises ValueError or OverflowError."""
    if _ISO.fullmatch(text) is None:
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return floor((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())
