"""Zones and feeds that draw more than their limit, as measured, and how much of it is yet to be shed."""

from collections.abc import Container, Mapping

from slurm_power.core.immutable import immutable
from slurm_power.service.patience import Patience


@immutable
class Breach:
    """So many W more are drawn than may be; `emergency`: than can be, and a breaker is about to trip."""

    over_w: int
    emergency: bool = False


@immutable
class _Given:
    """What somebody who goes gives back, in W by element: from when he goes, and for how long that is believed."""

    loads: Mapping[str, int]
    goes_at: int
    until: int


class Overdrawn:
    """The breaches of now, less what those who have just been told to go will give back.

    Readings follow slowly: for a while after a choice its victims' watts count as gone. If more comes on top meanwhile,
    others have to go for that at once.
    """

    def __init__(self) -> None:
        self.breaches: Mapping[str, Breach] = {}
        self._silent: dict[str, Breach] = {}
        """Elements that were over when they were last heard of."""
        self._given: dict[str, list[_Given]] = {}
        """Preemption → what each of its victims gives back."""
        self.patience = Patience()

    def __contains__(self, element: str) -> bool:
        """Whether it draws too much, or did when it was last heard of: silence calls nobody off."""
        return element in self.breaches or element in self._silent

    def over_w(self, element: str) -> int:
        """By how much, in W."""
        breach = self.breaches.get(element) or self._silent.get(element)
        return breach.over_w if breach is not None else 0

    def find(self, breaches: Mapping[str, Breach], blind: Container[str] = (), now: int = 0) -> None:
        """These are over now, and no others; of those who are blind what was known last is."""
        known = {**self._silent, **self.breaches}
        self._silent = {name: one for name, one in known.items() if name in blind and name not in breaches}
        self.breaches = breaches
        self.patience.forget_all_but(breaches)
        for name, given in list(self._given.items()):
            self._given[name] = [one for one in given if one.until > now]
            if not self._given[name]:
                del self._given[name]

    def due(self, now: int) -> dict[str, int]:
        """Element → W for which victims are to be looked for now."""
        found = {}
        for name, breach in self.breaches.items():
            left_w = breach.over_w - self._still_given(name, now, gone=breach.emergency)
            if left_w > 0 and not self.patience.waits(name, now):
                found[name] = left_w
        return found

    def gives(self, preemption: str, loads: Mapping[str, int], goes_at: int, until: int) -> None:
        """A victim of a preemption gives back so much on each element."""
        self._given.setdefault(preemption, []).append(_Given(loads, goes_at, until))

    def called_off(self, preemption: str) -> None:
        """Its victims stay."""
        self._given.pop(preemption, None)

    def emergencies(self) -> set[str]:
        """The elements whose breaker is about to trip."""
        return {name for name, breach in self.breaches.items() if breach.emergency}

    def forget(self) -> None:
        """The clock has been set back: nothing is put off, and nothing counts as given."""
        self.patience.hurry()
        self._given.clear()

    def _still_given(self, name: str, now: int, *, gone: bool) -> int:
        """In an emergency only those count who have gone: who has notice helps nobody then."""
        given = (one for all_ in self._given.values() for one in all_ if one.until > now)
        return sum(one.loads.get(name, 0) for one in given if not gone or one.goes_at <= now)
