"""Writing to Slurm: many commands in one scontrol, each error told apart, and never a value that is read as a command.

scontrol takes commands from its standard input one a line, goes on after errors, and says on standard error what went
wrong, without saying with which line. So after each command stands a marker that is no keyword; scontrol complains
about it, and what it said between two complaints belongs to the command between them. Its exit status is then always
1 and tells nothing. The markers are drawn anew for each process, so that no text that Slurm repeats can pass for one.

It does not take quotes off, and a build with readline treats tabs, escapes and the like as keys. Commands that hold
anything but plain characters therefore go into a process of their own, as its arguments.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from slurm_power.adapters.slurm.runner import Commands, ReadOnlyError
from slurm_power.core.errors import SlurmError, SlurmTimeout, UsageError
from slurm_power.ports import Chain, Command, Hold, Outcome, Release, RequeueHold, Update, UserHold

_TARGET = re.compile(r"[0-9]+(?:\+[0-9]+)?(?:_(?:[0-9]+|\[[0-9,-]+\]))?")
_KEY = re.compile(r"[A-Za-z]+")
_PLAIN = re.compile(r"[!#-&(-~]*")
"""Printable ASCII without white space and quotes."""
_LINE_MAX = 4_000
"""A scontrol without readline cuts lines after 4,095 characters and takes the rest for a command."""
_BEGIN = "begin"
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
class _Result:
    """Of one command: what Slurm said against it, if anything.

    lost: the process was lost with it; to try more would take as long again.
    """

    error: str = ""
    unsure: bool = False
    lost: bool = False


_NOT_RUN = _Result("not run: Slurm did not answer to what went before", lost=True)


@dataclass(slots=True)
class _Progress:
    """How far a chain has got."""

    chain: Chain
    done: int = 0
    failure: _Result | None = None

    @property
    def next(self) -> Command | None:
        """The command to try now; None at the end and after a failure."""
        return self.chain[self.done] if self.failure is None and self.done < len(self.chain) else None

    def take(self, result: _Result) -> None:
        """Note what became of it."""
        if result.error:
            self.failure = result
        else:
            self.done += 1

    def outcome(self) -> Outcome:
        """What became of the chain."""
        failure = self.failure or _Result()
        return Outcome(self.done, failure.error, failure.unsure, unreached=failure.lost and not failure.unsure)


def words_of(command: Command) -> tuple[str, ...]:
    """scontrol's words for a command. Raises UsageError for a target, key or value that cannot be sent."""
    if not _TARGET.fullmatch(command.target):
        raise UsageError(f"'{command.target}' is not a job; write 812, 812_7, 812_[3-9] or 812+1")
    match command:
        case Hold():
            return "hold", command.target
        case UserHold():
            return "uhold", command.target
        case Release():
            return "release", command.target
        case RequeueHold():
            return "requeuehold", command.target
        case Update():
            return "update", f"jobid={command.target}", *(_pair(key, value) for key, value in command.fields.items())


def _pair(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError(f"'{key}' is not a field of a job; write its name in letters, such as licenses")
    if not value.isprintable():
        raise UsageError(f"the value of {key} holds a control character: {value!r}")
    return f"{key}={value}"


@dataclass(frozen=True, slots=True)
class Writer:
    """Runs chains of commands, `batch` commands in one scontrol.

    A batch has to fit well into the runner's time-out: a busy slurmctld may need 0.1 s for a command.
    """

    commands: Commands
    batch: int = 200

    def write(self, chains: Sequence[Chain]) -> list[Outcome]:
        """One outcome a chain, in the same order. All first commands run, then all second ones, and so on.

        When Slurm stops answering, what has not been tried yet is left alone, so that a write takes one time-out at
        most. Raises ReadOnlyError where nothing may be written; every other fault is told in the outcomes.
        """
        progress = [_Progress(tuple(chain)) for chain in chains]
        lost = False
        while waiting := [(p, command) for p in progress if (command := p.next) is not None]:
            commands = [command for _, command in waiting]
            results = [_NOT_RUN] * len(commands) if lost else self._run(commands)
            for (chain, _), result in zip(waiting, results, strict=True):
                chain.take(result)
            lost = lost or any(result.lost for result in results)
        return [p.outcome() for p in progress]

    def _run(self, commands: Sequence[Command]) -> list[_Result]:
        """One result a command; the commands do not depend on each other."""
        results: dict[int, _Result] = {}
        plain: list[tuple[int, tuple[str, ...]]] = []
        odd: list[tuple[int, tuple[str, ...]]] = []
        for index, command in enumerate(commands):
            try:
                words = words_of(command)
            except UsageError as error:
                results[index] = _Result(str(error))
            else:
                (plain if _fits_a_line(words) else odd).append((index, words))
        parts = [plain[first : first + self.batch] for first in range(0, len(plain), self.batch)]
        for run, part in (*((self._run_together, part) for part in parts), *((self._run_alone, [one]) for one in odd)):
            if any(result.lost for result in results.values()):
                answers = [_NOT_RUN] * len(part)
            else:
                answers = run([words for _, words in part])
            results.update((index, answer) for (index, _), answer in zip(part, answers, strict=True))
        return [results[index] for index in range(len(commands))]

    def _run_alone(self, commands: Sequence[tuple[str, ...]]) -> list[_Result]:
        (words,) = commands
        try:
            done = self.commands.run("scontrol", *words, check=False, writes=True)
        except ReadOnlyError:
            raise
        except SlurmError as error:
            return [_Result(str(error), unsure=isinstance(error, SlurmTimeout), lost=True)]
        if not done.status:
            return [_Result()]
        return [_result(done.err or done.out or f"scontrol ended with {done.status}")]

    def _run_together(self, commands: Sequence[tuple[str, ...]]) -> list[_Result]:
        mark = f"@@{secrets.token_hex(6)}."
        script = [mark + _BEGIN]
        for index, words in enumerate(commands):
            script += [" ".join(words), f"{mark}{index}"]
        try:
            said = self.commands.run("scontrol", stdin="\n".join(script) + "\n", check=False, writes=True).err
            ending = "scontrol ended before it"
        except ReadOnlyError:
            raise
        except SlurmTimeout as late:
            said, ending = late.output, "scontrol did not end in time"
        except SlurmError as error:
            said, ending = "", str(error)
        return _attribute(said, mark, len(commands), ending)


def _fits_a_line(words: tuple[str, ...]) -> bool:
    return sum(map(len, words)) + len(words) <= _LINE_MAX and all(_PLAIN.fullmatch(word) for word in words)


def _attribute(said: str, mark: str, count: int, ending: str) -> list[_Result]:
    """Who each complaint belongs to, by the markers.

    The first command that no marker follows may have been under way when scontrol was lost; those after it never ran,
    nor did any where even the first marker is missing.
    """
    told: dict[str, str] = {}
    start = 0
    for match in re.finditer(rf"^.*invalid keyword: {mark}(\w+)\s*$", said, re.MULTILINE):
        told[match[1]] = said[start : match.start()]
        start = match.end()
    known = next((index for index in range(count) if str(index) not in told), count)
    results = [_result(told[str(index)]) for index in range(known)]
    if known == count:
        return results
    rest = said[start:].strip()
    why = f"{ending}: {rest[:500]}" if rest else ending
    if _BEGIN in told:
        results.append(_Result(f"not known: {why}", unsure=True, lost=True))
    return results + [_Result(f"not run: {why}", lost=True)] * (count - len(results))


def _result(told: str) -> _Result:
    lines = (line.strip() for line in told.splitlines())
    against = [line for line in lines if line and not _FINE.fullmatch(line)]
    text = "; ".join(dict.fromkeys(against))
    return _Result(text, bool(_UNSURE.search(text)), lost=_UNREACHED in text)
