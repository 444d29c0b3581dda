"""Breakers of zones and feeds, as their sensors tell: an element is lost once all of its inlets are.

Where two speak of one inlet, one that says open counts while it is fresh. What was open counts as closed again once
readings over half a minute have said so. Silence changes nothing. Moments are those of the clock that nobody sets.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from slurm_power.config.telemetry import Redfish, Snmp, TelemetrySource

CLOSED_S = 30
"""So long a breaker has to be told closed before what is behind it carries anything again."""


@dataclass(slots=True)
class _State:
    """Of one element: lost or not; since when, and until when, it has been told closed without a break."""

    is_open: bool
    closed_since: float | None = None


class Breakers:
    """All of which anything was said."""

    def __init__(self) -> None:
        self._said: dict[str, dict[tuple[str, str], tuple[float, bool, int]]] = {}
        """Element → (source, inlet) → (when, whether open, for how long that counts)."""
        self._states: dict[str, _State] = {}
        self._expected: dict[str, frozenset[str]] = {}
        """Element → its inlets by the site file; nobody says that it is lost before each has been heard."""

    def expect(self, sources: Iterable[TelemetrySource]) -> None:
        """By these sources of the site file."""
        found: dict[str, set[str]] = {}
        for one in sources:
            if isinstance(one, (Redfish, Snmp)) and (isinstance(one, Redfish) or one.breaker is not None):
                found.setdefault(one.zone or one.feed or one.node or "", set()).add(one.inlet or "")
        self._expected = {name: frozenset(inlets) for name, inlets in found.items()}

    def restore(self, element: str) -> None:
        """It was lost before a restart."""
        self._states.setdefault(element, _State(is_open=True))

    def take(self, element: str, source: str, inlet: str, is_open: bool, moment: float, stale_s: int) -> bool:
        """What a source says of one inlet. Whether the element is lost now and was not, or the other way round."""
        self._said.setdefault(element, {})[source, inlet] = (moment, is_open, stale_s)
        state = self._states.setdefault(element, _State(is_open=False))
        if self._all_open(element, moment):
            state.closed_since = None
            changed, state.is_open = not state.is_open, True
            return changed
        if not state.is_open or is_open:
            return False
        if state.closed_since is None:
            state.closed_since = moment
        if moment - state.closed_since < CLOSED_S:
            return False
        state.is_open, state.closed_since = False, None
        return True

    def states(self) -> Mapping[str, bool]:
        """Element → whether it is lost."""
        return {name: state.is_open for name, state in self._states.items()}

    def elements(self) -> Collection[str]:
        """Their names."""
        return list(self._states)

    def keep(self, elements: Collection[str]) -> None:
        """Forget all others."""
        for name in [name for name in self._states if name not in elements]:
            self.forget(name)

    def forget(self, element: str) -> None:
        """Nothing is known of it."""
        self._states.pop(element, None)
        self._said.pop(element, None)

    def _all_open(self, element: str, moment: float) -> bool:
        inlets: dict[str, list[tuple[float, bool, int]]] = {}
        for (_, inlet), said in self._said[element].items():
            inlets.setdefault(inlet, []).append(said)
        if "" in inlets and _open(inlets.pop(""), moment):
            return True
        awaited = self._expected.get(element, frozenset()) - {""}
        return bool(inlets) and awaited <= inlets.keys() and all(_open(said, moment) for said in inlets.values())


def _open(said: list[tuple[float, bool, int]], moment: float) -> bool:
    """Whether an inlet is open: by those who are fresh, else by the last word."""
    fresh = [is_open for at, is_open, stale_s in said if moment - at <= stale_s]
    return any(fresh) if fresh else max(said)[1]
