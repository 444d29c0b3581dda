"""An index of zones by room, so that best fit does not look at every zone.

Zones are filed in drawers: by pool (partition), lane and how many whole nodes are free. Within a drawer they lie in
order of room; keys are single integers, room × n + rank, so that a binary search in a plain list is all it takes and
ties fall by name.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace

from slurm_power.core.topology import Lane, Topology

Drawer = tuple[str, Lane, int]
"""(pool, lane, free class)"""


@dataclass(frozen=True, slots=True)
class Search:
    """Which drawers to open: those of a pool and lanes, with at least a free class."""

    pool: str
    lanes: tuple[Lane, ...]
    free_class: int


class RoomIndex:
    """Zones by room. `put` files a zone anew; the searches yield zone names."""

    def __init__(self, topology: Topology, pools: Mapping[str, Iterable[str]]) -> None:
        self.pools = {pool: tuple(sorted(zones)) for pool, zones in pools.items()}
        self._names = sorted(topology.zones)
        self._rank = {name: rank for rank, name in enumerate(self._names)}
        self._base = len(self._names) + 1
        self._lanes = {name: zone.lane for name, zone in topology.zones.items()}
        self._pools_of: dict[str, list[str]] = {name: [] for name in self._names}
        for pool, zones in self.pools.items():
            for zone in zones:
                self._pools_of[zone].append(pool)
        self._drawers: dict[Drawer, list[int]] = {}
        self._by_pool: dict[str, list[Drawer]] = {pool: [] for pool in self.pools}
        self._where: dict[str, tuple[int, int]] = {}

    def put(self, zone: str, room_w: int, free_class: int) -> None:
        """File a zone under its present room, in W, and free class."""
        key = room_w * self._base + self._rank[zone]
        before = self._where.get(zone)
        if before == (key, free_class):
            return
        self._where[zone] = (key, free_class)
        lane = self._lanes[zone]
        for pool in self._pools_of[zone]:
            if before is not None:
                keys = self._drawers[pool, lane, before[1]]
                del keys[bisect_left(keys, before[0])]
            insort(self._drawer((pool, lane, free_class)), key)

    def tightest_first(self, search: Search, need_w: int) -> Iterator[tuple[str, int]]:
        """(zone, room) with room ≥ `need_w`, the smallest room first."""
        heap = []
        for keys in self._open(search):
            at = bisect_left(keys, need_w * self._base)
            if at < len(keys):
                heap.append((keys[at], at, keys))
        heapify(heap)
        while heap:
            key, at, keys = heap[0]
            yield self._name(key)
            if at + 1 < len(keys):
                heapreplace(heap, (keys[at + 1], at + 1, keys))
            else:
                heappop(heap)

    def roomiest_first(self, search: Search, need_w: int) -> Iterator[tuple[str, int]]:
        """(zone, room) with room ≥ `need_w`, the largest room first, equal rooms by name."""
        heap = [self._level(keys, len(keys)) for keys in self._open(search) if keys]
        heapify(heap)
        while heap:
            negative_room, key, at, low, high, keys = heap[0]
            if -negative_room < need_w:
                return
            yield self._name(key)
            if at + 1 < high:
                heapreplace(heap, (negative_room, keys[at + 1], at + 1, low, high, keys))
            elif low:
                heapreplace(heap, self._level(keys, low))
            else:
                heappop(heap)

    def _level(self, keys: list[int], high: int) -> tuple[int, int, int, int, int, list[int]]:
        """The zones of equal room that end at `high`: where they begin, ready for the heap."""
        room = keys[high - 1] // self._base
        low = bisect_left(keys, room * self._base)
        return -room, keys[low], low, low, high, keys

    def _open(self, search: Search) -> Iterator[list[int]]:
        for drawer in self._by_pool[search.pool]:
            if drawer[2] >= search.free_class and drawer[1] in search.lanes:
                yield self._drawers[drawer]

    def _name(self, key: int) -> tuple[str, int]:
        room, rank = divmod(key, self._base)
        return self._names[rank], room

    def _drawer(self, drawer: Drawer) -> list[int]:
        keys = self._drawers.get(drawer)
        if keys is None:
            keys = self._drawers[drawer] = []
            self._by_pool[drawer[0]].append(drawer)
        return keys
