"""What sources have told of is remembered over a restart: their silence after it is silence still."""

import json
import random
from collections.abc import Iterator, Mapping

import pytest

from slurm_power.core.errors import StoreError
from slurm_power.daemon.reflexes import Reflexes
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.sources import Sources
from slurm_power.ports import JobState, Kind, Quantity, Reading
from slurm_power.service import views
from slurm_power.service.draws import Element, Sensor
from slurm_power.service.measuring import take
from tests.service.preempt_rig import SITE, Rig

FILE = SITE + """\
control: {smoothing: 10s, ramp: 30s}
telemetry:
  - {type: file, path: /run/facility.json, every: 1s, stale: 20s}
"""
NAME = "file /run/facility.json"
DAY = 86_400


def zones(rig: Rig) -> list[dict[str, object]]:
    found = views.zones(rig.desk)["zones"]
    assert isinstance(found, list)
    return found


class Kept(Rig):
    """A rig with the daemon's memory of its sensors."""

    def start(self) -> None:
        super().start()
        self.sensors = Sensors(self.desk, self.writer)
        self.sensors.load(self.store)
        reflexes = Reflexes(self.desk, self.rounds.derating)
        self.polling = Sources(
            self.desk, reflexes, self.sensors, lambda config: pytest.fail("asked"), lambda: None
        )
        self.expect()

    def expect(self) -> None:
        self.polling.expect(self.site)

    def draws(self, watts: float, seconds: int) -> None:
        self.says({"": watts}, seconds)

    def says(self, parts: Mapping[str, float], seconds: int = 1, phases: str = "") -> None:
        """So much on each inlet; with phases, on each of these."""
        names = phases.split() or [""]
        for _ in range(seconds):
            told = [
                Reading(Kind.ZONE, "a", Quantity.POWER, watts, part=part, phase=phase)
                for part, watts in parts.items()
                for phase in names
            ]
            take(self.desk, NAME, told)
            self.later(1)

    def crash(self) -> None:
        assert self.writer.flush(10)
        super().crash()

    def numbers(self) -> tuple[object, ...]:
        row = next(row for row in zones(self) if row["name"] == "a")
        return tuple(row[key] for key in ("measured_w", "stale", "stray_w", "headroom_w"))


@pytest.fixture
def rig() -> Iterator[Kept]:
    made = Kept(text=FILE)
    yield made
    made.end()


def test_silence_after_a_restart_is_silence(rig: Kept) -> None:
    rig.draws(7_000, 3)
    rig.sensors.keep()
    rig.crash()
    rig.later(1)
    assert rig.numbers() == (None, True, 7_000, 13_000)
    waits = rig.submit("gold", est_w=3_000, more=",max=3kW,zones=a")
    rig.later(2)
    assert rig.state(waits) is JobState.PENDING  # nothing has been heard yet
    rig.later(20, 2)
    large = rig.submit("gold", est_w=8_000, more=",max=12kW,zones=a")
    rig.later(2, 2)
    assert (rig.state(waits), rig.state(large)) == (JobState.RUNNING, JobState.PENDING)
    rig.draws(1_000, 32)
    assert rig.numbers()[:3] == (1_000, False, 0)


def test_an_inlet_that_is_silent_before_a_restart_is_silent_after_it(rig: Kept) -> None:
    rig.says({"left": 7_000, "right": 7_000}, 3)
    rig.sensors.keep()
    rig.says({"left": 7_000}, 25)
    assert rig.numbers() == (7_000, True, 14_000, 6_000)
    rig.crash()
    rig.says({"left": 7_000}, 25)
    assert rig.numbers() == (7_000, True, 14_000, 6_000)


def test_after_a_restart_a_zone_is_not_known_before_all_its_inlets_are(rig: Kept) -> None:
    rig.says({"left": 8_000, "right": 8_000}, 3)
    rig.sensors.keep()
    rig.crash()
    job = rig.submit("gold", est_w=10_000, more=",zones=a")
    rig.says({"left": 8_000})
    rig.later(1)
    assert rig.state(job) is JobState.PENDING
    rig.says({"left": 8_000, "right": 8_000}, 2)
    assert (rig.state(job), rig.numbers()[:3]) == (JobState.PENDING, (16_000, False, 16_000))


def test_a_phase_that_is_missing_over_a_restart_is_missing_still(rig: Kept) -> None:
    rig.says({"": 4_000}, 3, "L1 L2 L3")
    rig.sensors.keep()
    rig.crash()
    rig.says({"": 4_000}, 3, "L1 L2")
    assert rig.numbers()[:3] == (None, True, 12_000)
    rig.says({"": 4_000}, 3, "L1 L2 L3")
    assert rig.numbers()[:2] == (12_000, False)


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize(
    ("before", "after"), [(("a", "L1 L2 L3"), ("c", "")), (("", "L1 L2 L3"), ("", "L1"))], ids=["inlet", "phases"]
)
def test_what_was_replaced_is_forgotten_after_a_day(
    rig: Kept, before: tuple[str, str], after: tuple[str, str], crashes: bool
) -> None:
    """A PDU with other names for its inlets, or with a single phase."""
    rig.says({before[0]: 4_000}, 3, before[1])
    rig.sensors.keep()
    if crashes:
        rig.crash()
    for hour in range(24):
        rig.says({after[0]: 4_000}, 3, after[1])
        rig.sensors.keep()
        assert rig.numbers()[1] is (hour > 0 or crashes), hour
        rig.later(3_600)
    for _ in range(2):
        rig.says({after[0]: 4_000}, 3, after[1])
        rig.sensors.keep()
    assert rig.numbers()[:2] == (4_000, False)


def test_what_no_source_is_asked_about_any_more_is_silent_for_a_while(rig: Kept) -> None:
    """Another path in the site file, or a slip in it: what was drawn does not count as gone at once."""
    rig.draws(17_000, 3)
    waits = rig.submit("gold", est_w=10_000, more=",zones=a")
    rig.later(1, 2)
    rig.reload("facility.json", "faclity.json")
    rig.expect()
    rig.later(1, 2)
    assert (rig.numbers()[:3], rig.state(waits)) == ((None, True, 17_000), JobState.PENDING)
    rig.later(300)
    assert rig.numbers()[:3] == (None, True, 17_000)
    rig.later(301)
    assert rig.numbers()[:3] == (None, None, 0)


def test_what_has_been_silent_for_a_week_is_forgotten_at_a_start(rig: Kept) -> None:
    rig.draws(7_000, 3)
    rig.sensors.keep()
    rig.clock.instant += 6 * DAY
    rig.crash()
    assert list(rig.sensors.of(NAME)) == [Sensor(Element(Kind.ZONE, "a"))]
    rig.sensors.keep()
    rig.clock.instant += 2 * DAY
    rig.crash()
    assert rig.sensors.of(NAME) == {}
    rig.later(1)
    assert rig.numbers()[:3] == (None, None, 0)


def test_written_down_where_it_has_changed_and_once_a_day(rig: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str | None] = []
    monkeypatch.setattr(rig.store, "set_setting", lambda name, value: written.append(value))
    for watts, seconds in ((7_000, 2), (7_000, 2), (9_000, 2), (9_000, 2)):
        rig.draws(watts, seconds)
        rig.sensors.keep()
    rig.later(DAY)
    rig.draws(9_000, 2)
    rig.sensors.keep()
    assert rig.writer.flush(10)
    strays = [json.loads(text)["strays"] for text in written if text]
    assert strays == [{"a": 7_000}, {"a": 9_000}, {"a": 9_000}]


def test_who_is_no_longer_on_the_floor_or_read_is_forgotten(rig: Kept) -> None:
    rig.draws(7_000, 3)
    rig.sensors.keep()
    rig.text = rig.text.replace("  a: {nodes", "  other: {nodes")
    rig.reload("other: {nodes", "other: {nodes")
    rig.crash()
    rig.later(1)
    assert {row["name"]: row["stale"] for row in zones(rig)} == {"other": None, "b": None}
    rig.reload("facility.json", "plant.json")
    rig.crash()
    rig.sensors.keep()
    assert rig.writer.flush(10)
    assert json.loads(rig.store.setting("sensors") or "")["heard"] == {"file /run/plant.json": []}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"heard": {"x": [["rack", "a", 1]]}, "strays": {}}', '{"heard": 5}'])
def test_what_no_version_has_written_is_told(rig: Kept, text: str) -> None:
    rig.store.set_setting("sensors", text)
    with pytest.raises(StoreError, match="what the database knows of sensors cannot be read"):
        Sensors(rig.desk, rig.writer).load(rig.store)


@pytest.mark.parametrize("seed", range(8))
def test_no_silence_and_no_restart_gives_back_what_is_drawn(rig: Kept, seed: int) -> None:
    """Two inlets draw 8 kW each; sensors fall silent, miss beats and come back; the daemon crashes, or reloads."""
    chance = random.Random(seed)
    rig.says({"left": 8_000, "right": 8_000}, 2)
    silent_until = {"left": 0, "right": 0}
    for _ in range(300):
        for inlet in silent_until:
            if chance.random() < 0.05:
                silent_until[inlet] = rig.clock.instant + chance.choice((1, 2, 5, 30, 300))
        rig.says({inlet: 8_000 for inlet, until in silent_until.items() if until <= rig.clock.instant})
        rig.sensors.keep()
        if chance.random() < 0.03:
            rig.crash()
            rig.later(0)
        if chance.random() < 0.03:
            rig.reload("b[1-4]", "b[1-4]")
            rig.expect()
        meter = rig.desk.ledger.meters["a"]
        assert meter.committed_w + meter.stray_w >= 16_000
