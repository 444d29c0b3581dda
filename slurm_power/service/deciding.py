"""The verdict on an ask: on everybody's watts, or within the reservation that it names."""

from slurm_power.core.admission import Hold, Reject, Verdict, decide, deciding
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.request import Request
from slurm_power.core.reservation import Reservation, ReservationState
from slurm_power.core.steps import Steps
from slurm_power.core.window import format_instant
from slurm_power.core.within import Within
from slurm_power.service.asking import Ask
from slurm_power.service.desk import Desk
from slurm_power.service.mirror import names_of


def verdict_on(desk: Desk, ask: Ask, request: Request) -> Verdict:
    """The verdict now; `request` is the ask's, perhaps for fewer copies."""
    if request.reservation:
        return _reserved(desk, ask, request)
    return decide(request, desk.ledger, desk.floor, ignore=desk.ignored_by(request), others=desk.tiers)


def verdict_steps(desk: Desk, ask: Ask, request: Request) -> Steps[Verdict]:
    """The same, step by step; within a reservation, whose zones are few, in one."""
    if request.reservation:
        return _reserved(desk, ask, request)
    return (yield from deciding(request, desk.ledger, desk.floor, ignore=desk.ignored_by(request), others=desk.tiers))


def _reserved(desk: Desk, ask: Ask, request: Request) -> Verdict:
    reservation = _named(desk, request.reservation)
    if reservation is None:
        return _never(request, "there is none of that name, or none any more; sreservation show lists yours")
    owner = reservation.terms.owner
    if not owner.owns(request.account, ask.facts.user):
        who = f"user {ask.facts.user} in account {request.account or '(none)'}"
        return _never(request, f"it is not for {who}; leave reservation= out, or ask its owner")
    if reservation.state is ReservationState.REQUESTED:
        return _later(request, "it has not been approved yet")
    start = reservation.terms.window.start
    if reservation.state is ReservationState.APPROVED:
        return _later(request, f"it opens at {format_instant(start)}", start)
    most_w = max((grant.watts_w for grant in reservation.grants), default=0)
    if not request.ask.spreads and request.with_copies(1).est_w > most_w:
        return Reject((Reason(Code.RESERVED_POWER, request.reservation, request.with_copies(1).est_w, most_w),))
    return _within(desk, request, reservation)


def _named(desk: Desk, name: str) -> Reservation | None:
    """The live reservation of that name; or the one that Slurm holds under it, for `sbatch --reservation`."""
    held = (one for one in desk.reserved if name in names_of(one))
    return desk.reserved.get(name) or next(held, None)


def _within(desk: Desk, request: Request, reservation: Reservation) -> Verdict:
    left_w, ignore = desk.reserved.left_w(reservation), desk.ignored_by(request)
    where = (desk.ledger, desk.floor)
    return Within(request, reservation.claim_id, left_w, *where, ignore=ignore, others=desk.tiers).decide()


def _never(request: Request, why: str) -> Reject:
    return Reject((Reason(Code.RESERVATION, request.reservation, detail=why),))


def _later(request: Request, why: str, earliest: int | None = None) -> Hold:
    return Hold((Reason(Code.RESERVATION, request.reservation, detail=why),), earliest)
