"""Placement: which zones a request goes to, among those that can carry it.

In order: a lane that fits the tier; fewest zones; best fit (the least room that is left); bursty jobs the other way
round (ample room); among equals, zones whose jobs burst alike; fewest network switches; last by name.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from slurm_power.core.claim import WHOLE_NODE, Charge, split_over
from slurm_power.core.ledger import Ledger, Loads, Shortfall
from slurm_power.core.meter import Load
from slurm_power.core.nodes import MOST_IDLE
from slurm_power.core.request import Request
from slurm_power.core.rooms import Search
from slurm_power.core.topology import Lane
from slurm_power.core.window import Window

_EQUALS = 16
"""How many zones of equal room are compared by their jobs' burstiness."""
_ANY_ROOM = -(1 << 40)
"""Less room than any zone has, in W."""


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
    does not stand in the way of this request.
    """

    def __init__(self, request: Request, ledger: Ledger, window: Window, ignore: str | None = None) -> None:
        self.request = request
        self.ledger = ledger
        self.window = window
        self.ignore = ignore
        self._later = window.start > ledger.now
        self._blocked: set[str] = set()
        """Wide feeds that turned out to be unable to carry the request."""

    def place(self) -> Placement | None:
        """The place, or None where there is none in this window."""
        lanes = self.request.lanes
        for count, lane in enumerate(lanes, start=1):
            charges = self._one_zone((lane,)) or self._several(lanes[:count])
            if charges:
                return Placement(charges, max(self.share_milli(charge.zone) for charge in charges))
        return None

    def place_in(self, zone: str) -> Placement | None:
        """The place in this one zone, or None."""
        share = self.share_milli(zone)
        charges = (self._charge(zone),)
        return Placement(charges, share) if self.obstacle(zone) is None else None

    def obstacle(self, zone: str, nodes: int | None = None, parts: _Parts | None = None) -> Shortfall | str | None:
        """What keeps the request, or `nodes` of its nodes beside other parts, out of a zone.

        A shortfall, or one of the words closed, headroom and nodes; None where nothing does.
        """
        if zone in self.ledger.closed:
            return "closed"
        if self.ledger.meters[zone].headroom_w < self.request.headroom_w:
            return "headroom"
        if self.free_nodes(zone) < (self.request.ask.total if nodes is None else nodes):
            return "nodes"
        return self._short((self._charge(zone, nodes),), parts)

    def free_nodes(self, zone: str) -> int:
        """How many nodes of the request's shape could start in the zone in this window."""
        nodes = self.ledger.nodes[zone]
        ask = self.request.ask
        if not self._later:
            return min(nodes.could_start(ask, self.ledger.promised_milli(zone)), self._unbooked(zone))
        return 0 if ask.cpus > nodes.cpus or ask.gpus > nodes.gpus else self._unbooked(zone)

    def share_milli(self, zone: str) -> int:
        """The share of a node that each of the request's nodes takes in the zone."""
        return self.ledger.nodes[zone].share_milli(self.request.ask)

    def candidates(self, lanes: tuple[Lane, ...], need_w: int, free_class: int, *, roomy: bool) -> Iterator[str]:
        """Zones of these lanes that the request may go to, with room for `need_w`, tightest or roomiest first.

        For a later window all rooms and nodes count: the index knows today's, which say nothing of it.
        """
        request = self.request
        if self._later:
            need_w, free_class = _ANY_ROOM, 0
        if request.zones is not None:
            yield from self._named(request.zones, lanes, need_w, roomy)
            return
        search = Search(request.pool, lanes, free_class)
        rooms = self.ledger.rooms
        found = rooms.roomiest_first(search, need_w) if roomy else rooms.tightest_first(search, need_w)
        wide = self.ledger.wide_feeds
        for zone, _ in found:
            if zone not in request.excluded and self._blocked.isdisjoint(wide[zone]):
                yield zone

    def _one_zone(self, lanes: tuple[Lane, ...]) -> tuple[Charge, ...]:
        zone = self._best(lanes, self.request.ask.total, _Parts())
        return (self._charge(zone),) if zone is not None else ()

    def _several(self, lanes: tuple[Lane, ...]) -> tuple[Charge, ...]:
        """Each time the zone that takes most of what is left; of those that take as much, the one that fits best."""
        ask = self.request.ask
        if ask.nodes < 2 or ask.copies > 1:
            return ()
        parts = _Parts()
        left, count = ask.nodes, ask.nodes - 1
        while left and count:
            count = min(count, left, self.ledger.most_nodes)
            zone = self._best(lanes, count, parts)
            if zone is None:
                count -= 1
                continue
            parts.take(zone, count, self._switch(zone), self.ledger.loads([self._charge(zone, count)]))
            left -= count
        if left:
            return ()
        charges = split_over(parts.nodes, self.request.est_w, self.request.max_w)
        return charges if self._short(charges) is None else ()

    def _best(self, lanes: tuple[Lane, ...], nodes: int, parts: _Parts) -> str | None:
        """The zone that fits `nodes` of the request's nodes best, beside the parts that are placed already."""
        best: tuple[int, bool, str] | None = None
        best_room_w = 0
        need_w = self._charge("", nodes).est_w
        zones = self.candidates(lanes, need_w, self._free_class(nodes), roomy=self.request.bursty)
        for seen, zone in enumerate(zones):
            room_w = self.ledger.room_w(zone)
            if best is not None and (room_w != best_room_w or seen >= _EQUALS):
                break
            if zone in parts.nodes or self.obstacle(zone, nodes, parts) is not None:
                continue
            rank = (self._unlike(zone), self._switch(zone) not in parts.switches, zone)
            if best is None or rank < best:
                best, best_room_w = rank, room_w
        return best[2] if best is not None else None

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

    def _short(self, charges: tuple[Charge, ...], parts: _Parts | None = None) -> Shortfall | None:
        short = self.ledger.shortfall(
            charges, self.request.group, self.window, beside=parts.loads if parts else None, ignore=self.ignore
        )
        if short is not None and short.element in self.ledger.wide_feeds[charges[0].zone]:
            self._blocked.add(short.element)
        return short

    def _unbooked(self, zone: str) -> int:
        """Nodes of the request's shape that neither claims nor bookings take at any instant of the window."""
        meter = self.ledger.meters[zone]
        nodes = self.ledger.nodes[zone]
        if not self._later and not meter.bookings:
            return nodes.up * WHOLE_NODE
        _, taken = meter.peak(self.window, self.ledger.now, self.ignore)
        return max(0, nodes.up * WHOLE_NODE - taken) // nodes.share_milli(self.request.ask)

    def _free_class(self, nodes: int) -> int:
        """The least free class (see ZoneNodes) worth looking at for so many of the request's nodes."""
        if not self.request.ask.exclusive:
            return 1
        return 1 + min(nodes, MOST_IDLE)

    def _named(self, zones: Iterable[str], lanes: tuple[Lane, ...], need_w: int, roomy: bool) -> Iterator[str]:
        allowed = (z for z in zones if z not in self.request.excluded and self.ledger.topology.zones[z].lane in lanes)
        rooms = sorted((self.ledger.room_w(zone), zone) for zone in allowed)
        if roomy:
            rooms.sort(key=lambda pair: (-pair[0], pair[1]))
        return (zone for room, zone in rooms if room >= need_w)


def roomiest(placer: Placer, count: int, *, any_nodes: bool) -> list[str]:
    """Up to `count` zones of any lane of the request with the most room, to explain why it does not fit."""
    zones = placer.candidates(placer.request.lanes, _ANY_ROOM, 0 if any_nodes else 1, roomy=True)
    return list(islice(zones, count))
