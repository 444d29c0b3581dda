"""Planned cuts that overlap, deepen, meet reservations, reloads and crashes: nothing is over, nobody is told twice."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from slurm_power.core.derate import Derate
from slurm_power.core.errors import StoreError
from slurm_power.core.giving_way import LEAVE_S
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.steps import finish
from slurm_power.core.window import Window
from slurm_power.daemon.preemptions import Preemptions
from slurm_power.daemon.writing import Hand
from slurm_power.ports import Intent, JobState, QosRecord
from slurm_power.service.hit import hit_rows
from slurm_power.service.later import foresee
from tests.service.preempt_rig import QOS, SITE, Rig
from tests.service.test_dark_feeds import fail, site
from tests.service.test_derates import change, derate, limit_w
from tests.service.test_planned_cuts import ACCEPTING

ALL_ACCEPT = ACCEPTING.replace("silver, notice: 10m", "silver, notice: 10m, planned_cuts: accept")


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def over_s(rig: Rig, seconds: int, *zones: str) -> int:
    """For how long of that time any of these zones held too much, by a look every ten seconds."""
    over = 0
    for _ in range(seconds // 10):
        rig.later(10)
        over += 10 * any(rig.desk.ledger.meters[zone].headroom_w < 0 for zone in zones or "a")
    return over


def reserve(rig: Rig, watts: int, start: int, end: int = 9_000) -> None:
    """For others, in zone a."""
    now = rig.desk.now()
    terms = Terms("spring", Owner(("physics",)), ("a",), watts, Window(now + start, now + end), tier="gold")
    rig.desk.reserved.put(Reservation("r", terms, ReservationState.APPROVED, now, now, 0, (Grant("a", watts),)))


def test_a_staircase_takes_each_at_his_step(rig: Rig) -> None:
    """12 kW from 900 on, 5 kW from 1200 on: bronze goes for the first, silver, on notice then, for the second."""
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    bronze = rig.running("bronze", est_w=4_000, more=",zones=a")
    change(rig, derate(rig, 12_000, start=900, end=1_200), derate(rig, 5_000, start=1_200, end=7_200))
    assert over_s(rig, 1_500) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(bronze), str(silver)])


def test_a_step_that_leaves_him_alone_calls_nothing_off(rig: Rig) -> None:
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    change(rig, derate(rig, 12_000, start=900, end=1_200), derate(rig, 5_000, start=1_200, end=7_200))
    assert over_s(rig, 1_500) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


def test_another_cut_of_one_of_two_zones_calls_nothing_off(rig: Rig) -> None:
    first, second = (rig.running("silver", est_w=9_000, more=f",zones={zone}") for zone in "ab")
    change(rig, *(derate(rig, 5_000, element=zone, start=1_200, end=7_200) for zone in "ab"))
    rig.later(10, 55)
    assert rig.signalled() == [str(first), str(second)]
    now = rig.desk.now()
    shallow = Derate("d3", "a", Window(now + 600, now + 630), "test", now, 0, 15_000)
    asyncio.run(rig.rounds.derating.add(shallow))
    assert over_s(rig, 1_000, "a", "b") == 0
    assert (rig.signalled(), rig.written()) == ([str(first), str(second)],) * 2


def test_a_crash_while_a_shallower_cut_holds(rig: Rig) -> None:
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    change(rig, derate(rig, 12_000, start=0, end=900), derate(rig, 5_000, start=900, end=7_200))
    rig.later(10, 30)
    assert rig.signalled() == [str(silver)]
    rig.crash()
    assert over_s(rig, 1_000) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


def test_a_deeper_one_is_seen_while_others_leave_for_the_present_one(rig: Rig) -> None:
    rig.running("gold", est_w=4_000, more=",zones=a")
    larger, smaller = (rig.running("silver", est_w=watts, more=",zones=a") for watts in (9_000, 5_000))
    now_cut = derate(rig, 15_000, start=0, end=7_200)
    change(rig, now_cut)
    rig.later(10, 2)
    change(rig, now_cut, derate(rig, 5_000, start=720, end=7_200))
    rig.later(10, 71)
    assert over_s(rig, 600) == 0
    assert sorted(rig.written()) == sorted(rig.signalled()) == sorted([str(larger), str(smaller)])


def test_a_reservation_that_begins_before_a_cut_counts_under_it(rig: Rig) -> None:
    """10 kW of silver and 6 kW that are reserved from a minute before on: 12 kW carry them no more."""
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    reserve(rig, 6_000, 1_740)
    change(rig, derate(rig, 12_000, start=1_800, end=7_200))
    assert over_s(rig, 2_400) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


def test_a_reservation_that_begins_while_a_limit_is_cut_has_its_watts(rig: Rig) -> None:
    """It was promised before the cut: 20 kW, less 8, carry it and 4 kW beside it."""
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    reserve(rig, 6_000, 2_400)
    change(rig, derate(rig, 12_000, start=600, end=7_200))
    assert over_s(rig, 600 + 1_800 - LEAVE_S - 620) == 0
    assert (limit_w(rig), rig.signalled()) == (12_000, [])
    assert over_s(rig, 1_400) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


@pytest.mark.parametrize(
    ("text", "qos", "begins", "state"),
    [
        (SITE, "bronze", 3_600, JobState.PENDING),
        (ACCEPTING, "bronze", 3_600, JobState.PENDING),  # the cut itself would not end it
        (ACCEPTING, "bronze", 1_800, JobState.RUNNING),
        (ALL_ACCEPT, "silver", 1_800, JobState.RUNNING),
    ],
)
def test_who_accepts_a_cut_and_a_reservation_in_it(text: str, qos: str, begins: int, state: JobState) -> None:
    rig = Rig(text=text)
    reserve(rig, 6_000, begins)
    change(rig, derate(rig, 12_000, start=1_800, end=7_200))
    job = rig.submit(qos, est_w=10_000, more=",zones=a")
    rig.later(2, 3)
    assert rig.state(job) is state
    assert over_s(rig, 4_500) == 0
    assert rig.written() == ([str(job)] if state is JobState.RUNNING else [])
    rig.end()


def test_who_accepts_it_and_has_notice_is_started_only_where_that_is_time_enough() -> None:
    rig = Rig(text=ALL_ACCEPT.replace("notice: 10m", "notice: 30m"))
    change(rig, derate(rig, 10_000, start=900, end=7_200))
    job = rig.submit("silver", est_w=15_000, more=",zones=a")
    rig.later(2, 3)
    assert rig.state(job) is JobState.PENDING
    rig.end()


@pytest.mark.parametrize("runs_first", [True, False])
def test_nobody_counts_on_him_who_has_not_the_time_to_leave(runs_first: bool) -> None:
    """Silver accepts cuts, and has ten minutes of notice; one begins in five. He fits under it, and not beside gold."""
    qos = (QosRecord("gold"), *QOS[1:])
    rig = Rig(text=ALL_ACCEPT, qos=qos)
    silver = rig.running("silver", est_w=9_000, more=",zones=a") if runs_first else 0
    change(rig, derate(rig, 10_000, start=300, end=7_200))
    silver = silver or rig.running("silver", est_w=9_000, more=",zones=a")
    gold = rig.submit("gold", est_w=5_000, more=",zones=a")
    rig.later(2, 3)
    assert rig.state(gold) is JobState.PENDING
    assert over_s(rig, 900) == 0
    assert (rig.state(silver), rig.written()) == (JobState.RUNNING, [])
    rig.end()


def test_a_round_in_which_the_cut_begins_calls_nobody_off(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was ordered 300 s ahead, and silver has 600 s of notice; writing to Slurm takes over its first second."""
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    change(rig, derate(rig, 5_000, start=300, end=14_000))
    rig.later(10, 29)
    rig.later(9)
    carry_out = Hand.carry_out

    async def slow(self: Hand, *args: object) -> None:
        await carry_out(self, *args)  # type: ignore[arg-type]
        rig.clock.instant += 3

    monkeypatch.setattr(Hand, "carry_out", slow)
    rig.round()
    monkeypatch.setattr(Hand, "carry_out", carry_out)
    rig.later(10, 40)
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


def test_a_shallower_cut_after_a_gap_is_seen_while_the_first_holds(rig: Rig) -> None:
    silver = rig.running("silver", est_w=9_000, more=",zones=a")
    reserve(rig, 8_000, 1_300)
    change(rig, derate(rig, 10_000, start=0, end=1_200), derate(rig, 12_000, start=1_500, end=7_200))
    assert over_s(rig, 2_000) == 0
    assert (rig.signalled(), rig.written()) == ([str(silver)], [str(silver)])


def test_a_derate_of_the_feed_that_is_left_is_planned_with_what_it_carries_then() -> None:
    """Under N each carries half of 12 kW now, and all of it from 1000 on: from 1500 on that is more than 10."""
    rig = Rig(text=site("N"))
    now = rig.desk.now()
    fail(rig, "pdu-a", 1_000, 3_000)
    asyncio.run(rig.rounds.derating.add(Derate("p", "pdu-b", Window(now + 1_500, now + 2_500), "x", now, 0, 10_000)))
    first = rig.submit("silver", est_w=9_000, more=",zones=a")
    second = rig.submit("silver", est_w=3_000, more=",zones=b")
    rig.later(2, 4)
    assert [rig.state(job) for job in (first, second)] == [JobState.RUNNING, JobState.PENDING]
    assert over_s(rig, 2_400, "pdu-b") == 0
    rig.end()


def test_who_is_struck_while_the_database_fails_is_told_of_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    bronze = rig.running("bronze", est_w=9_000, more=",zones=a")
    opens = rig.store.open_intents

    def full(intents: Sequence[Intent]) -> Sequence[Intent]:
        if any(one.detail["stage"] == "striking" for one in intents):
            raise StoreError("disk full")
        return opens(intents)

    monkeypatch.setattr(rig.store, "open_intents", full)
    change(rig, derate(rig, 5_000, start=0, end=9_000))
    rig.later(2, 15)
    assert rig.written() == []
    monkeypatch.setattr(rig.store, "open_intents", opens)
    rig.later(2, 5)
    assert (len(rig.lines("preempt")), rig.written()) == (1, [str(bronze)])
    assert rig.desk.preempting.given(rig.desk.now()) == {"bronze": 1}


def test_a_reload_that_wants_jobs_to_run_on_calls_it_off() -> None:
    rig = Rig(text=SITE + "preemption: {after_cut: preempt}\n")
    silver = rig.running("silver", est_w=15_000, more=",zones=a")
    change(rig, derate(rig, 10_000, start=700, end=7_200))
    rig.later(10, 6)
    assert rig.signalled() == [str(silver)]
    rig.reload("after_cut: preempt", "after_cut: wait")
    rig.later(10, 80)
    assert (rig.written(), rig.live, rig.state(silver)) == ([], [], JobState.RUNNING)
    rig.end()


def test_who_need_not_go_any_more_after_a_crash_stays(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    gold = rig.running("gold", est_w=9_000, more=",zones=a")
    bronze = rig.running("bronze", est_w=6_000, more=",zones=a")
    change(rig, derate(rig, 10_000, start=300, end=7_200))
    rig.later(10, 22)
    saved = Preemptions._save

    async def crash(self: Preemptions, *args: object) -> None:
        await saved(self, *args)  # type: ignore[arg-type]
        raise SystemExit

    monkeypatch.setattr(Preemptions, "_save", crash)
    with pytest.raises(SystemExit):
        rig.later(20)
    monkeypatch.setattr(Preemptions, "_save", saved)
    rig.crash()
    assert [one.cut_at is not None for one in rig.live] == [True]
    rig.slurm.finish(gold)
    rig.later(5, 3)
    assert (rig.written(), rig.live, rig.state(bronze)) == ([], [], JobState.RUNNING)


@pytest.mark.parametrize("start", [3_600, 0])
def test_a_dry_run_beside_another_derate_names_the_reservation(rig: Rig, start: int) -> None:
    reserve(rig, 9_000, 3_600, 7_200)
    change(rig, derate(rig, 15_000, start=start, end=7_300 if start else 1_000))
    rig.later(1)
    rows = finish(hit_rows(rig.desk, derate(rig, 5_000, start=3_000)))["reservations"]
    assert isinstance(rows, list)
    assert [(row["name"], row["short_w"]) for row in rows] == [("spring", 4_000)]


def test_a_dry_run_after_the_end_of_another_derate_names_nobody(rig: Rig) -> None:
    rig.running("bronze", est_w=9_000, more=",zones=a")
    change(rig, derate(rig, 10_000, start=0, end=1_000))
    rig.later(1)
    assert finish(hit_rows(rig.desk, derate(rig, 15_000, start=2_000)))["jobs"] == []


@pytest.mark.parametrize("redundancy", ["2N", "N"])
def test_what_is_asked_of_a_time_at_which_a_feed_is_dark_is_what_comes(redundancy: str) -> None:
    rig = Rig(text=site(redundancy))
    fail(rig, "pdu-a", 3_600, 7_200)
    job = rig.submit("bronze", est_w=4_000, more=",zones=a")
    rig.later(2, 2)
    entry = rig.desk.book.of_job(job)
    assert entry is not None
    assert entry.ask is not None
    foreseen = foresee(rig.desk, entry.ask, rig.desk.now() + 4_000).verdict()
    assert type(foreseen).__name__ == "Admit"
    rig.later(4_000)
    late = rig.submit("bronze", est_w=4_000, more=",zones=a")
    rig.later(2, 3)
    assert (set(rig.desk.dark), rig.state(late)) == ({"pdu-a"}, JobState.RUNNING)
    rig.end()
