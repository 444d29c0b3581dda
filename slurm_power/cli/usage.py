"""`sreservation usage`: energy reserved and used, what it costs, and what follows for the ceiling."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.adapters.users import user_of
from slurm_power.cli import times
from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, count, energy, share, text, watts

_BY = ("account", "user", "reservation", "tier")
_PATIENCE_S = 60.0
COLUMNS = Columns(
    text("name"),
    text("id"),
    count("uid"),
    energy("reserved"),
    energy("used"),
    energy("jobs"),
    share("use"),
    share("honoured"),
    count("runs"),
    share("accuracy"),
    share("score"),
    share("ceiling"),
    text("cost"),
)
_SHOWN = ("name", "reserved", "used", "jobs", "use", "honoured", "runs", "accuracy", "cost")
_SHOWN_OF_ACCOUNTS = (*_SHOWN[:-1], "score", "ceiling", "cost")
ZONES = Columns(
    text("zone"),
    watts("usable"),
    watts("committed"),
    watts("reserved_unused", "unused_w"),
    watts("room"),
    watts("least_waiting"),
    watts("stranded_room", "stranded_w"),
)


@click.command("usage", short_help="Energy reserved and used, cost and score.")
@click.option("-S", "--since", metavar="TIME", help="From this time on; else the last 30 days. now-7days, 2026-04-01.")
@click.option("-E", "--until", metavar="TIME", help="Before this time; else now.")
@click.option("--by", type=click.Choice(_BY), default=_BY[0], show_default=True, help="One line for each.")
@output_options(COLUMNS, comma_separated=True)
@link_options
def usage(since: str | None, until: str | None, by: str, output: Output, link: Link) -> None:
    """Show what was reserved and used, in whole hours, what it costs, and how well it was forecast.

    \b
    reserved  watts granted × the time that the window was open
    used      of that, what jobs on nodes held; use is the part
    jobs      what jobs on nodes held, within reservations or not
    honoured  of what was granted, the part that was kept to the end
    accuracy  1 where runs took the time that they asked for, and drew their est where that was measured
    score     use with decay, from which follows the ceiling: the part of a zone that the account may reserve

    Below it, for each zone, watts that are reserved and not used now, and room that no waiting job fits. Users see
    their own and their accounts', coordinators their accounts', administrators all.
    """
    asked = {"since": since, "until": until}
    period = {name: times.since(word) for name, word in asked.items() if word is not None}
    output.show(lambda: present(link.ask("usage", patience_s=_PATIENCE_S, by=by, **period)))


def present(found: Mapping[str, Any]) -> Answer:
    """The totals as a table, and the zones' watts."""
    rows = [_row(row) for row in found["rows"]]
    lead = [f"From {found['since']} to {found['until']}, by {found['by']}."]
    lead += [f"Not known: jobs that came and went from {gap['from']} to {gap['until']}." for gap in found["unknown"]]
    if not rows:
        lead.append("No usage.")
    shown = _SHOWN_OF_ACCOUNTS if found["by"] == "account" else _SHOWN
    parts = [Table(COLUMNS.pick(shown), rows, found["by"].upper())] if rows else []
    parts.append(Table(ZONES.all, found["zones"]))
    return Answer(found, Table(COLUMNS.all, rows), lead, parts=parts)


def _row(row: Mapping[str, Any]) -> Row:
    name = row["name"] if row["uid"] is None else user_of(row["uid"])
    return {**row, "name": name or "(none)", "cost": costs(row["costs"])}


def costs(found: list[Mapping[str, str]]) -> str:
    """A cost for people: `12.50 EUR`; of several currencies each."""
    return " + ".join(f"{cost['amount']} {cost['currency']}" for cost in found)
