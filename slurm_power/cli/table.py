"""What a command has to show, before anybody decides how: columns, tables, and a whole answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slurm_power.core.errors import UsageError
from slurm_power.core.units import format_duration, format_energy, format_watts

Row = Mapping[str, Any]
_LABEL = 16


class Kind(StrEnum):
    """What stands in a column, which says how it is written and on which side."""

    TEXT = "text"
    WORDS = "words"
    """Text that may be broken over lines where the terminal is narrow."""
    WATTS = "watts"
    COUNT = "count"
    DURATION = "duration"
    """Seconds."""
    NUMBERS = "numbers"
    """Several numbers by name; a name ends in its unit."""
    ENERGY = "energy"
    """Watt-hours."""
    SHARE = "share"
    """A part of 1."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name for `-o`, and the field of the JSON answer that it shows."""

    name: str
    key: str
    kind: Kind = Kind.TEXT

    @property
    def title(self) -> str:
        """The header in a table."""
        return self.name.upper()

    @property
    def field(self) -> str:
        """The header in parsable output; the unit is part of it."""
        return self.key.upper()


def text(name: str, key: str = "") -> Column:
    """A column of names or words that stay on one line."""
    return Column(name, key or name)


def words(name: str, key: str = "") -> Column:
    """A column of sentences."""
    return Column(name, key or name, Kind.WORDS)


def watts(name: str, key: str = "") -> Column:
    """A column of watts; its field ends in `_w` unless given."""
    return Column(name, key or f"{name}_w", Kind.WATTS)


def count(name: str, key: str = "") -> Column:
    """A column of numbers."""
    return Column(name, key or name, Kind.COUNT)


def duration(name: str, key: str = "") -> Column:
    """A column of seconds; its field ends in `_s` unless given."""
    return Column(name, key or f"{name}_s", Kind.DURATION)


def numbers(name: str, key: str = "") -> Column:
    """A column of numbers by name."""
    return Column(name, key or name, Kind.NUMBERS)


def energy(name: str, key: str = "") -> Column:
    """A column of watt-hours; its field ends in `_wh` unless given."""
    return Column(name, key or f"{name}_wh", Kind.ENERGY)


def share(name: str, key: str = "") -> Column:
    """A column of parts of 1, which people see as per cent."""
    return Column(name, key or name, Kind.SHARE)


class Columns:
    """The columns that a command knows. `-o` takes a column's name or the name of its field in JSON."""

    def __init__(self, *columns: Column) -> None:
        self.all = columns
        self._by_name = {name: column for column in columns for name in (column.key, column.name)}

    def pick(self, names: Iterable[str]) -> tuple[Column, ...]:
        """The columns of these names, each once; `all` stands for every one. Raises UsageError."""
        chosen: list[Column] = []
        for name in names:
            word = name.strip().lower()
            if word == "all":
                chosen += self.all
            elif word in self._by_name:
                chosen.append(self._by_name[word])
            else:
                known = ", ".join(column.name for column in self.all)
                raise UsageError(f"there is no column '{name.strip()}'; there are {known}, and all")
        return tuple(dict.fromkeys(chosen))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; `title` stands in the place of the first column's header."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that a command has to say, for every form of output.

    data: the JSON answer.
    record: one table of everything, for parsable output and for columns that the user chose.
    lead, notes, parts: for people, lines that come first, lines that --noheader leaves out, and tables.
    lines: what --json-lines prints, where a command has it.
    """

    data: Mapping[str, Any]
    record: Table
    lead: Sequence[str] = ()
    notes: Sequence[str] = ()
    parts: Sequence[Table] = ()
    lines: Sequence[Row] = ()


def shown(value: object, kind: Kind) -> str:
    """A value for people: watts as kW, nothing as `-`."""
    if value is None or value in ("", [], {}):
        return "-"
    if kind is Kind.NUMBERS and isinstance(value, Mapping):
        return plain(", ".join(_number(name, number) for name, number in value.items()))
    if kind is Kind.WATTS and isinstance(value, int):
        return format_watts(value)
    if kind is Kind.DURATION and isinstance(value, int):
        return format_duration(value)
    if kind is Kind.ENERGY and isinstance(value, int):
        return format_energy(value)
    if kind is Kind.SHARE and isinstance(value, (int, float)):
        return f"{value:.1%}"
    return plain(_words(value))


def fact(name: str, value: object, kind: Kind = Kind.TEXT) -> str:
    """A line that says one thing: `est             18.5kW`."""
    return f"{name.replace('_', ' '):<{_LABEL}}{shown(value, kind)}"


def parsable(value: object) -> str:
    """A value for programs: watts as integers, nothing as nothing."""
    return plain("" if value is None else _words(value)).replace("|", "?")


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ",".join(str(part) for part in value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}={number}" for name, number in value.items())
    return str(value)


def _number(name: str, number: int) -> str:
    """A number for people: `est 18.5kW`."""
    return f"{name[:-2]} {format_watts(number)}" if name.endswith("_w") else f"{name} {number}"


def plain(value: str) -> str:
    """The text without what would move the cursor or break a line: names of jobs are written by users."""
    return value if value.isprintable() else "".join(c if c.isprintable() else "?" for c in value)
