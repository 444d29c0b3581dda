"""What zones and feeds draw, by all that is measured of them, of what is behind them, and of what they hang on.

    zone = the highest of: its own sensors; its feeds together, if they feed no other; its nodes together
    feed = its own sensors, else its zones together, each by the part of it that flows there

Where something is silent, what is heard of the rest is a lower bound: at least so much is drawn. How zones divide what
they draw among several feeds nobody knows: that is shown, and nobody is shed for it.
"""

from collections.abc import Container, Iterable, Iterator, Mapping

from slurm_power.core.gauge import Draw, add_up
from slurm_power.core.topology import Topology
from slurm_power.ports import Kind
from slurm_power.service.desk import Desk
from slurm_power.service.draws import Doubt, Element

_AT_ONCE = 25
"""Zones with their nodes that are looked at before others get their turn."""
_NODES = "its nodes together"
"""Who says so, in a doubt about that."""


def on_floor(topology: Topology, element: Element) -> bool:
    """Whether the site file has it; a source may tell of more."""
    there: Mapping[Kind, Container[str]] = {
        Kind.ZONE: topology.zones, Kind.FEED: topology.feeds, Kind.NODE: topology.zone_of_node,
    }  # fmt: skip
    return element.name in there[element.kind]


def seen(desk: Desk, element: Element) -> Draw | None:
    """What it draws, or, where that is not `whole`, draws at least; None where nothing fresh is known."""
    if not on_floor(desk.site.topology, element):
        return None
    own = desk.measured.draws.seen(element, desk.ledger.now)
    if element.kind is Kind.ZONE:
        found = _highest((own, _from_feeds(desk, element.name), _from_nodes(desk, element.name)))
        silent = own is None and desk.measured.draws.measured(element)
        return found.missing_a_beat() if silent and found is not None else found
    if element.kind is Kind.FEED and (own is None or own.late or not own.whole):
        return _highest((own, _from_zones(desk, element.name)))
    return own


def drawn(desk: Desk, element: Element) -> Draw | None:
    """What it draws; None where not all of it is known."""
    found = seen(desk, element)
    return found if found is not None and found.whole else None


def is_measured(desk: Desk, element: Element) -> bool:
    """Whether it is to be measured, in whichever way."""
    draws, topology = desk.measured.draws, desk.site.topology
    if not on_floor(desk.site.topology, element):
        return False
    if draws.measured(element):
        return True
    if element.kind is Kind.FEED:
        zones = topology.zones_under[element.name]
        return bool(zones) and all(is_measured(desk, Element(Kind.ZONE, zone)) for zone in zones)
    if element.kind is not Kind.ZONE:
        return False
    feeds = _own_feeds(desk, element.name)
    return (bool(feeds) and all(draws.measured(Element(Kind.FEED, feed)) for feed in feeds)) or all(
        draws.measured(Element(Kind.NODE, node)) for node in topology.zones[element.name].nodes
    )


def disagree(desk: Desk, element: Element) -> tuple[int, int] | None:
    """The least and the most W that is said of one element, where that differs by too much.

    A zone draws no less than its nodes; more than these it may.
    """
    said = [one.smooth_w for one in desk.measured.draws.wholes(element, desk.ledger.now)]
    least_of_nodes_w = 0
    if element.kind is Kind.ZONE:
        feeds, nodes = _from_feeds(desk, element.name), _from_nodes(desk, element.name)
        said += [feeds.smooth_w] if feeds is not None and feeds.whole and not feeds.late else []
        least_of_nodes_w = nodes.smooth_w if nodes is not None else 0
    if not said:
        return None
    most_w = max(*said, least_of_nodes_w)
    return (min(said), most_w) if most_w - min(said) > most_w * desk.site.control.disagreement else None


def doubts(desk: Desk) -> Iterator[Doubt | None]:
    """Zones of which the nodes together draw less than anybody believes; None is a pause for others."""
    for number, zone in enumerate(desk.site.topology.zones):
        if number % _AT_ONCE == 0:
            yield None
        together, least_w = _of_nodes(desk, zone), desk.measured.expected.least_w(zone)
        if together is not None and together.whole and together.latest_w < least_w:
            text = f"is not believed: {together.latest_w} W, where at least {least_w} W is drawn (is the unit kW?)"
            yield Doubt(_NODES, Element(Kind.ZONE, zone), text)


def _highest(found: Iterable[Draw | None]) -> Draw | None:
    highest: Draw | None = None
    for one in found:
        if one is not None:
            highest = one if highest is None else highest.or_more(one)
    return highest


def _own_feeds(desk: Desk, zone: str) -> list[str]:
    """The power feeds that feed this zone directly, if they feed no other: together they draw what it draws.

    Also those that carry nothing by a derate or an open breaker: a sensor may know better.
    """
    topology = desk.declared.topology
    power = [name for name in topology.zones[zone].feeds if topology.kind_of(name) == "feed"]
    alone = all(topology.zones_under[name] == (zone,) for name in power)
    return power if alone else []


def _from_feeds(desk: Desk, zone: str) -> Draw | None:
    feeds = _own_feeds(desk, zone)
    heard = zip(feeds, _of(desk, Kind.FEED, feeds), strict=True)
    there = desk.site.topology.zones[zone].feeds
    return add_up(draw for feed, draw in heard if draw is not None or feed in there)


def _from_nodes(desk: Desk, zone: str) -> Draw | None:
    together = _of_nodes(desk, zone)
    if together is not None and together.whole and together.latest_w < desk.measured.expected.least_w(zone):
        return None
    return together


def _of_nodes(desk: Desk, zone: str) -> Draw | None:
    """The nodes of a zone together; those that Slurm has powered down draw nothing, if nothing is heard of them."""
    nodes = desk.site.topology.zones[zone].nodes
    heard = dict(zip(nodes, _of(desk, Kind.NODE, nodes), strict=True))
    return add_up(draw for node, draw in heard.items() if draw is not None or not desk.world.is_off(node))


def _from_zones(desk: Desk, feed: str) -> Draw | None:
    """By what zones drew when they were last looked at."""
    zones, since = desk.measured.zones, desk.ledger.now - desk.measured.draws.stale_s
    found: list[Draw | None] = []
    for zone, tap in desk.site.topology.flows_under[feed]:
        draw = zones.get(zone)
        if draw is None or draw.at < since:
            found.append(None)
        elif tap.numerator == tap.denominator:
            found.append(draw)
        else:
            found.append(draw.part(tap.share_w).unproven())
    return add_up(found)


def _of(desk: Desk, kind: Kind, names: Iterable[str]) -> Iterator[Draw | None]:
    draws, now = desk.measured.draws, desk.ledger.now
    return (draws.seen(Element(kind, name), now) for name in names)
