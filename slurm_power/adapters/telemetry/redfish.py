"""Readings from a PDU, chassis or server that speaks Redfish.

One resource tells the power. Where another one is named, or none, links lead from there:

    ServiceRoot          the only one of the first kind of power equipment that is there, else the only chassis
    PowerDistribution    its Metrics; for the breaker also the only one of its Mains
    Chassis              its EnvironmentMetrics where these tell the power, else its Power

Links are followed to resources of the same device alone, and only so many of them. The way is looked for once, and
again after an error. Nothing is ever summed that is not known to be the parts of a whole: a total and its parts may
stand side by side.

Source of names, units and meanings: the schemas that DMTF publishes as DSP8010.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from math import isclose
from typing import NamedTuple

from slurm_power.adapters.telemetry.redfish_resource import Resource, is_path
from slurm_power.adapters.telemetry.web import Web, shown
from slurm_power.config.telemetry import Redfish
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity, Reading, Told

_ROOT = "/redfish/v1/"
_ENTRY = "#/PowerControl/"
_MOST_STEPS = 16
_MOST_LISTED = 8
_NAME_IT = "name what tells the power by 'resource'"
_EQUIPMENT = ("RackPDUs", "FloorPDUs", "PowerShelves", "Switchgear", "ElectricalBuses", "TransferSwitches")
_TELLING = frozenset(("PowerDistributionMetrics", "EnvironmentMetrics", "Circuit", "Outlet", "Power", "Sensor"))
_COUNTERS = {"EnergyJoules": 1, "EnergykWh": 3_600_000}
_UNITS = {"W": 1, "kW": 1_000}
_BREAKER = {"Normal": 1.0, "Tripped": 0.0, "Off": 0.0}
_LINES = {
    "L1": ("Line1ToNeutral", "Line1ToLine2", "Line3ToLine1"),
    "L2": ("Line2ToNeutral", "Line1ToLine2", "Line2ToLine3"),
    "L3": ("Line3ToNeutral", "Line2ToLine3", "Line3ToLine1"),
}
_TO_NEUTRAL = frozenset(names[0] for names in _LINES.values())
_BETWEEN = frozenset(name for names in _LINES.values() for name in names[1:])
_ALIKE = 0.1
"""A total and the sum of its phases may differ by such a share, for they are not measured at one instant."""


class _Value(NamedTuple):
    quantity: Quantity
    value: float
    phase: str = ""
    age_s: float = 0.0


class RedfishSource:
    """One `telemetry` of type `redfish`."""

    def __init__(self, config: Redfish) -> None:
        self._config = config
        self._web = Web(config.url, config.timeout, config.credentials, config.verify)
        self._start, _, self._entry = (config.resource or _ROOT).partition(_ENTRY)
        self._leaf = self._mains = ""

    def read(self) -> Told:
        """Power; temperature and breaker too where they are told. Raises TelemetryError.

        Each resource may take the time-out. Once the way is known it is one, or two where the breaker is another's.
        """
        walk = _Walk(self._web, self._config.place.rstrip("/"))
        try:
            leaf, mains = walk.leaf(self._leaf or self._start)
            mains = mains or self._mains
            values = _told(leaf, self._entry) + (_breaker(walk.get(mains)) if mains else [])
        except TelemetryError:
            self._leaf = self._mains = ""
            raise
        self._leaf, self._mains = leaf.path, mains
        left = [one for one in values if one.quantity is not Quantity.TEMPERATURE or self._config.celsius == "inlet"]
        return Told([self._reading(one) for one in left])

    def close(self) -> None:
        """No more readings."""
        self._web.close()

    def _reading(self, one: _Value) -> Reading:
        config = self._config
        named = ((Kind.ZONE, config.zone), (Kind.FEED, config.feed), (Kind.NODE, config.node))
        kind, element = next((kind, name) for kind, name in named if name is not None)
        return Reading(kind, element, one.quantity, one.value, one.age_s, config.inlet or "", one.phase)


class _Walk:
    """The way from one resource to others, for one reading; none is asked for twice."""

    def __init__(self, web: Web, device: str) -> None:
        self._web = web
        self._device = device
        self._known: dict[str, Resource] = {}

    def get(self, path: str) -> Resource:
        """What is there. Raises TelemetryError."""
        if path in self._known:
            return self._known[path]
        if not is_path(path):
            raise TelemetryError(f"{self._device}: '{shown(path)}' is no path that begins with /redfish/")
        if len(self._known) == _MOST_STEPS:
            raise TelemetryError(f"{self._device}: nothing tells power within {_MOST_STEPS} resources; {_NAME_IT}")
        answer = self._web.answer(path)
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise TelemetryError(f"{self._device}{path}: the answer is no JSON") from None
        if not isinstance(body, dict):
            raise TelemetryError(f"{self._device}{path}: the answer is no resource of Redfish's")
        found = self._known[path] = Resource(self._device, path, body, answer.headers.get("Date", ""))
        return found

    def leaf(self, path: str) -> tuple[Resource, str]:
        """The resource that tells the power, and the path of another one that tells the breaker, where there is one."""
        here, mains = self.get(path), ""
        for _ in range(_MOST_STEPS):
            if here.type in _TELLING:
                return here, mains
            if here.type == "PowerDistribution":
                mains = self._mains(here)
            here = self.get(self._next(here))
        raise here.wrong(f"the links lead in a circle; {_NAME_IT}")

    def _next(self, here: Resource) -> str:
        if here.type == "ServiceRoot":
            return _only(self._devices(here))
        if here.type.endswith("Collection"):
            return _only(here)
        if here.type == "Chassis":
            return self._of_chassis(here)
        metrics = here.link("Metrics") if here.type == "PowerDistribution" else ""
        if not metrics:
            raise here.wrong(f"a resource of type '{here.type}' tells no power; {_NAME_IT}")
        return metrics

    def _devices(self, root: Resource) -> Resource:
        equipment = root.link("PowerEquipment")
        for name in _EQUIPMENT if equipment else ():
            path = self.get(equipment).link(name)
            if path and self.get(path).members():
                return self.get(path)
        chassis = root.link("Chassis")
        if not chassis:
            raise root.wrong(f"there is neither power equipment nor a chassis; {_NAME_IT}")
        return self.get(chassis)

    def _of_chassis(self, chassis: Resource) -> str:
        metrics, power = chassis.link("EnvironmentMetrics"), chassis.link("Power")
        if metrics and (not power or self.get(metrics).number_or_none("PowerWatts", "Reading") is not None):
            return metrics
        if not power:
            raise chassis.wrong(f"there is neither EnvironmentMetrics nor Power; {_NAME_IT}")
        return power

    def _mains(self, pdu: Resource) -> str:
        """The only one, where it has a breaker."""
        path = pdu.link("Mains")
        members = self.get(path).members() if path else ()
        return members[0] if len(members) == 1 and _breaker(self.get(members[0])) else ""


def _only(collection: Resource) -> str:
    found = collection.members()
    more = "Members@odata.nextLink" in collection.body
    if len(found) == 1 and not more:
        return found[0]
    if not found:
        raise collection.wrong(f"is empty; {_NAME_IT}")
    dots = ", …" if more or len(found) > _MOST_LISTED else ""
    raise collection.wrong(f"has several: {', '.join(found[:_MOST_LISTED])}{dots}; name one by 'resource'")


def _told(leaf: Resource, entry: str) -> list[_Value]:
    if leaf.type == "Power":
        return [_Value(Quantity.POWER, _own_entry(leaf, entry).number("PowerConsumedWatts"))]
    if entry:
        raise leaf.wrong(f"a resource of type '{leaf.type}' has no PowerControl")
    if leaf.type == "Sensor":
        return [_sensor(leaf)]
    if leaf.type in ("Circuit", "Outlet"):
        return _phases_or_total(leaf) + _breaker(leaf)
    return [_total(leaf), *_temperature(leaf)]


def _total(leaf: Resource) -> _Value:
    """Its power; where it tells of none at all, what it counts of energy."""
    for name, joules in _COUNTERS.items() if "PowerWatts" not in leaf.body else ():
        counted = leaf.number_or_none(name, "Reading")
        if counted is not None:
            return _Value(Quantity.ENERGY, counted * joules)
    return _Value(Quantity.POWER, leaf.number("PowerWatts", "Reading"))


def _temperature(leaf: Resource) -> list[_Value]:
    """That of the air around it where it is told, for that is what it takes in; else its own."""
    for name in ("AmbientTemperatureCelsius", "TemperatureCelsius"):
        celsius = leaf.number_or_none(name, "Reading")
        if celsius is not None:
            return [_Value(Quantity.TEMPERATURE, celsius)]
    return []


def _phases_or_total(circuit: Resource) -> list[_Value]:
    """Not both, for they would count twice. Phases that do not add up to the total are not all, or overlap."""
    told = _poly_phase(circuit)
    phases = _by_line(told)
    total = circuit.number_or_none("PowerWatts", "Reading")
    if total is None and len(told) == 1 and circuit.word("PhaseWiringType").endswith("3Wire"):
        (total,) = told.values()  # with three wires there is but one measurement: a copy of the total
    if phases and (total is None or isclose(sum(phases.values()), total, rel_tol=_ALIKE)):
        return [_Value(Quantity.POWER, value, phase) for phase, value in phases.items()]
    return [_total(circuit) if total is None else _Value(Quantity.POWER, total)]


def _poly_phase(circuit: Resource) -> Mapping[str, float | None]:
    """Power by pair of wires."""
    told = circuit.body.get("PolyPhasePowerWatts")
    names = (_TO_NEUTRAL | _BETWEEN) & told.keys() if isinstance(told, dict) else ()
    return {name: circuit.number_or_none("PolyPhasePowerWatts", name, "Reading") for name in sorted(names)}


def _by_line(told: Mapping[str, float | None]) -> Mapping[str, float]:
    """Power by line; none unless all three are known. Of a load between two lines, half is on each."""
    known = {name: value for name, value in told.items() if value is not None}
    if known.keys() != told.keys() or known.keys() not in (_TO_NEUTRAL, _BETWEEN, _TO_NEUTRAL | _BETWEEN):
        return {}
    return {
        line: known.get(own, 0.0) + (known.get(one, 0.0) + known.get(other, 0.0)) / 2
        for line, (own, one, other) in _LINES.items()
    }


def _breaker(circuit: Resource) -> list[_Value]:
    """Nothing where it has none, or does not say."""
    if circuit.body.get("BreakerState") is None:
        return []
    state = circuit.word("BreakerState")
    if state not in _BREAKER:
        raise circuit.wrong(f"BreakerState is '{state}', and none of {', '.join(_BREAKER)}")
    return [_Value(Quantity.BREAKER, _BREAKER[state])]


def _sensor(sensor: Resource) -> _Value:
    unit = sensor.word("ReadingUnits")
    if unit not in _UNITS:
        raise sensor.wrong(f"ReadingUnits is '{unit}', and neither W nor kW")
    return _Value(Quantity.POWER, sensor.number("Reading") * _UNITS[unit], age_s=_age_s(sensor))


def _age_s(sensor: Resource) -> float:
    """How old its reading is by the device's own clock; 0 where it does not say."""
    try:
        read_at = datetime.fromisoformat(sensor.word("ReadingTime"))
        return (parsedate_to_datetime(sensor.date) - read_at).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _own_entry(power: Resource, entry: str) -> Resource:
    """The entry for the whole chassis: others may be parts of it, such as its CPUs."""
    entries = found = power.parts("PowerControl")
    if not entries:
        raise power.wrong("PowerControl is empty")
    if entry:
        found = [one for one in entries if one.word("MemberId") == entry]
    elif len(entries) > 1:
        found = [one for one in entries if one.body.get("PhysicalContext") in (None, "Chassis")]
        chassis = power.path.removesuffix("/").removesuffix("/Power")
        related = [one for one in found if _concerns(one, chassis)]
        found = related if len(related) == 1 else found
    if len(found) != 1:
        listed = shown(", ".join(f"{one.word('MemberId')} '{one.word('Name')}'" for one in entries))
        wanted = f"PowerControl has no '{shown(entry)}'" if entry else "which PowerControl is the total is not clear"
        raise power.wrong(f"{wanted}; of {listed} name one, as in resource: {power.path}{_ENTRY}0")
    return found[0]


def _concerns(entry: Resource, path: str) -> bool:
    links = entry.body.get("RelatedItem")
    return isinstance(links, list) and {"@odata.id": path} in links
