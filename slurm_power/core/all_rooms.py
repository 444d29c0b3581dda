"""The rooms of all burst classes over one floor."""

from collections.abc import Iterable, Iterator, Mapping

from slurm_power.core.capacity import BURSTS_MILLI, FloorPlan, Rooms
from slurm_power.core.meter import Meter
from slurm_power.core.nodes import FreeClass


class AllRooms:
    """Rooms by burst class: made when they are first asked for, and up to date whenever they are looked at.

    `classes` are the zones' free nodes, which the ledger keeps.
    """

    def __init__(self, plan: FloorPlan, meters: Mapping[str, Meter], classes: dict[str, FreeClass]) -> None:
        self._plan = plan
        self._meters = meters
        self._classes = classes
        self._rooms: dict[int, Rooms] = {}
        self._changed_zones: dict[str, None] = {}
        self._changed_feeds: dict[str, None] = {}
        """What rooms have not been told of yet: they are many kinds, and asked for less often than claims change."""

    def of(self, milli: int) -> Rooms:
        """The rooms for claims whose burst is so many thousandths of their est, one of `BURSTS_MILLI`."""
        rooms = self._rooms.get(milli)
        if rooms is None:
            rooms = self._rooms[milli] = Rooms(self._plan, self._meters, self._classes, milli)
        self.settle(rooms)
        return rooms

    def make(self) -> Iterator[None]:
        """Make all kinds, or bring them up to date, in steps."""
        self._tell()
        for milli in BURSTS_MILLI:
            if milli in self._rooms:
                yield from self._rooms[milli].settling()
            else:
                self.of(milli)
                yield

    def settle(self, rooms: Rooms) -> None:
        """Bring rooms of ours up to date."""
        self._tell()
        rooms.settle()

    def expire(self, zones: Iterable[str], feeds: Iterable[str]) -> None:
        """Have rooms measured anew because of these zones and narrow feeds."""
        self._changed_zones.update(dict.fromkeys(zones))
        self._changed_feeds.update(dict.fromkeys(feeds))

    def faults(self) -> Iterator[str]:
        """Where a room that is filed is not what a fresh count says."""
        for milli in self._rooms:
            rooms = self.of(milli)
            filed = rooms.index.filed()
            for zone, room_w in rooms.recomputed().items():
                if rooms.room_w(zone) != room_w or filed.get(zone) != (room_w, self._classes[zone]):
                    yield f"{zone}: filed as {filed.get(zone)}, but its room is {room_w}"

    def _tell(self) -> None:
        if self._changed_zones or self._changed_feeds:
            for rooms in self._rooms.values():
                rooms.expire(self._changed_zones, self._changed_feeds)
            self._changed_zones, self._changed_feeds = {}, {}
