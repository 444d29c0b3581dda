"""Preemption through the daemon's loop: who gives way, when, how, and that they come back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.giving_way import Stage
from slurm_power.core.policy import Mode
from slurm_power.ports import Cancel, JobState, QosRecord
from slurm_power.service import views
from tests.service.preempt_rig import LATER, QOS, SITE, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def explained(rig: Rig, job_id: int) -> dict[str, Any]:
    found = views.explain(rig.desk, str(job_id))
    assert found is not None
    return found


def full(rig: Rig, *tiers: str, est_w: int = 20_000) -> list[int]:
    """A job of each of these tiers that fills a zone."""
    return [rig.running(qos, est_w=est_w, more=f",zones={zone}") for qos, zone in zip(tiers, "ab", strict=False)]


def test_bronze_gives_way_at_once_and_comes_back(rig: Rig) -> None:
    bronze, silver = full(rig, "bronze", "silver")
    gold = rig.submit("gold", est_w=12_000)
    rig.later(2)
    assert rig.written() == [str(bronze)]
    rig.later(1, 3)
    assert rig.state(gold) is JobState.RUNNING
    assert rig.job(gold).node_list.startswith("a")
    assert rig.state(silver) is JobState.RUNNING
    back = rig.job(bronze)
    assert (back.state, back.priority, back.restarts) == (JobState.PENDING, 0, 1)
    assert rig.live == []
    rig.slurm.finish(gold)
    rig.later(2, 2)
    rig.later(LATER, 2)
    assert rig.state(bronze) is JobState.RUNNING
    assert rig.written() == [str(bronze)]


def test_silver_is_warned_and_has_its_notice_to_the_second(rig: Rig) -> None:
    silver, other = full(rig, "silver", "gold")
    gold = rig.submit("gold", est_w=12_000)
    rig.later(2)
    told_at = rig.clock.instant
    assert rig.signalled() == [str(silver)]
    assert rig.stages == [Stage.NOTICE]
    rig.later(300)
    rig.later(300)
    assert rig.clock.instant == told_at + 600
    assert rig.written() == []
    rig.later(1)
    assert rig.written() == [str(silver)]
    rig.later(1, 3)
    assert (rig.state(gold), rig.state(other)) == (JobState.RUNNING, JobState.RUNNING)
    assert rig.signalled() == [str(silver)]


def test_gold_never_gives_way(rig: Rig) -> None:
    full(rig, "gold", "gold")
    waits = rig.submit("gold")
    rig.later(2, 3)
    assert (rig.live, rig.written()) == ([], [])
    assert "no jobs that it may preempt" in rig.desk.preempting.why_not[rig.desk.book.by_job[waits]]


def test_who_may_preempt_whom_is_sacctmgrs_word() -> None:
    rig = Rig((QosRecord("gold"), *QOS[1:]))
    full(rig, "bronze", "bronze")
    gold, silver = rig.submit("gold", est_w=20_000), rig.submit("silver", time_limit_s=600)
    rig.later(2, 6)
    assert rig.state(gold) is JobState.PENDING
    assert rig.state(silver) is JobState.RUNNING
    assert rig.desk.preempting.why_not[rig.desk.book.by_job[gold]] == "QOS gold may preempt no other"
    rig.end()


def test_what_runs_as_bronze_waits_for_what_preempts(rig: Rig) -> None:
    """What comes free is kept for whom it is freed: a bronze job that waits too does not get it."""
    first, _ = full(rig, "bronze", "gold")
    waits = rig.submit("bronze", est_w=20_000)
    rig.later(2, 2)
    gold = rig.submit("gold", est_w=20_000)
    rig.slurm.completing_s = 10
    rig.later(2, 10)
    assert rig.state(gold) is JobState.RUNNING
    assert {rig.state(waits), rig.state(first)} == {JobState.PENDING}


def test_the_watts_of_a_victim_that_completes_are_not_given_on(rig: Rig) -> None:
    bronze, _ = full(rig, "bronze", "gold")
    rig.slurm.completing_s = 30
    gold = rig.submit("gold", est_w=20_000)
    rig.later(2, 3)
    assert rig.state(bronze) is JobState.COMPLETING
    assert rig.stages == [Stage.STRIKING]
    assert rig.state(gold) is JobState.PENDING
    rig.later(10, 4)
    assert rig.state(gold) is JobState.RUNNING


def test_slurms_own_count_has_to_agree(rig: Rig) -> None:
    full(rig, "bronze", "gold")
    used = rig.slurm.used
    rig.slurm.used = lambda: {**used(), "pw_a": 20_000}  # type: ignore[method-assign]
    gold, waits = rig.submit("gold", est_w=20_000), rig.submit("bronze", est_w=1_000, more=",zones=a")
    rig.later(2, 6)
    assert (rig.stages, rig.state(gold)) == ([Stage.STRIKING], JobState.PENDING)
    (reason,) = explained(rig, waits)["reasons"]
    assert reason["text"] == f"zone a is kept for a job that waits longer: {gold}"
    rig.slurm.used = used  # type: ignore[method-assign]
    rig.later(2, 3)
    assert rig.state(gold) is JobState.RUNNING


@pytest.mark.parametrize("stage", ["gone", "placed", "held", "mode"])
def test_it_is_called_off_while_nobody_is_touched(rig: Rig, stage: str) -> None:
    silver, other = full(rig, "silver", "gold")
    gold = rig.submit("gold", est_w=12_000)
    rig.later(2)
    assert rig.stages == [Stage.NOTICE]
    if stage == "gone":
        rig.slurm.cancel(gold)
    elif stage == "placed":
        rig.slurm.finish(other)
    elif stage == "mode":
        rig.desk.mode = Mode.OBSERVE
    else:
        entry = rig.desk.book.of_job(gold)
        assert entry is not None
        entry.hold, entry.stale = None, True
        rig.slurm.user_hold(str(gold))
        rig.slurm.user_update(str(gold), AdminComment="")
    rig.later(2, 2)
    assert rig.live == []
    rig.later(400, 2)
    assert rig.written() == []
    assert rig.state(silver) is JobState.RUNNING
    assert [line.action for line in rig.lines("preemption-called_off", "preempt-off")] == [
        "preemption-called_off", "preempt-off",
    ]  # fmt: skip


def test_a_victim_that_ends_by_itself_is_enough(rig: Rig) -> None:
    silver, _ = full(rig, "silver", "gold")
    gold = rig.submit("gold", est_w=12_000)
    rig.later(2)
    rig.slurm.finish(silver)
    rig.later(2, 3)
    assert (rig.live, rig.state(gold)) == ([], JobState.RUNNING)


def test_who_is_no_longer_needed_at_the_end_of_the_notice_stays(rig: Rig) -> None:
    """Two silver jobs have notice; meanwhile one that nobody had reckoned with ends, and one of them is enough."""
    small, large = (rig.running("silver", est_w=watts, more=",zones=a") for watts in (4_000, 10_000))
    gold_too = rig.running("gold", est_w=6_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    gold = rig.submit("gold", est_w=12_000)
    rig.later(2)
    assert [victim.job for victim in rig.live[0].victims] == [str(small), str(large)]
    rig.slurm.finish(gold_too)
    rig.later(599)
    rig.later(2)
    assert rig.written() == [str(large)]
    rig.later(1, 3)
    assert (rig.state(gold), rig.state(small)) == (JobState.RUNNING, JobState.RUNNING)
    assert [line.job for line in rig.lines("preempt-off")] == [str(small)]


@pytest.mark.parametrize(
    ("fields", "mode", "command"),
    [
        ({"batch": False}, "requeue", None),
        ({"requeue": False}, "requeue", None),
        ({"batch": False}, "cancel", Cancel),
        ({}, "cancel", Cancel),
        ({}, "suspend", None),
        ({}, "gang,suspend", None),
    ],
)
def test_how_a_victim_goes(fields: dict[str, bool], mode: str, command: type[Cancel] | None) -> None:
    rig = Rig((*QOS[:2], replace(QOS[2], preempt_mode=mode)))
    bronze = rig.running("bronze", est_w=20_000, more=",zones=a", **fields)
    rig.submit("gold", est_w=20_000, more=",zones=a")
    rig.later(2, 3)
    assert rig.written() == []
    assert rig.written(Cancel) == ([str(bronze)] if command else [])
    assert (rig.state(bronze) is JobState.RUNNING) == (command is None)
    rig.end()


def test_who_has_only_just_started_is_spared() -> None:
    rig = Rig((*QOS[:2], replace(QOS[2], exempt_s=300)))
    bronze, _ = full(rig, "bronze", "gold")
    rig.submit("gold", est_w=20_000)
    rig.later(100, 2)
    assert rig.written() == []
    rig.later(100)
    assert rig.written() == [str(bronze)]
    rig.end()


def test_a_job_that_was_preempted_runs_for_a_while_before_it_is_again(rig: Rig) -> None:
    bronze, _ = full(rig, "bronze", "gold")
    gold = rig.submit("gold", est_w=20_000)
    rig.later(2, 4)
    rig.slurm.finish(gold)
    rig.later(2)
    rig.later(LATER, 2)
    assert rig.state(bronze) is JobState.RUNNING
    again = rig.submit("gold", est_w=20_000)
    rig.later(100, 3)
    assert rig.written() == [str(bronze)]
    rig.later(200, 2)
    rig.later(2, 3)
    assert rig.written() == [str(bronze)] * 2
    assert rig.state(again) is JobState.RUNNING


def test_as_many_of_a_tier_as_may_within_an_hour() -> None:
    rig = Rig(text=SITE + "preemption: {per_hour: 1}\n")
    full(rig, "bronze", "bronze")
    rig.submit("gold", est_w=20_000)
    second = rig.submit("gold", est_w=20_000)
    rig.later(2, 20)
    assert len(rig.written()) == 1
    waits = next(job for job in (second, second - 1) if rig.state(job) is JobState.PENDING)
    assert "as many jobs of tier bronze" in rig.desk.preempting.why_not[rig.desk.book.by_job[waits]]
    rig.crash()
    rig.later(2, 10)
    assert len(rig.written()) == 1
    rig.later(1_200, 3)
    rig.later(2, 3)
    assert len(rig.written()) == 2
    rig.end()


def test_two_at_once_take_no_more_than_each_needs(rig: Rig) -> None:
    victims = [rig.running("bronze", est_w=10_000, more=",zones=a") for _ in range(2)]
    rig.running("gold", est_w=20_000, more=",zones=b")
    golds = [rig.submit("gold", est_w=10_000) for _ in range(2)]
    rig.later(2, 8)
    assert sorted(rig.written()) == sorted(map(str, victims))
    assert {rig.state(job) for job in golds} == {JobState.RUNNING}


def test_the_same_history_has_the_same_victims() -> None:
    def history() -> list[str]:
        rig = Rig()
        for number in range(8):
            rig.running(("bronze", "silver")[number % 2], est_w=5_000)
        for _ in range(3):
            rig.submit("gold", est_w=7_000)
            rig.later(3)
        rig.later(2, 10)
        rig.later(700, 2)
        rig.end()
        return [f"{line.at} {line.action} {line.job}" for line in rig.lines()]

    first = history()
    assert any(" preempt " in line for line in first)
    assert first == history()


def test_least_work_lost_since_the_last_checkpoint(rig: Rig) -> None:
    """Two of the same size: the older one has written a checkpoint, by its word or by its interval."""
    for more, tells in ((",ckpt=15m", False), ("", True)):
        older = rig.running("bronze", est_w=10_000, more=f",zones=a{more}")
        rig.later(200, 3)
        newer = rig.running("bronze", est_w=10_000, more=",zones=a")
        filler = rig.running("gold", est_w=20_000, more=",zones=b")
        rig.later(100, 3)
        if tells:
            entry = rig.desk.book.of_job(older)
            assert entry is not None
            rig.desk.preempting.checkpoints[entry.name] = rig.clock.instant
        rig.later(250)
        gold = rig.submit("gold", est_w=10_000)
        rig.later(2, 4)
        assert rig.written()[-1] == str(older), more
        for job in (gold, newer, filler, older):
            rig.slurm.cancel(job)
        rig.later(2, 2)
