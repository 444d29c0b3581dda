"""A job over several zones: each time the zone that takes most of the nodes that are left; of those that take as many,
the one that fits best, and among equals one on a network switch in use.

For each number of nodes the zones are walked once, and the walk goes on where the last part was found: what does not
fit beside some parts does not fit beside more.
"""

from bisect import bisect_left
from collections.abc import Iterator

from slurm_power.core.claim import Charge, split_over
from slurm_power.core.fit import Fit
from slurm_power.core.level import Load
from slurm_power.core.meter import Meter
from slurm_power.core.nodes import class_for
from slurm_power.core.steps import Steps
from slurm_power.core.topology import Lane, Tap
from slurm_power.core.wiring import Loads, through

_ONE_BY_ONE = 16
"""Up to this size every size of a part is tried; above it those are skipped that no zone could take."""
_AT_ONCE, _AT_ONCE_AHEAD = 400, 20
"""Zones that are looked at between two yields; fewer for a later window, in which ends of claims are added up."""
_NOTHING = Load()

_Share = tuple[Meter, int, int]
"""(meter, est W, burst W): what a part puts on one zone or feed."""


class Spread:
    """Looks for the parts of one request in some lanes."""

    def __init__(self, fit: Fit, lanes: tuple[Lane, ...]) -> None:
        self._fit = fit
        self._ledger = fit.ledger
        self._lanes = lanes
        self._nodes: dict[str, int] = {}
        """The parts that have their place: zone → nodes."""
        self._loads: Loads = {}
        self._switches: set[str] = set()
        self._most: dict[str, int] = {}
        """No more than so many of the nodes fit a zone beside the parts."""
        self._shut: dict[int, int] = {}
        """Bay → as many nodes as this do not fit below its wide feeds beside the parts."""
        self._looked_at = 0
        self._at_once = _AT_ONCE_AHEAD if fit.ahead else _AT_ONCE

    def parts(self) -> Steps[tuple[Charge, ...]]:
        """The parts; none where not all of them find a place.

        If the ledger changes between two steps, what they lead to has to be checked again.
        """
        request = self._fit.request
        left = request.ask.nodes
        count = min(left - 1, self._ledger.most_nodes)
        while left and count:
            left, whole = self._fill(count, left)
            if self._looked_at >= self._at_once:
                self._looked_at = 0
                yield  # and walk anew, for the index may have changed
            elif whole:
                count = self._fewer(count)
            count = min(count, left)
        if self._looked_at * 4 > self._at_once:
            yield
        return () if left else split_over(self._nodes, request.est_w, request.max_w)

    def possible(self) -> Steps[bool]:
        """Whether some split might do, as far as each zone and each feed alone can tell."""
        fit, ledger, ask = self._fit, self._ledger, self._fit.request.ask
        search = fit.search(self._lanes, class_for(ask, 1))
        zones = [zone for zone, _ in fit.candidates(search, fit.charge("", 1).est_w, roomy=True)]
        below: dict[tuple[Tap, ...], int] = {}
        for number, zone in enumerate(zones, start=1):
            most = min(self._nodes_in(zone), ask.nodes)
            nodes = most if most and self._short(self._shares(zone, most)) is None else self._most_in(zone, most)
            taps = ledger.topology.taps[zone]
            below[taps] = below.get(taps, 0) + nodes
            if number % self._at_once == 0:
                yield
        total = sum(below.values())
        return total >= ask.nodes and all(
            self._carries(tap, ask.nodes - (total - nodes)) for tap, nodes in _by_feed(below)
        )

    # -- the parts, one after another ---------------------------------------------------------------------------

    def _fill(self, count: int, left: int) -> tuple[int, bool]:
        """Place parts of `count` nodes: how many nodes are left then, and whether no zone takes so many any more."""
        for _ in self._walk(count):
            left -= count
            if left < count or self._looked_at >= self._at_once:
                return left, False
        return left, self._looked_at < self._at_once

    def _walk(self, count: int) -> Iterator[str]:
        """The zones that take `count` nodes, best first; each is counted as a part before it is yielded."""
        equals = max(self._fit.equals, 1)
        found, shut = self._candidates(count), bool(self._shut)
        ahead = next(found, None)
        near: list[tuple[tuple[int, int], str]] = []
        near_w = 0
        while True:
            while ahead is not None and len(near) < equals and (not near or ahead[1] == near_w):
                zone, near_w = ahead
                if self._may_take(zone, count):
                    near.append((self._fit.rank(zone), zone))
                ahead = next(found, None)
            if not near:
                return
            chosen = min(near, key=self._rank) if len(near) > 1 else near[0]
            near.remove(chosen)
            if self._take(chosen[1], count):
                yield chosen[1]
            elif self._looked_at >= self._at_once:
                return
            elif self._shut and not shut:  # a wide feed is full: from here on only where none is
                found, shut = self._candidates(count), True
                ahead, near = next(found, None), []

    def _candidates(self, count: int) -> Iterator[tuple[str, int]]:
        fit = self._fit
        search = fit.search(self._lanes, class_for(fit.request.ask, count))
        if self._shut:
            search = fit.in_bays(search, fit.open_bays(count, self._loads))
        return fit.candidates(search, fit.charge("", count).est_w, roomy=fit.request.bursty)

    def _rank(self, one: tuple[tuple[int, int], str]) -> tuple[tuple[int, int], bool, str]:
        return one[0], self._switch(one[1]) not in self._switches, one[1]

    def _fewer(self, count: int) -> int:
        """The next smaller size of a part; 0 if there is none. Of large ones, one that some zone has nodes for."""
        if count <= _ONE_BY_ONE:
            return count - 1
        fit = self._fit
        total, est_w = fit.request.ask.nodes, fit.request.est_w
        most = _ONE_BY_ONE
        search = fit.search(self._lanes, class_for(fit.request.ask, _ONE_BY_ONE))
        for zone, room_w in fit.candidates(search, fit.charge("", _ONE_BY_ONE).est_w, roomy=True):
            if not fit.ahead and room_w * total // est_w <= most:
                break
            if zone not in self._nodes:
                most = max(most, self._most_of(zone))
        return min(count - 1, most)

    # -- one zone -----------------------------------------------------------------------------------------------

    def _may_take(self, zone: str, count: int) -> bool:
        """Whether a zone has the nodes, and nothing that is known by now stands against it."""
        if zone in self._nodes or self._most_of(zone) < count:
            return False
        return not self._shut or self._shut.get(self._ledger.plan.bay_of[zone], count + 1) > count

    def _take(self, zone: str, count: int) -> bool:
        """Count a further part if its watts fit beside the others; if not, remember how much less would."""
        self._looked_at += 1
        shares = self._shares(zone, count)
        short = self._short(shares)
        if short is None:
            self._nodes[zone] = count
            self._switches.add(self._switch(zone))
            for meter, est_w, burst_w in shares:
                load = self._loads.setdefault(meter.name, Load())
                load.est_w += est_w
                load.burst_w += burst_w
            return True
        if short.name in self._ledger.plan.wide_feeds:
            self._shut[self._ledger.plan.bay_of[zone]] = count
        else:
            self._most[zone] = self._most_in(zone, count)
        return False

    def _most_of(self, zone: str) -> int:
        most = self._most.get(zone)
        if most is None:
            most = self._most[zone] = self._nodes_in(zone)
        return most

    def _nodes_in(self, zone: str) -> int:
        """Nodes of the request's shape that could start in a zone, unless it is closed or too full to begin with."""
        fit, floor_w = self._fit, self._fit.request.headroom_w
        if zone in self._ledger.closed or (floor_w and fit.headroom_w(zone) < floor_w):
            return 0
        return fit.free_nodes(zone)

    def _most_in(self, zone: str, count: int) -> int:
        """The most of the request's nodes, fewer than `count`, whose watts fit; what fits, fits with fewer."""
        fewer = range(1, count)
        return bisect_left(fewer, True, key=lambda nodes: self._short(self._shares(zone, nodes)) is not None)

    def _shares(self, zone: str, count: int) -> list[_Share]:
        return self._ledger.spread(self._fit.charge(zone, count))

    def _short(self, shares: list[_Share]) -> Meter | None:
        """The zone or feed that cannot carry its share beside the parts."""
        for meter, est_w, burst_w in shares:
            beside = self._loads.get(meter.name, _NOTHING)
            if not self._fit.carries(meter, beside.est_w + est_w, beside.burst_w + burst_w):
                return meter
        return None

    def _carries(self, tap: Tap, count: int) -> bool:
        """Whether a feed alone could carry so many of the request's nodes."""
        if count < 1:
            return True
        charge = self._fit.charge("", count)
        return self._fit.carries(self._ledger.meters[tap.feed], *through(tap, charge.est_w, charge.max_w))

    def _switch(self, zone: str) -> str:
        return self._ledger.topology.zones[zone].switch or zone


def _by_feed(below: dict[tuple[Tap, ...], int]) -> Iterator[tuple[Tap, int]]:
    """For each feed the least that it is charged of a zone, and the nodes that the zones below it take."""
    nodes_of: dict[str, int] = {}
    least: dict[str, Tap] = {}
    for taps, nodes in below.items():
        for tap in taps:
            nodes_of[tap.feed] = nodes_of.get(tap.feed, 0) + nodes
            least[tap.feed] = min(tap, least.get(tap.feed, tap), key=lambda t: t.numerator / t.denominator)
    return ((least[feed], nodes) for feed, nodes in nodes_of.items())
