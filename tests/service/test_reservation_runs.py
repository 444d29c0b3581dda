"""Reservations through random histories: jobs inside and outside, changes, crashes, a Slurm that misbehaves."""

import random
from dataclasses import replace

import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant

from slurm_power.core.reservation import WhenShort
from slurm_power.core.window import Window
from tests.service.conftest import HISTORIES, LONG
from tests.service.driver import Driver, array, components, spec
from tests.service.estate import Estate
from tests.service.rules import one_of
from tests.service.spec import Spec

_SEEDS = range(200) if LONG else range(12)
_STEPS = 300 if LONG else 120
_NAMES = ("r1", "r2", "r3")
_ZONES = (("rack01",), ("rack02",), ("rack03",), ("rack01", "rack02"), ("rack01", "rack02", "rack03"))

class EstateDriver(Driver):
    """A driver whose users reserve too."""

    def __init__(self, seed: int) -> None:
        self.estate = Estate(seed)
        super().__init__(seed, self.estate)
        self._actions |= {
            "reserve": (8, self._reserve),
            "change reservation": (3, self._change),
            "give up": (2, self._give_up),
            "submit within": (10, lambda: self._submit(self._within(spec(self.rng)))),
            "submit array within": (3, lambda: self._submit(self._within(array(self.rng)))),
            "submit het within": (2, lambda: self._submit(*map(self._within, components(self.rng)))),
        }

    def _within(self, found: Spec) -> Spec:
        """As if for a reservation, of the job's user or of another one."""
        return replace(found, comment=f"power:est={found.est_w},max={found.max_w},reservation={self._name()}")

    def _name(self) -> str:
        return self.rng.choice(_NAMES)

    def _reserve(self) -> None:
        rng = self.rng
        name = self._name()
        uid = 1001 + _NAMES.index(name)
        watts_w, start_s = rng.choice((4_000, 10_000, 20_000)), rng.choice((0, 0, 60, 600, 2_000))
        terms = self.estate.terms(name, uid, rng.choice(_ZONES), watts_w, start_s, rng.choice((300, 1_800, 7_200)))
        terms = replace(terms, any_zone=rng.random() < 0.3, min_w=rng.choice((None, 2_000)))
        if rng.random() < 0.3:
            terms = replace(terms, burst_w=2_000, burst_s=60)
        if rng.random() < 0.3:
            terms = replace(terms, policy=WhenShort.PREEMPT, tier="gold")
        self.estate.reserve(terms, dies=rng.random() < 0.03)

    def _change(self) -> None:
        name, rng = self._name(), self.rng
        one = self.estate.desk.reserved.get(name) if self.estate.desk is not None else None
        if one is None:
            return
        window = one.terms.window
        changes: list[dict[str, object]] = [
            {"watts_w": rng.choice((2_000, 6_000, 15_000))},
            {"zones": rng.choice(_ZONES)},
            {"window": Window(window.start, max(window.start + 1, window.end + rng.choice((-600, 600))))},
        ]
        self.estate.change(name, **rng.choice(changes))

    def _give_up(self) -> None:
        self.estate.give_up(self._name(), dies=self.rng.random() < 0.1)


@pytest.mark.parametrize("seed", _SEEDS)
def test_budgets_and_what_is_kept_through_a_long_history(seed: int) -> None:
    driver = EstateDriver(seed)
    for _ in range(_STEPS):
        driver.act()
        driver.cluster.check()
    _end(driver.estate)


def _end(estate: Estate) -> None:
    """All runs to its end, and what is kept then is kept in full."""
    estate.calm(6)
    estate.check_exact()
    estate.drain()
    estate.calm()
    estate.check_exact()


class Histories(RuleBasedStateMachine):
    """Any order of them that hypothesis can think of."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = EstateDriver(0)

    def _act(self, name: str, rng: random.Random) -> None:
        self.driver.rng = rng
        self.driver.do(name)

    @one_of("reserve", "reserve", "change reservation", "give up")
    def reserving(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("submit", "submit within", "submit within", "submit array within", "submit het within", "submit array")
    def submit(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("release", "hold", "cancel", "requeue", "limit", "root releases")
    def user(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("step", "round", "round")
    def daemon(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("advance", "advance", "finish", "node")
    def slurm(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("trouble", "calm", "crash", "revive")
    def luck(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @invariant()
    def holds(self) -> None:
        self.driver.cluster.check()

    def teardown(self) -> None:
        _end(self.driver.estate)


TestHistories = Histories.TestCase
TestHistories.settings = HISTORIES
