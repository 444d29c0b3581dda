"""The tasks of an array start: its claim goes over to them, and nobody else gets hold of the watts in between."""

from dataclasses import replace

import pytest

from slurm_power.ports import JobRecord, JobState
from slurm_power.service.launch import launch
from tests.service.support import START, Lab

REST = JobRecord(
    1,
    JobState.PENDING,
    1001,
    name="train",
    priority=1_000,
    array_job_id=1,
    array_tasks="0-1",
    time_limit_s=3_600,
    comment="power:est=5kW",
    admin_comment="power:id=tok,v=admit,tier=bronze,zones=rack03/1/5000/6500",
)
LAST = replace(
    REST, array_tasks="", array_task_id=1, state=JobState.CONFIGURING, node_list="n07", start_time=START
)
"""The task that starts last has the job id of its array."""
OTHER = replace(LAST, job_id=2, array_task_id=0)


@pytest.fixture
def lab() -> Lab:
    lab = Lab()
    lab.observe(REST)
    assert lab.committed("rack03") == 10_000
    return lab


def test_the_last_task_is_seen_first(lab: Lab) -> None:
    """Its gate asks about it alone; the copies of the others stay."""
    lab.observe(LAST, whole=False)
    assert lab.committed("rack03") == 10_000
    lab.observe(LAST, OTHER)
    assert lab.committed("rack03") == 10_000


def test_between_any_two_steps_of_a_snapshot_all_is_counted(lab: Lab) -> None:
    begun = lab.clock.monotonic()
    for _ in lab.observer.steps([OTHER, LAST], begun):
        assert lab.committed("rack03") == 10_000
    assert lab.committed("rack03") == 10_000


def test_tasks_that_run_already_take_their_copies_too(lab: Lab) -> None:
    lab.observe(*(replace(task, state=JobState.RUNNING) for task in (OTHER, LAST)))
    assert lab.committed("rack03") == 10_000
    assert {line.action for line in lab.journal.decisions} == {"found-running"}


def test_a_copy_that_nobody_took_goes_with_the_rest(lab: Lab) -> None:
    lab.observe(replace(LAST, state=JobState.RUNNING))
    assert lab.committed("rack03") == 5_000


def test_a_task_whose_release_is_still_being_written_is_looked_for_again() -> None:
    """Slurm can start a job before we know that its release was carried out; a snapshot begun earlier is not taken."""
    lab = Lab()
    env = {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NODELIST": "n07",
        "SLURM_ARRAY_JOB_ID": "1",
        "SLURM_ARRAY_TASK_ID": "1",
    }
    begun = lab.clock.monotonic()
    lab.observe(REST)
    rest = lab.desk.book.of_job(1)
    assert rest is not None
    rest.touched = lab.clock.monotonic()
    lab.observe(LAST, begun=begun, whole=False)
    assert launch(lab.desk, env, final=False).verdict == "look"
    lab.observe(LAST)
    assert launch(lab.desk, env).verdict == "allow"
    assert launch(lab.desk, env | {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7"}).verdict == "deny"
