"""What the tests of the Lua side share: text for Lua, a daemon that can misbehave, a slurmctld's worth of calls."""

import contextlib
import json
import math
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

LUA_DIR = Path(__file__).resolve().parents[2] / "lua"
HARNESS = Path(__file__).with_name("harness.lua")
LUA = "/usr/bin/lua5.1"
KEY = "0123456789abcdef0123456789abcdef"

Behaviour = Callable[[socket.socket], None]
"""What a daemon does with a connection; it is closed afterwards."""


def lua_literal(value: object) -> str:
    """The value as Lua source; text byte by byte, so that any bytes pass."""
    match value:
        case None:
            return "nil"
        case bool():
            return str(value).lower()
        case int() | float():
            if math.isnan(value):
                return "0/0"
            return repr(value) if math.isfinite(value) else ("math.huge" if value > 0 else "-math.huge")
        case str():
            return lua_literal(value.encode(errors="surrogateescape"))
        case bytes():
            return '"' + "".join(f"\\{byte:03d}" for byte in value) + '"'
        case Mapping():
            return "{" + ",".join(f"[{lua_literal(k)}]={lua_literal(v)}" for k, v in value.items()) + "}"
        case Sequence():
            return "{" + ",".join(lua_literal(item) for item in value) + "}"
    raise TypeError(f"no Lua for {value!r}")


def run_lua(*args: str) -> str:
    done = subprocess.run([LUA, *args], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def reply(key: str = KEY, **pairs: object) -> bytes:
    """A line of the daemon; `_` after `set` and `n` stands for the dot."""
    words = [f"key={quote(key)}"]
    for name, value in pairs.items():
        prefix, _, rest = name.partition("_")
        words.append(f"{prefix + '.' + rest if prefix in {'set', 'n'} else name}={quote(str(value))}")
    return "&".join(words).encode() + b"\n"


@dataclass
class FakeDaemon:
    """Listens on a socket and treats each connection as told; keeps what it was asked."""

    path: Path
    behaviour: Behaviour = lambda _: None
    requests: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self.release = threading.Event()
        self.path.with_name(self.path.name + ".key").write_text(KEY + "\n")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._treat, args=(connection,), daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        # the hook may have gone away: that is what many tests are about
        with connection, contextlib.suppress(OSError):
            self.behaviour(connection)

    def _read(self, connection: socket.socket) -> None:
        line = connection.makefile("rb").readline()
        self.requests.append(json.loads(line))

    def says(self, *lines: bytes) -> "FakeDaemon":
        """Answer with these bytes, one item a connection; the last one again and again."""
        left = list(lines)

        def behave(connection: socket.socket) -> None:
            self._read(connection)
            connection.sendall(left.pop(0) if len(left) > 1 else left[0])

        self.behaviour = behave
        return self

    def hangs(self) -> "FakeDaemon":
        def behave(connection: socket.socket) -> None:
            self._read(connection)
            self.release.wait(60)

        self.behaviour = behave
        return self

    def trickles(self) -> "FakeDaemon":
        def behave(connection: socket.socket) -> None:
            while not self.release.wait(0.01):
                connection.sendall(b"k")

        self.behaviour = behave
        return self

    def closes_at_once(self) -> "FakeDaemon":
        self.behaviour = lambda _: None
        return self


@dataclass(frozen=True)
class Result:
    """What one call of the hook did."""

    rc: int
    job: Mapping[str, Any]
    told: str
    log: str


@dataclass(frozen=True)
class Hook:
    """The Lua module as slurmctld would call it."""

    directory: Path
    socket: Path

    def run(
        self, *calls: Mapping[str, object], settings: Mapping[str, object] | None = None, **scenario: object
    ) -> list[Result]:
        """Several calls in one Lua state."""
        # slow machines answer late: only the tests about time-outs ask for short ones
        patient = {"socket": str(self.socket), "timeout_ms": 5000, "slurm_uid": 990}
        text = lua_literal({"settings": {**patient, **(settings or {})}, "calls": calls, **scenario})
        file = self.directory / "scenario.lua"
        file.write_text(f"return {text}")
        lines = run_lua(str(HARNESS), str(LUA_DIR), str(file)).splitlines()
        return [Result(**{"job": {}, **json.loads(line)}) for line in lines]

    def submit(
        self, job: Mapping[str, object], uid: int = 1000, settings: Mapping[str, object] | None = None
    ) -> Result:
        return self.run({"job": job, "uid": uid}, settings=settings)[0]

    def modify(
        self, job: Mapping[str, object], rec: Mapping[str, object], uid: int = 1000, without: Sequence[str] = ()
    ) -> Result:
        return self.run({"job": job, "rec": rec, "uid": uid}, without=without)[0]
