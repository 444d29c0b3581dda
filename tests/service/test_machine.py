"""Any history that hypothesis can think of, against what has to hold after every step of it."""

import random

from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.service.conftest import HISTORIES
from tests.service.driver import Driver
from tests.service.rules import one_of


class Histories(RuleBasedStateMachine):
    """Users, Slurm, the daemon and bad luck take turns. At the end everything has to run."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(0)

    def _act(self, name: str, rng: random.Random) -> None:
        self.driver.rng = rng
        self.driver.do(name)

    @one_of("submit", "submit array", "submit het", "submit scrontab", "rubbish")
    def submit(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("release", "stranger releases", "hold", "cancel", "requeue", "comment", "limit", "root releases")
    def user(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("step", "step", "round")
    def daemon(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("advance", "advance", "finish", "node", "statistics")
    def slurm(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @one_of("trouble", "calm", "crash", "revive")
    def luck(self, name: str, rng: random.Random) -> None:
        self._act(name, rng)

    @invariant()
    def holds(self) -> None:
        self.driver.cluster.check()

    def teardown(self) -> None:
        cluster = self.driver.cluster
        cluster.calm()
        cluster.check_exact()
        cluster.drain()


TestHistories = Histories.TestCase
TestHistories.settings = HISTORIES
