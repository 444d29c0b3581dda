"""Whom a derate would hit: the jobs that would have to give way, and the reservations that could not be kept."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from slurm_power.core.derate import Derate
from slurm_power.core.ledger import Ledger
from slurm_power.core.preemption import Shed
from slurm_power.core.reservation import Reservation
from slurm_power.core.steps import Steps
from slurm_power.core.want import lacking_for
from slurm_power.core.window import format_instant
from slurm_power.service.desk import Desk
from slurm_power.service.shedding import would_go, zones_of

Row = dict[str, object]


def hit_rows(desk: Desk, one: Derate) -> Steps[Row]:
    """`spower derate set --dry-run`: jobs and reservations, and what nobody who may be preempted makes room for."""
    limit_w = one.allowed_w(desk.declared.topology.declared_w(one.element) or 0)
    chosen = yield from would_go(desk, one.element, limit_w, one.window.start)
    left_w = _left_w(desk, chosen)
    jobs: list[Row] = []
    for victim in chosen.victims:
        entry = desk.book.get(victim.id)
        if entry is not None and entry.ask is not None:
            tier, user = entry.ask.request.tier.name, entry.ask.facts.user
            row = {"job": entry.name, "user": user, "tier": tier, "est_w": victim.claim.est_w}
            jobs.append({**row, "notice_s": victim.notice_s})
    reservations = yield from _reservations(desk, one, limit_w)
    return {"jobs": jobs, "reservations": reservations, "left_w": left_w}


def _left_w(desk: Desk, chosen: Shed) -> int:
    """What is too much still: of the zones together, or of the feed where it is most."""
    worst: dict[str, int] = {}
    for want, short_w in chosen.left:
        worst[want.element] = max(worst.get(want.element, 0), short_w)
    of_zones_w = sum(short_w for name, short_w in worst.items() if name in desk.ledger.nodes)
    return max(of_zones_w, *worst.values(), 0)


def _reservations(desk: Desk, derate: Derate, limit_w: int) -> Steps[list[Row]]:
    """Those whose window meets it, and that lack watts there then, all jobs being where they are."""
    limits = _limits(desk, derate.element, limit_w)
    zones = zones_of(desk, limits)
    rows: list[Row] = []
    for one in list(desk.reserved):
        if not one.terms.window.overlaps(derate.window) or not zones & {grant.zone for grant in one.grants}:
            continue
        yield
        if not limits.keys() <= desk.ledger.meters.keys():
            break
        with ExitStack() as stack:
            for name, less_w in limits.items():
                stack.enter_context(_lowered(desk.ledger, name, less_w))
            short_w = max(_short_w(desk, one, name) for name in limits)
        if short_w > 0:
            rows.append(_row(one, short_w))
    return rows


@contextmanager
def _lowered(ledger: Ledger, element: str, limit_w: int) -> Iterator[None]:
    """For a question: as if the element could carry no more than so much; then as it was."""
    before_w = ledger.meters[element].limit_w
    ledger.set_limit(element, min(limit_w, before_w))
    try:
        yield
    finally:
        ledger.set_limit(element, before_w)


def _limits(desk: Desk, element: str, limit_w: int) -> dict[str, int]:
    """What would carry less, and how much; where a power feed would carry nothing, the zones that it alone feeds."""
    topology = desk.declared.topology
    if limit_w > 0 or not topology.is_power_feed(element):
        return {element: limit_w}
    left = topology.without({*desk.dark, element}).zones
    return {name: zone.limit_w for name, zone in left.items() if zone.limit_w < desk.ledger.meters[name].limit_w}


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
