"""What tests of the sockets say and hear."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from slurm_power.adapters.lines_server import LineServer, Peer
from tests.fakes.replies import encode_result

LONG_S = 20.0
"""Longer than anything here takes; nothing waits that long unless the test fails."""

Serve = Callable[..., LineServer]


def echo(peer: Peer, request: Mapping[str, Any]) -> str:
    return encode_result({"uid": peer.uid, "request": request})


def run_in(loop: asyncio.AbstractEventLoop, work: Awaitable[None]) -> None:
    async def do() -> None:
        await work

    asyncio.run_coroutine_threadsafe(do(), loop).result(LONG_S)


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(LONG_S)
    connection.connect(str(path))
    return connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return received


def say(path: Path, data: bytes) -> bytes:
    with connect(path) as connection:
        with contextlib.suppress(BrokenPipeError):  # a server may end the connection before it has heard all
            connection.sendall(data)
        return read_all(connection)
