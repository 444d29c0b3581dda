"""The keys of a power comment, in both its forms: how each value is read, and a correct example of each.

Readers raise UsageError; whoever calls them adds the place and the example.
"""

import re
from collections.abc import Callable, Mapping
from datetime import tzinfo
from fractions import Fraction
from typing import Any, NamedTuple

from slurm_power.core.errors import UsageError
from slurm_power.core.flatjson import Number
from slurm_power.core.quantity import Per, Quantity
from slurm_power.core.units import MAX_WATTS, exact_watts, format_watts, parse_duration_s
from slurm_power.core.window import parse_instant

JSON_EXAMPLE = '{"estimatedPowerKW": 18.5, "maxPowerKW": 24}'

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HOSTLIST = re.compile(r"(?:[A-Za-z0-9_.-]|\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\])+")
_LONGEST_VALUE = 128
_LONGEST_SPAN_S = 366 * 86_400
_NUMBER = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,2})?")


class Frame(NamedTuple):
    """A value and what is needed to read it."""

    value: Any
    at: int
    now: int
    zone: tzinfo


class Key(NamedTuple):
    """A key of one of the forms: the Envelope's field, its reader (which raises UsageError), a correct example."""

    field: str | None
    read: Callable[[Frame], object]
    example: str


def shown(text: str) -> str:
    """Others' text, fit for a message: short, and without control characters."""
    return ascii(text if len(text) <= 40 else text[:39] + "~")


def _plain(frame: Frame, longest: int = _LONGEST_VALUE) -> str:
    """The value as text that may stand in a message. Raises UsageError."""
    text: str = frame.value
    if not text:
        raise UsageError("a value is missing")
    if len(text) > longest:
        raise UsageError(f"a value of {len(text)} characters is too long")
    if not text.isprintable():
        raise UsageError(f"{shown(text)} holds characters that cannot be printed")
    return text


def _quantity(frame: Frame) -> Quantity:
    text = _plain(frame)
    number, slash, per = text.partition("/")
    if number.startswith("-"):
        raise UsageError(f"'{text}' is negative")
    if slash and per not in ("node", "gpu"):
        raise UsageError(f"'/{per}' is not known; write /node, /gpu, or nothing for the whole job")
    return Quantity(exact_watts(number), Per(per) if slash else Per.JOB, frame.at)


def _demand(frame: Frame) -> Quantity:
    return _positive(_quantity(frame))


def _positive(quantity: Quantity) -> Quantity:
    if not quantity.watts:
        raise UsageError("a job draws more than nothing")
    return quantity


def _deadline(frame: Frame) -> int:
    text = _plain(frame)
    instant = parse_instant(text, frame.now, frame.zone)
    if instant <= frame.now:
        raise UsageError(f"'{text}' is already past")
    return instant


def _yes_no(frame: Frame) -> bool:
    text = _plain(frame)
    if text not in ("yes", "no"):
        raise UsageError(f"'{text}' is neither yes nor no")
    return text == "yes"


def _span(frame: Frame) -> int:
    text = _plain(frame)
    seconds = parse_duration_s(text)
    if seconds > _LONGEST_SPAN_S:
        raise UsageError(f"'{text}' is more than a year")
    return seconds


def _interval(frame: Frame) -> int:
    seconds = _span(frame)
    if not seconds:
        raise UsageError("checkpoints cannot follow one another without a pause")
    return seconds


def _word(frame: Frame) -> str:
    text = _plain(frame)
    if _NAME.fullmatch(text) is None:
        raise UsageError(f"'{text}' is not a name: letters, digits, '_', '.' and '-', at most 64")
    return text


def _hostlist(frame: Frame) -> str:
    text = _plain(frame, 1_024)
    if _HOSTLIST.fullmatch(text) is None:
        raise UsageError(f"{shown(text)} is not a hostlist")
    return text


KEYS: Mapping[str, Key] = {
    "est": Key("est", _demand, "power:est=18.5kW"),
    "max": Key("max", _demand, "power:est=18.5kW,max=24kW"),
    "headroom": Key("headroom", _quantity, "power:est=18.5kW,headroom=20kW"),
    "tier": Key("tier", _word, "power:est=18.5kW,tier=gold"),
    "deadline": Key("deadline", _deadline, "power:est=18.5kW,deadline=now+2hours"),
    "preemptible": Key("preemptible", _yes_no, "power:est=18.5kW,preemptible=no"),
    "notice": Key("notice_s", _span, "power:est=18.5kW,notice=10m"),
    "profile": Key("profile", _word, "power:profile=resnet50"),
    "class": Key("job_class", _word, "power:class=training"),
    "zones": Key("zones", _hostlist, "power:est=18.5kW,zones=rack[01,03-05]"),
    "reservation": Key("reservation", _word, "power:est=18.5kW,reservation=spring"),
    "partial": Key("partial", _yes_no, "power:est=18.5kW,partial=yes"),
    "ckpt": Key("ckpt_s", _interval, "power:est=18.5kW,ckpt=30m"),
}


# --- JSON ---


def _kilowatts(frame: Frame) -> Quantity:
    value = frame.value
    if not isinstance(value, Number):
        raise UsageError("a number of kW is expected, without quotes or unit")
    if value.startswith("-") and value[1:2].isdigit():
        raise UsageError(f"{shown(value)} is negative")
    if _NUMBER.fullmatch(value) is None:
        raise UsageError(f"{shown(value)} is not a number of kW that can be counted")
    watts = Fraction(value) * 1_000
    if watts > MAX_WATTS:
        raise UsageError(f"{shown(value)} is more than {format_watts(MAX_WATTS)}, the most that can be counted")
    return Quantity(watts, Per.JOB, frame.at)


def _positive_kilowatts(frame: Frame) -> Quantity:
    return _positive(_kilowatts(frame))


def _text(read: Callable[[Frame], object]) -> Callable[[Frame], object]:
    """A reader of key=value for a JSON string."""

    def reader(frame: Frame) -> object:
        if not isinstance(frame.value, str) or isinstance(frame.value, Number):
            raise UsageError("text in double quotes is expected")
        return read(frame)

    return reader


def _true_false(frame: Frame) -> bool:
    if not isinstance(frame.value, bool):
        raise UsageError("true or false is expected, without quotes")
    return frame.value


def _nothing(frame: Frame) -> object:
    return frame.value


JSON_NAMES: Mapping[str, Key] = {
    "estimatedPowerKW": Key("est", _positive_kilowatts, '{"estimatedPowerKW": 18.5}'),
    "maxPowerKW": Key("max", _positive_kilowatts, JSON_EXAMPLE),
    "minRackHeadroomKW": Key("headroom", _kilowatts, '{"estimatedPowerKW": 18.5, "minRackHeadroomKW": 20}'),
    "priority": Key("tier", _text(_word), '{"estimatedPowerKW": 18.5, "priority": "gold"}'),
    "deadline": Key("deadline", _text(_deadline), '{"estimatedPowerKW": 18.5, "deadline": "now+2hours"}'),
    "preemptible": Key("preemptible", _true_false, '{"estimatedPowerKW": 18.5, "preemptible": false}'),
    "jobId": Key(None, _nothing, '{"jobId": "train-4471", "estimatedPowerKW": 18.5}'),
}
WATT_NAMES = frozenset(name.lower() for name in JSON_NAMES if name.endswith("KW"))
