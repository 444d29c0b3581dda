"""What is measured, put beside what is committed: draw that no claim accounts for, silence, and limits that are passed.

    expected = baseline + Σ est of the jobs on nodes
    stray    = drawn − expected, at least 0: it counts for whoever is to be admitted, at once

A job draws less than its est at first. While some are that young, what was stray before stays so until the sum without
them says otherwise. A zone of which nothing fresh is known is blind: max counts there as est, and nothing is shed.
A feed is charged the strays of its zones by their shares; under 2N that is the whole, as with what is committed.
"""

from collections.abc import Iterable, Mapping

from slurm_power.core.gauge import Bounds, Draw
from slurm_power.core.policy import Mode
from slurm_power.core.reservation import Policy
from slurm_power.core.steps import Steps
from slurm_power.ports import Kind, Reading
from slurm_power.service.desk import Desk
from slurm_power.service.draws import Element
from slurm_power.service.measured import Expected
from slurm_power.service.overdrawn import Breach

_AT_ONCE, _NODES_AT_ONCE = 25, 100
"""Feeds, and zones with their nodes, that are looked at before others get their turn."""
_BELIEVED = 2
"""No more than so many times what a breaker carries is believed."""
_UNHEARD = "its sensors have not been heard since the start"
_LEAST = 50
"""No less than a fiftieth of what has been running for a while."""
_GRAINS = 200
"""Strays count in steps of so small a part of the limit, for whatever changes has held jobs looked at again."""


def measure(desk: Desk) -> Steps[None]:
    """Bring strays, blindness and breaches in step with what is known now."""
    expected = desk.measured.expected = yield from _expect(desk)
    ledger = desk.ledger
    strays: dict[str, int] = {}
    breaches: dict[str, Breach] = {}
    looked_at = 0
    for name in list(ledger.nodes):
        looked_at += 1 + len(desk.site.topology.zones[name].nodes) if name in desk.site.topology.zones else 1
        if looked_at >= _NODES_AT_ONCE:
            looked_at = 0
            yield
        if desk.ledger is not ledger:
            return  # another site file came into force meanwhile
        strays[name] = _zone(desk, name, expected, breaches)
    yield from _feeds(desk, expected, strays, breaches)
    if desk.ledger is not ledger:
        return
    sheds = desk.mode is Mode.ENFORCE and desk.site.preemption.after_cut is Policy.PREEMPT
    blind = {name for name, meter in ledger.meters.items() if meter.blind}
    desk.measured.overdrawn.find(breaches if sheds else {}, blind, ledger.now)
    desk.measured.breaches = breaches


def take(desk: Desk, source: str, readings: Iterable[Reading]) -> bool:
    """Take in what a source says. Whether something draws more than it may by more than was known.

    What is stray in a zone counts from here on; feeds and the rest follow with the next `measure`.
    """
    fresh = desk.measured.draws.take(source, readings, desk.now(), lambda element: bounds(desk, element))
    touched = {zone for element in fresh for zone in _zones_of(desk, element)}
    found: dict[str, Breach] = {}
    for name in touched:
        _zone(desk, name, desk.measured.expected, found)
    for element in fresh:
        draw = drawn(desk, element)
        if element.kind is Kind.FEED and draw is not None:
            feed, meter = desk.site.topology.feeds[element.name], desk.ledger.meters[element.name]
            _note(found, element.name, draw, meter.limit_w, feed.physical_w)
    known = desk.measured.breaches
    return any(name not in known or one.over_w > known[name].over_w for name, one in found.items())


def _zones_of(desk: Desk, element: Element) -> Iterable[str]:
    """The zones whose draw may follow from a reading of it."""
    topology = desk.site.topology
    if element.kind is Kind.ZONE:
        return (element.name,)
    if element.kind is Kind.NODE:
        return (topology.zone_of_node[element.name],)
    zones = topology.zones_under[element.name]
    return zones if len(zones) == 1 else ()


def drawn(desk: Desk, element: Element) -> Draw | None:
    """What a zone or feed draws by all that is measured; None where nothing fresh is known."""
    now = desk.ledger.now
    own = desk.measured.draws.draw(element, now)
    if element.kind is not Kind.ZONE:
        return own
    for derived in (_from_feeds(desk, element.name), _from_nodes(desk, element.name)):
        if derived is not None:
            own = derived if own is None else own.or_more(derived)
    return own


def bounds(desk: Desk, element: Element) -> Bounds | None:
    """What readings of it are believed; None where there is no such element."""
    topology, expected = desk.site.topology, desk.measured.expected
    if element.kind is Kind.ZONE and element.name in topology.zones:
        zone = topology.zones[element.name]
        settled_w = expected.settled_w.get(element.name, 0)
        most_w = _BELIEVED * max(zone.physical_w, zone.limit_w)
        all_w = expected.all_w.get(element.name, 0)
        return Bounds(settled_w // _LEAST, most_w, zone.baseline_w + settled_w, zone.baseline_w + all_w)
    if element.kind is Kind.FEED and element.name in topology.feeds:
        feed = topology.feeds[element.name]
        return Bounds(0, _BELIEVED * max(feed.physical_w, feed.limit_w))
    if element.kind is Kind.NODE and element.name in topology.zone_of_node:
        zone = topology.zones[topology.zone_of_node[element.name]]
        return Bounds(0, _BELIEVED * max(zone.physical_w, zone.limit_w))
    return None


def measured(desk: Desk, element: Element) -> bool:
    """Whether it is to be measured, in whichever way."""
    if desk.measured.draws.measured(element):
        return True
    if element.kind is not Kind.ZONE:
        return False
    zone = desk.site.topology.zones[element.name]
    feeds = _own_feeds(desk, element.name)
    return (bool(feeds) and all(desk.measured.draws.measured(Element(Kind.FEED, feed)) for feed in feeds)) or all(
        desk.measured.draws.measured(Element(Kind.NODE, node)) for node in zone.nodes
    )


# -- one zone, one feed ----------------------------------------------------------------------------------------------


def _zone(desk: Desk, name: str, expected: Expected, breaches: dict[str, Breach]) -> int:
    """Note what one zone draws; its stray, in W."""
    element, meter = Element(Kind.ZONE, name), desk.ledger.meters[name]
    if not measured(desk, element):
        desk.ledger.set_stray(name, 0, blind=False)
        return 0
    draw = drawn(desk, element)
    _await(desk, name, unheard=draw is None and name not in desk.measured.heard)
    if draw is None:
        desk.ledger.set_stray(name, meter.stray_w, blind=True)
        return meter.stray_w
    zone = desk.site.topology.zones[name]
    stray_w = _stray_w(draw, meter.stray_w, zone.baseline_w, expected, name)
    desk.ledger.set_stray(name, _grained(stray_w, zone.limit_w), blind=False)
    _note(breaches, name, draw, meter.limit_w, zone.physical_w)
    return stray_w


def _await(desk: Desk, zone: str, *, unheard: bool) -> None:
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


def _feeds(
    desk: Desk, expected: Expected, strays: Mapping[str, int], breaches: dict[str, Breach]
) -> Steps[None]:
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
        draw = drawn(desk, element)
        blind = draw is None and desk.measured.draws.measured(element)
        own_w = max(draw.high_w - expected_w[name], 0) if draw is not None else 0
        if blind:
            own_w = ledger.meters[name].stray_w  # as it was when it was last heard of
        stray_w = max(charged[name], own_w)
        ledger.set_stray(name, _grained(stray_w, feed.limit_w), blind=blind)
        if draw is not None:
            _note(breaches, name, draw, ledger.meters[name].limit_w, feed.physical_w)


def _note(breaches: dict[str, Breach], name: str, draw: Draw, limit_w: int, physical_w: int) -> None:
    over_w = _over_w(draw, limit_w)
    if over_w > 0:
        breaches[name] = Breach(over_w, emergency=_over_w(draw, physical_w) > 0)


def _over_w(draw: Draw, limit_w: int) -> int:
    """By how much a limit is passed: by the mean of the window, or by each of two readings in a row."""
    smooth_w = draw.smooth_w if draw.readings > 1 else 0
    return max(smooth_w, draw.twice_w) - limit_w


def _stray_w(draw: Draw, before_w: int, baseline_w: int, expected: Expected, zone: str) -> int:
    least_w = max(draw.high_w - baseline_w - expected.all_w.get(zone, 0), 0)
    most_w = max(draw.high_w - baseline_w - expected.settled_w.get(zone, 0), 0)
    return max(least_w, min(before_w, most_w))


def _grained(watts: int, limit_w: int) -> int:
    grain_w = max(limit_w // _GRAINS, 1)
    return -(-watts // grain_w) * grain_w


# -- what is expected, and what follows from other elements ----------------------------------------------------------


def _expect(desk: Desk) -> Steps[Expected]:
    """Σ est of what Slurm shows on nodes, by zone."""
    found, ledger = Expected(), desk.ledger
    settled_before = ledger.now - desk.site.control.ramp
    for number, claim in enumerate(list(ledger.claims.values())):
        if number % (20 * _AT_ONCE) == 0:
            yield
        if not claim.placed or claim.reserves:
            continue
        for charge in claim.charges:
            found.all_w[charge.zone] = found.all_w.get(charge.zone, 0) + charge.est_w
            if claim.window.start <= settled_before:
                found.settled_w[charge.zone] = found.settled_w.get(charge.zone, 0) + charge.est_w
    return found


def _own_feeds(desk: Desk, zone: str) -> list[str]:
    """The power feeds that feed this zone directly, if they feed no other: together they draw what it draws."""
    topology = desk.site.topology
    power = [name for name in topology.zones[zone].feeds if topology.kind_of(name) == "feed"]
    alone = all(topology.zones_under[name] == (zone,) for name in power)
    return power if alone else []


def _from_feeds(desk: Desk, zone: str) -> Draw | None:
    return _together(desk, [Element(Kind.FEED, name) for name in _own_feeds(desk, zone)])


def _from_nodes(desk: Desk, zone: str) -> Draw | None:
    return _together(desk, [Element(Kind.NODE, name) for name in desk.site.topology.zones[zone].nodes])


def _together(desk: Desk, elements: Iterable[Element]) -> Draw | None:
    """What these draw together; None where one of them is not known."""
    total: Draw | None = None
    for element in elements:
        one = desk.measured.draws.draw(element, desk.ledger.now)
        if one is None:
            return None
        total = one if total is None else total + one
    return total

