"""An operator's override: a held job is placed now, ahead of the queue, within physics.

Order, lanes, headroom floors and class hours give way; watts, bursts, feeds, cooling, nodes, and where the job itself
may go do not.
"""

from dataclasses import replace

from slurm_power.core.admission import admit
from slurm_power.core.diagnosis import shortage
from slurm_power.core.errors import UsageError
from slurm_power.core.lifecycle import Event, State
from slurm_power.core.placement import Placer
from slurm_power.core.request import Request
from slurm_power.core.shortfall import Shortfall
from slurm_power.ports import HoldKind, JobRecord
from slurm_power.service.asking import Ask
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.plan import Plan
from slurm_power.service.queueing import Queue


def place(desk: Desk, entry: Entry, zone: str | None) -> Plan:
    """The plan that binds a held job to a zone (None: to that which is tightest) and releases it.

    Its watts count from here on. Raises UsageError where it cannot be, with what stands in the way.
    """
    ask, record = _held(desk, entry)
    placer, there = _fitting(desk, ask, zone)
    verdict = admit(placer.request, desk.ledger, placer.placement_in(there))
    if entry.state is State.PARKED:
        desk.book.move(entry, Event.WAIT)
    plan = Queue(desk).bind(entry, ask, record, verdict)
    if plan is None:
        why = "; ".join(reason.text for reason in getattr(entry.verdict, "reasons", ()))
        raise UsageError(f"job {entry.name} cannot be bound in Slurm: {why}")
    return plan


def _held(desk: Desk, entry: Entry) -> tuple[Ask, JobRecord]:
    """What it asks, and Slurm's record of it, where an operator may place it. Raises UsageError."""
    ask, record = entry.ask, entry.record
    name = entry.name
    if desk.book.get(entry.key) is not entry:
        raise UsageError(f"job {name} has left Slurm meanwhile")
    if entry.state not in (State.WAITING, State.PARKED) or record is None or ask is None or not record.held:
        raise UsageError(f"job {name} is {entry.state}; only one that is held for power can be placed")
    if entry.hold is not HoldKind.POWER:
        raise UsageError(f"job {name} is held by its user or an administrator too; they let it go first")
    if record.het_job_id is not None or record.array_tasks:
        raise UsageError(f"job {name} is placed by parts; name one task of it, such as {record.job_id}_3")
    if ask.request.reservation:
        raise UsageError(f"job {name} draws on reservation {ask.request.reservation}; it is placed there or not at all")
    if ask.waits is not None and not ask.hours:
        raise UsageError(f"job {name}: {ask.waits.text}")
    if not desk.settled:
        raise UsageError("the site's zones have just changed; please try again in a moment")
    return ask, record


def _fitting(desk: Desk, ask: Ask, zone: str | None) -> tuple[Placer, str]:
    """A zone that can carry the job, and a placer narrowed to it. Raises UsageError."""
    allowed = _allowed(desk, ask)
    if zone is not None and zone not in allowed:
        known = ", ".join(sorted(allowed)[:8])
        raise UsageError(f"the job may not go to zone {zone}: its partition, zones= or nodes allow {known}")
    candidates = [zone] if zone is not None else sorted(allowed, key=lambda name: (desk.ledger.room_w(name), name))
    obstacles = []
    for name in candidates:
        placer = _placer(desk, ask.request, name)
        obstacle = placer.obstacle(name)
        if obstacle is None:
            return placer, name
        obstacles.append(f"{name}: {_told(desk, name, obstacle)}")
    raise UsageError(f"it cannot be placed within physics: {'; '.join(obstacles[-3:])}")


def _allowed(desk: Desk, ask: Ask) -> frozenset[str]:
    request = ask.request
    zones = request.zones if request.zones is not None else frozenset(desk.ledger.plan.pools.get(request.pool, ()))
    return frozenset(zones) - request.excluded


def _placer(desk: Desk, request: Request, zone: str) -> Placer:
    """Beside the plan for whoever heads the queue: that gives way."""
    narrowed = replace(request, zones=frozenset({zone}), headroom_w=0, not_before=0)
    return Placer(narrowed, desk.ledger, narrowed.window(desk.now()), desk.shadow.id)


def _told(desk: Desk, zone: str, obstacle: Shortfall | str) -> str:
    if isinstance(obstacle, Shortfall):
        return shortage(desk.ledger, obstacle).text
    return f"closed: {desk.ledger.closed[zone]}" if obstacle == "closed" else "not enough free nodes"
