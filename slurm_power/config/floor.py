"""Feeds and zones of the site file as a topology, each limit the least of all that bounds it."""

from collections.abc import Sequence

from slurm_power.config.problems import Problems
from slurm_power.config.schema import Breaker as BreakerSection
from slurm_power.config.schema import Feed as FeedSection
from slurm_power.config.schema import SiteFile
from slurm_power.config.schema import Zone as ZoneSection
from slurm_power.core.topology import Breaker, Feed, FeedKind, Redundancy, Side, Topology, Zone
from slurm_power.core.units import format_watts


def build_topology(file: SiteFile, problems: Problems) -> Topology:
    """The topology of a file whose references were checked. Notes elements that cannot carry their own baseline."""
    feeds = {name: _feed(name, section, file) for name, section in file.feeds.items()}
    zones = [_zone(name, section, file, feeds, problems) for name, section in file.zones.items()]
    topology = Topology(zones, feeds.values())
    for zone in zones:
        if zone.baseline_w > zone.usable_w:
            problems.add(
                ("zones", zone.name, "baseline"),
                f"{format_watts(zone.baseline_w)} is more than the zone's usable {format_watts(zone.usable_w)}",
                "less than limit × (1 − margin)",
            )
    for feed in feeds.values():
        _check_feed(feed, topology, problems)
    return topology


def side_of(name: str, file: SiteFile) -> Side | None:
    """The side of a feed: its own, else that of the nearest feed above it that has one."""
    step: str | None = name
    while step is not None:
        section = file.feeds[step]
        if section.side is not None:
            return section.side
        step = section.parent
    return None


def _feed(name: str, section: FeedSection, file: SiteFile) -> Feed:
    return Feed(
        name=name,
        limit_w=_least(section.limit, _rating(section.breaker)),
        side=side_of(name, file),
        parent=section.parent,
        kind=section.kind,
        margin=section.margin,
        breaker_w=_breaker(section.breaker).rated_w() if section.breaker else None,
    )


def _zone(
    name: str, section: ZoneSection, file: SiteFile, feeds: dict[str, Feed], problems: Problems
) -> Zone:
    redundancy = section.redundancy or file.defaults.redundancy
    own = _least(section.limit, _rating(section.breaker), section.cooling)
    above = [feeds[feed] for feed in section.feeds]
    limit = min(own, _carried(above, redundancy, problems, name, own))
    return Zone(
        name=name,
        nodes=section.nodes,
        limit_w=limit,
        baseline_w=section.baseline,
        margin=file.defaults.margin if section.margin is None else section.margin,
        lane=section.lane,
        redundancy=redundancy,
        feeds=section.feeds,
        switch=section.switch or "",
        breaker_w=_breaker(section.breaker).rated_w() if section.breaker else None,
    )


def _carried(feeds: Sequence[Feed], redundancy: Redundancy, problems: Problems, zone: str, own_w: int) -> int:
    """What a zone's feeds let it draw: under 2N what the weaker side carries alone, else what it has itself."""
    power = [feed for feed in feeds if feed.kind is FeedKind.POWER]
    if redundancy is Redundancy.TWO_N:
        sides = {side: sum(feed.limit_w for feed in power if feed.side is side) for side in Side}
        weaker = min(sides, key=lambda side: (sides[side], side))
        if sides[weaker] < own_w:
            problems.warn(
                ("zones", zone),
                f"is wider than side {weaker} carries alone; its limit is {format_watts(sides[weaker])} "
                f"instead of {format_watts(own_w)}",
            )
        return sides[weaker]
    together = sum(feed.limit_w for feed in power)
    if power and together < own_w:
        problems.warn(
            ("zones", zone),
            f"its limit {format_watts(own_w)} is wider than its feeds together, {format_watts(together)}; "
            "the feeds are what bounds it",
        )
    return own_w


def _check_feed(feed: Feed, topology: Topology, problems: Problems) -> None:
    """Warn of a feed wider than its parent; a feed that cannot carry the baselines below it is a problem."""
    if feed.parent is not None and feed.limit_w > topology.feeds[feed.parent].limit_w:
        parent_w = format_watts(topology.feeds[feed.parent].limit_w)
        text = f"its limit {format_watts(feed.limit_w)} is wider than its parent {feed.parent}, {parent_w}"
        problems.warn(("feeds", feed.name), text)
    if not topology.zones_under[feed.name]:
        problems.warn(("feeds", feed.name), "no zone hangs on it")
    idle_w = topology.feed_baselines_w[feed.name]
    if idle_w > feed.usable_w:
        problems.add(
            ("feeds", feed.name),
            f"the baselines below it, {format_watts(idle_w)}, are more than its usable {format_watts(feed.usable_w)}",
            "a larger feed or smaller baselines",
        )


def _rating(section: BreakerSection | None) -> int | None:
    return _breaker(section).continuous_w() if section is not None else None


def _breaker(section: BreakerSection) -> Breaker:
    return Breaker(section.volts, section.amps, section.phases, section.power_factor)


def _least(*limits: int | None) -> int:
    """The least of the limits that are given; the caller has checked that there is one."""
    return min(limit for limit in limits if limit is not None)
