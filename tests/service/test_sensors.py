"""What sources have told of is remembered over a restart: their silence after it is silence still."""

import json
from collections.abc import Iterator

import pytest

from slurm_power.core.errors import StoreError
from slurm_power.daemon.reflexes import Reflexes
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.sources import Sources
from slurm_power.ports import JobState, Kind, Quantity, Reading
from slurm_power.service import views
from slurm_power.service.draws import Element
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
        Sources(self.desk, reflexes, self.sensors, lambda config: pytest.fail("asked"), lambda: None).expect(self.site)

    def draws(self, watts: float, seconds: int) -> None:
        for _ in range(seconds):
            take(self.desk, NAME, [Reading(Kind.ZONE, "a", Quantity.POWER, watts)])
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


def test_what_has_been_silent_for_a_week_is_forgotten_at_a_start(rig: Kept) -> None:
    rig.draws(7_000, 3)
    rig.sensors.keep()
    rig.clock.instant += 6 * DAY
    rig.crash()
    assert rig.sensors.of(NAME) == {Element(Kind.ZONE, "a")}
    rig.sensors.keep()
    rig.clock.instant += 2 * DAY
    rig.crash()
    assert rig.sensors.of(NAME) == frozenset()
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
