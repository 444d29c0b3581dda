"""The section `metrics` of the site file."""

import re
from ipaddress import IPv6Address, ip_address
from typing import Annotated

from pydantic import BeforeValidator

from slurm_power.config.fields import Kind
from slurm_power.config.section import Section, key, wrong

ADDRESS = Kind("address and port", "an IP address and a port such as 127.0.0.1:9777 or [::1]:9777")
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})", re.ASCII)


def _listen(value: object) -> tuple[str, int]:
    """The address and the port of `127.0.0.1:9777`. No names: to look one up could take long, or give another one."""
    if not isinstance(value, str):
        raise wrong("has no value" if value is None else "is a list or a mapping", ADDRESS.expected)
    match = _ADDRESS.fullmatch(value.strip())
    if match is None:
        raise wrong(f"'{value}' is not an address and port", ADDRESS.expected)
    try:
        address = ip_address(match["six"] or match["four"])
    except ValueError:
        raise wrong(f"'{value}' is not an address and port", ADDRESS.expected) from None
    if isinstance(address, IPv6Address) != bool(match["six"]) or not 0 < int(match["port"]) < 1 << 16:
        raise wrong(f"'{value}' is not an address and port", ADDRESS.expected)
    return str(address), int(match["port"])


Listen = Annotated[tuple[str, int], BeforeValidator(_listen), ADDRESS]


class Metrics(Section):
    """Where Prometheus reads what the daemon knows: `/metrics` there. Without this section nowhere.

    Whoever reaches the address may read it, without TLS or a password: watts of zones and feeds, how many jobs of each
    tier wait and run, what they cost. It names no user, no job and no reservation.
    """

    listen: Listen = key("127.0.0.1:9777", "the address and port to listen on")


def shown(address: tuple[str, int]) -> str:
    """An address as it is written."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
