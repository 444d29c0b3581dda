"""Every error that the product raises on purpose.

PowerError                 anything we raise; `str()` is fit for a user
├── UsageError             the caller's words are off                    (exit 2)
│   └── EnvelopeError      a power comment: with position and an example (exit 2)
├── ConfigError            the site file: file, line, key, expectation   (exit 2)
├── SlurmError             a Slurm command failed: argv, status, output  (exit 1)
│   ├── SlurmTimeout       … or did not end in time
│   └── SlurmParseError    … or printed nothing that we can read
├── SignalError            the facility's signal cannot be read or used  (exit 1)
├── TelemetryError         a source of readings cannot be read           (exit 1)
├── StoreError             the state database cannot be used             (exit 1)
└── DaemonUnreachable      nobody answers on the daemon's socket         (exit 5)
"""

from collections.abc import Sequence
from typing import ClassVar


class PowerError(Exception):
    """Base of all our errors; `exit_code` is what a command ends with."""

    exit_code: ClassVar[int] = 1


class UsageError(PowerError):
    """The caller asked for something that cannot be understood."""

    exit_code = 2


class EnvelopeError(UsageError):
    """A power comment that cannot be read.

    `position` counts characters from 0 in the comment as the user wrote it.
    """

    def __init__(self, problem: str, position: int, example: str) -> None:
        super().__init__(f"{problem} (at character {position + 1}); for example: {example}")
        self.problem = problem
        self.position = position
        self.example = example


class ConfigError(PowerError):
    """A site file that cannot be used; says where and what was expected."""

    exit_code = 2

    def __init__(self, problem: str, file: str, line: int | None = None, key: str = "", expected: str = "") -> None:
        place = file if line is None else f"{file}:{line}"
        text = f"{place}: {key}: {problem}" if key else f"{place}: {problem}"
        super().__init__(f"{text}; expected {expected}" if expected else text)
        self.problem = problem
        self.file = file
        self.line = line
        self.key = key
        self.expected = expected


class SlurmError(PowerError):
    """A Slurm command that failed, with what it was given and what it said."""

    def __init__(self, problem: str, argv: Sequence[str] = (), status: int | None = None, output: str = "") -> None:
        told = " ".join(argv[:6])
        detail = f": {output.strip()[:500]}" if output.strip() else ""
        super().__init__(f"{problem} ({told}){detail}" if told else f"{problem}{detail}")
        self.argv = tuple(argv)
        self.status = status
        self.output = output


class SlurmTimeout(SlurmError):
    """A Slurm command that did not end in time; it may have taken effect all the same."""


class SlurmParseError(SlurmError):
    """Output of Slurm in which nothing could be read."""


class SignalError(PowerError):
    """A signal of the facility that cannot be read, or makes no sense."""


class TelemetryError(PowerError):
    """A source of readings that cannot be read, or says what cannot be understood; names the source."""


class StoreError(PowerError):
    """The state database cannot be opened, migrated or written."""


class DaemonUnreachable(PowerError):
    """Nobody answers on the daemon's socket."""

    exit_code = 5
