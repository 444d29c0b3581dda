"""One JSON object read member by member, so that errors can point at the name or value that is off.

json alone would tell neither the places of members nor duplicates, and would turn `1e999` into a float at once.
"""

import json
import re
from typing import Any

from slurm_power.core.errors import EnvelopeError

Member = tuple[str, int, Any, int]
"""A key, its place in the text, its value and the value's place; a bare tuple, for this is the hook's hot path."""


class Number(str):
    """A number as it is written (NaN and Infinity too): a value only after a look at its length and exponent."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number)
_BLANKS = re.compile(r"[ \t\r\n]*")


def scan_object(text: str, start: int, example: str) -> tuple[list[Member], int]:
    """The members of the object whose brace stands at `start`, duplicates included, and where the object ends.

    Raises EnvelopeError with the place of the first fault, and `example`.
    """
    members: list[Member] = []
    at = _skip(text, start + 1)
    if text.startswith("}", at):
        return members, at + 1
    while True:
        if not text.startswith('"', at):
            raise EnvelopeError("a name in double quotes is missing", at, example)
        name, colon = _decode(text, at, example)
        colon = _skip(text, colon)
        if not text.startswith(":", colon):
            raise EnvelopeError("':' is missing", colon, example)
        value_at = _skip(text, colon + 1)
        value, end = _decode(text, value_at, example)
        members.append((name, at, value, value_at))
        at = _skip(text, end)
        if text.startswith("}", at):
            return members, at + 1
        if not text.startswith(",", at):
            raise EnvelopeError("',' or '}' is missing", at, example)
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at


def _decode(text: str, at: int, example: str) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise EnvelopeError(f"this is not JSON: {error.msg}", error.pos, example) from None
    except RecursionError:
        raise EnvelopeError("this is nested too deeply", at, example) from None
