"""The sources polled: one that fails, hangs or talks nonsense is told, and keeps up no other."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence

import pytest

from slurm_power.config.telemetry import TelemetrySource
from slurm_power.core.errors import TelemetryError
from slurm_power.daemon.reflexes import Reflexes
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.sources import Sources
from slurm_power.ports import Kind, Quantity, Reading, Told
from slurm_power.service.draws import Element
from tests.service.preempt_rig import SITE, Rig

SOURCES = SITE + """\
thermal: {steps: [{above: 32, less: 25%}]}
telemetry:
  - {type: redfish, url: "http://pdu-a", zone: a, every: 1s, stale: 20s}
  - {type: redfish, url: "http://pdu-b", zone: b, every: 1s, stale: 20s}
"""
Read = Callable[[], Sequence[Reading] | Told]


class Source:
    """A source that answers as a test wants it to."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.asked = 0
        self.closed = False

    def read(self) -> Told:
        self.asked += 1
        told = self._read()
        return told if isinstance(told, Told) else Told(told)

    def close(self) -> None:
        self.closed = True


class Polled:
    """A rig whose two sources are a test's, for a while."""

    def __init__(self, a: Read, b: Read) -> None:
        self.rig = Rig(text=SOURCES)
        self.sources = {"http://pdu-a": Source(a), "http://pdu-b": Source(b)}
        reflexes = Reflexes(self.rig.desk, self.rig.rounds.derating)
        sensors = Sensors(self.rig.desk, self.rig.writer)
        self.polling = Sources(self.rig.desk, reflexes, sensors, self.open, lambda: None)

    def open(self, config: TelemetrySource) -> Source:
        return self.sources[config.place]

    def run(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        async def poll() -> None:
            self.polling.follow(self.rig.site)
            await asyncio.sleep(seconds / 2)
            meanwhile()
            await asyncio.sleep(seconds / 2)
            self.polling.stop()
            await asyncio.sleep(0)

        asyncio.run(poll())

    @property
    def troubles(self) -> dict[str, str]:
        return dict(self.rig.desk.measured.troubles.there)

    def draw_w(self, zone: str) -> int | None:
        found = self.rig.desk.measured.draws.draw(Element(Kind.ZONE, zone), self.rig.desk.ledger.now)
        return found.latest_w if found is not None else None


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "slurm_power.telemetry")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "slurm_power.telemetry"]


def says(zone: str, watts: float, quantity: Quantity = Quantity.POWER) -> Read:
    return lambda: [Reading(Kind.ZONE, zone, quantity, watts)]


def fails(error: Exception) -> Read:
    def read() -> Sequence[Reading]:
        raise error

    return read


def test_each_is_read_again_and_again(told: Callable[[], list[str]]) -> None:
    polled = Polled(says("a", 4_000), says("b", 3_000))
    polled.run(3.2)
    assert (polled.draw_w("a"), polled.draw_w("b")) == (4_000, 3_000)
    assert all(source.asked >= 3 and source.closed for source in polled.sources.values())
    assert (polled.troubles, told()) == ({}, [])


def test_one_that_fails_is_told_once_and_asked_less_often(told: Callable[[], list[str]]) -> None:
    polled = Polled(fails(TelemetryError("pdu-a: refused")), says("b", 3_000))
    polled.run(4.4)
    assert polled.draw_w("b") == 3_000
    assert polled.troubles == {"redfish http://pdu-a a": "pdu-a: refused"}
    assert told() == ["telemetry: pdu-a: refused"]
    assert polled.sources["http://pdu-a"].asked < polled.sources["http://pdu-b"].asked


def test_what_is_left_out_costs_nothing_else(told: Callable[[], list[str]]) -> None:
    """It is told as other troubles are, and the source is asked as often as before."""
    reading = Reading(Kind.ZONE, "a", Quantity.POWER, 4_000)
    polled = Polled(lambda: Told([reading], "pdu-a: zone_celsius: refused"), says("b", 3_000))
    polled.run(3.2)
    assert (polled.draw_w("a"), polled.sources["http://pdu-a"].asked >= 3) == (4_000, True)
    assert polled.troubles == {"redfish http://pdu-a a": "pdu-a: zone_celsius: refused"}
    assert told() == ["telemetry: pdu-a: zone_celsius: refused"]


def test_one_that_hangs_keeps_up_no_other() -> None:
    free = threading.Event()

    def hangs() -> Sequence[Reading]:
        free.wait(30)
        return []

    polled = Polled(hangs, says("b", 3_000))
    polled.run(2.6, free.set)
    assert polled.draw_w("b") == 3_000
    assert polled.sources["http://pdu-b"].asked >= 2


def test_a_defect_in_one_ends_no_watch(told: Callable[[], list[str]]) -> None:
    answers = iter([fails(KeyError("x")), says("a", 4_000), says("a", 4_000), says("a", 4_000)])
    polled = Polled(lambda: next(answers)(), says("b", 3_000))  # noqa: PLW0108
    polled.run(4.4)
    assert polled.draw_w("a") == 4_000
    assert told() == [
        "telemetry: internal error, see the log", "telemetry: internal error", "telemetry is well again",
    ]  # fmt: skip


def test_one_that_cannot_be_opened_is_told_and_the_other_is_read(told: Callable[[], list[str]]) -> None:
    polled = Polled(says("a", 4_000), says("b", 3_000))
    del polled.sources["http://pdu-a"]
    polled.run(1.4)
    assert polled.draw_w("b") == 3_000
    assert "cannot be opened" in polled.troubles["redfish http://pdu-a a"]
    assert "cannot be opened" in told()[0]


def test_a_temperature_that_is_none_is_told(told: Callable[[], list[str]]) -> None:
    polled = Polled(says("a", 850, Quantity.TEMPERATURE), says("b", 25, Quantity.TEMPERATURE))
    polled.run(2.6)
    told_of = "the temperature of zone a makes no sense and is left out"
    assert polled.troubles == {"redfish http://pdu-a a": told_of}
    assert told() == [f"telemetry: {told_of}"]
