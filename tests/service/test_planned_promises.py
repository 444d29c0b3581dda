"""What a reservation in the place of others, and a cut, must not do where something comes in between."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from slurm_power.config import load_site
from slurm_power.core.errors import StoreError
from slurm_power.core.giving_way import Stage
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms, WhenShort
from slurm_power.core.window import Window
from slurm_power.ports import JobRecord, JobState, Outcome
from slurm_power.service.rights import Rights
from slurm_power.service.usage_views import Asked, By, dishonoured_ws
from slurm_power.service.victims import chosen
from tests.service.bureau import ROOT, Bureau
from tests.service.preempt_rig import SITE, Rig
from tests.service.test_preempt_planned import HOUR, LEAVING, reserve, rig, state, terms, until

__all__ = ["rig"]
A, B = 'a: {nodes: "a[1-4]", limit: 20kW}', 'b: {nodes: "b[1-4]", limit: 20kW}'


def late(rig: Rig) -> Reservation:
    """One to which nobody gives way, half an hour after its start."""
    one = reserve(rig, terms(rig))
    rig.desk.preempting.protected |= {entry.token for entry in rig.desk.book.entries.values()}
    until(rig, one.terms.window.start + 1_800)
    assert state(rig) is ReservationState.APPROVED
    return one


def test_it_does_not_begin_while_zones_look_emptier_than_they_are(rig: Rig) -> None:
    """A reload moves the nodes of both zones within the round in which it is due."""
    rig.running("gold", est_w=18_000, more=",zones=b")
    start = reserve(rig, terms(rig, 100)).terms.window.start
    swapped = rig.text.replace(A, A.replace("a[", "b[")).replace(B, B.replace("b[", "a["))
    observe = rig.rounds.reader._observe

    async def then_reload(jobs: Sequence[JobRecord], begun: float) -> None:
        await observe(jobs, begun)
        rig.rounds.reader._observe = observe  # type: ignore[method-assign]
        rig.text, rig.site = swapped, load_site(text=swapped)
        rig.rounds.change_site(rig.site)

    rig.rounds.reader._observe = then_reload  # type: ignore[method-assign]
    rig.clock.instant = start
    rig.slurm.tick(start)
    rig.round()
    rig.later(5, 3)
    assert state(rig) is ReservationState.APPROVED
    assert rig.desk.ledger.meters["a"].headroom_w == 2_000


def test_a_move_that_began_and_was_not_saved_leaves_it_where_it_was(bureau: Bureau) -> None:
    now = bureau.clock.instant
    bureau.create(start=now + 10 * HOUR)
    free_w = bureau.desk.ledger.meters["rack01"].headroom_w
    bureau.create(name="today", start=now + HOUR, length_s=HOUR, watts_w=free_w - 10_000)
    keeper = bureau.rounds.reservations

    async def fails(one: Reservation) -> None:
        await bureau.rounds.round()
        raise StoreError(f"no room for {one.name}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keeper, "save", fails)
        with pytest.raises(StoreError):
            bureau.update(start=now, end=now + HOUR)
    stays = bureau.the()
    assert (stays.state, stays.terms.window.start) == (ReservationState.APPROVED, now + 10 * HOUR)
    bureau.wait(HOUR + 10)
    assert bureau.desk.ledger.meters["rack01"].headroom_w >= 0


@pytest.mark.parametrize("begins_in", [-600, 600], ids=["late", "to come"])
def test_it_is_moved_by_less_than_its_length(bureau: Bureau, begins_in: int) -> None:
    """Behind a job that it may not preempt: nothing is kept where it lay, so that has not to fit."""
    bureau.sbatch("power:est=20kW,zones=rack01", minutes=30)
    bureau.round()
    now = bureau.clock.instant
    window = Window(now + begins_in, now + begins_in + 2 * HOUR)
    asked = Terms("spring", Owner(("research",)), ("rack01",), 15_000, window, tier="gold", policy=WhenShort.PREEMPT)
    state, grants = ReservationState.APPROVED, (Grant("rack01", 15_000),)
    bureau.desk.reserved.put(Reservation("k3", asked, state, now, now, 0, grants=grants))
    assert bureau.update(start=now + HOUR, length_s=2 * HOUR)["verdict"] == "fits"
    bureau.wait(1_900)
    assert bureau.the().state is ReservationState.APPROVED
    bureau.wait(HOUR)
    assert (bureau.the().state, bureau.the().terms.window.start) == (ReservationState.ACTIVE, now + HOUR)


def test_victims_are_let_be_when_it_is_moved_to_later(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    one = reserve(rig, terms(rig))
    start = one.terms.window.start
    until(rig, start - LEAVING - 500)
    assert rig.stages == [Stage.NOTICE]
    moved = Window(start + 5 * HOUR, start + 6 * HOUR)
    rig.desk.reserved.put(replace(one, terms=replace(one.terms, window=moved)))
    until(rig, start + 60)
    assert (rig.live, rig.state(silver)) == ([], JobState.RUNNING)
    (line,) = rig.lines("preemption-called_off")
    assert line.cause == "it begins later"


def test_nobody_goes_for_one_that_can_fit_no_more(rig: Rig) -> None:
    silver = rig.running("silver", est_w=8_000, more=",zones=a")
    start = reserve(rig, terms(rig)).terms.window.start
    until(rig, start - LEAVING - 440)
    assert rig.stages == [Stage.NOTICE]
    rig.reload(A, A.replace("20kW", "14kW"))
    until(rig, start + 60)
    assert (rig.state(silver), state(rig)) == (JobState.RUNNING, None)
    (line,) = rig.lines("missed")
    assert line.cause == "it could not begin: its watts did not come free"


def test_it_is_charged_from_when_it_had_its_watts(rig: Rig) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    start = late(rig).terms.window.start
    rig.slurm.finish(bronze)
    until(rig, start + 1_860)
    one = rig.desk.reserved.get("spring")
    assert one is not None
    assert one.state is ReservationState.ACTIVE
    rows = rig.desk.metering.take(rig.clock.instant)
    reserved_ws = sum(row.reserved_ws for row in rows if row.reservation == one.id)
    reserved_ws += sum(row.reserved_ws for row in rig.store.usage(reservation=one.id))
    assert reserved_ws <= 15_000 * (rig.clock.instant - one.since)


def test_one_that_never_began_was_not_honoured(rig: Rig) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a")
    one = late(rig)
    end = one.terms.window.end
    missed = replace(one, state=ReservationState.MISSED, since=end)
    root = Rights(ROOT, "root", master=True)
    asked = Asked(Window(end - 2 * HOUR, end + HOUR), By.RESERVATION, root, private=False, tariffs=(), months=())
    assert list(dishonoured_ws(asked, {one.id: missed}).values()) == [15_000 * HOUR]


def test_a_strike_that_failed_was_no_preemption() -> None:
    rig = Rig(text=f"{SITE}sla:\n  silver: {{max_delay: 30m, error_budget: 1%, min_run: 2h}}\n")
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    rig.reload(A, A.replace("20kW", "10kW"))
    rig.later(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig.slurm, "write", lambda chains: [Outcome(0, "access denied") for _ in chains])
        rig.later(30, 60)
    assert rig.lines("preemption-failed")
    rig.slurm.finish(silver)
    rig.later(2, 3)
    assert rig.lines("sla") == []
    rig.end()


@pytest.mark.parametrize("steps", [0, 2, 3, 4, 6])
def test_a_deeper_cut_while_victims_are_chosen_has_others_go_as_soon(rig: Rig, steps: int) -> None:
    for _ in range(4):
        rig.running("silver", est_w=4_000, more=",zones=a")
    rig.reload("limit: 20kW}\n  b", "limit: 13kW}\n  b")
    found = chosen(rig.desk)
    for _ in range(steps):
        next(found)
    rig.reload("limit: 13kW", "limit: 5kW")
    for _ in found:
        pass
    begun = rig.clock.instant
    while rig.desk.ledger.meters["a"].headroom_w < 0 and rig.clock.instant < begun + 3_000:
        rig.later(5)
    assert rig.clock.instant - begun < 660
