"""`spower telemetry`: what is measured, how old it is, and what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from slurm_power.cli.hostlists import expand
from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, text, watts, words
from slurm_power.core.units import format_watts

COLUMNS = Columns(
    text("element"),
    text("kind"),
    watts("draws", "smooth_w"),
    watts("latest"),
    text("at"),
    text("stale"),
    watts("p50"),
    watts("p95"),
    watts("peak"),
    words("trouble"),
)


@click.command("telemetry", short_help="What is measured, and what is wrong with it.")
@click.argument("names", nargs=-1, metavar="[HOSTLIST]...")
@output_options(COLUMNS, iterate=True)
@link_options
def telemetry(names: Sequence[str], output: Output, link: Link) -> None:
    """Show what zones, feeds and nodes draw by each that is measured.

    HOSTLIST names elements: spower telemetry rack[01-02] pdu-a1.

    \b
    DRAWS    the mean over control.smoothing
    LATEST   the last reading, of when AT
    STALE    yes: nothing fresh is known, so max counts there
    P50 …    median, 95th percentile and peak of the last 12 to 24 hours
    """
    wanted = expand(names) if names else ()
    output.show(lambda: present(link.ask("telemetry"), wanted))


def present(found: Mapping[str, Any], names: Sequence[str]) -> Answer:
    """A line for each element, and first the sources that cannot be read."""
    shown = [row for row in found["elements"] if not names or row["element"] in names]
    table = Table(COLUMNS.all, [_row(row) for row in shown])
    lines = [f"{one['source']}: {one['trouble']}" for one in found["sources"] if one["trouble"]]
    if not found["sources"]:
        lines.append("Nothing is measured: the site file names no source of telemetry.")
    return Answer({**found, "elements": shown}, table, tuple(lines), parts=(table,) if table.rows else ())


def _row(row: Row) -> Row:
    wrong = [f"{doubt['source']}: {doubt['text']}" for doubt in row["doubts"]]
    if row["least_w"] is not None:
        wrong.append(f"its sources say {format_watts(row['least_w'])} and {format_watts(row['most_w'])}")
    return {**row, "stale": "yes" if row["stale"] else "no", "trouble": "; ".join(wrong)}
