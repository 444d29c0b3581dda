"""`spower jobs`: the jobs that the daemon knows, with their watts."""

import os
from collections.abc import Collection, Mapping
from typing import Any

import click

from slurm_power.adapters.users import uid_of
from slurm_power.cli.hostlists import expand
from slurm_power.cli.link import Link, link_options
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, count, text, watts, words
from slurm_power.core.lifecycle import State

COLUMNS = Columns(
    text("job"),
    count("job_id"),
    text("user"),
    text("account"),
    text("name"),
    text("state"),
    text("hold"),
    text("tier"),
    text("power", "power_class"),
    text("zones"),
    watts("est"),
    watts("max"),
    words("note"),
)
_SHOWN = ("job", "user", "account", "name", "state", "tier", "power", "zones", "est", "max", "note")


@click.command("jobs", short_help="Jobs and their watts.")
@click.option("-u", "--user", help="Jobs of this user, a name or a uid.")
@click.option("--me", is_flag=True, help="My jobs.")
@click.option("-t", "--states", metavar="STATE,…", help=f"Jobs in these states: {', '.join(State)}.")
@click.option("-z", "--zones", "hostlist", metavar="HOSTLIST", help="Jobs with watts in these zones.")
@output_options(COLUMNS, iterate=True)
@link_options
def jobs(
    user: str | None, me: bool, states: str | None, hostlist: str | None, output: Output, link: Link
) -> None:
    """Show jobs with their state, their tier and their watts.

    \b
    parked    may not claim watts yet: held by its user, not eligible, components missing
    waiting   held for watts, in the queue
    binding   admitted; on its way to be released
    admitted  bound to its zones, and pending in Slurm
    running   on nodes, until it has left COMPLETING
    denied    turned away by the launch gate
    free      not counted before it runs: outside all zones, or out of the mode's scope
    """
    if me and user is not None:
        raise click.UsageError("--me and --user are about different users; give one of them")
    uid = os.getuid() if me else uid_of(user) if user is not None else None
    wanted = {} if uid is None else {"uid": uid}
    states_wanted = _states(states)
    zones_wanted = expand([hostlist]) if hostlist is not None else ()
    output.show(lambda: present(_select(link.ask("jobs", **wanted), states_wanted, zones_wanted)))


def _states(names: str | None) -> frozenset[str]:
    if names is None:
        return frozenset(State)
    chosen = frozenset(name.strip().lower() for name in names.split(","))
    unknown = sorted(chosen - set(State))
    if unknown:
        raise click.UsageError(f"there is no state '{unknown[0]}'; there are {', '.join(State)}")
    return chosen


def _select(found: Mapping[str, Any], states: Collection[str], zones: Collection[str]) -> Mapping[str, Any]:
    def chosen(row: Mapping[str, Any]) -> bool:
        return row["state"] in states and (not zones or not set(zones).isdisjoint(row["zones"]))

    return {**found, "jobs": [row for row in found["jobs"] if chosen(row)]}


def present(found: Mapping[str, Any]) -> Answer:
    """Jobs as a table."""
    table = Table(COLUMNS.pick(_SHOWN), found["jobs"])
    return Answer(found, Table(COLUMNS.all, found["jobs"]), parts=(table,))
