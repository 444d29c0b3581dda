"""How warm a zone is, and what of its limit that takes away: steps with hysteresis and a dwell, so that noise does
nothing.

It goes up as many steps as it has to at once, and down one at a time: so its watts come back in parts. What is no
temperature is left out, and silence lets nothing rise.
"""

from collections import deque
from fractions import Fraction
from math import isfinite
from typing import NamedTuple

from slurm_power.core.gauge import SAME_S
from slurm_power.core.immutable import immutable

_LEAST_C, _MOST_C = -30, 110
"""Nobody believes an inlet colder or hotter than this."""


class HeatStep(NamedTuple):
    """From so many °C on, so many per cent of the limit are taken away."""

    from_c: Fraction
    percent: Fraction


@immutable
class HeatRules:
    """The steps from the coolest up; from `critical_c` on nothing is admitted."""

    steps: tuple[HeatStep, ...]
    critical_c: Fraction | None
    hysteresis_c: Fraction
    dwell_s: int
    window_s: int
    """Over how long temperatures are averaged; two in a row do not wait for it."""


def sensible(celsius: float) -> bool:
    """Whether an inlet can have that temperature."""
    return isfinite(celsius) and _LEAST_C <= celsius <= _MOST_C


class Warmth(NamedTuple):
    """How warm an inlet is, in °C: at the least and at the most."""

    least_c: float
    most_c: float

    def or_more(self, other: "Warmth") -> "Warmth":
        """Where two sensors tell of the same zone, the hotter counts."""
        return Warmth(max(self.least_c, other.least_c), max(self.most_c, other.most_c))

    def unproven(self) -> "Warmth":
        """The same of long ago: it may be cooler by now, and nobody knows."""
        return self._replace(least_c=float("-inf"))


class Thermometer:
    """What one sensor has told. Instants are in s."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque()

    def take(self, celsius: float, at: float, window_s: int) -> bool:
        """One reading, measured at `at`. Whether it is new: what is told again is not measured again."""
        if not sensible(celsius) or (self._readings and at < self._readings[-1][0] + SAME_S):
            return False
        self._readings.append((at, celsius))
        while self._readings[0][0] <= at - window_s and len(self._readings) > 2:
            self._readings.popleft()
        return True

    def age_s(self, now: float) -> float:
        """How old the last reading is."""
        return now - self._readings[-1][0]

    def warmth(self, window_s: int) -> Warmth:
        """By the mean of the window and the last two; one reading alone may be a spike, and is no proof of heat."""
        at, latest = self._readings[-1]
        recent = [value for then, value in self._readings if then > at - window_s]
        mean = sum(recent) / len(recent)
        proven = [mean] if len(recent) > 1 else []
        proven += [min(latest, self._readings[-2][1])] if len(self._readings) > 1 else []
        return Warmth(max(proven, default=float("-inf")), max(mean, latest))


class Thermal:
    """The state of one zone; instants are in s."""

    def __init__(self, level: int = 0, *, critical: bool = False, since: float = 0) -> None:
        self.level = level
        """How many steps it has gone up."""
        self.critical = critical
        self._entered = self._entered_critical = since

    def judge(self, warmth: Warmth, now: float, rules: HeatRules) -> bool:
        """Go up or down by what is known. Whether anything has changed."""
        before = self.level, self.critical
        self._steps(warmth, now, rules)
        if rules.critical_c is None:
            self.critical = False
        elif warmth.least_c >= rules.critical_c:
            self.critical, self._entered_critical = True, now if not self.critical else self._entered_critical
        elif warmth.most_c < rules.critical_c - rules.hysteresis_c and now - self._entered_critical >= rules.dwell_s:
            self.critical = False
        return (self.level, self.critical) != before

    def _steps(self, warmth: Warmth, now: float, rules: HeatRules) -> None:
        level = min(self.level, len(rules.steps))
        reached = sum(1 for step in rules.steps if warmth.least_c >= step.from_c)
        if reached > level:
            self.level, self._entered = reached, now
            return
        self.level = level
        left = bool(level) and warmth.most_c < rules.steps[level - 1].from_c - rules.hysteresis_c
        if left and now - self._entered >= rules.dwell_s:
            self.level, self._entered = level - 1, now
