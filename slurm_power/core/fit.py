"""What one request finds in one zone: watts, nodes, headroom; and the search for the zone that fits it best.

The best is the least room that is left; for bursty jobs the other way round (ample room); among equals a zone whose
jobs burst alike, last by name.
"""

from collections.abc import Iterable, Iterator, Sequence

from slurm_power.core.asker import Asker
from slurm_power.core.claim import WHOLE_NODE, Charge
from slurm_power.core.ledger import Ledger
from slurm_power.core.meter import Meter
from slurm_power.core.nodes import CLOSED, FreeClass, class_for
from slurm_power.core.request import Request
from slurm_power.core.rooms import Search, Section
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.topology import Lane, Tap
from slurm_power.core.units import ceil_share
from slurm_power.core.walk import levels
from slurm_power.core.window import Window
from slurm_power.core.wiring import Loads, through

EQUALS = 16
"""How many zones of equal room are compared by their jobs' burstiness."""
ANY_ROOM = -(1 << 40)
"""Less room than any zone has, in W."""
_FEW = 8
"""Of a pool, fewer than one zone in so many are looked up one by one rather than through the index."""


class Fit:
    """One request on one ledger, which it leaves as it is.

    `window` may begin later than now: then nodes and watts are those that will be free. `ignore` is a booked claim
    (a reservation to come is one) that does not stand in the way of this request. With `any_will_do` the first place
    found is as good as the best.
    """

    def __init__(
        self, request: Request, ledger: Ledger, window: Window, ignore: str | None = None, *, any_will_do: bool = False
    ) -> None:
        self.request = request
        self.ledger = ledger
        self.window = window
        self.ignore = ignore
        self.equals = 0 if any_will_do else EQUALS
        self.asker = Asker(request.group, window, ignore, request.through_cuts_s)
        self._rooms = ledger.rooms_for(request.est_w, request.max_w)
        self.ahead = window.start > ledger.now
        """Whether the window begins later than now."""
        self._most = dict(request.ask.most)
        self._open_bays: dict[int, list[int]] = {}
        """For so many nodes, the bays whose wide feeds can carry them; filled once a wide feed turned out full."""

    def obstacle(self, zone: str, nodes: int | None = None) -> Shortfall | str | None:
        """What keeps the request, or `nodes` of its nodes, out of a zone.

        A shortfall, or one of the words closed, headroom and nodes; None where nothing does.
        """
        found = self._power_obstacle(zone, nodes)
        return found if found is not None or self._has_nodes(zone, nodes) else "nodes"

    def _power_obstacle(self, zone: str, nodes: int | None) -> Shortfall | str | None:
        """The same where it has the nodes."""
        if zone in self.ledger.closed:
            return "closed"
        if self.request.headroom_w and self.headroom_w(zone) < self.request.headroom_w:
            return "headroom"
        charge = self.charge(zone, nodes)
        return self.short((charge,))

    def short(self, charges: Sequence[Charge]) -> Shortfall | None:
        """The first element that cannot carry these charges of the request over the window; None when all can."""
        return self.ledger.shortfall(charges, self.asker)

    def headroom_w(self, zone: str) -> int:
        """The zone's headroom when the window begins, in W."""
        meter = self.ledger.meters[zone]
        if not self.ahead:
            return meter.headroom_w
        level = next(levels(meter, self.window, self.ledger.now, self.ignore))
        return level.packing_w - level.committed_w

    def free_nodes(self, zone: str) -> int:
        """How many nodes of the request's shape could start in the zone in this window."""
        free = self._free_nodes(zone)
        return min(free, self._may_take(zone)) if self._most else free

    def may_hold(self, zone: str) -> bool:
        """Whether enough of the zone's nodes would do for the whole request, were they free."""
        return not self._most or self._may_take(zone) >= self.request.ask.total

    def _may_take(self, zone: str) -> int:
        """How many of the request's nodes (or parts) may go to the zone; of many copies all, if one finds its nodes."""
        ask = self.request.ask
        most = self._most.get(zone, ask.total)
        if ask.copies > 1:
            return ask.total if most >= ask.nodes else 0
        return most

    def _free_nodes(self, zone: str) -> int:
        nodes = self.ledger.nodes[zone]
        ask = self.request.ask
        if self.ahead:
            return 0 if ask.cpus > nodes.cpus or ask.gpus > nodes.gpus else self._unbooked(zone)
        free = nodes.could_start(ask, self.ledger.promised_milli(zone))
        meter = self.ledger.meters[zone]
        return min(free, self._unbooked(zone)) if meter.ahead and meter.nodes_ahead else free

    def share_milli(self, zone: str) -> int:
        """The share of a node that each of the request's nodes takes in the zone."""
        return self.ledger.nodes[zone].share_milli(self.request.ask)

    def candidates(self, search: Search, need_w: int, *, roomy: bool) -> Iterator[tuple[str, int]]:
        """(zone, room) of the zones that the request may go to, with room for `need_w`, tightest or roomiest first.

        For a later window all rooms and nodes count: the index knows today's, which say nothing of it.
        """
        self.ledger.settle(self._rooms)  # it may have changed since the last step of a long search
        request = self.request
        if self.ahead:
            need_w, search = ANY_ROOM, Search(search.sections, search.lanes, CLOSED)
        if request.zones is not None and len(request.zones) * _FEW < len(self._pool()):
            return self._named(request.zones, search, need_w, roomy)
        index = self._rooms.index
        found = index.roomiest_first(search, need_w) if roomy else index.tightest_first(search, need_w)
        if request.zones is None and not request.excluded:
            return found
        return ((zone, room_w) for zone, room_w in found if self._allows(zone))

    def open_zones(self) -> Iterator[str]:
        """The zones that the request may go to by pool, lane and name, those left out that are closed; by name."""
        ledger, lanes = self.ledger, self.request.lanes
        return (
            zone
            for zone in self._pool()
            if ledger.plan.lanes[zone] in lanes and self._allows(zone) and zone not in ledger.closed
        )

    def search(self, lanes: tuple[Lane, ...], free: FreeClass) -> Search:
        """A search through the request's whole pool."""
        return Search((Section(self.request.pool),), lanes, free)

    def charge(self, zone: str, nodes: int | None = None) -> Charge:
        """What the request is charged in a zone, or `nodes` of its nodes there, rounded up."""
        request = self.request
        total = request.ask.total
        if nodes is None or nodes == total:
            return Charge(zone, total, request.est_w, request.max_w)
        return Charge(zone, nodes, ceil_share(request.est_w, nodes, total), ceil_share(request.max_w, nodes, total))

    def best(self, lanes: tuple[Lane, ...], nodes: int) -> str | None:
        """The zone that fits `nodes` of the request's nodes best."""
        search = self.search(lanes, class_for(self.request.ask, nodes))
        wide = nodes in self._open_bays
        zone = None
        if not wide:
            zone, wide = self._scan(search, nodes)
        if wide:
            bays = self._open_bays.get(nodes)
            if bays is None:
                bays = self._open_bays[nodes] = self.open_bays(nodes)
            zone, _ = self._scan(self.in_bays(search, bays), nodes, bays=True)
        return zone

    def rank(self, zone: str) -> tuple[int, int]:
        """Among zones of equal room, less goes first: which is fuller (for bursty jobs emptier), more alike."""
        headroom_w = self.ledger.meters[zone].headroom_w
        return -headroom_w if self.request.bursty else headroom_w, self._unlike(zone)

    def in_bays(self, search: Search, bays: Iterable[int]) -> Search:
        """The same search in these bays alone."""
        return Search([Section(self.request.pool, bay) for bay in bays], search.lanes, search.free)

    def open_bays(self, nodes: int, beside: Loads | None = None) -> list[int]:
        """The bays whose wide feeds can carry so many of the request's nodes beside these loads."""
        plan = self.ledger.plan
        charge = self.charge("", nodes)
        carries: list[bool | None] = [None] * len(plan.wide)
        found = []
        for bay in plan.bays_of.get(self.request.pool, ()):
            for place in plan.bays[bay]:
                if carries[place] is None:
                    carries[place] = self._tap_carries(plan.wide[place], charge, beside)
                if not carries[place]:
                    break
            else:
                found.append(bay)
        return found

    def carries(self, meter: Meter, est_w: int, burst_w: int) -> bool:
        """Whether a zone or feed can carry so much more over the window, in W."""
        if not self.ahead and not meter.ahead:
            return meter.fits(est_w, burst_w, self.request.group)
        return meter.lack(est_w, burst_w, self.asker, self.ledger.now) is None

    def _tap_carries(self, tap: Tap, charge: Charge, beside: Loads | None) -> bool:
        est_w, burst_w = through(tap, charge.est_w, charge.max_w)
        more = beside.get(tap.feed) if beside is not None else None
        if more is not None:
            est_w, burst_w = est_w + more.est_w, burst_w + more.burst_w
        return self.carries(self.ledger.meters[tap.feed], est_w, burst_w)

    def _has_nodes(self, zone: str, nodes: int | None) -> bool:
        return self.free_nodes(zone) >= (self.request.ask.total if nodes is None else nodes)

    def _scan(self, search: Search, nodes: int, *, bays: bool = False) -> tuple[str | None, bool]:
        """The best zone of a search; True if it met a wide feed that is full, and unless it goes by `bays` gave up."""
        best: tuple[tuple[int, int], str] | None = None
        best_room_w = 0
        need_w = self.charge("", nodes).est_w
        for seen, (zone, room_w) in enumerate(self.candidates(search, need_w, roomy=self.request.bursty)):
            if best is not None and (room_w != best_room_w or seen >= self.equals):
                break
            if not self._has_nodes(zone, nodes):
                continue
            obstacle = self._power_obstacle(zone, nodes)
            if obstacle is None:
                rank = (self.rank(zone), zone)
                if best is None or rank < best:
                    best, best_room_w = rank, room_w
            elif not bays and isinstance(obstacle, Shortfall) and obstacle.element in self.ledger.plan.wide_feeds:
                return None, True
        return (best[1] if best is not None else None), False

    def _unlike(self, zone: str) -> int:
        """How far the burstiness of a zone's jobs is from the request's, in thousandths of max ÷ est."""
        meter = self.ledger.meters[zone]
        theirs = meter.bursts_sum_w * 1_000 // meter.claimed_w if meter.claimed_w > 0 else 0
        own = (self.request.max_w - self.request.est_w) * 1_000 // max(self.request.est_w, 1)
        return abs(theirs - own)

    def _unbooked(self, zone: str) -> int:
        """Nodes of the request's shape that nothing, live or booked, takes at any instant of the window."""
        nodes = self.ledger.nodes[zone]
        taken = self.ledger.meters[zone].most_milli(self.window, self.ledger.now, self.ignore)
        parts = max(0, nodes.up * WHOLE_NODE - taken) // nodes.share_milli(self.request.ask)
        return min(parts, nodes.up) if self.request.ask.copies == 1 else parts

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
