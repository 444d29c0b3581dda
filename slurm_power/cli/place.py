"""`spower place JOB` and `spower protect JOB`: operators' overrides."""

import click

from slurm_power.cli.jobs import COLUMNS, present
from slurm_power.cli.link import Link, link_options, names_from
from slurm_power.cli.options import output_options
from slurm_power.cli.output import Output


@click.command("place", short_help="Place a held job by hand, ahead of the queue.")
@click.argument("job", shell_complete=names_from("jobs", "job"))
@click.option(
    "-z", "--zone", shell_complete=names_from("zones", "name"), help="The zone; else the tightest that can carry it."
)
@output_options(COLUMNS)
@link_options
def place(job: str, zone: str | None, output: Output, link: Link) -> None:
    """Bind a job that is held for power to a zone now, and release it.

    For root, SlurmUser and Slurm's operators and administrators. The queue's order, lanes, headroom floors and the
    hours of its class give way; watts, bursts, feeds, cooling and nodes do not. It is written in the audit log.
    """
    output.show(lambda: present(link.ask("place", job=job, zone=zone)))


@click.command("protect", short_help="Keep a job from giving way to others.")
@click.argument("job", shell_complete=names_from("jobs", "job"))
@click.option("--off", is_flag=True, help="It may give way again, as its tier does.")
@output_options(COLUMNS)
@link_options
def protect(job: str, off: bool, output: Output, link: Link) -> None:
    """Keep a job from being preempted for watts, until it has ended; for root, SlurmUser, operators, administrators.

    Slurm's own preemption knows no such protection. It is written in the audit log.
    """
    output.show(lambda: present(link.ask("protect", job=job, off=off)))
