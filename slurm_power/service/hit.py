"""Whom a derate would hit: the jobs that would have to give way, and the reservations that could not be kept."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from slurm_power.core.derate import Derate
from slurm_power.core.excess import sums_over
from slurm_power.core.ledger import Ledger
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import Shed, shed
from slurm_power.core.reservation import Reservation
from slurm_power.core.steps import Steps
from slurm_power.core.want import lacking_for, over
from slurm_power.core.window import Window, format_instant
from slurm_power.service.candidates import candidates
from slurm_power.service.cuts_ahead import ended_by, gone_by
from slurm_power.service.desk import Desk
from slurm_power.service.shedding import zones_of

_LOADED_AT_ONCE = 500

Row = dict[str, object]


def hit_rows(desk: Desk, one: Derate) -> Steps[Row]:
    """`spower derate set --dry-run`: jobs and reservations, and what nobody who may be preempted makes room for."""
    limit_w = one.allowed_w(desk.declared.topology.declared_w(one.element) or 0)
    chosen = yield from _would_go(desk, one, limit_w)
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


def _would_go(desk: Desk, one: Derate, limit_w: int) -> Steps[Shed]:
    """Who would have to give way to it."""
    if limit_w <= 0 and desk.declared.topology.is_power_feed(one.element):
        found = yield from candidates(desk, None, over=True)
        return (yield from _in_the_dark(desk, one.element, found, ended_by(desk, one.window.start)))
    declared, now = desk.declared.topology, desk.site.topology
    least_w, _ = desk.derates.foreseen(declared, now, one.window.start, [one])[one.element]
    return (yield from gone_by(desk, one.window.start, {one.element: least_w}))


def _in_the_dark(desk: Desk, feed: str, found: Collection[Candidate], gone: Sequence[Candidate]) -> Steps[Shed]:
    """The same for a feed that would carry nothing, on a copy of the ledger whose zones lean on what is left."""
    before = desk.ledger
    ledger = Ledger(desk.declared.topology.without({*desk.dark, feed}), rule=before.rule, now=before.now)
    claims = list(before.claims.values())
    for start in range(0, len(claims), _LOADED_AT_ONCE):
        ledger.load(claims[start : start + _LOADED_AT_ONCE])
        yield
    for name, meter in before.meters.items():
        if meter.limit_w < ledger.meters[name].limit_w:
            ledger.set_limit(name, meter.limit_w)
    was_over = {want.element for want in over(before.meters, before.meters)}
    elements = [name for name in ledger.meters if name not in was_over and name != feed]
    return (yield from shed(ledger, found, sums_over(ledger.meters, elements), gone))


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
    more = [replace(derate, element=name, limit_w=less_w, percent=None) for name, less_w in limits.items()]
    rows: list[Row] = []
    for one in list(desk.reserved):
        if not one.terms.window.overlaps(derate.window) or not zones & {grant.zone for grant in one.grants}:
            continue
        yield
        if not limits.keys() <= desk.ledger.meters.keys():
            break
        with _lowered(desk, more):
            at = max(derate.window.start, desk.ledger.now)
            short_w = max(_short_w(desk, one, name, at) for name in limits)
        if short_w > 0:
            rows.append(_row(one, short_w))
    return rows


@contextmanager
def _lowered(desk: Desk, more: Sequence[Derate]) -> Iterator[None]:
    """For a question: limits as these would make them, now and later; then as they were."""
    ledger = desk.ledger
    then = desk.derates.foreseen(desk.declared.topology, desk.site.topology, ledger.now, more)
    before = {one.element: (ledger.meters[one.element].limit_w, ledger.meters[one.element].planned) for one in more}
    for name, (limit_w, _) in before.items():
        least_w, planned = then[name]
        ledger.set_limit(name, min(limit_w, least_w))
        ledger.plan_limits(name, planned)
    try:
        yield
    finally:
        for name, (limit_w, planned) in before.items():
            ledger.set_limit(name, limit_w)
            ledger.plan_limits(name, planned)


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


def _short_w(desk: Desk, one: Reservation, element: str, at: int) -> int:
    """What it lacks there, in W. One whose window is open is counted: what it lacks is what is too much then."""
    meter, claim = desk.ledger.meters[element], one.claim()
    if claim is None:
        return 0
    if claim.window.start <= desk.ledger.now:
        return max(-meter.least_room(Window(at, at + 1), desk.ledger.now)[0], 0)
    lacks = lacking_for(desk.ledger, claim)
    return max((short for want, short in lacks.items() if want.element == element), default=0)
