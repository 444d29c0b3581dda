"""What is measured, put beside what is committed: draw that no claim accounts for, silence, and limits that are passed.

    expected = baseline + Σ est of the jobs on nodes
    stray    = drawn − expected, at least 0: it counts for whoever is to be admitted, at once

A job draws less than its est at first. While some are that young, what was stray before stays so until the sum without
them says otherwise. A zone of which not all is known is blind: max counts there as est, and nothing is shed but what is
known to be too much. A feed is charged the strays of its zones by their shares; under 2N that is the whole, as with
what is committed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slurm_power.core.gauge import Bounds, Draw
from slurm_power.core.steps import Steps
from slurm_power.ports import Kind, Reading
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import is_measured, seen
from slurm_power.service.draws import Element
from slurm_power.service.measured import Expected
from slurm_power.service.overdrawn import Breach

_AT_ONCE, _NODES_AT_ONCE, _CLAIMS_AT_ONCE = 25, 100, 500
"""Feeds, zones with their nodes, and claims that are looked at before others get their turn."""
_BELIEVED = 2
"""No more than so many times what a breaker carries is believed."""
_UNHEARD = "its sensors have not been heard since the start"
_LEAST_OF_NODE = 500
"""No less than so small a part of the est of its jobs: a thousandth would be kW for W."""
_FEW = 25
"""The zones of so many feeds at the most are added up at each reading; larger ones wait for the next look."""
_GRAINS = 200
"""Strays count in steps of so small a part of the limit, for whatever changes has held jobs looked at again."""


@dataclass(slots=True)
class _Found:
    """What passes its limit; and what may do so, of which a part has missed a beat: that calls nobody off."""

    breaches: dict[str, Breach] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)


def measure(desk: Desk) -> Steps[None]:
    """Bring strays, blindness and breaches in step with what is known now."""
    desk.measured.draws.renew(desk.ledger.now)
    expected = desk.measured.expected = yield from _expect(desk)
    ledger = desk.ledger
    strays: dict[str, int] = {}
    found = _Found()
    looked_at = 0
    for name in list(ledger.nodes):
        looked_at += 1 + len(desk.site.topology.zones[name].nodes) if name in desk.site.topology.zones else 1
        if looked_at >= _NODES_AT_ONCE:
            looked_at = 0
            yield
        if desk.ledger is not ledger:
            return  # another site file came into force meanwhile
        strays[name] = _zone(desk, name, expected, found)
    yield from _feeds(desk, expected, strays, found)
    if desk.ledger is not ledger:
        return
    unknown = found.doubtful | {name for name, meter in ledger.meters.items() if meter.blind}
    desk.measured.overdrawn.find(found.breaches if desk.ends_jobs_after_cuts else {}, unknown, ledger.now)
    desk.measured.breaches = found.breaches


def take(desk: Desk, source: str, readings: Iterable[Reading]) -> bool:
    """Take in what a source says. Whether something draws more than it may by more than was known.

    What is stray in a zone counts from here on; feeds and the rest follow with the next `measure`.
    """
    desk.now()
    fresh = desk.measured.draws.take(source, readings, desk.clock.exact(), lambda element: bounds(desk, element))
    touched = {zone for element in fresh for zone in _zones_of(desk, element)}
    found = _Found()
    for name in touched:
        _zone(desk, name, desk.measured.expected, found)
    for name in {element.name for element in fresh if element.kind is Kind.FEED} | _small_feeds(desk, touched):
        draw, feed = seen(desk, Element(Kind.FEED, name)), desk.site.topology.feeds[name]
        if draw is not None:
            _note(found, name, draw, desk.ledger.meters[name].limit_w, feed.physical_w)
    known = desk.measured.breaches
    return any(name not in known or one.over_w > known[name].over_w for name, one in found.breaches.items())


def _zones_of(desk: Desk, element: Element) -> Iterable[str]:
    """The zones whose draw may follow from a reading of it."""
    topology = desk.site.topology
    if element.kind is Kind.ZONE:
        return (element.name,)
    if element.kind is Kind.NODE:
        return (topology.zone_of_node[element.name],)
    zones = topology.zones_under[element.name]
    return zones if len(zones) == 1 else ()


def _small_feeds(desk: Desk, zones: Iterable[str]) -> set[str]:
    topology = desk.site.topology
    above = {tap.feed for zone in zones for tap in topology.taps[zone]}
    return {name for name in above if len(topology.zones_under[name]) <= _FEW}


def bounds(desk: Desk, element: Element) -> Bounds | None:
    """What readings of it are believed; None where there is no such element."""
    topology, expected = desk.site.topology, desk.measured.expected
    if element.kind is Kind.ZONE and element.name in topology.zones:
        zone = topology.zones[element.name]
        settled_w = expected.settled_w.get(element.name, 0)
        most_w = _BELIEVED * max(zone.physical_w, zone.limit_w)
        all_w = expected.all_w.get(element.name, 0)
        return Bounds(expected.least_w(element.name), most_w, zone.baseline_w + settled_w, zone.baseline_w + all_w)
    if element.kind is Kind.FEED and element.name in topology.feeds:
        return _of_feed(desk, element.name)
    if element.kind is Kind.NODE and element.name in topology.zone_of_node:
        zone = topology.zones[topology.zone_of_node[element.name]]
        least_w = desk.measured.on_nodes_w.get(element.name, 0) // _LEAST_OF_NODE
        most_w = _BELIEVED * max(zone.physical_w, zone.limit_w)
        return Bounds(least_w, most_w, part=desk.world.is_off(element.name))
    return None


def _of_feed(desk: Desk, name: str) -> Bounds:
    """By the zones of which all flows through it; how others divide theirs nobody knows."""
    topology, expected, feed = desk.site.topology, desk.measured.expected, desk.site.topology.feeds[name]
    zones = [topology.zones[zone] for zone, tap in topology.flows_under[name] if tap.numerator == tap.denominator]
    baseline_w = sum(zone.baseline_w for zone in zones)
    settled_w = sum(expected.settled_w.get(zone.name, 0) for zone in zones)
    all_w = sum(expected.all_w.get(zone.name, 0) for zone in zones)
    least_w = sum(expected.least_w(zone.name) for zone in zones)
    most_w = _BELIEVED * max(feed.physical_w, feed.limit_w)
    return Bounds(least_w, most_w, baseline_w + settled_w, baseline_w + all_w)


# -- one zone, one feed ----------------------------------------------------------------------------------------------


def _zone(desk: Desk, name: str, expected: Expected, found: _Found) -> int:
    """Note what one zone draws; its stray, in W."""
    element, meter, zone = Element(Kind.ZONE, name), desk.ledger.meters[name], desk.site.topology.zones[name]
    draw = desk.measured.zones[name] = seen(desk, element)
    known, measured = draw is not None and draw.whole, is_measured(desk, element)
    if measured:
        _close_until_heard(desk, name, unheard=not known and name not in desk.measured.heard)
    before_w = meter.stray_w if measured else 0
    stray_w = before_w if draw is None else _stray_w(draw, before_w, zone.baseline_w, expected, name)
    if draw is not None and (draw.late or not draw.whole):
        stray_w = max(stray_w, before_w)  # what is left of it says only that there is no less
    if draw is not None:
        _note(found, name, draw, meter.limit_w, zone.physical_w)
    desk.ledger.set_stray(name, _grained(stray_w, zone.limit_w), blind=measured and not known)
    return stray_w


def _close_until_heard(desk: Desk, zone: str, *, unheard: bool) -> None:
    """After a start nobody is admitted to a measured zone before it is known what it draws, or that nobody knows."""
    measured, moment = desk.measured, desk.clock.monotonic()
    if not unheard:
        measured.heard.add(zone)
    waits = unheard and moment - measured.since < measured.draws.stale_s
    closed = desk.ledger.closed.get(zone)
    if waits and closed is None:
        desk.ledger.close(zone, _UNHEARD)
    elif not waits and closed == _UNHEARD:
        desk.ledger.close(zone, None)


def _feeds(desk: Desk, expected: Expected, strays: Mapping[str, int], found: _Found) -> Steps[None]:
    """The same for all feeds."""
    topology, ledger = desk.site.topology, desk.ledger
    charged = topology.on_feeds_w(lambda zone: strays[zone.name])
    expected_w = topology.on_feeds_w(lambda zone: zone.baseline_w + expected.settled_w.get(zone.name, 0))
    for number, (name, feed) in enumerate(topology.feeds.items()):
        if number % _AT_ONCE == 0:
            yield
        if desk.ledger is not ledger:
            return
        element = Element(Kind.FEED, name)
        draw = seen(desk, element)
        blind = (draw is None or not draw.whole) and desk.measured.draws.measured(element)
        own_w = max(draw.high_w - expected_w[name], 0) if draw is not None else 0
        if blind or (draw is not None and draw.late):
            own_w = max(own_w, ledger.meters[name].stray_w)  # as it was when it was last heard of
        stray_w = max(charged[name], own_w)
        ledger.set_stray(name, _grained(stray_w, feed.limit_w), blind=blind)
        if draw is not None:
            _note(found, name, draw, ledger.meters[name].limit_w, feed.physical_w)


def _note(found: _Found, name: str, draw: Draw, limit_w: int, physical_w: int) -> None:
    over_w = draw.proven_w - limit_w
    if over_w > 0:
        found.breaches[name] = Breach(over_w, emergency=draw.proven_w > physical_w)
    elif draw.late and draw.high_w > limit_w:
        found.doubtful.add(name)


def _stray_w(draw: Draw, before_w: int, baseline_w: int, expected: Expected, zone: str) -> int:
    least_w = max(draw.high_w - baseline_w - expected.all_w.get(zone, 0), 0)
    most_w = max(draw.high_w - baseline_w - expected.settled_w.get(zone, 0), 0)
    return max(least_w, min(before_w, most_w))


def _grained(watts: int, limit_w: int) -> int:
    grain_w = max(limit_w // _GRAINS, 1)
    return -(-watts // grain_w) * grain_w


# -- what is expected ------------------------------------------------------------------------------------------------


def _expect(desk: Desk) -> Steps[Expected]:
    """Σ est of what Slurm shows on nodes, by zone."""
    found, ledger = Expected(), desk.ledger
    settled_before = ledger.now - desk.site.control.ramp
    for number, claim in enumerate(list(ledger.claims.values())):
        if number % _CLAIMS_AT_ONCE == 0:
            yield
        if not claim.placed or claim.reserves:
            continue
        for charge in claim.charges:
            found.all_w[charge.zone] = found.all_w.get(charge.zone, 0) + charge.est_w
            if claim.window.start <= settled_before:
                found.settled_w[charge.zone] = found.settled_w.get(charge.zone, 0) + charge.est_w
    return found
