"""`spower mode`: how far the daemon goes. `observe` is the panic switch."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.adapters.users import user_of
from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, count, text
from slurm_power.core.policy import Mode

COLUMNS = Columns(
    text("mode"), count("released"), text("file", "file_mode"), text("source"), text("user"), text("at", "set_at")
)
_PATIENCE_S = 120.0
"""To release every held job of a large site takes a while."""


@click.command("mode", short_help="Show or change the mode; observe is the panic switch.")
@click.argument(
    "wanted",
    metavar="[observe|advise|enforce]",
    type=click.Choice([mode.value for mode in Mode]),
    required=False,
)
@output_options(COLUMNS)
@link_options
def mode(wanted: str | None, output: Output, link: Link) -> None:
    """Show the mode and where it comes from, or change it: observe only records, advise tells users too, enforce acts.

    `spower mode observe` is the panic switch: it releases every power hold, and only those. A change is for
    root and SlurmUser; it holds over restarts of the daemon, until the mode in the site file is changed.
    """
    if wanted is None:
        output.show(lambda: _present(link.ask("mode"), ""))
        return
    output.show(lambda: _present(link.ask("mode", mode=wanted, patience_s=_PATIENCE_S), wanted))


def _present(found: Mapping[str, Any], wanted: str) -> Answer:
    row = {**found, "user": None if found["set_uid"] is None else user_of(found["set_uid"])}
    table = Table(COLUMNS.all, [row])
    if not wanted:
        return Answer(found, table, (str(found["mode"]),), (_source(row),))
    line = f"The mode is now {found['mode']}."
    if found["mode"] != Mode.ENFORCE:
        line += f" Jobs released that were held for watts: {found['released']}."
    return Answer(found, table, (line,))


def _source(row: Mapping[str, Any]) -> str:
    if row["source"] == "file":
        return "It is the site file's."
    return f"Set by {row['user']} at {row['set_at']}, with `spower mode`; the site file says {row['file_mode']}."
