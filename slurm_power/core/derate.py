"""Derates: what a zone or feed may carry is cut for a while, from now on or from an instant to come.

Where several hold at once, the least counts. None lets an element carry more than is declared.
"""

from collections.abc import Iterable
from fractions import Fraction
from heapq import heappop, heappush
from itertools import pairwise
from math import floor
from typing import NamedTuple

from slurm_power.core.immutable import immutable
from slurm_power.core.window import FOREVER, Window

WHOLE = Fraction(100)
HEAT, BREAKER = "temperature", "breaker"
"""The sources of derates that follow sensors."""


@immutable
class Derate:
    """A cut of one element over a window: to `limit_w`, or by `percent` of what is declared; one of both is set."""

    id: str
    element: str
    window: Window
    reason: str
    created: int
    uid: int | None
    """Who has ordered it; None: the facility, by the source that is named."""
    limit_w: int | None = None
    percent: Fraction | None = None
    source: str = ""
    """The path or URL of the facility's signal, `temperature` or `breaker`; empty where it was ordered by hand."""

    def __post_init__(self) -> None:
        if (self.limit_w is None) == (self.percent is None):
            raise ValueError("a derate has either a limit or a percentage")

    def allowed_w(self, declared_w: int) -> int:
        """What an element that may carry `declared_w` may carry under it, in W, rounded down."""
        if self.limit_w is not None:
            return min(self.limit_w, declared_w)
        return floor(declared_w * (1 - (self.percent or 0) / WHOLE))


class Planned(NamedTuple):
    """What an element may carry over a window to come, in W."""

    window: Window
    limit_w: int


def limit_at(declared_w: int, derates: Iterable[Derate], instant: int) -> int:
    """What an element may carry at an instant, in W; all of `derates` are its own."""
    return min((one.allowed_w(declared_w) for one in derates if instant in one.window), default=declared_w)


def limits_ahead(declared_w: int, derates: Iterable[Derate], now: int, limit_w: int) -> list[Planned]:
    """What an element, which may carry `limit_w` now, may carry when that is more or less, in order of time."""
    ahead = sorted((one for one in derates if one.window.end > now), key=lambda one: one.window.start)
    edges = {edge for one in ahead for edge in (one.window.start, one.window.end) if now < edge <= FOREVER}
    found: list[Planned] = []
    holding: list[tuple[int, int]] = []
    """(what one allows, when it ends) of those that have begun, the least first."""
    begun = 0
    for start, end in pairwise(sorted({*edges, FOREVER})):
        while begun < len(ahead) and ahead[begun].window.start <= start:
            heappush(holding, (ahead[begun].allowed_w(declared_w), ahead[begun].window.end))
            begun += 1
        while holding and holding[0][1] <= start:
            heappop(holding)
        then_w = holding[0][0] if holding else declared_w
        goes_on = bool(found) and (found[-1].limit_w, found[-1].window.end) == (then_w, start)
        if then_w != limit_w:
            since = found.pop().window.start if goes_on else start
            found.append(Planned(Window(since, end), then_w))
    return found
