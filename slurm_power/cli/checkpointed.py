"""`spower checkpointed`: said from within a job, once its work so far is safe."""

import os
from collections.abc import Mapping
from typing import Any

import click

from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output
from slurm_power.cli.table import Answer, Columns, Table, text
from slurm_power.core.errors import UsageError

COLUMNS = Columns(text("job"), text("at"))
_OWN_JOB = "SLURM_JOB_ID"


@click.command("checkpointed", short_help="Say that a job has just written a checkpoint.")
@click.argument("job", required=False, shell_complete=names_from("jobs", "job"))
@output_options(COLUMNS)
@link_options
def checkpointed(job: str | None, output: Output, link: Link) -> None:
    """Say that a job has just written a checkpoint: of jobs that may have to give way, one that loses less goes first.

    JOB is an id as squeue shows it; without it, the job that this is called in ($SLURM_JOB_ID). For its owner, root
    and SlurmUser.
    """
    name = job or os.environ.get(_OWN_JOB)
    if not name:
        raise UsageError(f"which job? Outside of one (${_OWN_JOB} is not set) give its id")
    output.show(lambda: _present(link.ask("checkpointed", job=name)))


def _present(found: Mapping[str, Any]) -> Answer:
    return Answer(found, Table(COLUMNS.all, [found]), (f"Checkpoint of job {found['job']} noted at {found['at']}.",))
