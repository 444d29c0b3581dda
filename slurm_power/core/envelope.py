"""What a job may draw, as its user writes it into `--comment`.

    power:est=18.5kW,max=24kW,headroom=20kW,tier=gold,deadline=2026-04-20T18:00:00Z,zones=rack[01,03-05]
    power:{"estimatedPowerKW": 18.5, "maxPowerKW": 24}
    {"jobId": "train-resnet-4471", "priority": "gold", "estimatedPowerKW": 18.5, …}

- **Where**: one segment anywhere; the rest of the comment is the user's. A word is ours if it begins with `power:`
  at the start of the comment or after white space or `;`. `foo-power:` and `"power:` are not ours. A segment ends at
  `;`, white space or the end; commas inside [] belong to the value.
- **JSON after `power:`** ends with its closing brace; what follows is the user's.
- **JSON as the whole comment** is ours if it holds a name that speaks of watts (estimatedPowerKW, maxPowerKW,
  minRackHeadroomKW, in whatever case), or if all its names are names of the form and there is one beside jobId.
  Any other object is the user's own, with all that is in its strings. In an object that is ours, every other name
  is an error.
- **Case** counts. A name in another case is an error that tells the spelling, so that `EST=` is never just ignored.
- Which tiers, classes, profiles, reservations and zones exist is the site's to say; here a name has only to be one.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, tzinfo
from fractions import Fraction
from math import ceil
from typing import Any

from slurm_power.core.comment_keys import JSON_EXAMPLE, JSON_NAMES, KEYS, WATT_NAMES, Frame, Key, shown
from slurm_power.core.errors import EnvelopeError, UsageError
from slurm_power.core.flatjson import Member, scan_object
from slurm_power.core.immutable import immutable
from slurm_power.core.quantity import Per, Quantity
from slurm_power.core.units import MAX_WATTS, format_watts

__all__ = ["Envelope", "Per", "Quantity", "Resolved", "parse_comment", "resolve"]


@immutable
class Envelope:
    """What the user said; None where he said nothing. `deadline` is an instant, `zones` an unexpanded hostlist."""

    est: Quantity | None = None
    max: Quantity | None = None
    headroom: Quantity | None = None
    tier: str | None = None
    deadline: int | None = None
    preemptible: bool | None = None
    notice_s: int | None = None
    profile: str | None = None
    job_class: str | None = None
    zones: str | None = None
    reservation: str | None = None
    partial: bool | None = None
    ckpt_s: int | None = None


@immutable
class Resolved:
    """The watts of a whole job: 0 < est_w ≤ max_w ≤ MAX_WATTS; `headroom_w` None where none was asked for."""

    est_w: int
    max_w: int
    headroom_w: int | None


def parse_comment(comment: str, now: int, zone: tzinfo = UTC) -> Envelope | None:
    """The envelope in a comment; None where the comment says nothing of power.

    `zone` is for deadlines that are written without an offset. Raises EnvelopeError.
    """
    begin = 0
    if comment.lstrip()[:1] == "{":
        object_items, begin = _leading_object(comment)
        if object_items:
            return _build(object_items, JSON_NAMES, now, zone)
    folded = comment.lower()
    if _HEAD_TEXT not in folded:
        return None
    start = next(_heads(comment, begin), None)
    if start is None:
        return None
    if comment.startswith("{", start):
        items, end = scan_object(comment, start, JSON_EXAMPLE)
        if not items:
            raise EnvelopeError("the object says nothing", start, f"power:{JSON_EXAMPLE}")
        _check_rest(comment, end)
        envelope = _build(items, JSON_NAMES, now, zone)
    else:
        match = _BODY.match(comment, start)
        end = match.end() if match else start
        envelope = _build(_split(comment[start:end], start), KEYS, now, zone)
    if folded.count(_HEAD_TEXT) > 1:
        second = next(_heads(comment, end), None)
        if second is not None:
            problem = "a comment holds one power segment, and this is a second"
            raise EnvelopeError(problem, second - len(_HEAD_TEXT), _EXAMPLE)
    return envelope


def resolve(
    envelope: Envelope, nodes: int, gpus: int, max_factor_milli: int, estimate_w: int | None = None
) -> Resolved:
    """The job's watts on `nodes` (at least 1) nodes with `gpus` GPUs in all; demand rounds up.

    - Only `est` given: max = ⌈est × max_factor_milli ÷ 1000⌉, never below est.
    - Only `max` given: est = max, so that packing counts all that the job may draw.
    - Neither: est = `estimate_w`, the caller's estimate for the whole job (ValueError if that is missing or not
      positive), and max follows from it.

    Raises EnvelopeError: `/gpu` without GPUs, max below est, more than MAX_WATTS.
    """
    exact_max = _multiply("max", envelope.max, nodes, gpus)
    exact_est = _multiply("est", envelope.est, nodes, gpus)
    if exact_est is None:
        exact_est = exact_max
    if exact_est is None:
        if estimate_w is None or estimate_w <= 0:
            raise ValueError("an envelope without watts needs a positive estimate")
        exact_est = Fraction(estimate_w)
    if exact_max is None:
        exact_max = max(exact_est, exact_est * max_factor_milli / 1_000)
        at = 0 if envelope.est is None else envelope.est.at
    else:
        at = 0 if envelope.max is None else envelope.max.at
    est_w, max_w = ceil(exact_est), ceil(exact_max)
    if exact_max < exact_est:
        problem = f"for this job max is {format_watts(max_w)}, less than est, {format_watts(est_w)}"
        raise EnvelopeError(problem, at, KEYS["max"].example)
    if max_w > MAX_WATTS:
        problem = f"for this job max comes to {format_watts(max_w)}, and {format_watts(MAX_WATTS)} is the most"
        raise EnvelopeError(problem, at, KEYS["max"].example)
    headroom = _multiply("headroom", envelope.headroom, nodes, gpus)
    return Resolved(est_w, max_w, None if headroom is None else ceil(headroom))


def _multiply(name: str, quantity: Quantity | None, nodes: int, gpus: int) -> Fraction | None:
    """The whole job's watts, exactly. Raises EnvelopeError."""
    if quantity is None:
        return None
    if quantity.per is Per.GPU and gpus <= 0:
        problem = f"{name} is per GPU, and this job asks for no GPUs: ask for some by --gpus=8, or give it per node"
        raise EnvelopeError(problem, quantity.at, f"power:{name}=10.2kW/node")
    count = {Per.JOB: 1, Per.NODE: nodes, Per.GPU: gpus}[quantity.per]
    watts = quantity.watts * count
    if watts > MAX_WATTS:
        problem = f"{name} comes to {format_watts(ceil(watts))}, and {format_watts(MAX_WATTS)} is the most"
        raise EnvelopeError(problem, quantity.at, KEYS[name].example)
    return watts


def _build(items: Iterable[Member], keys: Mapping[str, Key], now: int, zone: tzinfo) -> Envelope:
    """The envelope that the items of one form give. Raises EnvelopeError."""
    seen: set[str] = set()
    fields: dict[str, Any] = {}
    for name, name_at, value, value_at in items:
        key = keys.get(name)
        if key is None:
            raise _unknown(name, name_at, keys)
        if name in seen:
            raise EnvelopeError(f"'{name}' is given twice", name_at, key.example)
        seen.add(name)
        if key.field is None:
            continue
        try:
            fields[key.field] = key.read(Frame(value, value_at, now, zone))
        except UsageError as error:
            raise EnvelopeError(f"{name}: {error}", value_at, key.example) from None
    envelope = Envelope(**fields)
    est, most = envelope.est, envelope.max
    if est and most and est.per is most.per and most.watts < est.watts:
        names = {key.field: name for name, key in keys.items()}
        problem = f"{names['max']} is less than {names['est']}"
        raise EnvelopeError(problem, most.at, keys[names["max"]].example)
    return envelope


def _unknown(name: str, name_at: int, keys: Mapping[str, Key]) -> EnvelopeError:
    """The error for a name that is not in the form, with the nearest that is."""
    near = _nearest(name, keys)
    hint = f"write '{near}'" if near else f"known are {', '.join(keys)}"
    example = keys[near or next(iter(keys))].example
    return EnvelopeError(f"unknown key {shown(name)}; {hint}", name_at, example)


def _nearest(name: str, keys: Iterable[str]) -> str | None:
    """The key that was probably meant: by case, as a beginning, by likeness."""
    folded = {key.lower(): key for key in keys}
    asked = name.lower()[:40]
    if asked in folded:
        return folded[asked]
    if len(asked) >= 3:
        for low, key in folded.items():
            if low.startswith(asked) or asked.startswith(low):
                return key
    close = difflib.get_close_matches(asked, folded, 1, 0.55)
    return folded[close[0]] if close else None


# --- Finding the segment ---

_HEAD_TEXT = "power:"
_HEAD = re.compile(r"(?:^|(?<=[\s;]))power:", re.IGNORECASE)
_BODY = re.compile(r"[^\s;]*")
_EXAMPLE = "power:est=18.5kW,max=24kW"


def _heads(comment: str, begin: int) -> Iterator[int]:
    """Where the contents of each segment from `begin` on start. Raises EnvelopeError for `Power:est=…`."""
    for match in _HEAD.finditer(comment, begin):
        if match[0] == _HEAD_TEXT:
            yield match.end()
        elif _MEANT.match(comment, match.end()):
            raise EnvelopeError(f"'{match[0]}' is written '{_HEAD_TEXT}'", match.start(), _EXAMPLE)


def _check_rest(comment: str, end: int) -> None:
    """What follows an object after `power:` is the user's, unless he plainly goes on telling us."""
    if _MEANT_ON.match(comment, end):
        problem = "the JSON form ends with its brace, and key=value does not follow it"
        raise EnvelopeError(problem, end, f"power:{JSON_EXAMPLE}")


# --- key=value ---


def _split(body: str, start: int) -> list[Member]:
    """The items of a segment whose contents start at `start` in the comment. Raises EnvelopeError."""
    items: list[Member] = []
    example = _EXAMPLE
    at = start
    for part in _parts(body, start):
        name, equals, value = part.partition("=")
        if not part:
            raise EnvelopeError("key=value is missing", at, example)
        if not equals:
            problem = f"{shown(part)} is not key=value, and a comma outside [] ends the value before it"
            raise EnvelopeError(problem, at, example)
        if not name:
            raise EnvelopeError("a key is missing before '='", at, example)
        if name in KEYS:
            example = KEYS[name].example
        value_at = at + len(name) + 1
        if not value and name in KEYS:
            raise EnvelopeError(f"'{name}' has no value", value_at, example)
        items.append((name, at, value, value_at))
        at += len(part) + 1
    return items


def _parts(body: str, start: int) -> list[str]:
    """The segment cut at its commas, but for those inside []. Raises EnvelopeError."""
    if "[" not in body and "]" not in body:
        return body.split(",")
    parts: list[str] = []
    opened: int | None = None
    cut = 0
    for at, character in enumerate(body):
        if character == "," and opened is None:
            parts.append(body[cut:at])
            cut = at + 1
        elif character in "[]":
            if (character == "[") != (opened is None):
                raise EnvelopeError(f"'{character}' has no partner", start + at, KEYS["zones"].example)
            opened = at if character == "[" else None
    if opened is not None:
        raise EnvelopeError("'[' is not closed before the segment ends", start + opened, KEYS["zones"].example)
    return [*parts, body[cut:]]


_ANY_KEY = "|".join(KEYS)
_MEANT = re.compile(rf"\{{|(?:{_ANY_KEY})=", re.IGNORECASE)
"""What shows that `Power:` was meant for us and is no heading in prose."""
_MEANT_ON = re.compile(rf"power:|,(?:{_ANY_KEY})=", re.IGNORECASE)


# --- JSON ---


def _leading_object(comment: str) -> tuple[list[Member], int]:
    """The items of a comment that is an object of ours; none, and where the user's object ends, for his own.

    Raises EnvelopeError for an object that speaks of watts and is not JSON, or not the whole comment.
    """
    start = len(comment) - len(comment.lstrip())
    try:
        items, end = scan_object(comment, start, JSON_EXAMPLE)
    except EnvelopeError:
        folded = comment.lower()
        if any(name in folded for name in WATT_NAMES):
            raise
        return [], 0
    names = {item[0] for item in items}
    speaks_of_watts = any(name.lower() in WATT_NAMES for name in names)
    if not speaks_of_watts and not (names <= JSON_NAMES.keys() and names - {"jobId"}):
        return [], end
    rest = comment[end:].lstrip()
    if rest:
        problem = "the object is not the whole comment; put power: before it to add text of your own"
        raise EnvelopeError(problem, len(comment) - len(rest), f"power:{JSON_EXAMPLE}")
    return items, end
