"""`spower report`: what was decided, how often and why; with --would, what was not done in other modes."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.adapters.users import user_of
from slurm_power.cli import times
from slurm_power.cli.levels import present_holders, present_levels
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import LONG_S, limit_option, output_options, since_option
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, count, text, words

COLUMNS = Columns(
    text("at"),
    text("job"),
    text("user"),
    count("uid"),
    text("account"),
    text("action"),
    text("mode"),
    text("zones"),
    text("reasons"),
    words("text"),
)
_SHOWN = ("at", "job", "user", "account", "action", "zones", "reasons", "text")
_COUNTS = Columns(text("action", "name"), count("times"))


@click.command("report", short_help="What was decided, how often and why.")
@click.option("--would", is_flag=True, help="Only what enforce would have done while the mode did not act.")
@click.option("--sla", "levels", is_flag=True, help="Runs by tier: how many missed their service level, and why.")
@click.option("--holders", is_flag=True, help="Who owns watts, until when, and what if the job never starts.")
@click.option("-z", "--zone", help="Holders in this zone.", shell_complete=names_from("zones", "name"))
@since_option
@limit_option
@output_options(COLUMNS, iterate=True)
@link_options
def report(
    would: bool,
    levels: bool,
    holders: bool,
    zone: str | None,
    since: str | None,
    limit: int,
    output: Output,
    link: Link,
) -> None:
    """Show decisions: how often each was taken, for which reasons, and one line each.

    With --sla, how the service levels of the tiers were kept; with --holders, who owns the watts of each zone.
    """
    if levels + holders + would > 1:
        raise click.UsageError("--sla, --holders and --would are three reports; give one of them")
    if (levels or holders) and output.chosen is not None:
        raise click.UsageError("-o chooses among columns of decisions; leave it out")
    if zone is not None and not holders:
        raise click.UsageError("--zone goes with --holders; spower audit has decisions by zone")
    if levels:
        period = {} if since is None else {"since": times.since(since)}
        output.show(lambda: present_levels(link.ask("levels", patience_s=LONG_S, **period)))
        return
    if holders:
        where: dict[str, Any] = {} if zone is None else {"zone": zone}
        output.show(lambda: present_holders(link.ask("holders", **where)))
        return
    start = 0 if since is None else times.since(since)
    output.show(lambda: present(link.ask("report", would=would, since=start, limit=limit)))


def present(found: Mapping[str, Any]) -> Answer:
    """Counts and lines as tables."""
    rows = [_row(decision) for decision in found["decisions"]]
    parts = [
        Table(_COUNTS.all, [{"name": name, "times": times} for name, times in found[counts].items()], title)
        for title, counts in (("ACTION", "counts"), ("REASON", "reason_counts"))
        if found[counts]
    ]
    lead = () if rows else ("No decisions.",)
    if rows:
        parts.append(Table(COLUMNS.pick(_SHOWN), rows))
    return Answer(found, Table(COLUMNS.all, rows), lead, parts=parts)


def _row(decision: Mapping[str, Any]) -> Row:
    return {
        **decision,
        "user": user_of(decision["uid"]),
        "reasons": [reason["code"] for reason in decision["reasons"]],
        "text": "; ".join(reason["text"] for reason in decision["reasons"]),
    }
