"""Placement: which zones a request goes to, among those that can carry it.

In order: a lane that fits the tier; fewest zones; best fit (the least room that is left); bursty jobs the other way
round (ample room); among equals, zones whose jobs burst alike; fewest network switches; last by name.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from slurm_power.core.claim import WHOLE_NODE, Charge, split_over
from slurm_power.core.ledger import Ledger, Shortfall
from slurm_power.core.meter import Load
from slurm_power.core.nodes import CLOSED, FreeClass, class_for
from slurm_power.core.request import Request
from slurm_power.core.rooms import Search, Section
from slurm_power.core.topology import Lane, Tap
from slurm_power.core.window import Window
from slurm_power.core.wiring import Loads, through

_EQUALS = 16
"""How many zones of equal room are compared by their jobs' burstiness."""
_ANY_ROOM = -(1 << 40)
"""Less room than any zone has, in W."""
_FEW = 8
"""Of a pool, fewer than one zone in so many are looked up one by one rather than through the index."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request goes, and which share of a node each of its nodes takes there, in thousandths."""

    charges: tuple[Charge, ...]
    share_milli: int


class _Parts:
    """The parts of a job over several zones that are placed already."""

    def __init__(self) -> None:
        self.nodes: dict[str, int] = {}
        self.loads: Loads = {}
        self.switches: set[str] = set()

    def take(self, zone: str, nodes: int, switch: str, loads: Loads) -> None:
        """Count a further part."""
        self.nodes[zone] = nodes
        self.switches.add(switch)
        for name, load in loads.items():
            held = self.loads.setdefault(name, Load())
            held.est_w += load.est_w
            held.burst_w += load.burst_w


class Placer:
    """Looks for a place for one request on one ledger, which it leaves as it is.

    `window` may begin later than now: then nodes and watts are those that will be free. `ignore` is a booked claim that
    does not stand in the way of this request. With `any_will_do` the first place found is as good as the best.
    """

    def __init__(
        self, request: Request, ledger: Ledger, window: Window, ignore: str | None = None, *, any_will_do: bool = False
    ) -> None:
        self.request = request
        self.ledger = ledger
        self.window = window
        self.ignore = ignore
        self._rooms = ledger.rooms_for(request.est_w, request.max_w)
        self._later = window.start > ledger.now
        self._equals = 0 if any_will_do else _EQUALS
        self._open_bays: dict[int, list[int]] = {}
        """For so many nodes, the bays whose wide feeds can carry them; filled once a wide feed turned out full."""

    def place(self) -> Placement | None:
        """The place, or None where there is none in this window."""
        lanes, ask = self.request.lanes, self.request.ask
        if ask.nodes > 1 and ask.copies == 1 and self._best(lanes, 1, None) is None:
            return None  # where not one of its nodes fits, there is no need to try them all, lane by lane
        for count, lane in enumerate(lanes, start=1):
            charges = self._one_zone((lane,)) or self._several(lanes[:count])
            if charges:
                return Placement(charges, max(self.share_milli(charge.zone) for charge in charges))
        return None

    def place_in(self, zone: str) -> Placement | None:
        """The place in this one zone, or None."""
        return self.placement_in(zone) if self.obstacle(zone) is None else None

    def placement_in(self, zone: str) -> Placement:
        """The whole request in this one zone, whether it fits or not."""
        return Placement(self.charges_in(zone), self.share_milli(zone))

    def charges_in(self, zone: str) -> tuple[Charge, ...]:
        """What the whole request is charged in this one zone."""
        return (self._charge(zone),)

    def obstacle(self, zone: str, nodes: int | None = None, parts: _Parts | None = None) -> Shortfall | str | None:
        """What keeps the request, or `nodes` of its nodes beside other parts, out of a zone.

        A shortfall, or one of the words closed, headroom and nodes; None where nothing does.
        """
        if zone in self.ledger.closed:
            return "closed"
        if self.request.headroom_w and self.headroom_w(zone) < self.request.headroom_w:
            return "headroom"
        short = self._short(self._charge(zone, nodes), parts)
        if short is not None:
            return short
        return None if self._has_nodes(zone, nodes) else "nodes"

    def headroom_w(self, zone: str) -> int:
        """The zone's headroom when the window begins, in W."""
        meter = self.ledger.meters[zone]
        if not self._later:
            return meter.headroom_w
        return meter.usable_w - next(meter.levels(self.window, self.ledger.now, self.ignore)).committed_w

    def free_nodes(self, zone: str) -> int:
        """How many nodes of the request's shape could start in the zone in this window."""
        nodes = self.ledger.nodes[zone]
        ask = self.request.ask
        if self._later:
            return 0 if ask.cpus > nodes.cpus or ask.gpus > nodes.gpus else self._unbooked(zone)
        free = nodes.could_start(ask, self.ledger.promised_milli(zone))
        return min(free, self._unbooked(zone)) if self.ledger.meters[zone].bookings else free

    def share_milli(self, zone: str) -> int:
        """The share of a node that each of the request's nodes takes in the zone."""
        return self.ledger.nodes[zone].share_milli(self.request.ask)

    def candidates(self, search: Search, need_w: int, *, roomy: bool) -> Iterator[tuple[str, int]]:
        """(zone, room) of the zones that the request may go to, with room for `need_w`, tightest or roomiest first.

        For a later window all rooms and nodes count: the index knows today's, which say nothing of it.
        """
        request = self.request
        if self._later:
            need_w, search = _ANY_ROOM, Search(search.sections, search.lanes, CLOSED)
        if request.zones is not None and len(request.zones) * _FEW < len(self._pool()):
            return self._named(request.zones, search, need_w, roomy)
        index = self._rooms.index
        found = index.roomiest_first(search, need_w) if roomy else index.tightest_first(search, need_w)
        if request.zones is None and not request.excluded:
            return found
        return ((zone, room_w) for zone, room_w in found if self._allows(zone))

    def search(self, lanes: tuple[Lane, ...], free: FreeClass) -> Search:
        """A search through the request's whole pool."""
        return Search((Section(self.request.pool),), lanes, free)

    def _has_nodes(self, zone: str, nodes: int | None) -> bool:
        return self.free_nodes(zone) >= (self.request.ask.total if nodes is None else nodes)

    def _one_zone(self, lanes: tuple[Lane, ...]) -> tuple[Charge, ...]:
        zone = self._best(lanes, self.request.ask.total, None)
        return (self._charge(zone),) if zone is not None else ()

    def _several(self, lanes: tuple[Lane, ...]) -> tuple[Charge, ...]:
        """Each time the zone that takes most of what is left; of those that take as much, the one that fits best."""
        ask = self.request.ask
        if ask.nodes < 2 or ask.copies > 1:
            return ()
        parts = _Parts()
        left, most = ask.nodes, ask.nodes - 1
        while left:
            most = min(most, left, self.ledger.most_nodes)
            found = self._largest_part(lanes, most, parts)
            if found is None:
                return ()
            zone, most = found
            parts.take(zone, most, self._switch(zone), self.ledger.loads([self._charge(zone, most)]))
            left -= most
        return split_over(parts.nodes, self.request.est_w, self.request.max_w)

    def may_spread(self) -> bool:
        """Whether some split over several zones might do, as far as each zone and each feed alone can tell."""
        ask, ledger = self.request.ask, self.ledger
        if ask.nodes < 2 or ask.copies > 1:
            return False
        search = self.search(self.request.lanes, class_for(ask, 1))
        found = self.candidates(search, self._charge("", 1).est_w, roomy=True)
        parts = {zone: self._most_in(zone) for zone, _ in found}
        total = sum(parts.values())
        below: dict[str, int] = {}
        least: dict[str, Tap] = {}
        for zone, nodes in parts.items():
            for tap in ledger.topology.taps[zone]:
                below[tap.feed] = below.get(tap.feed, 0) + nodes
                least[tap.feed] = min(tap, least.get(tap.feed, tap), key=lambda t: t.numerator / t.denominator)
        return total >= ask.nodes and all(
            total - nodes + self._most_through(least[feed]) >= ask.nodes for feed, nodes in below.items()
        )

    def _most_in(self, zone: str) -> int:
        """The most of the request's nodes that fit a zone; what fits, fits with fewer."""
        counts = range(1, self.request.ask.nodes + 1)
        return bisect_left(counts, True, key=lambda count: self.obstacle(zone, count) is not None)

    def _most_through(self, tap: Tap) -> int:
        """The most of the request's nodes that a feed can carry."""
        meter, group = self.ledger.meters[tap.feed], self.request.group

        def too_many(nodes: int) -> bool:
            charge = self._charge("", nodes)
            return not meter.fits(*through(tap, charge.est_w, charge.max_w), group)

        return bisect_left(range(1, self.request.ask.nodes + 1), True, key=too_many)

    def _largest_part(self, lanes: tuple[Lane, ...], most: int, parts: _Parts) -> tuple[str, int] | None:
        """The zone that takes most nodes beside the parts, up to `most`, and how many: what fits, fits with fewer."""
        beside = parts if parts.nodes else None
        low, high, count, found = 1, most, most, None
        while low <= high:
            zone = self._best(lanes, count, beside)
            if zone is not None:
                found, low = (zone, count), count + 1
            elif count == 1:
                return None
            else:
                high = count - 1
            count = 1 if found is None else (low + high + 1) // 2  # where not even one fits, two questions tell
        return found

    def _best(self, lanes: tuple[Lane, ...], nodes: int, parts: _Parts | None) -> str | None:
        """The zone that fits `nodes` of the request's nodes best, beside the parts that are placed already."""
        search = self.search(lanes, class_for(self.request.ask, nodes))
        if parts is None and nodes in self._open_bays:
            zone, wide = None, True
        else:
            zone, wide = self._scan(search, nodes, parts)
        if wide:
            zone, _ = self._scan(self._in_open_bays(search, nodes, parts), nodes, parts, bays=True)
        return zone

    def _scan(
        self, search: Search, nodes: int, parts: _Parts | None, *, bays: bool = False
    ) -> tuple[str | None, bool]:
        """The best zone of a search; True if it met a wide feed that is full, and unless it goes by `bays` gave up."""
        best: tuple[tuple[int, int, bool], str] | None = None
        best_room_w = 0
        need_w = self._charge("", nodes).est_w
        for seen, (zone, room_w) in enumerate(self.candidates(search, need_w, roomy=self.request.bursty)):
            if best is not None and (room_w != best_room_w or seen >= self._equals):
                break
            if (parts is not None and zone in parts.nodes) or not self._has_nodes(zone, nodes):
                continue
            obstacle = self.obstacle(zone, nodes, parts)
            if obstacle is None:
                rank = (self._rank(zone, parts), zone)
                if best is None or rank < best:
                    best, best_room_w = rank, room_w
            elif not bays and isinstance(obstacle, Shortfall) and obstacle.element in self.ledger.plan.wide_feeds:
                return None, True
        return (best[1] if best is not None else None), False

    def _rank(self, zone: str, parts: _Parts | None) -> tuple[int, int, bool]:
        """Among zones of equal room: which is fuller (for bursty jobs emptier), more alike, on a switch in use."""
        headroom_w = self.ledger.meters[zone].headroom_w
        apart = parts is not None and self._switch(zone) not in parts.switches
        return -headroom_w if self.request.bursty else headroom_w, self._unlike(zone), apart

    def _in_open_bays(self, search: Search, nodes: int, parts: _Parts | None) -> Search:
        """The same search in those bays only whose wide feeds can carry the charge."""
        bays = self._open_bays.get(nodes) if parts is None else None
        if bays is None:
            bays = self._find_open_bays(nodes, parts)
            if parts is None:
                self._open_bays[nodes] = bays
        return Search([Section(self.request.pool, bay) for bay in bays], search.lanes, search.free)

    def _find_open_bays(self, nodes: int, parts: _Parts | None) -> list[int]:
        plan = self.ledger.plan
        charge = self._charge("", nodes)
        carries: list[bool | None] = [None] * len(plan.wide)
        found = []
        for bay in plan.bays_of.get(self.request.pool, ()):
            for place in plan.bays[bay]:
                if carries[place] is None:
                    carries[place] = self._carries(plan.wide[place], charge, parts)
                if not carries[place]:
                    break
            else:
                found.append(bay)
        return found

    def _carries(self, tap: Tap, charge: Charge, parts: _Parts | None) -> bool:
        """Whether a feed can carry its share of a charge beside the parts."""
        ledger, request = self.ledger, self.request
        est_w, burst_w = through(tap, charge.est_w, charge.max_w)
        more = parts.loads.get(tap.feed) if parts is not None else None
        if more is not None:
            est_w, burst_w = est_w + more.est_w, burst_w + more.burst_w
        meter = ledger.meters[tap.feed]
        if not self._later and not meter.bookings:
            return meter.fits(est_w, burst_w, request.group)
        return meter.lack(est_w, burst_w, request.group, self.window, ledger.now, self.ignore) is None

    def _unlike(self, zone: str) -> int:
        """How far the burstiness of a zone's jobs is from the request's, in thousandths of max ÷ est."""
        meter = self.ledger.meters[zone]
        theirs = meter.bursts_sum_w * 1_000 // meter.claimed_w if meter.claimed_w > 0 else 0
        own = (self.request.max_w - self.request.est_w) * 1_000 // max(self.request.est_w, 1)
        return abs(theirs - own)

    def _switch(self, zone: str) -> str:
        return self.ledger.topology.zones[zone].switch or zone

    def _charge(self, zone: str, nodes: int | None = None) -> Charge:
        request = self.request
        total = request.ask.total
        if nodes is None or nodes == total:
            return Charge(zone, total, request.est_w, request.max_w)
        return Charge(zone, nodes, -(-request.est_w * nodes // total), -(-request.max_w * nodes // total))

    def _short(self, charge: Charge, parts: _Parts | None = None) -> Shortfall | None:
        loads = parts.loads if parts is not None else None
        return self.ledger.shortfall((charge,), self.request.group, self.window, beside=loads, ignore=self.ignore)

    def _unbooked(self, zone: str) -> int:
        """Nodes of the request's shape that neither claims nor bookings take at any instant of the window."""
        nodes = self.ledger.nodes[zone]
        levels = self.ledger.meters[zone].levels(self.window, self.ledger.now, self.ignore)
        taken = max(level.node_milli for level in levels)
        return max(0, nodes.up * WHOLE_NODE - taken) // nodes.share_milli(self.request.ask)

    def _pool(self) -> Sequence[str]:
        return self.ledger.plan.pools.get(self.request.pool, ())

    def _allows(self, zone: str) -> bool:
        zones = self.request.zones
        return (zones is None or zone in zones) and zone not in self.request.excluded

    def _named(
        self, zones: Iterable[str], search: Search, need_w: int, roomy: bool
    ) -> Iterator[tuple[str, int]]:
        ledger = self.ledger
        sections = set(search.sections)
        allowed = (
            zone
            for zone in zones
            if self._allows(zone)
            and not sections.isdisjoint(ledger.plan.sections.get(zone, ()))
            and ledger.plan.lanes[zone] in search.lanes
        )
        found = [(zone, room_w) for zone in allowed if (room_w := self._rooms.room_w(zone)) >= need_w]
        found.sort(key=lambda pair: (-pair[1] if roomy else pair[1], pair[0]))
        return iter(found)


def roomiest(placer: Placer, count: int, *, any_nodes: bool) -> list[str]:
    """Up to `count` zones of any lane of the request with the most room, to explain why it does not fit.

    Without `any_nodes` only those with a free node or part of one of its shape.
    """
    free = CLOSED if any_nodes else class_for(placer.request.ask, 1)
    zones = placer.candidates(placer.search(placer.request.lanes, free), _ANY_ROOM, roomy=True)
    return [zone for zone, _ in islice(zones, count)]
