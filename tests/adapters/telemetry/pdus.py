"""Simulated PDUs, what they hold and who may ask them, and what a source says of them."""

from collections.abc import Callable, Sequence

import pytest

from slurm_power.adapters.telemetry.snmp import SnmpSource
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity, Reading

Opens = Callable[..., SnmpSource]
"""Makes a source of such a PDU; see the fixture of that name."""

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
