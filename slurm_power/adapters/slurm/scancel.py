"""Signals and cancellations: many jobs in one scancel, each error told apart.

scancel says against which job it complains, in its own spelling (`812_3` for a part of `812_[3-9]`), and says nothing
of jobs that are unknown or over unless it is to be verbose. For `--batch` it reads all jobs first; one process for many
targets is therefore much cheaper than one each. It asks again for up to 95 s where a job is between two states: a
batch of such jobs runs into the time-out, and what became of it is then not known.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slurm_power.adapters.slurm.results import NOT_RUN, Result, result_of
from slurm_power.adapters.slurm.runner import Commands, ReadOnlyError
from slurm_power.core.errors import SlurmError, SlurmTimeout

_AGAINST = re.compile(r"^scancel: error: Kill job error on job (?:step )?id (?P<job>\S+): (?P<why>.*)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:scancel: (?:error|fatal): |slurm_\w+ error: ).*$", re.MULTILINE)

Ask = tuple[tuple[str, ...], str]
"""scancel's options, and a target."""


@dataclass(frozen=True, slots=True)
class Scancel:
    """Runs scancel for many targets, at most `batch` in one process, one process at a time."""

    commands: Commands
    batch: int

    def run(self, asks: Sequence[Ask]) -> list[Result]:
        """One result an ask. Raises ReadOnlyError; every other fault is told in the results."""
        results: dict[int, Result] = {}
        for options in dict.fromkeys(options for options, _ in asks):
            same = [index for index, ask in enumerate(asks) if ask[0] == options]
            for first in range(0, len(same), self.batch):
                part = same[first : first + self.batch]
                lost = any(result.lost for result in results.values())
                answers = [NOT_RUN] * len(part) if lost else self._run(options, [asks[index][1] for index in part])
                results.update(zip(part, answers, strict=True))
        return [results[index] for index in range(len(asks))]

    def _run(self, options: tuple[str, ...], targets: Sequence[str]) -> list[Result]:
        try:
            done = self.commands.run("scancel", "--verbose", *options, *targets, check=False, writes=True)
        except ReadOnlyError:
            raise
        except SlurmTimeout as late:
            return [Result(f"not known: {late}", unsure=True, lost=True)] * len(targets)
        except SlurmError as error:
            return [Result(f"not run: {error}", lost=True)] * len(targets)
        return _attribute(done.status, done.err, targets)


def _attribute(status: int, said: str, targets: Sequence[str]) -> list[Result]:
    """Who each complaint belongs to. One that names no job of ours may be against any job that has none of its own."""
    told: dict[str, list[str]] = {target: [] for target in targets}
    rest = [line for line in _ERROR.findall(said) if not _AGAINST.fullmatch(line)]
    for match in _AGAINST.finditer(said):
        owners = [target for target in told if _names(target, match["job"])]
        for target in owners:
            told[target].append(match["why"])
        if not owners:
            rest.append(match[0])
    if status and not rest and not any(told.values()):
        rest.append(f"scancel ended with {status}")
    general = result_of("\n".join(rest))
    found = {target: result_of("\n".join(why)) if why else general for target, why in told.items()}
    return [found[target] for target in targets]


def _names(target: str, job: str) -> bool:
    """Whether scancel may mean this target by a job's name of its own: `812` by `812_3`, `812_[3-9]` by `812_3`."""
    job = job.partition(".")[0]
    return target == job or target.partition("_[")[0] == re.split(r"[_+]", job, maxsplit=1)[0]
