"""What a user changes of an admitted job that has not started: where it has to wait on, its watts are others'."""

from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.ports import JobRecord, JobState, Outcome
from slurm_power.service.book import Entry
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit
from slurm_power.service.views import explain
from tests.service.support import START, Lab, job

COMMENT = "power:est=20kW,max=20kW,zones=rack01"
LATER = START + 30 * 86_400


@pytest.fixture
def lab() -> Lab:
    return Lab()


def admitted(lab: Lab, job_id: int = 5, **fields: object) -> JobRecord:
    reply = submit(lab.desk, job(COMMENT))
    assert reply.verdict == "admit"
    record = JobRecord(
        job_id,
        JobState.PENDING,
        1001,
        user="alice",
        partition="main",
        name="train",
        priority=100,
        comment=COMMENT,
        submit_time=START,
        time_limit_s=3_600,
        eligible_time=START,
        admin_comment=str(reply.fields["admin_comment"]),
        **fields,  # type: ignore[arg-type]
    )
    lab.observe(record)
    assert lab.committed("rack01") == 20_000
    return record


def entry(lab: Lab) -> Entry:
    found = lab.desk.book.of_job(5)
    assert found is not None
    return found


def plans(lab: Lab) -> list[Plan]:
    return [plan for plan in run_pass(lab.desk) if plan is not None]


def sentence(lab: Lab) -> str:
    found = explain(lab.desk, "5")
    assert found is not None
    return str(found["sentence"])


def held_by(lab: Lab, record: JobRecord) -> JobRecord:
    """What Slurm shows after our hold: of a held job no time from which it is eligible."""
    (plan,) = plans(lab)
    assert plan.action == "hold"
    applied(lab.desk, plan, Outcome(len(plan.chain)))
    comment = f"power:id={entry(lab).token},v=hold,hold=power"
    return replace(record, priority=0, eligible_time=None, reason="JobHeldUser", admin_comment=comment)


def test_a_begin_time_moved_ahead_gives_the_watts_back(lab: Lab) -> None:
    record = admitted(lab)
    moved = replace(record, eligible_time=LATER, reason="BeginTime")
    lab.observe(moved)
    assert lab.committed("rack01") == 0
    assert submit(lab.desk, job(COMMENT)).verdict == "admit"
    lab.observe(held_by(lab, moved))
    assert entry(lab).state is State.PARKED
    assert "begin time has not come" in sentence(lab)


def test_it_stays_parked_until_its_time_and_is_placed_then(lab: Lab) -> None:
    record = replace(admitted(lab), eligible_time=LATER, reason="BeginTime")
    lab.observe(record)
    held = held_by(lab, record)
    for _ in range(3):
        lab.observe(held)
        assert plans(lab) == []
        lab.wait(3_600)
    lab.wait(30 * 86_400)
    lab.observe(held)
    assert [plan.action for plan in plans(lab)] == ["bind"]


def test_after_a_restart_of_the_daemon_it_has_no_watts_either(lab: Lab) -> None:
    record = replace(admitted(lab), eligible_time=LATER, reason="BeginTime")
    again = Lab()
    again.observe(record)
    assert again.committed("rack01") == 0
    again.observe(held_by(again, record))
    assert entry(again).state is State.PARKED


def test_clocks_of_two_hosts_may_differ_a_little(lab: Lab) -> None:
    record = admitted(lab)
    lab.observe(replace(record, eligible_time=START + 20))
    assert lab.committed("rack01") == 20_000
    assert plans(lab) == []


def test_a_dependency_added_later_gives_the_watts_back(lab: Lab) -> None:
    record = admitted(lab)
    other = replace(record, job_id=9, admin_comment="", priority=0, reason="JobHeldAdmin", comment="power:est=1kW")
    waiting = replace(record, dependency="afterany:9(unfulfilled)", eligible_time=None, reason="Dependency")
    lab.observe(waiting, other)
    lab.observe(waiting, other)  # the first time, the other was not known yet
    assert lab.committed("rack01") == 0
    lab.observe(held_by(lab, waiting), other)
    assert entry(lab).state is State.PARKED


def test_a_users_hold_after_admission_gives_the_watts_back(lab: Lab) -> None:
    record = admitted(lab)
    lab.observe(replace(record, priority=0, eligible_time=None, reason="JobHeldUser"))
    assert lab.committed("rack01") == 0
    assert entry(lab).state is State.PARKED
    assert sentence(lab) == "Job 5 waits because the job is held by its user."
    assert plans(lab) == []
