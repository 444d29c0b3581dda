"""The thermometers of zones: several may tell of one zone, and the hottest counts."""

from collections.abc import Container

from slurm_power.core.thermal import Thermometer, Warmth

GONE_S = 86_400
"""What has been silent for so long while others told of its zone is there no more."""


class Thermometers:
    """All that have told anything. Moments are those of the clock that nobody sets, in s."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, str], tuple[Thermometer, int]]] = {}
        """Zone → (source, part) → the sensor, and after so many s of silence it proves nothing."""

    def take(self, zone: str, source: str, part: str, celsius: float, at: float, stale_s: int, window_s: int) -> bool:
        """What one sensor has measured at a moment. Whether that is new."""
        sensors = self._known.setdefault(zone, {})
        known = sensors.get((source, part))
        thermometer = known[0] if known is not None else Thermometer()
        if not thermometer.take(celsius, at, window_s):
            return False
        sensors[source, part] = (thermometer, stale_s)
        return True

    def warmth(self, zone: str, moment: float, window_s: int) -> Warmth | None:
        """How warm a zone is; None where nothing is known. It is no cooler than a sensor told before it fell silent."""
        found: Warmth | None = None
        for thermometer, stale_s in self._known.get(zone, {}).values():
            age_s, one = thermometer.age_s(moment), thermometer.warmth(window_s)
            if age_s > GONE_S:
                continue
            if age_s > stale_s:
                one = one.unproven()
            found = one if found is None else found.or_more(one)
        return found

    def keep(self, sources: Container[str]) -> None:
        """Nobody else is asked any more."""
        for zone, sensors in self._known.items():
            self._known[zone] = {sensor: known for sensor, known in sensors.items() if sensor[0] in sources}

    def forget(self, zone: str) -> None:
        """Nothing is known of it."""
        self._known.pop(zone, None)
