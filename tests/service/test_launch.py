from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.record import find_record
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.launch import end, launch
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import Lab, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


def shown(lab: Lab, job_id: int, comment: str = "power:est=5kW", **fields: Any) -> JobRecord:
    """Submitted and seen by a poll; admitted or held as the reply says."""
    described = {
        name: fields.pop(name) for name in ("array_inx", "user_id", "qos", "priority") if name in fields
    }
    reply = submit(lab.desk, job(comment, **described))
    record = JobRecord(
        job_id,
        JobState.PENDING,
        int(str(described.get("user_id", 1001))),
        name="train",
        comment=comment,
        priority=0 if reply.verdict == "hold" else 1_000,
        time_limit_s=3_600,
        admin_comment=str(reply.fields["admin_comment"]),
        **fields,
    )
    lab.observe(record, whole=False)
    return record


def env(job_id: int, nodes: str, restarts: int = 0, task: tuple[int, int] | None = None) -> dict[str, str]:
    found = {
        "SLURM_JOB_ID": str(job_id),
        "SLURM_JOB_NODELIST": nodes,
        "SLURM_JOB_RESTART_COUNT": str(restarts),
    }
    if task is not None:
        found |= {"SLURM_ARRAY_JOB_ID": str(task[0]), "SLURM_ARRAY_TASK_ID": str(task[1])}
    return found


def state(lab: Lab, job_id: int) -> State:
    entry = lab.desk.book.of_job(job_id)
    assert entry is not None
    return entry.state


def test_on_the_nodes_of_its_zone_it_starts(lab: Lab) -> None:
    shown(lab, 1)
    assert launch(lab.desk, env(1, "n07")).verdict == "allow"
    assert state(lab, 1) is State.RUNNING
    assert lab.committed("rack03") == 5_000


def test_asked_again_it_answers_the_same_and_counts_once(lab: Lab) -> None:
    shown(lab, 1)
    replies = [launch(lab.desk, env(1, "n07")).verdict for _ in range(3)]
    assert replies == ["allow"] * 3
    assert lab.committed("rack03") == 5_000
    assert [d.action for d in lab.journal.decisions].count("launch") == 1


def test_the_claim_follows_the_nodes_that_slurm_chose(lab: Lab) -> None:
    shown(lab, 1)
    assert launch(lab.desk, env(1, "n01")).verdict == "allow"
    assert (lab.committed("rack03"), lab.committed("rack01")) == (0, 5_000)


def test_over_several_zones_by_its_nodes_there(lab: Lab) -> None:
    shown(lab, 1, "power:est=9kW")
    launch(lab.desk, env(1, "n[01-02,04]"))
    assert (lab.committed("rack01"), lab.committed("rack02")) == (6_000, 3_000)


def test_more_nodes_than_asked_draw_more(lab: Lab) -> None:
    shown(lab, 1, "power:est=3kW/node")
    launch(lab.desk, env(1, "n[07-08]"))
    assert lab.committed("rack03") == 6_000


def test_more_nodes_do_not_change_a_whole_jobs_watts(lab: Lab) -> None:
    shown(lab, 1, "power:est=3kW")
    launch(lab.desk, env(1, "n[07-08]"))
    assert lab.committed("rack03") == 3_000


def test_watts_that_others_have_taken_deny_it(lab: Lab) -> None:
    shown(lab, 1)
    shown(lab, 2, "power:est=23kW,max=23kW,zones=rack01", qos="gold")
    launch(lab.desk, env(2, "n01"))
    reply = launch(lab.desk, env(1, "n02"))
    assert reply.verdict == "deny"
    assert "rack01 lacks" in reply.message
    assert state(lab, 1) is State.DENIED
    assert (lab.committed("rack03"), lab.committed("rack01")) == (0, 23_000)


def test_a_first_no_asks_for_a_look_at_slurm(lab: Lab) -> None:
    shown(lab, 1)
    shown(lab, 2, "power:est=23kW,max=23kW,zones=rack01", qos="gold")
    assert launch(lab.desk, env(1, "n02"), final=False).verdict == "look"
    assert state(lab, 1) is State.ADMITTED


@pytest.mark.parametrize("fields", [{"batch": False}, {"requeue": False}])
def test_what_a_denial_would_kill_waits_first(lab: Lab, fields: dict[str, Any]) -> None:
    shown(lab, 1, **fields)
    shown(lab, 2, "power:est=23kW,max=23kW,zones=rack01", qos="gold")
    reply = launch(lab.desk, env(1, "n02"))
    assert reply.verdict == "wait"
    assert isinstance(reply.fields["seconds"], int)
    assert state(lab, 1) is State.ADMITTED
    lab.clock.wait(29)
    assert launch(lab.desk, env(1, "n02")).verdict == "wait"
    lab.clock.wait(2)
    assert launch(lab.desk, env(1, "n02")).verdict == "deny"


def test_what_waits_starts_when_watts_come_free(lab: Lab) -> None:
    shown(lab, 1, batch=False)
    other = shown(lab, 2, "power:est=23kW,max=23kW,zones=rack01", qos="gold")
    assert launch(lab.desk, env(1, "n02")).verdict == "wait"
    record = lab.desk.book.of_job(1)
    assert record is not None
    assert record.record is not None
    lab.observe(record.record, replace(other, state=JobState.ENDED))
    assert launch(lab.desk, env(1, "n02")).verdict == "allow"


def test_a_shadow_denies_no_start(lab: Lab) -> None:
    """It is a plan for the head of the queue; what was admitted starts, though its window has moved on."""
    shown(lab, 1, "power:est=15kW,max=15kW,zones=rack03")
    head = shown(lab, 2, "power:est=20kW,max=20kW,zones=rack03", user_id=1002)
    admitted = lab.desk.book.of_job(1)
    assert admitted is not None
    assert admitted.record is not None
    lab.observe(admitted.record, head)
    assert [plan for plan in run_pass(lab.desk) if plan] == []
    assert lab.desk.shadow.head is not None
    lab.wait(600)
    assert launch(lab.desk, env(1, "n07")).verdict == "allow"


def test_an_unknown_job_does_not_start_in_a_zone(lab: Lab) -> None:
    assert launch(lab.desk, env(77, "n01")).verdict == "deny"
    assert launch(lab.desk, env(77, "x1")).verdict == "allow"
    assert launch(lab.desk, {"SLURM_JOB_NODELIST": "n01"}).verdict == "deny"


def test_a_job_without_an_admission_starts_where_its_watts_are(lab: Lab) -> None:
    """Not seen at submit: a scrontab job, or one from before we were there."""
    lab.observe(
        JobRecord(1, JobState.CONFIGURING, 1001, partition="main", comment="power:est=5kW", node_list="n01")
    )
    assert launch(lab.desk, env(1, "n01")).verdict == "allow"
    assert lab.committed("rack01") == 5_000


def test_tasks_take_their_copy_from_the_pending_rest(lab: Lab) -> None:
    rest = shown(lab, 1, "power:est=4kW", array_inx="0-3", array_job_id=1, array_tasks="0-3")
    assert lab.committed("rack03") == 16_000
    started = []
    for task in range(3):
        begun = replace(
            rest, job_id=10 + task, array_task_id=task, array_tasks="", state=JobState.CONFIGURING
        )
        started.append(replace(begun, node_list="n07"))
        lab.observe(started[-1], whole=False)
        assert launch(lab.desk, env(10 + task, "n07", task=(1, task))).verdict == "allow"
        assert lab.committed("rack03") == 16_000
    lab.observe(*(replace(task, state=JobState.RUNNING) for task in started), replace(rest, array_tasks="3"))
    assert lab.committed("rack03") == 16_000
    last = replace(rest, array_task_id=3, array_tasks="", state=JobState.CONFIGURING, node_list="n08")
    lab.observe(last, whole=False)
    assert launch(lab.desk, env(1, "n08", task=(1, 3))).verdict == "allow"
    lab.observe(*(replace(task, state=JobState.RUNNING) for task in [*started, last]))
    assert lab.committed("rack03") == 16_000


def test_components_start_side_by_side(lab: Lab) -> None:
    for offset in range(2):
        record = shown(
            lab, 5 + offset, "power:est=8kW,zones=rack03", user_id=1002, het_job_id=5, het_offset=offset
        )
        assert find_record(record.admin_comment) is not None
    replies = [launch(lab.desk, env(5 + offset, f"n0{7 + offset}")).verdict for offset in range(2)]
    assert replies == ["allow", "allow"]
    assert lab.committed("rack03") == 16_000


def test_a_restart_is_a_new_start(lab: Lab) -> None:
    shown(lab, 1)
    assert launch(lab.desk, env(1, "n07")).verdict == "allow"
    assert launch(lab.desk, env(1, "n01", restarts=1)).verdict == "allow"
    assert (lab.committed("rack03"), lab.committed("rack01")) == (0, 5_000)


def test_observe_mode_lets_everything_start() -> None:
    lab = Lab(site_of(mode="observe"))
    assert launch(lab.desk, env(77, "n01")).verdict == "allow"


def test_the_end_is_written_down_and_frees_nothing_yet(lab: Lab) -> None:
    shown(lab, 1)
    launch(lab.desk, env(1, "n07"))
    assert end(lab.desk, env(1, "n07")).verdict == "allow"
    assert end(lab.desk, env(99, "n07")).verdict == "allow"
    assert lab.journal.decisions[-1].action == "end"
    assert lab.committed("rack03") == 5_000


class TestAnIdUsedAgain:
    """slurmctld has lost its state and counts job ids from the start, before a poll has shown it."""

    @pytest.fixture
    def told(self, lab: Lab) -> dict[str, str]:
        shown(lab, 5)
        first = env(5, "n07") | {"SLURM_JOB_UID": "1001", "SLURM_JOB_LICENSES": "pw_rack03:5000"}
        assert launch(lab.desk, first, final=False).verdict == "allow"
        return first

    def test_the_same_start_is_let_pass_again(self, lab: Lab, told: dict[str, str]) -> None:
        assert launch(lab.desk, told, final=False).verdict == "allow"

    @pytest.mark.parametrize("other", [{"SLURM_JOB_NODELIST": "n01"}, {"SLURM_JOB_UID": "1002"}])
    def test_another_job_is_not_let_pass_on_its_word(
        self, lab: Lab, told: dict[str, str], other: dict[str, str]
    ) -> None:
        assert launch(lab.desk, told | other, final=False).verdict == "look"
        assert launch(lab.desk, told | other).verdict == "deny"
        assert (state(lab, 5), lab.committed("rack03"), lab.committed("rack01")) == (State.RUNNING, 5_000, 0)

    def test_on_the_same_nodes_slurm_is_read_first(self, lab: Lab, told: dict[str, str]) -> None:
        other = told | {"SLURM_JOB_LICENSES": "pw_rack03:9000"}
        assert launch(lab.desk, other, final=False).verdict == "look"
        assert launch(lab.desk, other).verdict == "allow", "Slurm showed the same job under another text"

    def test_once_slurm_was_read_its_own_watts_count(self, lab: Lab, told: dict[str, str]) -> None:
        other = told | {"SLURM_JOB_NODELIST": "n01"}
        comment = "power:est=9kW,max=9kW"
        reply = submit(lab.desk, job(comment))
        record = JobRecord(
            5,
            JobState.CONFIGURING,
            1001,
            name="train",
            partition="main",
            comment=comment,
            node_list="n01",
            admin_comment=str(reply.fields["admin_comment"]),
        )
        lab.observe(record)
        assert launch(lab.desk, other).verdict == "allow"
        assert (lab.committed("rack03"), lab.committed("rack01")) == (0, 9_000)

    def test_a_start_that_the_gate_did_not_see_is_known_by_its_nodes(self, lab: Lab) -> None:
        record = JobRecord(
            5, JobState.RUNNING, 1001, partition="main", comment="power:est=5kW", node_list="n07"
        )
        lab.observe(record)
        assert launch(lab.desk, env(5, "n07"), final=False).verdict == "allow"
        assert launch(lab.desk, env(5, "n01"), final=False).verdict == "look"

    def test_a_pending_job_is_not_anothers(self, lab: Lab) -> None:
        shown(lab, 6)
        assert launch(lab.desk, env(6, "n07") | {"SLURM_JOB_UID": "1002"}).verdict == "deny"
        assert state(lab, 6) is State.ADMITTED
