"""The head of the queue, and the plan of its watts that others are placed around."""

from slurm_power.core.claim import Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.placement import Placer
from slurm_power.core.queue import cast, shading
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps
from slurm_power.core.window import Window


class Shadow:
    """State of a desk. The claim is a plan: it stands in the way of others, and never counts as committed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.head: Request | None = None
        """The request that it is for; None while nobody waits for watts, or no start can be told."""
        self._claim: Claim | None = None
        self._zones: tuple[str, ...] = ()
        """Where the last one lay: the next one looks there too, so that the head's start does not recede."""
        self._freed = 0
        """How often something had come free on the ledger when a start was last looked for."""

    @property
    def id(self) -> str | None:
        """The id of the claim, if there is one."""
        return self._claim.id if self._claim is not None else None

    def cast(self, request: Request) -> Steps[None]:
        """Book what the head of the queue needs from its earliest start on, so that nobody admitted now delays it."""
        ledger, freed = self._ledger, self._ledger.freed
        claim = yield from shading(request, ledger, self._zones)
        if claim is not None and ledger is self._ledger:
            self.head, self._claim, self._freed = request, claim, freed
            ledger.add(claim)

    def drop(self) -> None:
        """Before the queue is looked at anew."""
        if self._claim is not None:
            self._ledger.remove(self._claim.id)
            self._zones = tuple(charge.zone for charge in self._claim.charges)
            self.head = self._claim = None

    def renew(self, now: int) -> None:
        """The head should have started by now and has not: its shadow stays a plan, just ahead of us."""
        booked = self._claim
        if booked is not None and booked.window.start <= now:
            self._book(booked.at(Window(now + 1, now + 1 + booked.window.end - booked.window.start)))

    def bring_forward(self) -> None:
        """Something may have come free since the queue was last looked at: if the head fits now, others fit beside it.

        Else whoever is submitted between the end of a job and the next pass has the watts that the head waits for.
        """
        head, ledger = self.head, self._ledger
        if head is None or self._freed == ledger.freed:
            return
        self._freed = ledger.freed
        place = Placer(head, ledger, head.window(ledger.now), self.id).place()
        if place is not None:
            self._book(cast(head, place, ledger.now + 1))

    def move_to(self, ledger: Ledger) -> None:
        """Another ledger, on which it is booked anew later."""
        self._ledger = ledger
        self.head = self._claim = None

    def _book(self, claim: Claim) -> None:
        if self._claim is not None:
            self._ledger.remove(self._claim.id)
        self._claim = claim
        self._ledger.add(claim)
