"""Reconciliation as a plan: whatever differs between Slurm, the database, the site file and our promises.

The same for the daemon's loop and for `sreservation reconcile`. Nothing is changed here.
"""

from collections.abc import Iterable, Iterator, Sequence

from slurm_power.config.against_slurm import Aspect, Severity, differences
from slurm_power.core.reservation import ReservationEvent
from slurm_power.service.desk import Desk
from slurm_power.service.drift_jobs import JobDrift
from slurm_power.service.finding import Finding, Kind, Seen
from slurm_power.service.mirror import holdings, steps
from slurm_power.service.reserving import due_now

_DUE = {
    ReservationEvent.BEGIN: (Kind.RESERVATION_LATE, "its window is open, and it has not begun", "begun"),
    ReservationEvent.EXPIRE: (Kind.RESERVATION_OVER, "its window has ended", "ended"),
    ReservationEvent.RELEASE: (Kind.RESERVATION_OVER, "its window has ended", "ended"),
    ReservationEvent.MISS: (Kind.RESERVATION_OVER, "its watts did not come free", "ended as missed"),
    ReservationEvent.REFUSE: (Kind.RESERVATION_OVER, "nobody has approved it before its start", "refused"),
    ReservationEvent.DEGRADE: (Kind.RESERVATION_UNUSED, "nobody has used it for its grace", "its watts are given back"),
}
_MIRRORED = {
    "missing": ("Slurm does not have it", "made"),
    "count": ("Slurm reserves other watts for it", "its watts are set"),
    "owner": ("Slurm has it for somebody else", "its owner is set"),
    "ending": ("Slurm would let go of it within half a year", "prolonged"),
    "forgotten": ("Slurm shows its watts and does not count them", "its watts are set again"),
    "foreign": ("bears our prefix, and nothing of ours wants it", "deleted, unless a job names it"),
}
_ASPECTS = {
    Aspect.NODES: (Kind.ZONE_NODES, "mend the site file or slurm.conf"),
    Aspect.FEATURE: (Kind.NODE_FEATURE, "mend slurm.conf: spower render slurm"),
    Aspect.PARTITION: (Kind.PARTITION_MISSING, "mend the site file or slurm.conf"),
    Aspect.LICENCE: (Kind.LICENCE_TOTAL, "mend slurm.conf: spower render slurm; then scontrol reconfigure"),
}


def findings(desk: Desk, seen: Seen) -> Iterator[Finding | None]:
    """All that differs, in no order; None where others may be answered."""
    yield from JobDrift(desk, seen.licenses).look()
    yield from _reservations(desk)
    yield from _mirrored(desk, seen)
    yield from _holds(seen)
    yield from _intents(seen)
    yield from _site(desk, seen)


def in_order(found: Iterable[Finding | None]) -> list[Finding]:
    """The findings without the pauses between them, by kind and subject."""
    return sorted((one for one in found if one is not None), key=lambda one: one.order)


def _reservations(desk: Desk) -> Iterator[Finding]:
    """What time or the site file has done to reservations, and nobody has written down."""
    for one in desk.missed:
        yield Finding(Kind.RESERVATION_ZONE, one.name, one.cause, "ended as missed")
    for one in desk.reserved:
        event = due_now(desk, one)
        if event in _DUE:
            kind, found, remedy = _DUE[event]
            yield Finding(kind, one.name, f"is {one.state}: {found}", remedy)


def _mirrored(desk: Desk, seen: Seen) -> Iterator[Finding]:
    now = desk.ledger.now
    for step in steps(holdings(desk), seen.reservations, seen.licenses, now, desk.version):
        found, remedy = _MIRRORED[step.finding]
        yield Finding(Kind(f"reservation-{step.finding}"), step.name, found, remedy, chain=step.chain)


def _holds(seen: Seen) -> Iterator[Finding]:
    for row in seen.rows:
        if seen.holds.get(row.token) is None:
            what = "is not held" if row.token in seen.holds else "is gone"
            found = f"the database remembers a hold ({row.hold}), and the job {what}"
            yield Finding(Kind.HOLD_STALE, row.token, found, "forgotten", keys=(row.token,))


def _intents(seen: Seen) -> Iterator[Finding]:
    for intent in seen.intents:
        found = f"{intent.action} {intent.target} was cut off"
        yield Finding(Kind.INTENT_OPEN, str(intent.id), found, "closed; Slurm was read anew")


def _site(desk: Desk, seen: Seen) -> Iterator[Finding | None]:
    """The site file against Slurm. All of this is for an administrator to mend."""
    world = desk.world
    partitions = {name: partition.nodes for name, partition in world.partitions.items()}
    for one in differences(desk.declared, dict(world.nodes), partitions, seen.licenses):
        if one is None:
            yield None
        elif one.aspect is not None and (one.severity is Severity.ERROR or one.aspect is Aspect.LICENCE):
            kind, remedy = _ASPECTS[one.aspect]
            yield Finding(kind, one.subject, one.text, remedy, mends=False)
    for name, by_w in seen.miscounts.items():
        found = f"Slurm counts {abs(by_w)} W {'more' if by_w > 0 else 'less'} than its jobs hold"
        yield Finding(Kind.LICENCE_USED, name, found, "scontrol reconfigure, while no job is completing", mends=False)
    yield from _qos(desk, seen)


def _qos(desk: Desk, seen: Seen) -> Iterator[Finding]:
    for tier in desk.tiers:
        if seen.qos is not None and tier.qos not in seen.qos:
            found = f"Slurm does not have the QOS of tier {tier.name}"
            yield Finding(Kind.QOS_MISSING, tier.qos, found, "spower render sacctmgr | sh", mends=False)


def still(found: Sequence[Finding], after: Sequence[Finding]) -> set[tuple[str, str]]:
    """Which of these are found again after the mending."""
    return {one.order for one in found} & {one.order for one in after}
