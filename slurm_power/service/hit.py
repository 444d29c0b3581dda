"""Whom a derate would hit: the jobs that would have to give way, and the reservations that could not be kept."""

from slurm_power.core.derate import Derate
from slurm_power.core.reservation import Reservation
from slurm_power.core.want import lacking_for
from slurm_power.core.window import format_instant
from slurm_power.service.derates import declared
from slurm_power.service.desk import Desk
from slurm_power.service.victims import would_go

Row = dict[str, object]


def hit_rows(desk: Desk, one: Derate) -> Row:
    """`spower derate set --dry-run`: jobs and reservations, and what nobody who may be preempted makes room for."""
    limit_w = one.allowed_w(declared(desk.site.topology, one.element) or 0)
    chosen = would_go(desk, one.element, limit_w, one.window.start)
    left_w = max((short for want, short in chosen.left if want.element == one.element), default=0)
    jobs: list[Row] = []
    for victim in chosen.victims:
        entry = desk.book.get(victim.id)
        if entry is not None and entry.ask is not None:
            tier, user = entry.ask.request.tier.name, entry.ask.facts.user
            row = {"job": entry.name, "user": user, "tier": tier, "est_w": victim.claim.est_w}
            jobs.append({**row, "notice_s": victim.notice_s})
    return {"jobs": jobs, "reservations": _reservations(desk, one, limit_w), "left_w": left_w}


def _reservations(desk: Desk, derate: Derate, limit_w: int) -> list[Row]:
    """Those whose window meets it, and that lack watts there then, all jobs being where they are."""
    zones = frozenset(desk.site.topology.zones_under.get(derate.element, (derate.element,)))
    before_w = desk.ledger.meters[derate.element].limit_w
    there = [one for one in desk.reserved if one.terms.window.overlaps(derate.window)]
    desk.ledger.set_limit(derate.element, min(limit_w, before_w))
    try:
        found = [(one, _short_w(desk, one, derate.element)) for one in there if zones & {g.zone for g in one.grants}]
    finally:
        desk.ledger.set_limit(derate.element, before_w)
    return [
        {
            "name": one.name,
            "state": str(one.state),
            "granted_w": sum(grant.watts_w for grant in one.grants),
            "short_w": short_w,
            "start": format_instant(one.terms.window.start),
            "end": format_instant(one.terms.window.end),
        }
        for one, short_w in found
        if short_w > 0
    ]


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
