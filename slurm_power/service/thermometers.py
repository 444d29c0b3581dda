"""The thermometers of zones: several may tell of one zone, and the hottest of those that are fresh counts."""

from slurm_power.core.thermal import Thermometer, Warmth


class Thermometers:
    """All that have told anything. Moments are those of the clock that nobody sets, in s."""

    def __init__(self) -> None:
        self._known: dict[str, dict[tuple[str, str], tuple[Thermometer, int]]] = {}
        """Zone → (source, part) → the sensor, and after so many s of silence it no longer counts."""

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
        """How warm a zone is; None where no sensor of it is fresh."""
        found: Warmth | None = None
        for thermometer, stale_s in self._known.get(zone, {}).values():
            if thermometer.age_s(moment) <= stale_s:
                one = thermometer.warmth(window_s)
                found = one if found is None else found.or_more(one)
        return found

    def forget(self, zone: str) -> None:
        """Nothing is known of it."""
        self._known.pop(zone, None)

    def clear(self) -> None:
        """Nothing is known of any."""
        self._known.clear()
