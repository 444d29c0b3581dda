"""Options that every command has, as Slurm's own commands have them."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from slurm_power.cli.output import Form, Output
from slurm_power.cli.table import Column, Columns
from slurm_power.core.errors import UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
_LEAST_INTERVAL_S = 0.1

json_option = click.option("--json", "as_json", is_flag=True, help="As JSON; docs/json has the schemas.")
since_option = click.option(
    "-S", "--since", metavar="TIME", help="From this time on: 2026-04-20T18:00:00Z, now-2hours, today, 24h."
)
limit_option = click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    metavar="LINES",
    help="No more than the newest so many decisions; at most 2000 but for root and SlurmUser.",
)
LONG_S = 60.0
"""How long a command waits for many lines of the audit log: 100,000 took the daemon and it 8 s on two busy cores."""
site_file_argument = click.argument("file", required=False, type=click.Path(path_type=Path))


def output_options(
    columns: Columns, *, iterate: bool = False, json_lines: bool = False, comma_separated: bool = False
) -> Decorator:
    """Gives a command `-h`, `-o`, `--json`, `-P`, perhaps `-i`, `--json-lines` and `--csv`; it is called with one
    `output`.
    """

    def chosen(
        _context: click.Context, _option: click.Parameter, value: str | None
    ) -> tuple[Column, ...] | None:
        if value is None:
            return None
        try:
            return columns.pick(value.split(","))
        except UsageError as error:
            raise click.BadParameter(str(error)) from error

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("-h", "--noheader", is_flag=True, help="No headers.")
        @click.option(
            "-o",
            "--format",
            "chosen",
            callback=chosen,
            metavar="COLUMN,…",
            help=f"Columns to show: {', '.join(column.name for column in columns.all)}; or all.",
        )
        @json_option
        @click.option("-P", "--parsable2", is_flag=True, help="Parted by |, watts as integers.")
        @wraps(command)
        def formed(
            *args: Any,
            noheader: bool,
            chosen: tuple[Column, ...] | None,
            as_json: bool,
            parsable2: bool,
            as_lines: bool = False,
            as_csv: bool = False,
            iterate: float | None = None,
            **kwargs: Any,
        ) -> Any:
            if as_json and (parsable2 or chosen is not None):
                raise click.UsageError("--json has every field; leave -P and -o out")
            if as_lines and (as_json or parsable2 or chosen is not None):
                raise click.UsageError("--json-lines has every field; leave --json, -P and -o out")
            if as_csv and (as_json or parsable2):
                raise click.UsageError("--csv, --json and -P are three forms of one answer; give one of them")
            if as_csv:
                return command(*args, output=Output(Form.CSV, not noheader, chosen, iterate), **kwargs)
            form = Form.JSON_LINES if as_lines else Form.JSON if as_json else Form.PARSABLE if parsable2 else Form.TABLE
            return command(*args, output=Output(form, not noheader, chosen, iterate), **kwargs)

        more = _json_lines(formed) if json_lines else _csv(formed) if comma_separated else formed
        return _iterated(more) if iterate else more

    return decorate


def _json_lines(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--json-lines", "as_lines", is_flag=True, help="As JSON, one object a line, for a log system."
    )(command)


def _csv(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, watt-hours as integers.")(command)


def _iterated(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-i",
        "--iterate",
        type=click.FloatRange(min=_LEAST_INTERVAL_S),
        metavar="SECONDS",
        help="Look again every so many seconds, until Ctrl-C.",
    )(command)
