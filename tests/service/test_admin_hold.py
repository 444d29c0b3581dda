"""An administrator's own hold on a job that waits for power. No hook tells of it; Slurm's reason does."""

from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.ports import Hold, HoldKind, JobRecord, JobState, Outcome, Release, UserHold
from slurm_power.service.book import Entry
from slurm_power.service.modify import modify
from slurm_power.service.observe import Observer
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from slurm_power.service.views import explain
from tests.service.cluster import Cluster
from tests.service.spec import Spec
from tests.service.support import Lab

RELEASE = 4_294_967_295


@pytest.fixture
def lab() -> Lab:
    return Lab()


def waiting(reason: str = "JobHeldUser", **fields: object) -> JobRecord:
    given: dict[str, object] = {
        "partition": "main",
        "name": "train",
        "qos": "bronze",
        "comment": "power:est=5kW,zones=rack03",
        "admin_comment": "power:id=t1,v=hold,hold=power",
        "time_limit_s": 3_600,
        "reason": reason,
        **fields,
    }
    return JobRecord(1, JobState.PENDING, 1001, **given)  # type: ignore[arg-type]


def entry(lab: Lab) -> Entry:
    found = lab.desk.book.of_job(1)
    assert found is not None
    return found


def plans(lab: Lab) -> list[Plan]:
    return [plan for plan in run_pass(lab.desk) if plan is not None]


def test_it_stays_held_though_its_watts_are_free(lab: Lab) -> None:
    lab.observe(waiting())
    lab.observe(waiting("JobHeldAdmin"))
    assert (entry(lab).state, entry(lab).hold) == (State.PARKED, HoldKind.ADMIN)
    assert plans(lab) == []
    told = explain(lab.desk, "1")
    assert told is not None
    assert "an administrator holds it" in str(told["sentence"])


def test_it_is_seen_after_a_restart_too(lab: Lab) -> None:
    """Whether the hold was set before, while we were away, or was known."""
    for holds in ({}, {"t1": HoldKind.POWER}, {"t1": HoldKind.ADMIN}):
        fresh = Lab()
        Observer(fresh.desk, holds).observe([waiting("JobHeldAdmin")], fresh.clock.monotonic())
        assert entry(fresh).hold is HoldKind.ADMIN
        assert plans(fresh) == []


def test_once_he_releases_it_it_goes_through_admission(lab: Lab) -> None:
    lab.observe(waiting("JobHeldAdmin"))
    lab.observe(waiting("None", priority=9))
    [plan] = plans(lab)
    assert plan.chain[0] == UserHold("1"), "not Hold, whose reason would be that of an administrator"
    applied(lab.desk, plan, Outcome(2))
    lab.observe(waiting())
    [plan] = plans(lab)
    assert plan.chain[-1] == Release("1")


def test_handed_over_to_its_owner_by_uhold_it_waits_for_him(lab: Lab) -> None:
    lab.observe(waiting("JobHeldAdmin"))
    lab.observe(waiting())
    assert entry(lab).hold is HoldKind.BOTH
    assert lab.journal.holds == {"t1": HoldKind.BOTH}
    assert plans(lab) == []
    rec = {"job_id": 1, "user_id": 1001, "priority": 0}
    assert modify(lab.desk, 1001, {"priority": RELEASE}, rec).fields == {"priority": 0}
    lab.observe(waiting())
    assert [plan.action for plan in plans(lab)] == ["bind"]


def test_the_hook_leaves_it_to_slurm_who_may_lift_it(lab: Lab) -> None:
    """For a user Slurm refuses it; an operator is not told apart from a user here."""
    lab.observe(waiting("JobHeldAdmin"))
    rec = {"job_id": 1, "user_id": 1001, "priority": 0}
    for uid in (1001, 4711):
        reply = modify(lab.desk, uid, {"priority": RELEASE}, rec)
        assert (reply.verdict, dict(reply.fields)) == ("allow", {})
        assert modify(lab.desk, uid, {"priority": 0}, rec).verdict == "allow"
    assert entry(lab).hold is HoldKind.ADMIN


def test_slurms_own_mark_on_a_failed_dependency_is_none(lab: Lab) -> None:
    """slurmctld gives it the same reason, and leaves that when the user has mended the dependency."""
    lab.observe(waiting(dependency="afterok:7(unfulfilled)"))
    lab.observe(waiting("JobHeldAdmin", dependency="afterok:7(failed)"))
    assert entry(lab).hold is HoldKind.POWER
    lab.observe(waiting("JobHeldAdmin"))
    assert [plan.action for plan in plans(lab)] == ["bind"]


def test_an_admitted_job_that_he_holds_gives_its_watts_back(lab: Lab) -> None:
    admitted = waiting(
        "Resources", priority=9, admin_comment="power:id=t1,v=admit,tier=bronze,zones=rack03/1/5000/6500"
    )
    lab.observe(admitted)
    assert lab.committed("rack03") == 5_000
    lab.observe(replace(admitted, priority=0, reason="JobHeldAdmin"))
    assert (entry(lab).hold, lab.committed("rack03")) == (HoldKind.ADMIN, 0)
    lab.observe(admitted)
    assert (entry(lab).state, entry(lab).hold) == (State.ADMITTED, None)


def test_the_panic_switch_lifts_our_holds_alone(lab: Lab) -> None:
    lab.observe(waiting("JobHeldAdmin"))
    lab.desk.mode = Mode.OBSERVE
    lab.observe(waiting("JobHeldAdmin"))
    assert plans(lab) == []


def test_on_a_cluster() -> None:
    cluster = Cluster()
    blocks = cluster.submit(Spec(est_w=20_000, max_w=20_000, comment="power:est=20kW,max=20kW,zones=rack03"))
    waits = cluster.submit(Spec(est_w=15_000, max_w=15_000, comment="power:est=15kW,max=15kW,zones=rack03"))
    assert blocks is not None
    assert waits is not None
    cluster.advance(1)
    cluster.round()
    cluster.slurm.write([(Hold(str(waits)),)])
    cluster.slurm.finish(blocks)
    for _ in range(4):
        cluster.advance(10)
        cluster.round()
        cluster.check()
    assert cluster.slurm.job(waits).priority == 0
    cluster.slurm.admin_releases(cluster.slurm.job(waits))
    for _ in range(4):
        cluster.round()
        cluster.advance(10)
        cluster.check()
    assert cluster.slurm.job(waits).state is JobState.RUNNING
