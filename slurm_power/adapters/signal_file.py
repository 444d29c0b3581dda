"""A file in which the facility asks for cuts:

    {"cuts": [{"element": "ups-a", "percent": 25, "reason": "grid event 17",
               "start": "2026-11-27T14:00:00Z", "end": "2026-11-27T17:00:00Z"}]}

`limit` ("30kW", or watts as a number) stands instead of `percent`; without `start` it holds as soon as it is read,
without `end` until it is gone from the file. An empty list asks for nothing.
"""

import os
import stat
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from slurm_power.core.errors import SignalError, UsageError
from slurm_power.core.units import parse_capacity_w, parse_fraction
from slurm_power.ports import AskedCut, FacilitySignal

_MOST_BYTES = 1 << 20
_MOST_CUTS = 1_000
EXAMPLE = '{"cuts": [{"element": "ups-a", "percent": 25, "reason": "grid event", "end": "2026-11-27T17:00:00Z"}]}'


def _watts(value: object) -> object:
    """Watts as a whole number, or as text with a unit."""
    if not isinstance(value, str):
        return value
    try:
        return parse_capacity_w(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _percent(value: object) -> object:
    """A decimal number as it is written, not as binary fractions have it."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is not a number")
    try:
        return parse_fraction(f"{value}%") * 100
    except UsageError:
        raise ValueError("is no percentage: a number above 0, 100 at most, such as 25") from None


class _Cut(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    element: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    start: datetime | None = None
    end: datetime | None = None
    limit: Annotated[int, BeforeValidator(_watts), Field(strict=True, ge=0)] | None = None
    percent: Annotated[Fraction, BeforeValidator(_percent), Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.limit is None) == (self.percent is None):
            raise ValueError("has 'limit' or 'percent', and not both")
        if not self.reason.isprintable():
            raise ValueError("'reason' is a line of text")
        if any(at is not None and at.tzinfo is None for at in (self.start, self.end)):
            raise ValueError("a time says its zone: 2026-11-27T17:00:00Z")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("ends after its start")
        return self

    def asked(self) -> AskedCut:
        """The same for the service."""
        start, end = (None if at is None else int(at.timestamp()) for at in (self.start, self.end))
        return AskedCut(self.element, self.reason, start, end, self.limit, self.percent)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    cuts: Annotated[list[_Cut], Field(max_length=_MOST_CUTS)]


class SignalFile:
    """Reads one such file; it has to be a plain file of 1 MiB at most."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> FacilitySignal:
        """What it asks for now. Raises SignalError, which names the place and shows a correct example."""
        text, written_at = self._content()
        try:
            told = _File.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise SignalError(f"{self._path}: {place}: {first['msg']}; for example: {EXAMPLE}") from None
        return FacilitySignal(tuple(cut.asked() for cut in told.cuts), written_at)

    def _content(self) -> tuple[bytes, int]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(descriptor, "rb") as file:  # noqa: PTH123 -- a descriptor and not a path
                about = os.fstat(descriptor)
                if not stat.S_ISREG(about.st_mode):
                    raise SignalError(f"{self._path}: is no plain file")
                text = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise SignalError(f"{self._path}: cannot be read: {error.strerror}") from None
        if len(text) > _MOST_BYTES:
            raise SignalError(f"{self._path}: is longer than {_MOST_BYTES} bytes")
        return text, int(about.st_mtime)
