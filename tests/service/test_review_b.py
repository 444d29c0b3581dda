"""What a second review found: promises that outlive what they were made for."""

from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.ports import Hold, HoldKind, JobRecord, JobState, Update
from slurm_power.service.book import Entry
from slurm_power.service.plan import Plan
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import Lab, job


@pytest.fixture
def lab() -> Lab:
    return Lab()


def entry_of(lab: Lab, job_id: int) -> Entry:
    found = lab.desk.book.of_job(job_id)
    assert found is not None
    return found


def plans(lab: Lab) -> list[Plan]:
    return [plan for plan in run_pass(lab.desk) if plan is not None]


class TestArraysThatDoNotStart:
    """The admitted rest of an array gives its watts back if none of its tasks starts."""

    @staticmethod
    def admitted(lab: Lab, tasks: str, throttle: int | None = None) -> JobRecord:
        given = tasks if throttle is None else f"{tasks}%{throttle}"
        reply = submit(lab.desk, job("power:est=5kW,max=5kW,zones=rack03", array_inx=given))
        record = JobRecord(
            1,
            JobState.PENDING,
            1001,
            partition="main",
            name="train",
            comment="power:est=5kW,max=5kW,zones=rack03",
            priority=9,
            time_limit_s=3_600,
            reason="Resources",
            array_job_id=1,
            array_tasks=tasks,
            array_throttle=throttle,
            admin_comment=str(reply.fields["admin_comment"]),
        )
        lab.observe(record)
        assert entry_of(lab, 1).state is State.ADMITTED
        return record

    def test_it_is_held_and_queued(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-2")
        assert lab.committed("rack03") == 15_000
        lab.wait(301)
        lab.observe(rest)
        [plan] = plans(lab)
        assert plan.action == "hold"
        assert plan.chain[0] == Hold("1_[0-2]")
        update = plan.chain[1]
        assert isinstance(update, Update)
        assert (update.fields["Licenses"], update.fields["Features"]) == ("", "")
        held = replace(
            rest, priority=0, admin_comment=update.fields["AdminComment"], licenses="", features=""
        )
        lab.observe(held)
        entry = entry_of(lab, 1)
        assert (entry.state, entry.hold) == (State.WAITING, HoldKind.POWER)
        assert lab.committed("rack03") == 0

    def test_not_while_tasks_of_it_start(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-2")
        lab.wait(299)
        task = replace(
            rest, job_id=2, array_task_id=0, array_tasks="", state=JobState.CONFIGURING, node_list="n07"
        )
        lab.observe(replace(rest, array_tasks="1-2"), task)
        lab.wait(200)
        begun = replace(task, state=JobState.RUNNING, start_time=lab.clock.now() - 200)
        lab.observe(replace(rest, array_tasks="1-2"), begun)
        assert plans(lab) == []
        lab.wait(101)
        lab.observe(replace(rest, array_tasks="1-2"), begun)
        assert [plan.target for plan in plans(lab)] == ["1_[1-2]"]

    def test_not_for_the_time_that_its_throttle_kept_it(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-1", throttle=1)
        task = replace(
            rest, job_id=2, array_task_id=0, array_tasks="", state=JobState.RUNNING, node_list="n07"
        )
        rest = replace(rest, array_tasks="1")
        for _ in range(3):
            lab.wait(200)
            lab.observe(rest, task)
            assert plans(lab) == []
        lab.observe(rest, replace(task, state=JobState.ENDED))
        assert plans(lab) == []
        assert lab.committed("rack03") == 5_000
