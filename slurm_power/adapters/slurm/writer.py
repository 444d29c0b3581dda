"""Writing to Slurm: many commands in one process, each error told apart, and never a value that is read as a command.

Signals and cancellations go through scancel, all else through scontrol.

scontrol takes commands from its standard input one a line, goes on after errors, and says on standard error what went
wrong, without saying with which line. So after each command stands a marker that is no keyword; scontrol complains
about it, and what it said between two complaints belongs to the command between them. Its exit status is then always
1 and tells nothing. The markers are drawn anew for each process, so that no text that Slurm repeats can pass for one.

It does not take quotes off, and a build with readline treats tabs, escapes and the like as keys. Commands that hold
anything but plain characters therefore go into a process of their own, as its arguments.
"""

import re
import secrets
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.results import NOT_RUN, Result, result_of
from slurm_power.adapters.slurm.runner import Commands, ReadOnlyError
from slurm_power.adapters.slurm.scancel import Ask, Scancel
from slurm_power.adapters.slurm.words import licence_list, scancel_words, scontrol_words
from slurm_power.core.errors import SlurmError, SlurmTimeout, UsageError
from slurm_power.ports import Cancel, Chain, Command, Outcome, Signal, UpdateReservation

_PLAIN = re.compile(r"[!#-&(-~]*")
"""Printable ASCII without white space and quotes."""
_LINE_MAX = 4_000
"""A scontrol without readline cuts lines after 4,095 characters and takes the rest for a command."""
_BEGIN = "begin"

Words = tuple[str, ...]


@dataclass(slots=True)
class _Progress:
    """How far a chain has got."""

    chain: Chain
    done: int = 0
    failure: Result | None = None

    @property
    def next(self) -> Command | None:
        """The command to try now; None at the end and after a failure."""
        return self.chain[self.done] if self.failure is None and self.done < len(self.chain) else None

    def take(self, result: Result) -> None:
        """Note what became of it."""
        if result.error:
            self.failure = result
        else:
            self.done += 1

    def outcome(self) -> Outcome:
        """What became of the chain."""
        failure = self.failure or Result()
        return Outcome(self.done, failure.error, failure.unsure, unreached=failure.lost and not failure.unsure)


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
            results = [NOT_RUN] * len(commands) if lost else self._run(commands)
            for (chain, _), result in zip(waiting, results, strict=True):
                chain.take(result)
            lost = lost or any(result.lost for result in results)
        return [p.outcome() for p in progress]

    def _run(self, commands: Sequence[Command]) -> list[Result]:
        """One result a command; the commands do not depend on each other."""
        results: dict[int, Result] = {}
        words: dict[int, Words] = {}
        asks: dict[int, Ask] = {}
        for index, command in enumerate(commands):
            try:
                if isinstance(command, Signal | Cancel):
                    asks[index] = scancel_words(command)
                else:
                    words[index] = scontrol_words(command)
            except UsageError as error:
                results[index] = Result(str(error))
        told = self._control(list(words.values()))
        results.update(zip(words, self._mended([commands[index] for index in words], told), strict=True))
        lost = any(result.lost for result in told)
        signalled = [NOT_RUN] * len(asks) if lost else Scancel(self.commands, self.batch).run(list(asks.values()))
        results.update(zip(asks, signalled, strict=True))
        return [results[index] for index in range(len(commands))]

    def _mended(self, commands: Sequence[Command], results: Sequence[Result]) -> list[Result]:
        """The results, once the licences of reservations whose update was refused are set again as Slurm prints them.

        For slurmctld restores such a reservation from a copy that has names of licences and no counts (22.05 to
        26.05), and prints the counts still.
        """
        refused = {
            command.name
            for command, result in zip(commands, results, strict=True)
            if isinstance(command, UpdateReservation) and result.error and not result.lost
        }
        failed = self._set_again(refused) if refused else {}
        return [
            replace(result, error=f"{result.error}; {failed[command.name]}")
            if isinstance(command, UpdateReservation) and result.error and command.name in failed
            else result
            for command, result in zip(commands, results, strict=True)
        ]

    def _set_again(self, names: Set[str]) -> dict[str, str]:
        """Set the licences of these reservations as they are printed; why not, by name, where that fails."""
        try:
            printed = {found.name: found.licenses for found in inventory.read_reservations(self.commands)}
        except SlurmError as error:
            return dict.fromkeys(names, f"its licences may count for nothing: {error}")
        again = sorted(name for name in names if printed.get(name))
        words = [("update", f"reservationname={name}", f"licenses={licence_list(printed[name])}") for name in again]
        return {
            name: f"its licences count for nothing: {result.error}"
            for name, result in zip(again, self._control(words), strict=True)
            if result.error
        }

    def _control(self, commands: Sequence[Words]) -> list[Result]:
        """One result a command of scontrol."""
        results: dict[int, Result] = {}
        plain = [index for index, words in enumerate(commands) if _fits_a_line(words)]
        odd = [index for index, words in enumerate(commands) if not _fits_a_line(words)]
        parts = [plain[first : first + self.batch] for first in range(0, len(plain), self.batch)]
        for run, part in (*((self._run_together, part) for part in parts), *((self._run_alone, [one]) for one in odd)):
            if any(result.lost for result in results.values()):
                answers = [NOT_RUN] * len(part)
            else:
                answers = run([commands[index] for index in part])
            results.update(zip(part, answers, strict=True))
        return [results[index] for index in range(len(commands))]

    def _run_alone(self, commands: Sequence[Words]) -> list[Result]:
        (words,) = commands
        try:
            done = self.commands.run("scontrol", *words, check=False, writes=True)
        except ReadOnlyError:
            raise
        except SlurmError as error:
            return [Result(str(error), unsure=isinstance(error, SlurmTimeout), lost=True)]
        if not done.status:
            return [Result()]
        return [result_of(done.err or done.out or f"scontrol ended with {done.status}")]

    def _run_together(self, commands: Sequence[Words]) -> list[Result]:
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


def _fits_a_line(words: Words) -> bool:
    return sum(map(len, words)) + len(words) <= _LINE_MAX and all(_PLAIN.fullmatch(word) for word in words)


def _attribute(said: str, mark: str, count: int, ending: str) -> list[Result]:
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
    results = [result_of(told[str(index)]) for index in range(known)]
    if known == count:
        return results
    rest = said[start:].strip()
    why = f"{ending}: {rest[:500]}" if rest else ending
    if _BEGIN in told:
        results.append(Result(f"not known: {why}", unsure=True, lost=True))
    return results + [Result(f"not run: {why}", lost=True)] * (count - len(results))
