"""Heat and breakers become derates: they cut, hold through silence and restarts, and end in parts."""

import asyncio
from collections.abc import Iterator

import pytest

from slurm_power.core.errors import StoreError
from slurm_power.daemon.naming import names
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
        self.reflexes.restore(self.site)
        asyncio.run(self.reflexes.follow(self.site))

    def says(
        self,
        value: float,
        element: str = "a",
        quantity: Quantity = Quantity.TEMPERATURE,
        *,
        source: str = "s",
        part: str = "",
        age_s: float = 0,
        stale_s: int = 20,
    ) -> bool:
        kind = Kind.FEED if element in self.desk.declared.topology.feeds else Kind.ZONE
        reading = Reading(kind, element, quantity, value, age_s, part)
        return asyncio.run(self.reflexes.take(source, stale_s, [reading]))

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


def test_a_database_that_fails_once_loses_nothing(rig: Warm, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise StoreError("disk full")

    rig.warm(25, 3)
    rig.says(37)
    with monkeypatch.context() as patch:
        patch.setattr(rig.writer, "durable", fails)
        rig.later(1)
        with pytest.raises(StoreError):
            rig.says(37)
    assert rig.limit_w == 20_000
    rig.later(1)
    rig.says(37)
    assert rig.limit_w == 10_000


def test_of_two_sensors_the_hotter_counts(rig: Warm) -> None:
    for _ in range(3):
        rig.says(41, source="hot")
        rig.says(22, source="cold")
        rig.later(1)
    assert (rig.limit_w, rig.desk.ledger.closed) == (10_000, {"a": "its inlet is critically warm"})


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -273.0, 900.0])
def test_a_sensor_that_makes_no_sense_hides_no_other(rig: Warm, broken: float) -> None:
    for _ in range(3):
        rig.says(broken, part="1")
        rig.says(37, part="2")
        rig.later(1)
    assert rig.limit_w == 10_000
    assert rig.reflexes.unfit("s") == "the temperature of zone a makes no sense and is left out"
    assert rig.reflexes.unfit("s") == ""


def test_one_measurement_that_is_told_again_and_again_is_one(rig: Warm) -> None:
    """A document that is written once a minute is read each few seconds."""
    for age_s in range(60):
        rig.says(45, age_s=age_s, stale_s=120)
        rig.later(1)
    assert (rig.limit_w, rig.desk.ledger.closed) == (20_000, {})
    rig.says(45, stale_s=120)
    assert (rig.limit_w, rig.desk.ledger.closed) == (10_000, {"a": "its inlet is critically warm"})


def test_a_slow_sensor_is_fresh_by_its_own_measure(rig: Warm) -> None:
    """Beside a fast one that is cool, what it said a minute ago counts still."""
    for second in range(600):
        if second % 60 == 0:
            rig.says(45, source="slow", stale_s=180)
        rig.says(22, source="fast", stale_s=3)
        rig.later(1)
        assert second < 60 or (rig.limit_w, *rig.desk.ledger.closed) == (10_000, "a")
    for _ in range(320):
        rig.says(22, source="fast", stale_s=3)
        rig.later(1)
    assert (rig.limit_w, *rig.desk.ledger.closed) == (10_000, "a")  # it is silent: that lets nothing rise
    for _ in range(130):
        rig.says(24, source="slow", stale_s=180)
        rig.says(22, source="fast", stale_s=3)
        rig.later(1)
    assert (rig.limit_w, rig.desk.ledger.closed) == (20_000, {})


def test_a_sensor_that_is_silent_for_a_day_is_there_no_more(rig: Warm) -> None:
    for _ in range(3):
        rig.says(45, source="dead")
        rig.later(1)
    for hour in range(26):
        rig.later(3_600)
        for _ in range(2):
            rig.says(22)
            rig.later(1)
        assert (rig.limit_w == 10_000) == (hour < 23), hour


def test_a_reload_forgets_no_sensor_that_stays() -> None:
    """Whichever speaks first after it, the hottest counts."""
    text = SITE + THERMAL + """\
telemetry:
  - {type: redfish, url: "http://hot", zone: a, every: 1s, stale: 20s}
  - {type: redfish, url: "http://cool", zone: a, every: 1s, stale: 20s}
"""
    rig = Warm(text=text)
    hot, cool = names(rig.site.telemetry or ())
    for _ in range(70):
        rig.says(41, source=hot)
        rig.says(22, source=cool)
        rig.later(1)
    for _ in range(5):
        rig.reload("b[1-4]", "b[1-4]")
        asyncio.run(rig.reflexes.follow(rig.site))
        rig.says(22, source=cool)
        assert (rig.limit_w, *rig.desk.ledger.closed) == (10_000, "a")
    rig.reload('  - {type: redfish, url: "http://hot", zone: a, every: 1s, stale: 20s}\n', "")
    asyncio.run(rig.reflexes.follow(rig.site))
    for _ in range(130):
        rig.says(22, source=cool)
        rig.later(1)
    assert (rig.limit_w, rig.desk.ledger.closed) == (20_000, {})
    rig.end()


def test_one_spike_of_a_slow_sensor_does_nothing(rig: Warm) -> None:
    for celsius in (24, 24, 45, 24, 24):
        rig.says(celsius, stale_s=180)
        rig.later(60)
        assert rig.limit_w == 20_000


def test_a_clock_that_is_an_hour_ahead_raises_nothing(rig: Warm) -> None:
    rig.warm(37, 3)
    for _ in range(200):
        rig.says(20, age_s=-3_600)
        rig.later(1)
    assert rig.limit_w == 10_000
    assert rig.reflexes.unfit("s") == "the temperature of zone a is from a clock that is ahead and is left out"
    rig.says(0, quantity=Quantity.BREAKER)
    for _ in range(60):
        rig.says(1, quantity=Quantity.BREAKER, age_s=-3_600)
        rig.later(1)
    assert rig.limit_w == 0
    assert "the breaker state of zone a is from a clock that is ahead" in rig.reflexes.unfit("s")


@pytest.mark.parametrize("age_s", [float("nan"), float("-inf"), float("inf"), 3_600])
def test_what_has_no_time_or_is_old_raises_nothing(rig: Warm, age_s: float) -> None:
    rig.warm(37, 3)
    for _ in range(200):
        rig.says(20, age_s=age_s)
        rig.later(1)
    assert rig.limit_w == 10_000


def test_a_breaker_that_is_neither_open_nor_closed_is_told(rig: Warm) -> None:
    rig.says(2, quantity=Quantity.BREAKER)
    rig.later(1)
    assert rig.limit_w == 20_000
    assert rig.reflexes.unfit("s") == "the breaker state of zone a makes no sense and is left out"


def test_critical_without_steps_holds_over_a_crash_and_can_be_cleared() -> None:
    rig = Warm(text=SITE + "thermal: {critical: 40, dwell: 60s}\n")
    rig.warm(41, 3)
    rig.crash()
    rig.later(1)
    assert rig.desk.ledger.closed == {"a": "its inlet is critically warm"}
    assert rig.limit_w == 20_000
    asyncio.run(rig.rounds.derating.clear("a", 0))
    asyncio.run(rig.reflexes.follow(rig.site))
    assert rig.desk.ledger.closed == {}
    rig.end()


def test_the_clock_ahead_for_a_while() -> None:
    """A breaker that opened meanwhile is open now; heat and what is closed again go by the clock that nobody sets."""
    rig = Warm(text=FEEDS + THERMAL)
    with rig.ahead():
        rig.round()
        rig.says(0, "pdu-a", Quantity.BREAKER)
        rig.says(25)
        rig.round()
    rig.later(1, 2)
    rig.later(70)
    assert rig.desk.dark == {"pdu-a"}
    rig.warm(37, 3)
    assert rig.limit_w == 10_000
    for _ in range(40):
        rig.says(1, "pdu-a", Quantity.BREAKER)
        rig.later(1)
    assert rig.desk.dark == frozenset()
    rig.end()


class TestBreakers:
    def test_one_of_two_inlets(self) -> None:
        rig = Warm(text=FEEDS)
        rig.says(0, "a", Quantity.BREAKER, part="left")
        rig.says(1, "a", Quantity.BREAKER, part="right")
        rig.later(40)
        rig.says(1, "a", Quantity.BREAKER, part="right")
        rig.says(0, "a", Quantity.BREAKER, part="left")
        assert rig.limit_w == 0 if rig.reflexes.breakers["a"] else rig.limit_w >= 5_000
        rig.later(100, 3)
        rig.says(1, "a", Quantity.BREAKER, part="right")
        rig.later(40)
        rig.says(1, "a", Quantity.BREAKER, part="right")
        assert not rig.reflexes.breakers["a"]
        rig.end()

    def test_nobody_is_lost_before_each_inlet_has_been_heard(self) -> None:
        sources = "".join(
            f'  - {{type: redfish, url: "http://{inlet}", zone: a, inlet: {inlet}, every: 1s, stale: 20s}}\n'
            for inlet in ("left", "right")
        )
        rig = Warm(text=FEEDS + "telemetry:\n" + sources)
        assert not rig.says(0, "a", Quantity.BREAKER, part="left")
        assert rig.limit_w == 20_000
        assert rig.says(0, "a", Quantity.BREAKER, part="right")
        assert rig.limit_w == 0
        rig.end()

    def test_one_that_says_closed_with_an_old_reading_lifts_nothing(self) -> None:
        rig = Warm(text=FEEDS)
        rig.says(0, "pdu-a", Quantity.BREAKER, source="snmp")
        for _ in range(60):
            rig.says(1, "pdu-a", Quantity.BREAKER, source="file", age_s=86_400)
            rig.later(1)
        assert rig.desk.dark == {"pdu-a"}
        rig.end()

    def test_one_closed_reading_and_silence_lifts_nothing(self) -> None:
        rig = Warm(text=FEEDS)
        rig.says(0, "pdu-a", Quantity.BREAKER)
        rig.says(1, "pdu-a", Quantity.BREAKER)
        for _ in range(60):
            rig.says(25, "b")
            rig.later(1)
        assert rig.desk.dark == {"pdu-a"}
        rig.end()

    def test_while_two_disagree_open_counts(self) -> None:
        rig = Warm(text=FEEDS)
        for _ in range(60):
            rig.says(0, "pdu-a", Quantity.BREAKER, source="one")
            rig.says(1, "pdu-a", Quantity.BREAKER, source="other")
            rig.later(1)
        assert rig.desk.dark == {"pdu-a"}
        rig.end()
