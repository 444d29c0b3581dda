"""What a sandbox started, made and mounted: written to its directory before anything depends on it."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slurm_power.sandbox.failure import CancelledError, SandboxError
from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.process import Process

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class User:
    """A user of the cluster; `qos` from the highest promise to the lowest."""

    name: str
    account: str
    qos: tuple[str, ...]
    default_qos: str

    def as_json(self) -> dict[str, Any]:
        """The user as data for JSON."""
        return {"name": self.name, "account": self.account, "qos": list(self.qos), "default_qos": self.default_qos}


@dataclass(frozen=True, slots=True)
class State:
    """All that `down`, `status` and `env` need to know."""

    root: Path
    cluster: str
    site: str = ""
    slurm_root: str | None = None
    slurm_version: str = ""
    complete: bool = False
    """Whether `up` came to its end."""
    users: tuple[User, ...] = ()
    parts: Mapping[str, Part] = field(default_factory=dict)


class StateFile:
    """The state file, kept up to date; safe to use from several threads.

    Once closed it starts nothing more, so that nothing can slip past an end that is under way.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._closed = False
        save(state)

    @property
    def state(self) -> State:
        """The state as it is written."""
        return self._state

    def change(self, **fields: Any) -> None:
        """Replace fields of the state, on disk first of all."""
        with self._lock:
            self._write(replace(self._state, **fields))

    def add(self, part: Part) -> None:
        """Keep a part that is not started, or has been ended."""
        with self._lock:
            self._put(part)

    def start(self, part: Part) -> Part:
        """Start a part and keep its process. Raises CancelledError once closed."""
        with self._lock:
            self.check_open()
            started = part.start()
            self._put(started)
            return started

    def check_open(self) -> None:
        """Raises CancelledError once closed."""
        if self._closed:
            raise CancelledError("the sandbox is being ended")

    def close(self) -> None:
        """Let nothing more be started."""
        with self._lock:
            self._closed = True

    def _put(self, part: Part) -> None:
        self._write(replace(self._state, parts={**self._state.parts, part.name: part}))

    def _write(self, state: State) -> None:
        self._state = state
        save(state)


def save(state: State) -> None:
    """Write the state file in one step."""
    path = Layout(state.root).state_file
    draft = path.with_suffix(".new")
    write_file(draft, json.dumps(_as_json(state), indent=1) + "\n")
    draft.replace(path)


def load(root: Path) -> State:
    """The state of the sandbox in a directory. Raises SandboxError where there is none."""
    path = Layout(root).state_file
    try:
        return _from_json(json.loads(path.read_text()))
    except FileNotFoundError:
        raise SandboxError(f"there is no sandbox in {root}; start one with: spower sandbox up --dir {root}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxError(f"{path} cannot be read: {error!r}") from None


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Keep other commands off this sandbox. Raises SandboxError if one is at work."""
    handle = os.open(layout.lock_file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SandboxError(f"another command is at work on the sandbox in {layout.root}; try again") from None
    finally:
        os.close(handle)


def _as_json(state: State) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "dir": str(state.root),
        "cluster": state.cluster,
        "site": state.site,
        "slurm_root": state.slurm_root,
        "slurm_version": state.slurm_version,
        "complete": state.complete,
        "users": [user.as_json() for user in state.users],
        "parts": {name: _part_as_json(part) for name, part in state.parts.items()},
    }


def _part_as_json(part: Part) -> dict[str, Any]:
    process = part.process
    return {
        "argv": list(part.argv),
        "log": part.log,
        "output": part.output,
        "env": dict(part.env),
        "cwd": part.cwd,
        "port": part.port,
        "socket": part.socket,
        "node": part.node,
        "process": None if process is None else {"pid": process.pid, "started": process.started},
    }


def _from_json(data: dict[str, Any]) -> State:
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']}, not {SCHEMA}")
    return State(
        root=Path(data["dir"]),
        cluster=data["cluster"],
        site=data["site"],
        slurm_root=data["slurm_root"],
        slurm_version=data["slurm_version"],
        complete=data["complete"],
        users=tuple(User(u["name"], u["account"], tuple(u["qos"]), u["default_qos"]) for u in data["users"]),
        parts={name: _part_from_json(name, part) for name, part in data["parts"].items()},
    )


def _part_from_json(name: str, data: dict[str, Any]) -> Part:
    process = data["process"]
    rest = {key: value for key, value in data.items() if key not in ("argv", "process")}
    return Part(
        name=name,
        argv=tuple(data["argv"]),
        process=None if process is None else Process(process["pid"], process["started"]),
        **rest,
    )
