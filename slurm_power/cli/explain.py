"""`spower explain JOB`: why a job waits, runs or cannot run, by which numbers, and what would help."""

from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Row, count, energy, text, watts, words
from slurm_power.cli.usage import costs
from slurm_power.cli.verdicts import answer_columns, present

COLUMNS = answer_columns(
    text("job"),
    count("job_id"),
    text("state"),
    words("note"),
    words("preemption"),
    text("est_from"),
    energy("held"),
    energy("above_max"),
    text("cost"),
    energy("at_limit", "limit_wh"),
    text("cost_at_limit", "limit_cost"),
    watts("p50"),
    watts("p95"),
    watts("peak"),
    watts("draws_now", "latest_w"),
    energy("drawn", "drawn_wh"),
)
_FACTS = (
    "state", "verdict", "tier", "power", "zones", "est", "max", "est_from", "held", "above_max", "cost", "at_limit",
    "cost_at_limit", "earliest", "note", "preemption", "p50", "p95", "peak", "draws_now", "drawn",
)  # fmt: skip


@click.command("explain", short_help="Why a job waits, and what would help.")
@click.argument("job", shell_complete=names_from("jobs", "job"))
@output_options(COLUMNS, iterate=True)
@link_options
def explain(job: str, output: Output, link: Link) -> None:
    """Explain one job: its verdict, the reasons with their numbers, the earliest start, and what would help.

    JOB is an id as squeue shows it: 812, 812_3 (task of an array), 812+1 (component).
    """
    output.show(lambda: present(link.ask("explain", job=job), COLUMNS, _FACTS, _share))


def _share(found: Mapping[str, Any]) -> Row:
    """What the job has held, drawn and cost so far, and what it comes to at its time limit, as columns."""
    share, drawn = found["share"], found["drawn"] or {}
    known = {key: drawn.get(key) for key in ("p50_w", "p95_w", "peak_w", "latest_w", "drawn_wh")}
    if share is None:
        return known
    return {
        **known,
        "held_wh": share["held_wh"] or None,
        "above_max_wh": share["above_max_wh"] or None,
        "cost": costs(share["costs"]),
        "limit_wh": share["limit_wh"],
        "limit_cost": costs(share["limit_costs"]),
    }
