"""The run once more, from Slurm's accounting: every instant at which something ran, also those between two samples."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slurm_power.adapters.slurm import Runner
from slurm_power.cli.hostlists import expand
from slurm_power.core.errors import SlurmParseError
from slurm_power.demo.reckoning import Draw
from slurm_power.demo.story import Submission
from slurm_power.demo.watch import Known

_FIELDS = "JobID,JobName,State,Start,End,NodeList"


@dataclass(frozen=True, slots=True)
class Run:
    """One job, or task of an array, that ran from `start` until `end` (instants; half-open)."""

    job: str
    name: str
    start: int
    end: int
    nodes: tuple[str, ...]

    def draw(self, submission: Submission) -> Draw:
        """What it may have drawn meanwhile."""
        return Draw(self.job, self.name, self.nodes, submission.est_w, submission.max_w)


def read_runs(runner: Runner) -> list[Run] | None:
    """What has run in the last hour; None while the accounting lacks the end of something. Raises SlurmError."""
    return parse_runs(runner.run("sacct", "-a", "-X", "-n", "-P", "-D", "-S", "now-1hour", "-o", _FIELDS).out)


def parse_runs(text: str) -> list[Run] | None:
    """sacct's lines as runs; see `read_runs`. Raises SlurmParseError."""
    runs = []
    for line in text.splitlines():
        fields = line.split("|")
        if len(fields) != 6:
            raise SlurmParseError("not the output of sacct that we know", ("sacct",), 0, line)
        job, name, state, start, end, nodes = fields
        if not start.isdigit():
            if state in ("PENDING", "REQUEUED"):
                return None
            continue
        if not end.isdigit():
            return None
        if nodes != "None assigned":
            runs.append(Run(job, name, int(start), int(end), expand([nodes])))
    return runs


def instants(runs: Sequence[Run], known: Known) -> Iterable[list[Draw]]:
    """What ran together, at each start: between two starts it only becomes less."""
    for instant in sorted({run.start for run in runs}):
        yield [run.draw(known[run.name]) for run in runs if run.start <= instant < run.end]
