"""Reservations in zones that carry nothing any more: they move where their terms let them, else they are missed."""

from dataclasses import replace

from slurm_power.core.derate import limit_at
from slurm_power.core.reservation import OPEN, Reservation, ReservationEvent, ReservationState
from slurm_power.core.window import FOREVER, Window
from slurm_power.service.desk import Desk
from slurm_power.service.reserved import after
from slurm_power.service.reserving import anew

_LASTING_S = 15
"""So long a zone has to be away: whoever is back at once has lost nothing."""
_AHEAD_S = 3_600
"""One that begins later than this waits for its zone to come back."""


def rehome(desk: Desk) -> list[Reservation]:
    """Those that have been given another place, or are missed; they are kept so from here on."""
    moment, before = desk.clock.monotonic(), desk.lost
    away = [name for name in desk.ledger.nodes if desk.ledger.meters[name].limit_w <= 0]
    desk.lost = {name: before.get(name, moment) for name in away}
    lost = {name for name, since in desk.lost.items() if moment - since >= _LASTING_S}
    if not lost or not desk.settled:
        return []
    found = []
    for one in list(desk.reserved):
        gone = sorted(lost & {grant.zone for grant in one.grants})
        if gone and _concerned(desk, one, gone[0]):
            with desk.faults.apart(f"reservation {one.name}"):
                changed = _elsewhere(desk, one, gone[0]) or _missed(desk, one, gone[0])
                desk.reserved.put(changed)
                desk.book.look_again()
                found.append(changed)
    return found


def _concerned(desk: Desk, one: Reservation, zone: str) -> bool:
    """Whether it is open, or is about to begin while its zone is away."""
    if one.state in OPEN:
        return True
    soon = one.terms.window.start <= desk.ledger.now + _AHEAD_S
    return one.state is ReservationState.APPROVED and soon and _until(desk, zone) > one.terms.window.start


def _until(desk: Desk, zone: str) -> int:
    """When the zone will carry anything again, as far as that is known."""
    topology, now = desk.declared.topology, desk.ledger.now
    concerned = {zone, *(tap.feed for tap in topology.taps[zone])}
    own = [one for one in desk.derates if one.element in concerned]
    for end in sorted({one.window.end for one in own if one.window.end > now}):
        left_w = topology.without(desk.derates.dark(topology, end)).zones[zone].limit_w
        if limit_at(left_w, [one for one in own if one.element == zone], end) > 0:
            return end
    return FOREVER


def _elsewhere(desk: Desk, one: Reservation, zone: str) -> Reservation | None:
    """The same in other zones of its terms; None where none has room."""
    now = desk.ledger.now
    window = Window(max(one.terms.window.start, now), one.terms.window.end)
    if window.end <= now:
        return None
    grants = anew(desk, one, window)
    if not grants:
        return None
    names = ", ".join(grant.zone for grant in grants)
    return replace(one, grants=grants, cause=f"zone {zone} was lost ({_why(desk, zone)}); it has moved to {names}")


def _missed(desk: Desk, one: Reservation, zone: str) -> Reservation:
    cause = f"zone {zone} was lost ({_why(desk, zone)}), and no other of its zones has room for it"
    return after(one, ReservationEvent.MISS, desk.ledger.now, cause)


def _why(desk: Desk, zone: str) -> str:
    """What has taken its power away, in words."""
    feeds = {tap.feed for tap in desk.declared.topology.taps[zone]}
    holding = [one for one in desk.derates if one.element in {zone, *feeds} and desk.ledger.now in one.window]
    return "; ".join(f"{one.element}: {one.reason}" for one in holding) or "it carries nothing"
