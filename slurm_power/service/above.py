"""Runs that draw more than the max that they declared: noted, told, charged, and evicted where the site says so."""

from collections.abc import Container

from slurm_power.core.immutable import immutable

TOLERATED_PERCENT = 2
"""So much more is a matter of the sensor."""
LASTING_S = 60
"""So long it has to last."""


@immutable
class Above:
    """A run that draws more than its max."""

    since: float
    """When it was first measured to draw so much, and …"""
    at: float
    """… when last, without a break."""
    watts: int
    max_w: int


class AboveMax:
    """Such runs, by the key of their claim."""

    def __init__(self) -> None:
        self._runs: dict[str, Above] = {}
        self._told: set[str] = set()

    def look(self, key: str, watts: int, max_w: int, at: float) -> Above | None:
        """It drew so much when it was measured last, at `at`; what there is to say of it, if that has lasted."""
        if watts * 100 <= max_w * (100 + TOLERATED_PERCENT):
            self._runs.pop(key, None)
            self._told.discard(key)
            return None
        since = self._runs[key].since if key in self._runs else at
        self._runs[key] = Above(since, at, watts, max_w)
        return self.lasting(key)

    def lasting(self, key: str) -> Above | None:
        """The run of that key, if it has drawn more than its max for a while, from one reading to another."""
        one = self._runs.get(key)
        return one if one is not None and one.at - one.since >= LASTING_S else None

    def all_lasting(self) -> list[str]:
        """The keys of all such runs, in order."""
        return sorted(key for key in self._runs if self.lasting(key) is not None)

    def untold(self, key: str) -> bool:
        """Whether nobody has been told of it yet; from here on somebody has."""
        new = key not in self._told
        self._told.add(key)
        return new

    def keep(self, keys: Container[str]) -> None:
        """Forget all others: those runs are over, or nothing is known of them."""
        self._runs = {key: one for key, one in self._runs.items() if key in keys}
        self._told &= self._runs.keys()
