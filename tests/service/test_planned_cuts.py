"""Cuts that are planned: who is started although one will end him, and who has left by the time that it begins."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.giving_way import LEAVE_S
from slurm_power.ports import JobState, PreemptionRecord, QosRecord
from tests.service.preempt_rig import LATER, QOS, SITE, Rig
from tests.service.test_derates import change, derate, limit_w

ACCEPTING = SITE.replace("bronze, notice: 0s", "bronze, notice: 0s, planned_cuts: accept")
MIN_RUN_S, NOTICE_S = 600, 600


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(text=ACCEPTING)
    yield made
    made.end()


def planned(rig: Rig, start: int, allowed_w: int = 10_000, end: int | None = None) -> None:
    """Zone a, which carries 20 kW, is going to carry less, from so many seconds on."""
    change(rig, derate(rig, allowed_w, start=start, end=end or start + 3_600))


def submit(rig: Rig, qos: str, est_w: int = 15_000, **fields: Any) -> int:
    job_id = rig.submit(qos, est_w=est_w, more=",zones=a", **fields)
    rig.later(2, 3)
    return job_id


def test_only_a_tier_that_accepts_it_is_started_under_a_cut_to_come(rig: Rig) -> None:
    planned(rig, 7_200)
    silver, bronze = submit(rig, "silver"), submit(rig, "bronze")
    assert (rig.state(silver), rig.state(bronze)) == (JobState.PENDING, JobState.RUNNING)


def test_whom_the_cut_leaves_alone_is_started_whatever_his_tier(rig: Rig) -> None:
    planned(rig, 7_200)
    assert rig.state(submit(rig, "silver", 10_000)) is JobState.RUNNING
    assert rig.state(submit(rig, "silver", 10_000, time_limit_s=3_600)) is JobState.RUNNING


def test_nobody_is_started_whom_it_would_end_soon(rig: Rig) -> None:
    planned(rig, MIN_RUN_S + LEAVE_S - 10)
    assert rig.state(submit(rig, "bronze")) is JobState.PENDING


def test_nobody_is_started_while_it_holds(rig: Rig) -> None:
    planned(rig, 0)
    assert rig.state(submit(rig, "bronze")) is JobState.PENDING


def test_he_keeps_nobody_out_who_has_his_place_already(rig: Rig) -> None:
    """Gold is admitted first and starts last: the launch gate asks anew, and those who give way do not count."""
    planned(rig, 7_200, 15_000)
    rig.slurm._reserved["pw_a"] = 20_000  # nobody starts
    gold = rig.submit("gold", est_w=8_000, more=",zones=a")
    rig.later(2, 2)
    bronze = rig.submit("bronze", est_w=12_000, more=",zones=a", time_limit_s=36_000)
    rig.later(2, 2)
    rig.slurm._reserved["pw_a"] = 0
    rig.later(2, 2)
    assert (rig.state(gold), rig.state(bronze)) == (JobState.RUNNING, JobState.RUNNING)
    rig.later(7_200 - LEAVE_S - 10)
    rig.later(12, 2)
    rig.later(LEAVE_S)
    assert (rig.state(gold), rig.state(bronze)) == (JobState.RUNNING, JobState.PENDING)


def test_after_a_crash_he_gives_way_as_before(rig: Rig) -> None:
    planned(rig, 7_200, 15_000)
    submit(rig, "bronze", 12_000)
    rig.crash()
    rig.later(2, 2)
    assert rig.state(submit(rig, "silver", 8_000)) is JobState.RUNNING


def test_who_may_not_be_requeued_any_more_counts_again(rig: Rig) -> None:
    """Users cannot change that of a running job past us; an administrator can."""
    planned(rig, 7_200, 15_000)
    bronze = submit(rig, "bronze", 12_000)
    rig.slurm._put(replace(rig.job(bronze), requeue=False))
    rig.later(2, 2)
    assert rig.state(submit(rig, "gold", 8_000)) is JobState.PENDING


def test_he_has_gone_when_it_begins_and_comes_back_when_it_ends(rig: Rig) -> None:
    planned(rig, 3_600)
    bronze = submit(rig, "bronze")
    rig.later(3_600 - LEAVE_S - 12)
    assert rig.written() == []
    rig.later(8, 2)
    assert rig.written() == [str(bronze)]
    assert limit_w(rig) == 20_000  # it has not begun
    rig.later(LEAVE_S, 1)
    assert (limit_w(rig), rig.desk.ledger.meters["a"].headroom_w) == (10_000, 10_000)
    rig.later(3_600, 2)
    rig.later(LATER, 3)
    assert rig.state(bronze) is JobState.RUNNING
    assert len(rig.written()) == 1


@pytest.mark.parametrize(
    ("fields", "cluster", "mode"),
    [
        ({"batch": False}, PreemptionRecord("OFF"), "requeue"),
        ({"requeue": False}, PreemptionRecord("OFF"), "requeue"),
        ({}, PreemptionRecord("OFF"), "suspend"),
    ],
)
def test_who_cannot_be_taken_off_his_nodes_is_not_started(
    fields: dict[str, Any], cluster: PreemptionRecord, mode: str
) -> None:
    rig = Rig((*QOS[:2], QosRecord("bronze", preempt_mode=mode)), ACCEPTING)
    rig.slurm.preempts = cluster
    planned(rig, 7_200)
    assert rig.state(submit(rig, "bronze", **fields)) is JobState.PENDING
    rig.end()


def test_silver_has_its_notice_before_the_cut_begins(rig: Rig) -> None:
    """Planned while silver runs already: told at its notice and a minute before, gone a minute before."""
    gold, silver = (rig.running(qos, est_w=9_000, more=",zones=a") for qos in ("gold", "silver"))
    planned(rig, 3_600)
    rig.later(3_600 - NOTICE_S - LEAVE_S - 10)
    assert rig.signalled() == []
    rig.later(11)
    assert (rig.signalled(), rig.written()) == ([str(silver)], [])
    assert "will carry less, by a cut that is planned" in str(rig.lines("preempt-notice")[0].reasons[0])
    rig.later(NOTICE_S - 2)
    assert rig.written() == []
    rig.later(3, 2)
    assert rig.written() == [str(silver)]
    assert {line.zones for line in rig.lines("preempt-notice", "preempt", "preempted")} == {("a",)}
    rig.later(LEAVE_S)
    assert (limit_w(rig), rig.state(gold)) == (10_000, JobState.RUNNING)
    assert rig.desk.ledger.meters["a"].headroom_w == 1_000


def test_bronze_goes_for_it_before_silver(rig: Rig) -> None:
    silver, bronze = (rig.running(qos, est_w=9_000, more=",zones=a") for qos in ("silver", "bronze"))
    planned(rig, 1_200)
    rig.later(1_200 - LEAVE_S, 2)
    assert (rig.signalled(), rig.written()) == ([], [str(bronze)])
    rig.later(LEAVE_S, 3)
    assert rig.state(silver) is JobState.RUNNING


def test_who_ends_by_then_anyway_is_left_alone(rig: Rig) -> None:
    rig.running("silver", est_w=9_000, more=",zones=a", time_limit_s=900)
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    planned(rig, 1_200)
    rig.later(1_200 - NOTICE_S - LEAVE_S + 2, 2)
    assert rig.signalled() == []
    rig.later(400, 3)
    assert (limit_w(rig), rig.state(silver), rig.written()) == (10_000, JobState.RUNNING, [])


def test_a_cut_that_is_called_off_spares_whom_it_would_have_ended(rig: Rig) -> None:
    silver = rig.running("silver", est_w=15_000, more=",zones=a")
    planned(rig, NOTICE_S + LEAVE_S + 5)
    rig.later(6)
    assert rig.signalled() == [str(silver)]
    change(rig)
    rig.later(2)
    assert [line.cause for line in rig.lines("preempt-off")] == ["it need not give way"]
    rig.later(NOTICE_S, 3)
    assert (rig.state(silver), rig.live) == (JobState.RUNNING, [])


def test_a_cut_that_is_put_off_lets_him_stay_till_then(rig: Rig) -> None:
    silver = rig.running("silver", est_w=15_000, more=",zones=a")
    planned(rig, NOTICE_S + LEAVE_S + 5)
    rig.later(6)
    planned(rig, 7_200)
    rig.later(2)
    assert rig.live == []
    rig.later(7_200 - NOTICE_S - LEAVE_S, 1)
    assert rig.signalled() == [str(silver)] * 2


def test_it_is_gone_on_with_after_a_crash(rig: Rig) -> None:
    silver = rig.running("silver", est_w=15_000, more=",zones=a")
    planned(rig, NOTICE_S + LEAVE_S + 5)
    rig.later(6)
    rig.crash()
    rig.later(300, 1)
    assert rig.written() == []
    rig.later(301, 2)
    assert (rig.written(), rig.signalled()) == ([str(silver)], [str(silver)])


def test_nobody_goes_before_a_cut_where_the_site_wants_to_wait() -> None:
    rig = Rig(text=SITE + "preemption: {after_cut: wait}\n")
    rig.running("bronze", est_w=15_000, more=",zones=a")
    planned(rig, 120)
    rig.later(61, 4)
    assert (limit_w(rig), rig.written()) == (10_000, [])
    rig.end()


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_over_when_a_planned_cut_begins(seed: int) -> None:
    """Random work and random cuts that are known half an hour ahead: no limit is passed at any instant."""
    rig = Rig(text=ACCEPTING, completing_s=20)
    dice = random.Random(seed)
    for _ in range(3):
        planned(rig, 1_800, dice.choice((5_000, 10_000, 15_000)), 3_600)
        for second in range(0, 3_900, 30):
            if dice.random() < 0.15:
                rig.submit(
                    dice.choice(("silver", "bronze")),
                    est_w=dice.choice((3_000, 8_000)),
                    more=",zones=a",
                    time_limit_s=dice.choice((600, 7_200)),
                )
            rig.later(30)
            meter = rig.desk.ledger.meters["a"]
            assert meter.headroom_w >= 0, (second, list(rig.desk.ledger.claims.values()))
    assert rig.written()
    rig.end()
