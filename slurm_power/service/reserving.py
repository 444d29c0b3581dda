"""Reservations of power as use cases: what is offered for terms, and what time and use do to those that there are.

Everything here answers from memory and leaves writing down to the caller.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum

from slurm_power.core.ask import AllOf, AnyOf, Ask, Charges, charges_of
from slurm_power.core.asker import Asker
from slurm_power.core.calendar import Alternative, Calendar
from slurm_power.core.claim import RESERVATION, WHOLE_NODE, Claim
from slurm_power.core.diagnosis import shortage
from slurm_power.core.immutable import immutable
from slurm_power.core.kept import Kept, drawing
from slurm_power.core.ledger import Ledger
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import fewest
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.reservation import (
    KEEPING,
    OPEN,
    Grant,
    Reservation,
    ReservationEvent,
    ReservationState,
    Terms,
    WhenShort,
    due,
)
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.trial import Trial
from slurm_power.core.window import Window
from slurm_power.service.candidates import some_day
from slurm_power.service.desk import Desk
from slurm_power.service.reserved import after
from slurm_power.service.shares import caps

_PLANNED_IN = 8
"""One for no more zones may be in the place of others: who has to go is chosen at once, and submissions wait for it."""
_ELSEWHERE = 64
"""In so many other zones, by name, a place is looked for."""


class Answer(StrEnum):
    """Whether terms can be fulfilled."""

    FITS = "fits"
    LATER = "later"
    """Not as asked."""
    NEVER = "never"
    """Not on an empty floor either."""


@immutable
class Offer:
    """What would become of terms."""

    answer: Answer
    grants: tuple[Grant, ...] = ()
    reasons: tuple[Reason, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    preempts: bool = False
    """Whether jobs that run now have to give way before it begins."""

    @property
    def cause(self) -> str:
        """Why it was refused, for people."""
        return "; ".join(reason.text for reason in self.reasons)


def offer(desk: Desk, terms: Terms, instead: Reservation | None = None) -> Offer:
    """What these terms would be granted now; `instead` is the reservation that they are to take the place of.

    One that has not begun may be in the place of jobs that its tier may preempt, by its policy, in a few zones, and
    where it has no nodes of its own: Slurm reserves none that are in use.
    """
    found = _offered(desk, terms, instead)
    begun = instead is not None and instead.state in OPEN
    unfit = begun or terms.nodes or len(terms.zones) > _PLANNED_IN
    if found.answer is not Answer.LATER or terms.policy is not WhenShort.PREEMPT or unfit:
        return found
    lawful = desk.preempting.law.victims_of(desk.site.policy.tiers[terms.tier].qos)
    others = some_day(desk, lawful, terms.zones)
    with Trial(desk.ledger) as trial:
        trial.without(others)
        then = _offered(desk, terms, instead)
    if not then.grants:
        return found
    now = desk.ledger.now
    before = instead or Reservation("", terms, ReservationState.APPROVED, now, now, 0)
    one = replace(before, terms=terms, grants=then.grants, state=ReservationState.APPROVED)
    too_many = _too_many(desk, one, others)
    return replace(then, preempts=True) if too_many is None else replace(found, reasons=(*found.reasons, too_many))


def _too_many(desk: Desk, planned: Reservation, others: Sequence[Candidate]) -> Reason | None:
    """Why it could not make room for itself: by what runs now, more would have to give way than may in an hour.

    A bound that is quickly told; where other zones or fewer watts would do as well it is not asked.
    """
    terms, claim, most = planned.terms, planned.claim(), desk.site.preemption.per_hour
    if claim is None or terms.any_zone or terms.min_w is not None or len(others) <= most:
        return None
    least = fewest(desk.ledger, claim, others)
    if least <= most * len({one.rank for one in others}):
        return None
    detail = f"at least {least} jobs would have to give way, of each tier no more than {most} may in an hour"
    return Reason(Code.RESERVATION, planned.name, detail=detail)


def _offered(desk: Desk, terms: Terms, instead: Reservation | None) -> Offer:
    ledger = desk.ledger
    if instead is None:
        return _offer(desk, ledger, terms, None)
    no_more = _no_more(instead, terms)
    promised = terms.policy is WhenShort.WAIT and instead.planned  # what was but a plan has to fit from now on
    if no_more is not None and not promised:
        return Offer(Answer.FITS, no_more)
    with ledger.set_aside(instead.claim_id):
        found = _offer(desk, ledger, terms, instead)
    if not found.grants:
        return found
    one = replace(instead, terms=terms, grants=found.grants)
    short = _short_beside(desk, one) or _short_beside(desk, with_both(instead, one))
    return found if short is None else Offer(Answer.LATER, reasons=(shortage(ledger, short),))


def anew(desk: Desk, one: Reservation, window: Window) -> tuple[Grant, ...]:
    """Where its terms can be fulfilled over a window as if it had nothing yet; nowhere, and there is nothing.

    What was promised is promised: how much its owner may reserve is not asked again.
    """
    terms = one.terms
    with desk.ledger.set_aside(one.claim_id):
        return _placed(Calendar(desk.ledger, RESERVATION + terms.name), replace(terms, window=window)) or ()


def _placed(calendar: Calendar, terms: Terms) -> tuple[Grant, ...] | None:
    """What fits, in whole or as little as is useful; None where nothing does."""
    roomy = with_nodes(ask_of(terms), terms, calendar.ledger)
    found = calendar.place(roomy, terms.window) if roomy is not None else None
    if found is None and roomy is not None and terms.min_w is not None:
        found = calendar.partial(roomy, terms.window, terms.min_w)
    return tuple(replace(grant, nodes=terms.nodes) for grant in grants_of(found)) if found is not None else None


def with_both(before: Reservation, one: Reservation) -> Reservation:
    """One that keeps what either keeps: so it is while what becomes of it is being made durable.

    Where their windows are apart, what was kept `before` is to be kept beside it: others may be between them. One that
    has still to make room for itself keeps nothing.
    """
    if before.planned or before.claim() is None or not before.terms.window.overlaps(one.terms.window):
        return one
    grants = {grant.zone: grant for grant in one.grants}
    for had in before.grants:
        new = grants.get(had.zone, had)
        most_w, most_burst_w = max(had.watts_w, new.watts_w), max(had.burst_w, new.burst_w)
        grants[had.zone] = Grant(had.zone, most_w, most_burst_w, max(had.nodes, new.nodes))
    window, kept = one.terms.window, before.terms.window
    longest = Window(min(window.start, kept.start), max(window.end, kept.end))
    zones = tuple(grants[zone] for zone in sorted(grants))
    return replace(one, terms=replace(one.terms, window=longest), grants=zones)


def _no_more(before: Reservation, terms: Terms) -> tuple[Grant, ...] | None:
    """The grants of terms that ask nowhere and at no time for more than is kept already: also after a cut they hold."""
    zones = {grant.zone for grant in before.grants}
    window, kept = terms.window, before.terms.window
    if before.state not in KEEPING or window.start < kept.start or window.end > kept.end:
        return None
    ask = ask_of(terms)
    if isinstance(ask, AllOf):
        grants = grants_of(charges_of(ask.shares, ask))
    elif len(zones) == 1 and zones <= set(ask.zones):
        grants = grants_of(charges_of([(zone, ask.watts) for zone in zones], ask))
    else:
        return None
    grants = tuple(replace(one, nodes=terms.nodes) for one in grants)
    return grants if covers(before.grants, grants) else None


def covers(had: Iterable[Grant], grants: Iterable[Grant]) -> bool:
    """Whether grants are nowhere for more than those are."""
    in_zone = {one.zone: one for one in had}
    return all(
        (more := in_zone.get(one.zone)) is not None
        and one.watts_w <= more.watts_w
        and one.burst_w <= more.burst_w
        and one.nodes <= more.nodes
        for one in grants
    )


def _offer(desk: Desk, ledger: Ledger, terms: Terms, instead: Reservation | None) -> Offer:
    ask, window = ask_of(terms), terms.window
    others = (one for one in desk.reserved if instead is None or one.id != instead.id)
    cap_w = caps(desk.declared, terms, list(others), desk.metering.score(terms.owner, desk.ledger.now))
    calendar = Calendar(ledger, RESERVATION + terms.name, cap_w=cap_w)
    roomy = with_nodes(ask, terms, ledger)
    if roomy is None:
        return _short_of_nodes(desk, terms)
    grants = _placed(calendar, terms)
    if grants is not None:
        return Offer(Answer.FITS, grants)
    empty = Calendar(desk.floor, RESERVATION + terms.name, cap_w=caps(desk.declared, terms, []))
    least_w = ask.watts if terms.min_w is None else terms.min_w
    answer = Answer.NEVER if empty.partial(ask, window, least_w) is None else Answer.LATER
    instead_of_it = calendar.alternatives(roomy, window, _others(desk, terms))
    return Offer(answer, reasons=(_reason(calendar, roomy, terms),), alternatives=instead_of_it)


def with_nodes(ask: Ask, terms: Terms, ledger: Ledger) -> Ask | None:
    """The ask for those of its zones that have its nodes over the whole window; None where none has."""
    if not terms.nodes:
        return ask
    zones = tuple(zone for zone in ask.zones if free_nodes(ledger, zone, terms.window) >= terms.nodes)
    if not zones:
        return None
    return ask if isinstance(ask, AllOf) else AnyOf(zones, ask.watts, ask.burst_w)


def free_nodes(ledger: Ledger, zone: str, window: Window) -> int:
    """Whole nodes that neither jobs nor reservations have at any instant of the window."""
    taken = ledger.meters[zone].most_milli(window, ledger.now)
    return max(ledger.nodes[zone].up * WHOLE_NODE - taken, 0) // WHOLE_NODE


def _short_of_nodes(desk: Desk, terms: Terms) -> Offer:
    free, zone = max((free_nodes(desk.ledger, zone, terms.window), zone) for zone in terms.zones)
    answer = Answer.LATER if max(desk.floor.nodes[name].up for name in terms.zones) >= terms.nodes else Answer.NEVER
    detail = f"asked {terms.nodes} for the whole time, free {free}"
    return Offer(answer, reasons=(Reason(Code.NODES, zone, detail=detail),))


def ask_of(terms: Terms) -> Ask:
    """What is asked of the calendar: each of the zones an even part, or any of them, as few as will do."""
    if terms.any_zone:
        return AnyOf(terms.zones, terms.watts_w, terms.burst_w, len(terms.zones))
    count = len(terms.zones)
    shares = [(zone, (terms.watts_w + number) // count) for number, zone in enumerate(sorted(terms.zones))]
    return AllOf(tuple(shares), terms.burst_w)


def grants_of(charges: Charges) -> tuple[Grant, ...]:
    """What a place in the calendar grants."""
    return tuple(Grant(charge.zone, charge.est_w, charge.max_w - charge.est_w) for charge in charges)


def _others(desk: Desk, terms: Terms) -> list[str]:
    return [zone for zone in sorted(desk.site.topology.zones) if zone not in terms.zones][:_ELSEWHERE]


def _reason(calendar: Calendar, ask: Ask, terms: Terms) -> Reason:
    """What stands in the way: of zones that are all asked for, in the first; of any, in that where most is free."""
    for zone, watts in _parts(calendar, ask, terms):
        cap_w = calendar.cap_w.get(zone, watts)
        if watts > cap_w:
            return Reason(Code.SHARE, zone, watts, cap_w)
        short = calendar.lack(charges_of([(zone, watts)], ask), terms.window)
        if short is not None:
            return shortage(calendar.ledger, short)
    return Reason(Code.RESERVATION, terms.name, detail="its zones cannot carry it together")


def _parts(calendar: Calendar, ask: Ask, terms: Terms) -> list[tuple[str, int]]:
    """(zone, W) of each part of the ask."""
    if isinstance(ask, AllOf):
        return list(ask.shares)
    roomiest = max(ask.zones, key=lambda zone: (calendar.free(zone, terms.window).watts, zone))
    return [(roomiest, ask.watts)]


# -- time and use ----------------------------------------------------------------------------------------------------


def changes(desk: Desk) -> list[Reservation]:
    """What time and use make of the reservations; those that have changed are kept so from here on.

    All but those that are to be degraded: see `degrade`.
    """
    now = desk.now()
    changed = list(desk.missed)
    desk.missed.clear()
    for reservation in list(desk.reserved):
        with desk.faults.apart(f"reservation {reservation.name}"):
            one = _changed(desk, reservation, now)
            if one is not None:
                changed.append(one)
    return changed


def _changed(desk: Desk, reservation: Reservation, now: int) -> Reservation | None:
    one = _noted(desk, reservation, now)
    event = due_now(desk, one)
    if event is None:
        return None
    one = after(one, event, now, _CAUSES[event])
    if event is not ReservationEvent.DEGRADE:
        _put(desk, one)
    return one


def due_now(desk: Desk, one: Reservation) -> ReservationEvent | None:
    """What time and use do to it now, where its watts allow it; None: nothing.

    One that is degraded comes back, and one to which others give way begins, once all that it was granted is free;
    where that has not come before its end, or cannot come any more, it is missed.
    """
    now = desk.ledger.now
    event = due(one, now, used=_used(desk, one))
    room_first = event is ReservationEvent.USE or (event is ReservationEvent.BEGIN and one.planned)
    if not room_first:
        return event
    if not desk.settled:
        return None  # zones may look emptier than they are
    if _fits(desk, one):
        return event
    over = now >= one.terms.window.end or not _fits_anybody(desk, one)
    return ReservationEvent.MISS if event is ReservationEvent.BEGIN and over else None


def degrade(desk: Desk, one: Reservation, before: Reservation | None) -> bool:
    """Its watts are anybody's from here on; to be called once that is durable, else a restart would promise them twice.

    False, and nothing has changed, where it is no longer as it was `before`, or has been used meanwhile.
    """
    if desk.reserved.of_claim(one.claim_id) is not before or _used(desk, one):
        return False
    _put(desk, one)
    return True


def _put(desk: Desk, one: Reservation) -> None:
    desk.reserved.put(one)
    if one.claim() is None:
        desk.book.look_again()  # claims within it have been counted to its end at least


_CAUSES = {
    ReservationEvent.REFUSE: "nobody has approved it before its start",
    ReservationEvent.BEGIN: "its window has opened",
    ReservationEvent.DEGRADE: "nobody has used it for its grace",
    ReservationEvent.USE: "it is used again, and its watts are free",
    ReservationEvent.RELEASE: "its window has ended while nobody used it",
    ReservationEvent.EXPIRE: "its window has ended",
    ReservationEvent.MISS: "it could not begin: its watts did not come free",
}


def _used(desk: Desk, reservation: Reservation) -> bool:
    return any(desk.reserved.used_w(reservation).values())


def _noted(desk: Desk, reservation: Reservation, now: int) -> Reservation:
    """With the instant of its last use; that is written down with the next change."""
    if not _used(desk, reservation):
        return reservation
    noted = replace(reservation, last_used=now)
    desk.reserved.note(noted)
    return noted


def _fits(desk: Desk, reservation: Reservation) -> bool:
    """Whether all that it was granted can be kept from now on, beside what others hold and have been promised."""
    return _short_beside(desk, replace(reservation, state=ReservationState.ACTIVE)) is None


def _fits_anybody(desk: Desk, reservation: Reservation) -> bool:
    """Whether an empty floor could carry what it was granted: after a cut it may not."""
    claim = reservation.claim()
    return claim is None or desk.floor.shortfall(claim.charges, Asker(claim.group, claim.window)) is None


def _short_beside(desk: Desk, one: Reservation) -> Shortfall | None:
    """What could not carry its jobs, each until its end and in its group, and beside them the rest of its grants.

    They may hold watts in zones that it has left, or is to leave: so what it would have without them is not enough.
    """
    ledger, claim = desk.ledger, one.claim()
    if claim is None:
        return None
    would = Kept()
    would.put(claim)
    draws = [drawing(draw, claim) for draw in ledger.within(claim.id)]
    for draw in draws:
        would.draw(draw)
    left = would.left(claim.id)
    with ledger.set_aside(claim.id):
        return _short_of(ledger, draws if left is None else [*draws, left])


def _short_of(ledger: Ledger, claims: Sequence[Claim]) -> Shortfall | None:
    """What could not carry these claims, one beside the other; for a question, then all is as it was."""
    added = []
    try:
        for claim in claims:
            short = ledger.shortfall(claim.charges, Asker(claim.group, claim.window))
            if short is not None:
                return short
            ledger.add(claim)
            added.append(claim.id)
        return None
    finally:
        for claim_id in added:
            ledger.remove(claim_id)
