"""How often values fell into which range, counted up since the start."""

from bisect import bisect_left
from collections.abc import Sequence

from slurm_power.core.immutable import immutable


@immutable
class Distribution:
    """A histogram as it was at an instant."""

    bounds: tuple[float, ...]
    """The upper bounds of its ranges, each included; above the last comes one more range without a bound."""
    counts: tuple[int, ...]
    """How often a value fell into each range alone, one more than there are bounds."""
    total: float
    """Σ of the values."""


class Histogram:
    """Counts values. `bounds` rise."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def read(self) -> Distribution:
        """As it is now."""
        return Distribution(self._bounds, tuple(self._counts), self._total)
