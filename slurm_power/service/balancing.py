"""Work is moved from crowded zones to where measured headroom is, a few jobs an hour.

A zone is crowded while it draws more than `balance.above` of its limit, and more than its jobs asked for. Who is to
start there and would be turned away is placed anew; of those who run, one interruptible job at a time is requeued: the
one that loses least, and whose new place, by what it may draw there, is found beforehand.
"""

from collections.abc import Iterator
from dataclasses import replace

from slurm_power.core.giving_way import Preemption, Trigger
from slurm_power.core.lifecycle import State
from slurm_power.core.offer import Candidate
from slurm_power.core.placement import Placement, Placer
from slurm_power.core.steps import Steps
from slurm_power.ports import Kind
from slurm_power.service.asking import Ask, opening
from slurm_power.service.book import Entry
from slurm_power.service.candidates import candidates
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import drawn
from slurm_power.service.draws import Element
from slurm_power.service.launch import ask_of
from slurm_power.service.leaving import begun, keep

_BACK_S = 150
"""So long after it was requeued Slurm starts a job again."""
_TRIED = 8
"""Jobs of a zone for which another place is looked for at a time."""


def look_for_crowds(desk: Desk) -> None:
    """Note which zones are crowded now, where anything may be moved at all."""
    above = desk.site.balance.above
    if desk.site.balance.moves is None:
        return
    strays = (name for name in desk.ledger.nodes if (meter := desk.ledger.meters[name]).stray_w and not meter.blind)
    crowded = []
    for name in strays:
        draw = drawn(desk, Element(Kind.ZONE, name))
        if draw is not None and draw.smooth_w >= above * desk.ledger.meters[name].limit_w:
            crowded.append(name)
    desk.moves.note(crowded, desk.clock.monotonic())


def lasting(desk: Desk) -> list[str]:
    """The zones that work is to leave, as long as any may be moved."""
    balance, now = desk.site.balance, desk.ledger.now
    if balance.moves is None or desk.moves.left(balance.moves, now) <= 0:
        return []
    return desk.moves.lasting(desk.site.control.dwell, desk.clock.monotonic())


def for_balance(desk: Desk) -> Steps[list[Preemption]]:
    """One interruptible job of each zone that has been crowded for a while, and that nobody leaves yet."""
    made: list[Preemption] = []
    for zone in lasting(desk):
        if any(_leaves(desk, one, zone) for one in desk.preempting):
            continue
        found = yield from _interruptible(desk, zone)
        for one in found[:_TRIED]:
            entry = desk.book.get(one.id)
            placement = (yield from elsewhere(desk, entry)) if entry is not None else None
            if entry is not None and placement is not None and desk.ledger.claims.get(one.id) is one.claim:
                desk.moves.wait(zone, desk.clock.monotonic())
                made.append(_moving(desk, entry, one, placement))
                break
        if not lasting(desk):
            break
    return made


def _leaves(desk: Desk, one: Preemption, zone: str) -> bool:
    """Whether a preemption takes somebody out of a zone."""
    claims = (desk.ledger.claims.get(victim.key) for victim in one.victims)
    return any(claim is not None and any(charge.zone == zone for charge in claim.charges) for claim in claims)


def _interruptible(desk: Desk, zone: str) -> Steps[list[Candidate]]:
    """Those with no notice who run in this zone alone, whoever loses least first."""
    found = yield from candidates(desk, None, {zone})
    alone = [one for one in found if one.notice_s == 0 and len(one.claim.charges) == 1]
    return sorted(alone, key=lambda one: (one.lost_s, -one.claim.est_w, one.id))


def elsewhere(desk: Desk, entry: Entry) -> Steps[Placement | None]:
    """Where a job could go that is measured and would not be crowded by it; None where there is no such place."""
    now = desk.now()
    ask = ask_of(desk, entry, now)
    if not isinstance(ask, Ask) or ask.request.reservation or ask.pinned:
        return None
    if any(opening(ask.hours, at, desk.site.timezone) for at in (now, now + _BACK_S)):
        return None
    single = ask.request.with_copies(1)
    est_w = _draws_w(desk, entry, single.est_w)
    zones = frozenset(_cool(desk, single.zones, est_w))
    request = replace(single, est_w=est_w, max_w=max(single.max_w, est_w), zones=zones, not_before=0)
    return (yield from Placer(request, desk.ledger, request.window(now)).placing())


def _draws_w(desk: Desk, entry: Entry, est_w: int) -> int:
    """What it is going to draw elsewhere, in W: as measured on its own nodes; else all that is stray may be its."""
    run, claim = desk.metering.drawn.get(entry.key), desk.ledger.claims.get(entry.key)
    if entry.state is not State.RUNNING:
        return est_w
    if run is not None and run.whole:
        return max(est_w, run.sketch.percentile(95) or 0)
    charges = claim.charges if claim is not None else ()
    return est_w + sum(desk.ledger.meters[charge.zone].stray_w for charge in charges)


def _cool(desk: Desk, allowed: frozenset[str] | None, more_w: int) -> Iterator[str]:
    """The measured zones that would draw no more than `balance.above` with so much more."""
    above = desk.site.balance.above
    for name in desk.ledger.nodes:
        if name in desk.moves or (allowed is not None and name not in allowed):
            continue
        draw = drawn(desk, Element(Kind.ZONE, name))
        if draw is not None and draw.high_w + more_w <= above * desk.ledger.meters[name].limit_w:
            yield name


def _moving(desk: Desk, entry: Entry, one: Candidate, placement: Placement) -> Preemption:
    """He goes, and his place elsewhere is kept for him."""
    desk.moves.moved(desk.ledger.now)
    charges, share_milli = placement.charges, placement.share_milli
    made = begun(desk, Trigger.MOVE, entry.key, "", [one], charges=charges, share_milli=share_milli)
    keep(desk, made)
    return made
