"""SNMP, asked of simulated PDUs that work, and of what stands in their place."""

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters
from pysnmp.proto.secmod.rfc3826.priv import aes

from slurm_power.adapters.telemetry import snmp_usm
from slurm_power.adapters.telemetry.snmp import SnmpSource
from slurm_power.adapters.telemetry.snmp_link import MOST_BYTES, Host
from slurm_power.config.telemetry import Snmp
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity, Reading
from tests.adapters.telemetry.simulated import Relay, Simulator, asks, silent

APC = "1.3.6.1.4.1.318.1.1.26"
ODD = "1.3.6.1.4.1.55555.1"
PDU = (
    f"{APC}.4.3.1.5.1|2|1234",
    f"{APC}.4.3.1.9.1|2|77",
    f"{APC}.6.3.1.7.1|2|411",
    f"{APC}.6.3.1.7.2|2|412",
    f"{APC}.6.3.1.7.3|2|413",
    f"{APC}.10.2.2.1.8.1|2|243",
    f"{APC}.10.2.2.1.8.2|2|271",
    "1.3.6.1.4.1.13742.6.5.3.3.1.3.1.1.15|2|1",
    "1.3.6.1.4.1.13742.6.5.3.3.1.3.1.2.15|2|0",
    "1.3.6.1.4.1.13742.6.5.3.3.1.3.1.3.15|2|-1",
    f"{ODD}.1.0|66|4000000000",
    f"{ODD}.2.0|70|12345678901234567890",
    f"{ODD}.3.0|4| 812.5\n".rstrip("\n"),
    f"{ODD}.4.0|4|about 8 kW",
    f"{ODD}.5.0|64|10.1.2.3",
    f"{ODD}.6.0|67|4711",
    f"{ODD}.7.0|4|",
    f"{ODD}.8.0|4|nan",
    f"{ODD}.10.0|2|-1",
    f"{ODD}.11.0|6|1.3.6.1",
)


def column(values: Sequence[int], oid: str = f"{APC}.4.3.1.5") -> tuple[str, ...]:
    return tuple(f"{oid}.{number}|2|{value}" for number, value in enumerate(values, 1))


DEVICES = {
    "public": PDU,
    "self": PDU,
    "chain": (*column([300, 400, 500]), "1.3.6.1.4.1.13742.6.5.2.3.1.4.1.1.5|2|9"),
    "whole": column([70, 20, 30, 21]),
    "unplugged": column([300, -1]),
    "sixty": column([10] * 60),
    "endless": column([1] * 300),
    "stumbles": (*column([300, 400]), f"{ODD}.8.0|2|1", f"{ODD}.9.0|2:error|op=get,status=generror,value=1"),
    "nothing": ("1.3.6.1.2.1.1.1.0|4|a printer",),
}
AUTH, PRIV = "authentic secret", "private secret"


def user(name: str, auth: str = "", priv: str = "") -> list[str]:
    options = [f"--v3-user={name}"]
    if auth:
        options += [f"--v3-auth-key={AUTH}", f"--v3-auth-proto={auth}"]
    if priv:
        options += [f"--v3-priv-key={PRIV}", f"--v3-priv-proto={priv}"]
    return options


USERS = {
    "open": ("", ""),
    **{f"signed-{protocol}": (protocol, "") for protocol in ("md5", "sha", "sha224", "sha256", "sha384", "sha512")},
    "sealed": ("sha", "aes128"),
    "long": ("sha256", "aes256"),
    "old": ("md5", "des"),
    "stretched": ("sha", "aes256"),
    "middle": ("md5", "aes192"),
    "ciscos": ("sha", "aes256c"),
    "ciscos-middle": ("sha", "aes192c"),
}
SIMULATED = {"aes192": "AES192BLMT", "aes256": "AES256BLMT", "aes192c": "AES192", "aes256c": "AES256"}
"""What snmpsim calls them: it means Cisco's way of making keys longer where it says no more."""


def options_of_users() -> list[list[str]]:
    return [user(name, auth.upper(), SIMULATED.get(priv, priv.upper())) for name, (auth, priv) in USERS.items()]


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("snmp"), DEVICES, options_of_users()) as simulator:
        yield simulator


Opens = Callable[..., SnmpSource]


@pytest.fixture
def opens(simulator: Simulator, tmp_path: Path) -> Opens:
    """A source: `community` is the device, `secrets` the whole file, `timeout_s` shorter than a site file has it."""

    def make(
        *, community: str = "public", secrets: str = "", port: int = 0, timeout_s: float = 1.0, **keys: object
    ) -> SnmpSource:
        path = tmp_path / ("credentials" if secrets else f"credentials-{community}")
        path.touch(0o600)
        path.write_text(secrets or f"community: {community}\n")
        config = Snmp.model_validate(
            {
                "type": "snmp",
                "host": f"127.0.0.1:{port or simulator.port}",
                "version": "2c" if "community" in path.read_text() else "3",
                "credentials": str(path),
                "every": "5s",
                "stale": "30s",
                **({"zone": "rack01"} if not keys.keys() & {"zone", "feed", "node"} else {}),
                **keys,
            }
        )
        return SnmpSource(config.model_copy(update={"timeout": timeout_s}))

    return make


def secrets_of(name: str) -> str:
    auth, priv = USERS[name]
    told = f"user: {name}\n"
    if auth:
        told += f"auth: {AUTH}\nauth_protocol: {auth}\n"
    if priv:
        told += f"priv: {PRIV}\npriv_protocol: {priv}\n"
    return told


def power(value: float) -> Reading:
    return Reading(Kind.ZONE, "rack01", Quantity.POWER, value)


def wrong(source: SnmpSource) -> str:
    """What it says is wrong, which never is a secret."""
    with pytest.raises(TelemetryError) as caught:
        source.read()
    told = str(caught.value)
    assert told.startswith("127.0.0.1:")
    assert AUTH not in told
    assert PRIV not in told
    return told


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# -- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "oid", ["rPDU2DeviceStatusPower.1", "PowerNet-MIB::rPDU2DeviceStatusPower", f".{APC}.4.3.1.5.1"]
)
def test_watts(opens: Opens, oid: str) -> None:
    assert opens(oid=oid, scale="10").read() == [power(12_340.0)]


@pytest.mark.parametrize("name", USERS)
def test_users_of_version_3(opens: Opens, name: str) -> None:
    source = opens(secrets=secrets_of(name), oid="rPDU2DeviceStatusPower", scale="10")
    assert source.read() == [power(12_340.0)]
    assert source.read() == [power(12_340.0)]


def test_phases(opens: Opens) -> None:
    phases = [f"rPDU2PhaseStatusPower.{number}" for number in (1, 2, 3)]
    assert opens(phases=phases, scale="10", feed="a1", inlet="left").read() == [
        Reading(Kind.FEED, "a1", Quantity.POWER, value, part="left", phase=phase)
        for phase, value in (("L1", 4_110.0), ("L2", 4_120.0), ("L3", 4_130.0))
    ]
    assert "phases: name one row for each phase, such as rPDU2PhaseStatusPower.1, rPDU2" in wrong(
        opens(phases=["rPDU2PhaseStatusPower"] * 3)
    )


def test_energy_in_joules(opens: Opens) -> None:
    (reading,) = opens(energy="rPDU2DeviceStatusEnergy", scale="360000", node="n1").read()
    assert reading == Reading(Kind.NODE, "n1", Quantity.ENERGY, 27_720_000.0)


def test_all_of_one_device_in_one_question(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    trip = "measurementsOverCurrentProtectorSensorState.1.{}.15"
    with Relay(lambda question: [ask(question)]) as relay:
        source = opens(
            port=relay.port,
            feed="a1",
            oid="rPDU2DeviceStatusPower.1",
            scale="10",
            celsius="rPDU2SensorTempHumidityStatusTempC.1",
            celsius_scale="0.1",
            breaker=trip.format(1),
        )
        assert [(reading.quantity, round(reading.value, 3)) for reading in source.read()] == [
            (Quantity.POWER, 12_340.0),
            (Quantity.TEMPERATURE, 24.3),
            (Quantity.BREAKER, 1.0),
        ]
        assert len(relay.questions) == 1
    assert opens(breaker=trip.format(2)).read()[0].value == 0.0
    assert "the state of the breaker is not known" in wrong(opens(breaker=trip.format(3)))


@pytest.mark.parametrize(
    ("number", "value"), [(1, 4e9), (2, 12_345_678_901_234_567_890.0), (3, 812.5), (10, -1.0)]
)
def test_numbers_of_all_sorts(opens: Opens, number: int, value: float) -> None:
    assert opens(oid=f"{ODD}.{number}.0").read() == [power(value)]


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
        ("rPDUDeviceWatts", "knows no object 'rPDUDeviceWatts'; write its number"),
        ("inputWatts", "the rows of 'inputWatts' do not add up"),
        ("3.6.1.4", "'3.6.1.4' is no object identifier"),
        ("1.3.6.1.4.99999999999", "is no object identifier"),
        ("1", "knows no object '1'"),
        ("rPDU2DeviceStatusPower.", "knows no object"),
    ],
)
def test_what_cannot_be_read_is_named(opens: Opens, oid: str, says: str) -> None:
    told = wrong(opens(oid=oid))
    assert says in told
    assert oid in told


def test_an_unusual_scale_is_told_once(opens: Opens, caplog: pytest.LogCaptureFixture) -> None:
    source = opens(oid="rPDU2DeviceStatusPower.1")
    with caplog.at_level(logging.WARNING):
        assert source.read() == [power(1_234.0)]
        source.read()
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "oid: rPDU2DeviceStatusPower.1 usually takes the scale 10, and has 1"
    ]


# -- columns ----------------------------------------------------------------------------------------------------------


def test_rows_add_up(opens: Opens) -> None:
    assert opens(community="chain", oid="rPDU2DeviceStatusPower", scale="10").read() == [power(12_000.0)]
    assert opens(community="chain", oid=f"{APC}.4.3.1.5", scale="10").read() == [power(12_000.0)]
    assert opens(community="sixty", oid="rPDU2DeviceStatusPower", scale="10").read() == [power(6_000.0)]
    assert "more than 256 rows" in wrong(opens(community="endless", oid="rPDU2DeviceStatusPower"))


def test_a_device_that_stumbles_over_something_else(opens: Opens) -> None:
    assert opens(community="stumbles", oid="rPDU2DeviceStatusPower", scale="10").read() == [power(7_000.0)]
    assert f"answers 'genErr' to {ODD}.9.0" in wrong(opens(community="stumbles", oid=f"{ODD}.9.0"))


def test_a_total_and_its_parts_do_not(opens: Opens) -> None:
    told = wrong(opens(community="whole", oid="rPDU2DeviceStatusPower", scale="10"))
    rows = [f"rPDU2DeviceStatusPower.{number}" for number in (1, 2, 3, 4)]
    assert f"{rows[0]} (70) is the sum of {rows[1]}, {rows[2]}, {rows[3]}" in told
    assert f"Name the one that counts, such as {rows[0]}" in told
    assert opens(community="whole", oid=rows[0], scale="10").read() == [power(700.0)]


def test_rows_that_are_not_measured_do_not_add_up(opens: Opens) -> None:
    told = wrong(opens(community="unplugged", oid="rPDU2DeviceStatusPower"))
    assert "rPDU2DeviceStatusPower.2: below zero" in told


def test_the_hottest_row_counts(opens: Opens) -> None:
    (reading,) = opens(celsius="rPDU2SensorTempHumidityStatusTempC", celsius_scale="0.1").read()
    assert (reading.quantity, round(reading.value, 3)) == (Quantity.TEMPERATURE, 27.1)


def test_once_the_rows_are_known_one_small_question_does(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    answers: list[bytes] = []

    def relayed(question: bytes) -> Iterable[bytes]:
        answers.append(ask(question))
        return answers[-1:]

    with Relay(relayed) as relay:
        source = opens(port=relay.port, oid="rPDU2DeviceStatusPower", scale="10")
        assert [source.read() for _ in range(3)] == [[power(12_340.0)]] * 3
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
    assert source.read() == [power(12_340.0)]
    assert "'priv' takes the Python package cryptography" in wrong(opens(secrets=secrets_of("sealed"), oid=APC))


def test_a_wrong_community_is_met_with_silence(opens: Opens) -> None:
    told = wrong(opens(community="Publik", oid="rPDU2DeviceStatusPower.1", timeout_s=0.2))
    assert "no answer within 0.2 s; a wrong community is met with silence" in told
    assert "Publik" not in told


def test_without_a_file(opens: Opens, tmp_path: Path) -> None:
    assert "SNMP takes 'credentials', a file with user: …" in wrong(opens(version="3", credentials=None, oid=APC))
    assert "a file with community: …" in wrong(opens(version="2c", credentials=None, oid=APC))
    source = opens(secrets="community: public", oid="rPDU2DeviceStatusPower.1")
    (tmp_path / "credentials").chmod(0o644)
    assert "others than its owner may read it" in wrong(source)
    (tmp_path / "credentials").unlink()
    assert "cannot be read: No such file" in wrong(source)


def test_changed_secrets_hold_from_the_next_reading_on(opens: Opens, tmp_path: Path) -> None:
    source = opens(secrets=secrets_of("sealed"), oid="rPDU2DeviceStatusPower.1", scale="10")
    assert source.read() == [power(12_340.0)]
    path = tmp_path / "credentials"
    path.write_text(secrets_of("sealed").replace(AUTH, "another secret"))
    assert "usmStatsWrongDigests" in wrong(source)
    path.write_text(secrets_of("long"))
    assert source.read() == [power(12_340.0)]
    path.chmod(0o640)
    assert "others than its owner" in wrong(source)


def test_no_secret_is_shown_by_what_holds_it(opens: Opens) -> None:
    source = opens(secrets=secrets_of("long"), oid="rPDU2DeviceStatusPower.1", scale="10")
    source.read()
    shown = repr(source.__dict__) + repr(source._dialect.__dict__ if source._dialect else "")
    assert AUTH not in shown
    assert PRIV not in shown


# -- trouble ----------------------------------------------------------------------------------------------------------


def test_silence_ends_in_time_and_leaves_nothing_behind(opens: Opens) -> None:
    with Relay(silent) as relay:
        sources = [
            opens(port=relay.port, oid="rPDU2DeviceStatusPower", timeout_s=0.02),
            opens(port=relay.port, oid="rPDU2DeviceStatusPower.1", timeout_s=0.02, secrets=secrets_of("sealed")),
        ]
        for source in sources:
            wrong(source)
        files, threads, begun = open_files(), threading.active_count(), time.monotonic()
        for source in sources * 25:
            assert "no answer within 0.02 s" in wrong(source)
        assert time.monotonic() - begun < 50 * 0.06
        assert (open_files(), threading.active_count()) == (files, threads)
        assert len(relay.questions) == 2 * 52, "each is asked twice"


def test_a_question_that_was_lost_is_asked_again(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    for secrets in ("", secrets_of("sealed")):
        lossy = iter((False, True, True, False, True, True, True))

        def relayed(question: bytes, lossy: Iterator[bool] = lossy) -> Iterable[bytes]:
            return [ask(question)] if next(lossy) else []

        with Relay(relayed) as relay:
            source = opens(port=relay.port, secrets=secrets, oid="rPDU2DeviceStatusPower.1", scale="10", timeout_s=0.4)
            assert source.read() == [power(12_340.0)]


def test_a_device_that_refuses(opens: Opens) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    begun = time.monotonic()
    assert "nobody listens there (port unreachable)" in wrong(opens(port=port, oid="1.3.6.1.4.1.1.0"))
    assert time.monotonic() - begun < 0.5


GARBAGE = (b"\0", b"\x30", b"hello", bytes(300), b"\x30\x80" * 4_000, b"\x30\x84\xff\xff\xff\xff")


@pytest.mark.parametrize("garbage", [*GARBAGE, random.Random(2).randbytes(1_400)])
def test_garbage(opens: Opens, garbage: bytes) -> None:
    with Relay(lambda question: [garbage]) as relay:
        for secrets in ("", secrets_of("sealed")):
            source = opens(port=relay.port, secrets=secrets, oid="rPDU2DeviceStatusPower.1", timeout_s=0.1)
            assert ", but a datagram that is no answer to the question" in wrong(source)


def test_a_flood_of_garbage_ends_in_time(opens: Opens) -> None:
    with Relay(lambda question: (bytes((0x30, 0x82, 0x05, 0x78)) + bytes(1_400) for _ in range(3_000))) as relay:
        begun = time.monotonic()
        wrong(opens(port=relay.port, oid="rPDU2DeviceStatusPower.1", timeout_s=0.2))
        assert time.monotonic() - begun < 0.5


def test_a_huge_answer_is_not_read(opens: Opens) -> None:
    with Relay(lambda question: [b"\x30" + bytes(60_000)]) as relay:
        told = wrong(opens(port=relay.port, oid="rPDU2DeviceStatusPower.1", timeout_s=0.1))
        assert f"but a datagram of more than {MOST_BYTES} bytes" in told


@pytest.mark.parametrize("name", ["", "open", "sealed"])
def test_a_good_answer_is_found_among_spoilt_ones(opens: Opens, simulator: Simulator, name: str) -> None:
    """Some bits of a message carry nothing: what counts is that no other value is ever read where it is signed."""
    ask, chance = asks(simulator.port), random.Random(1)

    def relayed(question: bytes) -> Iterable[bytes]:
        answer = ask(question)
        for _ in range(40):
            spoilt = bytearray(answer)
            spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
            yield bytes(spoilt) if name == "sealed" else bytes(spoilt[: chance.randrange(len(spoilt))])
        yield answer

    with Relay(relayed) as relay:
        secrets = secrets_of(name) if name else ""
        source = opens(port=relay.port, secrets=secrets, oid="rPDU2DeviceStatusPower.1", scale="10")
        assert source.read() == [power(12_340.0)]
        assert source.read() == [power(12_340.0)]


def test_an_answer_to_another_question_is_none(opens: Opens, simulator: Simulator) -> None:
    ask = asks(simulator.port)
    for secrets in ("", secrets_of("open"), secrets_of("sealed")):
        recorded: list[bytes] = []

        def record(question: bytes, recorded: list[bytes] = recorded) -> Iterable[bytes]:
            recorded.append(ask(question))
            return recorded[-1:]

        with Relay(record) as relay:
            opens(port=relay.port, secrets=secrets, oid="rPDU2DeviceStatusPower.1", scale="10").read()
        with Relay(lambda question, recorded=recorded: recorded) as relay:  # type: ignore[misc]
            source = opens(port=relay.port, secrets=secrets, oid="rPDU2DeviceStatusPower.1", timeout_s=0.1)
            assert "but a datagram that is no answer" in wrong(source)


def test_an_unsigned_answer_to_a_signed_question_is_none(opens: Opens, simulator: Simulator) -> None:
    """Somebody who sees the question could answer it as if nobody had asked for a signature."""
    ask = asks(simulator.port)

    def stripped(question: bytes) -> Iterable[bytes]:
        answer = ask(question)
        return [answer.replace(b"\x04\x01\x01\x02\x01\x03", b"\x04\x01\x00\x02\x01\x03")]

    with Relay(stripped) as relay:
        source = opens(port=relay.port, secrets=secrets_of("signed-sha"), oid="rPDU2DeviceStatusPower.1", timeout_s=0.2)
        assert "but a datagram that is no answer" in wrong(source)


def test_a_device_whose_time_has_moved(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opens(secrets=secrets_of("sealed"), oid="rPDU2DeviceStatusPower.1", scale="10")
    assert source.read() == [power(12_340.0)]
    monkeypatch.setattr(snmp_usm, "monotonic", lambda: time.monotonic() + 10_000)
    assert source.read() == [power(12_340.0)]


def test_a_device_at_the_end_of_time(opens: Opens, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = asks(simulator.port)

    def late(question: bytes) -> Iterable[bytes]:
        message, _ = decoder.decode(ask(question), asn1Spec=SNMPv3Message())
        parameters, _ = decoder.decode(bytes(message[2]), asn1Spec=UsmSecurityParameters())
        parameters[1] = parameters[2] = (1 << 31) - 1
        message[2] = encoder.encode(parameters)
        return [encoder.encode(message)]

    with Relay(late) as relay:
        source = opens(port=relay.port, secrets=secrets_of("open"), oid="rPDU2DeviceStatusPower.1", scale="10")
        assert source.read() == [power(12_340.0)]
        monkeypatch.setattr(snmp_usm, "monotonic", lambda: time.monotonic() + 10_000)
        assert source.read() == [power(12_340.0)]


def test_a_device_that_starts_anew_or_is_replaced(opens: Opens, tmp_path: Path) -> None:
    """The second simulator has another engine id, and has been up for no time at all."""
    with Simulator(tmp_path / "first", DEVICES, options_of_users()[:8]) as first:
        source = opens(port=first.port, secrets=secrets_of("sealed"), oid="rPDU2DeviceStatusPower.1", scale="10")
        assert source.read() == [power(12_340.0)]
    with Simulator(tmp_path / "second", DEVICES, options_of_users()[:8]) as second:
        ask = asks(second.port)
        with Relay(lambda question: [ask(question)]) as relay:
            source._host = Host(f"127.0.0.1:{relay.port}")
            assert source.read() == [power(12_340.0)]
            asked = len(relay.questions)
            assert 3 <= asked <= 6, "the question, who it is, and the question again; each may be asked once more"
