from collections.abc import Mapping
from typing import Any

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.ports import HoldKind, JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Reply
from slurm_power.service.modify import modify
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import Lab, job, site_of

RELEASE: Mapping[str, Any] = {"priority": 4_294_967_295}
HOLD: Mapping[str, Any] = {"priority": 0}
PROTECTED = [
    ("licenses", ""),
    ("licenses", "matlab:1"),
    ("features", ""),
    ("features", "fast"),
    ("req_nodes", "n01"),
    ("req_nodes", ""),
    ("exc_nodes", ""),
    ("reservation", ""),
    ("partition", "outside"),
    ("account", "ops"),
    ("qos", ""),
    ("qos", "gold"),
    ("tres_per_node", "gres:gpu:8"),
    ("comment", ""),
    ("comment", "power:est=1W"),
    ("min_nodes", 2),
    ("max_nodes", 4),
    ("num_tasks", 8),
    ("min_cpus", 64),
    ("cpus_per_task", 32),
    ("shared", 0),
    ("dependency", "afterok:1"),
    ("array_inx", "8"),
    ("admin_comment", "power:id=x,v=admit"),
]


@pytest.fixture
def lab() -> Lab:
    return Lab()


def record_of(lab: Lab, job_id: int, comment: str = "power:est=5kW", **fields: object) -> JobRecord:
    """Submits, and shows the job in Slurm as the reply has it."""
    reply = submit(lab.desk, job(comment, **fields))
    record = JobRecord(
        job_id,
        JobState.PENDING,
        int(str(fields.get("user_id", 1001))),
        partition="main",
        qos=str(reply.fields.get("qos", "bronze")),
        name="train",
        account="research",
        user="alice",
        comment=comment,
        priority=0 if reply.verdict == "hold" else 1_000,
        time_limit_s=3_600,
        admin_comment=str(reply.fields["admin_comment"]),
        licenses=str(reply.fields.get("licenses", "")),
        features=str(reply.fields.get("features", "")),
        submit_time=lab.clock.now(),
    )
    lab.observe(record, *(e.record for e in lab.desk.book.entries.values() if e.record is not None))
    return record


def rec(record: JobRecord, **changes: object) -> dict[str, object]:
    return {
        "job_id": record.job_id,
        "user_id": record.uid,
        "priority": record.priority,
        "admin_comment": record.admin_comment,
        "time_limit": 60,
        **changes,
    }


def change(lab: Lab, record: JobRecord, uid: int = 1001, **fields: Any) -> Reply:
    return modify(lab.desk, uid, fields, rec(record))


def entry_of(lab: Lab, record: JobRecord) -> Entry:
    entry = lab.desk.book.of_job(record.job_id)
    assert entry is not None
    return entry


def held(lab: Lab) -> JobRecord:
    """A job held for power: its zone is full."""
    record_of(lab, 1, "power:est=20kW,max=20kW,zones=rack03", user_id=1002)
    return record_of(lab, 2, "power:est=5kW,zones=rack03")


class TestAdmitted:
    @pytest.mark.parametrize(("name", "value"), PROTECTED)
    def test_what_admission_decided_stays(self, lab: Lab, name: str, value: object) -> None:
        record = record_of(lab, 1)
        reply = change(lab, record, **_one(name, value))
        assert reply.verdict == "deny"
        assert name in reply.message or "pw_" in reply.message

    @pytest.mark.parametrize(("name", "value"), PROTECTED)
    def test_so_it_does_while_it_runs(self, lab: Lab, name: str, value: object) -> None:
        record = record_of(lab, 1)
        running = JobRecord(
            1,
            JobState.RUNNING,
            1001,
            node_list="n07",
            admin_comment=record.admin_comment,
            comment=record.comment,
        )
        lab.observe(running)
        assert entry_of(lab, record).state is State.RUNNING
        assert change(lab, record, **_one(name, value)).verdict == "deny"

    def test_harmless_fields_change(self, lab: Lab) -> None:
        record = record_of(lab, 1)
        for name, value in (("time_min", 5), ("begin_time", 1), ("end_time", 9), ("nice", 5)):
            assert change(lab, record, **_one(name, value)).verdict == "allow", name

    def test_a_shorter_time_limit_is_fine(self, lab: Lab) -> None:
        assert change(lab, record_of(lab, 1), time_limit=30).verdict == "allow"

    def test_a_longer_one_is_a_question(self, lab: Lab) -> None:
        record = record_of(lab, 1, "power:est=20kW,max=20kW,zones=rack03")
        (claim,) = lab.desk.ledger.claims.values()
        assert change(lab, record, time_limit=120).verdict == "allow"
        assert lab.desk.ledger.claims[claim.id].window.end == claim.window.start + 7_200

    def test_a_longer_one_may_not_delay_the_head_of_the_queue(self, lab: Lab) -> None:
        record = record_of(lab, 1, "power:est=20kW,max=20kW,zones=rack03")
        record_of(lab, 2, "power:est=15kW,max=15kW,zones=rack03", user_id=1002)
        assert [plan for plan in run_pass(lab.desk) if plan] == []
        assert lab.desk.shadow.head is not None
        reply = change(lab, record, time_limit=120)
        assert reply.verdict == "deny"
        assert "rack03" in reply.message

    def test_a_stranger_lengthens_nothing(self, lab: Lab) -> None:
        record = record_of(lab, 1)
        before = dict(lab.desk.ledger.claims)
        change(lab, record, 4_711, time_limit=120)
        assert lab.desk.ledger.claims == before

    def test_its_user_may_hold_it_and_let_it_go(self, lab: Lab) -> None:
        record = record_of(lab, 1)
        assert change(lab, record, **HOLD).verdict == "allow"
        assert entry_of(lab, record).hold is HoldKind.USER
        reply = change(lab, record, **RELEASE)
        assert reply.verdict == "allow"


class TestHeldForPower:
    def test_nobody_but_us_releases_it(self, lab: Lab) -> None:
        record = held(lab)
        for uid in (1001, 4_711):
            reply = change(lab, record, uid, **RELEASE)
            assert reply.verdict == "deny"
            assert "held for power" in reply.message
        assert change(lab, record, priority=17).verdict == "deny"
        assert entry_of(lab, record).hold is HoldKind.POWER

    def test_nice_would_let_it_go(self, lab: Lab) -> None:
        assert change(lab, held(lab), nice=10).verdict == "deny"

    def test_its_user_may_change_what_it_asks(self, lab: Lab) -> None:
        record = held(lab)
        assert change(lab, record, comment="power:est=1kW").verdict == "allow"
        changed = JobRecord(**{**_fields(record), "comment": "power:est=1kW"})
        lab.observe(*_others(lab, record), changed)
        ask = entry_of(lab, record).ask
        assert ask is not None
        assert ask.request.est_w == 1_000
        assert ask.request.zones is None

    def test_an_older_snapshot_does_not_hide_the_change(self, lab: Lab) -> None:
        """Reading had begun before; binding waits for one that begins after."""
        record = held(lab)
        begun = lab.clock.monotonic()
        change(lab, record, comment="power:est=1kW")
        lab.observe(*_others(lab, record), record, begun=begun)
        assert entry_of(lab, record).dirty
        assert [plan for plan in run_pass(lab.desk) if plan] == []
        changed = JobRecord(**{**_fields(record), "comment": "power:est=1kW"})
        lab.observe(*_others(lab, record), changed)
        assert [plan.target for plan in run_pass(lab.desk) if plan] == ["2"]

    def test_an_administrators_change_is_seen_too(self, lab: Lab) -> None:
        record = held(lab)
        changed = JobRecord(**{**_fields(record), "comment": "power:est=1kW", "time_limit_s": 60})
        lab.observe(*_others(lab, record), changed)
        ask = entry_of(lab, record).ask
        assert ask is not None
        assert (ask.request.est_w, ask.request.time_limit_s) == (1_000, 60)

    def test_rubbish_is_refused(self, lab: Lab) -> None:
        reply = change(lab, held(lab), comment="power:est=")
        assert reply.verdict == "deny"
        assert "est" in reply.message

    @pytest.mark.parametrize(
        ("name", "value"),
        [("licenses", "pw_rack01:1"), ("features", "pw_rack01"), ("dependency", "expand:5")],
    )
    def test_ours_is_not_for_users(self, lab: Lab, name: str, value: str) -> None:
        assert change(lab, held(lab), **_one(name, value)).verdict == "deny"

    def test_a_users_hold_comes_on_top(self, lab: Lab) -> None:
        record = held(lab)
        assert change(lab, record, **HOLD).verdict == "allow"
        assert entry_of(lab, record).hold is HoldKind.BOTH
        assert lab.journal.holds[entry_of(lab, record).token] is HoldKind.BOTH
        reply = change(lab, record, **RELEASE)
        assert reply.verdict == "allow"
        assert reply.fields == {"priority": 0}
        assert entry_of(lab, record).hold is HoldKind.POWER
        assert lab.journal.holds[entry_of(lab, record).token] is HoldKind.POWER

    def test_a_strangers_hold_or_release_means_nothing(self, lab: Lab) -> None:
        record = held(lab)
        change(lab, record, 4_711, **HOLD)
        assert entry_of(lab, record).hold is HoldKind.POWER
        change(lab, record, **HOLD)
        reply = change(lab, record, 4_711, **RELEASE)
        assert reply.fields == {"priority": 0}
        assert entry_of(lab, record).hold is HoldKind.BOTH

    def test_a_hold_during_its_release_is_refused(self, lab: Lab) -> None:
        record = held(lab)
        lab.observe(record)  # the other one is gone
        (plan,) = [plan for plan in run_pass(lab.desk) if plan]
        assert plan.action == "bind"
        assert change(lab, record, **HOLD).verdict == "deny"


class TestHeldByItsUser:
    def test_letting_go_brings_it_to_the_queue(self, lab: Lab) -> None:
        record = record_of(lab, 1, priority=0)
        assert entry_of(lab, record).state is State.PARKED
        reply = change(lab, record, **RELEASE)
        assert (reply.verdict, reply.fields) == ("allow", {"priority": 0})
        entry = entry_of(lab, record)
        assert (entry.state, entry.hold) == (State.WAITING, HoldKind.POWER)
        lab.observe(record)
        assert [plan.target for plan in run_pass(lab.desk) if plan] == ["1"]

    def test_before_slurm_has_shown_it(self, lab: Lab) -> None:
        reply = submit(lab.desk, job(priority=0))
        record = JobRecord(1, JobState.PENDING, 1001, admin_comment=str(reply.fields["admin_comment"]))
        assert change(lab, record, **RELEASE).fields == {"priority": 0}
        lab.observe(record)
        assert entry_of(lab, record).hold is HoldKind.POWER

    def test_without_it_nothing_is_bound(self, lab: Lab) -> None:
        record_of(lab, 1, priority=0)
        assert [plan for plan in run_pass(lab.desk) if plan] == []


class TestTasks:
    def test_one_task_of_a_held_array_by_itself(self, lab: Lab) -> None:
        """Slurm splits it off and asks; what is decided about it says nothing of the rest."""
        reply = submit(lab.desk, job("power:est=8kW", array_inx="0-9", priority=0))
        text = str(reply.fields["admin_comment"])
        rest = JobRecord(
            5,
            JobState.PENDING,
            1001,
            array_job_id=5,
            array_tasks="0-9",
            admin_comment=text,
            comment="power:est=8kW",
        )
        lab.observe(rest)
        task = rec(rest, job_id=6, array_job_id=5, array_task_id=3)
        assert modify(lab.desk, 1001, RELEASE, task).fields == {"priority": 0}
        parent, part = entry_of(lab, rest), lab.desk.book.of_task(5, 3)
        assert part is not None
        assert (parent.hold, part.hold) == (HoldKind.USER, HoldKind.POWER)
        assert lab.journal.holds[part.key] is HoldKind.POWER

    def test_a_hold_of_one_task_of_an_admitted_array(self, lab: Lab) -> None:
        reply = submit(lab.desk, job("power:est=1kW", array_inx="0-9"))
        text = str(reply.fields["admin_comment"])
        rest = JobRecord(
            5,
            JobState.PENDING,
            1001,
            array_job_id=5,
            array_tasks="0-9",
            admin_comment=text,
            priority=1_000,
            comment="power:est=1kW",
            name="train",
        )
        lab.observe(rest)
        task = rec(rest, job_id=6, array_job_id=5, array_task_id=3)
        assert modify(lab.desk, 1001, HOLD, task).verdict == "allow"
        part = lab.desk.book.of_task(5, 3)
        assert part is not None
        assert part.hold is HoldKind.USER
        assert entry_of(lab, rest).hold is None
        other = rec(rest, job_id=7, array_job_id=5, array_task_id=4)
        assert modify(lab.desk, 1001, {"comment": ""}, other).verdict == "deny"


class TestOthers:
    def test_a_job_that_we_do_not_act_on_is_let_alone(self) -> None:
        lab = Lab(site_of(mode="observe"))
        submit(lab.desk, job())
        record = JobRecord(1, JobState.PENDING, 1001)
        lab.observe(record)
        assert change(lab, record, licenses="", priority=5) == Reply("allow")

    def test_a_job_that_says_it_is_held_for_power_stays_held(self, lab: Lab) -> None:
        record = JobRecord(9, JobState.PENDING, 1001, admin_comment="power:id=lua-1,v=hold,hold=power")
        assert change(lab, record, **RELEASE).verdict == "deny"
        assert change(lab, record, nice=3).verdict == "deny"
        assert change(lab, record, comment="x").verdict == "allow"


def _one(name: str, value: object) -> dict[str, Any]:
    return {name: value}


def _fields(record: JobRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in JobRecord.__match_args__}


def _others(lab: Lab, record: JobRecord) -> list[JobRecord]:
    known = (entry.record for entry in lab.desk.book.entries.values())
    return [other for other in known if other is not None and other.job_id != record.job_id]
