"""`spower health`: whether the daemon keeps up with Slurm and with its database; for monitoring too."""

import time
from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, count, fact, text, words
from slurm_power.core.window import parse_instant

COLUMNS = Columns(
    text("mode"),
    text("last_good"),
    words("reader"),
    count("jobs"),
    count("claims"),
    count("rounds"),
    count("failures"),
    count("writes"),
    count("store_waiting"),
    count("store_lost"),
    words("error"),
    words("store_error"),
)
STALE_S = 60
"""After so long without a good round the daemon's picture of Slurm is old."""


@click.command("health", short_help="How the daemon is doing.")
@output_options(COLUMNS, iterate=True)
@link_options
@click.pass_context
def health(context: click.Context, /, output: Output, link: Link) -> None:
    """Show how the daemon is doing. Exit codes: 0 well, 1 not well, 5 it cannot be reached."""
    answer = output.show(lambda: present(link.ask("health"), int(time.time())))
    context.exit(1 if troubles(answer.data, int(time.time())) else 0)


def troubles(found: Mapping[str, Any], now: int) -> list[str]:
    """What is wrong, a sentence each."""
    wrong = []
    last = found["last_good"]
    if last is None or now - parse_instant(last, now) > STALE_S:
        told = f": {found['error']}" if found["error"] else ""
        wrong.append(f"Slurm was last read at {last or 'no time yet'}{told}.")
    if found["store_error"]:
        wrong.append(f"The database fails: {found['store_error']}.")
    if found["store_lost"]:
        wrong.append(f"{found['store_lost']} changes never reached the database since the daemon's start.")
    for licence, by_w in sorted(found["miscounts"].items()):
        wrong.append(
            f"Slurm counts {abs(by_w)} W {'more' if by_w > 0 else 'less'} of {licence} than its jobs hold: "
            "scontrol reconfigure mends it, while no job is completing."
        )
    return wrong


def present(found: Mapping[str, Any], now: int) -> Answer:
    """The numbers, and first what is wrong."""
    lines = troubles(found, now) or ["The daemon is well."]
    facts = [fact(column.name, found[column.key]) for column in COLUMNS.all]
    return Answer(found, Table(COLUMNS.all, [found]), lines, ("", *facts))
