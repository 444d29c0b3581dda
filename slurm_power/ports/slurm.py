"""Slurm: what it shows, and the protocol of who reads and writes it."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Protocol

from slurm_power.core.immutable import immutable
from slurm_power.ports.commands import Chain, Outcome


class JobState(StrEnum):
    """A job's base state, as Slurm names it; other words of Slurm's map to the nearest of these."""

    PENDING = "PENDING"
    CONFIGURING = "CONFIGURING"
    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    COMPLETING = "COMPLETING"
    ENDED = "ENDED"


@immutable
class JobRecord:
    """One job as Slurm has it now. A pending array is one record; its started tasks are records of their own.

    Times are instants; None where Slurm says unknown or unlimited. Hostlists stay folded text.
    """

    job_id: int
    state: JobState
    uid: int
    user: str = ""
    account: str = ""
    qos: str = ""
    partition: str = ""
    name: str = ""
    priority: int = 0
    """0 while the job is held."""
    reason: str = ""
    array_job_id: int | None = None
    array_task_id: int | None = None
    array_tasks: str = ""
    """The pending tasks of an array's own record, `3-99`, without the throttle; empty otherwise."""
    array_throttle: int | None = None
    het_job_id: int | None = None
    het_offset: int | None = None
    node_list: str = ""
    node_count: int = 1
    cpus: int = 1
    gpus: int = 0
    """GPUs of the whole job."""
    exclusive: bool = False
    time_limit_s: int | None = None
    submit_time: int = 0
    eligible_time: int | None = None
    start_time: int | None = None
    end_time: int | None = None
    restarts: int = 0
    batch: bool = True
    requeue: bool = True
    licenses: str = ""
    features: str = ""
    required_nodes: str = ""
    excluded_nodes: str = ""
    reservation: str = ""
    dependency: str = ""
    admin_comment: str = ""
    comment: str = ""
    result: str = ""
    """Slurm's word for how it has ended, such as COMPLETED; empty before."""

    @property
    def target(self) -> str:
        """How scontrol is told of this record: `812`, `812_[3-99]` (an array's pending part), `812_7`, `812+1`.

        Not the bare id of a task or component: that of the last task or the first component means them all.
        """
        if self.array_tasks:
            return f"{self.array_job_id}_[{self.array_tasks}]"
        if self.array_task_id is not None:
            return f"{self.array_job_id}_{self.array_task_id}"
        if self.het_job_id is not None:
            return f"{self.het_job_id}+{self.het_offset}"
        return str(self.job_id)

    @property
    def held(self) -> bool:
        """Whether priority 0 keeps it from starting, by whomever."""
        return self.state is JobState.PENDING and self.priority == 0


@immutable
class NodeRecord:
    """One node as Slurm has it now; `up` means that Slurm would start a job on it once it is free."""

    name: str
    up: bool
    cpus: int
    cpus_alloc: int
    gpus: int
    gpus_alloc: int
    memory_mb: int = 0
    features: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    gpu_types: tuple[tuple[str, int], ...] = ()
    """GPUs by type, in order of name; empty where they have no types."""
    off: bool = False
    """Slurm has powered it down."""


@immutable
class PartitionRecord:
    """One partition; limits in seconds, None for unlimited or unset."""

    name: str
    nodes: str
    default: bool = False
    max_time_s: int | None = None
    default_time_s: int | None = None


@immutable
class LicenseRecord:
    """One licence as slurmctld counts it."""

    name: str
    total: int
    used: int
    reserved: int = 0


@immutable
class QosRecord:
    """One QOS of the accounting database, with the QOS that it may preempt."""

    name: str
    priority: int = 0
    preempts: tuple[str, ...] = ()
    preempt_mode: str = ""
    """How its jobs are preempted; empty: as the cluster does."""
    grace_s: int = 0
    """What its jobs have left once they are preempted, from a signal sent at once."""
    exempt_s: int | None = None
    """How long its jobs run before they may be preempted; None: as the cluster has it."""


@immutable
class PreemptionRecord:
    """How the cluster preempts where a QOS does not say otherwise.

    mode: in Slurm's words, such as `REQUEUE`.
    exempt_s: how long a job runs before it may be preempted; None where Slurm says none.
    requeue: whether batch jobs may be requeued that do not say so themselves.
    """

    mode: str
    exempt_s: int | None = None
    requeue: bool = True


class AdminLevel(StrEnum):
    """What the accounting database lets somebody do everywhere."""

    NONE = "none"
    OPERATOR = "operator"
    ADMIN = "admin"


@immutable
class PrivilegeRecord:
    """One user of the accounting database, by name; whoever has a uid asks the system for its name.

    coordinates, accounts: in order of name; with those that the user coordinates are those below them.
    """

    user: str
    level: AdminLevel = AdminLevel.NONE
    coordinates: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()


@immutable
class ReservationRecord:
    """One reservation as Slurm shows it. What it counts is LicenseRecord.reserved, perhaps less (UpdateReservation)."""

    name: str
    start: int
    end: int
    active: bool
    """Begun and not over. One that is over is shown, and reserves nothing, until no job runs in it."""
    users: tuple[str, ...] = ()
    """`-bob` stands for all but bob; so with accounts."""
    accounts: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    licenses: Mapping[str, int] = field(default_factory=dict)
    nodes: str = ""
    node_count: int = 0
    features: str = ""
    partition: str = ""
    flags: tuple[str, ...] = ()


class Slurm(Protocol):
    """Slurm, read and written. Every method may block and may raise SlurmError; none is called on the decision path."""

    def version(self) -> tuple[int, int, int]:
        """For example (22, 5, 8)."""

    def jobs(self, ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        """All jobs that slurmctld still knows, ended ones included; with `ids` only those that it knows of these."""

    def nodes(self) -> Sequence[NodeRecord]:
        """All nodes."""

    def node_watts(self) -> Mapping[str, int]:
        """Node → W that Slurm's energy plugin measures, for the nodes of which slurmctld knows it now; never 0."""

    def partitions(self) -> Sequence[PartitionRecord]:
        """All partitions."""

    def licenses(self) -> Sequence[LicenseRecord]:
        """All licences as slurmctld counts them."""

    def fair_shares(self) -> Mapping[tuple[str, str], float]:
        """(account, user) → fair-share factor, 0 to 1; empty without an accounting database."""

    def qos(self) -> Sequence[QosRecord]:
        """All QOS, from the accounting database."""

    def reservations(self) -> Sequence[ReservationRecord]:
        """All reservations, those of others included."""

    def preemption(self) -> PreemptionRecord:
        """How the cluster preempts."""

    def privileges(self) -> Sequence[PrivilegeRecord]:
        """All users of the accounting database, by name; none without one."""

    def private_data(self) -> frozenset[str]:
        """What PrivateData keeps from other users, in Slurm's words (`jobs`, `usage`, …); empty where it is not set."""

    def write(self, chains: Sequence[Chain]) -> Sequence[Outcome]:
        """Run the chains, many in one process; one outcome a chain, in the same order. Never raises for one job."""
