"""SNMP, asked of what stands in a PDU's place: silence, garbage, others' answers, a device that is replaced."""

import random
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pyasn1.codec.ber import decoder, encoder
from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

from slurm_power.adapters.telemetry import snmp_usm
from slurm_power.adapters.telemetry.snmp_link import MOST_BYTES, Host
from tests.adapters.telemetry.pdus import DEVICES, Opens, options_of_users, power, secrets_of, wrong
from tests.adapters.telemetry.simulated import Relay, Simulator, asks, silent


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


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
            assert source.read().readings == [power(12_340.0)]


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
        assert source.read().readings == [power(12_340.0)]
        assert source.read().readings == [power(12_340.0)]


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
    assert source.read().readings == [power(12_340.0)]
    monkeypatch.setattr(snmp_usm, "monotonic", lambda: time.monotonic() + 10_000)
    assert source.read().readings == [power(12_340.0)]


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
        assert source.read().readings == [power(12_340.0)]
        monkeypatch.setattr(snmp_usm, "monotonic", lambda: time.monotonic() + 10_000)
        assert source.read().readings == [power(12_340.0)]


def test_a_device_that_starts_anew_or_is_replaced(opens: Opens, tmp_path: Path) -> None:
    """The second simulator has another engine id, and has been up for no time at all."""
    with Simulator(tmp_path / "first", DEVICES, options_of_users()[:8]) as first:
        source = opens(port=first.port, secrets=secrets_of("sealed"), oid="rPDU2DeviceStatusPower.1", scale="10")
        assert source.read().readings == [power(12_340.0)]
    with Simulator(tmp_path / "second", DEVICES, options_of_users()[:8]) as second:
        ask = asks(second.port)
        with Relay(lambda question: [ask(question)]) as relay:
            source._host = Host(f"127.0.0.1:{relay.port}")
            assert source.read().readings == [power(12_340.0)]
            asked = len(relay.questions)
            assert 3 <= asked <= 6, "the question, who it is, and the question again; each may be asked once more"
