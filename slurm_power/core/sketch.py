"""Percentiles of watts in little memory: how often a value fell into each of many narrow, growing steps.

Source: a histogram with logarithmic steps knows every quantile with the same relative error (C. Masson, J. E. Rim,
H. K. Lee, DDSketch, VLDB 2019). Here a step is 1 % wide, so that a percentile is off by 0.5 % at most.
"""

from collections.abc import Mapping
from math import ceil, floor, log, sqrt

_STEP = 1.01
_LOG = log(_STEP)


class Sketch:
    """Counts of values, each in W and weighed (by seconds, say)."""

    __slots__ = ("_counts", "peak_w", "total")

    def __init__(self, counts: Mapping[int, int] | None = None, peak_w: int = 0) -> None:
        self._counts = dict(counts or {})
        self.total = sum(self._counts.values())
        self.peak_w = peak_w

    def add(self, watts: int, weight: int = 1) -> None:
        """Count a value; what is not above 0 counts as 1 W."""
        step = ceil(log(max(watts, 1)) / _LOG)
        self._counts[step] = self._counts.get(step, 0) + weight
        self.total += weight
        self.peak_w = max(self.peak_w, watts)

    def merge(self, other: "Sketch") -> None:
        """Count all that the other has counted."""
        for step, count in other._counts.items():
            self._counts[step] = self._counts.get(step, 0) + count
        self.total += other.total
        self.peak_w = max(self.peak_w, other.peak_w)

    def over(self, parts: int) -> "Sketch":
        """The same of one of so many equal parts, in W each: never less than that, and 1 % more at most."""
        shift = floor(log(parts) / _LOG)
        counts: dict[int, int] = {}
        for step, count in self._counts.items():
            each = max(step - shift, 0)
            counts[each] = counts.get(each, 0) + count
        return Sketch(counts, -(-self.peak_w // parts))

    def halved(self, peak_w: int) -> "Sketch":
        """Everything counted half, rounded down, under another peak."""
        return Sketch({step: count // 2 for step, count in self._counts.items() if count > 1}, peak_w)

    def percentile(self, percent: int) -> int | None:
        """The value that so many per cent of the weight do not pass, in W; None where nothing was counted."""
        if not self.total:
            return None
        left = -(-self.total * percent // 100)
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return min(round(_STEP**step / sqrt(_STEP)), self.peak_w)
        return self.peak_w

    def stored(self) -> dict[str, object]:
        """As JSON; `read` is the way back."""
        return {"counts": {str(step): count for step, count in sorted(self._counts.items())}, "peak_w": self.peak_w}

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "Sketch":
        """Out of `stored`. Raises KeyError, TypeError or ValueError for what is none."""
        counts, peak_w = found["counts"], found["peak_w"]
        if not isinstance(counts, Mapping) or not isinstance(peak_w, int):
            raise TypeError("no sketch")
        return cls({int(step): int(count) for step, count in counts.items()}, peak_w)
