"""Names of devices, and a resolver that takes its time."""

import socket
import threading

import pytest

from slurm_power.adapters.telemetry.snmp_link import Host
from slurm_power.core.errors import TelemetryError


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("pdu-a", ("pdu-a", 161)),
        ("pdu-a.example.org:1161", ("pdu-a.example.org", 1161)),
        ("10.0.0.7", ("10.0.0.7", 161)),
        ("10.0.0.7:1161", ("10.0.0.7", 1161)),
        ("fd00::7", ("fd00::7", 161)),
        ("[fd00::7]", ("fd00::7", 161)),
        ("[fd00::7]:1161", ("fd00::7", 1161)),
    ],
)
def test_hosts(monkeypatch: pytest.MonkeyPatch, text: str, asked: tuple[str, int]) -> None:
    def resolve(name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (name, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert Host(text).address(1.0) == (socket.AF_INET, asked)


@pytest.mark.parametrize("text", ["pdu-a:", "pdu-a:snmp", "pdu-a:0", "pdu-a:65536", "pdu-a:99999999"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(TelemetryError, match="is no port"):
        Host(text).address(1.0)


def test_a_resolver_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, calls = threading.Event(), []

    def resolve(name: str, port: int, **_: object) -> list[tuple[object, ...]]:
        calls.append(name)
        go_on.wait(5)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    host, threads = Host("pdu-a"), threading.active_count()
    for _ in range(3):
        with pytest.raises(TelemetryError, match=r"pdu-a: its name is not resolved within 0.01 s"):
            host.address(0.01)
    assert threading.active_count() == threads + 1
    go_on.set()
    assert host.address(1.0) == (socket.AF_INET, ("127.0.0.1", 161))
    assert calls == ["pdu-a"]


@pytest.mark.parametrize("name", ["pdu-a", "x" * 70 + ".example.org"])
def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = socket.getaddrinfo

    def resolve(asked: str, port: int, **_: object) -> object:
        if asked == "pdu-a":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(asked, port)  # refused before anybody is asked

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    host = Host(name)
    for _ in range(2):
        with pytest.raises(TelemetryError, match="its name cannot be resolved"):
            host.address(1.0)
