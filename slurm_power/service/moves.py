"""Which zones are crowded, since when, and how much was moved out of such lately."""

from collections.abc import Collection

_HOUR_S = 3_600


class Moves:
    """State of a desk; holds no rule."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._moved: list[int] = []

    def note(self, crowded: Collection[str], moment: float) -> None:
        """These zones are crowded now, and no others."""
        self._since = {zone: self._since.get(zone, moment) for zone in sorted(crowded)}

    def lasting(self, dwell_s: int, moment: float) -> list[str]:
        """Those that have been for so long, by name."""
        return [zone for zone, since in self._since.items() if moment - since >= dwell_s]

    def wait(self, zone: str, moment: float) -> None:
        """Somebody leaves it: whether it is crowded without him has to be seen first."""
        self._since[zone] = moment

    def __contains__(self, zone: str) -> bool:
        """Whether it is crowded, for however long."""
        return zone in self._since

    def moved(self, at: int) -> None:
        """A job was moved."""
        self._moved.append(at)

    def left(self, most: int, now: int) -> int:
        """How many more may be within this hour, of `most`."""
        self._moved = [min(at, now) for at in self._moved if at > now - _HOUR_S]
        return most - len(self._moved)
