"""Readings from devices that speak Redfish as they should."""

import math
from typing import Any

import pytest

from slurm_power.adapters.telemetry.redfish import RedfishSource
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity, Telemetry
from tests.adapters.telemetry.hostile import Hostile, routes, shows
from tests.adapters.telemetry.redfish import (
    BRANCH,
    CELSIUS,
    CHASSIS,
    CLOSED,
    ENVIRONMENT,
    EQUIPMENT,
    MAINS,
    METRICS,
    OUTLET,
    PDU,
    POWER,
    ROOT,
    SENSOR,
    WATTS,
    Documents,
    Said,
    V,
    changed,
    configured,
    entry,
    lines,
    link,
    members,
    mockup,
    read,
    said,
    served,
    trouble,
)

# -- what it understands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "resource", "tells"),
    [
        ("pdu", None, [WATTS, CELSIUS, CLOSED]),
        ("pdu", ROOT, [WATTS, CELSIUS, CLOSED]),
        ("pdu", f"{EQUIPMENT}/RackPDUs", [WATTS, CELSIUS, CLOSED]),
        ("pdu", PDU, [WATTS, CELSIUS, CLOSED]),
        ("pdu", METRICS, [WATTS, CELSIUS]),
        ("pdu", f"{PDU}/Branches", [(Quantity.POWER, 0), (Quantity.BREAKER, 0)]),
        ("pdu", BRANCH, [(Quantity.POWER, 0), (Quantity.BREAKER, 0)]),
        ("pdu", OUTLET, [(Quantity.POWER, 2_210.5)]),
        ("pdu", SENSOR, [WATTS]),
        ("server", None, [(Quantity.POWER, 6_840)]),
        ("server", CHASSIS, [(Quantity.POWER, 6_840)]),
        ("server", POWER, [(Quantity.POWER, 6_840)]),
        ("server", f"{POWER}#/PowerControl/1", [(Quantity.POWER, 610)]),
    ],
)
def test_each_type_of_resource(device: str, resource: str | None, tells: Said) -> None:
    assert said(mockup(device), resource) == tells


def test_of_whom_it_tells() -> None:
    source: Telemetry = configured("http://127.0.0.1:9")
    assert isinstance(source, RedfishSource)
    for keys in ({"zone": "rack01"}, {"feed": "pdu-a1", "inlet": "a"}, {"node": "gpu001"}):
        found = read(mockup("pdu"), **keys)
        kind, element = next(iter(keys.items()))
        assert {(one.kind, one.element, one.part) for one in found} == {(Kind(kind), element, keys.get("inlet", ""))}
        assert {(one.phase, one.age_s) for one in found} == {("", 0)}


def test_power_equipment_other_than_rack_pdus() -> None:
    shelf = f"{EQUIPMENT}/PowerShelves/1"
    documents = changed("pdu", EQUIPMENT, RackPDUs=..., FloorPDUs=..., PowerShelves=link(f"{EQUIPMENT}/PowerShelves"))
    documents[f"{EQUIPMENT}/PowerShelves"] = members(shelf)
    documents[shelf] = {"@odata.type": "#PowerDistribution.v1_4_0.PowerDistribution", "Metrics": link(METRICS)}
    assert said(documents) == [WATTS, CELSIUS]
    documents = changed("pdu", f"{EQUIPMENT}/RackPDUs", Members=[])
    documents[f"{EQUIPMENT}/FloorPDUs/row1"] = documents[PDU]
    assert said(documents) == [WATTS, CELSIUS, CLOSED]


def test_a_pdu_with_several_mains_tells_no_breaker() -> None:
    documents = changed("pdu", f"{PDU}/Mains", Members=[link(MAINS), link(f"{PDU}/Mains/AC2")])
    assert said(documents) == [WATTS, CELSIUS]
    assert said(changed("pdu", MAINS, BreakerState=None)) == [WATTS, CELSIUS]
    assert said(changed("pdu", MAINS, BreakerState="Off")) == [WATTS, CELSIUS, (Quantity.BREAKER, 0)]


def test_environment_metrics_that_tell_power_come_before_power() -> None:
    watts = {"PowerWatts": {"Reading": 6_900}}
    celsius = (Quantity.TEMPERATURE, 24)
    assert said(changed("server", ENVIRONMENT, **watts)) == [(Quantity.POWER, 6_900), celsius]
    documents = changed("server", ENVIRONMENT, **watts)
    documents[CHASSIS].pop("Power")
    assert said(documents) == [(Quantity.POWER, 6_900), celsius]
    documents = changed("server", CHASSIS, EnvironmentMetrics=...)
    assert said(documents) == [(Quantity.POWER, 6_840)]


@pytest.mark.parametrize(
    ("counter", "joules"),
    [
        ({"EnergykWh": {"Reading": 88_412.5}}, 318_285_000_000),
        ({"EnergykWh": {"Reading": 1}, "EnergyJoules": {"Reading": 3_600_100.5}}, 3_600_100.5),
    ],
)
def test_energy_only_where_there_is_no_power(counter: dict[str, Any], joules: float) -> None:
    documents = changed("server", ENVIRONMENT, **counter)
    documents[CHASSIS].pop("Power")
    assert said(documents) == [(Quantity.ENERGY, joules), (Quantity.TEMPERATURE, 24)]
    documents[ENVIRONMENT]["PowerWatts"] = {"Reading": None}
    assert trouble(documents) == f"{ENVIRONMENT}: PowerWatts.Reading is missing or null"


@pytest.mark.parametrize("value", [math.inf, -math.inf, -120.5, 0, 1e300])
def test_values_are_not_judged(value: float) -> None:
    assert said(changed("pdu", METRICS, PowerWatts={"Reading": value})) == [(Quantity.POWER, value), CELSIUS, CLOSED]


def test_not_even_those_that_are_none() -> None:
    (_, value), *_ = said(changed("pdu", METRICS, PowerWatts={"Reading": math.nan}))
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("read_at", "date", "age_s"),
    [
        ("2026-11-27T10:00:00+01:00", "Fri, 27 Nov 2026 09:00:07 GMT", 7),
        ("2026-11-27T09:00:10Z", "Fri, 27 Nov 2026 09:00:07 GMT", -3),
        ("2026-11-27T09:00:00", "Fri, 27 Nov 2026 09:00:07 GMT", 0),
        ("2026-11-27T09:00:00Z", "", 0),
        ("2026-11-27T09:00:00Z", "Fri, 27 Nov 2026 09:00:07 +9999999999999", 0),
        ("yesterday", "Fri, 27 Nov 2026 09:00:07 GMT", 0),
        (None, "Fri, 27 Nov 2026 09:00:07 GMT", 0),
        (7, "Fri, 27 Nov 2026 09:00:07 GMT", 0),
    ],
)
def test_how_old_the_reading_of_a_sensor_is(read_at: object, date: str, age_s: float) -> None:
    body = {**mockup("pdu")[SENSOR], "ReadingTime": read_at}
    (found,) = read(routes({SENSOR: shows(body, Date=date)}), SENSOR)
    assert (found.value, found.age_s) == (17_250, age_s)


# -- totals, phases and parts ----------------------------------------------------------------------------------------


TO_NEUTRAL = {"Line1ToNeutral": 3_000, "Line2ToNeutral": 2_900, "Line3ToNeutral": 3_200}
BETWEEN = {"Line1ToLine2": 700, "Line2ToLine3": 900, "Line3ToLine1": 500}


@pytest.mark.parametrize(
    ("total", "phases", "tells"),
    [
        (9_100, lines(**TO_NEUTRAL), {"L1": 3_000, "L2": 2_900, "L3": 3_200}),
        (None, lines(**TO_NEUTRAL), {"L1": 3_000, "L2": 2_900, "L3": 3_200}),
        (2_100, lines(**BETWEEN), {"L1": 600, "L2": 800, "L3": 700}),
        (None, lines(**TO_NEUTRAL, **BETWEEN), {"L1": 3_600, "L2": 3_700, "L3": 3_900}),
        # the same load told twice, in lines and between them
        (9_100, lines(**TO_NEUTRAL, Line1ToLine2=3_000, Line2ToLine3=3_000, Line3ToLine1=3_100), {"": 9_100}),
        (9_100, lines(Line1ToNeutral=3_000, Line2ToNeutral=2_900), {"": 9_100}),
        (9_100, lines(**TO_NEUTRAL | {"Line2ToNeutral": None}), {"": 9_100}),
        (9_100, lines(**TO_NEUTRAL, Line1ToLine2=100), {"": 9_100}),
        (9_100, lines(Line1ToNeutral=9_100), {"": 9_100}),  # one phase: a copy of the total
        (20_000, lines(**TO_NEUTRAL), {"": 20_000}),
        (9_100, {}, {"": 9_100}),
        (9_100, None, {"": 9_100}),
        (0, lines(Line1ToNeutral=0, Line2ToNeutral=0, Line3ToNeutral=0), {"L1": 0, "L2": 0, "L3": 0}),
    ],
)
def test_phases_or_the_total(total: float | None, phases: dict[str, Any] | None, tells: dict[str, float]) -> None:
    documents = changed("pdu", MAINS, PowerWatts={"Reading": total}, PolyPhasePowerWatts=phases, BreakerState=...)
    assert {one.phase: one.value for one in read(documents, MAINS)} == tells


@pytest.mark.parametrize("wiring", ["OnePhase3Wire", "TwoPhase3Wire", "OneOrTwoPhase3Wire"])
def test_with_three_wires_the_one_measurement_is_the_total(wiring: str) -> None:
    alone = {"PowerWatts": ..., "BreakerState": ..., "PhaseWiringType": wiring}
    documents = changed("pdu", BRANCH, **alone, PolyPhasePowerWatts=lines(Line1ToLine2=738.9))
    assert said(documents, BRANCH) == [(Quantity.POWER, 738.9)]
    documents = changed("pdu", BRANCH, **alone, PolyPhasePowerWatts=lines(Line1ToLine2=None))
    assert trouble(documents, BRANCH) == f"{BRANCH}: PowerWatts.Reading is missing or null"
    documents = changed("pdu", BRANCH, PowerWatts=..., PhaseWiringType="TwoPhase4Wire")
    assert trouble(documents, BRANCH) == f"{BRANCH}: PowerWatts.Reading is missing or null"


def test_the_temperature_is_that_of_the_air_around_where_it_is_told() -> None:
    documents = changed("pdu", METRICS, AmbientTemperatureCelsius={"Reading": 21.5})
    assert said(documents, METRICS) == [WATTS, (Quantity.TEMPERATURE, 21.5)]
    documents = changed("pdu", METRICS, AmbientTemperatureCelsius={"Reading": None})
    assert said(documents, METRICS) == [WATTS, CELSIUS]
    assert said(changed("pdu", METRICS, TemperatureCelsius=None), METRICS) == [WATTS]


def test_phases_of_which_one_is_not_told_are_no_total() -> None:
    for unknown in ("Line3ToNeutral", "Line1ToLine2"):
        phases = lines(**TO_NEUTRAL | {unknown: None})
        documents = changed("pdu", MAINS, PowerWatts=..., PolyPhasePowerWatts=phases)
        assert trouble(documents, MAINS) == f"{MAINS}: PowerWatts.Reading is missing or null"


OWN, OTHER = {"RelatedItem": [{"@odata.id": CHASSIS}]}, {"RelatedItem": [{"@odata.id": f"{CHASSIS}/Blade"}]}


@pytest.mark.parametrize(
    ("entries", "watts"),
    [
        ([entry(0, 300)], 300),
        ([entry(1, 300, PhysicalContext="PowerSupply")], 300),
        ([entry(0, 90, PhysicalContext="CPU"), entry(1, 300, PhysicalContext="Chassis")], 300),
        ([entry(0, 300), entry(1, 90, PhysicalContext="Accelerator")], 300),
        ([entry(0, 80, **OTHER), entry(1, 300, **OWN), entry(2, 90)], 300),
    ],
)
def test_the_entry_of_the_chassis(entries: object, watts: float) -> None:
    assert said(changed("server", POWER, PowerControl=entries)) == [(Quantity.POWER, watts)]
    slash = changed("server", CHASSIS, Power={"@odata.id": f"{POWER}/"})
    slash[f"{POWER}/"] = {**slash[POWER], "PowerControl": entries}
    assert said(slash) == [(Quantity.POWER, watts)]


@pytest.mark.parametrize(
    "entries",
    [
        [entry(0, 300), entry(1, 310)],
        [entry(0, 300, **OWN), entry(1, 310, **OWN)],
        [entry(0, 300, PhysicalContext="PowerSupply"), entry(1, 310, PhysicalContext="PowerSupply")],
        [entry(0, 300, PhysicalContext="Chassis"), entry(1, 310, PhysicalContext="Chassis", RelatedItem=7)],
    ],
)
def test_entries_of_which_none_is_the_total_are_not_summed(entries: object) -> None:
    documents = changed("server", POWER, PowerControl=entries)
    assert trouble(documents) == (
        f"{POWER}: which PowerControl is the total is not clear; of 0 'P0', 1 'P1' name one, as in resource: "
        f"{POWER}#/PowerControl/0"
    )
    assert said(documents, f"{POWER}#/PowerControl/1") == [(Quantity.POWER, 310)]
    assert "PowerControl has no '2'; of 0 'P0', 1 'P1' name one" in trouble(documents, f"{POWER}#/PowerControl/2")


# -- the way there ---------------------------------------------------------------------------------------------------


def test_the_way_is_known_after_the_first_reading() -> None:
    with Hostile(served(mockup("pdu"))) as server:
        source = configured(server.url)
        first = source.read()
        asked = [question.target for question in server.questions]
        assert asked == [ROOT, EQUIPMENT, f"{EQUIPMENT}/RackPDUs", PDU, f"{PDU}/Mains", MAINS, METRICS]
        server.questions.clear()
        assert source.read() == first
        assert [question.target for question in server.questions] == [METRICS, MAINS]
        assert server.connections == 1
    with Hostile(served(mockup("server"))) as server:
        source = configured(server.url)
        source.read()
        server.questions.clear()
        source.read()
        assert [question.target for question in server.questions] == [POWER]


def test_the_way_is_forgotten_after_an_error() -> None:
    with Hostile(served(mockup("pdu"))) as server:
        source = configured(server.url)
        source.read()
        moved = f"{PDU}/Summary"
        documents = changed("pdu", PDU, Metrics=link(moved), Mains=...)
        documents[moved] = documents.pop(METRICS)
        server.does = served(documents)
        with pytest.raises(TelemetryError, match=f"{METRICS}: answers 404"):
            source.read()
        assert [(one.quantity, one.value) for one in source.read().readings] == [WATTS, CELSIUS]
        server.does = served(mockup("server"))
        with pytest.raises(TelemetryError, match="answers 404"):
            source.read()
        assert [one.value for one in source.read().readings] == [6_840]


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        (
            changed("pdu", f"{EQUIPMENT}/RackPDUs", Members=[link(PDU), link(f"{PDU}2")]),
            f"{EQUIPMENT}/RackPDUs: has several: {PDU}, {PDU}2; name one by 'resource'",
        ),
        (
            changed("pdu", f"{EQUIPMENT}/RackPDUs", **{"Members@odata.nextLink": f"{EQUIPMENT}/RackPDUs?$skip=1"}),
            f"{EQUIPMENT}/RackPDUs: has several: {PDU}, …; name one by 'resource'",
        ),
        (
            changed("pdu", ROOT, PowerEquipment=...),
            f"{V}/Chassis: has several: {V}/Chassis/PDU, {V}/Chassis/Door; name one by 'resource'",
        ),
        (
            changed("server", f"{V}/Chassis", Members=[link(f"{V}/Chassis/{number}") for number in range(100)]),
            f"{V}/Chassis/7, …; name one by 'resource'",
        ),
        (changed("server", f"{V}/Chassis", Members=[]), f"{V}/Chassis: is empty; name what tells the power"),
        (changed("server", ROOT, Chassis=...), f"{ROOT}: there is neither power equipment nor a chassis; name what"),
        (
            changed("server", CHASSIS, EnvironmentMetrics=..., Power=None),
            f"{CHASSIS}: there is neither EnvironmentMetrics nor Power; name what tells the power by 'resource'",
        ),
        (changed("pdu", PDU, Metrics=...), f"{PDU}: a resource of type 'PowerDistribution' tells no power; name what"),
        (changed("pdu", PDU, **{"@odata.type": "#Fan.v1_0_0.Fan"}), f"{PDU}: a resource of type 'Fan' tells no power"),
        (changed("pdu", PDU, **{"@odata.type": 7}), f"{PDU}: a resource of type '' tells no power"),
        (changed("pdu", METRICS, **{"@odata.type": ...}), f"{METRICS}: a resource of type '' tells no power"),
    ],
)
def test_where_the_way_ends(documents: Documents, says: str) -> None:
    assert says in trouble(documents)


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        ("/redfish/v1/Chassis/9", "/redfish/v1/Chassis/9: answers 404"),
        ("/redfish/../secret", ": '/redfish/../secret' is no path"),
        (f"{METRICS}#/PowerWatts", f": '{METRICS}#/PowerWatts' is no path"),
        (f"{METRICS}#/PowerControl/0", f"{METRICS}: a resource of type 'PowerDistributionMetrics' has no PowerControl"),
    ],
)
def test_resources_that_are_none(resource: str, says: str) -> None:
    assert trouble(mockup("pdu"), resource).startswith(says)
