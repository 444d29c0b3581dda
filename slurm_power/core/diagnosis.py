"""Why a request does not fit, when it will, and what would help. Pure, and bounded: a few zones are looked at."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from slurm_power.core.claim import WHOLE_NODE, Charge
from slurm_power.core.ledger import Ledger, Shortfall
from slurm_power.core.placement import Placement, Placer, roomiest
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Cure, Help, Reason
from slurm_power.core.request import Request
from slurm_power.core.topology import FeedKind

_LOOKED_AT = 3
"""Zones that a diagnosis looks at, of each of two kinds: the roomiest, and the roomiest with free nodes."""
_NEXT_TRIES = 16
_SEARCHED_CLAIMS = 500
"""Among how many claims the one is looked for whose end makes room."""


@dataclass(frozen=True, slots=True)
class Start:
    """When and where a request could start at the latest, if nothing else is admitted before it."""

    at: int
    placement: Placement
    after: str = ""
    """The claim whose end makes it possible, where one can be named."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What stands in the way, the earliest start if it can be told, and what would help."""

    reasons: tuple[Reason, ...]
    start: Start | None
    helps: tuple[Help, ...]


def diagnose(request: Request, ledger: Ledger, ignore: str | None = None, others: Iterable[Tier] = ()) -> Diagnosis:
    """Explain why a request that found no place found none. `others` are tiers it might try instead."""
    placer = Placer(request, ledger, request.window(ledger.now), ignore)
    near = roomiest(placer, _LOOKED_AT, any_nodes=False)
    zones = list(dict.fromkeys(near + roomiest(placer, _LOOKED_AT, any_nodes=True)))
    if not zones:
        return Diagnosis((Reason(Code.NO_ZONE, detail=_asked(request)),), None, _as_other(request, ledger, others))
    starts = [start for zone in zones if (start := earliest_in(request, ledger, zone, ignore)) is not None]
    start = min(starts, key=lambda s: (s.at, s.placement.charges[0].zone), default=None)
    chosen = start.placement.charges[0].zone if start is not None else zones[0]
    reason = _reason(placer, chosen)
    helps = [*_fewer_watts(placer, zones)]
    if start is not None:
        helps.append(Help(Cure.LATER, zone=chosen, at=start.at, after_job=start.after))
    helps.extend(_as_other(request, ledger, others))
    return Diagnosis((reason,), start, tuple(helps))


def earliest_in(request: Request, ledger: Ledger, zone: str, ignore: str | None = None) -> Start | None:
    """When the whole request could start in one zone; None where that depends on claims without an end.

    Bursts are taken as they are today, so the true start may be earlier, never later for that.
    """
    charge = Charge(zone, request.ask.total, request.est_w, request.max_w)
    at = ledger.now
    after = ""
    for name in ledger.loads([charge]):
        free_at = _free_at(request, ledger, name, charge)
        if free_at is None:
            return None
        if free_at > at:
            at, after = free_at, _ending(ledger, name, free_at)
    nodes_at = _nodes_at(request, ledger, zone)
    if nodes_at is None:
        return None
    if nodes_at > at:
        at, after = nodes_at, _ending(ledger, zone, nodes_at)
    at = max(at, request.not_before)
    return _past_bookings(request, ledger, zone, at, after, ignore)


def _past_bookings(
    request: Request, ledger: Ledger, zone: str, at: int, after: str, ignore: str | None
) -> Start | None:
    """The first try from `at` on that no booking spoils."""
    ends = sorted({claim.window.end for claim in ledger.bookings() if claim.window.end > at})
    for instant in [at, *ends[:_NEXT_TRIES]]:
        # A start "now" is tried a moment later: today's busy nodes are no reason against the plan.
        start = max(instant, ledger.now + 1)
        placement = Placer(request, ledger, request.window(start), ignore).place_in(zone)
        if placement is not None:
            return Start(start, placement, after)
    return None


def _free_at(request: Request, ledger: Ledger, name: str, charge: Charge) -> int | None:
    """When one element can carry the charge, by the ends of its claims alone."""
    load = ledger.loads([charge])[name]
    meter = ledger.meters[name]
    burst_w = meter.burst_with(request.group, load.burst_w, request.window(ledger.now))
    over = max(
        meter.committed_w + load.est_w - meter.usable_w,
        meter.committed_w + load.est_w + burst_w - meter.limit_w,
    )
    if over <= 0:
        return ledger.now
    freed = 0
    last = None
    for end, watts, _ in meter.ends():
        freed += watts
        last = max(end, ledger.now + 1)
        if freed >= over:
            return last
    # Bursts vanish with their claims, which this sum does not see: try when the last one has ended.
    alone = meter.baseline_w + load.est_w
    fits_alone = alone <= meter.usable_w and alone + load.burst_w <= meter.limit_w
    return last if fits_alone and freed == meter.claimed_w else None


def _nodes_at(request: Request, ledger: Ledger, zone: str) -> int | None:
    """When enough of the zone's nodes are free, by the ends of claims."""
    placer = Placer(request, ledger, request.window(ledger.now))
    if placer.free_nodes(zone) >= request.ask.total:
        return ledger.now
    nodes = ledger.nodes[zone]
    need = request.ask.total * placer.share_milli(zone)
    free = nodes.up * WHOLE_NODE - ledger.meters[zone].node_milli
    if request.ask.cpus > nodes.cpus or request.ask.gpus > nodes.gpus:
        return None
    if free >= need:
        return ledger.now + 1
    for end, _, milli in ledger.meters[zone].ends():
        free += milli
        if free >= need:
            return max(end, ledger.now + 1)
    return None


def _ending(ledger: Ledger, element: str, at: int) -> str:
    """The claim on an element that ends last by `at`; empty if too many would have to be searched."""
    zones = [element] if element in ledger.nodes else ledger.topology.zones_under[element]
    best = (0, "")
    seen = 0
    for zone in zones:
        for claim in ledger.claims_in(zone):
            seen += 1
            if seen > _SEARCHED_CLAIMS:
                return ""
            if claim.window.end <= at:
                best = max(best, (claim.window.end, claim.id))
    return best[1]


def _reason(placer: Placer, zone: str) -> Reason:
    obstacle = placer.obstacle(zone)
    ledger, request = placer.ledger, placer.request
    if obstacle is None:
        return Reason(Code.QUEUE, zone, detail="ahead")
    if isinstance(obstacle, Shortfall):
        return _short_of_power(placer, zone, obstacle)
    if obstacle == "closed":
        return Reason(Code.CLOSED, zone, detail=ledger.closed[zone])
    if obstacle == "headroom":
        return Reason(Code.HEADROOM, zone, request.headroom_w, ledger.meters[zone].headroom_w)
    free = placer.free_nodes(zone)
    return Reason(Code.NODES, zone, detail=f"asked {request.ask.total}, free {free} of that shape")


def _short_of_power(placer: Placer, zone: str, short: Shortfall) -> Reason:
    ledger = placer.ledger
    booked = [c.id for c in ledger.bookings() if c.id != placer.ignore and short.element in ledger.loads(c.charges)]
    meter = ledger.meters[short.element]
    load = ledger.loads([Charge(zone, 1, placer.request.est_w, placer.request.max_w)])[short.element]
    if booked and not short.burst and meter.committed_w + load.est_w <= meter.usable_w:
        return Reason(Code.QUEUE, zone, detail=booked[0].removeprefix("shadow:"))
    return Reason(_CODES[_kind(ledger, short.element), short.burst], short.element, short.asked_w, short.free_w)


def _kind(ledger: Ledger, element: str) -> str:
    feed = ledger.topology.feeds.get(element)
    if feed is None:
        return "zone"
    return "cooling" if feed.kind is FeedKind.COOLING else "feed"


_CODES = {
    ("zone", False): Code.ZONE_POWER,
    ("zone", True): Code.ZONE_BURST,
    ("feed", False): Code.FEED_POWER,
    ("feed", True): Code.FEED_BURST,
    ("cooling", False): Code.COOLING_POWER,
    ("cooling", True): Code.COOLING_BURST,
}


def _fewer_watts(placer: Placer, zones: list[str]) -> Iterable[Help]:
    """The zone that could take most of the request now, if that is at least half of it."""
    request = placer.request
    best: tuple[int, str] | None = None
    for zone in zones:
        est_w = min(placer.ledger.room_w(zone), request.est_w - 1)
        # Bursts narrow the room further; a few steps down find what really fits.
        for _ in range(4):
            if est_w * 2 < request.est_w:
                break
            smaller = replace(request, est_w=est_w, max_w=est_w * request.max_w // request.est_w)
            obstacle = Placer(smaller, placer.ledger, placer.window, placer.ignore).obstacle(zone)
            if obstacle is None:
                best = max(best, (est_w, zone)) if best else (est_w, zone)
                break
            if not isinstance(obstacle, Shortfall):
                break
            est_w -= max(est_w // 10, obstacle.asked_w - obstacle.free_w if obstacle.burst else 1)
    return [Help(Cure.FEWER_WATTS, zone=best[1], watts=best[0])] if best else []


def _as_other(request: Request, ledger: Ledger, others: Iterable[Tier]) -> tuple[Help, ...]:
    """Other tiers, as which the request would fit now: their lanes differ."""
    helps = []
    for tier in others:
        other = request.with_tier(tier)
        if other.lanes == request.lanes:
            continue
        placement = Placer(other, ledger, other.window(ledger.now)).place()
        if placement is not None:
            helps.append(Help(Cure.OTHER_TIER, zone=placement.charges[0].zone, tier=tier.name))
    return tuple(helps)


def _asked(request: Request) -> str:
    if request.zones is not None:
        return "zones " + (", ".join(sorted(request.zones - request.excluded)) or "none")
    return f"partition {request.pool or 'any'}, lanes {', '.join(request.lanes)}"
