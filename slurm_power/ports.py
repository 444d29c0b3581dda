"""What the service needs of the world: a clock, Slurm, a store. Adapters and fakes implement these protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Protocol, TypedDict, Unpack

from slurm_power.commands import (
    Cancel,
    Chain,
    Command,
    CreateReservation,
    DeleteReservation,
    Hold,
    JobCommand,
    Outcome,
    Release,
    Requeue,
    RequeueHold,
    ReservationCommand,
    Resume,
    Signal,
    Suspend,
    Update,
    UpdateReservation,
    UserHold,
)
from slurm_power.core.immutable import immutable

__all__ = [  # of what is defined elsewhere
    "Cancel",
    "Chain",
    "Command",
    "CreateReservation",
    "DeleteReservation",
    "Hold",
    "JobCommand",
    "Outcome",
    "Release",
    "Requeue",
    "RequeueHold",
    "ReservationCommand",
    "Resume",
    "Signal",
    "Suspend",
    "Update",
    "UpdateReservation",
    "UserHold",
]


class Clock(Protocol):
    """Time, as the service sees it."""

    def now(self) -> int:
        """The instant, in whole seconds since 1970-01-01 UTC."""

    def monotonic(self) -> float:
        """Seconds that never run backwards, for pacing."""


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
    memory_alloc_mb: int = 0
    features: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    gpu_types: tuple[tuple[str, int], ...] = ()
    """GPUs by type, in order of name; empty where they have no types."""


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

    plugin: who may preempt whom, `qos`, `partition_prio` or `none`. mode: in Slurm's words, such as `REQUEUE`.
    exempt_s: how long a job runs before it may be preempted; None where Slurm says none.
    """

    plugin: str
    mode: str
    exempt_s: int | None = None


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

    @property
    def duration_s(self) -> int:
        """From start to end."""
        return self.end - self.start


class Slurm(Protocol):
    """Slurm, read and written. Every method may block and may raise SlurmError; none is called on the decision path."""

    def version(self) -> tuple[int, int, int]:
        """For example (22, 5, 8)."""

    def jobs(self, ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        """All jobs that slurmctld still knows, ended ones included; with `ids` only those that it knows of these."""

    def nodes(self) -> Sequence[NodeRecord]:
        """All nodes."""

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


class Rule(StrEnum):
    """Rules that a decision may go by beside those that stand in its way, which are `core.reasons.Code`."""

    ADMISSION = "admission"
    """It fits: packing, burst, headroom, feeds, cooling and order."""
    LAUNCH_GATE = "launch_gate"
    """Compare and reserve on the nodes that Slurm has chosen."""
    START_GRACE = "start_grace"
    """What was placed has to start in time."""
    TIMEOUT = "hook_timeout"
    """An answer that came too late does not count."""
    MODE = "mode"
    """The mode says how far the daemon goes."""


@immutable
class Decision:
    """One line of the audit log: what was decided about a job or a reservation, why, and by which numbers.

    `cause` and `rule` name no other job and no user: who reads the line may not be allowed to know of them.
    """

    at: int
    job: str
    """The job id where one is known, else the token; empty in a line about no job."""
    token: str
    uid: int
    """Whose job or reservation it is; without either, who acted."""
    account: str
    action: str
    """admit, hold, reject, release, deny, launch, end, mode, would-…"""
    mode: str
    zones: tuple[str, ...] = ()
    reasons: tuple[Mapping[str, object], ...] = ()
    reservation: str = ""
    """The name of the reservation that it is about, if any."""
    actor: int | None = None
    """The uid of who ordered it; None: the daemon, by its rules."""
    cause: str = ""
    """What set it off, in words: `submission`, `spower mode observe`; empty in lines of an old database."""
    rule: str = ""
    """Which rule said so: a `Rule`, or the code of the first reason; empty where nothing was ruled."""
    numbers: Mapping[str, int] = field(default_factory=dict)
    """What it was decided by beside the numbers of its reasons; each name ends in its unit: `est_w`."""


@immutable
class Viewer:
    """Who may not see every line of the audit log: a user who is neither root nor SlurmUser."""

    uid: int
    accounts: tuple[str, ...] = ()
    """The accounts for whose reservations he answers."""
    private: bool = False
    """Whether users may learn of their own jobs only."""

    def may_see(self, line: Decision) -> bool:
        """His own lines; those of his accounts that are about no job; and where jobs are not private, those of jobs."""
        if line.uid == self.uid:
            return True
        return not self.private if line.job else line.account in self.accounts


class Wanted(TypedDict, total=False):
    """Which lines of the audit log are wanted; what is left out does not matter. Instants: `since` ≤ at < `until`."""

    job: str
    """As people name it; a bare number stands for its array tasks and components too. What was written of the
    submission, before Slurm had shown the job, is found with it where a later line names it."""
    tokens: Sequence[str]
    """Submissions of that job which are known otherwise: what was written of these is found with it too."""
    uid: int | None
    account: str
    zone: str
    """Lines about watts in this zone, and those in which it stands in the way."""
    reservation: str
    actions: Sequence[str]
    """Any of these; none: all."""
    since: int
    until: int | None
    of_jobs: bool
    """No lines but those about jobs."""
    viewer: Viewer | None
    """No lines but those that he may see."""
    limit: int
    """So many, the newest; 1,000 if left out."""


PART_MARKS = "_+"
"""What stands behind a job's number in the name of an array task (`812_3`) and of a component (`812+1`)."""
LINES = 1_000
"""Lines of the audit log that are read where nobody says how many."""


@immutable
class Intent:
    """An action on Slurm that is about to be taken; durable before the action, closed after it."""

    target: str
    action: str
    at: int
    detail: Mapping[str, object] = field(default_factory=dict)
    id: int | None = None


class HoldKind(StrEnum):
    """Who holds a pending job."""

    POWER = "power"
    USER = "user"
    BOTH = "both"
    ADMIN = "admin"
    """An administrator, whoever else: only he lets it go."""


@immutable
class StoredJob:
    """What the database promises about one job: its envelope as admitted, and who holds it."""

    token: str
    job_id: int | None
    uid: int
    account: str
    tier: str
    est_w: int
    max_w: int
    headroom_w: int
    group: str
    submitted_at: int
    hold: HoldKind | None = None
    detail: Mapping[str, object] = field(default_factory=dict)
    """What else a later pass needs to decide anew: the request as it was asked."""


@immutable
class StoredReservation:
    """One reservation as the database keeps it, also after its end. `id` is random, and the same for its whole life."""

    id: str
    name: str
    """One live reservation has it at a time."""
    state: str
    live: bool
    """Whether it still holds its name, and may come to hold watts."""
    start: int
    end: int
    created_at: int
    updated_at: int
    detail: Mapping[str, object] = field(default_factory=dict)
    """What was asked for, and whatever else its rules need."""


@immutable
class Usage:
    """What one user's jobs and reservations of one tier came to within one hour, in watt-seconds."""

    reservation: str
    """The id of the reservation; empty for jobs without one."""
    account: str
    uid: int
    tier: str
    hour: int
    """The instant at which the hour begins."""
    reserved_ws: int = 0
    """Held by the reservation, used or not."""
    used_ws: int = 0
    """Of that, used by jobs."""
    jobs_ws: int = 0
    """Claimed by jobs, within a reservation or not."""


USAGE_THROUGH = "usage_through"
"""The setting that names the instant up to which usage is added, in seconds since 1970."""


class Store(Protocol):
    """The database of promises. Methods block and may raise StoreError; one thread writes, others may read."""

    def save_jobs(self, jobs: Sequence[StoredJob]) -> None:
        """Insert or replace by token."""

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        """Forget jobs that Slurm no longer knows."""

    def jobs(self) -> Sequence[StoredJob]:
        """All that is stored, by token."""

    def record(self, decisions: Sequence[Decision]) -> None:
        """Append to the audit log; never changed afterwards, and gone only when `prune` finds it too old."""

    def decisions(self, **wanted: Unpack[Wanted]) -> Sequence[Decision]:
        """The newest lines that match, oldest first."""

    def names(self, tokens: Sequence[str]) -> Mapping[str, str]:
        """Token → how some line of the audit log names its job; tokens of which none does are left out."""

    def prune(self, *, decisions: int, intents: int, limit: int) -> int:
        """Delete decisions, and intents that are closed, from before these instants: the oldest `limit` of each.

        Returns the larger of the two numbers deleted: below `limit`, nothing is left to delete.
        """

    def open_intents(self, intents: Sequence[Intent]) -> Sequence[Intent]:
        """Make them durable; returns them with ids."""

    def close_intents(self, ids: Sequence[int], result: str) -> None:
        """Mark as carried out (or not: `result` says)."""

    def pending_intents(self) -> Sequence[Intent]:
        """Those that a crash left open."""

    def save_reservations(self, reservations: Sequence[StoredReservation]) -> None:
        """Insert or replace by id, all or none. Raises where two live ones would have one name."""

    def reservations(self, live_only: bool) -> Sequence[StoredReservation]:
        """The live ones, or all that there ever were, by name, then start and id."""

    def add_usage(self, rows: Sequence[Usage], through: int) -> bool:
        """Add to what is stored, up to the instant `through`, which is set with it: all or nothing.

        False, and nothing is added, where usage has been added up to then or later: a batch that is put again after a
        crash counts once.
        """

    def usage(
        self,
        *,
        since: int = 0,
        until: int | None = None,
        account: str | None = None,
        uid: int | None = None,
        reservation: str | None = None,
    ) -> Sequence[Usage]:
        """The rows whose hours begin in `since` ≤ hour < `until` and that match, by hour, reservation, account, …"""

    def setting(self, name: str) -> str | None:
        """A small named value, such as the mode that an operator has set; None if never set."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Set it, or with None forget it."""

    def close(self) -> None:
        """Release the database."""
