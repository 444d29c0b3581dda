"""The database of promises: what is kept, and the protocol of who keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Protocol, TypedDict, Unpack

from slurm_power.core.immutable import immutable
from slurm_power.core.showback import Month
from slurm_power.core.usage import Usage


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
    PREEMPT = "preempt"
    """The QOS may preempt (sacctmgr); the lowest tier first, the least watts that suffice, the least work lost."""
    OVER_LIMIT = "over_limit"
    """A zone or feed may not hold more than its limit lets it."""
    OVER_MAX = "over_max"
    """A job may not draw more than the max that it declared."""
    BALANCE = "balance"
    """Work leaves zones that draw more than was promised for such as have measured headroom."""
    CHECKPOINT = "checkpoint"
    """Work since the last checkpoint is what a job would lose."""
    DERATE = "derate"
    """Limits are what derates leave of them."""
    OVERRIDE = "override"
    """An operator has ordered it, within physics."""
    RESERVATION = "reservation"
    """What time and owners make of a reservation."""
    MODE = "mode"
    """The mode says how far the daemon goes."""
    SERVICE_LEVEL = "sla"
    """What a tier promises of its runs; the tier follows behind a dot."""
    METERING = "metering"
    """Usage is added up without gap or overlap, and what cannot be known is said."""
    RECONCILE = "reconcile"
    """What Slurm has is brought back to what was promised."""


@immutable
class Decision:
    """One line of the audit log: what was decided about a job or a reservation, why, and by which numbers.

    `cause` and `rule` name no other job and no user: who reads the line may not be allowed to know of them. Only a line
    of no job, no account and uid 0 may: root and SlurmUser alone can read it.
    """

    at: int
    action: str
    """admit, hold, reject, release, deny, launch, end, mode, would-…"""
    mode: str
    job: str = ""
    """The job id where one is known, else the token; empty in a line about no job."""
    token: str = ""
    uid: int = 0
    """Whose job or reservation it is; without either, who acted."""
    account: str = ""
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

    @property
    def by_user(self) -> bool:
        """Whether its user holds it, whoever else but an administrator."""
        return self in (HoldKind.USER, HoldKind.BOTH)

    @property
    def by_us(self) -> bool:
        """Whether it is held for power, whoever else but an administrator."""
        return self in (HoldKind.POWER, HoldKind.BOTH)


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
class StoredProfile:
    """What is known of the draw of runs that are alike, as the database keeps it; one for each key."""

    account: str
    name: str
    partition: str
    gpus: int
    seen_at: int
    """When such a run was last measured."""
    detail: Mapping[str, object]
    """What was counted."""


@immutable
class StoredDraw:
    """What a run that goes on has drawn so far."""

    key: str
    """Of its claim."""
    since: int
    """When it began."""
    detail: Mapping[str, object]
    """What was counted."""


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

    def prune(self, *, decisions: int, intents: int, limit: int, profiles: int = 0) -> int:
        """Delete decisions, intents that are closed, and profiles last seen before these instants: the oldest `limit`
        of each.

        Returns the largest of the numbers deleted: below `limit`, nothing is left to delete.
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

    def prune_usage(self, before: int, limit: int) -> int:
        """Delete the usage of the oldest `limit` hours that begin before this instant; the number of those hours.

        Closed months stay.
        """

    def close_month(self, month: Month) -> bool:
        """Keep its totals for ever; False, and nothing changes, where the month is closed already."""

    def months(self) -> Sequence[Month]:
        """The closed months, by their beginning."""

    def save_profiles(self, profiles: Sequence[StoredProfile]) -> None:
        """Insert or replace by account, name, partition and GPUs."""

    def profiles(self, limit: int) -> Sequence[StoredProfile]:
        """The `limit` that were seen last, oldest first."""

    def replace_draws(self, draws: Sequence[StoredDraw]) -> None:
        """Keep these and no others, all or nothing."""

    def draws(self) -> Sequence[StoredDraw]:
        """All that are kept, by key."""

    def setting(self, name: str) -> str | None:
        """A small named value, such as the mode that an operator has set; None if never set."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Set it, or with None forget it."""

    def close(self) -> None:
        """Release the database."""
