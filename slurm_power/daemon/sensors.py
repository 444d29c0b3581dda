"""What each source has told of, and what was stray then, remembered over a restart: silence after it is silence still,
and not an element that nobody measures.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import StoreError
from slurm_power.ports import Kind, Store
from slurm_power.service.desk import Desk
from slurm_power.service.draws import REPLACED_S, Element, LastTold, Sensor

_SETTING = "sensors"
_KEEP_S = 60
"""How often it is written down, where it has changed."""
_REMEMBER_S = 7 * 86_400
"""What was silent for so long before a start is not waited for any more."""
_AGAIN_S = 86_400
"""Times of telling are written down anew after so long."""

Heard = dict[str, dict[Sensor, LastTold]]
"""Source → sensor → when it last told anything, in s since 1970, and of which phases."""


class Sensors:
    """Kept in step with what is heard."""

    def __init__(self, desk: Desk, writer: StoreWriter) -> None:
        self._desk = desk
        self._writer = writer
        self._heard: Heard = {}
        self._strays: dict[str, int] = {}

    def load(self, store: Store) -> None:
        """At a start, before anything is admitted. Raises StoreError, also for what no version of ours has written."""
        text, now = store.setting(_SETTING), self._desk.now()
        if text is None:
            return
        try:
            heard, strays = _from_text(text)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"what the database knows of sensors cannot be read: {error!r}") from None
        for source, elements in heard.items():
            lately = {one: told for one, told in elements.items() if now - told.at <= _REMEMBER_S}
            self._heard[source] = {one: told._replace(at=min(told.at, now)) for one, told in lately.items()}
        self._strays = strays
        for name, stray_w in strays.items():
            if name in self._desk.ledger.meters:
                self._desk.ledger.set_stray(name, stray_w, blind=True)

    def of(self, source: str) -> Mapping[Sensor, LastTold]:
        """What a source has told of."""
        return self._heard.get(source, {})

    async def run(self) -> None:
        """Write down what changes, for ever."""
        while True:
            await asyncio.sleep(_KEEP_S)
            self.keep()

    def keep(self) -> None:
        """Write down what has changed. Never blocks."""
        told, meters = self._desk.measured.draws.heard(), self._desk.ledger.meters
        heard = {source: self._there(source, sensors) for source, sensors in told.items()}
        strays = {name: meter.stray_w for name, meter in meters.items() if meter.stray_w}
        if strays == self._strays and not _newer(self._heard, heard):
            return
        self._heard, self._strays = heard, strays
        self._writer.put(lambda store: store.set_setting(_SETTING, _to_text(heard, strays)))

    def _there(self, source: str, told: Mapping[Sensor, LastTold]) -> dict[Sensor, LastTold]:
        """What a source has told of, but for what was replaced: other inlets of the same element are heard since."""
        known = {**self._heard.get(source, {}), **told}
        newest: dict[Element, float] = {}
        for sensor, one in known.items():
            newest[sensor.element] = max(newest.get(sensor.element, 0), one.at)
        gone = [sensor for sensor, one in known.items() if newest[sensor.element] - one.at > REPLACED_S]
        for sensor in gone:
            del known[sensor]
            self._desk.measured.draws.forget(source, sensor)
        return known


def _newer(before: Heard, after: Heard) -> bool:
    """Whether anything else is told of, or it is long since that was written down."""
    for source, sensors in after.items():
        known = before.get(source, {})
        if known.keys() != sensors.keys():
            return True
        for one, told in sensors.items():
            if told.phases != known[one].phases or told.at - known[one].at >= _AGAIN_S:
                return True
    return False


def _to_text(heard: Heard, strays: Mapping[str, int]) -> str:
    told = {
        source: [[*one.element, one.part, sorted(told.phases), int(told.at)] for one, told in sensors.items()]
        for source, sensors in heard.items()
    }
    return json.dumps({"heard": told, "strays": strays})


def _from_text(text: str) -> tuple[Heard, dict[str, int]]:
    found: dict[str, Any] = json.loads(text)
    heard: Heard = {
        source: {
            Sensor(Element(Kind(kind), str(name)), str(part)): LastTold(int(at), frozenset(map(str, phases)))
            for kind, name, part, phases, at in sensors
        }
        for source, sensors in found["heard"].items()
    }
    return heard, {str(name): int(watts) for name, watts in found["strays"].items()}
