"""Exchanges over real sockets, with peers that behave."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.lines_client import ask
from slurm_power.adapters.lines_server import Peer, ServerLimits
from slurm_power.core.errors import DaemonUnreachable, PowerError
from tests.adapters.lines.peers import LONG_S, Serve, connect, echo, read_all, say
from tests.adapters.store.other_user import NOBODY, as_user
from tests.fakes.replies import encode_result


def test_a_request_is_answered(serve: Serve, path: Path) -> None:
    serve()
    request = {"v": 1, "op": "zones", "name": "é 漢", "deep": [{"a": None}]}
    assert ask(path, request, LONG_S) == {"uid": os.geteuid(), "request": request}


def test_the_kernel_tells_who_asks(serve: Serve, path: Path) -> None:
    peers: list[Peer] = []

    def note(peer: Peer, _request: Mapping[str, Any]) -> str:
        peers.append(peer)
        return encode_result({})

    serve(note)
    ask(path, {"uid": 0}, LONG_S)
    assert peers == [Peer(os.geteuid(), os.getegid(), os.getpid())]


def test_another_user_is_known_by_his_uid(serve: Serve, path: Path) -> None:
    serve()
    assert as_user(NOBODY, lambda: str(ask(path, {"uid": 0}, LONG_S)["uid"])) == str(NOBODY)


def test_who_is_not_allowed_is_turned_away(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Peer] = []

    def note(peer: Peer, _request: Mapping[str, Any]) -> str:
        asked.append(peer)
        return encode_result({})

    serve(note, allowed_uids={os.geteuid()})

    def try_it() -> str:
        try:
            ask(path, {}, LONG_S)
        except PowerError as error:
            return str(error)
        return "answered"

    assert as_user(NOBODY, try_it) == "this socket is for others"
    assert asked == []
    assert f"uid={NOBODY}" in caplog.text
    ask(path, {}, LONG_S)
    assert len(asked) == 1


def test_without_error_replies_the_connection_just_ends(serve: Serve, path: Path) -> None:
    serve(error_reply=None, allowed_uids={4_000_000})
    assert say(path, b"{}\n") == b""
    with pytest.raises(DaemonUnreachable, match=r"without an answer|reset"):
        ask(path, {}, LONG_S)


def test_the_mode_keeps_others_out(serve: Serve, path: Path) -> None:
    serve(mode=0o600)

    def try_it() -> str:
        try:
            ask(path, {}, LONG_S)
        except DaemonUnreachable as error:
            return str(error)
        return "answered"

    assert "may not connect" in as_user(NOBODY, try_it)


def test_a_handler_may_answer_later(serve: Serve, path: Path) -> None:
    gate = threading.Event()

    async def slow(_peer: Peer, request: Mapping[str, Any]) -> str:
        while not gate.is_set():
            await asyncio.sleep(0.001)
        return encode_result(request)

    serve(lambda peer, request: slow(peer, request) if request else echo(peer, request))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, path, {"n": 1}, LONG_S)
        assert ask(path, {}, LONG_S)["request"] == {}
        assert not waiting.done()
        gate.set()
        assert waiting.result(LONG_S) == {"n": 1}


def test_many_at_once(serve: Serve, path: Path) -> None:
    serve()
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda number: ask(path, {"number": number}, LONG_S)["request"]["number"], range(500))
        assert list(answers) == list(range(500))


@pytest.mark.parametrize("size", [1, 7, 4_096, 65_536, 65_537, 300_000])
def test_long_lines_and_long_answers(serve: Serve, path: Path, size: int) -> None:
    serve(lambda _peer, request: encode_result({"text": request["text"] * 20}))
    assert ask(path, {"text": "x" * size}, LONG_S) == {"text": "x" * size * 20}


@pytest.mark.parametrize("pieces", [[b'{"a"', b':1}\n'], [b'{"a":1}', b"\n"], [bytes([byte]) for byte in b'{"a":1}\n']])
def test_a_line_may_come_in_pieces(serve: Serve, path: Path, pieces: list[bytes]) -> None:
    serve()
    with connect(path) as connection:
        for piece in pieces:
            connection.sendall(piece)
        assert json.loads(read_all(connection))["result"]["request"] == {"a": 1}


def test_a_peer_may_shut_its_side_after_the_line(serve: Serve, path: Path) -> None:
    async def later(_peer: Peer, request: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.01)
        return encode_result(request)

    serve(later)
    with connect(path) as connection:
        connection.sendall(b'{"a":1}\n')
        connection.shutdown(socket.SHUT_WR)
        assert json.loads(read_all(connection)) == {"ok": True, "result": {"a": 1}}


def test_one_exchange_a_connection(serve: Serve, path: Path) -> None:
    serve()
    assert say(path, b'{"a":1}\n{"a":2}\n').count(b"\n") == 1


def ask_again(connection: socket.socket, request: bytes) -> bytes:
    """One more question on a connection; the line that answers it."""
    connection.sendall(request)
    with connection.makefile("rb") as lines:
        return lines.readline()


def test_a_lasting_connection_may_ask_again(serve: Serve, path: Path) -> None:
    server = serve(lasting=True)
    with connect(path) as connection:
        for number in range(3):
            assert json.loads(ask_again(connection, b'{"a":%d}\n' % number))["result"]["request"] == {"a": number}
            assert server.connections == 1
    assert say(path, b"rubbish\n").count(b"\n") == 1, "who is not understood is not heard further"


def test_a_lasting_connection_takes_answers_that_come_later(serve: Serve, path: Path) -> None:
    async def later(request: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.7)
        return encode_result(request)

    serve(lambda _, request: later(request), lasting=True, limits=ServerLimits(idle_s=0.5))
    with connect(path) as connection:
        for number in range(2):
            assert json.loads(ask_again(connection, b'{"a":%d}\n' % number))["result"] == {"a": number}


def test_a_question_before_the_answer_to_the_last_ends_a_lasting_connection(serve: Serve, path: Path) -> None:
    serve(lasting=True)
    assert say(path, b'{"a":1}\n{"a":2}\n').count(b"\n") == 1


def test_a_long_answer_is_followed_by_another(serve: Serve, path: Path) -> None:
    serve(lambda _peer, _request: "x" * 5_000_000, lasting=True)
    with connect(path) as connection:
        for _ in range(2):
            assert len(ask_again(connection, b"{}\n")) == 5_000_001


def test_a_lasting_connection_ends_when_nothing_is_asked_for_a_while(serve: Serve, path: Path) -> None:
    serve(lasting=True, limits=ServerLimits(idle_s=1.0))
    with connect(path) as connection:
        for _ in range(20):  # longer in all than it may be idle
            assert ask_again(connection, b"{}\n")
            threading.Event().wait(0.06)
        assert read_all(connection) == b"", "nothing was asked, so nothing is answered"
