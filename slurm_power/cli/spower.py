"""`spower`: watts, as Slurm's users and administrators see them."""

import click

from slurm_power import __version__
from slurm_power.cli.group import EXIT_CODES, PowerGroup, run

_COMMANDS = {
    "zones": "slurm_power.cli.zones:zones",
    "jobs": "slurm_power.cli.jobs:jobs",
    "explain": "slurm_power.cli.explain:explain",
    "check": "slurm_power.cli.check:check",
    "place": "slurm_power.cli.place:place",
    "protect": "slurm_power.cli.place:protect",
    "derate": "slurm_power.cli.derate:derate",
    "telemetry": "slurm_power.cli.telemetry:telemetry",
    "profiles": "slurm_power.cli.profiles:profiles",
    "report": "slurm_power.cli.report:report",
    "audit": "slurm_power.cli.audit:audit",
    "health": "slurm_power.cli.health:health",
    "checkpointed": "slurm_power.cli.checkpointed:checkpointed",
    "mode": "slurm_power.cli.mode:mode",
    "config": "slurm_power.cli.config:config",
    "render": "slurm_power.cli.render:render",
    "sandbox": "slurm_power.cli.sandbox:sandbox",
}


@click.group("spower", cls=PowerGroup, lazy=_COMMANDS, epilog=EXIT_CODES)
@click.version_option(__version__, "-V", "--version", prog_name="spower", message="%(prog)s %(version)s")
def spower() -> None:
    """Watts as a resource that Slurm schedules: see them, ask for them, learn why a job waits for them.

    As with Slurm's own commands, -h leaves headers out; --help explains.
    """


def main() -> None:
    """The console script."""
    run(spower, "spower")


if __name__ == "__main__":
    main()
