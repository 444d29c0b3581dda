"""`spower derate set | clear | list`: what a zone or feed may carry, cut for a while."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.adapters.users import user_of
from slurm_power.cli import times
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, duration, text, watts, words
from slurm_power.core.errors import UsageError
from slurm_power.core.units import format_watts, parse_capacity_w, parse_duration_s

COLUMNS = Columns(
    text("element"),
    text("kind"),
    watts("declared"),
    watts("limit"),
    text("percent"),
    text("active"),
    text("start"),
    text("end"),
    text("by"),
    words("reason"),
)
JOBS = Columns(text("job"), text("user"), text("tier"), watts("est"), duration("notice"))
RESERVATIONS = Columns(
    text("reservation", "name"), text("state"), watts("granted"), watts("short"), text("start"), text("end")
)
_ELEMENT = click.argument("element", metavar="ZONE|FEED", shell_complete=names_from("zones", "name"))


@click.group("derate", short_help="Cut for a while what a zone or feed may carry.")
def derate() -> None:
    """Cut for a while what a zone or feed may carry: heat, maintenance, a request of the grid.

    Jobs that are too much then give way as after a cut in the site file; a derate to come is planned around. For root,
    SlurmUser and Slurm's operators and administrators; everybody may see them. They hold over restarts of the daemon.
    """


@derate.command("set")
@_ELEMENT
@click.option("-l", "--limit", metavar="W", help="What it may carry: 30kW.")
@click.option("-p", "--percent", metavar="P", help="Or how much is taken away of what is declared: 25.")
@click.option("-r", "--reason", metavar="TEXT", help="For the audit log and those who ask; --dry-run goes without.")
@click.option("-s", "--start", metavar="TIME", help="14:00, now+2hours, tomorrow, 2026-04-20T18:00[Z]; else now.")
@click.option("-d", "--for", "length", metavar="D", help="For so long: 3h, 90m.")
@click.option("-u", "--until", metavar="TIME", help="Or until then; without either, until it is cleared.")
@click.option("--dry-run", is_flag=True, help="Name the jobs and reservations that it would hit; change nothing.")
@output_options(COLUMNS)
@link_options
def set_(
    element: str,
    limit: str | None,
    percent: str | None,
    reason: str | None,
    start: str | None,
    length: str | None,
    until: str | None,
    dry_run: bool,
    output: Output,
    link: Link,
) -> None:
    """Let a zone or feed carry less.

    \b
    spower derate set rack07 --percent=25 --for=3h --reason="chiller 2 is down"
    spower derate set pdu-a1 --limit=20kW --start=14:00 --until=17:00 --reason="grid event"
    spower derate set pdu-a1 --percent=100 --dry-run

    Of several that hold at once the least counts.
    """
    given = {"limit": limit, "percent": percent}
    if sum(value is not None for value in given.values()) != 1:
        raise UsageError("say how much: --limit=30kW or --percent=25, and not both")
    if length is not None and until is not None:
        raise UsageError("say how long by --for=3h or by --until=17:00, and not by both")
    if reason is None and not dry_run:
        raise UsageError('say why: --reason="chiller 2 is down"; only --dry-run goes without')
    asked: dict[str, Any] = {"element": element, "dry_run": dry_run}
    if reason is not None:
        asked["reason"] = reason
    if limit is not None:
        asked["limit_w"] = parse_capacity_w(limit)
    if percent is not None:
        asked["percent"] = percent.removesuffix("%")
    since = times.at(start) if start is not None else None
    if since is not None:
        asked["start"] = since
    if until is not None:
        asked["end"] = times.at(until)
    if length is not None:
        asked["end"] = (since if since is not None else times.at("now")) + parse_duration_s(length)
    output.show(lambda: _told(link.ask("derate", do="set", **asked), dry_run=dry_run))


@derate.command("clear")
@_ELEMENT
@output_options(COLUMNS)
@link_options
def clear(element: str, output: Output, link: Link) -> None:
    """Let a zone or feed carry again what is declared: all derates of it end."""
    output.show(lambda: _cleared(link.ask("derate", do="clear", element=element)))


@derate.command("list")
@output_options(COLUMNS, iterate=True)
@link_options
def list_(output: Output, link: Link) -> None:
    """Show the derates that hold, and those to come."""
    output.show(lambda: _listed(link.ask("derate", do="list")))


def _listed(found: Mapping[str, Any]) -> Answer:
    table = _table(found)
    return Answer(found, table, parts=(table,)) if table.rows else Answer(found, table, ("Nothing is derated.",))


def _cleared(found: Mapping[str, Any]) -> Answer:
    (element,) = {row["element"] for row in found["derates"]}
    return Answer(found, _table(found), (f"Nothing derates {element} any more.",))


def _told(found: Mapping[str, Any], *, dry_run: bool) -> Answer:
    (row,) = found["derates"]
    when = f"from {row['start']} " if not row["active"] else ""
    until = f"to {row['end']}" if row["end"] else "until it is cleared"
    watts_, declared = format_watts(row["limit_w"]), format_watts(row["declared_w"])
    line = f"{row['element']} {'would carry' if dry_run else 'carries'} {watts_} of {declared} {when}{until}."
    if not dry_run:
        return Answer(found, _table(found), (line,))
    lines = [line]
    if not found["jobs"]:
        lines.append("No job would have to give way.")
    if found["left_w"]:
        lines.append(f"{format_watts(found['left_w'])} would be too much still, for nobody else may be preempted.")
    tables = [Table(JOBS.all, found["jobs"]), Table(RESERVATIONS.all, found["reservations"])]
    return Answer(found, _table(found), tuple(lines), parts=tuple(table for table in tables if table.rows))


def _table(found: Mapping[str, Any]) -> Table:
    rows = [
        {
            **row,
            "active": "yes" if row["active"] else "no",
            "percent": None if row["percent"] is None else f"{row['percent']:g}",
            "by": row["source"] or user_of(row["uid"]),
        }
        for row in found["derates"]
    ]
    return Table(COLUMNS.all, rows)
