"""Signals and cancellations: many jobs in one scancel, each error told apart.

scancel says against which job it complains, and says nothing of jobs that are unknown or over unless it is verbose.
For a signal to a batch shell it reads all jobs first, so one process for many is much cheaper than one each. Tried with
22.05, and so in the source of 24.11 and 26.05:

- A job that does not run takes it 95 s of trying again. So it is told to leave such jobs alone, of which it then says
  nothing: a signal has been sent to those alone of which it says so.
- While other tasks of its array are pending in one record, a running task gets the signal, and slurmctld answers that
  it did not; so scancel tries again, from 5 s later on, and sends the signal up to ten times. It is therefore stopped
  before that, and the outcome is unsure. Tasks go into a process of their own, so that other jobs are sure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from slurm_power.adapters.slurm.results import NOT_RUN, Result, result_of
from slurm_power.adapters.slurm.runner import Commands, ReadOnlyError
from slurm_power.core.errors import SlurmError, SlurmTimeout

_ONE_ATTEMPT_S = 4.5
_SENT = re.compile(r"^scancel: Signal \d+ to batch job (?P<job>\S+)$", re.MULTILINE)
_AGAINST = re.compile(r"^scancel: error: Kill job error on job (?:step )?id (?P<job>\S+): (?P<why>.*)$", re.MULTILINE)
_ERROR = re.compile(r"^(?:scancel: (?:error|fatal): |slurm_\w+ error: |Unknown ).*$", re.MULTILINE)
_NONE_LEFT = "No active jobs match ALL job filters"
_NOT_RUNNING = Result("no signal sent: it does not run, or not as a batch job")

Ask = tuple[tuple[str, ...], str]
"""scancel's options, and a target; without options it is to be cancelled."""


@dataclass(frozen=True, slots=True)
class Scancel:
    """Runs scancel for many targets, at most `batch` in one process, one process at a time."""

    commands: Commands
    batch: int

    def run(self, asks: Sequence[Ask]) -> list[Result]:
        """One result an ask. Raises ReadOnlyError; every other fault is told in the results."""
        results: dict[int, Result] = {}
        kinds: dict[tuple[tuple[str, ...], bool], list[int]] = {}
        for index, (options, target) in enumerate(asks):
            kinds.setdefault((options, bool(options) and "_" in target), []).append(index)
        for (options, _), same in kinds.items():
            for first in range(0, len(same), self.batch):
                part = same[first : first + self.batch]
                lost = any(result.lost for result in results.values())
                answers = [NOT_RUN] * len(part) if lost else self._run(options, [asks[index][1] for index in part])
                results.update(zip(part, answers, strict=True))
        return [results[index] for index in range(len(asks))]

    def _run(self, options: tuple[str, ...], targets: Sequence[str]) -> list[Result]:
        argv = ("--verbose", *options, *targets)
        try:
            if options:
                try:
                    done = self.commands.run("scancel", *argv, check=False, writes=True, timeout_s=_ONE_ATTEMPT_S)
                except SlurmTimeout as late:
                    if _SENT.search(late.output):
                        return _stopped(late.output, targets)
                    done = self.commands.run("scancel", *argv, check=False, writes=True)  # many jobs to read
            else:
                done = self.commands.run("scancel", *argv, check=False, writes=True)
        except ReadOnlyError:
            raise
        except SlurmTimeout as late:
            return [Result(f"not known: {late}", unsure=True, lost=True)] * len(targets)
        except SlurmError as error:
            return [Result(f"not run: {error}", lost=True)] * len(targets)
        return _attribute(done.status, done.err, targets, signals=bool(options))


def _attribute(status: int, said: str, targets: Sequence[str], *, signals: bool) -> list[Result]:
    """Who each complaint belongs to. One that names no job of ours may be against any job that has none of its own."""
    told = _told(said, targets)
    rest = [line for line in _ERROR.findall(said) if not _AGAINST.fullmatch(line) and _NONE_LEFT not in line]
    if status and not rest and not told:
        rest.append(f"scancel ended with {status}")
    general = result_of("\n".join(rest))
    sent = _sent(said, targets) if signals else frozenset(targets)
    return [
        told.get(target) or (_NOT_RUNNING if target not in sent and not general.error else general)
        for target in targets
    ]


def _stopped(said: str, targets: Sequence[str]) -> list[Result]:
    """The results of a scancel that was still trying when it was stopped: each target has been tried once at most."""
    told, sent = _told(said, targets), _sent(said, targets)
    unsure = Result("sent; Slurm did not say that it arrived", unsure=True)
    return [told.get(target) or (unsure if target in sent else _NOT_RUNNING) for target in targets]


def _told(said: str, targets: Sequence[str]) -> dict[str, Result]:
    why: dict[str, list[str]] = {}
    for match in _AGAINST.finditer(said):
        for target in dict.fromkeys(targets):
            if _names(target, match["job"]):
                why.setdefault(target, []).append(match["why"])
    return {target: result_of("\n".join(lines)) for target, lines in why.items()}


def _sent(said: str, targets: Sequence[str]) -> frozenset[str]:
    jobs = [match["job"] for match in _SENT.finditer(said)]
    return frozenset(target for target in targets if any(_names(target, job) for job in jobs))


def _names(target: str, job: str) -> bool:
    """Whether scancel may mean this target by its own name of a job.

    It says `812` of the component `812+1`, and `812_3` of an array `812`.
    """
    return target == job or target.partition("+")[0] == job or target == job.partition("_")[0]
