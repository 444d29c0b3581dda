"""The reader through pyslurm, with a module of the same shape in its place."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slurm_power.adapters.slurm import Runner, SlurmCommands, pyslurm_worker
from slurm_power.adapters.slurm import pyslurm_reader as reader
from slurm_power.adapters.slurm.pyslurm_job import PyslurmJobs
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.errors import SlurmError, SlurmParseError
from slurm_power.ports import JobRecord, JobState
from tests.adapters.slurm.replay import Replay

NO_DEPENDENCIES: dict[str, Any] = {"after": [], "afterany": [], "afterok": [], "singleton": False, "satisfy": "all"}


def tres(**gres: int) -> SimpleNamespace:
    return SimpleNamespace(gres={name.replace("__", ":"): SimpleNamespace(count=n) for name, n in gres.items()})


@dataclass
class Job:
    """pyslurm's job, with its habits: None for zero, for what is unset and for what is empty."""

    id: int = 7
    state: str = "PENDING"
    user_id: int = 1000
    user_name: str | None = "alice"
    account: str | None = "research"
    qos: str | None = "gold"
    partition: str | None = "train"
    name: str | None = "job"
    priority: int | None = 100
    state_reason: str | None = "Resources"
    array_id: int | None = None
    array_task_id: int | None = None
    array_tasks_waiting: str | None = None
    array_tasks_parallel: int | None = None
    heterogeneous_id: int | None = None
    heterogeneous_offset: int | None = None
    allocated_nodes: str | None = None
    num_nodes: int | None = 2
    cpus: int | None = 8
    ntasks: int | None = 4
    tres: Any = None
    tres_per_job: Any = None
    tres_per_node: Any = None
    tres_per_task: Any = None
    resource_sharing: str | None = "OK"
    time_limit: int | str | None = 60
    submit_time: int | None = 1_800_000_000
    eligible_time: int | None = 1_800_000_000
    start_time: int | None = 1_800_000_500
    end_time: int | None = 1_800_004_100
    requeue_count: int | None = 0
    is_batch_job: bool = True
    is_requeueable: bool = True
    licenses: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    required_nodes: str | None = None
    excluded_nodes: str | None = None
    reservation: str | None = None
    dependencies: dict[str, Any] | None = None
    admin_comment: str | None = None
    comment: str | None = None


def module(*jobs: Job, version: str = "25.11.2") -> ModuleType:
    made = ModuleType("pyslurm")
    made.__dict__["__version__"] = version
    made.__dict__["Job"] = Job
    made.__dict__["Jobs"] = SimpleNamespace(load=lambda: {job.id: job for job in jobs})
    return made


def read(job: Job) -> JobRecord:
    (found,) = PyslurmJobs(module(job)).read()
    return found


def test_a_pending_job() -> None:
    job = read(Job(licenses=["rack01_w:5", "matlab"], constraints=["h100"], comment="c", admin_comment="a"))
    assert (job.job_id, job.state, job.uid, job.account, job.qos) == (7, JobState.PENDING, 1000, "research", "gold")
    assert (job.licenses, job.features, job.comment, job.admin_comment) == ("rack01_w:5,matlab", "h100", "c", "a")
    assert (job.start_time, job.end_time, job.time_limit_s) == (None, None, 3_600)
    assert (job.array_job_id, job.array_task_id, job.het_job_id, job.het_offset) == (None, None, None, None)


def test_a_running_job() -> None:
    job = read(Job(state="RUNNING", allocated_nodes="n[1-2]", state_reason="None", time_limit="UNLIMITED"))
    assert (job.state, job.node_list, job.reason, job.time_limit_s) == (JobState.RUNNING, "n[1-2]", "", None)
    assert (job.start_time, job.end_time) == (1_800_000_500, 1_800_004_100)


def test_a_held_job_has_priority_none_or_zero() -> None:
    assert read(Job(priority=0)).held
    assert read(Job(priority=None)).held


@pytest.mark.parametrize(
    ("job", "target", "throttle"),
    [
        (Job(array_id=7, array_tasks_waiting="3-6", array_tasks_parallel=2), "7_[3-6]", 2),
        (Job(id=9, array_id=7, array_task_id=5), "7_5", None),
        (Job(id=9, array_id=7, array_task_id=None), "7_0", None),
        (Job(id=8, heterogeneous_id=7, heterogeneous_offset=1), "7+1", None),
        (Job(id=7, heterogeneous_id=7, heterogeneous_offset=None), "7+0", None),
    ],
)
def test_arrays_and_components(job: Job, target: str, throttle: int | None) -> None:
    assert (read(job).target, read(job).array_throttle) == (target, throttle)


@pytest.mark.parametrize(
    ("job", "gpus"),
    [
        (Job(tres=tres(gpu=8, gpu__a100=8)), 8),
        (Job(tres=tres(gpu__a100=4, gpu__h100=2)), 6),
        (Job(tres=tres(), tres_per_node=tres(gpu=4)), 8),
        (Job(tres=None, tres_per_task=tres(gpu__a100=1)), 4),
        (Job(tres_per_job=tres(gpu=3)), 3),
        (Job(), 0),
    ],
)
def test_gpus(job: Job, gpus: int) -> None:
    assert read(job).gpus == gpus


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, ""),
        ({**NO_DEPENDENCIES, "afterok": [4, 5]}, "afterok:4:5"),
        ({**NO_DEPENDENCIES, "after": [1], "afterok": [4], "satisfy": "any"}, "after:1?afterok:4"),
        ({**NO_DEPENDENCIES, "singleton": True}, "singleton"),
    ],
)
def test_dependencies(found: dict[str, Any] | None, text: str) -> None:
    assert read(Job(dependencies=found)).dependency == text


# -- the process of its own -----------------------------------------------------------------------------------------


class Worker:
    """Runs the worker in this process, on a module of pyslurm's shape."""

    def __init__(self, found: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.found = found
        self.fault = ""

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
        assert (program, stdin, env, check, writes) == (reader.WORKER[0], "", None, True, False)
        return Completed(0, b"".join(self.stream(program, *args)).decode(), "")

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        assert (program, *args[:-1]) == reader.WORKER
        if self.fault:
            raise SlurmError(self.fault)
        out = io.StringIO()
        with self._monkeypatch.context() as patch, contextlib.redirect_stdout(out):
            patch.setitem(sys.modules, "pyslurm", self.found)
            try:
                pyslurm_worker.main(args[-1])
            except (ImportError, SystemExit) as error:
                raise SlurmError(str(error)) from error
        raw = out.getvalue().encode()
        yield from (raw[:7], raw[7:])


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    return Worker(module(Job(id=1, name="a\nb"), Job(id=2, state="RUNNING", allocated_nodes="n1")), monkeypatch)


def test_records_come_through_the_process_as_they_are(worker: Worker) -> None:
    assert worker.found is not None
    assert reader.PyslurmReader(worker, "pyslurm").read() == PyslurmJobs(worker.found).read()


def test_what_has_not_changed_is_the_same_record(worker: Worker) -> None:
    source = reader.PyslurmReader(worker, "pyslurm")
    first = source.read()
    worker.found = module(Job(id=1, name="a\nb"), Job(id=2, state="COMPLETING", allocated_nodes="n1"))
    second = source.read()
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, False]
    assert second[1].state is JobState.COMPLETING


@pytest.mark.parametrize("answer", [b"no json\n", b"[1,2]\n", b'["cut'])
def test_an_answer_that_is_not_its_own_is_an_error(worker: Worker, answer: bytes) -> None:
    worker.stream = lambda *_, **__: iter([answer])  # type: ignore[method-assign]
    with pytest.raises(SlurmParseError):
        reader.PyslurmReader(worker, "pyslurm").read()


# -- whether it is used ---------------------------------------------------------------------------------------------


def test_the_pyslurm_of_this_slurm_is_used(worker: Worker) -> None:
    found = reader.find(worker, (25, 11, 4))
    assert found is not None
    assert found.name == "pyslurm 25.11.2"


def test_another_ones_is_not(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert reader.find(worker, (26, 5, 5)) is None
    assert [record.getMessage() for record in caplog.records] == [
        "pyslurm 25.11.2 is not for Slurm 26.05; jobs are read by squeue"
    ]


def test_none_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert reader.find(Runner(), (25, 11, 4)) is None, "this machine's Python has none"
    assert caplog.records == []


def test_one_that_does_not_tell_gpus_is_not_used(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    assert worker.found is not None
    worker.found.__dict__["Job"] = object
    with caplog.at_level(logging.INFO):
        assert reader.find(worker, (25, 11, 4)) is None
    assert "does not tell how many GPUs a job has" in caplog.text


def test_one_that_cannot_be_imported_is_none(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.fault = "fatal: no slurm.conf"
    with caplog.at_level(logging.INFO):
        assert reader.find(worker, (25, 11, 4)) is None
    assert "no slurm.conf" in caplog.text


class Squeue:
    name = "squeue"
    fault = ""

    def read(self, ids: object = None) -> list[JobRecord]:
        if self.fault:
            raise SlurmError(self.fault)
        return [read(Job(id=9))]


def test_after_a_fault_jobs_are_read_by_squeue(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    source = reader.FallingBack(reader.PyslurmReader(worker, "pyslurm 25.11.2"), Squeue())
    assert ([job.job_id for job in source.read()], source.name) == ([1, 2], "pyslurm 25.11.2")
    worker.fault = "segment"
    assert ([job.job_id for job in source.read()], source.name) == ([9], "squeue")
    worker.fault = ""
    assert [job.job_id for job in source.read()] == [9]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_a_slurmctld_that_is_away_is_no_fault_of_pyslurm(worker: Worker) -> None:
    squeue = Squeue()
    source = reader.FallingBack(reader.PyslurmReader(worker, "pyslurm"), squeue)
    worker.fault = squeue.fault = "Unable to contact slurm controller"
    with pytest.raises(SlurmError):
        source.read()
    worker.fault = squeue.fault = ""
    assert [job.job_id for job in source.read()] == [1, 2]


def test_single_jobs_are_read_by_squeue(worker: Worker) -> None:
    source = reader.FallingBack(reader.PyslurmReader(worker, "pyslurm"), Squeue())
    assert [job.job_id for job in source.read([9])] == [9]


def test_the_adapter_tells_what_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = SlurmCommands(Replay.of("24.11"))
    assert slurm.reader() == ""
    slurm.version()
    assert slurm.reader() == "squeue"
