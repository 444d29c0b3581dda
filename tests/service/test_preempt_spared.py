"""Who is no candidate, what others notice of a preemption, and how one fails."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from slurm_power.core.claim import Charge
from slurm_power.core.giving_way import Stage
from slurm_power.core.policy import Mode
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.window import Window
from slurm_power.daemon import preemptions
from slurm_power.ports import JobState, Update, UserHold
from slurm_power.service.book import Entry
from slurm_power.service.candidates import obstacle
from slurm_power.service.striking import blows
from tests.fakes.slurm import Faults
from tests.service.preempt_rig import HOUR, SITE, Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def entry_of(rig: Rig, job_id: int) -> Entry:
    found = rig.desk.book.of_job(job_id)
    assert found is not None
    return found


def crowded(rig: Rig, tier: str = "bronze") -> tuple[int, int]:
    """A victim in one zone, and gold that waits for it."""
    victim = rig.running(tier, est_w=20_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    return victim, rig.submit("gold", est_w=20_000)


# -- who is spared ---------------------------------------------------------------------------------------------------


def test_who_gives_way_already(rig: Rig) -> None:
    victim, _ = crowded(rig, "silver")
    assert obstacle(rig.desk, entry_of(rig, victim)) is None
    rig.later(2)
    assert obstacle(rig.desk, entry_of(rig, victim)) == "it gives way already"


def test_who_draws_on_a_reservation(rig: Rig) -> None:
    now = rig.clock.instant
    terms = Terms("own", Owner(users=("alice",)), ("a",), 15_000, Window(now - 10, now + 36_000), tier="gold")
    rig.desk.reserved.put(Reservation("k4", terms, ReservationState.ACTIVE, now, now, 0, grants=(Grant("a", 15_000),)))
    inside = rig.running("bronze", est_w=15_000, more=",reservation=own")
    assert "draws on a reservation" in str(obstacle(rig.desk, entry_of(rig, inside)))


def test_whom_an_operator_protects(rig: Rig) -> None:
    entry = entry_of(rig, rig.running("bronze"))
    rig.desk.preempting.protected.add(entry.token)
    assert obstacle(rig.desk, entry) == "an operator protects it"
    assert obstacle(rig.desk, entry, over=True) is None, "a cut of a limit knows no protection"


def test_components_and_what_does_not_run(rig: Rig) -> None:
    entry = entry_of(rig, rig.running("bronze"))
    assert entry.record is not None
    whole = entry.record
    entry.record = replace(whole, het_job_id=7, het_offset=0)
    assert obstacle(rig.desk, entry) == "it is a component of a heterogeneous job"
    entry.record = replace(whole, state=JobState.COMPLETING)
    assert "not running" in str(obstacle(rig.desk, entry))
    entry.record = whole
    entry.touched = rig.desk.seen + 1
    assert "has just changed" in str(obstacle(rig.desk, entry))


def test_whom_the_mode_does_not_act_on() -> None:
    rig = Rig(text=f"enforce: reserved\n{SITE}")
    job = rig.running("bronze")
    assert obstacle(rig.desk, entry_of(rig, job)) == "the mode does not act on it"
    rig.end()


# -- a clock that is set right -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("crashes", "left_s"), [(False, 598), (True, 601)])
def test_a_notice_that_was_told_while_the_clock_was_ahead(rig: Rig, crashes: bool, left_s: int) -> None:
    """It ends when it has lasted; after a restart nobody knows when it began, and it begins anew."""
    crowded(rig, "silver")
    with rig.ahead():
        rig.round()
        assert rig.stages == [Stage.NOTICE]
    if crashes:
        rig.crash()
    rig.later(2)
    (one,) = rig.live
    assert one.strike_at == rig.clock.instant + left_s
    rig.later(left_s)
    rig.later(2, 3)
    assert rig.live == []


def test_a_clock_that_leaps_ahead_cuts_no_notice(rig: Rig) -> None:
    """It stays so; their notice is told by the time that has really passed."""
    crowded(rig, "silver")
    rig.later(2)
    rig.clock.instant += HOUR
    rig.clock.wait(-HOUR)
    rig.later(500)
    assert rig.written() == []
    rig.later(99)
    assert rig.written() == []
    rig.later(2)
    assert len(rig.written()) == 1


def test_what_is_kept_for_whom_others_have_left_is_kept_from_now_on(rig: Rig) -> None:
    """Struck while the clock was ahead, and proved only later: nobody comes in between."""
    victim, gold = crowded(rig)
    with rig.ahead():
        rig.round()
        assert rig.stages == [Stage.STRIKING]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preemptions, "proved", lambda *_: False)
        rig.later(2)
        between = rig.submit("bronze", est_w=9_000, time_limit_s=1_800)
        rig.later(2, 5)
        assert rig.state(between) is JobState.PENDING
        assert [one.since <= rig.clock.instant for one in rig.live] == [True]
    rig.later(2, 3)
    assert (rig.state(gold), rig.state(victim)) == (JobState.RUNNING, JobState.PENDING)


def test_an_hour_of_the_wrong_clock_is_not_longer_than_another(rig: Rig) -> None:
    state = rig.desk.preempting
    with rig.ahead():
        rig.round()
        state.gave_way("bronze", rig.clock.instant)
    rig.round()
    assert state.given(rig.desk.ledger.now) == {"bronze": 1}
    assert state.given(rig.desk.ledger.now + HOUR) == {"bronze": 0}


def test_victims_are_looked_for_again_once_it_is_right(rig: Rig) -> None:
    """While it was ahead there were none."""
    crowded(rig, "bronze")
    rig.desk.preempting.protected |= {entry.token for entry in rig.desk.book.entries.values()}
    with rig.ahead():
        rig.round()
        assert rig.desk.preempting.why_not
    rig.desk.preempting.protected.clear()
    rig.later(2)
    assert len(rig.written()) == 1


# -- what others notice ----------------------------------------------------------------------------------------------


def test_who_leaves_already_counts_as_gone_for_the_next_choice(rig: Rig) -> None:
    victims = [rig.running("bronze", est_w=10_000, more=",zones=a") for _ in range(2)]
    rig.running("gold", est_w=20_000, more=",zones=b")
    rig.slurm.completing_s = 60
    for _ in range(2):
        rig.submit("gold", est_w=10_000)
    rig.later(2, 3)
    assert sorted(rig.written()) == sorted(map(str, victims))


def test_what_is_kept_stands_in_the_way_of_nobody_who_was_promised_before(rig: Rig) -> None:
    entry = entry_of(rig, rig.running("bronze", est_w=5_000, more=",zones=a"))
    claim = rig.desk.ledger.claims[entry.key]
    later = Window(claim.window.start, claim.window.end + 600)
    rig.desk.preempting.keep("other", replace(claim, charges=(Charge("a", 1, 20_000, 20_000),), window=later))
    assert rig.desk.shortfall_instead(entry.key, claim.at(later)) is None
    assert rig.desk.preempting.kept("other") is not None


def test_nobody_is_written_to_twice_before_slurm_was_read_again(rig: Rig) -> None:
    victim, _ = crowded(rig)
    rig.later(2)
    before = list(rig.slurm.written)
    asyncio.run(rig.rounds.preemptions.act())
    assert rig.slurm.written == before
    assert rig.written() == [str(victim)]
    assert rig.written(UserHold).count(str(victim)) == 1


def test_what_its_user_excluded_is_remembered(rig: Rig) -> None:
    victim, _ = crowded(rig, "silver")
    rig.later(2)
    (one,) = rig.live
    entry = entry_of(rig, victim)
    assert entry.record is not None
    bound = AdmissionRecord(entry.token, Standing.ADMIT, "silver", own_excluded="a4")
    entry.record = replace(entry.record, admin_comment=f"{bound.encode()};stats=1")
    ((_, (update, *_)),) = blows(rig.desk, one)
    assert isinstance(update, Update)
    comment = update.fields["AdminComment"]
    assert find_record(comment) == AdmissionRecord(entry.token, Standing.HOLD, hold="power", own_excluded="a4")
    assert "stats=1" in comment


def test_after_a_restart_it_is_still_kept(rig: Rig) -> None:
    _, gold = crowded(rig)
    used = rig.slurm.used
    rig.slurm.used = lambda: {**used(), "pw_a": 1}  # type: ignore[method-assign]
    rig.later(2, 2)
    waits = rig.submit("bronze", est_w=5_000, more=",zones=a")
    rig.crash()
    rig.later(2, 3)
    assert (rig.stages, rig.state(waits)) == ([Stage.STRIKING], JobState.PENDING)
    rig.slurm.used = used  # type: ignore[method-assign]
    rig.later(2, 3)
    assert (rig.state(gold), rig.state(waits)) == (JobState.RUNNING, JobState.PENDING)


# -- how it fails ----------------------------------------------------------------------------------------------------


def test_a_victim_that_does_not_leave(rig: Rig) -> None:
    """Given up after ten minutes; and no other is tried for that job for five."""
    victim, _ = crowded(rig)
    rig.slurm.faults = Faults(lost_write=1.0)
    rig.later(2, 2)
    rig.later(300, 2)
    assert rig.live == []
    (line,) = rig.lines("preemption-failed")
    assert line.cause == "they have not left their nodes within 600 s"
    rig.slurm.faults = Faults()
    rig.later(100, 2)
    assert rig.written() == []
    rig.later(150)
    rig.later(2, 2)
    assert rig.written() == [str(victim)]


def test_watts_that_slurm_does_not_count_as_free(rig: Rig) -> None:
    crowded(rig)
    used = rig.slurm.used
    rig.slurm.used = lambda: {**used(), "pw_a": 20_000}  # type: ignore[method-assign]
    rig.later(2, 3)
    rig.later(300, 2)
    (line,) = rig.lines("preemption-failed")
    assert line.cause == "Slurm does not count their watts as free after 600 s"


def test_whom_it_was_for_cannot_be_placed(rig: Rig) -> None:
    _, gold = crowded(rig)
    rig.later(2)
    for number in range(1, 5):
        rig.slurm.set_node(f"a{number}", up=False)
    rig.later(2, 2)
    assert rig.stages == [Stage.FREE]
    rig.later(121)
    assert rig.desk.preempting.kept(entry_of(rig, gold).key) is None
    (line,) = rig.lines("preemption-failed")
    assert line.cause == "it was not placed within 120 s"


def test_the_panic_switch_in_the_middle_of_it(rig: Rig) -> None:
    victim, _ = crowded(rig)
    rig.slurm.faults = Faults(lost_write=1.0)
    rig.later(2)
    assert rig.stages == [Stage.STRIKING]
    rig.slurm.faults = Faults()
    rig.desk.mode = Mode.OBSERVE
    rig.later(2, 2)
    assert (rig.live, rig.written(), rig.state(victim)) == ([], [], JobState.RUNNING)
