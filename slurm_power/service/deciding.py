"""The verdict on an ask: on everybody's watts, or within the reservation that it names."""

from collections.abc import Iterable, Sequence

from slurm_power.core.admission import Admit, Hold, Reject, Verdict, decide, deciding
from slurm_power.core.binding import PREFIX
from slurm_power.core.ledger import Ledger
from slurm_power.core.policy import Tier
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
    ignore = desk.ignored_by(request)
    if request.reservation:
        return _reserved(desk, ask, request, ignore)
    return decide(request, desk.ledger, desk.floor, ignore=ignore, others=desk.tiers)


def verdict_steps(desk: Desk, ask: Ask, request: Request, ignore: str | None) -> Steps[Verdict]:
    """The same, step by step; within a reservation, whose zones are few, in one. `ignore` does not stand in its way."""
    if request.reservation:
        return _reserved(desk, ask, request, ignore)
    return (yield from deciding(request, desk.ledger, desk.floor, ignore=ignore, others=desk.tiers))


def means(desk: Desk, name: str) -> list[Reservation]:
    """The live reservations that a job means by this name; none for no name."""
    one = desk.reserved.get(name)
    return [one] if one is not None else named(desk.reserved, name) if name.startswith(PREFIX) else []


def named(reservations: Iterable[Reservation], name: str) -> list[Reservation]:
    """Those that a job means by this name: by Slurm's own, for `sbatch --reservation`, there may be several."""
    held = name.startswith(PREFIX)
    return [one for one in reservations if (name in names_of(one) if held else one.name == name)]


def verdict_in(
    found: Sequence[Reservation],
    ask: Ask,
    request: Request,
    ledger: Ledger,
    floor: Ledger,
    *,
    ignore: str | None = None,
    others: Iterable[Tier] = (),
) -> Verdict:
    """The verdict at `ledger.now` in the first of these reservations that admits it, as they stand then."""
    verdicts: list[Hold | Reject] = []
    for one in found:
        verdict = _barred(one, ask, request, ledger)
        if verdict is None:
            left_w = one.left_w(ledger.drawn_w(one.claim_id))
            within = Within(request, one.claim_id, left_w, ledger, floor, ignore=ignore, others=others).decide()
            if isinstance(within, Admit):
                return within
            verdict = within
        verdicts.append(verdict)
    if not verdicts:
        return _never(request, "there is none of that name, or none any more; sreservation show lists yours")
    return next((verdict for verdict in verdicts if isinstance(verdict, Hold)), verdicts[0])


def _reserved(desk: Desk, ask: Ask, request: Request, ignore: str | None) -> Verdict:
    found = means(desk, request.reservation)
    return verdict_in(found, ask, request, desk.ledger, desk.floor, ignore=ignore, others=desk.tiers)


def _barred(reservation: Reservation, ask: Ask, request: Request, ledger: Ledger) -> Hold | Reject | None:
    """Why the request may not draw on it now, or never; None where it may, if enough is left."""
    owner, start = reservation.terms.owner, reservation.terms.window.start
    if not owner.owns(request.account, ask.facts.user):
        who = f"user {ask.facts.user} in account {request.account or '(none)'}"
        return _never(request, f"it is not for {who}; leave reservation= out, or ask its owner")
    if reservation.state is ReservationState.REQUESTED:
        return _later(request, "it has not been approved yet")
    granted_w = {grant.zone: grant.watts_w for grant in reservation.grants if _may_go(request, grant.zone, ledger)}
    if not granted_w:
        where = ", ".join(grant.zone for grant in reservation.grants)
        return _never(request, f"its watts are in {where}, where this job cannot go by its partition, zones= or nodes")
    most_w = sum(granted_w.values()) if request.ask.spreads else max(granted_w.values())
    single_w = request.with_copies(1).est_w
    if single_w > most_w:
        return Reject((Reason(Code.RESERVED_POWER, request.reservation, single_w, most_w),))
    if reservation.state is ReservationState.APPROVED and start <= ledger.now:
        return _later(request, "it opens once others have given way to it")
    if reservation.state is ReservationState.APPROVED:
        return _later(request, f"it opens at {format_instant(start)}", start)
    return None


def _may_go(request: Request, zone: str, ledger: Ledger) -> bool:
    pool = ledger.plan.pools.get(request.pool, (zone,))
    return zone in pool and (request.zones is None or zone in request.zones) and zone not in request.excluded


def _never(request: Request, why: str) -> Reject:
    return Reject((Reason(Code.RESERVATION, request.reservation, detail=why),))


def _later(request: Request, why: str, earliest: int | None = None) -> Hold:
    return Hold((Reason(Code.RESERVATION, request.reservation, detail=why),), earliest)
