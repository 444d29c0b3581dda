"""Slurm behind its command-line tools: the implementation of `ports.Slurm`."""

from collections.abc import Mapping, Sequence

from slurm_power.adapters.slurm import inventory, pyslurm_reader
from slurm_power.adapters.slurm.dialect import Version, dialect_for, read_version
from slurm_power.adapters.slurm.jobs import JobReader
from slurm_power.adapters.slurm.runner import Commands
from slurm_power.adapters.slurm.writer import Writer
from slurm_power.ports import (
    Chain,
    JobRecord,
    LicenseRecord,
    NodeRecord,
    Outcome,
    PartitionRecord,
    PreemptionRecord,
    PrivilegeRecord,
    QosRecord,
    ReservationRecord,
)


class SlurmCommands:
    """Slurm, read and written by its commands.

    commands: who runs them.
    batch: how many commands go into one scontrol or scancel.
    pyslurm: the command that starts pyslurm's process, to read jobs by it where it is there for this very version.

    Every method blocks and may raise SlurmError, SlurmTimeout or SlurmParseError.
    """

    def __init__(self, commands: Commands, *, batch: int = 200, pyslurm: Sequence[str] = ()) -> None:
        self._commands = commands
        self._writer = Writer(commands, batch)
        self._pyslurm = tuple(pyslurm)
        self._known: tuple[Version, pyslurm_reader.JobSource] | None = None

    def version(self) -> Version:
        """For example (22, 5, 8); asked once."""
        return self._connect()[0]

    def jobs(self, ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        """All jobs that slurmctld still knows, ended ones included; with `ids` only those that it knows of these."""
        return self._connect()[1].read(ids)

    def reader(self) -> str:
        """What reads jobs, `squeue` or pyslurm with its version; empty before Slurm has been asked."""
        return self._known[1].name if self._known is not None else ""

    def nodes(self) -> Sequence[NodeRecord]:
        """All nodes."""
        return inventory.read_nodes(self._commands)

    def node_watts(self) -> Mapping[str, int]:
        """Node → W, for the nodes of which slurmctld knows it now; none without an energy plugin that it asks."""
        return inventory.read_node_watts(self._commands)

    def partitions(self) -> Sequence[PartitionRecord]:
        """All partitions."""
        return inventory.read_partitions(self._commands)

    def licenses(self) -> Sequence[LicenseRecord]:
        """All licences as slurmctld counts them."""
        return inventory.read_licenses(self._commands)

    def fair_shares(self) -> Mapping[tuple[str, str], float]:
        """(account, user) → fair-share factor, 0 to 1; empty where the cluster keeps no accounts."""
        return inventory.read_fair_shares(self._commands)

    def qos(self) -> Sequence[QosRecord]:
        """All QOS; none where the cluster keeps no accounts."""
        return inventory.read_qos(self._commands)

    def reservations(self) -> Sequence[ReservationRecord]:
        """All reservations, those of others included."""
        return inventory.read_reservations(self._commands)

    def preemption(self) -> PreemptionRecord:
        """How the cluster preempts."""
        return inventory.read_preemption(self._commands)

    def privileges(self) -> Sequence[PrivilegeRecord]:
        """All users of the accounting database, by name; none where the cluster keeps no accounts."""
        return inventory.read_privileges(self._commands)

    def private_data(self) -> frozenset[str]:
        """What PrivateData keeps from other users; empty where it is not set."""
        return inventory.read_private_data(self._commands)

    def write(self, chains: Sequence[Chain]) -> Sequence[Outcome]:
        """Run the chains. Raises ReadOnlyError where nothing may be written; other faults are told in the outcomes."""
        return self._writer.write(chains)

    def _connect(self) -> tuple[Version, pyslurm_reader.JobSource]:
        if self._known is None:
            version = read_version(self._commands)
            by_commands = JobReader(self._commands, dialect_for(version))
            self._known = version, self._choose(version, by_commands)
        return self._known

    def _choose(self, version: Version, by_commands: JobReader) -> pyslurm_reader.JobSource:
        found = pyslurm_reader.find(self._commands, version, self._pyslurm) if self._pyslurm else None
        return by_commands if found is None else pyslurm_reader.FallingBack(found, by_commands)
