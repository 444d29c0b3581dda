"""Writing: what is sent, which error belongs to which command, and what becomes of chains when answers are lost."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.slurm.runner import Completed, ReadOnlyError, Runner
from slurm_power.adapters.slurm.writer import Writer
from slurm_power.core.errors import SlurmError, SlurmTimeout
from slurm_power.ports import (
    Chain,
    Hold,
    Outcome,
    Release,
    Requeue,
    RequeueHold,
    Resume,
    Suspend,
    Update,
    UserHold,
)

KEYWORDS = ("update", "hold", "uhold", "release", "requeue", "requeuehold", "suspend", "resume", "create", "delete")


def tokens(line: str) -> list[str]:
    """A line in words, as scontrol cuts it: at white space outside quotes, quotes kept."""
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        start, quoted = at, False
        while at < len(line) and (quoted or not line[at].isspace()):
            quoted ^= line[at] in "\"'"
            at += 1
        words.append(line[start:at])
    return words


@dataclass
class Scontrol:
    """scontrol, as far as a writer sees it. `complain` says what it has against a command.

    dies_after: so many lines in, the process ends. hangs_after: so many lines in, it answers no more.
    """

    complain: Callable[[Sequence[str]], str] = lambda words: ""
    dies_after: int | None = None
    hangs_after: int | None = None
    warning: str = ""
    alone: list[tuple[str, ...]] = field(default_factory=list)
    together: list[list[list[str]]] = field(default_factory=list)

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
        assert (program, writes, check) == ("scontrol", True, False)
        if args:
            self.alone.append(args)
            said = self.complain(args)
            return Completed(1 if said else 0, "", said)
        said = self.warning
        done: list[list[str]] = []
        self.together.append(done)
        for index, line in enumerate(stdin.splitlines()):
            if index == self.dies_after:
                return Completed(-9, "", said)
            if index == self.hangs_after:
                raise SlurmTimeout("no end after 30 s", ("scontrol",), None, said)
            words = tokens(line)
            if words[0] in KEYWORDS:
                done.append(words)
                said += self.complain(words)
            else:
                said += f"invalid keyword: {words[0]}\n"
        return Completed(1, "", said)

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raise AssertionError(program)

    @property
    def sent(self) -> list[str]:
        """All commands that were sent in company, as lines."""
        return [" ".join(words) for batch in self.together for words in batch]


def against(part: str, said: str) -> Callable[[Sequence[str]], str]:
    return lambda words: said if any(part in word for word in words) else ""


def bind(job: int) -> Chain:
    return (Update(str(job), {"licenses": f"rack{job}:5"}), Release(str(job)))


def test_the_words_of_each_command() -> None:
    scontrol = Scontrol()
    commands = (
        Update("1_[2-3,7]", {"licenses": "a:1,b:2", "comment": ""}),
        Hold("2"),
        UserHold("3_4"),
        Release("5+1"),
        RequeueHold("6"),
        Requeue("7"),
        Suspend("8"),
        Resume("8"),
    )
    assert Writer(scontrol).write([(command,) for command in commands]) == [Outcome(1)] * 8
    assert scontrol.sent == [
        "update jobid=1_[2-3,7] licenses=a:1,b:2 comment=",
        "hold 2",
        "uhold 3_4",
        "release 5+1",
        "requeuehold 6",
        "requeue 7",
        "suspend 8",
        "resume 8",
    ]


def test_first_commands_go_before_second_ones_and_in_batches() -> None:
    scontrol = Scontrol()
    assert Writer(scontrol, batch=2).write([bind(job) for job in (1, 2, 3)]) == [Outcome(2)] * 3
    assert [[words[0] for words in batch] for batch in scontrol.together] == [
        ["update", "update"],
        ["update"],
        ["release", "release"],
        ["release"],
    ]


def test_a_failure_is_told_of_its_own_command_and_ends_its_chain() -> None:
    scontrol = Scontrol(against("rack2", "Invalid license specification for job 2\n"))
    outcomes = Writer(scontrol).write([bind(job) for job in (1, 2, 3)])
    assert outcomes == [Outcome(2), Outcome(0, "Invalid license specification for job 2"), Outcome(2)]
    assert "release 2" not in scontrol.sent


def test_all_that_was_said_of_a_command_is_told_once() -> None:
    said = "Invalid job id specified for job 2\nslurm_suspend error: Invalid job id specified\n" * 2
    (outcome,) = Writer(Scontrol(against("2", said))).write([(Release("2"),)])
    assert outcome.error == "Invalid job id specified for job 2; slurm_suspend error: Invalid job id specified"


def test_no_error_is_none() -> None:
    scontrol = Scontrol(against("hold", "27_1-2: No error\n27_3: No error\n"))
    assert Writer(scontrol).write([(Hold("27"),)]) == [Outcome(1)]


def test_no_text_that_slurm_repeats_passes_for_a_marker() -> None:
    said = "Unspecified error (invalid keyword: @@0\ninvalid keyword: @@1) for job 1\n"
    first, second = Writer(Scontrol(against("jobid=1", said))).write([bind(1), (Hold("2"),)])
    assert (first.done, "Unspecified" in first.error, second) == (0, True, Outcome(1))


def test_some_tasks_of_an_array_refused_is_an_error() -> None:
    said = "27_1-2: No error\n27_3: Job is no longer pending execution\n"
    (outcome,) = Writer(Scontrol(against("hold", said))).write([(Hold("27"),)])
    assert outcome == Outcome(0, "27_3: Job is no longer pending execution")


def test_what_is_said_at_the_start_belongs_to_no_command() -> None:
    scontrol = Scontrol(warning="scontrol: warning: an option of slurm.conf is obsolete\n")
    assert Writer(scontrol).write([(Hold("1"),)]) == [Outcome(1)]


@pytest.mark.parametrize(
    ("said", "unsure"),
    [
        ("Socket timed out on send/recv operation for job 1", True),
        ("Zero Bytes were transmitted or received for job 1", True),
        ("Unexpected message received for job 1", True),
        ("Unable to contact slurm controller (connect failure) for job 1", False),
        ("Access/permission denied for job 1", False),
    ],
)
def test_an_answer_that_was_lost_leaves_it_unsure(said: str, unsure: bool) -> None:
    outcomes = Writer(Scontrol(against("1", f"{said}\n"))).write([(Hold("1"),)])
    assert outcomes == [Outcome(0, said, unsure, unreached="Unable to contact" in said)]


# The script is: begin marker, command, marker, command, marker, …
@pytest.mark.parametrize(
    ("line", "done", "unsure"),
    [
        (1, 0, [True, False, False]),  # before the first command, for all we can see
        (2, 0, [True, False, False]),  # after the first command, before its marker
        (3, 1, [False, True, False]),
        (5, 2, [False, False, True]),
        (7, 3, [False, False, False]),
    ],
)
@pytest.mark.parametrize("way", ["dies_after", "hangs_after"])
def test_of_a_process_that_is_lost_one_command_at_most_is_unsure(
    way: str, line: int, done: int, unsure: list[bool]
) -> None:
    scontrol = Scontrol(dies_after=line) if way == "dies_after" else Scontrol(hangs_after=line)
    outcomes = Writer(scontrol).write([(Hold(str(job)),) for job in (1, 2, 3)])
    assert [outcome.done for outcome in outcomes] == [1] * done + [0] * (3 - done)
    assert [outcome.unsure for outcome in outcomes] == unsure
    assert all(outcome.error for outcome in outcomes[done:])


def test_after_a_lost_answer_nothing_more_of_the_chain_is_sent() -> None:
    scontrol = Scontrol(hangs_after=2)
    (outcome,) = Writer(scontrol).write([bind(1)])
    assert (outcome.done, outcome.unsure) == (0, True)
    assert scontrol.sent == ["update jobid=1 licenses=rack1:5"]


def test_once_slurm_is_lost_nothing_more_is_tried() -> None:
    scontrol = Scontrol(hangs_after=4)
    odd: Chain = (Update("9", {"comment": "two words"}),)
    outcomes = Writer(scontrol, batch=2).write([bind(1), bind(2), bind(3), odd])
    assert [(outcome.done, outcome.unsure) for outcome in outcomes] == [(1, False), (0, True), (0, False), (0, False)]
    assert scontrol.sent == ["update jobid=1 licenses=rack1:5", "update jobid=2 licenses=rack2:5"]
    assert scontrol.alone == []
    assert all("not run" in outcomes[index].error for index in (0, 2, 3))


def test_a_scontrol_that_does_not_even_start_has_done_nothing() -> None:
    scontrol = Scontrol(dies_after=0, warning="fatal: no slurm.conf\n")
    outcomes = Writer(scontrol).write([(Hold("1"),), (Hold("2"),)])
    assert [(outcome.done, outcome.unsure) for outcome in outcomes] == [(0, False)] * 2
    assert all("no slurm.conf" in outcome.error for outcome in outcomes)


def test_a_scontrol_that_cannot_be_started_loses_no_outcome() -> None:
    class Vanishing(Scontrol):
        def run(self, program: str, *args: str, **options: Any) -> Completed:
            if self.together:
                raise SlurmError("cannot be started: No such file or directory", (program,))
            return super().run(program, *args, **options)

    (outcome,) = Writer(Vanishing()).write([bind(1)])
    assert (outcome.done, outcome.unsure) == (1, False)
    assert "cannot be started" in outcome.error


@pytest.mark.parametrize("value", ["plain", "two words"])
def test_a_read_only_runner_is_an_error(value: str) -> None:
    with pytest.raises(ReadOnlyError):
        Writer(Runner(read_only=True)).write([(Update("1", {"comment": value}),)])


@pytest.mark.parametrize("target", ["", "x", "1 2", "1,2", "1\nshutdown", "-1", "1_", "1_[a]", "Name=x", "1+1+1", "１"])
def test_targets_that_are_no_jobs_are_refused(target: str) -> None:
    scontrol = Scontrol()
    (outcome,) = Writer(scontrol).write([(Hold(target), Release("1"))])
    assert (outcome.done, outcome.unsure) == (0, False)
    assert "812_[3-9]" in outcome.error
    assert scontrol.sent == []
    assert scontrol.alone == []


@pytest.mark.parametrize("key", ["", "job id", "a=b", "a+", "1", "comment\n"])
def test_keys_that_are_no_fields_are_refused(key: str) -> None:
    (outcome,) = Writer(Scontrol()).write([(Update("1", {key: "x"}),)])
    assert "such as licenses" in outcome.error


@pytest.mark.parametrize("value", ["a\nshutdown", "a\rb", "tab\t", "\x1b[A", "\x00", "\x7f", "\u2028"])
def test_control_characters_are_refused(value: str) -> None:
    scontrol = Scontrol()
    (outcome,) = Writer(scontrol).write([(Update("1", {"comment": value}),)])
    assert "control character" in outcome.error
    assert scontrol.sent == []
    assert scontrol.alone == []


@given(st.text(), st.text())
def test_no_value_ever_becomes_a_command_or_another_field(comment: str, name: str) -> None:
    scontrol = Scontrol()
    (outcome,) = Writer(scontrol).write([(Update("1", {"comment": comment, "jobname": name}),)])
    expected = ["update", "jobid=1", f"comment={comment}", f"jobname={name}"]
    sent = [list(words) for words in scontrol.alone] + [words for batch in scontrol.together for words in batch]
    assert sent == ([] if outcome.error else [expected])


def test_odd_text_goes_alone_and_in_its_turn() -> None:
    scontrol = Scontrol()
    odd: Chain = (Update("2", {"comment": "two words"}), Release("2"))
    assert Writer(scontrol).write([bind(1), odd]) == [Outcome(2), Outcome(2)]
    assert scontrol.alone == [("update", "jobid=2", "comment=two words")]
    assert scontrol.sent[-2:] == ["release 1", "release 2"]


def test_a_line_too_long_for_scontrol_goes_alone() -> None:
    scontrol = Scontrol()
    assert Writer(scontrol).write([(Update("2", {"comment": "x" * 5_000}),)]) == [Outcome(1)]
    assert scontrol.sent == []


def test_alone_too_errors_are_told() -> None:
    scontrol = Scontrol(against("words", "Access/permission denied for job 2\n"))
    outcomes = Writer(scontrol).write([(Update("2", {"comment": "two words"}), Release("2"))])
    assert outcomes == [Outcome(0, "Access/permission denied for job 2")]


def test_a_time_out_alone_is_unsure() -> None:
    def hang(*args: object, **options: object) -> Completed:
        raise SlurmTimeout("no end after 30 s", ("scontrol",))

    scontrol = Scontrol()
    scontrol.run = hang  # type: ignore[method-assign]
    (outcome,) = Writer(scontrol).write([(Update("2", {"comment": "two words"}),)])
    assert (outcome.done, outcome.unsure) == (0, True)
