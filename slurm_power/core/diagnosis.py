"""Why a request does not fit, when it will, and what would help. Pure, and bounded: a few zones are looked at."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from slurm_power.core.claim import WHOLE_NODE, reservation_of
from slurm_power.core.derate import Planned
from slurm_power.core.gaps import Span, first_gap
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.meter import Meter
from slurm_power.core.placement import Placement, Placer, roomiest
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Cure, Help, Reason
from slurm_power.core.request import Request
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.steps import Steps, finish
from slurm_power.core.units import format_watts
from slurm_power.core.walk import STRAY_S
from slurm_power.core.window import Window, format_instant

_LOOKED_AT = 3
"""Zones that a diagnosis looks at, of each of two kinds: the roomiest, and the roomiest with free nodes."""
_SMALLER_TRIES = 3
_AT_ONCE = 8
"""Zones whose earliest start is told between two yields."""
_SEARCHED_CLAIMS = 200
"""Among how many claims the one is looked for whose end makes room."""


@immutable
class Start:
    """When and where a request could start at the latest, if nothing else is admitted before it."""

    at: int
    placement: Placement
    element: str = ""
    """What makes it wait longest: a zone or feed; empty where it waits for no claim's end."""


@immutable
class Diagnosis:
    """What stands in the way, the earliest start if it can be told, and what would help."""

    reasons: tuple[Reason, ...]
    start: Start | None
    helps: tuple[Help, ...]


def diagnosing(
    request: Request, ledger: Ledger, ignore: str | None = None, others: Iterable[Tier] = ()
) -> Steps[Diagnosis]:
    """Explain, step by step, why a request found no place. `others` are tiers it might try instead."""
    placer = Placer(request, ledger, request.window(ledger.now), ignore)
    near = roomiest(placer, _LOOKED_AT, any_nodes=False)
    zones = list(dict.fromkeys(near + roomiest(placer, _LOOKED_AT, any_nodes=True)))
    if not zones:
        instead = yield from tiers_that_fit(request, ledger, others)
        return Diagnosis((Reason(Code.NO_ZONE, detail=_asked(request)),), None, instead)
    start = Forecast(request, ledger, ignore).first(zones)
    chosen = start.placement.charges[0].zone if start is not None else zones[0]
    helps = [*_fewer_watts(placer, zones)]
    if start is not None:
        after = _ending(ledger, start.element, start.at) if start.element else ""
        helps.append(Help(Cure.LATER, zone=chosen, at=start.at, after_job=after))
    helps.extend((yield from tiers_that_fit(request, ledger, others)))
    return Diagnosis((_reason(placer, chosen),), start, tuple(helps))


class Forecast:
    """When one request could start, zone by zone, by the ends of live claims and around bookings."""

    def __init__(self, request: Request, ledger: Ledger, ignore: str | None = None) -> None:
        self.request = request
        self.ledger = ledger
        self.ignore = ignore
        self._placer = Placer(request, ledger, request.window(ledger.now), ignore)
        self._of_feed: dict[tuple[str, int, int], int | None] = {}

    def first(self, zones: Iterable[str]) -> Start | None:
        """The earliest start in one of these zones, equals by name; None where none can be told."""
        return finish(self.searching(zones))

    def searching(self, zones: Iterable[str]) -> Steps[Start | None]:
        """The same, step by step."""
        starts = []
        for number, zone in enumerate(zones, start=1):
            start = self.earliest_in(zone)
            if start is not None:
                starts.append(start)
            if number % _AT_ONCE == 0:
                yield
        return min(starts, key=lambda s: (s.at, s.placement.charges[0].zone), default=None)

    def earliest_in(self, zone: str) -> Start | None:
        """When the whole request could start in one zone; None where that depends on claims without an end.

        Of bursts an upper bound is taken, so the true start may be earlier, never later for that.
        """
        ledger, now = self.ledger, self.ledger.now
        if zone in ledger.closed:
            return None
        at, last = now, ""
        spread = ledger.spread(self._placer.charges_in(zone)[0])
        for meter, est_w, burst_w in spread:
            free_at = self._free_from(meter, est_w, burst_w)
            if free_at is None:
                return None
            if free_at > at:
                at, last = free_at, meter.name
        nodes_at = self._nodes_from(zone)
        if nodes_at is None:
            return None
        if nodes_at > at:
            at, last = nodes_at, zone
        if self.request.not_before > at:
            at, last = self.request.not_before, ""
        start = max(at, now + 1)  # a start "now" is one a moment later: it was tried now, and nodes were busy
        if not any(meter.ahead and meter.others_ahead(self.ignore) for meter, *_ in spread):
            return Start(start, self._placer.placement_in(zone), last)
        return self._around_bookings(zone, start, last)

    def _around_bookings(self, zone: str, start: int, last: str) -> Start | None:
        """The first start from an instant on that no booking and no reservation spoils."""
        for at in self._gaps(zone, start):
            placement = Placer(self.request, self.ledger, self.request.window(at), self.ignore).place_in(zone)
            if placement is not None:
                return Start(at, placement, last)
        return None

    def _gaps(self, zone: str, start: int) -> Iterator[int]:
        """Instants to be tried one after the other, until one is a start.

        Headroom has its floor at the start alone. Where it is not kept at the first gap, one is taken that keeps it
        throughout; the true start may be earlier.
        """
        yield start
        length_s = self.request.window(start).end - start
        for floor_w in (0, self.request.headroom_w):
            at = first_gap(self._blocked(zone, Window(start), floor_w), start, length_s)
            if at is not None:
                yield at

    def _blocked(self, zone: str, window: Window, floor_w: int) -> Iterator[Iterator[Span]]:
        """For each element, where the request does not fit, or its zone has not the nodes or the headroom."""
        ledger, request = self.ledger, self.request
        for meter, est_w, burst_w in ledger.spread(self._placer.charges_in(zone)[0]):
            if meter.name == zone:
                nodes, share_milli = ledger.nodes[zone], self._placer.share_milli(zone)
                most_milli = nodes.up * WHOLE_NODE - request.ask.total * share_milli
                least_w = max(est_w, floor_w)
                yield meter.blocked(least_w, burst_w, request.group, window, ledger.now, self.ignore, most_milli)
            else:
                yield meter.blocked(est_w, burst_w, request.group, window, ledger.now, self.ignore)

    def _free_from(self, meter: Meter, est_w: int, burst_w: int) -> int | None:
        """When one element can carry the request's load; of feeds, which many zones share, it is remembered."""
        group, now = self.request.group, self.ledger.now
        if meter.name in self.ledger.nodes:
            return meter.free_from(est_w, burst_w, group, self.request.headroom_w, now)
        asked = (meter.name, est_w, burst_w)
        if asked not in self._of_feed:
            self._of_feed[asked] = meter.free_from(est_w, burst_w, group, 0, now)
        return self._of_feed[asked]

    def _nodes_from(self, zone: str) -> int | None:
        """When enough of the zone's nodes are free, by the ends of claims."""
        ledger, ask = self.ledger, self.request.ask
        if self._placer.free_nodes(zone) >= ask.total:
            return ledger.now
        nodes = ledger.nodes[zone]
        if ask.cpus > nodes.cpus or ask.gpus > nodes.gpus or not self._placer.may_hold(zone):
            return None
        share = self._placer.share_milli(zone)
        if ask.nodes > nodes.up or ask.total > nodes.up * WHOLE_NODE // share:
            return None
        from_at = ledger.meters[zone].nodes_from(nodes.up * WHOLE_NODE - ask.total * share, ledger.now)
        return None if from_at is None else max(from_at, ledger.now + 1)


def _ending(ledger: Ledger, element: str, at: int) -> str:
    """The claim on an element that ends last by `at`; empty if too many would have to be searched."""
    zones = [element] if element in ledger.nodes else ledger.topology.zones_under[element]
    ids = list(islice(chain.from_iterable(map(ledger.ids_in, zones)), _SEARCHED_CLAIMS + 1))
    if len(ids) > _SEARCHED_CLAIMS:
        return ""
    ended = [(end, name) for name in ids if (end := ledger.claims[name].window.end) <= at]
    return max(ended, default=(0, ""))[1]


def _reason(placer: Placer, zone: str) -> Reason:
    obstacle = placer.obstacle(zone)
    ledger, request = placer.ledger, placer.request
    if obstacle == "closed":
        return Reason(Code.CLOSED, zone, detail=ledger.closed[zone])
    if obstacle == "headroom":
        return Reason(Code.HEADROOM, zone, request.headroom_w, ledger.meters[zone].headroom_w)
    if _would_fit_but_for_bookings(placer, zone):
        return _kept(placer, zone, obstacle)
    if isinstance(obstacle, Shortfall):
        return shortage(ledger, obstacle)
    free = placer.free_nodes(zone)
    return Reason(Code.NODES, zone, detail=f"asked {request.ask.total}, free {free} of that shape")


def shortage(ledger: Ledger, short: Shortfall) -> Reason:
    """The reason that a shortfall is."""
    meter = ledger.meters[short.element]
    if meter.strays and short.at <= ledger.now + STRAY_S:
        if meter.blind:
            return Reason(Code.BLIND, short.element, short.asked_w, short.free_w)
        if short.free_w + meter.stray_w >= short.asked_w:
            return Reason(Code.STRAY, short.element, short.asked_w, short.free_w, format_watts(meter.stray_w))
    code = _CODES[ledger.topology.kind_of(short.element), short.burst]
    return Reason(code, short.element, short.asked_w, short.free_w)


def _would_fit_but_for_bookings(placer: Placer, zone: str) -> bool:
    """Whether the request fits what is there now, so that only what begins later stands in its way."""
    ledger, request = placer.ledger, placer.request
    spread = ledger.spread(placer.charges_in(zone)[0])
    if not any(meter.ahead and meter.others_ahead(placer.ignore) for meter, *_ in spread):
        return False
    free = ledger.nodes[zone].could_start(request.ask, ledger.promised_milli(zone))
    return free >= request.ask.total and all(
        meter.fits(est_w, burst_w, request.group) for meter, est_w, burst_w in spread
    )


def _kept(placer: Placer, zone: str, obstacle: Shortfall | str | None) -> Reason:
    """For whom a zone is kept: the reservation that takes most where the request is shortest, else a job ahead."""
    ledger = placer.ledger
    if isinstance(obstacle, Shortfall):
        meter = ledger.meters[obstacle.element]
        name = meter.reserved_at(obstacle.at, placer.ignore)
        if name is not None:
            return _reserved(ledger, obstacle.element, name, obstacle.asked_w, obstacle.free_w)
        cut = meter.cut_at(obstacle.at)
        if cut is not None:
            return _cut(obstacle, cut, meter.limit_w - cut.limit_w)
    booked = {key for meter, *_ in ledger.spread(placer.charges_in(zone)[0]) for key in meter.bookings}
    ahead = min(booked - {placer.ignore}, default=None)
    if ahead is not None:
        return Reason(Code.QUEUE, zone, detail=ahead.removeprefix("shadow:").removeprefix("preempt:"))
    name = ledger.meters[zone].nodes_reserved_in(placer.window, placer.ignore)
    return _reserved(ledger, zone, name or "")


def _reserved(ledger: Ledger, element: str, name: str, asked_w: int | None = None, free_w: int | None = None) -> Reason:
    reservation = reservation_of(name)
    detail = f"{ledger.topology.kind_of(element)} {element} is kept for it then"
    return Reason(Code.RESERVATION, reservation, asked_w, free_w, detail)


def _cut(obstacle: Shortfall, cut: Planned, by_w: int) -> Reason:
    start, end = format_instant(cut.window.start), format_instant(cut.window.end)
    detail = f"{format_watts(by_w)} less from {start}" + (f" to {end}" if end else "")
    return Reason(Code.DERATE, obstacle.element, obstacle.asked_w, obstacle.free_w, detail)


_CODES: dict[tuple[str | None, bool], Code] = {
    ("zone", False): Code.ZONE_POWER,
    ("zone", True): Code.ZONE_BURST,
    ("feed", False): Code.FEED_POWER,
    ("feed", True): Code.FEED_BURST,
    ("cooling", False): Code.COOLING_POWER,
    ("cooling", True): Code.COOLING_BURST,
}


def _fewer_watts(placer: Placer, zones: list[str]) -> Iterable[Help]:
    """The zone that could take most of the request now, if that is at least half of it."""
    request, ledger = placer.request, placer.ledger
    best: tuple[int, str] | None = None
    for zone in zones:
        est_w = min(_reach_w(ledger, zone, request.est_w, request.max_w), request.est_w - 1)
        # That is a little too much where rounding or the job's own group make the burst larger.
        for _ in range(_SMALLER_TRIES):
            if est_w < 1 or est_w * 2 < request.est_w or (best is not None and est_w <= best[0]):
                break
            smaller = replace(request, est_w=est_w, max_w=est_w * request.max_w // request.est_w)
            obstacle = Placer(smaller, ledger, placer.window, placer.ignore).obstacle(zone)
            if obstacle is None:
                best = (est_w, zone)
                break
            if not isinstance(obstacle, Shortfall):
                break
            est_w -= max(obstacle.asked_w - obstacle.free_w, 1)
    return [Help(Cure.FEWER_WATTS, zone=best[1], watts=best[0])] if best else []


def _reach_w(ledger: Ledger, zone: str, est_w: int, max_w: int) -> int:
    """About the most est that a claim of this burstiness could have in a zone now, all feeds counted, in W."""
    burst_milli = (max_w - est_w) * 1_000 // est_w
    reach_w = ledger.meters[zone].room_for(burst_milli)
    for tap in ledger.topology.taps[zone]:
        reach_w = min(reach_w, ledger.meters[tap.feed].room_for(burst_milli) * tap.denominator // tap.numerator)
    return reach_w


def tiers_that_fit(request: Request, ledger: Ledger, others: Iterable[Tier]) -> Steps[tuple[Help, ...]]:
    """Other tiers, as which a request that does not fit as it is would fit now: only another lane can help."""
    helps: list[Help] = []
    tried = [frozenset(request.lanes)]
    for tier in others:
        other = request.with_tier(tier)
        lanes = frozenset(other.lanes)
        if any(lanes <= known for known in tried):
            continue
        placement = yield from Placer(other, ledger, other.window(ledger.now)).placing()
        if placement is None:
            tried.append(lanes)
        else:
            helps.append(Help(Cure.OTHER_TIER, zone=placement.charges[0].zone, tier=tier.name))
    return tuple(helps)


def _asked(request: Request) -> str:
    if request.zones is not None:
        return "zones " + (", ".join(sorted(request.zones - request.excluded)) or "none")
    return f"partition {request.pool or 'any'}, lanes {', '.join(request.lanes)}"
