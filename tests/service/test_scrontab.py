"""Jobs of scrontab: Slurm lets nobody hold or update them, and tries a denied one again every two minutes."""

from dataclasses import replace

import pytest

from slurm_power.ports import JobRecord, JobState
from slurm_power.service.launch import launch
from slurm_power.service.submit import submit
from slurm_power.service.views import explain
from tests.service.support import START, Lab, job

WHOLE = "power:est=20kW,max=20kW"


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_one_that_could_never_start_is_refused_when_it_is_written(lab: Lab) -> None:
    reply = submit(lab.desk, job("power:est=80kW,max=80kW", cron_job=True, het_job_offset=0))
    assert reply.verdict == "reject"
    assert "short of power" in reply.message


def test_one_that_does_not_fit_now_goes_in(lab: Lab) -> None:
    submit(lab.desk, job(WHOLE + ",zones=rack03"))
    reply = submit(lab.desk, job(WHOLE + ",zones=rack03", cron_job=True, het_job_offset=0))
    assert reply.verdict == "admit"
    assert lab.committed("rack03") == 20_000


def test_its_denials_are_told_once_a_start_and_explained(lab: Lab) -> None:
    reply = submit(lab.desk, job(WHOLE, cron_job=True, het_job_offset=0))
    waits = JobRecord(
        1,
        JobState.PENDING,
        1001,
        partition="main",
        qos="bronze",
        comment=WHOLE,
        priority=9,
        reason="BeginTime",
        admin_comment=str(reply.fields["admin_comment"]),
    )
    runs = JobRecord(
        2,
        JobState.RUNNING,
        1002,
        partition="main",
        comment=WHOLE,
        node_list="n07",
        start_time=START,
    )

    def tried(restarts: int) -> str:
        lab.observe(replace(waits, restarts=restarts), runs)
        env = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n08", "SLURM_JOB_RESTART_COUNT": str(restarts)}
        return launch(lab.desk, env).verdict

    def denials() -> int:
        return [decision.action for decision in lab.journal.decisions].count("deny")

    assert [tried(number) for number in range(3)] == ["deny"] * 3
    assert denials() == 1
    lab.observe(replace(waits, restarts=3), runs)
    told = explain(lab.desk, "1")
    assert told is not None
    assert str(told["sentence"]).startswith("Job 1 of scrontab could not start because the nodes that Slurm chose")
    runs = replace(runs, state=JobState.ENDED)
    assert tried(3) == "allow"
    lab.observe(replace(waits, restarts=4), replace(runs, job_id=3, state=JobState.RUNNING))
    runs = replace(runs, job_id=3, state=JobState.RUNNING)
    assert tried(4) == "deny"
    assert denials() == 2
