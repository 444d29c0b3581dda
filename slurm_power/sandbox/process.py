"""Processes by pid and start time, so that a pid that was given to somebody else is never mistaken for ours."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Process:
    """One process of this machine; `started` is in clock ticks after boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether that very process still runs; one that ended and waits for its parent does not.

        One that was killed may have a thread left that waits for a disk: until it is gone too, sockets and locks stay.
        """
        found = _stat(self.pid)
        if found is None or found.started != self.started:
            return False
        return found.state not in "ZX" or found.threads > 1

    def signal(self, number: int) -> None:
        """Send a signal, if it is still that process."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def reap(self) -> None:
        """Let go of it if it was a child of ours that ended."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)


def find(pid: int) -> Process | None:
    """The process that has this pid now."""
    found = _stat(pid)
    return None if found is None else Process(pid, found.started)


def end(processes: list[Process], patience_s: float = 10.0) -> list[Process]:
    """Ask them all to end, insist after `patience_s` seconds; returns those that outlive even that."""
    for process in processes:
        process.signal(signal.SIGTERM)
    if not wait_until(lambda: _all_ended(processes), patience_s):
        for process in processes:
            process.signal(signal.SIGKILL)
        wait_until(lambda: _all_ended(processes), patience_s)
    return [process for process in processes if process.alive]


def wait_until(condition: Callable[[], bool], patience_s: float) -> bool:
    """Look again and again, for at most so many seconds; whether it came true."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def with_environment(marks: Mapping[str, str | None]) -> Iterator[Process]:
    """All processes that were started with these variables (None: with any value), save the caller's own."""
    for process in _others():
        if _has(_environment(process.pid), marks) and process.alive:
            yield process


def working_below(root: Path, name: str) -> Iterator[Process]:
    """All processes of this name whose working directory lies in a directory."""
    for process in _others():
        if _name(process.pid) == name and _lies_below(process.pid, "cwd", root):
            yield process


def rooted_below(root: Path) -> Iterator[Process]:
    """All processes whose root lies in a directory: those that went there by chroot."""
    for process in _others():
        if _lies_below(process.pid, "root", root):
            yield process


def _others() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            process = find(int(entry.name))
            if process is not None and process.alive:
                yield process


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it ended
        return ""


def _lies_below(pid: int, link: str, root: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/{link}").readlink().is_relative_to(root)
    except OSError:  # it ended, or belongs to somebody else
        return False


def _has(environment: Mapping[str, str], marks: Mapping[str, str | None]) -> bool:
    return all(
        name in environment and (value is None or environment[name] == value) for name, value in marks.items()
    )


def _environment(pid: int) -> dict[str, str]:
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended, or belongs to somebody else
        return {}
    return dict(item.partition("=")[::2] for item in raw.decode(errors="replace").split("\0"))


def _all_ended(processes: list[Process]) -> bool:
    for process in processes:
        process.reap()
    return not any(process.alive for process in processes)


class _Stat(NamedTuple):
    state: str
    threads: int
    started: int


def _stat(pid: int) -> _Stat | None:
    """What the kernel tells of a process; see proc(5): the fields after the command's closing bracket."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(fields[0], int(fields[17]), int(fields[19]))
