"""The kinds of value in a site file: each a type for pydantic, with its parser, its name and what is expected."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Annotated, Any

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from slurm_power.core.errors import UsageError
from slurm_power.core.policy import Hours
from slurm_power.core.thermal import sensible
from slurm_power.core.units import (
    parse_capacity_w,
    parse_demand_w,
    parse_duration_ms,
    parse_duration_s,
    parse_fraction,
)

MAX_SOCKET_PATH = 107
"""What the kernel takes as the path of a unix socket, in bytes."""
_MAX_RANGE = 65_536
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOSTLIST = re.compile(r"[A-Za-z0-9_.,\[\]-]+")
_RANGE = re.compile(r"(\d+)-(\d+)(?=[\],])")
_DECIMAL = re.compile(r"\d+(?:\.\d+)?")
_CLOCK = re.compile(r"(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9]*(?:[+-][0-9]+)?")
_URL = re.compile(r"https?://[^\s/]+\S*")
_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mariadb)(\+[a-z0-9]+)?:///?\S*")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is, for the reference and for messages."""

    name: str
    expected: str


class _BadValueError(Exception):
    """A value that its parser refuses; the message says what is wrong with it."""


def _field(kind: Kind, parse: Callable[[str], Any]) -> BeforeValidator:
    """A validator that parses the text of a scalar and tells pydantic what was expected where it cannot."""

    def validate(value: object) -> object:
        if not isinstance(value, str):
            problem = "has no value" if value is None else "is a list or a mapping"
            raise PydanticCustomError("site", "{problem}", {"problem": problem, "expected": kind.expected})
        try:
            return parse(value)
        except (_BadValueError, UsageError) as error:
            problem = str(error).partition("; write")[0]  # its example is for users; `expected` is for site files
            raise PydanticCustomError(
                "site", "{problem}", {"problem": problem, "expected": kind.expected}
            ) from None

    return BeforeValidator(validate)


def _share_below_one(text: str) -> Fraction:
    share = parse_fraction(text)
    if share == 1:
        raise _BadValueError(f"'{text}' leaves nothing")
    return share


def _decimal(text: str) -> Fraction:
    if not _DECIMAL.fullmatch(text.strip()):
        raise _BadValueError(f"'{text}' is not a number")
    return Fraction(text.strip())


def _above_zero(text: str) -> Fraction:
    number = _decimal(text)
    if not number:
        raise _BadValueError(f"'{text}' is not above 0")
    return number


def _celsius(text: str) -> Fraction:
    celsius = _decimal(text)
    if not sensible(float(celsius)):
        raise _BadValueError(f"'{text}' is a temperature that no inlet has")
    return celsius


def _hysteresis(text: str) -> Fraction:
    celsius = _decimal(text)
    if not 0 < celsius <= 10:
        raise _BadValueError(f"'{text}' is not above 0 and at most 10")
    return celsius


def _milli(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        milli = int(_decimal(text) * 1_000)
        if not least <= milli <= 1_000_000:
            raise _BadValueError(f"{text} is out of range")
        return milli

    return parse


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 0 < int(text) < 1_000_000:
        raise _BadValueError(f"'{text}' is not a whole number above 0")
    return int(text)


def _count_or_zero(text: str) -> int:
    if not text.strip().isdecimal() or not int(text) < 1_000_000:
        raise _BadValueError(f"'{text}' is not a whole number from 0 on")
    return int(text)


def _phases(text: str) -> int:
    if text.strip() not in ("1", "3"):
        raise _BadValueError(f"'{text}' is not a number of phases")
    return int(text)


def _power_factor(text: str) -> Fraction:
    factor = _decimal(text)
    if not 0 < factor <= 1:
        raise _BadValueError(f"{text} is not above 0 and at most 1")
    return factor


def _positive(read: Callable[[str], int]) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = read(text)
        if number <= 0:
            raise _BadValueError(f"'{text}' is nothing")
        return number

    return parse


def _hook_timeout(text: str) -> int:
    milliseconds = parse_duration_ms(text)
    if not 1 <= milliseconds <= 2_000:
        raise _BadValueError(f"'{text}' is not between 1ms and 2s, and slurmctld waits meanwhile")
    return milliseconds


def _kept_for(text: str) -> int:
    seconds = parse_duration_s(text)
    if seconds < 86_400:
        raise _BadValueError(f"'{text}' is less than a day")
    return seconds


def _notice(text: str) -> int | None:
    return None if text.strip() == "never" else parse_duration_s(text)


def _hours(text: str) -> Hours:
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise _BadValueError(f"'{text}' is not a span of the day")
    start_h, start_m, end_h, end_m = map(int, match.groups())
    start, end = start_h * 60 + start_m, end_h * 60 + end_m
    if start_m > 59 or end_m > 59 or start >= 1_440 or end > 1_440 or start == end:
        raise _BadValueError(f"'{text}' is not a span of the day")
    return Hours(start * 60, end * 60)


def check_name(text: str) -> str:
    """A name of a zone or feed; becomes part of a licence and of a feature of Slurm's."""
    if not _NAME.fullmatch(text):
        raise _BadValueError(f"'{text}' is not a name")
    return text


def expand_hostlist(text: str) -> tuple[str, ...]:
    """The names in a hostlist, each once, in order."""
    spans = [int(last) - int(first) for first, last in _RANGE.findall(text)]
    if not _HOSTLIST.fullmatch(text) or any(not 0 <= span < _MAX_RANGE for span in spans):
        raise _BadValueError(f"'{text}' is not a hostlist")
    try:
        names = tuple(NodeSet(text, resolver=RESOLVER_NOGROUP))
    except NodeSetException as error:
        raise _BadValueError(f"'{text}' is not a hostlist: {error}") from None
    if not names:
        raise _BadValueError(f"'{text}' names nothing")
    return names


def expand_hostlist_or_nothing(text: str) -> tuple[str, ...]:
    """The names in a hostlist of Slurm's; none where Slurm has none to show, as in `(null)`."""
    try:
        return expand_hostlist(text)
    except _BadValueError:
        return ()


def fold_hostlist(names: Iterable[str]) -> str:
    """Names as one hostlist, `gpu[001-004]`."""
    return str(NodeSet.fromlist(list(names), resolver=RESOLVER_NOGROUP))


def _day(text: str) -> date:
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise _BadValueError(f"'{text}' is not a day") from None


def _absolute(text: str) -> str:
    if not PurePosixPath(text).is_absolute() or any(character in text for character in "\n\0"):
        raise _BadValueError(f"'{text}' is not an absolute path")
    return text


def _socket(text: str) -> str:
    if len(_absolute(text).encode()) > MAX_SOCKET_PATH:
        raise _BadValueError(
            f"the path is longer than {MAX_SOCKET_PATH} bytes, which the kernel takes for a socket"
        )
    return text


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text.strip()):
            raise _BadValueError(f"'{text}' is not {what}")
        return text.strip()

    return parse


def _text(text: str) -> str:
    if not text.strip():
        raise _BadValueError("is empty")
    return text


WATTS = Kind("watts", "a power such as 18.5kW, 18500W or 18500")
SHARE = Kind("share", "a share such as 15% or 0.15")
NUMBER = Kind("number", "a number such as 1.3")
NUMBER_TO_ONE = Kind("number from 0 to 1", "a number from 0 to 1 such as 0.4")
COUNT = Kind("whole number", "a whole number such as 100")
DURATION = Kind("duration", "a duration such as 30s, 10m, 12h or 30d")
NOTICE = Kind("duration, or `never`", "a duration such as 10m, or never")
NAME = Kind("name", "1 to 64 letters, digits and _.-")
HOSTLIST = Kind("hostlist", "a hostlist such as gpu[001-004] or a,b")
PATH = Kind("path", "an absolute path such as /run/slurm_power/hook.sock")
SECRETS = Kind("path", "a file such as /etc/slurm_power/pdu.yaml, with 'community: …' or 'user: …'")
SIGNAL = Kind("signal", "the name of a signal such as USR1")
HOURS = Kind("hours of the day", "a span of the day such as 20:00-06:00")
DAY = Kind("day", "a day such as 2026-01-01")
URL = Kind("URL", "a URL such as http://127.0.0.1:9090")
DATABASE = Kind(
    "database URL", "a URL such as sqlite:////var/lib/slurm_power/state.db or postgresql://host/name"
)
TEXT = Kind("text", "some text")

Capacity = Annotated[int, _field(WATTS, _positive(parse_capacity_w)), WATTS]
Demand = Annotated[int, _field(WATTS, _positive(parse_demand_w)), WATTS]
DemandOrZero = Annotated[int, _field(WATTS, parse_demand_w), WATTS]
Margin = Annotated[Fraction, _field(SHARE, _share_below_one), SHARE]
Share = Annotated[Fraction, _field(SHARE, parse_fraction), SHARE]
Decimal = Annotated[Fraction, _field(NUMBER, _decimal), NUMBER]
Scale = Annotated[Fraction, _field(Kind("number", "a number above 0 such as 10"), _above_zero), NUMBER]
Celsius = Annotated[Fraction, _field(Kind("number", "a temperature in °C such as 32"), _celsius), NUMBER]
Hysteresis = Annotated[Fraction, _field(Kind("number", "a few °C such as 2"), _hysteresis), NUMBER]
PowerFactor = Annotated[Fraction, _field(Kind("number", "a number such as 0.95"), _power_factor), NUMBER]
AtMostOne = Annotated[Fraction, _field(NUMBER_TO_ONE, parse_fraction), NUMBER_TO_ONE]
AtLeastOne = Annotated[
    int, _field(Kind("number", "a number from 1 to 1000 such as 1.3"), _milli(1_000)), NUMBER
]
Milli = Annotated[int, _field(Kind("number", "a number from 0 to 1000 such as 2"), _milli(0)), NUMBER]
Factor = Annotated[int, _field(Kind("number", "a number from 0.001 to 1000 such as 0.9"), _milli(1)), NUMBER]
Phases = Annotated[int, _field(Kind("`1` or `3`", "1 or 3"), _phases), Kind("`1` or `3`", "1 or 3")]
Count = Annotated[int, _field(COUNT, _count), COUNT]
CountOrZero = Annotated[int, _field(COUNT, _count_or_zero), COUNT]
Seconds = Annotated[int, _field(DURATION, _positive(parse_duration_s)), DURATION]
SecondsOrZero = Annotated[int, _field(DURATION, parse_duration_s), DURATION]
KeptFor = Annotated[int, _field(Kind("duration", "a duration from 1d on such as 400d"), _kept_for), DURATION]
HookTimeout = Annotated[int, _field(Kind("duration", "1ms to 2s, such as 100ms"), _hook_timeout), DURATION]
Notice = Annotated[int | None, _field(NOTICE, _notice), NOTICE]
Name = Annotated[str, _field(NAME, check_name), NAME]
Hostlist = Annotated[tuple[str, ...], _field(HOSTLIST, expand_hostlist), HOSTLIST]
SocketPath = Annotated[str, _field(PATH, _socket), PATH]
FilePath = Annotated[str, _field(PATH, _absolute), PATH]
SecretsPath = Annotated[str, _field(SECRETS, _absolute), SECRETS]
DayHours = Annotated[Hours, _field(HOURS, _hours), HOURS]
Day = Annotated[date, _field(DAY, _day), DAY]
Url = Annotated[str, _field(URL, _matching(_URL, "a URL")), URL]
DatabaseUrl = Annotated[str, _field(DATABASE, _matching(_DATABASE, "a database URL")), DATABASE]
SignalName = Annotated[str, _field(SIGNAL, _matching(_SIGNAL, "a signal")), SIGNAL]
Text = Annotated[str, _field(TEXT, _text), TEXT]
