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
from slurm_power.core.request import Request
from slurm_power.core.rooms import Search
from slurm_power.core.topology import Lane
from slurm_power.core.window import Window

_EQUALS = 16
"""How many zones of equal room are compared by their jobs' burstiness."""
_SPREAD = 64
"""How many of the roomiest zones a job over several zones is built from, at least."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a request goes, and which share of a node each of its nodes takes there, in thousandths."""

    charges: tuple[Charge, ...]
    share_milli: int


@dataclass(slots=True)
class _Part:
    """A zone that could take some of a job's nodes."""

    zone: str
    room_w: int
    capacity: int


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
        self._blocked = self._blocked_feeds()

    def place(self) -> Placement | None:
        """The place, or None where there is none in this window."""
        lanes = self.request.lanes
        for count, lane in enumerate(lanes, start=1):
            placement = self._one_zone((lane,)) or self._several(lanes[:count])
            if placement is not None:
                return placement
        return None

    def place_in(self, zone: str) -> Placement | None:
        """The place in this one zone, or None."""
        share = self.share_milli(zone)
        charges = (self._charge(zone),)
        return Placement(charges, share) if self.obstacle(zone) is None else None

    def obstacle(self, zone: str) -> Shortfall | str | None:
        """What keeps the whole request out of a zone: a shortfall, or the word closed, headroom or nodes."""
        if zone in self.ledger.closed:
            return "closed"
        if self.ledger.meters[zone].headroom_w < self.request.headroom_w:
            return "headroom"
        if self.free_nodes(zone) < self.request.ask.total:
            return "nodes"
        return self._short((self._charge(zone),))

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

    def candidates(self, lanes: tuple[Lane, ...], need_w: int, *, roomy: bool, any_nodes: bool = False) -> Iterator[str]:
        """Zones of these lanes that the request may go to, with room for `need_w`, tightest or roomiest first."""
        request = self.request
        if request.zones is not None:
            yield from self._named(request.zones, lanes, need_w, roomy)
            return
        free_class = 0 if self._later or any_nodes else self._free_class()
        search = Search(request.pool, lanes, free_class, frozenset() if any_nodes else self._blocked)
        rooms = self.ledger.rooms
        found = rooms.roomiest_first(search, need_w) if roomy else rooms.tightest_first(search, need_w)
        for zone, _ in found:
            if zone not in request.excluded:
                yield zone

    # -- one zone -----------------------------------------------------------------------------------------------

    def _one_zone(self, lanes: tuple[Lane, ...]) -> Placement | None:
        roomy = self.request.bursty
        need_w = self._need_w(self.request.est_w)
        best: tuple[int, str] | None = None
        best_room = 0
        for seen, zone in enumerate(self.candidates(lanes, need_w, roomy=roomy)):
            room_w = self.ledger.room_w(zone)
            if best is not None and (room_w != best_room or seen >= _EQUALS):
                break
            if self.obstacle(zone) is None:
                rank = (self._unlike(zone), zone)
                if best is None or rank < best:
                    best, best_room = rank, room_w
        if best is None:
            return None
        return Placement((self._charge(best[1]),), self.share_milli(best[1]))

    def _unlike(self, zone: str) -> int:
        """How far the burstiness of a zone's jobs is from the request's, in thousandths of max ÷ est."""
        meter = self.ledger.meters[zone]
        theirs = meter.bursts_sum_w * 1_000 // meter.claimed_w if meter.claimed_w > 0 else 0
        own = (self.request.max_w - self.request.est_w) * 1_000 // max(self.request.est_w, 1)
        return abs(theirs - own)

    # -- several zones ------------------------------------------------------------------------------------------

    def _several(self, lanes: tuple[Lane, ...]) -> Placement | None:
        ask = self.request.ask
        if ask.nodes < 2 or ask.copies > 1:
            return None
        parts = self._parts(lanes)
        taken: dict[str, int] = {}
        beside: Loads = {}
        switches: set[str] = set()
        left = ask.nodes
        while left:
            part = self._next_part(parts, left, switches, beside)
            if part is None:
                return None
            count = min(part.capacity, left)
            taken[part.zone] = count
            left -= count
            parts.remove(part)
            switches.add(self._switch(part.zone))
            for name, load in self.ledger.loads([self._part_charge(part.zone, count)]).items():
                held = beside.setdefault(name, Load())
                held.est_w += load.est_w
                held.burst_w += load.burst_w
        charges = split_over(taken, self.request.est_w, self.request.max_w)
        return Placement(charges, max(self.share_milli(zone) for zone in taken)) if not self._short(charges) else None

    def _parts(self, lanes: tuple[Lane, ...]) -> list[_Part]:
        """Zones and how many of the job's nodes each could take alone, from the roomiest on, with some to choose from."""
        ask = self.request.ask
        parts: list[_Part] = []
        total = 0
        for zone in self.candidates(lanes, self._need_w(-(-self.request.est_w // ask.nodes)), roomy=True):
            capacity = self._capacity(zone, ask.nodes, {})
            if capacity:
                parts.append(_Part(zone, self.ledger.room_w(zone), capacity))
                total += capacity
            if len(parts) >= _SPREAD and total >= 2 * ask.nodes:
                break
        return parts

    def _next_part(self, parts: list[_Part], left: int, switches: set[str], beside: Loads) -> _Part | None:
        """The zone that takes most of what is left; among those that take all of it, the tightest."""
        ordered = sorted(
            parts,
            key=lambda p: (-min(p.capacity, left), self._switch(p.zone) not in switches, p.room_w, p.zone),
        )
        for part in ordered:
            part.capacity = self._capacity(part.zone, min(part.capacity, left), beside)
            if part.capacity:
                return part
        return None

    def _capacity(self, zone: str, most: int, beside: Loads) -> int:
        """How many of the job's nodes a zone can take beside other parts of the job."""
        if zone in self.ledger.closed or self.ledger.meters[zone].headroom_w < self.request.headroom_w:
            return 0
        count = min(most, self.free_nodes(zone))
        while count and self._short((self._part_charge(zone, count),), beside):
            count -= 1
        return count

    def _part_charge(self, zone: str, count: int) -> Charge:
        request = self.request
        nodes = request.ask.nodes
        return Charge(zone, count, -(-request.est_w * count // nodes), -(-request.max_w * count // nodes))

    def _switch(self, zone: str) -> str:
        return self.ledger.topology.zones[zone].switch or zone

    # -- both ---------------------------------------------------------------------------------------------------

    def _charge(self, zone: str) -> Charge:
        return Charge(zone, self.request.ask.total, self.request.est_w, self.request.max_w)

    def _short(self, charges: tuple[Charge, ...], beside: Loads | None = None) -> Shortfall | None:
        return self.ledger.shortfall(charges, self.request.group, self.window, beside=beside, ignore=self.ignore)

    def _need_w(self, est_w: int) -> int:
        """The room to look for: the index knows today's rooms, which say nothing of a later window."""
        return est_w if not self._later else -(1 << 40)

    def _unbooked(self, zone: str) -> int:
        """Nodes of the request's shape that neither claims nor bookings take at any instant of the window."""
        meter = self.ledger.meters[zone]
        nodes = self.ledger.nodes[zone]
        if not self._later and not meter.bookings:
            return nodes.up * WHOLE_NODE
        _, taken = meter.peak(self.window, self.ledger.now, self.ignore)
        return max(0, nodes.up * WHOLE_NODE - taken) // nodes.share_milli(self.request.ask)

    def _free_class(self) -> int:
        """The least free class (see ZoneNodes) worth looking at."""
        ask = self.request.ask
        if not ask.exclusive:
            return 1
        return 1 + min(ask.total, 8) if ask.nodes == 1 or ask.copies > 1 else 2

    def _blocked_feeds(self) -> frozenset[str]:
        """Wide feeds that cannot carry the request, however it is placed."""
        blocked = set()
        for feed in self.ledger.rooms.domains(self.request.pool):
            numerator, denominator = self.ledger.wide_share[feed]
            meter = self.ledger.meters[feed]
            est_w = -(-self.request.est_w * numerator // denominator)
            burst_w = -(-self.request.max_w * numerator // denominator) - est_w
            if self.ledger.short(meter, est_w, burst_w, self.request.group, self.window, self.ignore) is not None:
                blocked.add(feed)
        return frozenset(blocked)

    def _named(self, zones: Iterable[str], lanes: tuple[Lane, ...], need_w: int, roomy: bool) -> Iterator[str]:
        allowed = (z for z in zones if z not in self.request.excluded and self.ledger.topology.zones[z].lane in lanes)
        rooms = sorted((self.ledger.room_w(zone), zone) for zone in allowed)
        if roomy:
            rooms.sort(key=lambda pair: (-pair[0], pair[1]))
        return (zone for room, zone in rooms if room >= need_w)


def roomiest(placer: Placer, count: int, *, any_nodes: bool) -> list[str]:
    """Up to `count` zones of any lane of the request with the most room, to explain why it does not fit."""
    everything = -(1 << 40)
    return list(islice(placer.candidates(placer.request.lanes, everything, roomy=True, any_nodes=any_nodes), count))
