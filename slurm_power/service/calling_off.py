"""Whether those who give way still have to: what they were to make room for may be gone, or others have made it."""

from collections.abc import Sequence

from slurm_power.core.claim import Claim
from slurm_power.core.excess import sums_over
from slurm_power.core.giving_way import Preemption, Trigger
from slurm_power.core.offer import Candidate
from slurm_power.core.policy import Mode
from slurm_power.core.preemption import make_room, plan, shed
from slurm_power.core.reservation import ReservationState
from slurm_power.core.steps import Steps
from slurm_power.core.want import lacking_for, over
from slurm_power.ports import Kind
from slurm_power.service import cuts_ahead
from slurm_power.service.candidates import candidate
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import drawn, is_measured
from slurm_power.service.draws import Element
from slurm_power.service.leaving import leaving, not_started, on_nodes
from slurm_power.service.shedding import shed_draw
from slurm_power.service.victims import early_s, elements_of, waits_for_power

_OVER = {
    Trigger.RESERVATION: "the reservation is over",
    Trigger.OVER: "the cut is no more",
    Trigger.DRAW: "no more is drawn than may be",
}


def why_not_needed(desk: Desk, one: Preemption) -> str | None:
    """Why a preemption is no longer needed or allowed; None while it is."""
    if desk.mode is not Mode.ENFORCE:
        return f"the mode is {desk.mode}"
    if one.trigger is Trigger.JOB:
        entry = desk.book.get(one.beneficiary)
        if entry is None:
            return "the job is gone"
        return None if waits_for_power(desk, entry) else f"the job is {entry.state}"
    if one.trigger is Trigger.MAX:
        lasting = desk.measured.above.lasting(one.beneficiary)
        return None if lasting is not None else "it draws no more than its max"
    if one.trigger is Trigger.MOVE:
        claims = (desk.ledger.claims.get(victim.key) for victim in one.victims)
        zones = (charge.zone for claim in claims if claim is not None for charge in claim.charges)
        return None if any(zone in desk.moves for zone in zones) else "its zone draws less by now"
    if one.trigger is Trigger.CUT:
        return cuts_ahead.why_not_needed(desk, one)
    planned = _planned(desk, one)
    if planned is not None:
        if early_s(desk, planned) > one.notice_s:
            return "it begins later"
        return None if lacking_for(desk.ledger, planned) else "enough is free"
    elements = _elements(desk, one)
    if not elements:
        return _OVER[one.trigger]
    return None if one.trigger is Trigger.DRAW or over(desk.ledger.meters, elements) else "enough is free"


def spared(desk: Desk, one: Preemption) -> Steps[frozenset[str]]:
    """The keys of victims who could stay after all: during their notice others may have made room."""
    if one.trigger is Trigger.MAX:
        return frozenset()
    entries = [entry for victim in one.victims if (entry := on_nodes(desk, victim)) is not None]
    found = [candidate(desk, entry) for entry in entries if entry.key in desk.ledger.claims]
    planned = _planned(desk, one)
    if planned is not None:
        room = yield from make_room(desk.ledger, planned, found, leaving(desk, but=one))
        left: Sequence[Candidate] = room or ()  # where they do not suffice any more, nobody goes in vain
    elif one.trigger is Trigger.JOB:
        entry = desk.book.get(one.beneficiary)
        if entry is None or entry.ask is None:
            return frozenset()
        request = entry.ask.request.with_copies(1)
        made = yield from plan(request, desk.ledger, found, leaving(desk, but=one), ignore=desk.ignored_by(request))
        left = found if made is None else made.victims
    elif one.trigger is Trigger.DRAW:
        if any(_unknown(desk, name) for name in one.elements):
            return frozenset()
        due = {name: desk.measured.overdrawn.over_w(name) for name in _elements(desk, one)}
        left = (yield from shed_draw(desk, found, due)).victims
    elif one.trigger is Trigger.CUT:
        left = (yield from cuts_ahead.needed_of(desk, one, found)).victims
    else:
        gone = [*leaving(desk, but=one), *not_started(desk)]
        sums = sums_over(desk.ledger.meters, _elements(desk, one))
        left = (yield from shed(desk.ledger, found, sums, gone)).victims
    return frozenset(each.id for each in found) - {each.id for each in left}


def _planned(desk: Desk, one: Preemption) -> Claim | None:
    """What a reservation has still to make room for; None where it has begun or is no more."""
    reservation = desk.reserved.get(one.beneficiary) if one.trigger is Trigger.RESERVATION else None
    return reservation.claim() if reservation is not None and reservation.planned else None


def _elements(desk: Desk, one: Preemption) -> list[str]:
    """The zones and feeds that hold too much; none where what it is for is no more."""
    if one.trigger is Trigger.OVER:
        return [name for name in one.elements if name in desk.preempting.cuts and name in desk.ledger.meters]
    if one.trigger is Trigger.DRAW:
        over = (name for name in one.elements if name in desk.measured.overdrawn or _unknown(desk, name))
        return [name for name in over if name in desk.ledger.meters]
    reservation = desk.reserved.get(one.beneficiary)
    if reservation is None or reservation.state is not ReservationState.ACTIVE:
        return []
    return elements_of(desk, reservation)


def _unknown(desk: Desk, name: str) -> bool:
    """Whether nobody knows what a zone or feed draws that is measured: that calls nobody off."""
    element = Element(Kind.ZONE if name in desk.site.topology.zones else Kind.FEED, name)
    return is_measured(desk, element) and drawn(desk, element) is None
