"""The rooms of all zones, brought up to date when they are asked for.

A zone's room is what its own meter and the narrow feeds above it leave. Wide feeds (a UPS above hundreds of racks)
change with every claim; they are not part of rooms but asked when a zone is chosen. Zones under the same wide feeds
form a bay, so that one full feed takes all of them out of the search at once.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from slurm_power.core.meter import Meter
from slurm_power.core.nodes import FreeClass
from slurm_power.core.rooms import RoomIndex, Section
from slurm_power.core.topology import Tap, Topology

_NARROW = 64
"""A feed of at most this many zones is part of those zones' room; a wider one makes bays."""

BURSTS_MILLI = (1_000, 500, 300, 200, 100, 0)
"""For claims whose burst is at least so many thousandths of their est there are rooms of their own."""

_AT_ONCE = 16
"""Zones or feeds that are measured between two yields."""


class FloorPlan:
    """What a topology and its pools say of every zone, once and for all."""

    def __init__(self, topology: Topology, pools: Mapping[str, Iterable[str]]) -> None:
        self.pools = {pool: tuple(sorted(zones)) for pool, zones in pools.items()}
        self.lanes = {name: zone.lane for name, zone in topology.zones.items()}
        self.lanes_of = {pool: frozenset(self.lanes[zone] for zone in zones) for pool, zones in self.pools.items()}
        """Pool → the lanes in which it has zones."""
        self.narrow = {feed: taps for feed, taps in _taps_below(topology).items() if len(taps) <= _NARROW}
        """Narrow feed → the zones below it, and what it is charged of each."""
        self.narrow_taps = {z: tuple(t for t in taps if t.feed in self.narrow) for z, taps in topology.taps.items()}
        self.wide = _widest_first(topology, self.narrow)
        """The shares that wide feeds are charged; what carries most zones comes first."""
        number = {tap: place for place, tap in enumerate(self.wide)}
        self.wide_feeds = frozenset(tap.feed for tap in self.wide)
        above = {z: tuple(sorted(number[t] for t in taps if t in number)) for z, taps in topology.taps.items()}
        self.bays: tuple[tuple[int, ...], ...] = tuple(dict.fromkeys(above[zone] for zone in sorted(above)))
        """For each bay the places in `wide` of what its zones charge."""
        bay = {places: index for index, places in enumerate(self.bays)}
        self.bay_of = {zone: bay[places] for zone, places in above.items()}
        self.bays_of = {pool: sorted({self.bay_of[zone] for zone in zones}) for pool, zones in self.pools.items()}
        """Pool → the bays in which it has zones."""
        found: dict[str, list[Section]] = {zone: [] for zone in topology.zones}
        for pool, zones in self.pools.items():
            for zone in zones:
                found[zone].append(Section(pool))
                if self.wide:
                    found[zone].append(Section(pool, self.bay_of[zone]))
        shared: dict[tuple[Section, ...], tuple[Section, ...]] = {}
        self.sections = {zone: shared.setdefault(tuple(all_), tuple(all_)) for zone, all_ in found.items()}


class Rooms:
    """The room of each zone for claims with `burst_milli` thousandths of burst, and an index of zones by it.

    A change of a meter only marks what it may change (`expire`); `settle` measures that anew before rooms are looked
    up. A submission so pays for the one kind of rooms that it needs, and many changes of a zone are measured once. To
    settle moves zones in the index: not while somebody goes through it.
    """

    def __init__(
        self, plan: FloorPlan, meters: Mapping[str, Meter], classes: Mapping[str, FreeClass], burst_milli: int
    ) -> None:
        self.burst_milli = burst_milli
        self.index = RoomIndex(plan.sections, plan.lanes)
        self._plan = plan
        self._meters = meters
        self._classes = classes
        z_milli = next(iter(meters.values())).rule.z_milli if meters else 0
        # Of a split load, est and max are rounded up apart, so that up to (1 + r) W of burst get lost.
        self._rounding_w = -(-max(z_milli, 1_000) * (1_000 + burst_milli) // 1_000_000) if burst_milli else 0
        self._feed_rooms = {feed: meters[feed].room_for(burst_milli) for feed in plan.narrow}
        self._most = dict.fromkeys(plan.narrow, 0)
        """The most room that a zone below a feed has ever had by itself: a feed with as much room limits none."""
        self._rooms = {zone: self._room_now(zone) for zone in plan.lanes}
        self.index.fill({zone: (room_w, classes[zone]) for zone, room_w in self._rooms.items()})
        # Not sets: one that was large once has pop() search all its empty places ever after.
        self._stale_zones: dict[str, None] = {}
        self._stale_feeds: dict[str, None] = {}

    def room_w(self, zone: str) -> int:
        """The most est that one more such claim could have in the zone, wide feeds apart, in W."""
        return self._rooms[zone]

    def expire(self, zones: Mapping[str, None], feeds: Mapping[str, None]) -> None:
        """Remember that the meters or classes of these zones, or these narrow feeds, have changed."""
        self._stale_zones.update(zones)
        self._stale_feeds.update(feeds)

    def settle(self) -> None:
        """Take in all that has changed."""
        if self._stale_zones or self._stale_feeds:
            for _ in self.settling():
                pass

    def settling(self) -> Iterator[None]:
        """The same, step by step; between two steps more may change, and somebody else may settle it."""
        for number in count(1):
            if self._stale_feeds:
                feed, _ = self._stale_feeds.popitem()
                self._stale_zones.update(dict.fromkeys(self._touched(feed)))
            elif self._stale_zones:
                zone, _ = self._stale_zones.popitem()
                self._measure(zone)
            else:
                return
            if number % _AT_ONCE == 0:
                yield

    def recomputed(self) -> dict[str, int]:
        """Zone → room, from the meters alone."""
        fresh = Rooms(self._plan, self._meters, self._classes, self.burst_milli)
        return fresh._rooms

    def _measure(self, zone: str) -> None:
        room_w = self._rooms[zone] = self._room_now(zone)
        self.index.put(zone, room_w, self._classes[zone])

    def _room_now(self, zone: str) -> int:
        room_w = own_w = self._meters[zone].room_for(self.burst_milli)
        # Without min and max: a start measures every zone for every kind of burst.
        for tap in self._plan.narrow_taps[zone]:
            feed_room_w, most_w = self._feed_rooms[tap.feed], self._most[tap.feed]
            self._most[tap.feed] = own_w if own_w > most_w else most_w
            if tap.numerator != tap.denominator:
                feed_room_w = self._through(tap, feed_room_w)
            room_w = feed_room_w if feed_room_w < room_w else room_w
        return room_w

    def _touched(self, feed: str) -> Iterator[str]:
        """Zones whose room may differ now that a narrow feed changed: it was, or it becomes, what limits them."""
        before = self._feed_rooms[feed]
        after = self._meters[feed].room_for(self.burst_milli)
        if after == before:
            return
        self._feed_rooms[feed] = after
        least = min(before, after)
        if least >= self._most[feed]:
            return
        for zone, tap in self._plan.narrow[feed]:
            if self._through(tap, least) <= self._rooms[zone]:
                yield zone

    def _through(self, tap: Tap, feed_room_w: int) -> int:
        """The room that a feed leaves a zone below it."""
        if tap.numerator == tap.denominator:
            return feed_room_w
        return (feed_room_w + self._rounding_w) * tap.denominator // tap.numerator


def _widest_first(topology: Topology, narrow: Mapping[str, object]) -> tuple[Tap, ...]:
    zones: dict[Tap, int] = {}
    for taps in topology.taps.values():
        for tap in taps:
            if tap.feed not in narrow:
                zones[tap] = zones.get(tap, 0) + 1
    return tuple(sorted(zones, key=lambda tap: (-zones[tap], tap.feed, tap.numerator, tap.denominator)))


def _taps_below(topology: Topology) -> dict[str, tuple[tuple[str, Tap], ...]]:
    """Feed → the zones that charge it, with their taps."""
    found: dict[str, list[tuple[str, Tap]]] = {}
    for zone, taps in topology.taps.items():
        for tap in taps:
            found.setdefault(tap.feed, []).append((zone, tap))
    return {feed: tuple(zones) for feed, zones in found.items()}
