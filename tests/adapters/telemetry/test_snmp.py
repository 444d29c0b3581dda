"""SNMP, asked of simulated PDUs: what is read, and with which secrets."""

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
from pysnmp.proto.secmod.rfc3826.priv import aes

from slurm_power.ports import Kind, Quantity, Reading
from tests.adapters.telemetry.pdus import APC, AUTH, ODD, PRIV, USERS, Opens, power, secrets_of, wrong
from tests.adapters.telemetry.simulated import Relay, Simulator, asks

# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "oid", ["rPDU2DeviceStatusPower.1", "PowerNet-MIB::rPDU2DeviceStatusPower", f".{APC}.4.3.1.5.1"]
)
def test_watts(opens: Opens, oid: str) -> None:
    assert opens(oid=oid, scale="10").read().readings == [power(12_340.0)]


@pytest.mark.parametrize("name", USERS)
def test_users_of_version_3(opens: Opens, name: str) -> None:
    source = opens(secrets=secrets_of(name), oid="rPDU2DeviceStatusPower", scale="10")
    assert source.read().readings == [power(12_340.0)]
    assert source.read().readings == [power(12_340.0)]


def test_phases(opens: Opens) -> None:
    phases = [f"rPDU2PhaseStatusPower.{number}" for number in (1, 2, 3)]
    assert opens(phases=phases, scale="10", feed="a1", inlet="left").read().readings == [
        Reading(Kind.FEED, "a1", Quantity.POWER, value, part="left", phase=phase)
        for phase, value in (("L1", 4_110.0), ("L2", 4_120.0), ("L3", 4_130.0))
    ]
    assert "phases: name one row for each phase, such as rPDU2PhaseStatusPower.1, rPDU2" in wrong(
        opens(phases=["rPDU2PhaseStatusPower"] * 3)
    )


def test_energy_in_joules(opens: Opens) -> None:
    (reading,) = opens(energy="rPDU2DeviceStatusEnergy", scale="360000", node="n1").read().readings
    assert reading == Reading(Kind.NODE, "n1", Quantity.ENERGY, 27_720_000.0)


def test_all_of_one_device_in_one_question(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    trip = "measurementsOverCurrentProtectorSensorState.1.{}.15"
    with Relay(lambda question: [ask(question)]) as relay:
        source = opens(
            port=relay.port,
            oid="rPDU2DeviceStatusPower.1",
            scale="10",
            celsius="rPDU2SensorTempHumidityStatusTempC.1",
            celsius_scale="0.1",
            breaker=trip.format(1),
        )
        assert [(reading.quantity, round(reading.value, 3)) for reading in source.read().readings] == [
            (Quantity.POWER, 12_340.0),
            (Quantity.TEMPERATURE, 24.3),
            (Quantity.BREAKER, 1.0),
        ]
        assert len(relay.questions) == 1
    assert opens(breaker=trip.format(2)).read().readings[0].value == 0.0
    assert "the state of the breaker is not known" in wrong(opens(breaker=trip.format(3)))


@pytest.mark.parametrize(
    ("number", "value"), [(1, 4e9), (2, 12_345_678_901_234_567_890.0), (3, 812.5), (10, -1.0)]
)
def test_numbers_of_all_sorts(opens: Opens, number: int, value: float) -> None:
    assert opens(oid=f"{ODD}.{number}.0").read().readings == [power(value)]


@pytest.mark.parametrize(
    ("oid", "says"),
    [
        (f"{ODD}.4.0", "'about 8 kW' is no number"),
        (f"{ODD}.5.0", "is of type IpAddress"),
        (f"{ODD}.6.0", "is of type TimeTicks"),
        (f"{ODD}.7.0", "'' is no number"),
        (f"{ODD}.8.0", "'nan' is no number"),
        (f"{ODD}.11.0", "is of type ObjectIdentifier"),
        (f"{ODD}.1", "noSuchInstance"),
        ("rPDU2DeviceStatusPower.7", "noSuchInstance"),
        ("pduTotalRealPower", "has no rows there"),
        ("systemTotalPower", "noSuch"),
    ],
)
def test_what_cannot_be_read_is_named(opens: Opens, oid: str, says: str) -> None:
    told = wrong(opens(oid=oid))
    assert says in told
    assert oid in told


def test_an_unusual_scale_is_told_once(opens: Opens, caplog: pytest.LogCaptureFixture) -> None:
    source = opens(oid="rPDU2DeviceStatusPower.1")
    with caplog.at_level(logging.WARNING):
        assert source.read().readings == [power(1_234.0)]
        source.read()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "oid: rPDU2DeviceStatusPower.1 usually takes the scale 10, and has 1"
    ]


# -- columns ----------------------------------------------------------------------------------------------------------


def test_rows_add_up(opens: Opens) -> None:
    assert opens(community="chain", oid="rPDU2DeviceStatusPower", scale="10").read().readings == [power(12_000.0)]
    assert opens(community="chain", oid=f"{APC}.4.3.1.5", scale="10").read().readings == [power(12_000.0)]
    assert opens(community="sixty", oid="rPDU2DeviceStatusPower", scale="10").read().readings == [power(6_000.0)]
    assert "more than 256 rows" in wrong(opens(community="endless", oid="rPDU2DeviceStatusPower"))


def test_a_device_that_stumbles_over_something_else(opens: Opens) -> None:
    assert opens(community="stumbles", oid="rPDU2DeviceStatusPower", scale="10").read().readings == [power(7_000.0)]
    assert f"answers 'genErr' to {ODD}.9.0" in wrong(opens(community="stumbles", oid=f"{ODD}.9.0"))


def test_a_total_and_its_parts_do_not(opens: Opens) -> None:
    told = wrong(opens(community="whole", oid="rPDU2DeviceStatusPower", scale="10"))
    rows = [f"rPDU2DeviceStatusPower.{number}" for number in (1, 2, 3, 4)]
    assert f"{rows[0]} (70) is the sum of {rows[1]}, {rows[2]}, {rows[3]}" in told
    assert f"Name the one that counts, such as {rows[0]}" in told
    assert opens(community="whole", oid=rows[0], scale="10").read().readings == [power(700.0)]


def test_rows_that_are_not_measured_do_not_add_up(opens: Opens) -> None:
    told = wrong(opens(community="unplugged", oid="rPDU2DeviceStatusPower"))
    assert "rPDU2DeviceStatusPower.2: below zero" in told


def test_the_hottest_row_counts(opens: Opens) -> None:
    (reading,) = opens(celsius="rPDU2SensorTempHumidityStatusTempC", celsius_scale="0.1").read().readings
    assert (reading.quantity, round(reading.value, 3)) == (Quantity.TEMPERATURE, 27.1)


def test_once_the_rows_are_known_one_small_question_does(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    answers: list[bytes] = []

    def relayed(question: bytes) -> Iterable[bytes]:
        answers.append(ask(question))
        return answers[-1:]

    with Relay(relayed) as relay:
        source = opens(port=relay.port, oid="rPDU2DeviceStatusPower", scale="10")
        assert [source.read().readings for _ in range(3)] == [[power(12_340.0)]] * 3
    assert len(relay.questions) == 3
    assert len(answers[1]) < len(answers[0])


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secrets", "says"),
    [
        ("user: nobody", "usmStatsUnknownUserNames"),
        (f"user: signed-sha\nauth: {AUTH}!\nauth_protocol: sha", "usmStatsWrongDigests"),
        (f"user: signed-sha\nauth: {AUTH}\nauth_protocol: sha256", "usmStatsWrongDigests"),
        ("user: sealed", "usmStatsUnsupportedSecLevels"),
        (
            f"user: sealed\nauth: {AUTH}\nauth_protocol: sha\npriv: {PRIV}!\npriv_protocol: aes128",
            "usmStatsDecryptionErrors: 'priv' or 'priv_protocol'",
        ),
        (f"user: x\nauth: {AUTH}", "'auth' takes 'auth_protocol', one of md5, sha"),
        (f"user: x\nauth: {AUTH}\nauth_protocol: sha1", "'auth' takes 'auth_protocol', one of md5, sha"),
        (f"user: x\nauth: {AUTH}\nauth_protocol: sha\npriv: {PRIV}", "'priv' takes 'priv_protocol', one of des"),
        (f"user: x\npriv: {PRIV}\npriv_protocol: aes128", "there is 'priv' without 'auth'"),
        ("user: x\nauth: short\nauth_protocol: sha", "'auth' is shorter than 8 bytes"),
        (f"auth: {AUTH}\nauth_protocol: sha", "SNMPv3 takes 'user: …'"),
        (f"user: {'x' * 33}", "a name of up to 32 bytes"),
        ("colour: red", "knows no key 'colour'"),
    ],
)
def test_secrets_that_do_not_fit(opens: Opens, secrets: str, says: str) -> None:
    assert says in wrong(opens(secrets=secrets, oid="rPDU2DeviceStatusPower.1", timeout_s=0.5))


def test_without_the_package_for_ciphers(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aes, "PysnmpCryptoError", True)
    source = opens(secrets=secrets_of("signed-sha"), oid="rPDU2DeviceStatusPower.1", scale="10")
    assert source.read().readings == [power(12_340.0)]
    assert "'priv' takes the Python package cryptography" in wrong(opens(secrets=secrets_of("sealed"), oid=APC))


def test_a_wrong_community_is_met_with_silence(opens: Opens) -> None:
    told = wrong(opens(community="Publik", oid="rPDU2DeviceStatusPower.1", timeout_s=0.2))
    assert "no answer within 0.2 s; a wrong community is met with silence" in told
    assert "Publik" not in told


def test_without_a_file(opens: Opens, tmp_path: Path) -> None:
    source = opens(secrets="community: public", oid="rPDU2DeviceStatusPower.1")
    (tmp_path / "credentials").chmod(0o644)
    assert "others than its owner may read it" in wrong(source)
    (tmp_path / "credentials").unlink()
    assert "cannot be read: No such file" in wrong(source)


def test_changed_secrets_hold_from_the_next_reading_on(opens: Opens, tmp_path: Path) -> None:
    source = opens(secrets=secrets_of("sealed"), oid="rPDU2DeviceStatusPower.1", scale="10")
    assert source.read().readings == [power(12_340.0)]
    path = tmp_path / "credentials"
    path.write_text(secrets_of("sealed").replace(AUTH, "another secret"))
    assert "usmStatsWrongDigests" in wrong(source)
    path.write_text(secrets_of("long"))
    assert source.read().readings == [power(12_340.0)]
    path.chmod(0o640)
    assert "others than its owner" in wrong(source)


def test_no_secret_is_shown_by_what_holds_it(opens: Opens) -> None:
    source = opens(secrets=secrets_of("long"), oid="rPDU2DeviceStatusPower.1", scale="10")
    source.read()
    shown = repr(source.__dict__) + repr(source._dialect.__dict__ if source._dialect else "")
    assert AUTH not in shown
    assert PRIV not in shown
