"""`spower profiles`: what was learnt of the draw of jobs, and what such jobs ask for that declare nothing."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, count, text, watts

COLUMNS = Columns(
    text("account"),
    text("name"),
    text("partition"),
    count("gpus"),
    count("runs"),
    count("hours"),
    watts("p50"),
    watts("p95"),
    watts("peak"),
    watts("est"),
    watts("max"),
    count("measured_s"),
    text("seen", "seen_at"),
)
_SHOWN = ("account", "name", "partition", "gpus", "runs", "hours", "p50", "p95", "peak", "est", "max")


@click.command("profiles", short_help="What was learnt of the draw of jobs.")
@click.option("-A", "--account", metavar="ACCOUNT", help="Those of this account.")
@click.option("-n", "--name", metavar="NAME", help="Jobs of this name.", shell_complete=names_from("profiles", "name"))
@output_options(COLUMNS, comma_separated=True)
@link_options
def profiles(account: str | None, name: str | None, output: Output, link: Link) -> None:
    """Show what runs that are alike have drawn on nodes of their own, in W of one node.

    \b
    gpus   of each node; runs that differ in nodes alone are alike
    runs   that have been learnt from
    hours  that were measured
    p50, p95, peak  of all that time, of which the last weeks count most
    est, max  for each node of a job that declares nothing: p95 and peak, with a margin that shrinks as more is known;
              none while too little is known

    Where jobs are private, users see those of their own accounts.
    """
    output.show(lambda: present(link.ask("profiles", account=account, name=name)))


def present(found: Mapping[str, Any]) -> Answer:
    """Profiles as a table."""
    rows = [{**row, "hours": round(row["measured_s"] / 3_600, 1)} for row in found["profiles"]]
    parts = [Table(COLUMNS.pick(_SHOWN), rows)] if rows else []
    return Answer(found, Table(COLUMNS.all, rows), () if rows else ("Nothing has been learnt yet.",), parts=parts)
