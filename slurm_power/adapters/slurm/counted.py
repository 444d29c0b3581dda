"""Slurm's commands counted and timed, whoever runs them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from slurm_power.adapters.slurm.runner import Commands, Completed
from slurm_power.core.errors import SlurmError, SlurmTimeout
from slurm_power.core.histogram import Distribution, Histogram

DURATIONS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(slots=True)
class _Count:
    durations: Histogram = field(default_factory=lambda: Histogram(DURATIONS_S))
    failed: int = 0
    late: int = 0


class CountedCommands:
    """`Commands` that remember how they fared. They run in several threads."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._lock = threading.Lock()
        self._counts: dict[str, _Count] = {}

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
        """As the other does."""
        with self._counted(program):
            return self._commands.run(
                program, *args, stdin=stdin, env=env, check=check, writes=writes, timeout_s=timeout_s
            )

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """As the other does; what is done with the pieces is part of the time."""
        with self._counted(program):
            yield from self._commands.stream(program, *args, env=env)

    def counts(self) -> Mapping[str, tuple[int, int, Distribution]]:
        """Program → how often it failed, how often of these it was late, and its durations in s, by now."""
        with self._lock:
            return {name: (one.failed, one.late, one.durations.read()) for name, one in sorted(self._counts.items())}

    @contextmanager
    def _counted(self, program: str) -> Iterator[None]:
        begun, failed, late = monotonic(), False, False
        try:
            yield
        except SlurmError as error:
            failed, late = True, isinstance(error, SlurmTimeout)
            raise
        finally:
            # Slurm's commands are called by name; the only other program, by its path, is pyslurm's.
            name = "pyslurm" if "/" in program else program
            with self._lock:
                count = self._counts.setdefault(name, _Count())
                count.durations.observe(monotonic() - begun)
                count.failed += failed
                count.late += late
