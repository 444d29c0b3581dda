"""Who has to go where a zone or feed holds more than it may after a cut, or will, or draws more than it may."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from slurm_power.core.giving_way import LEAVE_S, Preemption, Stage, Trigger, Victim
from slurm_power.core.ledger import Ledger
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import Shed, shed
from slurm_power.core.reservation import Policy
from slurm_power.core.steps import Steps
from slurm_power.core.want import over
from slurm_power.service.candidates import candidate, candidates, obstacle
from slurm_power.service.desk import Desk
from slurm_power.service.leaving import begun, leaving, not_started

_log = logging.getLogger("slurm_power.shedding")
AGAIN_S = 10
"""How long no victims are looked for again where there were none."""
_LOADED_AT_ONCE = 500


def for_cuts(desk: Desk) -> Steps[list[Preemption]]:
    """Victims of any tier that may be preempted at all. Physics knows no budget of jobs an hour.

    While some are leaving, no others make up for them; so another cut meanwhile asks for just those whom it takes on
    top.
    """
    cuts = desk.preempting.cuts
    elements, noted = cuts.due(desk.ledger, desk.now()), cuts.noted
    if not elements:
        return []
    chosen = yield from shed_of(desk, elements, None, over=True)
    stuck = cuts.untold(want.element for want, _ in chosen.left)
    if stuck:
        _log.warning("cut below what jobs hold that nobody may preempt", extra={"elements": stuck[:20]})
    notices = sorted({victim.notice_s for victim in chosen.victims})
    again_s = notices[-1] + LEAVE_S if notices and not chosen.left else AGAIN_S
    if cuts.noted == noted:  # else there was another cut meanwhile, which asks for others on top
        cuts.put_off(elements, desk.ledger.now + again_s)
    return _by_notice(desk, Trigger.OVER, elements, chosen.victims)


def for_cuts_ahead(desk: Desk) -> Steps[list[Preemption]]:
    """Victims of cuts that are planned: each is told as early as his notice asks for, so that he has left by then."""
    cuts, made = desk.preempting.cuts, list[Preemption]()
    if desk.site.preemption.after_cut is not Policy.PREEMPT:
        return made
    longest_s = max((tier.notice_s or 0 for tier in desk.tiers), default=0)
    for start, limits_w in sorted(_soon(desk, longest_s).items()):
        chosen = yield from gone_by(desk, start, limits_w)
        stuck = cuts.untold(want.element for want, _ in chosen.left)
        if stuck:
            _log.warning("planned cut below what jobs hold that nobody may preempt", extra={"elements": stuck[:20]})
        cuts.put_off(limits_w, desk.ledger.now + AGAIN_S)
        early_s = start - LEAVE_S - desk.ledger.now
        due = [victim for victim in chosen.victims if victim.notice_s >= early_s]
        made += _by_notice(desk, Trigger.CUT, sorted(limits_w), due)
    return made


def _soon(desk: Desk, longest_s: int) -> dict[int, dict[str, int]]:
    """Instant at which a cut begins of which somebody may have to be told by now → what elements may carry then."""
    now, found = desk.now(), dict[int, dict[str, int]]()
    for name, meter in desk.ledger.meters.items():
        for cut in meter.cuts:
            if cut.window.start - LEAVE_S - now <= longest_s and not desk.preempting.cuts.waits(name, now):
                found.setdefault(cut.window.start, {})[name] = cut.limit_w
    return found


def next_cut(desk: Desk, elements: Iterable[str]) -> tuple[int, dict[str, int]] | None:
    """When the next cut that is planned for any of these begins, and what they may carry then; None without one."""
    meters = [meter for name in elements if (meter := desk.ledger.meters.get(name)) is not None]
    start = min((cut.window.start for meter in meters for cut in meter.cuts), default=None)
    if start is None:
        return None
    cuts = ((meter, cut) for meter in meters if (cut := meter.cut_at(start)) is not None)
    return start, {meter.name: cut.limit_w for meter, cut in cuts}


def gone_by(desk: Desk, start: int, limits_w: Mapping[str, int]) -> Steps[Shed]:
    """Who would have to have left by an instant from which on these elements may carry no more than so many W."""
    found: list[Candidate] = []
    yield from candidates(desk, None, found, zones_of(desk, limits_w), over=True)
    return (yield from _chosen(desk, found, limits_w, ended_by(desk, start), limits_w))


def ended_by(desk: Desk, start: int) -> list[Candidate]:
    """Whose windows are over by then. What draws on a reservation gives nothing back to others."""
    claims = desk.ledger.claims.values()
    return [Candidate(claim, 0, 0) for claim in claims if claim.window.end <= start and not claim.within]


def for_draws(desk: Desk) -> Steps[list[Preemption]]:
    """Victims for just what is drawn too much, of any tier that may be preempted at all.

    Where a breaker is about to trip, those of the tiers that `preemption.emergency` names go without notice.
    """
    overdrawn = desk.measured.overdrawn
    due = overdrawn.due(desk.now())
    if not due:
        return []
    urgent = overdrawn.emergencies() & due.keys()
    chosen: list[Candidate] = []
    if urgent and desk.site.preemption.emergency:
        chosen += (yield from _drawn_off(desk, {name: due[name] for name in sorted(urgent)}, urgent=True)).victims
        due = _less(desk, due, chosen)
    if due:
        found = yield from _drawn_off(desk, due, urgent=False)
        known = {one.id for one in chosen}
        chosen += [one for one in found.victims if one.id not in known]
        stuck = overdrawn.untold(want.element for want, _ in found.left)
        if stuck:
            _log.warning("more is drawn than may be, and nobody may be preempted", extra={"elements": stuck[:20]})
        overdrawn.put_off((want.element for want, _ in found.left), desk.ledger.now + AGAIN_S)
    return _by_notice(desk, Trigger.DRAW, sorted(overdrawn.breaches), chosen)


def for_max(desk: Desk) -> Steps[list[Preemption]]:
    """The jobs that draw more than their own max, where the site has these give way."""
    yield
    if desk.site.preemption.over_max != "evict":
        return []
    made = []
    for key in desk.measured.above.all_lasting(desk.now()):
        entry = desk.book.get(key)
        if entry is not None and key in desk.ledger.claims and obstacle(desk, entry, over=True) is None:
            made.append(begun(desk, Trigger.MAX, key, "", [candidate(desk, entry)]))
    return made


def _drawn_off(desk: Desk, due: Mapping[str, int], *, urgent: bool) -> Steps[Shed]:
    """Those who have to go for so many W on each element."""
    found: list[Candidate] = []
    emergency = desk.site.preemption.emergency if urgent else ()
    yield from candidates(desk, None, found, zones_of(desk, due), over=True, emergency=emergency)
    desk.now()
    ledger = desk.ledger
    there = sorted((one for one in found if ledger.claims.get(one.id) is one.claim), key=lambda one: one.id)
    return (yield from shed(ledger, there, by_w={name: watts for name, watts in due.items() if name in ledger.meters}))


def _less(desk: Desk, due: Mapping[str, int], chosen: Iterable[Candidate]) -> dict[str, int]:
    """What is still due once these have gone."""
    left = dict(due)
    for one in chosen:
        for name, load in desk.ledger.loads(one.claim.charges).items():
            if name in left:
                left[name] -= load.est_w
    return {name: watts for name, watts in left.items() if watts > 0}


def _by_notice(
    desk: Desk, trigger: Trigger, elements: Sequence[str], victims: Collection[Candidate]
) -> list[Preemption]:
    """A preemption for each notice: whoever has less does not stay on for the others, for each that leaves helps.

    What they hold counts as no longer drawn from when they have to be gone.
    """
    made = []
    victims = [one for one in victims if desk.ledger.claims.get(one.id) is one.claim]  # the floor may be another by now
    for notice_s in sorted({victim.notice_s for victim in victims}):
        going = [one for one in victims if one.notice_s == notice_s]
        one = begun(desk, trigger, ",".join(elements), "", going)
        goes_at = desk.ledger.now + notice_s
        for victim in going:
            loads = {name: load.est_w for name, load in desk.ledger.loads(victim.claim.charges).items()}
            desk.measured.overdrawn.gives(one.id, loads, goes_at, goes_at + desk.site.control.dwell)
        made.append(one)
    return made


def hurried(desk: Desk, one: Preemption) -> tuple[Victim, ...]:
    """Its victims where a breaker is about to trip, of tiers that go without notice then."""
    urgent = desk.measured.overdrawn.emergencies()
    zones, tiers = zones_of(desk, urgent) if urgent else set(), desk.site.preemption.emergency
    found = []
    for victim in one.victims if zones else ():
        claim = desk.ledger.claims.get(victim.key)
        if victim.tier in tiers and claim is not None and any(charge.zone in zones for charge in claim.charges):
            found.append(victim)
    return tuple(found)


def without_notice(desk: Desk, victims: Sequence[Victim]) -> Preemption:
    """A preemption of its own for some of the victims of one that has given notice: they go at once."""
    at_once = tuple(replace(victim, notice_s=0) for victim in victims)
    elements = ",".join(sorted(desk.measured.overdrawn.emergencies()))
    made = Preemption(desk.new_token(), Trigger.DRAW, elements, "", Stage.PLANNED, desk.ledger.now, at_once)
    desk.preempting.put(made)
    until = desk.ledger.now + desk.site.control.dwell
    for victim in victims:
        claim = desk.ledger.claims[victim.key]
        loads = {name: load.est_w for name, load in desk.ledger.loads(claim.charges).items()}
        desk.measured.overdrawn.gives(made.id, loads, desk.ledger.now, until)
    return made


def would_go(desk: Desk, element: str, limit_w: int, start: int) -> Steps[Shed]:
    """Who would have to give way if this element could carry no more than so much from that instant on."""
    if limit_w <= 0 and desk.declared.topology.is_power_feed(element):
        found: list[Candidate] = []
        yield from candidates(desk, None, found, over=True)
        return (yield from _in_the_dark(desk, element, found, ended_by(desk, start)))
    return (yield from gone_by(desk, start, {element: min(limit_w, desk.ledger.meters[element].limit_w)}))


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
    return (yield from shed(ledger, found, elements, gone))


def shed_of(
    desk: Desk,
    elements: Sequence[str],
    lawful: frozenset[str] | None,
    *,
    over: bool = False,
) -> Steps[Shed]:
    """Victims after whom these elements hold no more than they may."""
    found: list[Candidate] = []
    yield from candidates(desk, lawful, found, zones_of(desk, elements), over=over)
    return (yield from _chosen(desk, found, elements))


def zones_of(desk: Desk, elements: Iterable[str]) -> set[str]:
    """The zones among these, and under the feeds among them."""
    return {zone for name in elements for zone in desk.site.topology.zones_under.get(name, (name,))}


def _chosen(
    desk: Desk,
    found: Iterable[Candidate],
    elements: Iterable[str],
    ended: Iterable[Candidate] = (),
    limits_w: Mapping[str, int] | None = None,
) -> Steps[Shed]:
    """Those of the candidates that are to go; `ended` are thought away beforehand. `limits_w`: see `shed`."""
    desk.now()
    ledger = desk.ledger
    there = [one for one in found if ledger.claims.get(one.id) is one.claim]  # it may have changed since it was found
    away = {one.id: one for one in (*leaving(desk), *not_started(desk), *ended)}
    there = sorted((one for one in there if one.id not in away), key=lambda one: one.id)
    gone = list(away.values())
    elements = [name for name in elements if name in ledger.meters]
    if limits_w is not None:
        limits_w = {name: limits_w[name] for name in elements}
    return (yield from shed(ledger, there, elements, gone, limits_w=limits_w))
