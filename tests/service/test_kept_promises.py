"""What a reservation keeps is within what there is: when it is used again, changed, or the database fails meanwhile."""

import asyncio
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreDataError
from slurm_power.core.errors import UsageError
from slurm_power.core.reservation import Grant, ReservationState
from slurm_power.core.window import Window
from slurm_power.ports import Intent
from tests.core.recount import differences
from tests.service.bureau import CAROL, HOUR, ROOT, START, Bureau

ACTIVE, DEGRADED = ReservationState.ACTIVE, ReservationState.DEGRADED
OTHERS = "power:est=20kW,max=20kW,zones=rack01"


def within(bureau: Bureau) -> bool:
    """Whether no zone or feed is promised more than it has, now or later."""
    ledger = bureau.desk.ledger
    rest = Window(ledger.now, ledger.now + 24 * HOUR)
    return all(meter.least_room(rest, ledger.now)[0] >= 0 for meter in ledger.meters.values())


def draw(bureau: Bureau, name: str, envelope: str) -> None:
    comment = f"power:{envelope},reservation=spring"
    assert bureau.submit(comment, account="research", time_limit=60, min_nodes=1, name=name).verdict == "admit"


class TestUsedAgain:
    def test_not_past_what_was_reserved_for_later(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=14_000)
        bureau.wait(900)
        assert bureau.the().state is DEGRADED
        later = bureau.create(name="later", accounts=["ops"], watts_w=16_000, start=START + 5 * HOUR)
        assert later["verdict"] == "fits"
        bureau.sbatch("power:est=10kW,max=10kW,reservation=spring")
        bureau.wait(5)
        assert within(bureau)
        assert bureau.the().state is DEGRADED
        bureau.clock.instant = START + 5 * HOUR
        bureau.wait(0)
        assert within(bureau)

    def test_it_keeps_its_watts_again_where_they_are_free_to_its_end(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=14_000)
        bureau.wait(900)
        bureau.sbatch("power:est=10kW,max=10kW,reservation=spring")
        bureau.wait(5)
        assert bureau.the().state is ACTIVE
        assert bureau.committed() == 14_000

    def test_not_where_the_bursts_of_its_jobs_would_add_up_past_the_limit(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=14_000, burst_w=4_000, burst_s=60)
        bureau.wait(900)
        for name in "abcdefghi":
            draw(bureau, name, "est=1kW,max=3kW")
        bureau.wait(1)
        meter = bureau.desk.ledger.meters["rack01"]
        assert meter.committed_w + meter.burst_w <= meter.limit_w


class TestDatabaseFails:
    def test_watts_are_nobody_elses_before_it_is_written_that_they_are_given_up(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=16_000)
        bureau.store.refuses = True
        bureau.wait(900)
        assert bureau.the().state is ACTIVE
        bureau.sbatch(OTHERS, CAROL, account="ops")
        bureau.wait(5)
        bureau.store.refuses = False
        bureau.restart()
        assert bureau.the().state is ACTIVE
        assert within(bureau)
        bureau.wait(900)
        assert bureau.the().state is DEGRADED
        assert bureau.rows() == {"spring": "degraded"}

    def test_who_uses_it_while_that_is_being_written_keeps_it_as_it_is(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=14_000)
        save = bureau.rounds.reservations.save

        async def slowly(one: Any) -> None:
            if one.state is DEGRADED:
                draw(bureau, "late", "est=1kW,max=1kW")
            await save(one)

        bureau.rounds.reservations.save = slowly  # type: ignore[method-assign]
        bureau.clock.instant += 900
        bureau.round()
        assert bureau.the().state is ACTIVE
        assert bureau.rows() == {"spring": "active"}

    @pytest.mark.parametrize("terms", [{"watts_w": 5_000}, {"length_s": HOUR}, {"zones": ["rack02"]}])
    def test_what_an_update_gives_up_stays_kept_until_it_is_written(
        self, bureau: Bureau, terms: dict[str, Any]
    ) -> None:
        before = bureau.open(length_s=10 * HOUR, watts_w=16_000)
        save, verdicts = bureau.rounds.reservations.save, []

        async def slowly(one: Any) -> None:
            verdicts.append(bureau.submit(OTHERS, CAROL, account="ops", time_limit=120, min_nodes=1).verdict)
            await save(one)

        bureau.rounds.reservations.save = slowly  # type: ignore[method-assign]
        bureau.store.refuses = True
        with pytest.raises(StoreDataError):
            bureau.update(**terms)
        assert verdicts == ["hold"]
        assert bureau.the() == before
        assert within(bureau)
        bureau.store.refuses = False
        assert bureau.update(**terms)["verdict"] == "fits"
        assert within(bureau)

    def test_a_window_is_moved_past_what_others_have_reserved_between(self, bureau: Bureau) -> None:
        bureau.create(start=START + HOUR, length_s=HOUR)
        bureau.create(name="between", accounts=["ops"], watts_w=20_000, start=START + 3 * HOUR, length_s=HOUR)
        before, save, rooms = bureau.the(), bureau.rounds.reservations.save, []
        hours = [Window(START + hour * HOUR, START + (hour + 1) * HOUR) for hour in (1, 3, 5)]

        def room() -> list[int]:
            meter = bureau.desk.ledger.meters["rack01"]
            return [meter.least_room(window, bureau.desk.ledger.now)[0] for window in hours]

        async def slowly(one: Any) -> None:
            rooms.append(room())
            await save(one)

        bureau.rounds.reservations.save = slowly  # type: ignore[method-assign]
        at_first, bureau.store.refuses = room(), True
        with pytest.raises(StoreDataError):
            bureau.update(start=START + 5 * HOUR, length_s=HOUR)
        assert (bureau.the(), room()) == (before, at_first)
        bureau.store.refuses = False
        assert bureau.update(start=START + 5 * HOUR, length_s=HOUR)["verdict"] == "fits"
        free_w = at_first[2]
        assert rooms == [[free_w - 15_000, at_first[1], free_w - 15_000]] * 2
        assert room() == [free_w, at_first[1], free_w - 15_000]
        assert differences(bureau.desk.ledger) == []

    def test_a_change_that_a_round_comes_between_is_kept(self, bureau: Bureau) -> None:
        bureau.create(start=START + 60, length_s=10 * HOUR)
        save = bureau.rounds.reservations.save

        async def slowly(one: Any) -> None:
            await save(one)
            bureau.clock.instant = START + 61
            bureau.desk.now()
            await bureau.rounds.reservations.tick()

        bureau.rounds.reservations.save = slowly  # type: ignore[method-assign]
        bureau.update(watts_w=5_000)
        assert (bureau.the().state, bureau.the().granted_w, bureau.committed()) == (ACTIVE, 5_000, 5_000)
        assert bureau.rows() == {"spring": "active"}


class TestNodes:
    def test_an_update_leaves_them(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=12_000, nodes=1)
        assert bureau.update(end=bureau.clock.instant + 8 * HOUR)["verdict"] == "fits"
        assert bureau.the().grants == (Grant("rack01", 12_000, 0, 1),)

    def test_no_update_brings_more_than_there_are(self, bureau: Bureau) -> None:
        bureau.open(length_s=10 * HOUR, watts_w=12_000, nodes=1)
        assert bureau.update(nodes=500)["verdict"] == "never"
        assert bureau.the().terms.nodes == 1


def test_reconciliation_leaves_a_preemption_that_is_under_way(bureau: Bureau) -> None:
    one = Intent("job", "preemption", bureau.clock.instant - 400, {})
    bureau.writer.submit_and_wait(lambda store: store.open_intents([one])).result(10)
    bureau.wait(61)
    bureau.wait(61)
    bureau.ask(ROOT, op="reconcile")
    assert [intent.action for intent in bureau.store.pending_intents()] == ["preemption"]


def test_a_job_that_leaves_while_an_operator_places_it_holds_nothing(bureau: Bureau) -> None:
    bureau.sbatch("power:est=26kW,max=26kW,zones=rack01", CAROL, account="ops")
    waiting = bureau.sbatch("power:est=5kW,max=5kW,zones=rack01", CAROL, account="ops")
    bureau.round()
    entry = bureau.desk.book.of_job(waiting.job_id)
    assert entry is not None
    before = bureau.committed()

    async def placed() -> str:
        async with bureau.rounds._turn:
            asked = asyncio.create_task(bureau.verbs(Peer(0, 0, 1), {"op": "place", "job": str(waiting.job_id)}))
            await asyncio.sleep(0.05)
            bureau.desk.book.drop(entry)
        return await asked

    with pytest.raises(UsageError, match="has left Slurm meanwhile"):
        bureau.run(placed())
    assert bureau.committed() == before
