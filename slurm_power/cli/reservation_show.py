"""`sreservation show`: reservations with what they were granted, use, and why they stand as they do."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from slurm_power.adapters.users import user_of
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, count, duration, fact, text, watts, words
from slurm_power.cli.verdicts import REASONS
from slurm_power.core.errors import UsageError

COLUMNS = Columns(
    text("name"),
    text("state"),
    text("since"),
    text("accounts"),
    text("users"),
    text("zones"),
    watts("watts"),
    watts("granted"),
    watts("used"),
    watts("left"),
    watts("min"),
    text("start"),
    text("end"),
    text("tier"),
    text("policy"),
    duration("grace"),
    watts("burst"),
    duration("burst_for", "burst_s"),
    count("nodes"),
    text("granted_in"),
    text("jobs"),
    text("slurm"),
    text("created"),
    text("created_by"),
    words("cause"),
    text("id"),
)
_SHOWN = ("name", "state", "accounts", "users", "granted_in", "granted", "used", "start", "end", "tier", "cause")
_FACTS = tuple(column.name for column in COLUMNS.all)
_OFFERS = Columns(text("instead", "kind"), text("zones"), watts("watts"), text("start"), text("end"), words("text"))


@click.command("show", short_help="Reservations.")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=names_from("reservations", "name"))
@click.option("-a", "--all", "over", is_flag=True, help="Those that are over and those that were refused, too.")
@output_options(COLUMNS, iterate=True)
@link_options
def show(names: Sequence[str], over: bool, output: Output, link: Link) -> None:
    """Show reservations: yours, and all of them to administrators.

    One that is named is shown whole, also where it is over.

    \b
    requested  waits for approval       degraded   unused for its grace: its watts are everybody's
    approved   its time will come       released   ended while nobody used it
    active     its window is open       expired    ended
    refused, cancelled, missed          with the cause
    """
    output.show(lambda: _present(link.ask("reservations", names=list(names), over=over), names))


def _present(found: Mapping[str, Any], names: Sequence[str]) -> Answer:
    rows = [_row(reservation) for reservation in found["reservations"]]
    missing = sorted(set(names) - {row["name"] for row in rows})
    if missing:
        raise UsageError(f"there is no reservation '{missing[0]}'; sreservation show --all lists them")
    record = Table(COLUMNS.all, rows)
    if len(names) == 1:
        lines = [line for row in rows for line in [*_facts(row), ""]]
        return Answer(found, record, lines[:-1])
    if not rows:
        return Answer(found, record, ("No reservations.",))
    return Answer(found, record, parts=(Table(COLUMNS.pick(_SHOWN), rows),))


def answered(found: Mapping[str, Any]) -> Answer:
    """What became of a create, update, cancel or check: the sentence, the plan, and what would fit instead."""
    row = _row(found["reservation"])
    lines = [found["sentence"]]
    if found["commands"]:
        lines += ["", *found["commands"]]
    parts = []
    if found["reasons"]:
        parts.append(Table(REASONS.all, found["reasons"], "REASON"))
    if found["alternatives"]:
        parts.append(Table(_OFFERS.all, found["alternatives"]))
    return Answer(found, Table(COLUMNS.all, [row]), lines, parts=parts)


def _facts(row: Row) -> list[str]:
    return [fact(column.name, row[column.key], column.kind) for column in COLUMNS.pick(_FACTS)]


def _row(reservation: Mapping[str, Any]) -> Row:
    granted = [f"{grant['zone']}:{grant['watts_w']}" for grant in reservation["grants"]]
    zones = ("any:" if reservation["any_zone"] else "") + ",".join(reservation["zones"])
    created_by = user_of(reservation["created_by"])
    return {**reservation, "zones": zones, "granted_in": granted, "created_by": created_by}
