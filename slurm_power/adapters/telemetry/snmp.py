"""Readings from a PDU that speaks SNMP: power, phases or energy, and beside them temperature and breaker."""

import logging
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from slurm_power.adapters.telemetry.credentials import read_credentials
from slurm_power.adapters.telemetry.parts import sum_of_parts
from slurm_power.adapters.telemetry.snmp_keys import KEYS, User
from slurm_power.adapters.telemetry.snmp_link import Host, Link
from slurm_power.adapters.telemetry.snmp_usm import Usm
from slurm_power.adapters.telemetry.snmp_wire import Absence, Binding, Community, Dialect, Question
from slurm_power.adapters.telemetry.web import shown
from slurm_power.config.snmp_names import Object, Oid, find_object
from slurm_power.config.telemetry import Snmp
from slurm_power.core.errors import TelemetryError
from slurm_power.core.immutable import immutable
from slurm_power.ports import Kind, Quantity, Reading, Told

_log = logging.getLogger("slurm_power.telemetry")

_MOST_ROWS = 256
_ROWS = 30
"""Rows that are asked for at once, before it is known how many there are: their answer fits in one packet."""
_DECIMAL = re.compile(rb"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,2})?")
_LONGEST = 40


@immutable
class _Wanted:
    """An object of the site file, by the key there."""

    key: str
    quantity: Quantity
    object: Object
    scale: Fraction
    phase: str = ""


class SnmpSource:
    """One `telemetry` of type `snmp`. Nothing is open between two readings; one reading at a time."""

    def __init__(self, config: Snmp) -> None:
        self._config = config
        self._host = Host(config.host)
        self._wanted: Sequence[_Wanted] = ()
        self._rows: dict[Oid, int] = {}
        self._dialect: Dialect | None = None
        self._seen: tuple[int, ...] = ()

    def read(self) -> Told:
        """All that it measures. Raises TelemetryError where a part of it is missing."""
        try:
            self._wanted = self._wanted or self._find_objects()
            dialect = self._speak()
        except TelemetryError as error:
            raise TelemetryError(f"{self._config.host}: {error}") from None
        try:
            with Link(self._host, self._config.timeout, self._config.retries) as link:
                return Told(self._look(link, dialect))
        except TelemetryError:
            dialect.forget()
            self._host.forget()
            raise

    def close(self) -> None:
        """Nothing stays open between readings."""

    def _find_objects(self) -> Sequence[_Wanted]:
        config = self._config
        named = [("oid", Quantity.POWER, config.oid, config.scale, "")]
        named += [("phases", Quantity.POWER, text, config.scale, f"L{n}") for n, text in enumerate(config.phases, 1)]
        named += [("energy", Quantity.ENERGY, config.energy, config.scale, "")]
        named += [("celsius", Quantity.TEMPERATURE, config.celsius, config.celsius_scale, "")]
        named += [("breaker", Quantity.BREAKER, config.breaker, Fraction(1), "")]
        found = [
            _Wanted(key, quantity, find_object(text), scale, phase)
            for key, quantity, text, scale, phase in named
            if text is not None
        ]
        for wanted in found:
            usual = wanted.object.scale
            if usual is not None and usual != wanted.scale:
                text = "%s: %s: %s usually takes the scale %g, and has %g"
                _log.warning(text, config.host, wanted.key, wanted.object.label, float(usual), float(wanted.scale))
        return found

    def _speak(self) -> Dialect:
        """With the credentials as the file has them now: they are changed without a restart."""
        known = ("community",) if self._config.version == "2c" else KEYS
        path = Path(self._config.credentials)
        seen = _mark(path)
        if self._dialect is None or seen != self._seen or not seen:
            self._dialect = None
            found = read_credentials(path, known)
            try:
                self._dialect = _dialect(found, self._config.version)
            except TelemetryError as error:
                raise TelemetryError(f"{path}: {error}") from None
            self._seen = seen
        return self._dialect

    def _look(self, link: Link, dialect: Dialect) -> Sequence[Reading]:
        single = [wanted for wanted in self._wanted if not wanted.object.column]
        values = self._get(link, dialect, single) if single else {}
        found = []
        for wanted in self._wanted:
            rows = (
                self._walk(link, dialect, wanted.object)
                if wanted.object.column
                else {wanted.object.label: values[wanted.object.oid]}
            )
            numbers = {label: _number(link, label, binding) for label, binding in rows.items()}
            found.append(self._reading(wanted, self._one_of(link, wanted, numbers)))
        return found

    def _get(self, link: Link, dialect: Dialect, wanted: Sequence[_Wanted]) -> Mapping[Oid, Binding]:
        oids = tuple(one.object.oid for one in wanted)
        answer = dialect.ask(link, Question(oids))
        if answer.error:
            about = wanted[answer.index - 1].object.label if 0 < answer.index <= len(wanted) else "what it is asked"
            raise link.wrong(f"answers '{answer.error}' to {about}")
        if [binding.oid for binding in answer.bindings] != list(oids):
            raise link.wrong("answers with other objects than it was asked for")
        return {binding.oid: binding for binding in answer.bindings}

    def _walk(self, link: Link, dialect: Dialect, column: Object) -> Mapping[str, Binding]:
        """All rows of a column by name, mostly in one question: for as many as there were, and one to see the end."""
        rows: dict[str, Binding] = {}
        last, ask = column.oid, self._rows.get(column.oid, _ROWS - 1) + 1
        while True:
            answer = dialect.ask(link, Question((last,), min(ask, _ROWS)))
            if answer.error and ask > 1:  # what comes behind the column may be what it stumbles over
                ask = 1
                continue
            if answer.error or not answer.bindings:
                raise link.wrong(f"answers '{answer.error or 'nothing'}' to {column.label}")
            for binding in answer.bindings:
                if binding.value is Absence.END or binding.oid[: len(column.oid)] != column.oid:
                    return self._whole(link, column, rows)
                if binding.oid <= last:
                    raise link.wrong(f"{column.label}: its rows do not come in order")
                rows[column.row(binding.oid)] = binding
                last = binding.oid
            if len(rows) > _MOST_ROWS:
                raise link.wrong(f"{column.label}: has more than {_MOST_ROWS} rows; name those that count")

    def _whole(self, link: Link, column: Object, rows: Mapping[str, Binding]) -> Mapping[str, Binding]:
        if not rows:
            raise link.wrong(f"{column.label}: has no rows there")
        self._rows[column.oid] = len(rows)
        return rows

    def _one_of(self, link: Link, wanted: _Wanted, rows: Mapping[str, float]) -> float:
        """The value that its rows come to: power and energy add up, the hottest counts, and every breaker is closed."""
        values = list(rows.values())
        if wanted.quantity is Quantity.TEMPERATURE:
            return max(values)
        if wanted.quantity is Quantity.BREAKER:
            return self._all_closed(link, rows)
        if wanted.phase and len(rows) > 1:
            raise link.wrong(f"{wanted.key}: name one row for each phase, such as {_listed(rows)}")
        if len(rows) > 1:
            _check_sum(link, rows)
        return sum(values)

    def _all_closed(self, link: Link, rows: Mapping[str, float]) -> float:
        unknown = [label for label, value in rows.items() if value < 0]
        if unknown:
            raise link.wrong(f"{_listed(unknown)}: the state of the breaker is not known")
        return float(all(value == self._config.closed for value in rows.values()))

    def _reading(self, wanted: _Wanted, value: float) -> Reading:
        config = self._config
        named = ((Kind.ZONE, config.zone), (Kind.FEED, config.feed), (Kind.NODE, config.node))
        kind, element = next((kind, name) for kind, name in named if name is not None)
        scaled = value * float(wanted.scale)
        return Reading(kind, element, wanted.quantity, scaled, part=config.inlet or "", phase=wanted.phase)


def _mark(path: Path) -> tuple[int, ...]:
    """What changes whenever the file does, its owner and mode as well; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _dialect(credentials: Mapping[str, str], version: str) -> Dialect:
    if version == "3":
        return Usm(User(credentials))
    if "community" not in credentials:
        raise TelemetryError("SNMPv2c takes 'community: …'")
    return Community(credentials["community"])


def _check_sum(link: Link, rows: Mapping[str, float]) -> None:
    """Raises TelemetryError for rows that cannot be added up."""
    labels, values = list(rows), list(rows.values())
    absent = [label for label, value in rows.items() if value < 0]
    if absent:
        raise link.wrong(f"{_listed(absent)}: below zero, which mostly means not measured; name the rows that count")
    whole = sum_of_parts(values)
    if whole is not None:
        others = [label for label in labels if label != labels[whole]]
        raise link.wrong(
            f"{labels[whole]} ({values[whole]:g}) is the sum of {_listed(others)}: a total and its parts would count "
            f"twice. Name the one that counts, such as {labels[whole]}, or each in a source of its own with an 'inlet'"
        )


def _number(link: Link, label: str, binding: Binding) -> float:
    """Its value. Raises TelemetryError where it has none, or one that is no number."""
    value = binding.value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, bytes):
        text = value.strip(b" \t\r\n\0")
        if len(text) <= _LONGEST and _DECIMAL.fullmatch(text):
            return float(text)
        raise link.wrong(f"{label}: '{shown(text[:_LONGEST].decode('utf-8', 'replace'))}' is no number")
    if value is Absence.INSTANCE:
        raise link.wrong(f"{label}: noSuchInstance: there is no such row; a column takes one, as in {label}.1")
    if isinstance(value, Absence):
        raise link.wrong(f"{label}: {value}: the device, or this user of it, has no such object")
    raise link.wrong(f"{label}: is of type {binding.kind}, and no number that could be read")


def _listed(labels: Mapping[str, float] | Sequence[str]) -> str:
    names = list(labels)
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
