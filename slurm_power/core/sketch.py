"""Percentiles of watts in little memory: how often a value fell into each of many narrow, growing steps.

Source: a histogram with logarithmic steps knows every quantile with the same relative error (C. Masson, J. E. Rim,
H. K. Lee, DDSketch, VLDB 2019). A step is 1 % wide unless told otherwise: a percentile is off by 0.5 % at most.
"""

from collections.abc import Mapping
from math import ceil, floor, log, sqrt

_STEP = 1.01


class Sketch:
    """Counts of values, each in W and weighed (by seconds, say). A step is `step` times the one before."""

    __slots__ = ("_counts", "_log", "_step", "peak_w", "total")

    def __init__(self, counts: Mapping[int, int] | None = None, peak_w: int = 0, *, step: float = _STEP) -> None:
        self._step, self._log = step, log(step)
        self._counts = dict(counts or {})
        self.total = sum(self._counts.values())
        self.peak_w = peak_w

    def add(self, watts: int, weight: int = 1) -> None:
        """Count a value; what is not above 0 counts as 1 W."""
        step = ceil(log(max(watts, 1)) / self._log)
        self._counts[step] = self._counts.get(step, 0) + weight
        self.total += weight
        self.peak_w = max(self.peak_w, watts)

    def merge(self, other: "Sketch") -> None:
        """Count all that the other, with the same steps, has counted."""
        for step, count in other._counts.items():
            self._counts[step] = self._counts.get(step, 0) + count
        self.total += other.total
        self.peak_w = max(self.peak_w, other.peak_w)

    def over(self, parts: int) -> "Sketch":
        """The same of one of so many equal parts, in W each: never less than that, and a step more at most."""
        shift = floor(log(parts) / self._log)
        counts: dict[int, int] = {}
        for step, count in self._counts.items():
            each = max(step - shift, 0)
            counts[each] = counts.get(each, 0) + count
        return Sketch(counts, -(-self.peak_w // parts), step=self._step)

    def halved(self, peak_w: int) -> "Sketch":
        """Everything counted half, rounded down, under another peak."""
        return Sketch({at: count // 2 for at, count in self._counts.items() if count > 1}, peak_w, step=self._step)

    def percentile(self, percent: int) -> int | None:
        """The value that so many per cent of the weight do not pass, in W; None where nothing was counted."""
        if not self.total:
            return None
        left = -(-self.total * percent // 100)
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return min(round(self._step**step / sqrt(self._step)), self.peak_w)
        return self.peak_w

    def stored(self) -> dict[str, object]:
        """As JSON, with steps of 1 %; `read` is the way back."""
        return {"counts": {str(step): count for step, count in sorted(self._counts.items())}, "peak_w": self.peak_w}

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "Sketch":
        """Out of `stored`. Raises KeyError, TypeError or ValueError for what is none."""
        counts, peak_w = found["counts"], found["peak_w"]
        if not isinstance(counts, Mapping) or not isinstance(peak_w, int):
            raise TypeError("no sketch")
        return cls({int(step): int(count) for step, count in counts.items()}, peak_w)
