"""What `telemetry` and `thermal` of a site file must not be: what could never work, or would do nothing."""

import pytest

from slurm_power.config import load_site
from tests.config.test_problems import problems

FLOOR = """\
feeds: {loop: {limit: 9kW, kind: cooling}, pdu: {limit: 9kW}}
zones: {z: {nodes: n1, limit: 10kW}}
"""
WEB = "url: 'http://p', every: 5s, stale: 9s"
SNMP = "type: snmp, host: p, credentials: /x, every: 5s, stale: 9s"
POWER = "oid: rPDU2DeviceStatusPower"
NUMBER = "a number such as 1.3.6.1.4.1.318.1.1.26.4.3.1.5.1"


def source(text: str) -> str:
    return f"{FLOOR}telemetry: [{{{text}}}]\n"


SOURCES = [
    (f"type: prometheus, {WEB}, zone_watts: x, scale: 0", ".scale: '0' is not above 0; expected a number above 0"),
    (f"{SNMP}, zone: z, {POWER}, scale: 0.0", ".scale: '0.0' is not above 0; expected a number above 0 such as 10"),
    (f"{SNMP}, zone: z, celsius: '1.3', celsius_scale: 0", ".celsius_scale: '0' is not above 0"),
    (
        f"{SNMP}, zone: z, oid: rPDU2DeviceStatusPowerr",
        ".oid: 'rPDU2DeviceStatusPowerr' is no object that is known by name; expected 'rPDU2DeviceStatusPower', if "
        f"that was meant, or {NUMBER}",
    ),
    (f"{SNMP}, zone: z, energy: rPDU2DeviceStatusPower.", ".energy: 'rPDU2DeviceStatusPower.' is no object"),
    (f"{SNMP}, zone: z, oid: '1'", f", or {NUMBER}"),
    (f"{SNMP}, zone: z, phases: [inputWatts.0.1.1, inputWatts.0.1.2, inputWats.0.1.3]", ".phases[2]: 'inputWats.0."),
    (
        f"{SNMP}, zone: z, oid: inputWatts",
        ".oid: the rows of 'inputWatts' do not add up (W); expected one of them, such as inputWatts.1.1",
    ),
    (f"{SNMP}, zone: z, celsius: 3.6.1.4", f".celsius: '3.6.1.4' is no object identifier; expected {NUMBER}"),
    (f"{SNMP}, feed: pdu, breaker: 1.3.6.1.4.99999999999", ".breaker: '1.3.6.1.4.99999999999' is no object identifier"),
    (
        f"type: snmp, host: p, zone: z, every: 5s, stale: 9s, {POWER}",
        ".credentials: is missing; expected a file such as /etc/slurm_power/pdu.yaml, with 'community: …' or 'user: …'",
    ),
    (f"type: snmp, host: p, credentials: , zone: z, every: 5s, stale: 9s, {POWER}", ".credentials: has no value"),
    (f"{SNMP}, feed: loop, celsius: '1.3'", ": temperatures count for zones alone; expected 'celsius' beside a zone"),
    (f"{SNMP}, node: n1, {POWER}, celsius: '1.3'", ": temperatures count for zones alone"),
    (f"{SNMP}, node: n1, breaker: '1.3'", ": breakers count for zones and feeds alone; expected 'breaker' beside"),
    (
        "type: redfish, url: 'http://p', zone: z, every: 1s, stale: 90s, timeout: 30s",
        ": 'timeout' is longer than 'every'; expected for example every: 5s, timeout: 2s",
    ),
    ("type: redfish, url: 'http://p', zone: z, stale: 9s", ".every: is missing; expected a duration such as 30s"),
]


@pytest.mark.parametrize(("text", "message"), SOURCES)
def test_a_source_that_could_not_work(text: str, message: str) -> None:
    (found,) = problems(source(text))
    assert found.startswith("s.yaml:3: telemetry[0]")
    assert message in found


@pytest.mark.parametrize(
    "text",
    [
        f"{SNMP}, zone: z, {POWER}, celsius: '1.3', breaker: '1.3', scale: 0.1",
        f"{SNMP}, feed: pdu, breaker: measurementsOverCurrentProtectorSensorState.1.3.15",
        f"{SNMP}, node: n1, {POWER}",
        "type: redfish, url: 'http://p', zone: z, every: 1s, stale: 9s",
        "type: redfish, url: 'http://p', zone: z, every: 5s, stale: 9s, timeout: 5s",
    ],
)
def test_a_source_that_could_work(text: str) -> None:
    assert load_site(text=source(text)).telemetry


THERMAL = [
    ("{}", ": it takes nothing away; expected for example steps: [{above: 32, less: 25%}], critical: 40"),
    ("{steps: [], dwell: 1m}", ": it takes nothing away"),
    (
        "{steps: [{above: 32, less: 25%}, {above: 36, less: 50%}], critical: 35}",
        ": 'critical' is below its last step; expected for example steps: [{above: 32, less: 25%}], critical: 40",
    ),
    ("{steps: [{above: 36, less: 25%}, {above: 32, less: 50%}]}", ": its steps do not rise"),
    ("{steps: [{above: 320, less: 25%}]}", ".steps[0].above: '320' is a temperature that no inlet has; expected a"),
    ("{critical: 400}", ".critical: '400' is a temperature that no inlet has; expected a temperature in °C such as 32"),
    ("{critical: 40, hysteresis: 0}", ".hysteresis: '0' is not above 0 and at most 10; expected a few °C such as 2"),
    ("{critical: 40, hysteresis: 30}", ".hysteresis: '30' is not above 0 and at most 10"),
]


@pytest.mark.parametrize(("text", "message"), THERMAL)
def test_rules_for_heat_that_could_not_work(text: str, message: str) -> None:
    (found,) = problems(f"{FLOOR}thermal: {text}\n")
    assert f"s.yaml:3: thermal{message}" in found


@pytest.mark.parametrize("text", ["{critical: 40}", "{steps: [{above: 32, less: 25%}], critical: 32, hysteresis: 0.5}"])
def test_rules_for_heat_that_could_work(text: str) -> None:
    assert load_site(text=f"{FLOOR}thermal: {text}\n").thermal
