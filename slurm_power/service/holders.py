"""Who owns the watts of each zone, until when, what becomes of them if nobody uses them; and watts that are stranded.

Stranded are watts that are reserved and not used now, and room that jobs wait for and that none of them fits.
"""

from collections.abc import Callable, Iterator

from slurm_power.core.claim import Claim
from slurm_power.core.lifecycle import State
from slurm_power.core.reservation import Reservation, ReservationState, next_change
from slurm_power.core.steps import Steps
from slurm_power.core.window import FOREVER, format_instant
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk

Row = dict[str, object]
_AT_ONCE = 200
"""Jobs that are looked at before others get their turn."""
_JOBS_AT_ONCE = 50
"""The same, where rows are made of them."""


def zone_rows(desk: Desk) -> Steps[list[Row]]:
    """Each zone's watts that are free, reserved and unused, or room that no waiting job fits; step by step."""
    least_w = yield from _least_waiting_w(desk)
    unused_w = _unused_w(desk)
    rows: list[Row] = []
    for name in sorted(desk.site.topology.zones):
        room_w, waiting_w = max(desk.ledger.room_w(name), 0), least_w.get(name)
        rows.append(
            {
                "zone": name,
                "usable_w": desk.ledger.meters[name].usable_w,
                "committed_w": desk.ledger.meters[name].committed_w,
                "unused_w": unused_w.get(name, 0),
                "room_w": room_w,
                "least_waiting_w": waiting_w,
                "stranded_w": room_w if waiting_w is not None and waiting_w > room_w else 0,
            }
        )
    return rows


def _unused_w(desk: Desk) -> dict[str, int]:
    """Zone → what reservations keep there and no job on nodes uses, in W."""
    unused: dict[str, int] = {}
    for one in desk.reserved:
        if one.state is ReservationState.ACTIVE:
            used = running_w(desk, one)
            for grant in one.grants:
                unused[grant.zone] = unused.get(grant.zone, 0) + max(grant.watts_w - used.get(grant.zone, 0), 0)
    return unused


def running_w(desk: Desk, one: Reservation) -> dict[str, int]:
    """Zone → watts that jobs on nodes hold of a reservation, in W."""
    found: dict[str, int] = {}
    for claim in desk.ledger.within(one.claim_id):
        entry = desk.book.get(claim.id)
        if entry is not None and entry.state is State.RUNNING:
            for charge in claim.charges:
                found[charge.zone] = found.get(charge.zone, 0) + charge.est_w
    return found


def _least_waiting_w(desk: Desk) -> Steps[dict[str, int]]:
    """Zone → the least est of the waiting jobs that may go there, in W."""
    asked: dict[tuple[str, frozenset[str] | None, frozenset[str]], int] = {}
    for number, key in enumerate(desk.book.keys_in(State.WAITING)):
        if number % _AT_ONCE == 0:
            yield
        entry = desk.book.get(key)
        if entry is not None and entry.ask is not None:
            request = entry.ask.request
            where, est_w = (request.pool, request.zones, request.excluded), request.est_w // request.ask.copies
            asked[where] = min(asked.get(where, est_w), est_w)
    pools = desk.world.pools()
    least: dict[str, int] = {}
    for (pool, zones, excluded), est_w in asked.items():
        allowed = zones if zones is not None else pools.get(pool, desk.site.topology.zones)
        for zone in set(allowed) - excluded:
            least[zone] = min(least.get(zone, est_w), est_w)
    return least


def holder_rows(
    desk: Desk, sees: Callable[[Reservation], bool], viewer: int | None, zone: str | None = None
) -> Iterator[Row | None]:
    """Who holds watts now or has them reserved: reservations that `sees` lets through, by name, then jobs by id.

    `viewer` is the uid of a user who may learn of his own jobs only; `zone`: of this zone alone. None between jobs:
    others may have their turn.
    """
    for one in list(desk.reserved):
        if sees(one):
            yield from (row for row in _of_reservation(desk, one) if zone in (None, row["zone"]))
    for number, key in enumerate(sorted(desk.ledger.claims if zone is None else desk.ledger.ids_in(zone))):
        if number % _JOBS_AT_ONCE == 0:
            yield None
        entry = desk.book.get(key)
        if entry is not None and viewer in (None, entry.uid):
            yield from (row for row in _of_job(desk, entry) if zone in (None, row["zone"]))


def _of_reservation(desk: Desk, one: Reservation) -> Iterator[Row]:
    used = running_w(desk, one)
    owner, window = one.terms.owner, one.terms.window
    returns = _returns_at(one, desk.ledger.now)
    for grant in one.grants:
        yield {
            "zone": grant.zone,
            "kind": "reservation",
            "name": one.name,
            "state": str(one.state),
            "accounts": list(owner.accounts),
            "users": list(owner.users),
            "watts_w": grant.watts_w,
            "used_w": used.get(grant.zone, 0),
            "since": format_instant(window.start),
            "until": format_instant(window.end),
            "returns_at": format_instant(returns) if returns is not None else None,
            "otherwise": _OTHERWISE.get(one.state, ""),
        }


_OTHERWISE = {
    ReservationState.APPROVED: "if no job starts by then, its watts return to everybody",
    ReservationState.ACTIVE: "if no job of it runs by then, its watts return to everybody",
    ReservationState.DEGRADED: "its watts are everybody's; once it is used and they are free, it keeps them again",
}


def _returns_at(one: Reservation, now: int) -> int | None:
    """When its watts return to everybody if no job uses them; None where they have, or it has none yet.

    One that has still to make room for itself, and is late, does not begin before now.
    """
    if one.state is ReservationState.APPROVED:
        return min(max(one.terms.window.start, now) + one.terms.grace_s, one.terms.window.end)
    return next_change(one) if one.state is ReservationState.ACTIVE else None


def _until(entry: Entry, claim: Claim) -> int:
    """When the job ends by its time limit. A claim within a reservation counts to the reservation's end at least."""
    record, request = entry.record, entry.ask.request if entry.ask is not None else None
    if not claim.within:
        return claim.window.end
    if record is not None and record.end_time is not None and entry.state is State.RUNNING:
        return record.end_time
    limit_s = request.time_limit_s if request is not None else None
    return claim.window.end if limit_s is None else min(claim.window.start + limit_s, claim.window.end)


def _of_job(desk: Desk, entry: Entry) -> Iterator[Row]:
    claim, running = desk.ledger.claims.get(entry.key), entry.state is State.RUNNING
    if claim is None:
        return
    released = entry.released if entry.released is not None else entry.created
    returns = None if running else released + desk.site.policy.start_grace_s
    until = _until(entry, claim)
    for charge in claim.charges:
        yield {
            "zone": charge.zone,
            "kind": "job",
            "name": desk.book.name_of(entry.key) or entry.token,
            "state": str(entry.state),
            "accounts": [claim.account] if claim.account else [],
            "users": [entry.record.user if entry.record is not None and entry.record.user else str(entry.uid)],
            "watts_w": charge.est_w,
            "used_w": charge.est_w if running else 0,
            "since": format_instant(claim.window.start),
            "until": format_instant(until) if until < FOREVER else None,
            "returns_at": format_instant(returns) if returns is not None else None,
            "otherwise": "" if running else "if it has not started by then, it is held and placed anew",
        }
