"""An index of zones by room, so that best fit does not look at every zone.

Zones are filed in drawers: by section (all zones of a partition, or those of them under the same wide feeds), lane, and
how much of their nodes is free. Within a drawer they lie in order of room; keys are single integers, room × n + rank,
so that a binary search in a plain list is all it takes and ties fall by name.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from typing import NamedTuple

from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import FreeClass
from slurm_power.core.topology import Lane

_UNOPENED = -(1 << 100)
"""Less than any key: in a heap, a drawer whose zones of largest room have not been looked up yet."""


class Section(NamedTuple):
    """A set of zones to choose from: a partition's, or with `bay` those of them under the same wide feeds."""

    pool: str
    bay: int | None = None


class _Drawer(NamedTuple):
    section: Section
    lane: Lane
    free: FreeClass


@immutable
class Search:
    """Which drawers to open: those of some sections and lanes, with at least so much free."""

    sections: Sequence[Section]
    lanes: tuple[Lane, ...]
    free: FreeClass


class RoomIndex:
    """Zones by room. `put` files a zone anew; the searches yield zone names.

    `sections` says for each zone in which sections it is filed, `lanes` its lane.
    """

    def __init__(self, sections: Mapping[str, tuple[Section, ...]], lanes: Mapping[str, Lane]) -> None:
        self._names = sorted(lanes)
        self._rank = {name: rank for rank, name in enumerate(self._names)}
        self._base = len(self._names) + 1
        self._lanes = lanes
        self._sections = sections
        self._drawers: dict[_Drawer, list[int]] = {}
        self._of_section: dict[Section, list[tuple[Lane, FreeClass, list[int]]]] = {}
        self._where: dict[str, tuple[int, FreeClass]] = {}

    def put(self, zone: str, room_w: int, free: FreeClass) -> None:
        """File a zone under its present room, in W, and class."""
        key = room_w * self._base + self._rank[zone]
        before = self._where.get(zone)
        if before == (key, free):
            return
        self._where[zone] = (key, free)
        lane = self._lanes[zone]
        for section in self._sections[zone]:
            if before is not None:
                keys = self._drawers[_Drawer(section, lane, before[1])]
                del keys[bisect_left(keys, before[0])]
            insort(self._drawer(_Drawer(section, lane, free)), key)

    def fill(self, zones: Mapping[str, tuple[int, FreeClass]]) -> None:
        """File many zones that are not filed yet, zone → room in W and class; much faster than one by one."""
        drawers: list[list[int]] = []
        before: tuple[object, ...] = ()
        for key in sorted([room_w * self._base + self._rank[zone] for zone, (room_w, _) in zones.items()]):
            zone = self._names[key % self._base]
            kind = sections, lane, free = self._sections[zone], self._lanes[zone], zones[zone][1]
            self._where[zone] = (key, free)
            if kind != before:  # zones of much the same room are mostly of one kind
                drawers, before = [self._drawer(_Drawer(section, lane, free)) for section in sections], kind
            for keys in drawers:
                keys.append(key)

    def filed(self) -> dict[str, tuple[int, FreeClass]]:
        """Zone → room and class under which it is filed; each is in its drawers and in no other."""
        found: dict[str, tuple[int, FreeClass]] = {}
        for drawer, keys in self._drawers.items():
            if keys != sorted(set(keys)):
                raise ValueError(f"drawer {drawer} is out of order")
            for key in keys:
                zone, room_w = self._name(key)
                if self._where[zone] != (key, drawer.free) or drawer.section not in self._sections[zone]:
                    raise ValueError(f"zone {zone} lies in drawer {drawer} by mistake")
                found[zone] = (room_w, drawer.free)
        return found

    def tightest_first(self, search: Search, need_w: int) -> Iterator[tuple[str, int]]:
        """(zone, room) with room ≥ `need_w`, the smallest room first."""
        least = need_w * self._base
        heap = []
        for keys in self._open(search):
            if keys and keys[-1] >= least:
                at = bisect_left(keys, least)
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
        least = need_w * self._base
        heap = [
            (-(keys[-1] // self._base), _UNOPENED, -1, 0, len(keys), keys)
            for keys in self._open(search)
            if keys and keys[-1] >= least
        ]
        heapify(heap)
        while heap:
            negative_room, key, at, low, high, keys = heap[0]
            if -negative_room < need_w:
                return
            if at < 0:
                heapreplace(heap, self._level(keys, high))
                continue
            yield self._name(key)
            if at + 1 < high:
                heapreplace(heap, (negative_room, keys[at + 1], at + 1, low, high, keys))
            elif low:
                heapreplace(heap, (-(keys[low - 1] // self._base), _UNOPENED, -1, 0, low, keys))
            else:
                heappop(heap)

    def _level(self, keys: list[int], high: int) -> tuple[int, int, int, int, int, list[int]]:
        """The zones of equal room that end at `high`: where they begin, ready for the heap."""
        room = keys[high - 1] // self._base
        low = bisect_left(keys, room * self._base)
        return -room, keys[low], low, low, high, keys

    def _open(self, search: Search) -> Iterator[list[int]]:
        for section in search.sections:
            for lane, free, keys in self._of_section.get(section, ()):
                if lane in search.lanes and free.covers(search.free):
                    yield keys

    def _name(self, key: int) -> tuple[str, int]:
        room, rank = divmod(key, self._base)
        return self._names[rank], room

    def _drawer(self, drawer: _Drawer) -> list[int]:
        keys = self._drawers.get(drawer)
        if keys is None:
            keys = self._drawers[drawer] = []
            self._of_section.setdefault(drawer.section, []).append((drawer.lane, drawer.free, keys))
        return keys
