"""Whom a derate would hit: the jobs that would have to give way, and the reservations that could not be kept."""

from slurm_power.core.derate import Derate
from slurm_power.core.reservation import Reservation
from slurm_power.core.steps import Steps
from slurm_power.core.want import lacking_for
from slurm_power.core.window import format_instant
from slurm_power.service.desk import Desk
from slurm_power.service.victims import lowered, would_go, zones_of

Row = dict[str, object]


def hit_rows(desk: Desk, one: Derate) -> Steps[Row]:
    """`spower derate set --dry-run`: jobs and reservations, and what nobody who may be preempted makes room for."""
    limit_w = one.allowed_w(desk.site.topology.declared_w(one.element) or 0)
    chosen = yield from would_go(desk, one.element, limit_w, one.window.start)
    left_w = max((short for want, short in chosen.left if want.element == one.element), default=0)
    jobs: list[Row] = []
    for victim in chosen.victims:
        entry = desk.book.get(victim.id)
        if entry is not None and entry.ask is not None:
            tier, user = entry.ask.request.tier.name, entry.ask.facts.user
            row = {"job": entry.name, "user": user, "tier": tier, "est_w": victim.claim.est_w}
            jobs.append({**row, "notice_s": victim.notice_s})
    reservations = yield from _reservations(desk, one, limit_w)
    return {"jobs": jobs, "reservations": reservations, "left_w": left_w}


def _reservations(desk: Desk, derate: Derate, limit_w: int) -> Steps[list[Row]]:
    """Those whose window meets it, and that lack watts there then, all jobs being where they are."""
    zones = zones_of(desk, [derate.element])
    rows: list[Row] = []
    for one in list(desk.reserved):
        if not one.terms.window.overlaps(derate.window) or not zones & {grant.zone for grant in one.grants}:
            continue
        yield
        if derate.element not in desk.ledger.meters:
            break
        with lowered(desk.ledger, derate.element, limit_w):
            short_w = _short_w(desk, one, derate.element)
        if short_w > 0:
            rows.append(_row(one, short_w))
    return rows


def _row(one: Reservation, short_w: int) -> Row:
    return {
        "name": one.name,
        "state": str(one.state),
        "granted_w": sum(grant.watts_w for grant in one.grants),
        "short_w": short_w,
        "start": format_instant(one.terms.window.start),
        "end": format_instant(one.terms.window.end),
    }


def _short_w(desk: Desk, one: Reservation, element: str) -> int:
    """What it lacks there, in W. One whose window is open is counted already: what it lacks is what is too much."""
    meter = desk.ledger.meters[element]
    claim = one.claim()
    if claim is None:
        return 0
    if claim.window.start <= desk.ledger.now:
        return max(-meter.headroom_w, 0)
    lacks = lacking_for(desk.ledger, claim)
    return max((short for want, short in lacks.items() if want.element == element), default=0)
