"""Servers in a loop of their own, so that tests may block."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from slurm_power.adapters.lines import encode_error
from slurm_power.adapters.lines_server import Handler, LineServer
from tests.adapters.lines.peers import Serve, echo, run_in


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


@pytest.fixture
def serve(path: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Serve]:
    """Starts servers on `path` and ends them."""
    started: list[LineServer] = []

    def start(handler: Handler = echo, mode: int = 0o666, **options: Any) -> LineServer:
        server = LineServer(path, mode, handler, **{"error_reply": encode_error, **options})
        run_in(loop, server.start())
        started.append(server)
        return server

    yield start
    for server in started:
        run_in(loop, server.stop())
        assert server.connections == 0
