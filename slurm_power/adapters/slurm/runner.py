"""The one place that starts Slurm's commands: argument lists, always a time-out, a clean environment, typed errors."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from threading import Event, Timer
from typing import IO, Protocol

from slurm_power.core.errors import SlurmError, SlurmTimeout

_OURS = {
    "LC_ALL": "C",
    "TZ": "UTC",
    "SLURM_TIME_FORMAT": "%s",
    "SLURM_BITSTR_LEN": "0",  # else task lists are cut after 64 characters
    "INPUTRC": "/dev/null",  # scontrol reads its standard input through readline
    "TERM": "dumb",
}
_FOREIGN = ("SLURM_", "SQUEUE_", "SINFO_", "SCONTROL_", "SCANCEL_", "SACCTMGR_", "SBATCH_", "SALLOC_", "SRUN_")
PIECE_BYTES = 1 << 15
"""Python takes a piece apart in one go, and nobody else has a turn meanwhile: 0.3 ms, and 9 ms for a piece of 1 MiB."""
_TAIL_BYTES = 1 << 20


class ReadOnlyError(SlurmError):
    """A command that would write, given to a runner that only reads."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Commands(Protocol):
    """Whoever can run Slurm's commands: the Runner, or a replay of captured output."""

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        """Run to the end; timeout_s: after so long at most, where that is less than the usual time."""

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Run, and give its standard output in pieces as it comes."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs Slurm's commands.

    conf: the slurm.conf to use (SLURM_CONF); empty: what the environment says.
    bin_dir: the directory of Slurm's commands; empty: PATH.
    prefix: what to put before every command, such as `("chroot", "/srv/slurm-24.11")`.
    timeout_s: after so long a command is killed.
    read_only: refuse every command that writes.
    """

    conf: str = ""
    bin_dir: str = ""
    prefix: tuple[str, ...] = ()
    timeout_s: float = 30.0
    read_only: bool = False
    base_env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        """Run to the end; timeout_s: after so long at most, where that is less than the usual time.

        Raises SlurmError (with `check`, for a status other than 0 too), SlurmTimeout and ReadOnlyError.
        """
        argv = self._argv(program, args)
        if writes and self.read_only:
            raise ReadOnlyError("refused, for Slurm is only read here", argv)
        limit_s = self.timeout_s if timeout_s is None else min(timeout_s, self.timeout_s)
        with self._started(argv, env, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                out, err = process.communicate(stdin.encode(), limit_s)
            except subprocess.TimeoutExpired as late:
                process.kill()  # and no more is read: a child of it may keep the pipe open
                raise SlurmTimeout(f"no end after {limit_s:g} s", argv, None, _text(late.stderr)) from late
            except BaseException:  # also Ctrl-C: no command is left behind
                process.kill()
                raise
        completed = Completed(process.returncode, _text(out), _text(err))
        if check and completed.status:
            raise SlurmError("failed", argv, completed.status, completed.err or completed.out)
        return completed

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Run, giving standard output in pieces. Raises SlurmError and SlurmTimeout, perhaps after some pieces."""
        argv = self._argv(program, args)
        with tempfile.TemporaryFile() as err:
            process = self._started(argv, env, stdin=subprocess.DEVNULL, stderr=err)
            late = Event()

            def give_up() -> None:
                late.set()
                process.kill()

            timer = Timer(self.timeout_s, give_up)
            timer.start()
            try:
                with process:
                    assert process.stdout is not None
                    while chunk := process.stdout.read(PIECE_BYTES):
                        yield chunk
            finally:
                timer.cancel()
                if process.poll() is None:  # the reader stopped half-way
                    process.kill()
            said = _tail(err)
        if late.is_set():
            raise SlurmTimeout(f"no end after {self.timeout_s:g} s", argv, process.returncode, said)
        # squeue drops a column that it does not know, complains, and ends with 0
        if process.returncode or "Invalid job format" in said:
            raise SlurmError("failed", argv, process.returncode, said)

    def _started(
        self, argv: tuple[str, ...], env: Mapping[str, str] | None, *, stdin: int, stderr: int | IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """A command under way, without the precedence that its daemon has for the sake of the hook alone."""
        try:
            process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=self._env(env))
        except OSError as error:
            raise SlurmError(f"cannot be started: {error.strerror}", argv) from error
        with contextlib.suppress(OSError):  # it has ended already
            if os.getpriority(os.PRIO_PROCESS, process.pid) < 0:
                os.setpriority(os.PRIO_PROCESS, process.pid, 0)
        return process

    def _argv(self, program: str, args: tuple[str, ...]) -> tuple[str, ...]:
        named = self.bin_dir and not program.startswith("/")
        path = f"{self.bin_dir.rstrip('/')}/{program}" if named else program
        return (*self.prefix, path, *args)

    def _env(self, more: Mapping[str, str] | None) -> dict[str, str]:
        kept = {k: v for k, v in self.base_env.items() if not k.startswith(_FOREIGN) or k == "SLURM_CONF"}
        conf = {"SLURM_CONF": self.conf} if self.conf else {}
        return {**kept, **_OURS, **conf, **(more or {})}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _tail(file: IO[bytes]) -> str:
    file.seek(0)
    return _text(file.read(_TAIL_BYTES))
