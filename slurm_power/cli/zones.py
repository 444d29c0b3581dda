"""`spower zones`: what each zone and feed may carry, what is promised there, and what is left."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from slurm_power.cli.hostlists import expand
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Row, Table, count, text, watts
from slurm_power.core.errors import UsageError
from slurm_power.core.policy import Mode

COLUMNS = Columns(
    text("name"),
    text("kind"),
    text("lane"),
    text("side"),
    text("parent"),
    text("redundancy"),
    watts("limit"),
    watts("usable"),
    watts("baseline"),
    watts("committed"),
    watts("reserved"),
    watts("measured"),
    watts("stray"),
    watts("over"),
    watts("slurm", "license_used"),
    watts("slurm_total", "license_total"),
    watts("headroom"),
    watts("burst"),
    watts("room"),
    text("thermal"),
    text("stale"),
    text("license"),
    text("feeds"),
    count("nodes_up"),
    count("nodes_idle"),
    count("jobs"),
)
_NUMBERS = ("limit", "usable", "baseline", "committed", "slurm", "headroom", "burst")
_ZONE = ("name", "lane", "limit", "usable", "baseline", "committed", "reserved", "slurm", "headroom", "burst", "jobs")
_FEED = ("name", "side", *_NUMBERS)
_RECORD = (
    "kind",
    "name",
    "lane",
    "side",
    *_NUMBERS,
    "reserved",
    "measured",
    "stray",
    "over",
    "stale",
    "slurm_total",
    "thermal",
    "jobs",
)


@click.command("zones", short_help="Watts of zones and feeds.")
@click.argument("names", nargs=-1, metavar="[HOSTLIST]...", shell_complete=names_from("zones", "name"))
@output_options(COLUMNS, iterate=True)
@link_options
def zones(names: Sequence[str], output: Output, link: Link) -> None:
    """Show zones and feeds with their watts.

    HOSTLIST names zones, shown with the feeds above them, or feeds: spower zones rack[01-02].

    \b
    LIMIT      what it can carry now
    USABLE     what of that may be planned: limit × (1 − margin)
    BASELINE   what it draws without jobs
    COMMITTED  baseline, the est of its jobs, and what is reserved and not yet used
    RESERVED   what of that is reserved now and not yet used
    MEASURED   what is drawn, as measured; at least that where a part is silent, - where all is
    STRAY      drawn beyond the baseline and the est of the jobs on nodes
    SLURM      licences in use by slurmctld's own count; without the baseline
    HEADROOM   usable − stray − committed; below zero after a cut
    BURST      what may come on top of committed for a while
    """
    wanted = expand(names) if names else ()
    output.show(lambda: present(select(link.ask("zones"), wanted)))


def select(found: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """The answer about these zones, the feeds above them, and feeds that are named. Raises UsageError."""
    if not names:
        return found
    known = [row["name"] for row in (*found["zones"], *found["feeds"])]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no zone or feed {', '.join(unknown)}; there are {', '.join(known)}")
    chosen = [row for row in found["zones"] if row["name"] in names]
    above = {feed for row in chosen for feed in row["feeds"]}.union(names)
    return {**found, "zones": chosen, "feeds": [row for row in found["feeds"] if row["name"] in above]}


def present(found: Mapping[str, Any]) -> Answer:
    """Zones and feeds as tables."""
    zone_rows: list[Row] = [{**row, "kind": "zone"} for row in found["zones"]]
    feed_rows: list[Row] = [{**row, "kind": feed_kind(row)} for row in found["feeds"]]
    parts = [
        Table(COLUMNS.pick(_with_measured(columns, rows)), rows, title)
        for title, columns, rows in (("ZONE", _ZONE, zone_rows), ("FEED", _FEED, feed_rows))
        if rows
    ]
    return Answer(
        found, Table(COLUMNS.pick(_RECORD), [*zone_rows, *feed_rows]), (), tuple(_notes(found)), parts
    )


def _with_measured(columns: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The columns, with those of what is measured where anything is to be."""
    if all(row["stale"] is None for row in rows):
        return list(columns)
    place = columns.index("slurm")
    return [*columns[:place], "measured", "stray", *columns[place:]]


def feed_kind(feed: Row) -> str:
    """What a feed is called beside zones: `feed`, or what it delivers where that is not power."""
    return "feed" if feed["kind"] == "power" else str(feed["kind"])


def _notes(found: Mapping[str, Any]) -> list[str]:
    """What must not be overlooked."""
    notes = []
    if found["mode"] != Mode.ENFORCE:
        notes.append(f"The mode is {found['mode']}: no job is held for watts.")
    closed = [row["name"] for row in found["zones"] if row["thermal"] == "critical"]
    if closed:
        notes.append(f"Closed by their thermal state: {', '.join(closed)}.")
    rows = (*found["zones"], *found["feeds"])
    over = [row["name"] for row in rows if row["over_w"]]
    if over:
        notes.append(f"More is drawn than the limit lets them: {', '.join(over)}.")
    stale = [row["name"] for row in rows if row["stale"]]
    if stale:
        notes.append(f"Not all that is drawn in {', '.join(stale)} is known: max counts there.")
    short = [row["name"] for row in rows if row["headroom_w"] < 0]
    if short:
        notes.append(f"More is committed than may be planned: {', '.join(short)}.")
    return notes
