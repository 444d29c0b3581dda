"""One-line exchanges over real sockets, with peers that behave and peers that do not."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.lines import HookKey, encode_error, encode_reply, encode_result, replace_file
from slurm_power.adapters.lines_client import ask
from slurm_power.adapters.lines_server import Handler, LineServer, Peer, ServerLimits, parse_request
from slurm_power.core.errors import DaemonUnreachable, PowerError, SlurmError, UsageError
from tests.adapters.store.other_user import NOBODY, as_user

_LONG_S = 20.0
"""Longer than anything here takes; nothing waits that long unless the test fails."""

Serve = Callable[..., LineServer]


def echo(peer: Peer, request: Mapping[str, Any]) -> str:
    return encode_result({"uid": peer.uid, "request": request})


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that every user may enter, with a short path."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def path(home: Path) -> Path:
    return home / "test.sock"


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own, so that tests may block."""
    running = asyncio.new_event_loop()
    thread = threading.Thread(target=running.run_forever)
    thread.start()
    yield running
    running.call_soon_threadsafe(running.stop)
    thread.join()
    running.close()


def _in(loop: asyncio.AbstractEventLoop, work: Awaitable[None]) -> None:
    async def do() -> None:
        await work

    asyncio.run_coroutine_threadsafe(do(), loop).result(_LONG_S)


@pytest.fixture
def serve(path: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Serve]:
    """Starts servers on `path` and ends them."""
    started: list[LineServer] = []

    def start(handler: Handler = echo, mode: int = 0o666, **options: Any) -> LineServer:
        server = LineServer(path, mode, handler, **{"error_reply": encode_error, **options})
        _in(loop, server.start())
        started.append(server)
        return server

    yield start
    for server in started:
        _in(loop, server.stop())
        assert server.connections == 0


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_LONG_S)
    connection.connect(str(path))
    return connection


def _read_all(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return received


def _say(path: Path, data: bytes) -> bytes:
    with _connect(path) as connection:
        connection.sendall(data)
        return _read_all(connection)


# The exchange


def test_a_request_is_answered(serve: Serve, path: Path) -> None:
    serve()
    request = {"v": 1, "op": "zones", "name": "é 漢", "deep": [{"a": None}]}
    assert ask(path, request, _LONG_S) == {"uid": os.geteuid(), "request": request}


def test_the_kernel_tells_who_asks(serve: Serve, path: Path) -> None:
    peers: list[Peer] = []

    def note(peer: Peer, _request: Mapping[str, Any]) -> str:
        peers.append(peer)
        return encode_result({})

    serve(note)
    ask(path, {"uid": 0}, _LONG_S)
    assert peers == [Peer(os.geteuid(), os.getegid(), os.getpid())]


def test_another_user_is_known_by_his_uid(serve: Serve, path: Path) -> None:
    serve()
    assert as_user(NOBODY, lambda: str(ask(path, {"uid": 0}, _LONG_S)["uid"])) == str(NOBODY)


def test_who_is_not_allowed_is_turned_away(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[Peer] = []

    def note(peer: Peer, _request: Mapping[str, Any]) -> str:
        asked.append(peer)
        return encode_result({})

    serve(note, allowed_uids={os.geteuid()})

    def try_it() -> str:
        try:
            ask(path, {}, _LONG_S)
        except PowerError as error:
            return str(error)
        return "answered"

    assert as_user(NOBODY, try_it) == "this socket is for others"
    assert asked == []
    assert f"uid={NOBODY}" in caplog.text
    ask(path, {}, _LONG_S)
    assert len(asked) == 1


def test_without_error_replies_the_connection_just_ends(serve: Serve, path: Path) -> None:
    serve(error_reply=None, allowed_uids={4_000_000})
    assert _say(path, b"{}\n") == b""
    with pytest.raises(DaemonUnreachable, match=r"without an answer|reset"):
        ask(path, {}, _LONG_S)


def test_the_mode_keeps_others_out(serve: Serve, path: Path) -> None:
    serve(mode=0o600)

    def try_it() -> str:
        try:
            ask(path, {}, _LONG_S)
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
        waiting = pool.submit(ask, path, {"n": 1}, _LONG_S)
        assert ask(path, {}, _LONG_S)["request"] == {}
        assert not waiting.done()
        gate.set()
        assert waiting.result(_LONG_S) == {"n": 1}


def test_many_at_once(serve: Serve, path: Path) -> None:
    serve()
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(lambda number: ask(path, {"number": number}, _LONG_S)["request"]["number"], range(500))
        assert list(answers) == list(range(500))


@pytest.mark.parametrize("size", [1, 7, 4_096, 65_536, 65_537, 300_000])
def test_long_lines_and_long_answers(serve: Serve, path: Path, size: int) -> None:
    serve(lambda _peer, request: encode_result({"text": request["text"] * 20}))
    assert ask(path, {"text": "x" * size}, _LONG_S) == {"text": "x" * size * 20}


@pytest.mark.parametrize("pieces", [[b'{"a"', b':1}\n'], [b'{"a":1}', b"\n"], [bytes([byte]) for byte in b'{"a":1}\n']])
def test_a_line_may_come_in_pieces(serve: Serve, path: Path, pieces: list[bytes]) -> None:
    serve()
    with _connect(path) as connection:
        for piece in pieces:
            connection.sendall(piece)
        assert json.loads(_read_all(connection))["result"]["request"] == {"a": 1}


def test_a_peer_may_shut_its_side_after_the_line(serve: Serve, path: Path) -> None:
    async def later(_peer: Peer, request: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.01)
        return encode_result(request)

    serve(later)
    with _connect(path) as connection:
        connection.sendall(b'{"a":1}\n')
        connection.shutdown(socket.SHUT_WR)
        assert json.loads(_read_all(connection)) == {"ok": True, "result": {"a": 1}}


def test_one_exchange_a_connection(serve: Serve, path: Path) -> None:
    serve()
    assert _say(path, b'{"a":1}\n{"a":2}\n').count(b"\n") == 1


# What goes wrong


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
    reply = json.loads(_say(path, line))
    assert reply["ok"] is False
    assert reply["exit_code"] == 2
    assert ask(path, {"a": 1}, _LONG_S)["request"] == {"a": 1}


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_too_long_is_refused(serve: Serve, path: Path, ending: bytes) -> None:
    serve(limits=ServerLimits(line_bytes=1_000))
    assert "longer than 1000 bytes" in json.loads(_say(path, b"x" * 1_001 + ending))["error"]
    assert "JSON" in json.loads(_say(path, b"x" * 1_000 + b"\n"))["error"]


def test_the_client_does_not_send_what_no_server_reads(path: Path) -> None:
    with pytest.raises(UsageError, match="at most 1048576"):
        ask(path, {"text": "x" * (1 << 20)}, _LONG_S)


def test_a_refusal_is_heard_even_while_sending(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(line_bytes=1_000))
    with pytest.raises(UsageError, match="longer than 1000 bytes"):
        ask(path, {"text": "x" * 1_000_000}, _LONG_S)


def test_half_a_line_is_no_request(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asked: list[Mapping[str, Any]] = []

    def note(_peer: Peer, request: Mapping[str, Any]) -> str:
        asked.append(request)
        return encode_result({})

    serve(note)
    with _connect(path) as connection:
        connection.sendall(b'{"a":1}')
        connection.shutdown(socket.SHUT_WR)
        assert _read_all(connection) == b""
    assert asked == []
    assert "ended before the end of its line" in caplog.text


def test_one_who_hangs_is_ended_and_disturbs_nobody(serve: Serve, path: Path) -> None:
    server = serve(limits=ServerLimits(idle_s=0.2))
    silent, halfway = _connect(path), _connect(path)
    with silent, halfway:
        halfway.sendall(b'{"a"')
        assert ask(path, {}, _LONG_S)["request"] == {}
        for connection in (silent, halfway):
            assert "no whole request within 0.2 s" in json.loads(_read_all(connection))["error"]
    ask(path, {}, _LONG_S)
    assert server.connections <= 1


def test_a_byte_now_and_then_does_not_keep_it_open(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(idle_s=0.1))
    with _connect(path) as connection, contextlib.suppress(BrokenPipeError):
        connection.settimeout(0.01)
        for _ in range(2_000):
            connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                assert b"no whole request" in connection.recv(1 << 16)
                return
    pytest.fail("still open")


def test_one_who_does_not_read_is_ended(serve: Serve, path: Path) -> None:
    server = serve(lambda _peer, _request: "x" * 10_000_000, limits=ServerLimits(idle_s=0.1))
    with _connect(path) as connection:
        connection.sendall(b"{}\n")
        connection.recv(1)
        for _ in range(2_000):
            if server.connections == 0:
                break
            threading.Event().wait(0.01)
        assert server.connections == 0
        assert len(_read_all(connection)) < 10_000_000


def test_one_who_vanishes_disturbs_nobody(serve: Serve, path: Path) -> None:
    done = threading.Event()

    async def slow(_peer: Peer, request: Mapping[str, Any]) -> str:
        await asyncio.sleep(0.02)
        done.set()
        return "x" * 1_000_000 if request else encode_result({})

    serve(slow)
    for data in (b"", b"{", b'{"a":1}\n'):
        with _connect(path) as connection:
            connection.sendall(data)
    # What was asked for is carried out even if nobody waits for the answer any more.
    assert done.wait(_LONG_S)
    assert ask(path, {}, _LONG_S) == {}


def test_the_number_of_connections_is_bounded(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(connections=3))
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(_connect(path)) for _ in range(2)]
        assert ask(path, {}, _LONG_S)["request"] == {}
        idle.append(stack.enter_context(_connect(path)))
        with pytest.raises(PowerError, match="too many connections"):
            ask(path, {}, _LONG_S)
        idle[0].sendall(b"{}\n")
        assert _read_all(idle[0])
        assert ask(path, {}, _LONG_S)["request"] == {}


def test_no_user_can_shut_out_another(serve: Serve, path: Path) -> None:
    serve(limits=ServerLimits(per_uid=2))

    def hog() -> str:
        idle = [_connect(path)]
        ask(path, {}, _LONG_S)
        idle.append(_connect(path))
        try:
            ask(path, {}, _LONG_S)
        except PowerError as error:
            return f"{error}, with {len(idle)} open"
        return "answered"

    for _ in range(2):  # what he has closed no longer counts
        assert as_user(NOBODY, hog).startswith("too many connections")
    with _connect(path), _connect(path), _connect(path):
        assert ask(path, {}, _LONG_S)["request"] == {}, "root is not counted"


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
            ask(path, {}, _LONG_S)
        assert type(caught.value) is expected


def test_a_fault_of_the_handler_is_logged_whole(serve: Serve, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_peer: Peer, _request: Mapping[str, Any]) -> str:
        raise KeyError("the place")

    serve(fail, error_reply=None)
    assert _say(path, b"{}\n") == b""
    assert "Traceback" in caplog.text
    assert "the place" in caplog.text


# The path


def test_nobody_gets_in_between_bind_and_start(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    server = LineServer(path, 0o640, echo)
    server.bind()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(DaemonUnreachable, match="nobody listens"):
        ask(path, {}, _LONG_S)
    _in(loop, server.start())
    assert ask(path, {}, _LONG_S)
    _in(loop, server.stop())
    _in(loop, server.stop())
    assert not path.exists()


def test_a_second_daemon_is_refused(serve: Serve, path: Path) -> None:
    serve()
    with pytest.raises(PowerError, match="another daemon answers there; stop it first"):
        LineServer(path, 0o600, echo).bind()
    assert ask(path, {}, _LONG_S)


def test_a_daemon_that_is_about_to_listen_is_respected(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    first = LineServer(path, 0o600, echo)
    first.bind()
    with pytest.raises(PowerError, match="another daemon"):
        LineServer(path, 0o600, echo).bind()
    _in(loop, first.start())
    assert ask(path, {}, _LONG_S)
    _in(loop, first.stop())


def test_somebody_elses_listener_is_respected(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(3):  # the last ones find its queue full
            with pytest.raises(PowerError, match="another daemon"):
                LineServer(path, 0o600, echo).bind()
        assert path.exists()


def test_a_stale_socket_is_replaced(serve: Serve, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    serve()
    assert ask(path, {}, _LONG_S)


def test_a_file_at_the_path_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(PowerError, match="is no socket"):
        LineServer(path, 0o600, echo).bind()
    assert path.read_text() == "precious"


def test_a_failed_bind_can_be_repeated(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    path.write_text("precious")
    server = LineServer(path, 0o600, echo)
    with pytest.raises(PowerError):
        server.bind()
    path.unlink()
    _in(loop, server.start())
    assert ask(path, {}, _LONG_S)
    _in(loop, server.stop())


def test_a_socket_that_replaced_ours_is_not_removed(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    server = LineServer(path, 0o600, echo)
    _in(loop, server.start())
    path.unlink()
    path.write_text("another's")
    _in(loop, server.stop())
    assert path.read_text() == "another's"


def test_a_missing_directory_is_made(home: Path) -> None:
    before = os.umask(0o077)
    try:
        server = LineServer(home / "run" / "hook.sock", 0o600, echo, owner=(os.geteuid(), os.getegid()))
        server.bind()
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / "run").stat().st_mode) == 0o755
    asyncio.run(server.stop())


def test_directory_and_socket_go_to_the_owner(home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    path = home / "run" / "hook.sock"
    server = LineServer(path, 0o600, echo, owner=(NOBODY, NOBODY))
    server.bind()
    key = HookKey.create(path, (NOBODY, NOBODY))
    assert [each.stat().st_uid for each in (path.parent, path, key.path)] == [NOBODY] * 3
    asyncio.run(server.stop())


@pytest.mark.parametrize("name", ["x" * 200, "file/hook.sock"])
def test_paths_that_cannot_be_used(home: Path, name: str) -> None:
    (home / "file").write_text("")
    with pytest.raises(PowerError, match="cannot make the socket"):
        LineServer(home / name, 0o600, echo).bind()


def test_stopping_lets_answers_finish(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    begun, stopping = threading.Event(), threading.Event()

    async def slow(_peer: Peer, _request: Mapping[str, Any]) -> str:
        begun.set()
        while not stopping.is_set():
            await asyncio.sleep(0.001)
        return encode_result({"finished": True})

    server = LineServer(path, 0o600, slow)
    _in(loop, server.start())
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(ask, path, {}, _LONG_S)
        assert begun.wait(_LONG_S)
        end = pool.submit(_in, loop, server.stop(grace_s=_LONG_S))
        stopping.set()
        assert waiting.result(_LONG_S) == {"finished": True}
        end.result(_LONG_S)


def test_stopping_does_not_wait_for_ever(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    begun = threading.Event()

    async def endless(_peer: Peer, _request: Mapping[str, Any]) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    server = LineServer(path, 0o600, endless)
    _in(loop, server.start())
    with ThreadPoolExecutor(1) as pool, _connect(path) as idle:
        waiting = pool.submit(ask, path, {}, _LONG_S)
        assert begun.wait(_LONG_S)
        _in(loop, server.stop(grace_s=0.01))
        with pytest.raises(DaemonUnreachable, match="without an answer"):
            waiting.result(_LONG_S)
        assert _read_all(idle) == b""


# The client


@pytest.mark.parametrize(
    ("answer", "expected", "told"),
    [
        (b"", DaemonUnreachable, "without an answer"),
        (b'{"ok":true,"result":{}}', DaemonUnreachable, "without an answer"),
        (b"rubbish\n", PowerError, "no JSON"),
        (b'{"ok":true,"result":3}\n', PowerError, "another version"),
        (b'{"ok":false,"error":5}\n', PowerError, "another version"),
        (b"[]\n", PowerError, "another version"),
        (b'{"ok":false,"error":"no","exit_code":2}\n', UsageError, "^no$"),
        (b'{"ok":false,"error":"no","exit_code":77}\n', PowerError, "^no$"),
        (b'{"ok":false,"error":"no"}\n', PowerError, "^no$"),
    ],
)
def test_odd_answers(path: Path, answer: bytes, expected: type[PowerError], told: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(path))
        listener.listen()

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        replied = pool.submit(reply)
        with pytest.raises(expected, match=told):
            ask(path, {}, _LONG_S)
        replied.result(_LONG_S)


def test_nobody_there(path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no such socket; is slurm-powerd running"):
        ask(path, {}, _LONG_S)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        with pytest.raises(DaemonUnreachable, match="nobody listens"):
            ask(path, {}, _LONG_S)
        dead.listen(0)
        with pytest.raises(DaemonUnreachable, match=r"no answer within 0\.05 s"):
            ask(path, {}, 0.05)
        with pytest.raises(DaemonUnreachable):  # its queue is full now
            ask(path, {}, 0.05)


# The words


def test_a_reply_to_the_hook() -> None:
    reply = encode_reply(
        "c0ffee", "admit", "2 zones\nrack=1 & more", {"licenses": "rack01_w:18500", "priority": 0, "features": ""}
    )
    assert reply == (
        "key=c0ffee&verdict=admit&message=2%20zones%0Arack%3D1%20%26%20more"
        "&set.licenses=rack01_w%3A18500&n.priority=0&set.features="
    )


def test_a_reply_to_the_gate() -> None:
    assert encode_reply("c0ffee", "wait", seconds=2) == "key=c0ffee&verdict=wait&seconds=2"


def test_bytes_that_are_not_utf8_come_back_as_they_were() -> None:
    request = parse_request(b'{"comment":"caf\xe9"}')
    reply = encode_reply("k", "admit", set_fields={"admin_comment": request["comment"]})
    assert unquote_to_bytes(reply.rpartition("=")[2]) == b"caf\xe9"


@given(
    message=st.text(st.characters(exclude_categories=["Cs"])),
    fields=st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.text(st.characters(exclude_categories=["Cs"])) | st.integers(),
    ),
)
def test_replies_can_be_taken_apart(message: str, fields: dict[str, str | int]) -> None:
    reply = encode_reply("key", "hold", message, fields)
    assert "\n" not in reply
    assert reply.isascii()
    expected = [("key", "key"), ("verdict", "hold")] + ([("message", message)] if message else [])
    for name, value in fields.items():
        expected.append((f"set.{name}" if isinstance(value, str) else f"n.{name}", str(value)))
    assert parse_qsl(reply.replace("+", "%2B"), keep_blank_values=True) == expected


@given(st.text(st.characters()))
def test_any_text_can_be_sent(text: str) -> None:
    assert encode_reply("k", "hold", text).isascii()


@given(st.binary())
def test_no_line_breaks_the_reader(line: bytes) -> None:
    with contextlib.suppress(UsageError):
        assert isinstance(parse_request(line), dict)


def test_the_key_is_new_each_time_and_for_the_owner_only(path: Path) -> None:
    first, second = HookKey.create(path), HookKey.create(path)
    assert first.path == path.with_name("test.sock.key")
    assert first.value != second.value
    assert len(bytes.fromhex(second.value)) == 16
    assert second.path.read_text() == second.value + "\n"
    assert stat.S_IMODE(second.path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["test.sock.key"]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(home: Path) -> None:
    (home / "taken").mkdir()
    with pytest.raises(PowerError, match="cannot be written"):
        replace_file(home / "taken", "content", 0o644)
    with pytest.raises(PowerError, match="cannot be written"):
        replace_file(home / "missing" / "file", "content", 0o644)
    assert [each.name for each in home.iterdir()] == ["taken"]
    replace_file(home / "nodes", "gpu001 rack01\n", 0o644)
    assert stat.S_IMODE((home / "nodes").stat().st_mode) == 0o644
