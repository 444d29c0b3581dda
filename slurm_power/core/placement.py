"""Placement: which zones a request goes to, among those that can carry it.

In order: a lane that fits the tier; fewest zones; best fit (the least room that is left); bursty jobs the other way
round (ample room); among equals, zones whose jobs burst alike; fewest network switches; last by name.
"""

from itertools import islice

from slurm_power.core.claim import Charge
from slurm_power.core.fit import ANY_ROOM, Fit
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import CLOSED, class_for
from slurm_power.core.spread import Spread
from slurm_power.core.steps import Steps, finish


@immutable
class Placement:
    """Where a request goes, and which share of a node each of its nodes takes there, in thousandths."""

    charges: tuple[Charge, ...]
    share_milli: int


class Placer(Fit):
    """Looks for a place for one request."""

    def place(self) -> Placement | None:
        """The place, or None where there is none in this window."""
        return finish(self.placing())

    def placing(self) -> Steps[Placement | None]:
        """The same, step by step. If the ledger changes between two steps, ask `stands` of what they lead to."""
        ask, there = self.request.ask, self.ledger.plan.lanes_of.get(self.request.pool, ())
        lanes = tuple(lane for lane in self.request.lanes if lane in there)
        if ask.spreads and self.best(lanes, 1) is None:
            return None  # where not one of its nodes fits, there is no need to try them all, lane by lane
        for count, lane in enumerate(lanes, start=1):
            zone = self.best((lane,), ask.total)
            if zone is not None:
                return self.placement_in(zone)
            if ask.spreads:
                charges = yield from Spread(self, lanes[:count]).parts()
                if charges:
                    return Placement(charges, max(self.share_milli(charge.zone) for charge in charges))
        return None

    def stands(self, charges: tuple[Charge, ...]) -> bool:
        """Whether a place that was found a little earlier is still one: watts, nodes, and that no zone has closed."""
        ledger, floor_w = self.ledger, self.request.headroom_w
        return (
            all(charge.zone in ledger.nodes and charge.zone not in ledger.closed for charge in charges)
            and not (floor_w and any(self.headroom_w(charge.zone) < floor_w for charge in charges))
            and all(self.free_nodes(charge.zone) >= charge.nodes for charge in charges)
            and self.short(charges) is None
        )

    def place_in(self, zone: str) -> Placement | None:
        """The place in this one zone, or None."""
        return self.placement_in(zone) if self.obstacle(zone) is None else None

    def placement_in(self, zone: str) -> Placement:
        """The whole request in this one zone, whether it fits or not."""
        return Placement(self.charges_in(zone), self.share_milli(zone))

    def charges_in(self, zone: str) -> tuple[Charge, ...]:
        """What the whole request is charged in this one zone."""
        return (self.charge(zone),)

    def spreading(self) -> Steps[bool]:
        """Whether some split over several zones might do, as far as each zone and feed alone can tell, in steps."""
        if not self.request.ask.spreads:
            return False
        return (yield from Spread(self, self.request.lanes).possible())


def roomiest(placer: Placer, count: int, *, any_nodes: bool) -> list[str]:
    """Up to `count` zones of any lane of the request with the most room, to explain why it does not fit.

    Without `any_nodes` only those with a free node or part of one of its shape.
    """
    free = CLOSED if any_nodes else class_for(placer.request.ask, 1)
    zones = placer.candidates(placer.search(placer.request.lanes, free), ANY_ROOM, roomy=True)
    return [zone for zone, _ in islice(zones, count)]
