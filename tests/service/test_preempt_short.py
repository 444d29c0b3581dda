"""Reservations that begin short, and what users are told of preemption."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.core.errors import UsageError
from slurm_power.core.giving_way import Stage, read_stored, stored
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms, WhenShort
from slurm_power.core.window import Window
from slurm_power.daemon.checkpoints import Checkpoints
from slurm_power.ports import JobState, QosRecord, Viewer
from slurm_power.service import views
from tests.service.preempt_rig import QOS, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def reserve(rig: Rig, policy: WhenShort, tier: str = "gold") -> None:
    """15 kW in zone a, from now on, whatever runs there."""
    now = rig.clock.instant
    owner = Owner(accounts=("ops",))
    terms = Terms("spring", owner, ("a",), 15_000, Window(now - 10, now + 36_000), tier=tier, policy=policy)
    rig.desk.reserved.put(
        Reservation("k3", terms, ReservationState.ACTIVE, now, now, 0, grants=(Grant("a", 15_000),))
    )


def test_a_reservation_that_is_short_has_others_give_way(rig: Rig) -> None:
    small, large = (rig.running("bronze", est_w=watts, more=",zones=a") for watts in (4_000, 11_000))
    elsewhere = rig.running("bronze", est_w=12_000, more=",zones=b")
    reserve(rig, WhenShort.PREEMPT)
    rig.later(2)
    assert rig.written() == [str(large)]
    rig.later(2, 2)
    assert rig.live == []
    assert rig.desk.ledger.meters["a"].headroom_w >= 0
    assert {rig.state(job) for job in (small, elsewhere)} == {JobState.RUNNING}
    (line,) = rig.lines("preempting")
    assert (line.reservation, line.account, line.job) == ("spring", "ops", "")


def test_those_with_notice_have_it_for_a_reservation_too(rig: Rig) -> None:
    silver = rig.running("silver", est_w=11_000, more=",zones=a")
    reserve(rig, WhenShort.PREEMPT)
    rig.later(2)
    assert (rig.stages, rig.signalled()) == ([Stage.NOTICE], [str(silver)])
    rig.later(600)
    assert rig.written() == []
    rig.later(1)
    assert rig.written() == [str(silver)]
    rig.later(1)
    assert rig.live == []


def test_a_reservation_that_is_cancelled_meanwhile(rig: Rig) -> None:
    silver = rig.running("silver", est_w=11_000, more=",zones=a")
    reserve(rig, WhenShort.PREEMPT)
    rig.later(2)
    one = rig.desk.reserved.get("spring")
    assert one is not None
    rig.desk.reserved.put(replace(one, state=ReservationState.CANCELLED))
    rig.later(700, 2)
    assert (rig.live, rig.state(silver)) == ([], JobState.RUNNING)
    (line,) = rig.lines("preemption-called_off")
    assert line.cause == "the reservation is over"


@pytest.mark.parametrize(("policy", "tier"), [(WhenShort.WAIT, "gold"), (WhenShort.PREEMPT, "bronze")])
def test_one_that_waits_or_may_not_preempt_anybody(rig: Rig, policy: WhenShort, tier: str) -> None:
    rig.running("bronze", est_w=15_000, more=",zones=a")
    reserve(rig, policy, tier)
    rig.later(2, 3)
    assert (rig.live, rig.written()) == ([], [])


def test_a_job_within_a_reservation_is_no_candidate(rig: Rig) -> None:
    now = rig.clock.instant
    terms = Terms("own", Owner(users=("alice",)), ("a",), 15_000, Window(now - 10, now + 36_000), tier="gold")
    rig.desk.reserved.put(
        Reservation("k4", terms, ReservationState.ACTIVE, now, now, 0, grants=(Grant("a", 15_000),))
    )
    inside = rig.running("bronze", est_w=15_000, more=",reservation=own")
    assert rig.job(inside).node_list.startswith("a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    rig.submit("gold", est_w=18_000)
    rig.later(2, 3)
    assert rig.written() == []


# -- what is told ----------------------------------------------------------------------------------------------------


def explained(rig: Rig, job_id: int) -> str:
    found = views.explain(rig.desk, str(job_id))
    assert found is not None
    return str(found["preemption"])


def test_explain(rig: Rig) -> None:
    silver = rig.running("silver", est_w=20_000, more=",zones=a")
    other = rig.running("gold", est_w=20_000, more=",zones=b")
    bronze, gold = rig.submit("bronze"), rig.submit("gold", est_w=12_000)
    rig.later(2)
    at = "2027-01-15T08:10:15Z"
    assert explained(rig, silver) == (
        f"it gives way by sacctmgr's Preempt of the QOS: a job of tier gold needs its watts; it is requeued at {at}"
    )
    assert explained(rig, gold) == f"it is about to preempt 1 job with 20kW, which leaves at {at}"
    assert explained(rig, bronze) == "it preempts nobody: QOS bronze may preempt no other"
    assert explained(rig, other) == ""


def test_lines_name_nobody_elses_job(rig: Rig) -> None:
    victim = rig.running("bronze", est_w=20_000, more=",zones=a", uid=1001, user="bob")
    rig.running("gold", est_w=20_000, more=",zones=b")
    gold = rig.submit("gold", est_w=12_000, uid=1002, user="carol")
    rig.later(2, 4)
    lines = rig.lines()
    for uid, name, others in ((1001, "bob", gold), (1002, "carol", victim)):
        seen = [line for line in lines if Viewer(uid, private=True).may_see(line)]
        assert [line for line in seen if line.action.startswith("preempt")], name
        told = [f"{line.cause} {line.rule} {line.reasons}" for line in seen]
        assert not [text for text in told if f" {others} " in f" {text} "], told
    (who,) = rig.lines("preemption")
    assert who.cause == f"{victim} (bronze) give way to {gold}"
    viewers = (Viewer(1001), Viewer(1002), Viewer(1001, ("research",), True))
    assert not any(viewer.may_see(who) for viewer in viewers)


def test_the_story(rig: Rig) -> None:
    rig.running("silver", est_w=20_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    rig.submit("gold", est_w=12_000)
    rig.later(2)
    rig.later(602)
    rig.later(1, 3)
    actions = [line.action for line in rig.lines() if line.action.startswith("preempt")]
    assert actions == ["preempting", "preemption", "preempt-notice", "preempt", "preempted", "preemption-done"]
    (line,) = rig.lines("preempt")
    assert line.numbers == {"est_w": 20_000, "notice_s": 600, "lost_s": 10}


# -- checkpoints -----------------------------------------------------------------------------------------------------


def tell(rig: Rig, uid: int, job: object) -> dict[str, Any]:
    verb = Checkpoints(rig.desk, rig.writer, frozenset({0}))
    return asyncio.run(verb.note(Peer(uid, 1, 1), {"job": job}))


def test_a_checkpoint_is_told_by_its_owner_and_outlives_a_restart(rig: Rig) -> None:
    mine = rig.running("bronze", est_w=4_000)
    rig.later(100)
    told = tell(rig, 1000, str(mine))
    assert told == {"schema": 1, "job": str(mine), "at": "2027-01-15T08:01:46Z"}
    (line,) = rig.lines("checkpointed")
    assert (line.actor, line.numbers) == (1000, {"kept_s": 102})
    rig.later(10)
    assert tell(rig, 0, str(mine))["at"] == told["at"]
    assert len(rig.lines("checkpointed")) == 1
    rig.crash()
    rig.later(2)
    assert rig.desk.preempting.checkpoints == {str(mine): rig.clock.instant - 12}


@pytest.mark.parametrize(("uid", "job"), [(1001, "1"), (1000, "4711"), (1000, ""), (1000, "2")])
def test_who_may_not(rig: Rig, uid: int, job: str) -> None:
    rig.running("bronze", est_w=20_000, more=",zones=a")
    rig.submit("bronze", est_w=20_000, more=",zones=a")
    rig.later(2)
    with pytest.raises(UsageError):
        tell(rig, uid, job)


def test_what_is_stored_reads_back(rig: Rig) -> None:
    rig.running("silver", est_w=20_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    rig.submit("gold", est_w=12_000)
    rig.later(2)
    (one,) = rig.live
    (intent,) = rig.store.pending_intents()
    assert read_stored(intent.detail) == one == read_stored(stored(one))


def test_nonsense_in_the_database_is_given_up(rig: Rig) -> None:
    rig.running("silver", est_w=20_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    rig.submit("gold", est_w=12_000)
    rig.later(2)
    (intent,) = rig.store.pending_intents()
    assert intent.id is not None
    rig.store.close_intents([intent.id], "")
    rig.store.open_intents([replace(intent, detail={**intent.detail, "stage": "nowhere"})])
    rig.crash()
    assert rig.live == []
    assert list(rig.store.pending_intents()) == []


def test_an_unknown_qos_preempts_nobody() -> None:
    rig = Rig((*QOS, QosRecord("other")))
    rig.running("bronze", est_w=20_000, more=",zones=a")
    waits = rig.submit("other", est_w=20_000, more=",zones=a")
    rig.later(2)
    assert explained(rig, waits) == "it preempts nobody: QOS other may preempt no other"
    rig.end()
