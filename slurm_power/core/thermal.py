"""How warm a zone is, and what of its limit that takes away: steps with hysteresis and a dwell, so that noise does
nothing.

It goes up as many steps as it has to at once, and down one at a time: so its watts come back in parts. What is no
temperature is left out, and silence lets nothing rise.
"""

from collections import deque
from fractions import Fraction
from math import isfinite
from typing import NamedTuple

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


class Thermal:
    """The state of one zone. `now` and `at` are in s."""

    def __init__(self, level: int = 0, *, critical: bool = False, since: float = 0) -> None:
        self.level = level
        """How many steps it has gone up."""
        self.critical = critical
        self._entered = self._entered_critical = since
        self._readings: deque[tuple[float, float]] = deque()

    def take(self, celsius: float, at: float, rules: HeatRules) -> bool:
        """One reading. Whether it has changed anything."""
        if not sensible(celsius):
            return False
        if self._readings and at < self._readings[-1][0]:
            return False
        if self._readings and at == self._readings[-1][0]:
            celsius = max(celsius, self._readings.pop()[1])
        self._readings.append((at, celsius))
        while self._readings[0][0] <= at - rules.window_s and len(self._readings) > 2:
            self._readings.popleft()
        return self._judge(at, rules)

    def _judge(self, now: float, rules: HeatRules) -> bool:
        """Go up or down by what is known. Whether anything has changed."""
        before = self.level, self.critical
        hot, cool = self._hot(rules), self._cool(rules)
        self._steps(hot, cool, now, rules)
        if rules.critical_c is None:
            self.critical = False
        elif hot >= rules.critical_c:
            self.critical, self._entered_critical = True, now if not self.critical else self._entered_critical
        elif cool < rules.critical_c - rules.hysteresis_c and now - self._entered_critical >= rules.dwell_s:
            self.critical = False
        return (self.level, self.critical) != before

    def _steps(self, hot: float, cool: float, now: float, rules: HeatRules) -> None:
        level = min(self.level, len(rules.steps))
        reached = sum(1 for step in rules.steps if hot >= step.from_c)
        if reached > level:
            self.level, self._entered = reached, now
            return
        self.level = level
        left = bool(level) and cool < rules.steps[level - 1].from_c - rules.hysteresis_c
        if left and now - self._entered >= rules.dwell_s:
            self.level, self._entered = level - 1, now

    def _mean(self, rules: HeatRules) -> float:
        at = self._readings[-1][0]
        recent = [value for then, value in self._readings if then > at - rules.window_s]
        return sum(recent) / len(recent)

    def _hot(self, rules: HeatRules) -> float:
        """As hot as it is at least."""
        twice = min(self._readings[-1][1], self._readings[-2][1]) if len(self._readings) > 1 else float("-inf")
        return max(self._mean(rules), twice) if len(self._readings) > 1 else float("-inf")

    def _cool(self, rules: HeatRules) -> float:
        """As cool as it is at most."""
        return max(self._mean(rules), self._readings[-1][1])
