"""Signals and cancellations: what is run, and whom scancel's words are about. Its words are those of 22.05."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from slurm_power.adapters.slurm.runner import Completed, ReadOnlyError, Runner
from slurm_power.adapters.slurm.writer import Writer
from slurm_power.core.errors import SlurmError, SlurmTimeout
from slurm_power.ports import Cancel, Chain, Hold, Outcome, Signal

NOISE = "scancel: select/linear: init: Linear node selection plugin loaded with argument 4\n"
RETRYING = "scancel: Job is in transitional state, retrying\n"


def sent(*jobs: str) -> str:
    return NOISE + "".join(f"scancel: Signal 10 to batch job {job}\n" for job in jobs)


def against(job: str, why: str = "Invalid job id specified") -> str:
    return f"scancel: error: Kill job error on job id {job}: {why}\n"


@dataclass
class Scancel:
    """scancel, with what it says in order: text, or the text of one that does not end; scontrol always agrees."""

    says: list[str | SlurmError] = field(default_factory=list)
    status: int = 0
    ran: list[tuple[str, ...]] = field(default_factory=list)
    limits: list[float | None] = field(default_factory=list)

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
        assert (writes, check) == (True, False)
        if program == "scontrol":
            raise SlurmError("cannot be started", (program,))
        self.ran.append(args)
        self.limits.append(timeout_s)
        said = self.says.pop(0) if self.says else ""
        if isinstance(said, SlurmError):
            raise said
        return Completed(self.status, "", said)

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raise AssertionError(program)


def late(said: str) -> SlurmTimeout:
    return SlurmTimeout("no end after 4.5 s", ("scancel",), None, said)


def signal(scancel: Scancel, targets: Sequence[str], batch: int = 200) -> Sequence[Outcome]:
    return Writer(scancel, batch).write([(Signal(target, "USR1"),) for target in targets])


def test_many_go_into_one_process_for_each_signal() -> None:
    scancel = Scancel([sent("1", "2"), sent("3"), ""])
    chains: list[Chain] = [(Signal("1", "USR1"),), (Signal("3", "TERM"),), (Cancel("4"),), (Signal("2", "USR1"),)]
    assert Writer(scancel).write(chains) == [Outcome(1)] * 4
    assert scancel.ran == [
        ("--verbose", "--batch", "--state=RUNNING", "--signal=USR1", "1", "2"),
        ("--verbose", "--batch", "--state=RUNNING", "--signal=TERM", "3"),
        ("--verbose", "4"),
    ]


def test_processes_are_bounded() -> None:
    scancel = Scancel([sent("1", "2"), sent("3", "4"), sent("5")])
    assert signal(scancel, ["1", "2", "3", "4", "5"], batch=2) == [Outcome(1)] * 5
    assert [args[-2:] for args in scancel.ran] == [("1", "2"), ("3", "4"), ("--signal=USR1", "5")]


def test_each_complaint_belongs_to_its_job() -> None:
    said = against("4000000") + sent("1", "12") + against("12", "Job can not be altered now, try again later")
    outcomes = signal(Scancel([said], status=1), ["1", "4000000", "12"])
    assert outcomes == [
        Outcome(1),
        Outcome(0, "Invalid job id specified"),
        Outcome(0, "Job can not be altered now, try again later"),
    ]


def test_where_none_is_said_to_have_been_sent_there_was_none() -> None:
    left = "scancel: error: No active jobs match ALL job filters, including: state=RUNNING \n"
    for said in (sent("1"), sent("1") + left):
        first, second = signal(Scancel([said]), ["1", "2"])
        assert (first, second.done, second.unsure) == (Outcome(1), 0, False)
        assert "does not run" in second.error


@pytest.mark.parametrize(
    ("target", "job", "same"),
    [
        ("8", "8", True),
        ("8", "81", False),
        ("8", "8_3", True),
        ("8_3", "8_3", True),
        ("8_3", "8_4", False),
        ("8_3", "8", False),
        ("8+1", "8", True),
        ("8+1", "8+1", True),
        ("8+1", "81", False),
    ],
)
def test_names_of_jobs(target: str, job: str, same: bool) -> None:
    (outcome,) = signal(Scancel([sent(job)]), [target])
    assert (outcome.done == 1) is same


def test_tasks_go_apart_and_are_stopped_before_a_second_signal() -> None:
    scancel = Scancel([sent("1"), late(against("7_9") + sent("7_1") + RETRYING)])
    first, task, unknown, silent = signal(scancel, ["1", "7_1", "7_9", "7_2"])
    assert [args[4:] for args in scancel.ran] == [("1",), ("7_1", "7_9", "7_2")]
    assert scancel.limits == [4.5, 4.5]
    assert first == Outcome(1)
    assert (task.done, task.unsure, task.unreached) == (0, True, False)
    assert unknown == Outcome(0, "Invalid job id specified")
    assert (silent.done, silent.unsure) == (0, False)


def test_one_that_reads_jobs_for_long_is_given_its_time() -> None:
    scancel = Scancel([late(NOISE), sent("1")])
    assert signal(scancel, ["1"]) == [Outcome(1)]
    assert scancel.limits == [4.5, None]


def test_one_that_never_ends_is_unsure_and_nothing_more_is_tried() -> None:
    scancel = Scancel([late(""), late("")])
    outcomes = signal(scancel, ["1", "2", "3"], batch=2)
    assert [(outcome.done, outcome.unsure) for outcome in outcomes] == [(0, True), (0, True), (0, False)]
    assert outcomes[2].unreached


def test_a_slurmctld_that_is_away_has_heard_of_nothing() -> None:
    said = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    outcomes = signal(Scancel([said], status=1), ["1", "2"], batch=1)
    assert [(outcome.done, outcome.unsure, outcome.unreached) for outcome in outcomes] == [(0, False, True)] * 2


def test_a_scancel_that_fails_without_a_word_has_failed() -> None:
    (outcome,) = Writer(Scancel(status=3)).write([(Cancel("1"),)])
    assert outcome == Outcome(0, "scancel ended with 3")


def test_a_complaint_about_nobody_is_about_all_that_have_none() -> None:
    said = against("1") + "scancel: error: Access denied\n"
    outcomes = Writer(Scancel([said], status=1)).write([(Cancel("1"),), (Cancel("2"),)])
    assert outcomes == [Outcome(0, "Invalid job id specified"), Outcome(0, "scancel: error: Access denied")]


@pytest.mark.parametrize("name", ["", "usr1", "USR1 2", "USR1,KILL", "-9", "9", "USR1\n", "TERM --user=eve"])
def test_names_that_are_no_signals(name: str) -> None:
    scancel = Scancel()
    (outcome,) = Writer(scancel).write([(Signal("1", name),)])
    assert "is not a signal" in outcome.error
    assert scancel.ran == []


@pytest.mark.parametrize("target", ["", "-u", "1 2", "--user=eve", "x"])
def test_targets_that_are_no_jobs(target: str) -> None:
    scancel = Scancel()
    (outcome,) = Writer(scancel).write([(Cancel(target),)])
    assert "is not a job" in outcome.error
    assert scancel.ran == []


def test_nothing_is_sent_once_scontrol_is_lost() -> None:
    scancel = Scancel()
    held, cancelled = Writer(scancel).write([(Hold("1"),), (Cancel("2"),)])
    assert held.unreached
    assert cancelled.unreached
    assert scancel.ran == []


def test_a_read_only_runner_sends_nothing() -> None:
    with pytest.raises(ReadOnlyError):
        Writer(Runner(read_only=True)).write([(Cancel("1"),)])
