"""`sreservation reconcile`: what has drifted between Slurm, the database and our promises, mended; fit for cron."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, text, words
from slurm_power.core.errors import DaemonUnreachable, PowerError

MENDED, LEFT = 1, 6
_PATIENCE_S = 300.0
"""To read a large Slurm up to four times and write to it takes a while."""
_STATUS = {"mended": "mended", "would": "would be mended", "left": "left"}
COLUMNS = Columns(
    text("status"), text("kind"), text("subject"), words("found"), words("remedy"), words("commands")
)


@click.command("reconcile", short_help="Mend what has drifted.")
@click.option("--dry-run", is_flag=True, help="Show what would be done; do nothing.")
@output_options(COLUMNS)
@link_options
@click.pass_context
def reconcile(context: click.Context, /, dry_run: bool, output: Output, link: Link) -> None:
    """Compare Slurm, the database and the site file with what was promised, and mend what differs: a line for each.

    The daemon does it where it runs, else this command by itself. For root and SlurmUser; -h is silent where there is
    nothing to do.

    Exit codes: 0 nothing to do, 1 mended (or would be), 6 something is left for somebody to mend, 5 it could not be
    done: Slurm, the database or the daemon does not answer, or one may not.
    """
    try:
        answer = output.show(lambda: present(_asked(link, dry_run=dry_run)))
    except PowerError as error:
        if error.exit_code == MENDED:
            raise DaemonUnreachable(str(error)) from error
        raise
    counts = answer.data["counts"]
    context.exit(LEFT if counts["left"] else MENDED if answer.data["findings"] else 0)


def _asked(link: Link, *, dry_run: bool) -> Mapping[str, Any]:
    try:
        return link.ask("reconcile", dry_run=dry_run, patience_s=_PATIENCE_S)
    except DaemonUnreachable:
        from slurm_power.config import load_site  # noqa: PLC0415 -- slow to load, and only for who does it himself
        from slurm_power.daemon.alone import reconcile_alone  # noqa: PLC0415 -- the same

        return reconcile_alone(load_site(link.conf), dry_run=dry_run)


def present(found: Mapping[str, Any]) -> Answer:
    """A line for each finding."""
    rows = found["findings"]
    lines = [_line(row) for row in rows]
    notes = () if rows else ("Nothing to do.",)
    return Answer(found, Table(COLUMNS.all, rows), lines, notes)


def _line(row: Mapping[str, Any]) -> str:
    return f"{_STATUS[row['status']]}: {row['kind']} {row['subject']}: {row['found']}; {row['remedy']}"
