"""What became of a single command."""

import re
from dataclasses import dataclass

_FINE = re.compile(r"\S+: No error")
"""Said of the tasks that succeeded where others of the same array did not, and of ranges where all did."""
_UNSURE = re.compile(
    r"timed out|Zero Bytes|Connection reset|missing socket|Unexpected message|Transport endpoint|"
    r"Communication (?:shutdown|connection)|Message (?:send|receive) failure",
    re.IGNORECASE,
)
"""The request may have reached slurmctld although no answer came back."""
_UNREACHED = "Unable to contact slurm controller"


@dataclass(frozen=True, slots=True)
class Result:
    """What Slurm said against a command, if anything.

    lost: the process was lost with it; to try more would take as long again.
    """

    error: str = ""
    unsure: bool = False
    lost: bool = False


NOT_RUN = Result("not run: Slurm did not answer to what went before", lost=True)


def result_of(told: str) -> Result:
    """The result that a command's share of standard error stands for."""
    lines = (line.strip() for line in told.splitlines())
    against = [line for line in lines if line and not _FINE.fullmatch(line)]
    text = "; ".join(dict.fromkeys(against))
    return Result(text, bool(_UNSURE.search(text)), lost=_UNREACHED in text)
