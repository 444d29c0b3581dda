"""Reservations with the policy `preempt` that are made in the place of jobs which are to give way before they begin."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from slurm_power.core.giving_way import Stage
from slurm_power.core.policy import Mode
from slurm_power.core.reservation import OPEN, Owner, Reservation, ReservationState, Terms, WhenShort
from slurm_power.core.window import Window, format_instant
from slurm_power.ports import JobState
from slurm_power.service import reserving
from slurm_power.service.finding import Kind, Seen
from slurm_power.service.holders import holder_rows
from slurm_power.service.reconcile import findings
from slurm_power.service.reservation_views import row
from slurm_power.service.reserving import Answer, offer
from tests.service.preempt_rig import SITE, Rig

HOUR = 3_600
LEAVING = 60
"""So many seconds before it begins victims without notice go."""


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(text=f"{SITE}reservations: {{max_share: 100%}}\n")
    yield made
    made.end()


def terms(rig: Rig, begins_in: int = 2 * HOUR, **more: object) -> Terms:
    """15 kW in zone a for an hour."""
    start = rig.clock.instant + begins_in
    asked = Terms(
        "spring", Owner(accounts=("ops",)), ("a",), 15_000, Window(start, start + HOUR), tier="gold",
        policy=WhenShort.PREEMPT,
    )  # fmt: skip
    return replace(asked, **more)  # type: ignore[arg-type]


def reserve(rig: Rig, asked: Terms) -> Reservation:
    found = offer(rig.desk, asked)
    assert found.answer is Answer.FITS
    now = rig.clock.instant
    one = Reservation("k3", asked, ReservationState.APPROVED, now, now, 0, grants=found.grants)
    rig.desk.reserved.put(one)
    return one


def state(rig: Rig) -> ReservationState | None:
    one = rig.desk.reserved.get("spring")
    return one.state if one is not None else None


def until(rig: Rig, instant: int) -> None:
    """Time passes up to then, and at no moment of it is more committed than may be."""
    while rig.clock.instant < instant:
        rig.later(min(30, instant - rig.clock.instant))
        for meter in rig.desk.ledger.meters.values():
            assert meter.headroom_w >= 0, (meter.name, rig.clock.instant)


class TestWhatIsOffered:
    def test_in_the_place_of_jobs_that_its_tier_may_preempt(self, rig: Rig) -> None:
        rig.running("bronze", est_w=18_000, more=",zones=a")
        found = offer(rig.desk, terms(rig))
        assert (found.answer, found.preempts) == (Answer.FITS, True)
        assert [(grant.zone, grant.watts_w) for grant in found.grants] == [("a", 15_000)]
        assert rig.desk.ledger.meters["a"].headroom_w == 2_000

    @pytest.mark.parametrize(
        ("more", "begins_in"),
        [({"policy": WhenShort.WAIT}, 7_200), ({"nodes": 2}, 7_200), ({"tier": "bronze"}, 7_200), ({}, 12 * HOUR)],
    )
    def test_who_has_no_need_of_it_or_no_right_to_it(
        self, rig: Rig, more: dict[str, object], begins_in: int
    ) -> None:
        rig.running("bronze", est_w=18_000, more=",zones=a")
        assert not offer(rig.desk, terms(rig, begins_in, **more)).preempts

    def test_not_in_many_zones_for_it_is_chosen_at_once(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        rig.running("bronze", est_w=18_000, more=",zones=a")
        monkeypatch.setattr(reserving, "_PLANNED_IN", 1)
        assert offer(rig.desk, terms(rig)).preempts
        assert not offer(rig.desk, terms(rig, zones=("a", "b"), watts_w=30_000)).preempts

    def test_in_the_place_of_who_can_only_be_preempted_later(self, rig: Rig) -> None:
        """One that is admitted and has not started, and one that has only just been seen to run."""
        starts = rig.submit("bronze", est_w=9_000, more=",zones=a")
        rig.later(2)
        assert rig.state(starts) is JobState.PENDING
        assert offer(rig.desk, terms(rig)).preempts
        rig.later(2, 2)
        for entry in rig.desk.book.entries.values():
            entry.touched = rig.desk.seen + 1
        assert offer(rig.desk, terms(rig)).preempts

    def test_not_where_more_would_have_to_go_than_may_in_an_hour(self) -> None:
        rig = Rig(text=f"{SITE}reservations: {{max_share: 100%}}\npreemption: {{per_hour: 2}}\n")
        for _ in range(3):
            rig.running("bronze", est_w=6_000, more=",zones=a")
        assert offer(rig.desk, terms(rig, watts_w=14_000)).preempts
        found = offer(rig.desk, terms(rig))
        assert (found.answer, found.preempts) == (Answer.LATER, False)
        assert "at least 3 jobs would have to give way, of each tier no more than 2 may in an hour" in found.cause
        for less in ({"any_zone": True, "zones": ("a", "b")}, {"min_w": 5_000}):
            assert offer(rig.desk, terms(rig, **less)).grants
        rig.end()

    def test_not_in_the_place_of_a_tier_that_is_never_preempted(self, rig: Rig) -> None:
        rig.running("gold", est_w=18_000, more=",zones=a")
        assert offer(rig.desk, terms(rig)).answer is Answer.LATER

    def test_what_was_a_plan_is_no_promise_until_it_fits(self, rig: Rig) -> None:
        rig.running("bronze", est_w=18_000, more=",zones=a")
        one = reserve(rig, terms(rig))
        less = replace(one.terms, watts_w=10_000)
        assert offer(rig.desk, less, one).answer is Answer.FITS
        assert offer(rig.desk, replace(less, policy=WhenShort.WAIT), one).answer is Answer.LATER

    def test_one_that_has_begun_takes_no_more_from_others(self, rig: Rig) -> None:
        one = replace(reserve(rig, terms(rig, 0)), state=ReservationState.ACTIVE)
        rig.desk.reserved.put(one)
        rig.running("bronze", est_w=5_000, more=",zones=a")
        assert offer(rig.desk, replace(one.terms, watts_w=18_000), one).answer is Answer.LATER


def test_jobs_run_on_until_just_before_it_and_it_begins_in_time(rig: Rig) -> None:
    small, large = (rig.running("bronze", est_w=watts, more=",zones=a") for watts in (4_000, 11_000))
    elsewhere = rig.running("bronze", est_w=12_000, more=",zones=b")
    start = reserve(rig, terms(rig)).terms.window.start
    until(rig, start - LEAVING - 30)
    assert (rig.written(), rig.live) == ([], [])
    until(rig, start - LEAVING + 30)
    assert rig.written() == [str(large)]
    until(rig, start)
    assert state(rig) is ReservationState.ACTIVE
    assert {rig.state(job) for job in (small, elsewhere)} == {JobState.RUNNING}
    (line,) = rig.lines("preempting")
    assert (line.reservation, line.account) == ("spring", "ops")
    until(rig, start + HOUR + 30)
    assert state(rig) is None


def test_those_with_notice_are_told_so_much_earlier(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    start = reserve(rig, terms(rig)).terms.window.start
    until(rig, start - LEAVING - 600 - 30)
    assert rig.live == []
    until(rig, start - LEAVING - 600)
    assert (rig.stages, rig.signalled(), rig.written()) == ([Stage.NOTICE], [str(silver)], [])
    until(rig, start)
    assert (rig.written(), state(rig)) == ([str(silver)], ReservationState.ACTIVE)


def test_nobody_goes_who_would_have_ended_by_then(rig: Rig) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a", time_limit_s=HOUR)
    start = reserve(rig, terms(rig)).terms.window.start
    until(rig, start)
    assert (rig.written(), state(rig)) == ([], ReservationState.ACTIVE)


def test_others_do_not_come_into_the_place_that_is_made(rig: Rig) -> None:
    first = rig.running("bronze", est_w=18_000, more=",zones=a")
    start = reserve(rig, terms(rig)).terms.window.start
    second = rig.submit("bronze", est_w=8_000, more=",zones=a")
    until(rig, start + 60)
    assert {rig.state(job) for job in (first, second)} == {JobState.PENDING}
    assert state(rig) is ReservationState.ACTIVE


def test_it_waits_for_who_does_not_go_and_says_so(rig: Rig) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    start = reserve(rig, terms(rig)).terms.window.start
    rig.desk.preempting.protected |= {entry.token for entry in rig.desk.book.entries.values()}
    until(rig, start + 60)
    assert state(rig) is ReservationState.APPROVED
    told = rig.desk.reserved.get("spring")
    assert told is not None
    why = "its window is open; no jobs that may be preempted would make room for it"
    assert row(rig.desk, told)["cause"] == why
    (shown,) = (one for one in holder_rows(rig.desk, lambda _: True, None) if one and one["kind"] == "reservation")
    assert shown["returns_at"] == format_instant(rig.clock.instant + told.terms.grace_s)
    assert Kind.RESERVATION_LATE not in [found.kind for found in findings(rig.desk, Seen()) if found]
    until(rig, start + HOUR)
    assert state(rig) is None
    (line,) = rig.lines("missed")
    assert (line.cause, rig.state(bronze)) == ("it could not begin: its watts did not come free", JobState.RUNNING)


def test_cancelled_during_the_notice(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    one = reserve(rig, terms(rig))
    until(rig, one.terms.window.start - LEAVING - 570)
    rig.desk.reserved.put(replace(one, state=ReservationState.CANCELLED))
    until(rig, one.terms.window.start)
    assert (rig.live, rig.state(silver)) == ([], JobState.RUNNING)


def test_a_victim_need_not_go_where_others_have_ended_meanwhile(rig: Rig) -> None:
    silver = rig.running("silver", est_w=8_000, more=",zones=a")
    other = rig.running("gold", est_w=8_000, more=",zones=a")
    start = reserve(rig, terms(rig, watts_w=8_000)).terms.window.start
    until(rig, start - LEAVING - 570)
    assert rig.stages == [Stage.NOTICE]
    rig.slurm.finish(other)
    until(rig, start)
    assert (rig.state(silver), state(rig)) == (JobState.RUNNING, ReservationState.ACTIVE)
    (line,) = rig.lines("preemption-called_off")
    assert line.cause == "enough is free"


def test_nothing_happens_while_the_mode_is_observe(rig: Rig) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a")
    start = reserve(rig, terms(rig)).terms.window.start
    rig.desk.mode = Mode.OBSERVE
    until(rig, start + 60)
    assert (rig.written(), state(rig)) == ([], ReservationState.APPROVED)
    waits = rig.desk.reserved.get("spring")
    assert waits is not None
    assert row(rig.desk, waits)["cause"] == "its window is open; its watts are not free yet"


@pytest.mark.parametrize("before_s", [90, 45, 10])
def test_a_crash_on_the_way(rig: Rig, before_s: int) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    one = reserve(rig, terms(rig))
    start = one.terms.window.start
    until(rig, start - before_s)
    rig.crash()
    rig.desk.reserved.put(one)
    until(rig, start + 30)
    assert rig.written() == [str(bronze)]
    found = rig.desk.reserved.get("spring")
    assert found is not None
    assert found.state in OPEN
