"""The one renderer: an Answer becomes tables, JSON or parsable text; and `-i` draws it again and again."""

import csv
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from io import StringIO
from typing import Any

import click

from slurm_power.cli.table import Answer, Column, Table, parsable, plain
from slurm_power.core.errors import PowerError

_REDRAW = "\x1b[H\x1b[2J"


class Form(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"
    JSON_LINES = "json lines"
    PARSABLE = "parsable"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class Output:
    """How the user wants to see it; `every_s` is the time between two looks."""

    form: Form = Form.TABLE
    header: bool = True
    chosen: tuple[Column, ...] | None = None
    every_s: float | None = None

    def show(self, ask: Callable[[], Answer]) -> Answer:
        """Ask and print, with `-i` again and again until Ctrl-C; gives the last answer. Raises PowerError."""
        answer, header = ask(), self.header
        if self.every_s is None:
            click.echo(self._text(answer, header), nl=False)
            return answer
        try:
            while True:
                text = self._text(answer, header)
                click.echo(_stamped(text) if self.form is Form.TABLE else text, nl=False)
                header = self.header and self.form is Form.TABLE
                answer = _ask_again(ask, self.every_s)
        except KeyboardInterrupt:
            click.echo(err=True)
        return answer

    def _text(self, answer: Answer, header: bool) -> str:
        if self.form is Form.JSON:
            return json_text(answer.data) if self.every_s is None else json.dumps(answer.data) + "\n"
        if self.form is Form.JSON_LINES:
            return "".join(f"{json.dumps(line)}\n" for line in answer.lines)
        columns = self.chosen or answer.record.columns
        if self.form is Form.CSV:
            return _comma_separated(Table(columns, answer.record.rows), header)
        if self.form is Form.PARSABLE:
            return _parsable(Table(columns, answer.record.rows), header)
        if self.chosen is not None:
            return _drawn(Table(columns, answer.record.rows), header)
        lines = [*answer.lead, *(answer.notes if header else ())]
        blocks = ["".join(f"{plain(line)}\n" for line in lines)] if lines else []
        blocks += [_drawn(part, header) for part in answer.parts]
        return ("\n" if header else "").join(blocks)


def json_text(data: Mapping[str, Any]) -> str:
    """A whole answer as JSON, for one look."""
    return json.dumps(data, indent=2) + "\n"


def _ask_again(ask: Callable[[], Answer], every_s: float) -> Answer:
    """The next answer; a daemon that is away for a while is told of, and asked again."""
    while True:
        time.sleep(every_s)
        try:
            return ask()
        except PowerError as error:
            click.echo(f"{datetime.now():%H:%M:%S} {error}", err=True)


def _stamped(text: str) -> str:
    """With the time above; on a terminal in the place of what was there."""
    stamped = f"{datetime.now():%a %b %d %H:%M:%S %Y}\n{text}"
    return _REDRAW + stamped if sys.stdout.isatty() else stamped + "\n"


def _parsable(table: Table, header: bool) -> str:
    lines = ["|".join(column.field for column in table.columns)] if header else []
    lines += ["|".join(parsable(row.get(column.key)) for column in table.columns) for row in table.rows]
    return "".join(f"{line}\n" for line in lines)


def _comma_separated(table: Table, header: bool) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow([column.field.lower() for column in table.columns])
    writer.writerows([parsable(row.get(column.key)) for column in table.columns] for row in table.rows)
    return text.getvalue()


def _drawn(table: Table, header: bool) -> str:
    from slurm_power.cli.drawing import draw  # noqa: PLC0415 -- only people need rich, and it is slow to load

    return draw(table, header)
