"""The reader through pyslurm, with a module of the same shape in its place."""

import logging
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slurm_power.adapters.slurm import SlurmCommands
from slurm_power.adapters.slurm import pyslurm_reader as reader
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
    made.__dict__["Jobs"] = SimpleNamespace(load=lambda: {job.id: job for job in jobs})
    return made


def read(job: Job) -> JobRecord:
    (found,) = reader.PyslurmReader(module(job)).read()
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


def test_only_the_jobs_asked_for() -> None:
    source = reader.PyslurmReader(module(Job(id=1), Job(id=2)))
    assert [job.job_id for job in source.read([2, 9])] == [2]
    assert source.read([]) == []


# -- whether it is used ---------------------------------------------------------------------------------------------


def test_the_pyslurm_of_this_slurm_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyslurm", module(Job()))
    assert reader.find((25, 11, 4)) is not None


def test_another_ones_is_not(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pyslurm", module(Job()))
    with caplog.at_level(logging.INFO):
        assert reader.find((26, 5, 5)) is None
    assert "pyslurm 25.11 is not for Slurm 26.05" in caplog.text


def test_none_is_no_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "pyslurm", None)
    assert reader.find((25, 11, 4)) is None
    assert caplog.records == []


def test_one_that_cannot_be_imported_is_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(name: str) -> ModuleType:
        raise RuntimeError(f"{name}: no slurm.conf")

    monkeypatch.setattr("importlib.import_module", fail)
    with caplog.at_level(logging.INFO):
        assert reader.find((25, 11, 4)) is None
    assert "no slurm.conf" in caplog.text


class Source:
    def __init__(self, *answers: list[JobRecord] | Exception) -> None:
        self.answers = list(answers)

    def read(self, ids: object = None) -> list[JobRecord]:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_after_a_fault_jobs_are_read_the_sure_way(caplog: pytest.LogCaptureFixture) -> None:
    fast, sure = read(Job(id=1)), read(Job(id=2))
    source = reader.FallingBack(Source([fast], RuntimeError("segment"), [fast]), Source([sure], [sure]))
    assert [source.read()[0].job_id for _ in range(3)] == [1, 2, 2]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_the_adapter_prefers_it_only_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyslurm", module(Job(id=4_711), version="24.11.0"))
    assert [job.job_id for job in SlurmCommands(Replay.of("24.11"), fast=True).jobs()] == [4_711]
    with pytest.raises(AssertionError, match="never captured"):  # squeue is asked, with a delimiter drawn anew
        SlurmCommands(Replay.of("26.05"), fast=True).jobs()
    with pytest.raises(AssertionError, match="never captured"):
        SlurmCommands(Replay.of("24.11")).jobs()
