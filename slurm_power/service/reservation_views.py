"""What `sreservation` shows. JSON-ready, in the shapes of docs/json."""

from collections.abc import Sequence

from slurm_power.core.calendar import Alternative, Kind
from slurm_power.core.giving_way import Trigger
from slurm_power.core.reservation import OPEN, Reservation
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.service.desk import Desk
from slurm_power.service.mirror import names_of
from slurm_power.service.reserving import Offer

SCHEMA = 1
Row = dict[str, object]
_DIFFERS = {Kind.EARLIER: "earlier", Kind.LATER: "later", Kind.LESS: "with fewer watts", Kind.ELSEWHERE: "elsewhere"}


def row(desk: Desk, reservation: Reservation) -> Row:
    """One reservation, with what is used of it now."""
    terms = reservation.terms
    used = desk.reserved.used_w(reservation) if reservation.state in OPEN else {}
    used_w = sum(used.values())
    return {
        "name": reservation.name,
        "id": reservation.id,
        "state": str(reservation.state),
        "since": format_instant(reservation.since),
        "accounts": list(terms.owner.accounts),
        "users": list(terms.owner.users),
        "zones": list(terms.zones),
        "any_zone": terms.any_zone,
        "watts_w": terms.watts_w,
        "min_w": terms.min_w,
        "granted_w": reservation.granted_w,
        "grants": [
            {
                "zone": one.zone,
                "watts_w": one.watts_w,
                "burst_w": one.burst_w,
                "nodes": one.nodes,
                "used_w": used.get(one.zone, 0),
            }
            for one in reservation.grants
        ],
        "used_w": used_w,
        "left_w": max(reservation.granted_w - used_w, 0) if reservation.state in OPEN else None,
        "start": format_instant(terms.window.start),
        "end": format_instant(terms.window.end),
        "tier": terms.tier,
        "policy": str(terms.policy),
        "grace_s": terms.grace_s,
        "burst_w": terms.burst_w,
        "burst_s": terms.burst_s,
        "nodes": terms.nodes,
        "jobs": _jobs(desk, reservation),
        "slurm": names_of(reservation),
        "created": format_instant(reservation.created),
        "created_by": reservation.created_by,
        "cause": _cause(desk, reservation),
    }


def _cause(desk: Desk, one: Reservation) -> str:
    """Why it stands so; of one whose window is open and that has not begun, whom it waits for."""
    if not one.planned or desk.ledger.now < one.terms.window.start:
        return one.cause
    if desk.preempting.serving(Trigger.RESERVATION, one.name) is not None:
        return "its window is open; jobs are giving way to it"
    return f"its window is open; {desk.preempting.why_not.get(one.name) or 'its watts are not free yet'}"


def _jobs(desk: Desk, reservation: Reservation) -> list[str]:
    """The jobs that hold watts of it, by name."""
    names = (desk.book.name_of(claim.id) for claim in desk.ledger.within(reservation.claim_id))
    return sorted(name for name in names if name)


def table(rows: Sequence[Row]) -> Row:
    """The answer of `sreservation show`."""
    return {"schema": SCHEMA, "reservations": list(rows)}


def answer(
    desk: Desk, reservation: Reservation, found: Offer | None, sentence: str, commands: Sequence[str] = ()
) -> Row:
    """The answer of create, update, cancel and check."""
    return {
        "schema": SCHEMA,
        "verdict": str(found.answer) if found is not None else "done",
        "reservation": row(desk, reservation),
        "reasons": [reason.as_json() for reason in found.reasons] if found is not None else [],
        "alternatives": [_alternative(one) for one in found.alternatives] if found is not None else [],
        "commands": list(commands),
        "sentence": sentence,
    }


def _alternative(one: Alternative) -> Row:
    start, end = format_instant(one.window.start), format_instant(one.window.end)
    zones = ", ".join(one.zones)
    return {
        "kind": str(one.kind),
        "zones": list(one.zones),
        "watts_w": one.watts,
        "start": start,
        "end": end,
        "text": f"fits {_DIFFERS[one.kind]}: {format_watts(one.watts)} in {zones} from {start} to {end}",
    }


def granted(reservation: Reservation) -> str:
    """What it has been granted, for people: `40kW in rack07`."""
    parts = [f"{format_watts(one.watts_w)} in {one.zone}" for one in reservation.grants]
    return ", ".join(parts) or "nothing"
