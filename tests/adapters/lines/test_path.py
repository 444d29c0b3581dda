"""The path of a socket: one daemon at a time, and never another's file."""

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.lines import HookKey
from slurm_power.adapters.lines_client import ask
from slurm_power.adapters.lines_server import LineServer, Peer
from slurm_power.core.errors import DaemonUnreachable, PowerError
from tests.adapters.lines.peers import LONG_S, Serve, connect, echo, read_all, run_in
from tests.adapters.store.other_user import NOBODY
from tests.fakes.replies import encode_result


def test_nobody_gets_in_between_bind_and_start(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    server = LineServer(path, 0o640, echo)
    server.bind()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(DaemonUnreachable, match="nobody listens"):
        ask(path, {}, LONG_S)
    run_in(loop, server.start())
    assert ask(path, {}, LONG_S)
    run_in(loop, server.stop())
    run_in(loop, server.stop())
    assert not path.exists()


def test_a_second_daemon_is_refused(serve: Serve, path: Path) -> None:
    serve()
    with pytest.raises(PowerError, match="another daemon answers there; stop it first"):
        LineServer(path, 0o600, echo).bind()
    assert ask(path, {}, LONG_S)


def test_a_daemon_that_is_about_to_listen_is_respected(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    first = LineServer(path, 0o600, echo)
    first.bind()
    with pytest.raises(PowerError, match="another daemon"):
        LineServer(path, 0o600, echo).bind()
    run_in(loop, first.start())
    assert ask(path, {}, LONG_S)
    run_in(loop, first.stop())


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
    assert ask(path, {}, LONG_S)


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
    run_in(loop, server.start())
    assert ask(path, {}, LONG_S)
    run_in(loop, server.stop())


def test_a_socket_that_replaced_ours_is_not_removed(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    server = LineServer(path, 0o600, echo)
    run_in(loop, server.start())
    path.unlink()
    path.write_text("another's")
    run_in(loop, server.stop())
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
        pytest.skip("only root can give files away")  # chown; the sandbox's non-root form has one user alone
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
    run_in(loop, server.start())
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(ask, path, {}, LONG_S)
        assert begun.wait(LONG_S)
        end = pool.submit(run_in, loop, server.stop(grace_s=LONG_S))
        stopping.set()
        assert waiting.result(LONG_S) == {"finished": True}
        end.result(LONG_S)


def test_stopping_does_not_wait_for_ever(path: Path, loop: asyncio.AbstractEventLoop) -> None:
    begun = threading.Event()

    async def endless(_peer: Peer, _request: Mapping[str, Any]) -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    server = LineServer(path, 0o600, endless)
    run_in(loop, server.start())
    with ThreadPoolExecutor(1) as pool, connect(path) as idle:
        waiting = pool.submit(ask, path, {}, LONG_S)
        assert begun.wait(LONG_S)
        run_in(loop, server.stop(grace_s=0.01))
        with pytest.raises(DaemonUnreachable, match="without an answer"):
            waiting.result(LONG_S)
        assert read_all(idle) == b""
