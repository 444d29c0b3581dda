"""Readings of nodes from Slurm's own energy plugins, as slurmctld shows them."""

from slurm_power.core.errors import SlurmError, TelemetryError
from slurm_power.ports import Kind, Quantity, Reading, Slurm, Told


class SlurmEnergySource:
    """The `telemetry` of type `slurm`. One call of Slurm's, for which its own time-out holds."""

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm

    def read(self) -> Told:
        """The power of each node that is measured. Raises TelemetryError, also where none is.

        Slurm does not tell when it was measured: at most AcctGatherNodeFreq, and what the plugin takes, before.
        """
        try:
            watts = self._slurm.node_watts()
        except SlurmError as error:
            raise TelemetryError(f"slurm: {error}") from None
        if not watts:
            raise TelemetryError(
                "slurm: shows the watts of no node; that takes AcctGatherEnergyType, such as acct_gather_energy/ipmi, "
                "and AcctGatherNodeFreq, such as 10, in slurm.conf"
            )
        return Told([Reading(Kind.NODE, name, Quantity.POWER, float(value)) for name, value in sorted(watts.items())])

    def close(self) -> None:
        """Nothing is kept open."""
