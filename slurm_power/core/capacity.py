"""The rooms of all zones, kept up to date as claims come and go.

A zone's room is what its own meter and the narrow feeds above it leave. Wide feeds (a UPS above hundreds of racks)
change with every claim; they are not part of rooms but asked when a zone is chosen. Zones under the same wide feeds
form a bay, so that one full feed takes all of them out of the search at once.
"""

from collections.abc import Iterable, Iterator, Mapping

from slurm_power.core.meter import Meter
from slurm_power.core.nodes import FreeClass
from slurm_power.core.rooms import RoomIndex, Section
from slurm_power.core.topology import Tap, Topology

_NARROW = 64
"""A feed of at most this many zones is part of those zones' room; a wider one makes bays."""

BURSTS_MILLI = (1_000, 500, 300, 200, 100, 0)
"""For claims whose burst is at least so many thousandths of their est there are rooms of their own."""


class FloorPlan:
    """What a topology and its pools say of every zone, once and for all."""

    def __init__(self, topology: Topology, pools: Mapping[str, Iterable[str]]) -> None:
        self.pools = {pool: tuple(sorted(zones)) for pool, zones in pools.items()}
        self.lanes = {name: zone.lane for name, zone in topology.zones.items()}
        self.narrow = {feed: taps for feed, taps in _taps_below(topology).items() if len(taps) <= _NARROW}
        """Narrow feed → the zones below it, and what it is charged of each."""
        self.narrow_taps = {z: tuple(t for t in taps if t.feed in self.narrow) for z, taps in topology.taps.items()}
        wide = {z: tuple(t for t in taps if t.feed not in self.narrow) for z, taps in topology.taps.items()}
        self.wide = frozenset(tap.feed for taps in wide.values() for tap in taps)
        self.bays: tuple[tuple[Tap, ...], ...] = tuple(dict.fromkeys(wide[zone] for zone in sorted(wide)))
        """The wide feeds above each bay, and what they are charged."""
        number = {taps: bay for bay, taps in enumerate(self.bays)}
        self.bay_of = {zone: number[taps] for zone, taps in wide.items()}
        self.bays_of = {pool: sorted({self.bay_of[zone] for zone in zones}) for pool, zones in self.pools.items()}
        """Pool → the bays in which it has zones."""
        found: dict[str, list[Section]] = {zone: [] for zone in topology.zones}
        for pool, zones in self.pools.items():
            for zone in zones:
                found[zone].append(Section(pool))
                if self.bays[self.bay_of[zone]]:
                    found[zone].append(Section(pool, self.bay_of[zone]))
        self.sections = {zone: tuple(sections) for zone, sections in found.items()}


class Rooms:
    """The room of each zone for claims with `burst_milli` thousandths of burst, and an index of zones by it."""

    def __init__(
        self, plan: FloorPlan, meters: Mapping[str, Meter], classes: Mapping[str, FreeClass], burst_milli: int
    ) -> None:
        self.burst_milli = burst_milli
        self.index = RoomIndex(plan.sections, plan.lanes)
        self._plan = plan
        self._meters = meters
        self._classes = classes
        self._feed_rooms = {feed: meters[feed].room_for(burst_milli) for feed in plan.narrow}
        self._rooms: dict[str, int] = {}
        for zone in plan.lanes:
            self._measure(zone)

    def room_w(self, zone: str) -> int:
        """The most est that one more such claim could have in the zone, wide feeds apart, in W."""
        return self._rooms[zone]

    def refresh(self, zones: Iterable[str], feeds: Iterable[str]) -> None:
        """Take in that the meters or classes of these zones, or these narrow feeds, have changed."""
        changed = set(zones)
        for feed in feeds:
            changed.update(self._touched(feed))
        for zone in changed:
            self._measure(zone)

    def recomputed(self) -> dict[str, int]:
        """Zone → room, from the meters alone."""
        fresh = Rooms(self._plan, self._meters, self._classes, self.burst_milli)
        return fresh._rooms

    def _measure(self, zone: str) -> None:
        room_w = self._meters[zone].room_for(self.burst_milli)
        for tap in self._plan.narrow_taps[zone]:
            by_feed = self._feed_rooms[tap.feed] * tap.denominator // tap.numerator
            room_w = min(room_w, by_feed)
        self._rooms[zone] = room_w
        self.index.put(zone, room_w, self._classes[zone])

    def _touched(self, feed: str) -> Iterator[str]:
        """Zones whose room may differ now that a narrow feed changed: it was, or it becomes, what limits them."""
        before = self._feed_rooms[feed]
        after = self._meters[feed].room_for(self.burst_milli)
        if after == before:
            return
        self._feed_rooms[feed] = after
        least = min(before, after)
        for zone, tap in self._plan.narrow[feed]:
            if least * tap.denominator // tap.numerator <= self._rooms[zone]:
                yield zone


def _taps_below(topology: Topology) -> dict[str, tuple[tuple[str, Tap], ...]]:
    """Feed → the zones that charge it, with their taps."""
    found: dict[str, list[tuple[str, Tap]]] = {}
    for zone, taps in topology.taps.items():
        for tap in taps:
            found.setdefault(tap.feed, []).append((zone, tap))
    return {feed: tuple(zones) for feed, zones in found.items()}
