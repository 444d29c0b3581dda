"""Ways in which the daemon, slurmctld and their sockets go wrong; and what the tests of trouble ask afterwards."""

import contextlib
import os
import pwd
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.driver import Driver, wait_for
from tests.integration.running import Cluster

TWO_RACKS = """\
defaults: {margin: 0%, max_factor: 1}
hook: {token_ttl: 5s, gate_wait: 8s}
feeds:
  left:  {side: A, limit: 35kW}
  right: {side: B, limit: 35kW}
zones:
  a: {nodes: "a[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
  b: {nodes: "b[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
partitions:
  work: {zones: "a,b"}
"""
"""19 kW for jobs in each rack, 33 kW in both together."""

DAEMON, CONTROLLER = "slurm-powerd", "slurmctld"
_ANSWER_TO_NOBODY = (BrokenPipeError, ConnectionResetError, TimeoutError)


def pid_of(cluster: Cluster, part: str) -> int:
    """The process of a part that runs."""
    pid = cluster.status()["pids"][part]
    assert isinstance(pid, int), f"{part} does not run"
    return pid


def kill(cluster: Cluster, part: str) -> None:
    """kill -9, and wait until it is gone."""
    os.kill(pid_of(cluster, part), signal.SIGKILL)
    has_died(cluster, part)


def revive(cluster: Cluster, part: str) -> None:
    """kill -9 and start at once."""
    kill(cluster, part)
    cluster.start(part)


@contextmanager
def dead(home: Driver) -> Iterator[None]:
    """The daemon killed: its sockets and files stay behind, and nobody listens."""
    kill(home.cluster, DAEMON)
    try:
        yield
    finally:
        home.cluster.start(DAEMON)


@contextmanager
def hanging(home: Driver) -> Iterator[None]:
    """The daemon stopped in the middle: connections are taken by the kernel, and nothing is answered."""
    pid = pid_of(home.cluster, DAEMON)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def missing(home: Driver) -> Iterator[None]:
    """The daemon ended cleanly: there is no socket at all."""
    with home.away():
        assert not hook_socket(home).exists()
        yield


def hook_socket(home: Driver) -> Path:
    """Where the hook asks."""
    return home.cluster.layout.run / "hook.sock"


@contextmanager
def impostor(home: Driver, answer: bytes, owner: str | None = None) -> Iterator[list[bytes]]:
    """Somebody else listens on the hook's path and gives one answer to everybody; yields what he was asked."""
    path = hook_socket(home)
    asked: list[bytes] = []
    with home.away(), contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        if owner is not None:
            found = pwd.getpwnam(owner)
            os.chown(path, found.pw_uid, found.pw_gid)
        listener.listen(64)
        listener.settimeout(0.1)
        over = threading.Event()
        thread = threading.Thread(target=_answer_all, args=(listener, answer, asked, over))
        thread.start()
        try:
            yield asked
        finally:
            over.set()
            thread.join()
            path.unlink()


def _answer_all(listener: socket.socket, answer: bytes, asked: list[bytes], over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(*_ANSWER_TO_NOBODY):
            connection.settimeout(1.0)
            asked.append(connection.recv(1 << 18))
            connection.sendall(answer)


@contextmanager
def fatal_scontrol(home: Driver, at: str, *, after: bool, victim: str = DAEMON) -> Iterator[Callable[[], bool]]:
    """The next time that the daemon has scontrol carry out a word (`update`, `release`, `hold`), the victim is killed.

    Before Slurm hears of it, or `after` Slurm has done it and before the daemon is told. Yields whether it happened.
    """
    pid = pid_of(home.cluster, victim)
    command = home.cluster.layout.bin / "scontrol"
    seen = home.cluster.root / "killed"
    real = home.cluster.run("sh", "-c", "command -v scontrol").strip()
    assert real != str(command), "there is a command in the way already"
    act, end = f"{real} <$said >/dev/null 2>&1", f"touch {seen}; kill -9 {pid}"
    draft = command.with_name("scontrol.new")
    draft.write_text(
        f"""#!/bin/sh
[ $# -eq 0 ] || exec {real} "$@"
said=$(mktemp)
cat >$said
if grep -q '^{at} ' $said && [ ! -e {seen} ]; then
    {act if after else ":"}
    {end}
else
    {real} <$said
fi
rm $said
"""
    )
    draft.chmod(0o755)
    draft.rename(command)
    try:
        yield seen.exists
    finally:
        command.unlink()
        seen.unlink(missing_ok=True)


def has_died(cluster: Cluster, part: str) -> None:
    """Wait until a part is gone."""
    wait_for(lambda: cluster.status()["pids"][part] is None, f"{part} to be gone")
