"""Heat and breakers become derates: they cut, hold through silence and restarts, and end in parts."""

import asyncio
from collections.abc import Iterator

import pytest

from slurm_power.daemon.reflexes import Reflexes
from slurm_power.ports import JobState, Kind, Quantity, Reading, RequeueHold
from slurm_power.service import views
from tests.service.preempt_rig import SITE, Rig

THERMAL = """\
thermal: {steps: [{above: 32, less: 25%}, {above: 36, less: 50%}], critical: 40, dwell: 60s}
control: {smoothing: 10s}
"""
FEEDS = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1, redundancy: 2N}
feeds: {pdu-a: {side: A, limit: 40kW}, pdu-b: {side: B, limit: 40kW}}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b]}
  b: {nodes: "b[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b]}
partitions:
  main: {node_watts: 5kW}
"""


class Warm(Rig):
    """A rig with the reflexes of its daemon."""

    def start(self) -> None:
        super().start()
        self.reflexes = Reflexes(self.desk, self.rounds.derating)
        asyncio.run(self.reflexes.follow(self.site))

    def says(self, value: float, element: str = "a", quantity: Quantity = Quantity.TEMPERATURE) -> bool:
        kind = Kind.FEED if element in self.desk.declared.topology.feeds else Kind.ZONE
        return asyncio.run(self.reflexes.take([Reading(kind, element, quantity, value)]))

    def warm(self, celsius: float, seconds: int, every: int = 1) -> None:
        for _ in range(0, seconds, every):
            self.says(celsius)
            self.later(every)

    @property
    def limit_w(self) -> int:
        return self.desk.ledger.meters["a"].limit_w


@pytest.fixture
def rig() -> Iterator[Warm]:
    made = Warm(text=SITE + THERMAL)
    yield made
    made.end()


def test_warmth_takes_watts_away_and_gives_them_back_in_parts(rig: Warm) -> None:
    bronze = [rig.running("bronze", est_w=5_000, more=",zones=a") for _ in range(2)]
    gold = rig.running("gold", est_w=5_000, more=",zones=a")
    rig.warm(25, 3)
    assert rig.limit_w == 20_000
    rig.warm(33, 3)
    assert (rig.limit_w, rig.written(RequeueHold)) == (15_000, [])
    rig.warm(37, 3)
    assert rig.limit_w == 10_000
    assert len(rig.written(RequeueHold)) == 1
    assert rig.state(gold) is JobState.RUNNING
    rig.warm(25, 62)
    assert rig.limit_w == 15_000
    rig.warm(25, 60)
    assert rig.limit_w == 20_000
    rig.warm(25, 100)
    assert [rig.state(job) for job in bronze] == [JobState.RUNNING] * 2
    told = [(line.cause.partition(" (from ")[0], line.numbers["limit_w"]) for line in rig.lines("derate")]
    assert told == [
        ("its inlet has reached 32 °C: 25 % less", 15_000),
        ("its inlet has reached 36 °C: 50 % less", 10_000),
        ("its inlet has reached 32 °C: 25 % less", 15_000),
    ]


def test_a_critical_zone_admits_nothing(rig: Warm) -> None:
    rig.warm(41, 3)
    job = rig.submit("gold", est_w=1_000, more=",zones=a")
    rig.later(2)
    assert rig.state(job) is JobState.PENDING
    told = views.explain(rig.desk, str(job))
    assert told is not None
    assert "its inlet is critically warm" in str(told["sentence"])
    rig.reload("b[1-4]\", limit: 20kW", "b[1-4]\", limit: 21kW")
    assert rig.desk.ledger.closed == {"a": "its inlet is critically warm"}
    rig.warm(25, 200)
    assert rig.state(job) is JobState.RUNNING


def test_silence_and_a_crash_raise_nothing(rig: Warm) -> None:
    rig.warm(37, 3)
    rig.later(1_000, 5)
    assert rig.limit_w == 10_000
    rig.crash()
    rig.later(1_000, 2)
    assert rig.limit_w == 10_000
    rig.warm(37, 3)
    assert rig.limit_w == 10_000
    rig.warm(25, 130)
    rig.later(31, 2)
    assert rig.limit_w == 20_000


def test_without_rules_heat_cuts_nothing(rig: Warm) -> None:
    rig.warm(37, 3)
    rig.reload(THERMAL, "")
    asyncio.run(rig.reflexes.follow(rig.site))
    rig.later(31, 3)
    assert rig.limit_w == 20_000
    rig.warm(60, 5)
    assert rig.limit_w == 20_000


def test_cleared_by_hand_until_the_sensor_says_it_anew(rig: Warm) -> None:
    rig.warm(37, 3)
    asyncio.run(rig.rounds.derating.clear("a", 0))
    rig.later(31, 4)
    assert rig.limit_w == 20_000
    rig.warm(37, 3)
    assert rig.limit_w == 10_000


def test_a_breaker_opens_and_closes() -> None:
    rig = Warm(text=FEEDS)
    job = rig.running("bronze", est_w=10_000, more=",zones=a")
    assert not rig.says(1, "pdu-a", Quantity.BREAKER)
    assert rig.says(0, "pdu-a", Quantity.BREAKER)
    assert rig.desk.dark == {"pdu-a"}
    assert rig.reflexes.breakers == {"pdu-a": True}
    rig.later(2)
    assert rig.desk.ledger.meters["pdu-a"].committed_w == 0
    assert not rig.says(0.5, "pdu-a", Quantity.BREAKER)
    assert not rig.says(1, "pdu-a", Quantity.BREAKER)  # for a while it counts as open still
    rig.later(10)
    assert not rig.says(0, "pdu-a", Quantity.BREAKER)
    rig.crash()
    rig.later(2)
    assert rig.desk.dark == {"pdu-a"}
    rig.says(1, "pdu-a", Quantity.BREAKER)
    rig.later(30)
    assert rig.says(1, "pdu-a", Quantity.BREAKER)
    assert rig.desk.dark == frozenset()
    rig.later(2)
    assert (rig.state(job), rig.desk.ledger.meters["pdu-a"].committed_w) == (JobState.RUNNING, 10_000)
    rig.end()


def test_a_zone_whose_own_breaker_is_open_is_lost_and_comes_back_in_parts() -> None:
    rig = Warm(text=FEEDS)
    job = rig.running("bronze", est_w=15_000, more=",zones=a")
    rig.says(0, "a", Quantity.BREAKER)
    assert rig.limit_w == 0
    rig.later(2, 3)
    assert rig.written(RequeueHold) == [str(job)]
    rig.says(1, "a", Quantity.BREAKER)
    limits = []
    for _ in range(16):
        rig.later(10)
        rig.says(1, "a", Quantity.BREAKER)
        limits.append(rig.limit_w)
    assert sorted(set(limits)) == [0, 5_000, 10_000, 15_000, 20_000]
    assert limits == sorted(limits)
    rig.end()


def test_what_is_said_of_strangers_is_nothing(rig: Warm) -> None:
    assert not rig.says(0, "nowhere", Quantity.BREAKER)
    assert not rig.says(99, "nowhere")
    assert rig.reflexes.breakers == {}
