"""Peers and handlers that do not behave: none of them disturbs the others."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.lines_client import ask
from slurm_power.adapters.lines_server import Peer, ServerLimits
from slurm_power.core.errors import DaemonUnreachable, PowerError, SlurmError, UsageError
from tests.adapters.lines.peers import LONG_S, Serve, connect, read_all, say
from tests.adapters.store.other_user import NOBODY, as_user
from tests.fakes.replies import encode_result


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"garbage\n",
        b"[1]\n",
        b'"text"\n',
        b"{\n",
        b'{"a":NaN}\n',
        b'{"a":-Infinity}\n',
        b'{"a":1}}\n',
        b"\x00\xff\xfe\n",
        b"\x16\x03\x01\x02\x00\n",
        b'{"a":' * 50_000 + b"\n",
        b'{"a":' + b"9" * 10_000 + b"}\n",
    ],
)
def test_garbage_is_refused_and_disturbs_nobody(serve: Serve, path: Path, line: bytes) -> None:
    serve()
    reply = json.loads(say(path, line))
    assert reply["ok"] is False
    assert reply["exit_code"] == 2
    assert ask(path, {"a": 1}, LONG_S)["request"] == {"a": 1}


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_too_long_is_refused(serve: Serve, path: Path, ending: bytes) -> None:
    serve(limits=ServerLimits(line_bytes=1_000))
    assert "longer than 1000 bytes" in json.loads(say(path, b"x" * 1_001 + ending))["error"]
    assert "JSON" in json.loads(say(path, b"x" * 1_000 + b"\n"))["error"]


def test_the_client_does_not_send_what_no_server_reads(path: Path) -> None:
    with pytest.raises(UsageError, match="at most 1048576"):
        ask(path, {"text": "x" * (1 << 20)}, LONG_S)


def test_a_refusal_is_heard_even_while_sending(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(line_bytes=1_000))
    with pytest.raises(UsageError, match="longer than 1000 bytes"):
        ask(path, {"text": "x" * 1_000_000}, LONG_S)


def test_half_a_line_is_no_request(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked: list[Mapping[str, Any]] = []

    def note(_peer: Peer, request: Mapping[str, Any]) -> str:
        asked.append(request)
        return encode_result({})

    serve(note)
    with connect(path) as connection:
        connection.sendall(b'{"a":1}')
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    assert asked == []
    assert "ended before the end of its line" in caplog.text


def test_one_who_hangs_is_ended_and_disturbs_nobody(serve: Serve, path: Path) -> None:
    server = serve(limits=ServerLimits(idle_s=0.2))
    silent, halfway = connect(path), connect(path)
    with silent, halfway:
        halfway.sendall(b'{"a"')
        assert ask(path, {}, LONG_S)["request"] == {}
        for connection in (silent, halfway):
            assert "no whole request within 0.2 s" in json.loads(read_all(connection))["error"]
    ask(path, {}, LONG_S)
    assert server.connections <= 1


def test_a_byte_now_and_then_does_not_keep_it_open(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(idle_s=0.1))
    with connect(path) as connection:
        connection.settimeout(0.01)
        for _ in range(2_000):
            with contextlib.suppress(BrokenPipeError):  # it was closed since we looked, and what it said lies there
                connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                assert b"no whole request" in connection.recv(1 << 16)
                return
    pytest.fail("still open")


def test_one_who_does_not_read_is_ended(serve: Serve, path: Path) -> None:
    server = serve(lambda _peer, _request: "x" * 10_000_000, limits=ServerLimits(idle_s=0.1))
    with connect(path) as connection:
        connection.sendall(b"{}\n")
        connection.recv(1)
        for _ in range(2_000):
            if server.connections == 0:
                break
            threading.Event().wait(0.01)
        assert server.connections == 0
        assert len(read_all(connection)) < 10_000_000


def test_one_who_vanishes_disturbs_nobody(serve: Serve, path: Path) -> None:
    done = threading.Event()

    async def slow(_peer: Peer, request: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.02)
        done.set()
        return "x" * 1_000_000 if request else encode_result({})

    serve(slow)
    for data in (b"", b"{", b'{"a":1}\n'):
        with connect(path) as connection:
            connection.sendall(data)
    # What was asked for is carried out even if nobody waits for the answer any more.
    assert done.wait(LONG_S)
    assert ask(path, {}, LONG_S) == {}


def test_the_number_of_connections_is_bounded(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(connections=3))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(path)) for _ in range(2)]
        assert ask(path, {}, LONG_S)["request"] == {}
        idle.append(stack.enter_context(connect(path)))
        with pytest.raises(PowerError, match="too many connections"):
            ask(path, {}, LONG_S)
        idle[0].sendall(b"{}\n")
        assert read_all(idle[0])
        assert ask(path, {}, LONG_S)["request"] == {}


def test_no_user_can_shut_out_another(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(per_uid=2))

    def hog() -> str:
        idle = [connect(path)]
        ask(path, {}, LONG_S)
        idle.append(connect(path))
        try:
            ask(path, {}, LONG_S)
        except PowerError as error:
            return f"{error}, with {len(idle)} open"
        return "answered"

    for _ in range(2):  # what he has closed no longer counts
        assert as_user(NOBODY, hog).startswith("too many connections")
    with connect(path), connect(path), connect(path):
        assert ask(path, {}, LONG_S)["request"] == {}, "root is not counted"


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("raised", "expected", "told"),
    [
        (UsageError("say zones"), UsageError, "^say zones$"),
        (SlurmError("scontrol failed"), PowerError, "^scontrol failed$"),
        (DaemonUnreachable("not yet"), DaemonUnreachable, "^not yet$"),
        (KeyError("secret inside"), PowerError, r"^internal error \(KeyError\); the daemon's log"),
    ],
)
def test_errors_of_the_handler(
    serve: Serve, path: Path, later: bool, raised: Exception, expected: type[PowerError], told: str
) -> None:
    def fail(_peer: Peer, _request: Mapping[str, Any]) -> str:
        raise raised

    async def fail_later(_peer: Peer, _request: Mapping[str, Any]) -> str:
        raise raised

    serve(fail_later if later else fail)
    for _ in range(2):
        with pytest.raises(expected, match=told) as caught:
            ask(path, {}, LONG_S)
        assert type(caught.value) is expected


def test_a_fault_of_the_handler_is_logged_whole(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_peer: Peer, _request: Mapping[str, Any]) -> str:
        raise KeyError("the place")

    serve(fail, error_reply=None)
    assert say(path, b"{}\n") == b""
    assert "Traceback" in caplog.text
    assert "the place" in caplog.text


@pytest.mark.parametrize("gone", [True, False])
def test_an_answer_that_nobody_waits_for_is_told(
    serve: Serve, path: Path, gone: bool
) -> None:
    """As of a daemon that hung: the line is there, and its sender has given up."""
    closed, unheard = threading.Event(), []

    def slow(peer: Peer, request: Mapping[str, Any]) -> str:
        assert closed.wait(LONG_S)
        return encode_result({"answer": request["number"]})

    serve(slow, unheard=lambda: unheard.append(True))
    connection = connect(path)
    connection.sendall(b'{"number":1}\n')
    if gone:
        connection.close()
    closed.set()
    if not gone:
        assert b"answer" in read_all(connection)
        connection.close()
    assert b"answer" in say(path, b'{"number":2}\n')
    assert unheard == ([True] if gone else [])
