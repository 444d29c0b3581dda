"""Derates and who gives way for them; that they hold over reloads, crashes and in their time."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction

import pytest

from slurm_power.core.derate import Derate
from slurm_power.core.policy import Mode
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.steps import finish, into
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobState
from slurm_power.service.hit import hit_rows
from tests.core.recount import differences
from tests.service.preempt_rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def derate(
    rig: Rig,
    limit_w: int | None = None,
    *,
    element: str = "a",
    percent: int | None = None,
    start: int = 0,
    end: int = FOREVER,
) -> Derate:
    """Of zone a, which carries 20 kW; from so many seconds on, to so many."""
    now = rig.desk.now()
    part = Fraction(percent) if percent is not None else None
    until = end if end == FOREVER else now + end
    return Derate(f"d{limit_w}", element, Window(now + start, until), "hot", now, 0, limit_w, part)


def change(rig: Rig, *derates: Derate) -> None:
    """These alone, from now on; asked for at once."""

    async def ask() -> None:
        for element in {one.element for one in rig.desk.derates}:
            await derating.clear(element, 0)
        await asyncio.gather(*(derating.add(one) for one in derates))

    derating = rig.rounds.derating
    asyncio.run(ask())
    assert set(rig.desk.derates) == set(derates)


def limit_w(rig: Rig) -> int:
    return rig.desk.ledger.meters["a"].limit_w


def test_bronze_goes_and_comes_back_when_it_ends(rig: Rig) -> None:
    """A quarter is taken away; bronze covers it, and neither gold nor silver is touched."""
    gold, silver, bronze = (
        rig.running(qos, est_w=watts, more=",zones=a")
        for qos, watts in (("gold", 8_000), ("silver", 6_000), ("bronze", 6_000))
    )
    change(rig, derate(rig, percent=25, end=600))
    rig.later(2)
    assert rig.written() == [str(bronze)]
    rig.later(1, 3)
    assert rig.desk.ledger.meters["a"].headroom_w >= 0
    assert [rig.state(job) for job in (gold, silver)] == [JobState.RUNNING] * 2
    assert rig.state(bronze) is JobState.PENDING
    rig.later(600)
    assert limit_w(rig) == 20_000
    rig.later(130, 3)
    assert rig.state(bronze) is JobState.RUNNING


def test_silver_goes_after_its_notice_where_bronze_does_not_cover_it(rig: Rig) -> None:
    rig.running("gold", est_w=8_000, more=",zones=a")
    silver, bronze = (rig.running(qos, est_w=6_000, more=",zones=a") for qos in ("silver", "bronze"))
    change(rig, derate(rig, 9_000))
    rig.later(2)
    assert rig.written() == [str(bronze)]
    rig.later(2, 2)
    assert rig.state(silver) is JobState.RUNNING
    assert rig.desk.ledger.meters["a"].headroom_w < 0  # and that is shown meanwhile
    rig.later(601, 2)
    assert rig.written() == [str(bronze), str(silver)]


def test_one_to_come_takes_nobody_before_its_time(rig: Rig) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    change(rig, derate(rig, 10_000, start=300, end=900))
    rig.later(200, 1)
    assert (limit_w(rig), rig.written()) == (20_000, [])
    rig.later(101, 2)
    assert (limit_w(rig), rig.written()) == (10_000, [str(bronze)])


def test_it_holds_over_a_reload_and_over_a_crash(rig: Rig) -> None:
    change(rig, derate(rig, 12_000))
    rig.reload("20kW", "18kW")
    assert limit_w(rig) == 12_000
    rig.crash()
    rig.later(2)
    assert limit_w(rig) == 12_000
    change(rig)
    assert limit_w(rig) == 18_000


def test_an_element_that_has_gone_counts_again_when_it_is_back(rig: Rig) -> None:
    change(rig, derate(rig, 5_000, element="elsewhere"), derate(rig, 12_000))
    assert limit_w(rig) == 12_000
    rig.later(2)
    assert {one.element for one in rig.desk.derates} == {"a", "elsewhere"}


def test_nobody_goes_where_nothing_is_enforced(rig: Rig) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a")
    rig.desk.mode = Mode.OBSERVE
    change(rig, derate(rig, 10_000))
    rig.later(2, 3)
    assert rig.written() == []


def test_whom_it_would_hit(rig: Rig) -> None:
    rig.running("gold", est_w=8_000, more=",zones=a")
    bronze = rig.running("bronze", est_w=6_000, more=",zones=a")
    short = rig.running("bronze", est_w=3_000, more=",zones=a", time_limit_s=300)
    now = rig.desk.now()
    terms = Terms("spring", Owner(("research",)), ("a",), 9_000, Window(now + 3_600, now + 7_200), tier="gold")
    rig.desk.reserved.put(Reservation("r", terms, ReservationState.APPROVED, now, now, 0, (Grant("a", 9_000),)))
    before = differences(rig.desk.ledger)
    found = finish(hit_rows(rig.desk, derate(rig, percent=60, start=600)))
    assert [row["job"] for row in found["jobs"]] == [str(bronze)]  # type: ignore[attr-defined]
    assert found["left_w"] == 0
    assert [(row["name"], row["short_w"] > 0) for row in found["reservations"]] == [("spring", True)]  # type: ignore[attr-defined]
    now_hit = finish(hit_rows(rig.desk, derate(rig, percent=60)))
    assert {row["job"] for row in now_hit["jobs"]} == {str(bronze), str(short)}  # type: ignore[attr-defined]
    assert (limit_w(rig), differences(rig.desk.ledger), rig.written()) == (20_000, before, [])
    steps = hit_rows(rig.desk, derate(rig, percent=60))
    assert {limit_w(rig) for _ in into([], steps)} == {20_000}  # others are answered between two steps
