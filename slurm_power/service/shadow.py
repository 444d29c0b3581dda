"""The head of the queue, and the plan of its watts that others are placed around."""

from slurm_power.core.claim import Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.placement import Placer
from slurm_power.core.queue import plan_at, shading
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps
from slurm_power.core.window import Window


class Shadow:
    """State of a desk. The claim is a plan: it stands in the way of others, and never counts as committed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.head: Request | None = None
        """The first that waits for watts and whose start can be told; else the first that waits."""
        self._claim: Claim | None = None
        self._zones: tuple[str, ...] = ()
        """Where the last one lay: the next one looks there too, so that the head's start does not recede."""
        self._freed = 0
        """How often something had come free on the ledger when a start was last looked for."""

    @property
    def id(self) -> str | None:
        """The id of the claim, if there is one."""
        return self._claim.id if self._claim is not None else None

    def cast(self, request: Request, *, first: bool = True) -> Steps[None]:
        """Book what the head of the queue needs from its earliest start on, so that nobody admitted now delays it.

        Until that is found, the shadow before this one stays. `first` tells that nobody in the queue is before it.
        """
        ledger, freed = self._ledger, self._ledger.freed
        claim = yield from shading(request, ledger, self._zones, self.id)
        if ledger is self._ledger and (first or claim is not None):
            self.drop()
            self.head, self._freed = request, freed
            if claim is not None:
                self._book(claim)

    def drop(self) -> None:
        """Nobody waits for watts any more."""
        if self._claim is not None:
            self._zones = tuple(charge.zone for charge in self._claim.charges)
            self._book(None)
        self.head = None

    def renew(self, now: int) -> None:
        """The head should have started by now and has not: its shadow stays a plan, just ahead of us."""
        if self._claim is not None and self._claim.window.start <= now:
            self._book(_at_once(self._claim, now))

    def bring_forward(self) -> None:
        """Something may have come free since the queue was last looked at: if the head fits now where it is to go,
        whoever is submitted has to fit beside it.

        Else he has, between the end of a job and the next pass, the watts that the head waits for. Elsewhere the head
        is not looked for, for that would take long, and its plan there is given up for nothing.
        """
        head, ledger, claim = self.head, self._ledger, self._claim
        if head is None or self._freed == ledger.freed:
            return
        self._freed, now = ledger.freed, ledger.now
        placer = Placer(head, ledger, head.window(now), self.id)
        if claim is not None:
            if claim.window.start > now + 1 and placer.stands(claim.charges):
                self._book(_at_once(claim, now))
        elif not head.ask.spreads:
            place = placer.place()
            if place is not None:
                self._book(plan_at(head, place, now + 1))

    def move_to(self, ledger: Ledger) -> None:
        """Another ledger, on which it is booked anew later."""
        self._ledger = ledger
        self.head = self._claim = None

    def _book(self, claim: Claim | None) -> None:
        """In the place of the one before; that this goes is nothing that comes free for the head."""
        ledger = self._ledger
        known = self._freed == ledger.freed
        if self._claim is not None:
            ledger.remove(self._claim.id)
        self._claim = claim
        if claim is not None:
            ledger.add(claim)
        if known:
            self._freed = ledger.freed


def _at_once(claim: Claim, now: int) -> Claim:
    return claim.at(Window(now + 1, now + 1 + claim.window.end - claim.window.start))
