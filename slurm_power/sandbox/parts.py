"""A part of the cluster: one long-lived process with its log and the address where it listens."""

import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_power.sandbox import process
from slurm_power.sandbox.failure import SandboxError, with_log
from slurm_power.sandbox.process import Process
from slurm_power.sandbox.tools import search_path

READY_S = 60.0
MARK = "SLURM_POWER_SANDBOX_PART"
"""The variable by which processes of a sandbox are known; its value is the sandbox's directory."""


@dataclass(frozen=True, slots=True)
class Part:
    """How to start a process, and the process that was started (None: not, or ended by `stop`).

    It is ready when something listens at `port` on 127.0.0.1, or else on the unix socket `socket`.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    output: str
    """Where its standard output and error go; the same as `log` where it keeps no log of its own."""
    env: Mapping[str, str]
    cwd: str
    port: int | None = None
    socket: str | None = None
    node: bool = False
    """Whether it is a slurmd, named by its node."""
    process: Process | None = None

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.alive

    @property
    def ready(self) -> bool:
        """Whether it accepts a connection."""
        if self.port is not None:
            return _accepts(socket.AF_INET, ("127.0.0.1", self.port))
        return self.socket is not None and _accepts(socket.AF_UNIX, self.socket)

    def start(self) -> "Part":
        """The part with a new process. Raises SandboxError if it cannot be started at all."""
        try:
            with Path(self.output).open("ab") as output:
                child = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self.cwd,
                    env=dict(self.env),
                    start_new_session=True,
                )
        except OSError as error:
            raise SandboxError(f"cannot start {self.name}: {error}") from None
        started = process.find(child.pid)
        if started is None:
            raise with_log(f"{self.name} ended at once", Path(self.output))
        return replace(self, process=started)

    def stop(self, patience_s: float = 10.0) -> "Part":
        """The part without a process. Raises SandboxError if the process cannot be ended."""
        if self.process is not None and process.end([self.process], patience_s):
            raise SandboxError(f"{self.name} (pid {self.process.pid}) does not end")
        return replace(self, process=None)

    def wait_ready(self, check: Callable[[], None] = lambda: None, patience_s: float = READY_S) -> None:
        """Wait until it listens. Raises SandboxError, with its log, if it ends or takes too long; or what `check` does.

        `check` is called at every look.
        """

        def settled() -> bool:
            check()
            return self.ready or not self.alive

        came = process.wait_until(settled, patience_s)
        if not self.alive:
            raise with_log(f"{self.name} ended before it was ready", Path(self.output))
        if not came:
            raise with_log(f"{self.name} was not ready within {patience_s:.0f} s", Path(self.output))


def clean_environment(root: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a part is started with: nothing of the caller's that could change what it does."""
    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "TZ", "PYTHONPATH") if name in os.environ}
    return {"PATH": search_path(), "LANG": "C.UTF-8", **kept, MARK: str(root), **(extra or {})}


def _accepts(family: socket.AddressFamily, address: tuple[str, int] | str) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(address) == 0
