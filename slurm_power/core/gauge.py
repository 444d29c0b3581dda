"""What one source says of the draw of one element: readings judged, smoothed over a window, and known to age.

A reading that is unfit is left out, so that an element of which nothing fit comes grows stale. None ever counts as
zero watts: a rack that is on draws something.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from math import ceil, isfinite

from slurm_power.core.immutable import immutable
from slurm_power.core.units import format_watts

AHEAD_S = 5
"""So much a source's clock may be ahead of its own readings; more, and no time that it tells is believed."""
SAME_S = 0.5
"""Two readings from within so short a time are one that was told twice."""
_LATE = 1.5
"""Beats after which a part is late beside others."""
_MOVED = 10
"""Work of a tenth of the draw that came or went has to be seen by a sensor."""


@immutable
class Bounds:
    """What is believed of one element, in W; and the est of what has been running there for a while."""

    least_w: int
    most_w: int
    expected_w: int = 0
    most_expected_w: int = 0
    """The same with those that have only just started."""
    part: bool = False
    """Whether it may carry nothing: one inlet of several does while others carry all, and a node that is off."""

    @property
    def highest_w(self) -> int:
        """The most that what runs there is reckoned with."""
        return max(self.expected_w, self.most_expected_w)


@immutable
class Draw:
    """What an element draws, in W."""

    smooth_w: int
    """The mean over the window."""
    latest_w: int
    mean_w: int
    """The mean that proves something: 0 where it is of one reading alone, which may be a spike."""
    twice_w: int
    """The least of the last two readings in a row; 0 where there is one alone."""
    at: float
    """When the latest was measured."""
    beat_s: float = field(default=0, compare=False)
    """How often it is measured."""
    whole: bool = field(default=True, compare=False)
    """Whether that is all of it. Else a part of it is silent, and at least so much is drawn."""
    late: bool = field(default=False, compare=False)
    """Whether a part of it has missed a beat. That part is in smooth and latest as it was, and proves nothing:
    another may carry its load by now.
    """

    @property
    def high_w(self) -> int:
        """What it draws at the most by this, for whoever is to be admitted."""
        return max(self.smooth_w, self.latest_w)

    @property
    def proven_w(self) -> int:
        """What it draws for sure, by the mean of the window or by each of two readings in a row."""
        return max(self.mean_w, self.twice_w)

    def __add__(self, other: "Draw") -> "Draw":
        """Of two parts together."""
        return Draw(
            self.smooth_w + other.smooth_w,
            self.latest_w + other.latest_w,
            self.mean_w + other.mean_w,
            self.twice_w + other.twice_w,
            max(self.at, other.at),
            max(self.beat_s, other.beat_s),
            self.whole and other.whole,
            self.late or other.late,
        )

    def or_more(self, other: "Draw") -> "Draw":
        """Where two say something of the same element, the higher counts in each respect."""
        return Draw(
            max(self.smooth_w, other.smooth_w),
            max(self.latest_w, other.latest_w),
            max(self.mean_w, other.mean_w),
            max(self.twice_w, other.twice_w),
            max(self.at, other.at),
            max(self.beat_s, other.beat_s),
            self.whole or other.whole,
            self.late or other.late,
        )

    def at_least(self) -> "Draw":
        """The same as a lower bound."""
        return replace(self, whole=False)

    def missing_a_beat(self) -> "Draw":
        """The same, if it may be another by now."""
        return replace(self, late=True)

    def unproven(self) -> "Draw":
        """The same as an estimate: nobody is shed for it."""
        return replace(self, mean_w=0, twice_w=0)

    def part(self, share_w: Callable[[int], int]) -> "Draw":
        """The part of it that flows elsewhere, `share_w` of so many W."""
        return replace(
            self,
            smooth_w=share_w(self.smooth_w),
            latest_w=share_w(self.latest_w),
            mean_w=share_w(self.mean_w),
            twice_w=share_w(self.twice_w),
        )


def add_up(found: Iterable[Draw | None]) -> Draw | None:
    """What these parts draw together, or, where one of them is not known, at least; None where none is."""
    parts = list(found)
    known = [one for one in parts if one is not None]
    if not known:
        return None
    newest = max(one.at for one in known)
    timely = (one.unproven().missing_a_beat() if newest - one.at > _LATE * one.beat_s else one for one in known)
    total = next(timely)
    for one in timely:
        total = total + one
    return total if len(known) == len(parts) else total.at_least()


class Gauge:
    """The readings of one source of one element, or of one inlet of it.

    `stale_s`: the age at which one no longer counts; `beat_s`: how often one comes; `window_s`: over how long they are
    smoothed; `stuck_s`: how long the very same value is believed although work came or went.
    """

    def __init__(self, stale_s: int, beat_s: int, window_s: int, stuck_s: int) -> None:
        self.judge_by(stale_s, beat_s, window_s, stuck_s)
        self._readings: deque[tuple[float, int]] = deque()
        self._same: tuple[float, float, Bounds] | None = None
        """(value, since when it is the very same, what was expected then)."""
        self.trouble = ""
        """Why the last reading was unfit; empty where it was not."""

    def judge_by(self, stale_s: int, beat_s: int, window_s: int, stuck_s: int) -> None:
        """By these bounds from now on, in s."""
        self.stale_s = stale_s
        self._beat_s = beat_s
        self._window_s = window_s
        self._stuck_s = stuck_s

    def take(self, value: float, at: float, now: float, bounds: Bounds) -> bool:
        """One reading, measured at `at`. Whether it is new and fit; `trouble` tells what is wrong with it."""
        self.trouble = self._clock(at, now) or _unfit(value, bounds) or self._stuck(value, at, bounds)
        if self.trouble or (self._readings and at < self._readings[-1][0] + SAME_S):
            return False
        self._readings.append((at, ceil(value)))
        while self._readings[0][0] <= at - self._window_s and len(self._readings) > 2:
            self._readings.popleft()
        return True

    def refuse(self, why: str) -> None:
        """A reading that nobody can take in."""
        self.trouble = why

    def draw(self, now: float) -> Draw | None:
        """What it says now; None where that is stale, or nothing."""
        if not self._readings or now - self._readings[-1][0] > self.stale_s:
            return None
        at, latest_w = self._readings[-1]
        recent = [watts for then, watts in self._readings if then > at - self._window_s]
        before = self._readings[-2] if len(self._readings) > 1 else (0.0, 0)
        twice_w = min(latest_w, before[1]) if at - before[0] <= self.stale_s else 0
        smooth_w = -(-sum(recent) // len(recent))
        return Draw(smooth_w, latest_w, smooth_w if len(recent) > 1 else 0, twice_w, at, self._beat_s)

    @property
    def at(self) -> float | None:
        """When the latest fit reading was measured; None where there never was one."""
        return self._readings[-1][0] if self._readings else None

    def age_s(self, now: float) -> float | None:
        """How old the latest fit reading is; None where there never was one."""
        return max(now - self._readings[-1][0], 0.0) if self._readings else None

    def not_later_than(self, now: float) -> None:
        """The clock has been set back: nothing was measured later than now."""
        while self._readings and self._readings[-1][0] > now:
            self._readings.pop()
        self._same = None

    def _clock(self, at: float, now: float) -> str:
        if not isfinite(at):
            return "has no time"
        if at > now + AHEAD_S:
            return f"its clock is {at - now:.0f} s ahead"
        if now - at > self.stale_s:
            return f"is {now - at:.0f} s old"
        return ""

    def _stuck(self, value: float, at: float, bounds: Bounds) -> str:
        if self._same is None or self._same[0] != value:
            self._same = (value, at, bounds)
            return ""
        _, since, then = self._same
        moved_w = max(bounds.expected_w - then.highest_w, then.expected_w - bounds.highest_w, 0)
        if at - since >= self._stuck_s and moved_w * _MOVED > value:
            return f"has been {value:g} W for {at - since:.0f} s while {format_watts(moved_w)} of work came or went"
        return ""


def _unfit(value: float, bounds: Bounds) -> str:
    if not isfinite(value):
        return "is no number"
    if value < 0:
        return f"is negative: {value:g} W"
    if value == 0 and not bounds.part:
        return "is zero: nothing that is on draws nothing"
    if value > bounds.most_w:
        return f"is not believed: {value:g} W, where {bounds.most_w} W is more than it could draw"
    if value < bounds.least_w and not bounds.part:
        return f"is not believed: {value:g} W, where at least {bounds.least_w} W is drawn (is the unit kW?)"
    return ""
