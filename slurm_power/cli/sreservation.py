"""`sreservation`: reservations of power, in the manner of Slurm's own commands."""

import click

from slurm_power import __version__
from slurm_power.cli.group import PowerGroup, run

_COMMANDS = {
    "create": "slurm_power.cli.reservation:create",
    "show": "slurm_power.cli.reservation_show:show",
    "update": "slurm_power.cli.reservation:update",
    "renew": "slurm_power.cli.reservation:renew",
    "cancel": "slurm_power.cli.reservation:cancel",
    "check": "slurm_power.cli.reservation:check",
    "usage": "slurm_power.cli.usage:usage",
}
EXIT_CODES = """\
\b
Exit codes:
    0  done
    1  something failed
    2  the words of the command are off
    3  it does not fit as asked; what would is shown
    4  it could never fit
    5  the daemon cannot be reached
  130  interrupted
"""


@click.group("sreservation", cls=PowerGroup, lazy=_COMMANDS, epilog=EXIT_CODES)
@click.version_option(__version__, "-V", "--version", prog_name="sreservation", message="%(prog)s %(version)s")
def sreservation() -> None:
    """Reserve watts of zones for an account or for users, for a time to come.

    Jobs use a reservation by --comment=power:est=…,reservation=NAME.
    """


def main() -> None:
    """The console script."""
    run(sreservation, "sreservation")


if __name__ == "__main__":
    main()
