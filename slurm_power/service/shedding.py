"""Who has to go where a zone or feed holds more than it may after a cut, or draws more than it may."""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from slurm_power.core.excess import ElementSums, sums_over
from slurm_power.core.giving_way import AGAIN_S, LEAVE_S, Preemption, Stage, Trigger, Victim
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import Shed, shed
from slurm_power.core.steps import Steps
from slurm_power.service.candidates import candidate, candidates, obstacle
from slurm_power.service.desk import Desk
from slurm_power.service.leaving import begun, leaving, not_started
from slurm_power.service.patience import Patience

_log = logging.getLogger("slurm_power.shedding")


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
    tell_stuck(cuts.patience, chosen, "cut below what jobs hold that nobody may preempt")
    notices = sorted({victim.notice_s for victim in chosen.victims})
    again_s = notices[-1] + LEAVE_S if notices and not chosen.left else AGAIN_S
    if cuts.noted == noted:  # else there was another cut meanwhile, which asks for others on top
        cuts.patience.put_off(elements, desk.ledger.now + again_s)
    return by_notice(desk, Trigger.OVER, elements, chosen.victims)


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
        tell_stuck(overdrawn.patience, found, "more is drawn than may be, and nobody may be preempted")
        overdrawn.patience.put_off((want.element for want, _ in found.left), desk.ledger.now + AGAIN_S)
    return by_notice(desk, Trigger.DRAW, sorted(overdrawn.breaches), chosen)


def for_max(desk: Desk) -> Steps[list[Preemption]]:
    """The jobs that draw more than their own max, where the site has these give way."""
    yield
    if desk.site.preemption.over_max != "evict":
        return []
    made = []
    for key in desk.measured.above.all_lasting():
        entry = desk.book.get(key)
        if entry is not None and key in desk.ledger.claims and obstacle(desk, entry, over=True) is None:
            made.append(begun(desk, Trigger.MAX, key, "", [candidate(desk, entry)]))
    return made


def _drawn_off(desk: Desk, due: Mapping[str, int], *, urgent: bool) -> Steps[Shed]:
    """Those who have to go for so many W on each element."""
    emergency = desk.site.preemption.emergency if urgent else ()
    found = yield from candidates(desk, None, zones_of(desk, due), over=True, emergency=emergency)
    desk.now()
    return (yield from shed_draw(desk, unless_changed(desk, found), due))


def shed_draw(desk: Desk, found: Iterable[Candidate], due: Mapping[str, int]) -> Steps[Shed]:
    """Those of the candidates whose est gives back so many W on each element, whatever these may carry."""
    meters = desk.ledger.meters
    sums = {name: ElementSums(meters[name], less_w=watts) for name, watts in due.items() if name in meters}
    return (yield from shed(desk.ledger, found, sums))


def _less(desk: Desk, due: Mapping[str, int], chosen: Iterable[Candidate]) -> dict[str, int]:
    """What is still due once these have gone."""
    left = dict(due)
    for one in chosen:
        for name, load in desk.ledger.loads(one.claim.charges).items():
            if name in left:
                left[name] -= load.est_w
    return {name: watts for name, watts in left.items() if watts > 0}


def by_notice(
    desk: Desk,
    trigger: Trigger,
    elements: Sequence[str],
    victims: Collection[Candidate],
    cut_at: int | None = None,
) -> list[Preemption]:
    """A preemption for each notice: whoever has less does not stay on for the others, for each that leaves helps.

    What they hold counts as no longer drawn from when they have to be gone.
    """
    made = []
    victims = unless_changed(desk, victims)  # the floor may be another by now
    for notice_s in sorted({victim.notice_s for victim in victims}):
        going = [one for one in victims if one.notice_s == notice_s]
        one = begun(desk, trigger, ",".join(elements), "", going, cut_at=cut_at)
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


def shed_of(
    desk: Desk, elements: Sequence[str], lawful: frozenset[str] | None, *, over: bool = False
) -> Steps[Shed]:
    """Victims after whom these elements hold no more than they may."""
    found = yield from candidates(desk, lawful, zones_of(desk, elements), over=over)
    desk.now()
    away = {one.id: one for one in (*leaving(desk), *not_started(desk))}
    there = [one for one in unless_changed(desk, found) if one.id not in away]
    meters = desk.ledger.meters
    sums = sums_over(meters, [name for name in elements if name in meters])
    return (yield from shed(desk.ledger, there, sums, away.values()))


def zones_of(desk: Desk, elements: Iterable[str]) -> set[str]:
    """The zones among these, and under the feeds among them."""
    return {zone for name in elements for zone in desk.site.topology.zones_under.get(name, (name,))}


def tell_stuck(patience: Patience, chosen: Shed, what: str) -> None:
    """Once for each element that stays above what it may hold."""
    stuck = patience.untold(want.element for want, _ in chosen.left)
    if stuck:
        _log.warning(what, extra={"elements": stuck[:20]})


def unless_changed(desk: Desk, found: Iterable[Candidate]) -> list[Candidate]:
    """Those whose claims are still what they were when they were found."""
    return [one for one in found if desk.ledger.claims.get(one.id) is one.claim]
