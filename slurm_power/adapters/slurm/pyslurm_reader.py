"""Reading jobs through pyslurm, which asks slurmctld without formatting text and parsing it again.

Only where a site has installed the pyslurm of the very version that its Slurm has (major and minor number), beside
this program; else, and after a fault of it, jobs are read by squeue, and a line in the log says so. pyslurm runs in a
process of its own (see `pyslurm_worker`), with the slurm.conf that the commands have.
"""

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from operator import attrgetter
from typing import Protocol

from slurm_power.adapters.slurm.dialect import Version
from slurm_power.adapters.slurm.runner import Commands
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import JobRecord, JobState

_log = logging.getLogger("slurm_power.slurm")

WORKER = (sys.executable, "-m", "slurm_power.adapters.slurm.pyslurm_worker")
"""The command that starts pyslurm's process: by the Python that runs this program."""
WHAT_JOBS, WHAT_VERSION = "jobs", "version"
NONE = "there is no pyslurm"
_FIELDS = tuple(field.name for field in fields(JobRecord))
_STATE = _FIELDS.index("state")
_values_of = attrgetter(*_FIELDS)


class JobSource(Protocol):
    """Who can read jobs."""

    @property
    def name(self) -> str:
        """What people call it."""

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs, or of these ids those that slurmctld knows."""


def encode(job: JobRecord) -> str:
    """A record as a line for `decode`."""
    return json.dumps(_values_of(job), separators=(",", ":")) + "\n"


def decode(line: bytes) -> JobRecord:
    """The record of a line. Raises ValueError, TypeError."""
    values = json.loads(line)
    values[_STATE] = JobState(values[_STATE])
    return JobRecord(*values)


def find(commands: Commands, version: Version, worker: Sequence[str] = WORKER) -> "PyslurmReader | None":
    """The reader, if pyslurm's process starts and says that it is for this version of Slurm."""
    try:
        said = str(json.loads(commands.run(*worker, WHAT_VERSION).out))
    except (SlurmError, ValueError) as error:
        told = _last_words(error)
        if told != NONE:  # which is usual
            _log.info("pyslurm cannot be used (%s); jobs are read by squeue", told)
        return None
    if said.split(".")[:2] != [str(part) for part in version[:2]]:
        _log.info("pyslurm %s is not for Slurm %d.%02d; jobs are read by squeue", said, *version[:2])
        return None
    _log.info("jobs are read by pyslurm %s", said)
    return PyslurmReader(commands, f"pyslurm {said}", tuple(worker))


@dataclass(slots=True)
class PyslurmReader:
    """Reads all jobs through pyslurm's process. A line that has not changed gives the very record that it gave."""

    commands: Commands
    name: str
    worker: tuple[str, ...] = WORKER
    _known: dict[bytes, JobRecord] = field(default_factory=dict)

    def read(self) -> list[JobRecord]:
        """All jobs that slurmctld knows. Raises SlurmError."""
        known, fresh = self._known, {}
        try:
            for line in _lines(self.commands.stream(*self.worker, WHAT_JOBS)):
                mark = blake2b(line, digest_size=16).digest()
                fresh[mark] = known.get(mark) or decode(line)
        except (ValueError, TypeError) as error:
            raise SlurmParseError("not the line of a job", self.worker, 0, str(error)) from error
        self._known = fresh
        return list(fresh.values())


@dataclass(slots=True)
class FallingBack:
    """Reads all jobs by pyslurm until that fails where squeue does not, from then on by squeue; some jobs by squeue."""

    first: PyslurmReader
    second: JobSource
    _failed: bool = False

    @property
    def name(self) -> str:
        """Which of the two reads all jobs."""
        return self.second.name if self._failed else self.first.name

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs, or of these ids those that slurmctld knows. Raises what the second source raises."""
        if ids is not None or self._failed:
            return self.second.read(ids)
        try:
            return self.first.read()
        except SlurmError as error:
            jobs = self.second.read()  # raises too while slurmctld is away, which is no fault of pyslurm's
            _log.warning("pyslurm failed (%s); jobs are read by squeue from now on", _last_words(error))
            self._failed = True
            return jobs


def _last_words(error: Exception) -> str:
    """The last line of what the process has said: the error below its traceback."""
    said = error.output.strip() if isinstance(error, SlurmError) else ""
    return (said or str(error)).splitlines()[-1]


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        raise ValueError("cut off")
