"""Heat takes watts away in steps, and gives them back one by one."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.thermal import HeatRules, HeatStep, Thermal, Thermometer

RULES = HeatRules(
    steps=(HeatStep(Fraction(32), Fraction(25)), HeatStep(Fraction(36), Fraction(50))),
    critical_c=Fraction(40),
    hysteresis_c=Fraction(2),
    dwell_s=300,
    window_s=10,
)


class One(Thermal):
    """A zone with one sensor."""

    def __init__(self, level: int = 0, *, critical: bool = False, since: float = 0) -> None:
        super().__init__(level, critical=critical, since=since)
        self.sensor = Thermometer()

    def take(self, celsius: float, at: float, rules: HeatRules = RULES) -> bool:
        new = self.sensor.take(celsius, at, rules.window_s)
        return new and self.judge(self.sensor.warmth(rules.window_s), at, rules)


def after(state: One, celsius: float, seconds: int, start: int) -> list[tuple[int, int, bool]]:
    """(instant, level, critical) wherever it changes while it is that warm."""
    found = []
    for now in range(start, start + seconds):
        if state.take(celsius, now, RULES):
            found.append((now, state.level, state.critical))
    return found


def test_up_at_two_readings_in_a_row_and_down_one_by_one() -> None:
    state = One(since=-300)
    assert after(state, 25, 20, 0) == []
    assert after(state, 37, 10, 20) == [(21, 2, False)]
    assert after(state, 41, 10, 30) == [(31, 2, True)]
    assert after(state, 25, 700, 40) == [(321, 1, True), (331, 1, False), (621, 0, False)]


def test_each_step_holds_for_its_dwell() -> None:
    state = One(since=-300)
    after(state, 37, 3, 0)
    assert after(state, 25, 700, 3) == [(301, 1, False), (601, 0, False)]


def test_within_the_hysteresis_it_stays() -> None:
    state = One(since=-300)
    after(state, 33, 3, 0)
    assert after(state, 30.5, 2_000, 3) == []
    assert state.level == 1
    assert [level for _, level, _ in after(state, 29.5, 20, 2_003)] == [0]


def test_noise_about_a_step_does_not_churn() -> None:
    state, changes = One(since=-300), 0
    for now in range(3_600):
        changes += state.take(32 + (1.5 if now % 2 else -1.5), now, RULES)
    assert changes <= 1


def test_one_spike_alone_does_nothing() -> None:
    state = One(since=-300)
    after(state, 25, 20, 0)
    assert not state.take(90, 20, RULES)
    assert after(state, 25, 20, 21) == []


@pytest.mark.parametrize("celsius", [float("nan"), float("inf"), -273.15, 850.0])
def test_what_is_no_temperature(celsius: float) -> None:
    state = One(2, since=0)
    for now in range(10_000, 10_050):
        assert not state.take(celsius, now, RULES)
    assert state.level == 2


def test_other_rules() -> None:
    state = One(2, critical=True, since=0)
    none = HeatRules((), None, Fraction(2), 300, 10)
    assert state.take(50, 1_000, none)
    assert (state.level, state.critical) == (0, False)


@given(st.lists(st.floats(-40, 120), min_size=2, max_size=300))
def test_never_cooler_than_what_was_just_measured_twice(told: list[float]) -> None:
    state = One(since=-300)
    for now, celsius in enumerate(told):
        state.take(celsius, now, RULES)
    both = min(told[-2:])
    if all(-30 <= one <= 110 for one in told[-2:]):
        assert state.level >= sum(both >= step.from_c for step in RULES.steps)
        assert state.critical or both < 40
