"""`spower audit`: who or what decided what, why, by which rule and which numbers; one line each, oldest first."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import click

from slurm_power.adapters.users import uid_of, user_of
from slurm_power.cli import times
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import LONG_S, limit_option, output_options, since_option
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, count, numbers, text, words

COLUMNS = Columns(
    text("at"),
    text("job"),
    text("user"),
    count("uid"),
    text("account"),
    text("reservation"),
    text("action"),
    text("zones"),
    text("cause"),
    text("rule"),
    numbers("numbers"),
    text("actor"),
    text("mode"),
    text("reasons"),
    words("text"),
)
_SHOWN = (
    "at", "job", "user", "account", "reservation", "action", "zones", "cause", "rule", "numbers", "actor", "mode",
)  # fmt: skip
_OF_REASONS = ("asked_w", "free_w", "short_w")
_DAEMON = "daemon"


@click.command("audit", short_help="Who decided what, why, by which rule.")
@click.argument("job", required=False, shell_complete=names_from("jobs", "job"))
@click.option("-z", "--zone", help="Decisions about watts in this zone.", shell_complete=names_from("zones", "name"))
@click.option("-A", "--account", help="Decisions about this account.")
@click.option("-u", "--user", help="Decisions about this user, a name or a uid.")
@click.option(
    "-R",
    "--reservation",
    help="Decisions about this reservation, and about jobs in it.",
    shell_complete=names_from("reservations", "name"),
)
@click.option("-a", "--action", "actions", metavar="ACTION,…", help="These actions: admit, hold, deny, mode, …")
@since_option
@click.option("-E", "--until", metavar="TIME", help="Before this time.")
@limit_option
@output_options(COLUMNS, json_lines=True)
@link_options
def audit(
    job: str | None,
    zone: str | None,
    account: str | None,
    user: str | None,
    reservation: str | None,
    actions: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    output: Output,
    link: Link,
) -> None:
    """Show the audit log: each decision with its time, job, cause, rule and numbers, and who ordered it.

    JOB is an id as squeue shows it; that of an array or of a heterogeneous job stands for all its parts. Lines are
    never changed; they are deleted when they are older than the site keeps them.
    """
    asked: dict[str, Any] = {
        "job": job,
        "zone": zone,
        "account": account,
        "uid": None if user is None else uid_of(user),
        "reservation": reservation,
        "actions": None if actions is None else [action.strip() for action in actions.split(",")],
        "since": None if since is None else times.since(since),
        "until": None if until is None else times.since(until),
    }
    wanted = {name: value for name, value in asked.items() if value is not None}
    output.show(lambda: present(link.ask("audit", patience_s=LONG_S, limit=limit, **wanted)))


def present(found: Mapping[str, Any]) -> Answer:
    """Lines as a table."""
    rows = [_row(line) for line in found["lines"]]
    lead = () if rows else ("No lines.",)
    parts = [Table(COLUMNS.pick(_SHOWN), rows)] if rows else []
    lines = [{"schema": found["schema"], **line} for line in found["lines"]]
    return Answer(found, Table(COLUMNS.all, rows), lead, parts=parts, lines=lines)


def _row(line: Mapping[str, Any]) -> Row:
    return {
        **line,
        "user": user_of(line["uid"]),
        "actor": _DAEMON if line["actor"] is None else user_of(line["actor"]),
        "numbers": {**line["numbers"], **_short(line["reasons"])},
        "reasons": [reason["code"] for reason in line["reasons"]],
        "text": "; ".join(reason["text"] for reason in line["reasons"]),
    }


def _short(reasons: list[Mapping[str, Any]]) -> dict[str, int]:
    """The numbers of the first reason that has all of them; some reasons of older versions lack some."""
    whole = (reason for reason in reasons if all(reason.get(name) is not None for name in _OF_REASONS))
    return {name: reason[name] for reason in islice(whole, 1) for name in _OF_REASONS}
