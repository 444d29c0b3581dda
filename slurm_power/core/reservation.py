"""Reservations of power: what one is, its life as data, and what time and use do to it.

    requested ──approve──▶ approved ──begin──▶ active ──expire──▶ expired
        │                                      │    ▲
        └──refuse──▶ refused                degrade use
                                               ▼    │
                                              degraded ──release──▶ released

A zone that is lost ends it as missed, and its owner or an administrator as cancelled. Renewal makes a new one. The
watts that it keeps are committed in APPROVED and ACTIVE, and in no other state; docs/states.md draws every step. One to
which others give way begins once they have: until then others plan around it, and what runs in its place counts.
"""

from collections.abc import Mapping
from enum import StrEnum

from slurm_power.core.claim import RESERVATION, Charge, Claim
from slurm_power.core.immutable import immutable
from slurm_power.core.window import FOREVER, Window


class ReservationState(StrEnum):
    """Where a reservation stands."""

    REQUESTED = "requested"
    """Waits for somebody's approval; keeps nothing."""
    APPROVED = "approved"
    """Its watts are kept from its start on."""
    REFUSED = "refused"
    """It did not fit, or was not approved in time."""
    ACTIVE = "active"
    """Its window is open, and what its owner's jobs do not use is kept for them."""
    DEGRADED = "degraded"
    """Unused for its grace: its watts are everybody's, its owner's jobs still go first."""
    RELEASED = "released"
    """Its window has ended while nobody used it."""
    EXPIRED = "expired"
    """Its window has ended."""
    MISSED = "missed"
    """It could not be honoured: a zone was lost, or nobody gave way to it. Its cause says why."""
    CANCELLED = "cancelled"
    """Given up by its owner or an administrator."""


class ReservationEvent(StrEnum):
    """What can happen to a reservation."""

    APPROVE = "approve"
    REFUSE = "refuse"
    BEGIN = "begin"
    DEGRADE = "degrade"
    USE = "use"
    RELEASE = "release"
    EXPIRE = "expire"
    MISS = "miss"
    CANCEL = "cancel"


STEPS: Mapping[tuple[ReservationState, ReservationEvent], ReservationState] = {
    (ReservationState.REQUESTED, ReservationEvent.APPROVE): ReservationState.APPROVED,
    (ReservationState.REQUESTED, ReservationEvent.REFUSE): ReservationState.REFUSED,
    (ReservationState.REQUESTED, ReservationEvent.CANCEL): ReservationState.CANCELLED,
    (ReservationState.APPROVED, ReservationEvent.BEGIN): ReservationState.ACTIVE,
    (ReservationState.APPROVED, ReservationEvent.MISS): ReservationState.MISSED,
    (ReservationState.APPROVED, ReservationEvent.CANCEL): ReservationState.CANCELLED,
    (ReservationState.ACTIVE, ReservationEvent.DEGRADE): ReservationState.DEGRADED,
    (ReservationState.ACTIVE, ReservationEvent.EXPIRE): ReservationState.EXPIRED,
    (ReservationState.ACTIVE, ReservationEvent.MISS): ReservationState.MISSED,
    (ReservationState.ACTIVE, ReservationEvent.CANCEL): ReservationState.CANCELLED,
    (ReservationState.DEGRADED, ReservationEvent.USE): ReservationState.ACTIVE,
    (ReservationState.DEGRADED, ReservationEvent.RELEASE): ReservationState.RELEASED,
    (ReservationState.DEGRADED, ReservationEvent.MISS): ReservationState.MISSED,
    (ReservationState.DEGRADED, ReservationEvent.CANCEL): ReservationState.CANCELLED,
}

LIVE = frozenset(
    {ReservationState.REQUESTED, ReservationState.APPROVED, ReservationState.ACTIVE, ReservationState.DEGRADED}
)
"""States of a reservation that is not over; of these, one may bear a name."""
KEEPING = frozenset({ReservationState.APPROVED, ReservationState.ACTIVE})
"""States in which its unused watts are committed."""
OPEN = frozenset({ReservationState.ACTIVE, ReservationState.DEGRADED})
"""States in which jobs may use it."""
GRANTED = KEEPING | OPEN
"""States in which what it was granted counts as its owner's share."""


class WhenShort(StrEnum):
    """What becomes of others where a reservation is short of its watts; of all jobs where a limit has been cut."""

    WAIT = "wait"
    """They end by themselves."""
    PREEMPT = "preempt"
    """Jobs that its tier may preempt give way before it begins, so that it may be made although they run."""


@immutable
class Owner:
    """Whose jobs may use a reservation: of one of these accounts, by one of these users; empty stands for any.

    As Slurm has it, where both are given both must hold.
    """

    accounts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def owns(self, account: str, user: str) -> bool:
        """Whether a job of that account and user may use it."""
        return (not self.accounts or account in self.accounts) and (not self.users or user in self.users)

    def __str__(self) -> str:
        parts = [*(f"account {name}" for name in self.accounts), *(f"user {name}" for name in self.users)]
        return ", ".join(parts)


@immutable
class Terms:
    """What a reservation asks for. Watts in W for all its zones together, times in s."""

    name: str
    owner: Owner
    zones: tuple[str, ...]
    watts_w: int
    window: Window
    any_zone: bool = False
    """Whether any of the zones will do, else each gets its part."""
    min_w: int | None = None
    """With partial fulfilment, the least that is useful; None: all or nothing."""
    tier: str = ""
    policy: WhenShort = WhenShort.WAIT
    grace_s: int = 900
    burst_w: int = 0
    """What its jobs may draw above its watts …"""
    burst_s: int = 0
    """… for so long at a time."""
    nodes: int = 0
    """Whole nodes that come with the watts; 0: none are kept."""


@immutable
class Grant:
    """What a reservation has been given in one zone, in W."""

    zone: str
    watts_w: int
    burst_w: int = 0
    nodes: int = 0


@immutable
class Reservation:
    """One reservation. Instants are seconds since 1970-01-01 UTC, uids are Slurm's."""

    id: str
    terms: Terms
    state: ReservationState
    since: int
    """When it came to stand so."""
    created: int
    created_by: int
    grants: tuple[Grant, ...] = ()
    last_used: int | None = None
    """When a job last used it; None: never."""
    cause: str = ""
    """Why it stands so, for people."""

    @property
    def name(self) -> str:
        """Its name, which none of the other live ones bears."""
        return self.terms.name

    @property
    def key(self) -> str:
        """How a job's admission record names it: a later reservation of the same name is another one."""
        return f"{self.name}:{self.id}"

    @property
    def claim_id(self) -> str:
        """The id of its claim."""
        return RESERVATION + self.key

    @property
    def granted_w(self) -> int:
        """Σ of what it has been given, in W."""
        return sum(grant.watts_w for grant in self.grants)

    @property
    def live(self) -> bool:
        """Whether it is not over."""
        return self.state in LIVE

    @property
    def planned(self) -> bool:
        """Whether it has still to make room for itself: others plan around it, and nothing of it is committed yet."""
        return self.state is ReservationState.APPROVED and self.terms.policy is WhenShort.PREEMPT

    def begun(self, now: int) -> bool:
        """Whether it has its watts, or has them any moment; one that makes room for itself may be late."""
        return self.state in OPEN or (self.terms.window.start <= now and not self.planned)

    def left_w(self, used_w: Mapping[str, int]) -> dict[str, int]:
        """Zone → what is left of its grant where jobs hold so much of it, in W; none below 0."""
        return {grant.zone: max(grant.watts_w - used_w.get(grant.zone, 0), 0) for grant in self.grants}

    def claim(self) -> Claim | None:
        """What it keeps while nobody uses it; None where it keeps nothing."""
        if self.state not in KEEPING or not self.grants:
            return None
        window = self.terms.window
        if self.state in OPEN and self.since < window.start:
            # The clock was ahead when it began, and has been set back: what has begun stays so, its jobs are running.
            window = Window(self.since, window.end)
        return Claim(
            id=self.claim_id,
            charges=tuple(Charge(g.zone, g.nodes, g.watts_w, g.watts_w + g.burst_w) for g in self.grants),
            window=window,
            group=self.claim_id,
            tier=self.terms.tier,
            account=",".join(self.terms.owner.accounts),
            tentative=self.planned,
            reserves=True,
        )


def follow(state: ReservationState, event: ReservationEvent) -> ReservationState:
    """The state after an event. Raises ValueError where the table has no such step."""
    try:
        return STEPS[state, event]
    except KeyError:
        raise ValueError(f"a reservation that is {state} cannot {event}") from None


def due(reservation: Reservation, now: int, *, used: bool) -> ReservationEvent | None:
    """What time and use do to it now; `used` says whether a job of its owner holds watts of it. None: nothing.

    The grace runs from its start or from its last use. One that was degraded is to come back once it is used; whether
    its watts are free is for the caller to see.
    """
    state, window = reservation.state, reservation.terms.window
    over = now >= window.end
    match state:
        case ReservationState.REQUESTED:
            return ReservationEvent.REFUSE if now >= window.start else None
        case ReservationState.APPROVED:
            return ReservationEvent.BEGIN if now >= window.start else None
        case ReservationState.ACTIVE:
            if over:
                return ReservationEvent.EXPIRE
            return ReservationEvent.DEGRADE if not used and now >= _degrades_at(reservation) else None
        case ReservationState.DEGRADED:
            if over:
                return ReservationEvent.RELEASE
            return ReservationEvent.USE if used else None
        case _:
            return None


def next_change(reservation: Reservation) -> int:
    """The next instant at which time alone may do something to it; FOREVER for one that is over."""
    window = reservation.terms.window
    match reservation.state:
        case ReservationState.REQUESTED | ReservationState.APPROVED:
            return window.start
        case ReservationState.ACTIVE:
            return min(window.end, _degrades_at(reservation))
        case ReservationState.DEGRADED:
            return window.end
        case _:
            return FOREVER


def _degrades_at(reservation: Reservation) -> int:
    """When its grace is over, if nobody uses it until then."""
    idle_since = max(reservation.terms.window.start, reservation.last_used or 0, reservation.since)
    return idle_since + reservation.terms.grace_s
