"""Limits that are going to be too low: who has to have left by then, each told as early as his notice asks for.

That is where a planned cut begins, and where a reservation begins while a limit is cut.
"""

from collections.abc import Iterable, Mapping, Sequence

from slurm_power.core.excess import ElementSums
from slurm_power.core.giving_way import AGAIN_S, LEAVE_S, Preemption, Trigger
from slurm_power.core.meter import Meter
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import Shed, shed
from slurm_power.core.steps import Steps
from slurm_power.core.want import over
from slurm_power.service.candidates import candidates
from slurm_power.service.desk import Desk
from slurm_power.service.leaving import leaving, not_started
from slurm_power.service.shedding import by_notice, tell_stuck, unless_changed, zones_of


def for_cuts_ahead(desk: Desk) -> Steps[list[Preemption]]:
    """Victims for each instant at which something is going to hold too much, as far as it is time to tell them."""
    made: list[Preemption] = []
    for at, elements in sorted(_soon(desk).items()):
        desk.preempting.ahead[at] = desk.now() + AGAIN_S
        meters = [desk.ledger.meters[name] for name in sorted(elements) if name in desk.ledger.meters]
        chosen = yield from gone_by(desk, at, {meter.name: meter.limit_at(at) for meter in meters})
        patience = desk.preempting.cuts.patience
        tell_stuck(patience, chosen, "planned cut below what jobs hold that nobody may preempt")
        early_s = at - LEAVE_S - desk.ledger.now
        due = [victim for victim in chosen.victims if victim.notice_s >= early_s]
        made += by_notice(desk, Trigger.CUT, sorted(elements), due, at)
    return made


def gone_by(desk: Desk, at: int, limits_w: Mapping[str, int]) -> Steps[Shed]:
    """Who would have to have left by an instant at which these elements may carry no more than so many W."""
    nobody = yield from _shed_by(desk, at, _sums(desk, limits_w, at, limits_w), ())
    if not nobody.left:
        return nobody
    found = yield from candidates(desk, None, zones_of(desk, limits_w), over=True)
    return (yield from _shed_by(desk, at, _sums(desk, limits_w, at, limits_w), found))


def why_not_needed(desk: Desk, one: Preemption) -> str | None:
    """Why a preemption for a cut that is planned, or was, is not needed any more; None while it is."""
    if not desk.ends_jobs_after_cuts:
        return "the site has jobs run to their ends"
    if _is_ahead(desk, one):
        meters = (desk.ledger.meters[name] for name in one.elements if name in desk.ledger.meters)
        return None if any(_is_cut_at(desk, meter, one.cut_at or 0) for meter in meters) else "the cut is no more"
    sums = _sums(desk, one.elements, desk.ledger.now)
    return None if over(sums, sums) else "enough is free"


def needed_of(desk: Desk, one: Preemption, found: Sequence[Candidate]) -> Steps[Shed]:
    """Those of its victims who still have to go."""
    if _is_ahead(desk, one):
        at = one.cut_at or 0
        return (yield from _shed_by(desk, at, _sums(desk, one.elements, at), found, one))
    gone = [*leaving(desk, but=one), *not_started(desk)]
    return (yield from shed(desk.ledger, found, _sums(desk, one.elements, desk.ledger.now), gone))


def ended_by(desk: Desk, at: int) -> list[Candidate]:
    """Whose windows are over by then. What draws on a reservation gives nothing back to others."""
    claims = desk.ledger.claims.values()
    return [Candidate(claim, 0, 0) for claim in claims if claim.window.end <= at and not claim.within]


def _sums(
    desk: Desk, elements: Iterable[str], at: int, limits_w: Mapping[str, int] | None = None
) -> dict[str, ElementSums]:
    """What elements carry now and what is reserved by an instant, under the limits of then, or others."""
    found = {}
    for name in elements:
        meter = desk.ledger.meters.get(name)
        if meter is not None:
            limit_w = meter.limit_at(at) if limits_w is None else limits_w[name]
            found[name] = ElementSums(meter, limit_w=limit_w, reserved=meter.reserved_sums(at))
    return found


def _shed_by(
    desk: Desk, at: int, sums: Mapping[str, ElementSums], found: Iterable[Candidate], but: Preemption | None = None
) -> Steps[Shed]:
    """Those of the candidates who have to go by then; reservations that begin by then count, plans do not."""
    desk.now()
    away = {one.id: one for one in (*leaving(desk, but, by=at), *not_started(desk), *ended_by(desk, at))}
    there = [one for one in unless_changed(desk, found) if one.id not in away]
    return (yield from shed(desk.ledger, there, sums, away.values()))


def _soon(desk: Desk) -> dict[int, set[str]]:
    """Instant for which somebody may have to be told by now → the elements that are cut then.

    What holds at an instant was seen to when it began: later only what begins at it can make it too much.
    """
    longest_s = max((tier.notice_s or 0 for tier in desk.tiers), default=0)
    found: dict[int, set[str]] = {}
    if not desk.ends_jobs_after_cuts:
        return found
    now = desk.now()
    last, ahead = now + longest_s + LEAVE_S, desk.preempting.ahead
    for name in desk.derates.touched & desk.ledger.meters.keys():
        meter = desk.ledger.meters[name]
        starts = [*(one.window.start for one in meter.planned), *(one.window.start for one in meter.reserved.values())]
        for at in starts:
            if now < at <= last and ahead.get(at, 0) <= now and _is_cut_at(desk, meter, at):
                found.setdefault(at, set()).add(name)
    desk.preempting.ahead = {at: until for at, until in ahead.items() if at > now}
    return found


def _is_cut_at(desk: Desk, meter: Meter, at: int) -> bool:
    return meter.limit_at(at) < (desk.declared.topology.declared_w(meter.name) or 0)


def _is_ahead(desk: Desk, one: Preemption) -> bool:
    return one.cut_at is not None and one.cut_at > desk.ledger.now
