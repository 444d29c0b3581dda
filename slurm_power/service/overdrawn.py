"""Zones and feeds that draw more than their limit, as measured, and how much of it is yet to be shed."""

from collections.abc import Iterable, Mapping

from slurm_power.core.immutable import immutable

_HOUR_S = 3_600


@immutable
class Breach:
    """So many W more are drawn than may be; `emergency`: than can be, and a breaker is about to trip."""

    over_w: int
    emergency: bool = False


class Overdrawn:
    """The breaches of now, less what those who have just been told to go will give back.

    Readings follow slowly: for a while after a choice its victims' watts count as gone. If more comes on top meanwhile,
    others have to go for that at once.
    """

    def __init__(self) -> None:
        self.breaches: Mapping[str, Breach] = {}
        self._given: dict[str, list[tuple[int, int]]] = {}
        """Element → (until when it counts, W)."""
        self._not_before: dict[str, int] = {}
        self._told: set[str] = set()

    def __contains__(self, element: str) -> bool:
        """Whether it draws too much."""
        return element in self.breaches

    def find(self, breaches: Mapping[str, Breach]) -> bool:
        """These are over now, and no others. Whether one is new, or more than it was."""
        before, self.breaches = self.breaches, breaches
        self._told &= breaches.keys()
        self._not_before = {name: until for name, until in self._not_before.items() if name in breaches}
        return any(
            name not in before or one.over_w > before[name].over_w or one.emergency > before[name].emergency
            for name, one in breaches.items()
        )

    def due(self, now: int) -> dict[str, int]:
        """Element → W for which victims are to be looked for now."""
        found = {}
        for name, breach in self.breaches.items():
            left_w = breach.over_w - self._still_given(name, now)
            if left_w > 0 and self._not_before.get(name, 0) <= now:
                found[name] = left_w
        return found

    def gives(self, loads: Mapping[str, int], until: int) -> None:
        """Somebody goes who gives back so much on each element."""
        for name, watts in loads.items():
            self._given.setdefault(name, []).append((until, watts))

    def put_off(self, elements: Iterable[str], until: int) -> None:
        """No victims are looked for before this instant."""
        self._not_before.update(dict.fromkeys(elements, until))

    def emergencies(self) -> set[str]:
        """The elements whose breaker is about to trip."""
        return {name for name, breach in self.breaches.items() if breach.emergency}

    def untold(self, elements: Iterable[str]) -> list[str]:
        """Those of whom nobody has been told yet that too few may be preempted; from here on somebody has."""
        found = sorted(set(elements) - self._told)
        self._told.update(found)
        return found

    def not_later_than(self, now: int) -> None:
        """The clock has been set back: nothing is put off."""
        self._not_before.clear()
        for name, given in self._given.items():
            self._given[name] = [(min(until, now + _HOUR_S), watts) for until, watts in given]

    def _still_given(self, name: str, now: int) -> int:
        left = [one for one in self._given.get(name, ()) if one[0] > now]
        if left:
            self._given[name] = left
        else:
            self._given.pop(name, None)
        return sum(watts for _, watts in left)
