"""Watts, durations and fractions as text and as exact numbers.

Inside, power is an integer number of watts and time an integer number of seconds; text stays at the edges.
Demand rounds up and capacity rounds down, so that rounding never makes room that is not there.
"""

import re
from fractions import Fraction
from math import ceil, floor

from slurm_power.core.errors import UsageError

MAX_WATTS = 2_147_483_647
"""The most that one Slurm licence can count (of a larger one in slurm.conf slurmctld dies at a reconfigure)."""

_WATTS = re.compile(r"(?P<whole>\d{1,40})(?:\.(?P<part>\d{1,40}))?\s*(?P<unit>W|w|kW|kw|KW|MW)?", re.ASCII)
_FACTOR = {"": 1, "W": 1, "w": 1, "kW": 1_000, "kw": 1_000, "KW": 1_000, "MW": 1_000_000}
_PERCENT = re.compile(r"(?P<number>\d{1,40}(?:\.\d{1,40})?)\s*(?P<sign>%?)", re.ASCII)
_SPAN = re.compile(
    r"(?P<number>\d{1,40}(?:\.\d{1,40})?)\s*"
    r"(?P<unit>ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hours?|d|days?|w|weeks?)",
    re.ASCII,
)
UNIT_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds of a unit of time, by the first letter of its name."""
_SLURM_TIME = re.compile(r"(?:(?P<days>\d{1,40})-)?(?P<clock>\d{1,40}(?::\d{1,40}){0,2})", re.ASCII)


def exact_watts(text: str) -> Fraction:
    """Watts exactly as written: `18.5kW`, `18500W`, `18500`, `0.4MW`. Raises UsageError."""
    match = _WATTS.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not a power; write 18.5kW, 18500W or 18500")
    whole, part, unit = match.groups("")
    scaled, scale = int(whole + part) * _FACTOR[unit], 10 ** len(part)  # far quicker than Fraction("18.5")
    if scaled > MAX_WATTS * scale:
        raise UsageError(f"'{text}' is more than {format_watts(MAX_WATTS)}, the most that can be counted")
    return Fraction(scaled, scale)


def parse_demand_w(text: str) -> int:
    """Watts that something asks for, rounded up. Raises UsageError."""
    return ceil(exact_watts(text))


def parse_capacity_w(text: str) -> int:
    """Watts that something can give, rounded down. Raises UsageError."""
    return floor(exact_watts(text))


def format_watts(watts: int) -> str:
    """Watts for people, exact to the watt: `18.5kW`, `-750W`."""
    if abs(watts) < 1_000:
        return f"{watts}W"
    whole, rest = divmod(abs(watts), 1_000)
    digits = f"{rest:03d}".rstrip("0")
    return f"{'-' if watts < 0 else ''}{whole}{'.' + digits if digits else ''}kW"


def format_energy(watt_hours: int) -> str:
    """Energy for people: `18.500kWh`."""
    return f"{watt_hours / 1_000:.3f}kWh"


def parse_fraction(text: str) -> Fraction:
    """A share of one: `15%` or `0.15`. Raises UsageError outside 0 to 1."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not a share; write 15% or 0.15")
    share = Fraction(match["number"]) / (100 if match["sign"] else 1)
    if share > 1:
        raise UsageError(f"'{text}' is more than the whole; write 15% or 0.15")
    return share


def parse_duration_ms(text: str) -> int:
    """A duration in milliseconds: `100ms`, `2s`, `10m`, `12h`, `30d`. Raises UsageError."""
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"'{text}' is not a duration; write 100ms, 30s, 10m, 12h or 30d")
    number, unit = Fraction(match["number"]), match["unit"]
    return ceil(number if unit == "ms" else number * 1_000 * UNIT_SECONDS[unit[0]])


def parse_duration_s(text: str) -> int:
    """A duration in seconds, rounded up: `30s`, `10m`, `12h`, `30d`. Raises UsageError."""
    return -(-parse_duration_ms(text) // 1_000)


def parse_slurm_duration_s(text: str) -> int:
    """Slurm's way to write a time limit: `90` (minutes), `MM:SS`, `HH:MM:SS`, `D-HH`, `D-HH:MM[:SS]`.

    Our own form (`10m`, `12h`) is taken too. Raises UsageError.
    """
    match = _SLURM_TIME.fullmatch(text.strip())
    if match is None:
        return parse_duration_s(text)
    parts = [int(part) for part in match["clock"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return int(match["days"]) * 86_400 + hours * 3_600 + minutes * 60 + seconds
    if len(parts) == 3:
        return parts[0] * 3_600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


def format_duration(seconds: int) -> str:
    """Seconds in Slurm's form: `1-02:00:00`, `00:10:00`."""
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


def ceil_share(watts: int, numerator: int, denominator: int) -> int:
    """⌈watts × numerator ÷ denominator⌉ for demand, in integers. Raises ZeroDivisionError."""
    return -(-watts * numerator // denominator)
