"""What the facility says, in one JSON document, which is a file or fetched over HTTP: cuts that it asks for, readings.

    {"cuts": [{"element": "ups-a", "percent": 25, "reason": "grid event 17",
               "start": "2026-11-27T14:00:00Z", "end": "2026-11-27T17:00:00Z"}],
     "readings": [{"element": "rack01", "watts": "18.5kW", "celsius": 31.5, "at": "2026-11-27T14:00:00Z"},
                  {"element": "pdu-a1", "kind": "feed", "watts": 9200, "phase": "L1", "breaker": "closed"}]}

Cuts: `limit` ("30kW", or watts as a number) stands instead of `percent`; without `start` it holds as soon as it is
read, without `end` until it is gone. An empty list, or none, asks for nothing.

Readings: at least one of `watts`, `celsius` and `breaker`; `kind` is zone, feed or node, and zone where it is left out;
without `at` it was measured when the document was written. That is the file's time of change; over HTTP its
`Last-Modified`, and where that is missing or no date, now.

Cuts count as they are written, all or none of them. A sensor's nonsense must not void them: it costs the readings of
its element, and is told.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from slurm_power.adapters.telemetry.few import few
from slurm_power.adapters.telemetry.parts import total_of_inlets
from slurm_power.adapters.telemetry.phases import doubled
from slurm_power.adapters.telemetry.plain_file import read_plain
from slurm_power.adapters.telemetry.web import Web, shown
from slurm_power.config.fields import DayHours
from slurm_power.config.telemetry import Signal, SignalFile
from slurm_power.core.errors import SignalError, TelemetryError, UsageError
from slurm_power.core.units import exact_watts, parse_capacity_w, parse_fraction
from slurm_power.ports import AskedCut, Facility, FacilitySignal, Kind, Quantity, Reading

_MOST_BYTES = 1 << 20
_MOST_CUTS = 1_000
EXAMPLE = '{"cuts": [{"element": "ups-a", "percent": 25, "reason": "grid event", "end": "2026-11-27T17:00:00Z"}]}'
EXAMPLE_OF_READINGS = '{"readings": [{"element": "rack01", "watts": "18.5kW", "at": "2026-11-27T14:00:00Z"}]}'


def _watts(value: object) -> object:
    """Watts as a whole number, or as text with a unit."""
    if not isinstance(value, str):
        return value
    try:
        return parse_capacity_w(value)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _drawn(value: object) -> object:
    """Watts as a number, or as text with a unit."""
    if not isinstance(value, str):
        return value
    try:
        return float(exact_watts(value))
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


_Name = Annotated[str, Field(min_length=1, max_length=64)]
_Number = Field(strict=True, allow_inf_nan=False)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class _Cut(_Part):
    element: _Name
    reason: Annotated[str, Field(min_length=1, max_length=200)]
    start: datetime | None = None
    end: datetime | None = None
    limit: Annotated[int, BeforeValidator(_watts), Field(strict=True, ge=0)] | None = None
    percent: Annotated[Fraction, BeforeValidator(_percent), Field(gt=0)] | None = None
    hours: DayHours | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.limit is None) == (self.percent is None):
            raise ValueError("has 'limit' or 'percent', and not both")
        if not self.reason.isprintable():
            raise ValueError("'reason' is a line of text")
        _check_zones_of_time(self.start, self.end)
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("ends after its start")
        return self

    def asked(self) -> AskedCut:
        """The same for the service."""
        start, end = (None if at is None else int(at.timestamp()) for at in (self.start, self.end))
        return AskedCut(self.element, self.reason, start, end, self.limit, self.percent, self.hours)


class _Reading(_Part):
    element: _Name
    kind: Kind = Kind.ZONE
    watts: Annotated[float, BeforeValidator(_drawn), _Number] | None = None
    celsius: Annotated[float, _Number] | None = None
    breaker: Literal["closed", "open"] | None = None
    at: datetime | None = None
    inlet: _Name | None = None
    phase: _Name | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.watts is None and self.celsius is None and self.breaker is None:
            raise ValueError("has none of 'watts', 'celsius' and 'breaker'")
        _check_zones_of_time(self.at)
        return self

    def readings(self, written_at: float, now: float) -> Iterator[Reading]:
        """The same for the service: one for each quantity."""
        age_s = now - (written_at if self.at is None else self.at.timestamp())
        closed = None if self.breaker is None else float(self.breaker == "closed")
        for quantity, value in (
            (Quantity.POWER, self.watts),
            (Quantity.TEMPERATURE, self.celsius),
            (Quantity.BREAKER, closed),
        ):
            if value is not None:
                yield Reading(
                    self.kind, self.element, quantity, value, age_s, part=self.inlet or "", phase=self.phase or ""
                )


class _Document(_Part):
    cuts: Annotated[list[_Cut], Field(max_length=_MOST_CUTS)] = []
    readings: Any = []
    """Judged one by one, by `_measured`."""

    @model_validator(mode="after")
    def _has_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("has neither 'cuts' nor 'readings'")
        return self


class FileSignal:
    """The document in a plain file of 1 MiB at most."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    def read(self) -> FacilitySignal:
        """What it says now. Raises SignalError, which names the place and shows a correct example."""
        try:
            file = read_plain(self._path, _MOST_BYTES)
        except TelemetryError as error:
            raise SignalError(str(error)) from None
        return _understood(file.text, str(self._path), file.written_at, self._now())


class UrlSignal:
    """The document at a URL, 1 MiB at most; `place` is how messages name it."""

    def __init__(self, web: Web, place: str, now: Callable[[], float] = time.time) -> None:
        self._web = web
        self._place = place
        self._now = now

    def read(self) -> FacilitySignal:
        """What it says now. Raises SignalError as a file does."""
        try:
            answer = self._web.answer()
        except TelemetryError as error:
            raise SignalError(str(error)) from None
        if len(answer.body) > _MOST_BYTES:
            raise SignalError(f"{self._place}: is longer than {_MOST_BYTES} bytes")
        now = self._now()
        written_at = _instant(answer.headers.get("Last-Modified", ""))
        return _understood(answer.body, self._place, now if written_at is None else written_at, now)


def open_signal(config: Signal) -> Facility:
    """What reads one such source of the site file."""
    if isinstance(config, SignalFile):
        return FileSignal(Path(config.path))
    return UrlSignal(Web(config.url, config.timeout, config.credentials, config.verify), config.place)


def _understood(text: bytes, place: str, written_at: float, now: float) -> FacilitySignal:
    try:
        told = _Document.model_validate_json(text)
    except ValidationError as error:
        raise SignalError(f"{place}: {_first(error, (), 'the document')}; for example: {EXAMPLE}") from None
    readings, troubles = _measured(told.readings, written_at, now)
    trouble = f"{place}: {few(troubles)}" if troubles else ""
    if trouble and not readings and "cuts" not in told.model_fields_set:
        raise SignalError(trouble)
    return FacilitySignal(tuple(cut.asked() for cut in told.cuts), int(written_at), tuple(readings), trouble)


def _measured(entries: object, written_at: float, now: float) -> tuple[Sequence[Reading], Sequence[str]]:
    """What the entries of `readings` say, and what is wrong with them.

    An element of which one entry makes no sense is left out, for its inlets and phases are added up; where an entry
    does not even say whose it is, all are.
    """
    if not isinstance(entries, list):
        return (), [f"readings: is no list; for example: {EXAMPLE_OF_READINGS}"]
    told: dict[str, list[Reading]] = {}
    wrong: dict[str, str] = {}
    for number, entry in enumerate(entries):
        try:
            one = _Reading.model_validate(entry)
        except ValidationError as error:
            name = entry.get("element") if isinstance(entry, dict) else None
            trouble = f"{_first(error, ('readings', number))}; for example: {EXAMPLE_OF_READINGS}"
            if not isinstance(name, str):
                return (), [trouble]
            wrong.setdefault(name, trouble)
        else:
            told.setdefault(one.element, []).extend(one.readings(written_at, now))
    for name, readings in told.items():
        trouble = _twice(readings)
        if trouble:
            wrong.setdefault(name, f"readings: {trouble}")
    return [one for name, readings in told.items() if name not in wrong for one in readings], list(wrong.values())


def _first(error: ValidationError, place: tuple[str | int, ...], otherwise: str = "") -> str:
    """The first thing that is wrong, with its place."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, (*place, *first['loc']))) or otherwise}: {first['msg']}"


def _twice(readings: Sequence[Reading]) -> str:
    """What of the readings of an element would be added up twice; empty for nothing."""
    seen = set()
    for one in readings:
        same = (one.kind, one.quantity, one.part, one.phase)
        if same in seen:
            return f"the {one.quantity} of {one.kind} '{shown(one.element)}' comes twice"
        seen.add(same)
    both = doubled(readings)
    if both is not None:
        return f"the {both.quantity} of {both.kind} '{shown(both.element)}' comes as a whole and by 'phase'"
    return total_of_inlets(readings)


def _check_zones_of_time(*instants: datetime | None) -> None:
    if any(at is not None and at.tzinfo is None for at in instants):
        raise ValueError("a time says its zone: 2026-11-27T17:00:00Z")


def _instant(date: str) -> float | None:
    """A date of HTTP; None where it is none."""
    try:
        found = parsedate_to_datetime(date)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
