"""A zone is lost under reservations: they move where their terms let them, else they are missed, with the cause."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction

import pytest

from slurm_power.core.derate import Derate
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms, WhenShort
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobState, RequeueHold
from slurm_power.service.reserving import Answer, offer
from tests.core.recount import differences
from tests.service.preempt_rig import Rig

HOUR = 3_600


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def reserve(
    rig: Rig, *, start_s: int = 0, watts_w: int = 8_000, any_zone: bool = True, zones: tuple[str, ...] = ("a", "b")
) -> Reservation:
    """In zone a, and b where it may be there as well."""
    now = rig.desk.now()
    window = Window(now + start_s, now + start_s + 2 * HOUR)
    terms = Terms("spring", Owner(("research",)), zones, watts_w, window, any_zone, tier="gold", policy=WhenShort.WAIT)
    state = ReservationState.APPROVED if start_s else ReservationState.ACTIVE
    one = Reservation("r1", terms, state, now, now, 1000, (Grant("a", watts_w),))
    rig.desk.reserved.put(one)
    rig.rounds.reservations.write([one])
    return one


def lose(rig: Rig, zone: str = "a", end_s: int = FOREVER) -> None:
    now = rig.desk.now()
    window = Window(now, end_s if end_s == FOREVER else now + end_s)
    one = Derate(f"lost-{zone}", zone, window, "its breaker is open", now, None, None, Fraction(100), "breaker")
    asyncio.run(rig.rounds.derating.add(one))
    rig.later(2)


def standing(rig: Rig) -> tuple[str, list[str]]:
    """The state by the database, and the zones."""
    assert rig.writer.flush(10)
    (row,) = rig.store.reservations(live_only=False)
    one = rig.desk.reserved.get("spring")
    return row.state, [grant.zone for grant in one.grants] if one is not None else []


def test_one_of_any_zone_moves(rig: Rig) -> None:
    reserve(rig)
    rig.later(2)
    lose(rig)
    rig.later(16)
    assert standing(rig) == ("active", ["b"])
    (line,) = rig.lines("rehomed")
    assert line.cause == "zone a was lost (a: its breaker is open); it has moved to b"
    job = rig.submit("gold", est_w=8_000, more=",reservation=spring")
    rig.later(2, 3)
    assert rig.state(job) is JobState.RUNNING
    assert rig.job(job).node_list.startswith("b")
    rig.crash()
    rig.rounds.reservations.load(rig.store.reservations(live_only=True))
    rig.later(2)
    assert standing(rig) == ("active", ["b"])
    assert differences(rig.desk.ledger) == []


def test_one_that_no_other_zone_has_room_for_is_missed(rig: Rig) -> None:
    rig.running("gold", est_w=15_000, more=",zones=b")
    reserve(rig)
    lose(rig)
    rig.later(16)
    assert standing(rig) == ("missed", [])
    (line,) = rig.lines("missed")
    assert line.cause == "zone a was lost (a: its breaker is open), and no other of its zones has room for it"


def test_one_that_asked_for_just_this_zone_is_missed(rig: Rig) -> None:
    reserve(rig, any_zone=False, zones=("a",))
    lose(rig)
    rig.later(16)
    assert standing(rig)[0] == "missed"


def test_one_in_use_moves_and_its_job_runs_elsewhere(rig: Rig) -> None:
    reserve(rig)
    rig.later(2)
    job = rig.submit("bronze", est_w=8_000, more=",reservation=spring")
    rig.later(2, 3)
    assert rig.job(job).node_list.startswith("a")
    lose(rig)
    for number in range(1, 5):
        rig.slurm.set_node(f"a{number}", up=False)
    rig.slurm.user_requeue(job)  # the nodes are dark, and Slurm requeues what ran there
    rig.later(2, 3)
    rig.later(130, 3)
    assert standing(rig) == ("active", ["b"])
    assert rig.state(job) is JobState.RUNNING
    assert rig.job(job).node_list.startswith("b")
    assert differences(rig.desk.ledger) == []


def test_one_far_ahead_waits_for_its_zone(rig: Rig) -> None:
    reserve(rig, start_s=5 * HOUR)
    lose(rig)
    rig.later(16)
    assert standing(rig) == ("approved", ["a"])
    rig.later(4 * HOUR + 10)
    assert standing(rig) == ("approved", ["b"])


def test_one_whose_zone_is_back_in_time_stays(rig: Rig) -> None:
    reserve(rig, start_s=HOUR // 2)
    lose(rig, end_s=HOUR // 4)
    rig.later(2)
    assert standing(rig) == ("approved", ["a"])
    rig.later(HOUR // 4)
    rig.later(40, 5)
    rig.later(HOUR // 4)
    assert standing(rig) == ("active", ["a"])


def test_a_lost_feed_under_n_of_both_its_sides() -> None:
    rig = Rig(text="""\
timezone: UTC
defaults: {margin: 0%, max_factor: 1, redundancy: 2N}
feeds: {a1: {side: A, limit: 20kW}, b1: {side: B, limit: 20kW}, a2: {side: A, limit: 20kW}, b2: {side: B, limit: 20kW}}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [a1, b1]}
  b: {nodes: "b[1-4]", limit: 20kW, feeds: [a2, b2]}
""")
    reserve(rig)
    rig.later(2)
    lose(rig, "a1")
    rig.later(16)
    assert standing(rig) == ("active", ["a"])
    lose(rig, "b1")
    rig.later(16)
    assert standing(rig) == ("active", ["b"])
    rig.end()


def test_whoever_is_back_at_once_has_lost_nothing(rig: Rig) -> None:
    reserve(rig, any_zone=False, zones=("a",))
    lose(rig, end_s=5)
    rig.later(10, 4)
    assert standing(rig) == ("active", ["a"])


def test_jobs_of_one_that_has_moved_give_way_in_its_old_zone(rig: Rig) -> None:
    reserve(rig)
    rig.later(2)
    job = rig.submit("bronze", est_w=8_000, more=",reservation=spring")
    rig.later(2, 3)
    assert rig.job(job).node_list.startswith("a")
    lose(rig)
    rig.later(16)
    rig.later(2, 3)
    assert standing(rig) == ("active", ["b"])
    assert rig.written(RequeueHold) == [str(job)]
    rig.later(130, 3)
    assert rig.job(job).node_list.startswith("b")


def test_a_request_for_later_while_all_is_dark(rig: Rig) -> None:
    """It is not for ever: what could ever fit is asked of the floor as it is declared."""
    lose(rig, "a")
    lose(rig, "b")
    now = rig.desk.now()
    window = Window(now + HOUR, now + 2 * HOUR)
    terms = Terms("later", Owner(("research",)), ("a", "b"), 2_000, window, True, tier="gold")
    assert offer(rig.desk, terms).answer is Answer.LATER
