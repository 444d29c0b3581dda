"""The ledger: all live claims, and what they commit in every zone and feed.

The invariant of the product lives here: `shortfall` says of a claim-to-be whether committed watts stay within usable
and committed + burst within limit, at every instant of its window, in its zones and in all their feeds. `add` and
`remove` do not ask: what Slurm already runs is a fact, also where it passes a budget.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.meter import Booking, Load, Meter
from slurm_power.core.nodes import ZoneNodes, all_free
from slurm_power.core.policy import BurstRule
from slurm_power.core.rooms import RoomIndex
from slurm_power.core.topology import Tap, Topology
from slurm_power.core.units import ceil_share
from slurm_power.core.window import Window

_NARROW = 64
"""A feed of at most this many zones is part of those zones' room in the index; wider ones are asked one by one."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a claim does not fit an element: of `free_w` it asks `asked_w`; `burst` tells which of the two rules."""

    element: str
    asked_w: int
    free_w: int
    burst: bool


Loads = dict[str, Load]


class Ledger:
    """Claims by id, a meter for each zone and feed, the zones' nodes, and an index of rooms.

    `pools` names sets of zones that requests choose from (a partition's zones). `now` only moves forward.
    """

    def __init__(
        self,
        topology: Topology,
        pools: Mapping[str, Iterable[str]] | None = None,
        rule: BurstRule | None = None,
        now: int = 0,
    ) -> None:
        self.topology = topology
        self.rule = rule or BurstRule()
        self.now = now
        self.claims: dict[str, Claim] = {}
        self.meters: dict[str, Meter] = {}
        self.nodes: dict[str, ZoneNodes] = {}
        self.closed: dict[str, str] = {}
        """Zones that admit nothing now, and why."""
        self._promised: dict[str, int] = {}
        self._in_zone: dict[str, dict[str, None]] = {}
        self._booked: dict[str, Claim] = {}
        self._loads: dict[str, Loads] = {}
        self.most_nodes = max((len(zone.nodes) for zone in topology.zones.values()), default=0)
        self._make_meters()
        self._narrow = _narrow_feeds(topology)
        self._narrow_taps = {z: tuple(t for t in taps if t.feed in self._narrow) for z, taps in topology.taps.items()}
        self.wide_feeds = {
            z: frozenset(t.feed for t in taps if t.feed not in self._narrow) for z, taps in topology.taps.items()
        }
        """For each zone the feeds above it that are not part of its room."""
        self.rooms = RoomIndex(topology, {"": topology.zones, **(pools or {})})
        self._feed_rooms = {feed: self.meters[feed].room_w for feed in self._narrow}
        self._rooms: dict[str, int] = {}
        for name, zone in topology.zones.items():
            self.nodes[name] = all_free(len(zone.nodes))
            self._promised[name] = 0
            self._in_zone[name] = {}
        self.refresh(topology.zones)

    # -- what is there ------------------------------------------------------------------------------------------

    def promised_milli(self, zone: str) -> int:
        """Thousandths of nodes of claims in the zone that Slurm's node counts do not contain yet."""
        return self._promised[zone]

    def loads(self, charges: Iterable[Charge], share_milli: int = 0) -> Loads:
        """What these charges put on each zone and feed."""
        loads: Loads = {}
        for charge in charges:
            loads[charge.zone] = Load(charge.est_w, charge.max_w - charge.est_w, charge.nodes * share_milli)
            for tap in self.topology.taps[charge.zone]:
                est_w = ceil_share(charge.est_w, tap.numerator, tap.denominator)
                burst_w = ceil_share(charge.max_w, tap.numerator, tap.denominator) - est_w
                load = loads.get(tap.feed)
                if load is None:
                    loads[tap.feed] = Load(est_w, burst_w)
                else:
                    load.est_w += est_w
                    load.burst_w += burst_w
        return loads

    def room_w(self, zone: str) -> int:
        """The most est that one more claim without burst could have in the zone, its narrow feeds counted, in W."""
        return self._rooms[zone]

    def shortfall(
        self,
        charges: Iterable[Charge],
        group: str,
        window: Window,
        *,
        beside: Loads | None = None,
        ignore: str | None = None,
    ) -> Shortfall | None:
        """The first element, zones before feeds, that cannot carry the charges; None when all can.

        `beside` are loads to be counted as if they were there (other parts of the same job); `ignore` names a booked
        claim that does not count (a shadow that the asker outranks).
        """
        for name, load in self.loads(charges).items():
            more = beside.get(name) if beside else None
            est_w = load.est_w + more.est_w if more else load.est_w
            burst_w = load.burst_w + more.burst_w if more else load.burst_w
            short = self.short(self.meters[name], est_w, burst_w, group, window, ignore)
            if short is not None:
                return short
        return None

    def shortfall_instead(self, old: str | None, new: Claim, *, ignore: str | None = None) -> Shortfall | None:
        """Like `shortfall` for a claim that takes the place of `old`; elements where it asks no more always pass."""
        before = self.claims.get(old) if old is not None else None
        if before is None:
            return self.shortfall(new.charges, new.group, new.window, ignore=ignore)
        had = self._loads[before.id]
        self.remove(before.id)
        try:
            for name, load in self.loads(new.charges).items():
                held = had.get(name)
                no_more = held and load.est_w <= held.est_w and load.burst_w <= held.burst_w
                if no_more and not self.meters[name].bookings.keys() - {ignore}:
                    continue
                short = self.short(self.meters[name], load.est_w, load.burst_w, new.group, new.window, ignore)
                if short is not None:
                    return short
            return None
        finally:
            self.add(before)

    def short(
        self, meter: Meter, est_w: int, burst_w: int, group: str, window: Window, ignore: str | None = None
    ) -> Shortfall | None:
        """Whether one meter lacks room for a load over a window; see `shortfall`."""
        plain = not meter.bookings and window.start <= self.now
        committed_w = meter.committed_w if plain else meter.peak(window, self.now, ignore)[0]
        if committed_w + est_w > meter.usable_w:
            return Shortfall(meter.name, est_w, meter.usable_w - committed_w, burst=False)
        top_w = est_w + meter.burst_with(group, burst_w, window, ignore)
        if committed_w + top_w > meter.limit_w:
            return Shortfall(meter.name, top_w, meter.limit_w - committed_w, burst=True)
        return None

    def claims_in(self, zone: str) -> Iterator[Claim]:
        """The live claims that charge a zone, in order of id."""
        return (self.claims[name] for name in sorted(self._in_zone[zone]))

    def bookings(self) -> Iterator[Claim]:
        """The claims that begin later."""
        return iter(self._booked.values())

    # -- what changes it ----------------------------------------------------------------------------------------

    def add(self, claim: Claim) -> None:
        """Count a claim, or book it if its window begins later than now. Raises ValueError on a known id."""
        if claim.id in self.claims or claim.id in self._booked:
            raise ValueError(f"claim {claim.id} is in the ledger already")
        loads = self.loads(claim.charges, claim.share_milli)
        if claim.window.start > self.now:
            self._booked[claim.id] = claim
            self._loads[claim.id] = loads
            for name, load in loads.items():
                self.meters[name].bookings[claim.id] = Booking(claim.window, claim.group, load)
            return
        self._count(claim, loads)
        self.refresh(loads)

    def load(self, claims: Iterable[Claim]) -> None:
        """Add many live claims at once; the index is brought up to date at the end only."""
        for claim in claims:
            self._count(claim, self.loads(claim.charges, claim.share_milli))
        self.refresh(self.meters)
        self.refresh(self.nodes)

    def remove(self, claim_id: str) -> Claim | None:
        """Forget a claim, live or booked; None if it is not there."""
        booked = self._booked.pop(claim_id, None)
        if booked is not None:
            for name in self._loads.pop(claim_id):
                del self.meters[name].bookings[claim_id]
            return booked
        claim = self.claims.pop(claim_id, None)
        if claim is None:
            return None
        loads = self._loads.pop(claim_id)
        end = claim.window.end
        for name, load in loads.items():
            self.meters[name].remove(load, claim.group, end)
        for charge in claim.charges:
            del self._in_zone[charge.zone][claim_id]
        self._promise(claim, -1)
        self.refresh(loads)
        return claim

    def replace(self, old: str | None, new: Claim) -> None:
        """Put `new` in the place of `old` in one step."""
        if old is not None:
            self.remove(old)
        self.add(new)

    def advance(self, now: int) -> None:
        """Move time forward: booked claims whose window has begun become live."""
        if now < self.now:
            return
        self.now = now
        for claim in [c for c in self._booked.values() if c.window.start <= now]:
            self.remove(claim.id)
            self.add(claim)

    def set_limit(self, element: str, limit_w: int) -> None:
        """Change what a zone or feed may carry, in W; nothing is evicted here."""
        self.meters[element].set_limit(limit_w)
        self.refresh([element])

    def set_nodes(self, zone: str, nodes: ZoneNodes) -> None:
        """What Slurm shows of a zone's nodes."""
        if self.nodes[zone] != nodes:
            self.nodes[zone] = nodes
            self.refresh([zone])

    def close(self, zone: str, why: str | None) -> None:
        """Admit nothing in a zone (thermal state critical, maintenance), or with None admit again."""
        if why is None:
            self.closed.pop(zone, None)
        else:
            self.closed[zone] = why

    def refresh(self, elements: Iterable[str]) -> None:
        """Bring the zones' rooms and their index up to date after these elements changed."""
        zones: set[str] = set()
        for name in elements:
            if name in self.nodes:
                zones.add(name)
            elif name in self._narrow:
                zones.update(self._touched(name))
        for zone in zones:
            room_w = self.meters[zone].room_w
            for tap in self._narrow_taps[zone]:
                room_w = min(room_w, self._feed_rooms[tap.feed] * tap.denominator // tap.numerator)
            self._rooms[zone] = room_w
            self.rooms.put(zone, room_w, self.nodes[zone].free_class)

    def _touched(self, feed: str) -> Iterator[str]:
        """Zones whose room may differ now that a narrow feed changed: it was, or it becomes, what limits them."""
        before = self._feed_rooms[feed]
        after = self.meters[feed].room_w
        if after == before:
            return
        self._feed_rooms[feed] = after
        for zone, tap in self._narrow[feed]:
            room_w = self._rooms[zone]
            least = min(before, after)
            if least * tap.denominator // tap.numerator <= room_w:
                yield zone

    def empty(self) -> "Ledger":
        """The same floor with no claims, declared limits and all nodes free: what could ever fit."""
        return Ledger(self.topology, self.rooms.pools, self.rule, self.now)

    # -- inside -------------------------------------------------------------------------------------------------

    def _make_meters(self) -> None:
        baselines = dict.fromkeys(self.topology.feeds, 0)
        for zone in self.topology.zones.values():
            self.meters[zone.name] = Meter(zone.name, zone.limit_w, zone.margin, zone.baseline_w, self.rule)
            for tap in self.topology.taps[zone.name]:
                baselines[tap.feed] += ceil_share(zone.baseline_w, tap.numerator, tap.denominator)
        for feed in self.topology.feeds.values():
            self.meters[feed.name] = Meter(feed.name, feed.limit_w, feed.margin, baselines[feed.name], self.rule)

    def _count(self, claim: Claim, loads: Loads) -> None:
        self.claims[claim.id] = claim
        self._loads[claim.id] = loads
        end = claim.window.end
        for name, load in loads.items():
            self.meters[name].add(load, claim.group, end)
        for charge in claim.charges:
            self._in_zone[charge.zone][claim.id] = None
        self._promise(claim, 1)

    def _promise(self, claim: Claim, sign: int) -> None:
        if not claim.placed:
            for charge in claim.charges:
                self._promised[charge.zone] += sign * charge.nodes * claim.share_milli


def _narrow_feeds(topology: Topology) -> dict[str, tuple[tuple[str, Tap], ...]]:
    """Feeds of few zones, each with those zones and what it is charged of them."""
    members: dict[str, list[tuple[str, Tap]]] = {}
    for zone, taps in topology.taps.items():
        for tap in taps:
            members.setdefault(tap.feed, []).append((zone, tap))
    return {feed: tuple(zones) for feed, zones in members.items() if len(zones) <= _NARROW}
