"""What differs between versions of Slurm, as a small table; the tests replay output of 22.05, 24.11 and 26.05."""

import logging
import re
from dataclasses import dataclass

from slurm_power.adapters.slurm.runner import Commands
from slurm_power.core.errors import SlurmError, SlurmParseError

_log = logging.getLogger("slurm_power.slurm")

Version = tuple[int, int, int]
_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family of versions.

    exclusive: squeue's field that tells whether a job has its nodes for itself, and the words that mean so.
    excluded: whether `squeue -O` knows ExcNodes; where not, it takes a call of its own.
    array_unique: whether squeue can show the records of an array unmerged without expanding their tasks.
    """

    name: str
    since: tuple[int, int]
    exclusive: str = "OverSubscribe"
    exclusive_word: str = "NO"
    excluded: bool = True
    array_unique: bool = False


DIALECTS = (
    Dialect("22.05", (22, 5), excluded=False, array_unique=True),
    Dialect("23.02", (23, 2), excluded=False),
    Dialect("24.11", (24, 5)),
    Dialect("26.05", (26, 5), exclusive="Exclusive", exclusive_word="NODE"),
)


def read_version(commands: Commands) -> Version:
    """The version of the Slurm that answers to `scontrol`. Raises SlurmError, SlurmParseError."""
    said = commands.run("scontrol", "--version").out
    match = _VERSION.search(said)
    if match is None:
        raise SlurmParseError("no version such as 'slurm 24.11.5' in its answer", ("scontrol", "--version"), 0, said)
    return int(match[1]), int(match[2]), int(match[3])


def dialect_for(version: Version) -> Dialect:
    """The family of a version; the newest one, with a warning, for versions to come. Raises SlurmError if too old."""
    fitting = [dialect for dialect in DIALECTS if dialect.since <= version[:2]]
    if not fitting:
        raise SlurmError(f"Slurm {_name(version)} is too old; 22.05 or later is needed")
    if version[:2] > DIALECTS[-1].since:
        _log.warning("Slurm %s is newer than any known here; reading it as %s", _name(version), DIALECTS[-1].name)
    return fitting[-1]


def _name(version: Version) -> str:
    return f"{version[0]}.{version[1]:02d}.{version[2]}"
