"""What reconciliation finds, as data: a difference between Slurm, the database, the site file and what we promised."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum

from slurm_power.core.immutable import immutable
from slurm_power.ports import Chain, HoldKind, Intent, LicenseRecord, ReservationRecord, StoredJob


class Kind(StrEnum):
    """What differs."""

    RESERVATION_MISSING = "reservation-missing"
    """Slurm does not have a reservation that it should hold."""
    RESERVATION_COUNT = "reservation-count"
    """It reserves another number of watts than is kept."""
    RESERVATION_OWNER = "reservation-owner"
    """It is somebody else's."""
    RESERVATION_ENDING = "reservation-ending"
    """Slurm would let go of it within half a year."""
    RESERVATION_FORGOTTEN = "reservation-forgotten"
    """Slurm shows its watts and does not count them: an update was refused."""
    RESERVATION_FOREIGN = "reservation-foreign"
    """It bears our prefix, and nothing of ours wants it."""
    RESERVATION_OVER = "reservation-over"
    """Its time has come, and it still stands in the database."""
    RESERVATION_LATE = "reservation-late"
    """Its window is open, and it has not begun."""
    RESERVATION_UNUSED = "reservation-unused"
    """Nobody has used it for its grace, and its watts are kept still."""
    RESERVATION_ZONE = "reservation-zone"
    """A zone of it is no longer in the site file."""
    JOB_UNCLAIMED = "job-unclaimed"
    """It is on nodes of zones without a claim."""
    CLAIM_ORPHAN = "claim-orphan"
    """A claim of no job that there is."""
    RUNNING_UNADMITTED = "running-unadmitted"
    """It runs without having been admitted, so that Slurm does not count its watts."""
    RUNNING_LICENCES = "running-licences"
    """It runs with other licences than it was admitted with."""
    PENDING_LICENCES = "pending-licences"
    """It is admitted and would start with other licences."""
    PENDING_BINDING = "pending-binding"
    """It is admitted and would start in other zones."""
    HOLD_LOST = "hold-lost"
    """It waits for watts and is free to start."""
    HOLD_GROUNDLESS = "hold-groundless"
    """We hold it, and nothing of ours wants that."""
    HOLD_STALE = "hold-stale"
    """The database remembers a hold on a job that is gone, or not held."""
    INTENT_OPEN = "intent-open"
    """Something was to be written to Slurm, and nobody noted what became of it."""
    LICENCE_TOTAL = "licence-total"
    """Slurm's total is not what the site file means, or it lacks the licence."""
    LICENCE_USED = "licence-used"
    """Slurm counts another number than its jobs hold."""
    ZONE_NODES = "zone-nodes"
    """Slurm does not have the nodes of a zone."""
    NODE_FEATURE = "node-feature"
    """Nodes lack the feature of their zone, or have that of another."""
    PARTITION_MISSING = "partition-missing"
    """Slurm does not have a partition of the site file."""
    QOS_MISSING = "qos-missing"
    """Slurm does not have the QOS of a tier."""


@immutable
class Finding:
    """One difference, and what is done about it. `kind` and `subject` tell it from all others."""

    kind: Kind
    subject: str
    """The name of a job, reservation, licence, zone, partition or QOS, or the number of an intent."""
    found: str
    """What was found, for people."""
    remedy: str
    """What is done about it; where `mends` is not set, what somebody has to do."""
    mends: bool = True
    chain: Chain = ()
    """The commands for Slurm that mend it, where it takes some and they are known by now."""
    keys: tuple[str, ...] = ()
    """The entries of the book that it is about."""

    @property
    def order(self) -> tuple[str, str]:
        """What findings are sorted by, and known again by."""
        return str(self.kind), self.subject


@immutable
class Seen:
    """What was read of Slurm and the database beside what the desk knows."""

    reservations: Sequence[ReservationRecord] = ()
    licenses: Sequence[LicenseRecord] = ()
    qos: frozenset[str] | None = None
    """The names of Slurm's QOS; None where nobody asked, or where there are none."""
    miscounts: Mapping[str, int] = field(default_factory=dict)
    """Licence → by how many W Slurm counts more than its jobs hold, or less."""
    rows: Sequence[StoredJob] = ()
    """The holds that the database remembers."""
    holds: Mapping[str, HoldKind | None] = field(default_factory=dict)
    """Key of each entry of the book, at the instant for which the rows hold → who held its job."""
    intents: Sequence[Intent] = ()
    """Those left open by a crash."""
