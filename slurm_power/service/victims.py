"""For whom others have to give way, and who they are: one preemption at a time for each job and each reservation."""

from collections.abc import Iterable, Sequence

from slurm_power.core.claim import Claim
from slurm_power.core.giving_way import AGAIN_S, LEAVE_S, Preemption, Trigger, longest_notice_s
from slurm_power.core.lifecycle import State
from slurm_power.core.offer import Candidate
from slurm_power.core.policy import Mode
from slurm_power.core.preemption import make_room, plan
from slurm_power.core.reservation import Reservation, ReservationState, WhenShort
from slurm_power.core.steps import Steps
from slurm_power.core.trial import Trial
from slurm_power.core.want import lacking_for, over
from slurm_power.ports import HoldKind
from slurm_power.service.balancing import for_balance
from slurm_power.service.book import Entry
from slurm_power.service.candidates import candidates, obstacle
from slurm_power.service.cuts_ahead import for_cuts_ahead
from slurm_power.service.desk import Desk
from slurm_power.service.hourly import too_many
from slurm_power.service.leaving import begun, keep, leaving
from slurm_power.service.nearest import nearest
from slurm_power.service.shedding import for_cuts, for_draws, for_max, shed_of, unless_changed

_FEW = 1_000
"""Instants of checkpoints that may be remembered beside twice as many as there are jobs."""


def chosen(desk: Desk) -> Steps[list[Preemption]]:
    """New preemptions: for limits that are cut or going to be, for what is drawn above a limit or a job's own max, for
    crowded zones, at most one for the first held job of each tier, and one for each reservation that is short.

    They are kept from here on; what is done about them is for the caller, and nothing has been done yet.
    """
    found: list[Preemption] = []
    if desk.mode is not Mode.ENFORCE or not desk.settled:
        return found
    _forget_the_gone(desk)
    found += yield from for_cuts(desk)
    found += yield from for_cuts_ahead(desk)
    found += yield from for_draws(desk)
    found += yield from for_max(desk)
    found += yield from for_balance(desk)
    for tier in desk.tiers:
        entry = desk.book.get(desk.preempting.heads.get(tier.name, ""))
        if entry is not None:
            found += yield from _for_job(desk, entry)
    for reservation in list(desk.reserved):
        found += yield from _for_reservation(desk, reservation)
    return found


def elements_of(desk: Desk, reservation: Reservation) -> list[str]:
    """The zones of a reservation, and the feeds above them."""
    zones = [grant.zone for grant in reservation.grants]
    feeds = {tap.feed for zone in zones for tap in desk.site.topology.taps[zone]}
    return [*zones, *sorted(feeds)]


# -- for a job --------------------------------------------------------------------------------------------------------


def _for_job(desk: Desk, entry: Entry) -> Steps[list[Preemption]]:
    state, now = desk.preempting, desk.now()
    if state.serving(Trigger.JOB, entry.key) is not None or state.not_before.get(entry.key, 0) > now:
        return []
    qos = _qos_of(entry)
    lawful = state.law.victims_of(qos)
    if not lawful:
        return _none(desk, entry.key, f"QOS {qos} may preempt no other")
    if entry.ask is None or entry.ask.facts.het or entry.ask.request.reservation:
        return _none(desk, entry.key, "others give way neither to components nor to jobs that name a reservation")
    found = yield from candidates(desk, lawful)
    found = yield from nearest(desk, entry.ask.request.with_copies(1), found)
    if not waits_for_power(desk, entry):
        return []
    desk.now()
    request = entry.ask.request.with_copies(1)
    ledger = desk.ledger
    made = yield from plan(request, ledger, found, leaving(desk), ignore=desk.ignored_by(request))
    if desk.ledger is not ledger or not waits_for_power(desk, entry):
        return []
    if made is None:
        return _none(desk, entry.key, "no jobs that it may preempt would make room for it")
    if not made.victims or not _still_may(desk, made.victims):
        return []
    excess = too_many(desk, made.victims)
    if excess is not None:
        return _none(desk, entry.key, excess)
    claim = made.verdict.claim
    tier, share_milli = request.tier.name, claim.share_milli
    one = begun(desk, Trigger.JOB, entry.key, tier, made.victims, charges=claim.charges, share_milli=share_milli)
    keep(desk, one)
    return [one]


def waits_for_power(desk: Desk, entry: Entry) -> bool:
    """Whether it waits for power, and for nothing else."""
    return desk.book.get(entry.key) is entry and entry.state is State.WAITING and entry.hold is HoldKind.POWER


def _qos_of(entry: Entry) -> str:
    """The QOS that it will run as: that which its tier asks for, else the one that Slurm shows."""
    asked = entry.ask.qos if entry.ask is not None else ""
    return asked or (entry.record.qos if entry.record is not None else "")


def _none(desk: Desk, key: str, why: str) -> list[Preemption]:
    desk.preempting.why_not[key] = why
    desk.preempting.not_before[key] = desk.ledger.now + AGAIN_S
    return []


# -- for a reservation ------------------------------------------------------------------------------------------------


def _for_reservation(desk: Desk, reservation: Reservation) -> Steps[list[Preemption]]:
    name, terms, state, now = reservation.name, reservation.terms, desk.preempting, desk.now()
    busy = state.serving(Trigger.RESERVATION, name) is not None or state.not_before.get(name, 0) > now
    tier = desk.site.policy.tiers.get(terms.tier)
    if terms.policy is not WhenShort.PREEMPT or busy or tier is None:
        return []
    lawful = state.law.victims_of(tier.qos)
    if reservation.planned:
        return (yield from _for_planned(desk, reservation, lawful))
    elements = elements_of(desk, reservation)
    if reservation.state is not ReservationState.ACTIVE or not over(desk.ledger.meters, elements):
        return []
    victims = (yield from shed_of(desk, elements, lawful)).victims
    return _for_it(desk, reservation, victims)


def _for_planned(desk: Desk, reservation: Reservation, lawful: frozenset[str]) -> Steps[list[Preemption]]:
    """Victims for one that is about to begin: in its own zones, and as early as their notice asks for."""
    claim = reservation.claim()
    longest_s = max((tier.notice_s or 0 for tier in desk.tiers if tier.qos in lawful), default=0)
    if claim is None or early_s(desk, claim) > longest_s or not lacking_for(desk.ledger, claim):
        return []
    found = yield from candidates(desk, lawful, {charge.zone for charge in claim.charges})
    desk.now()
    ahead_s = early_s(desk, claim)
    if desk.reserved.get(reservation.name) is not reservation or ahead_s > longest_notice_s(found):
        return []
    ledger = desk.ledger
    victims = yield from make_room(ledger, claim, unless_changed(desk, found), leaving(desk))
    if desk.ledger is not ledger or desk.reserved.get(reservation.name) is not reservation:
        return []
    if victims is None:
        return _for_it(desk, reservation, ())
    if not victims or ahead_s > longest_notice_s(victims):
        return []  # those who give way already suffice, or it is not time yet
    return _for_it(desk, reservation, victims) if _suffice(desk, claim, victims) else []


def _suffice(desk: Desk, claim: Claim, victims: Sequence[Candidate]) -> bool:
    """Whether a reservation has its watts once these have gone, who still may, with those who go already."""
    if not _still_may(desk, victims):
        return False
    with Trial(desk.ledger, [*leaving(desk), *victims]):
        return not lacking_for(desk.ledger, claim)


def _still_may(desk: Desk, victims: Iterable[Candidate]) -> bool:
    """Whether nothing has come about while they were chosen that keeps one of them from giving way."""
    entries = [desk.book.get(victim.id) for victim in victims]
    return all(entry is not None and obstacle(desk, entry) is None for entry in entries)


def early_s(desk: Desk, planned: Claim) -> int:
    """How long it is until those without notice go for a reservation, in s."""
    return planned.window.start - LEAVE_S - desk.ledger.now


def _for_it(desk: Desk, reservation: Reservation, victims: Sequence[Candidate]) -> list[Preemption]:
    """A preemption of these for a reservation, if there are any, and not too many."""
    if not victims:
        return _none(desk, reservation.name, "no jobs that may be preempted would make room for it")
    excess = too_many(desk, victims)
    if excess is not None:
        return _none(desk, reservation.name, excess)
    return [begun(desk, Trigger.RESERVATION, reservation.name, reservation.terms.tier, victims)]


def _forget_the_gone(desk: Desk) -> None:
    """What is remembered of jobs and reservations that are no more."""
    state = desk.preempting
    for memory in (state.why_not, state.not_before):
        for key in [key for key in memory if desk.book.get(key) is None and desk.reserved.get(key) is None]:
            del memory[key]
    if len(state.checkpoints) > 2 * len(desk.book.entries) + _FEW:
        names = {entry.name for entry in desk.book.entries.values()}
        state.checkpoints = {job: at for job, at in state.checkpoints.items() if job in names}
