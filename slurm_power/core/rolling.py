"""Percentiles of watts over the last twelve to twenty-four hours, for thousands of sensors."""

from slurm_power.core.sketch import Sketch

_HALF_S = 43_200
_STEP = 1.05
"""A percentile is off by 2.5 % at most, and a sensor takes a few kB."""


class Rolling:
    """Two sketches, one of this half of the day and one of that before; older ones are dropped."""

    __slots__ = ("_before", "_current", "_since")

    def __init__(self, now: int) -> None:
        self._before, self._current = Sketch(step=_STEP), Sketch(step=_STEP)
        self._since = now

    def add(self, watts: int, seconds: int, now: int) -> None:
        """So much was drawn for so long."""
        if now - self._since >= _HALF_S:
            gap = now - self._since >= 2 * _HALF_S
            self._before = Sketch(step=_STEP) if gap else self._current
            self._current, self._since = Sketch(step=_STEP), now
        self._since = min(self._since, now)  # the clock may have been set back
        self._current.add(watts, seconds)

    def whole(self) -> Sketch:
        """Both together."""
        both = Sketch(step=_STEP)
        both.merge(self._before)
        both.merge(self._current)
        return both
