"""A request for watts: all that the decision needs to know of a job, in exact numbers."""

from dataclasses import field, replace

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import Tier
from slurm_power.core.topology import Lane
from slurm_power.core.window import Window, window_from

_LANES_GUARANTEED = (Lane.HOT, Lane.MIXED)
_LANES_SHARED = (Lane.MIXED, Lane.HOT, Lane.COLD)
_LANES_INTERRUPTIBLE = (Lane.COLD, Lane.MIXED, Lane.HOT)


@immutable
class Request:
    """What a job asks for. Watts are for the whole job, all copies of an array's task included.

    `pool` names the set of zones to choose from; `zones` narrows it, `excluded` takes zones out. `not_before` is the
    first instant at which the job may start at all (begin time, class hours).
    """

    id: str
    tier: Tier
    est_w: int
    max_w: int
    group: str
    pool: str = ""
    headroom_w: int = 0
    ask: NodeAsk = field(default_factory=NodeAsk)
    time_limit_s: int | None = None
    zones: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    uid: int = 0
    account: str = ""
    not_before: int = 0
    reservation: str = ""
    """The reservation of power that it is to draw on, by name."""
    through_cuts_s: int | None = None
    """Cuts that begin so long after its start, in s, or later do not keep it out; None: all do."""

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The lanes that fit the tier, best first: never preempted, preempted with notice, preempted at once."""
        if self.tier.notice_s is None:
            return _LANES_GUARANTEED
        return _LANES_SHARED if self.tier.notice_s else _LANES_INTERRUPTIBLE

    @property
    def bursty(self) -> bool:
        """max ÷ est above 1.3."""
        return self.max_w * 10 > self.est_w * 13

    def window(self, start: int) -> Window:
        """The window if the job started then."""
        return window_from(start, self.time_limit_s)

    def claim(self, charges: tuple[Charge, ...], start: int, share_milli: int) -> Claim:
        """The claim that an admission makes of this request."""
        return Claim(
            id=self.id,
            charges=charges,
            window=self.window(start),
            group=self.group,
            tier=self.tier.name,
            uid=self.uid,
            account=self.account,
            share_milli=share_milli,
            copies=self.ask.copies,
            through_cuts_s=self.through_cuts_s,
        )

    def with_tier(self, tier: Tier) -> "Request":
        """The same request under another promise."""
        return replace(self, tier=tier, through_cuts_s=self.through_cuts_s if tier.accepts_cuts else None)

    def with_copies(self, copies: int) -> "Request":
        """The same request for another number of an array's tasks."""
        now = self.ask.copies
        return replace(
            self,
            est_w=self.est_w // now * copies,
            max_w=self.max_w // now * copies,
            ask=replace(self.ask, copies=copies),
        )
