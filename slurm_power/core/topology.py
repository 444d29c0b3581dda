"""Zones, feeds and the tree between them: who is charged what share of a zone's load.

A zone hangs on leaf feeds; a feed may hang on a parent. Feeds of kind `cooling` form trees of their own.

- `2N`: either side must carry the whole load, so each side is charged the whole; within a side, feeds share it.
- `N`: the load is split evenly over all the zone's feeds.
- An element that both sides share further up (a utility) carries the load once, never twice.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from math import floor, isqrt

from slurm_power.core.immutable import immutable
from slurm_power.core.units import ceil_share


class Redundancy(StrEnum):
    """How a zone uses its feeds."""

    N = "N"
    TWO_N = "2N"


class Lane(StrEnum):
    """What a zone is for: guaranteed work, interruptible work, or both."""

    HOT = "hot"
    COLD = "cold"
    MIXED = "mixed"


class Side(StrEnum):
    """The side of a redundant pair that a feed is on."""

    A = "A"
    B = "B"


class FeedKind(StrEnum):
    """What a feed delivers."""

    POWER = "power"
    COOLING = "cooling"


@immutable
class Breaker:
    """A breaker's rating; `power_factor` and the continuous share turn volt-amperes into plannable watts."""

    volts: int
    amps: int
    phases: int = 3
    power_factor: Fraction = Fraction(95, 100)

    def continuous_w(self) -> int:
        """volts × amps × (√3 for three phases) × power factor × 80 %, rounded down.

        Source: NEC 210.20(A) and 215.3: a continuous load is at most 80 % of the breaker's rating.
        """
        return self._carried_w(Fraction(8, 10))

    def rated_w(self) -> int:
        """The same without the 80 %: more than this, and it will trip."""
        return self._carried_w(Fraction(1))

    def _carried_w(self, share_of_rating: Fraction) -> int:
        share = self.volts * self.amps * self.power_factor * share_of_rating
        if self.phases == 1:
            return floor(share)
        squared = 3 * share * share
        return isqrt(squared.numerator // squared.denominator)


def usable_w(limit_w: int, margin: Fraction) -> int:
    """⌊limit × (1 − margin)⌋: what may be planned."""
    return floor(limit_w * (1 - margin))


@immutable
class Feed:
    """An element upstream of zones; `limit_w` is already the least of what was declared and its breaker."""

    name: str
    limit_w: int
    side: Side | None = None
    parent: str | None = None
    kind: FeedKind = FeedKind.POWER
    margin: Fraction = Fraction(0)
    breaker_w: int | None = None
    """The full rating of its breaker; None where it has none."""

    @property
    def physical_w(self) -> int:
        """What it can carry at all, if not for ever, in W."""
        return self.limit_w if self.breaker_w is None else self.breaker_w

    @property
    def usable_w(self) -> int:
        """⌊limit × (1 − margin)⌋: what may be planned, in W."""
        return usable_w(self.limit_w, self.margin)


@immutable
class Zone:
    """The nodes behind one power limit; `limit_w` is the least of declared, breaker and cooling."""

    name: str
    nodes: tuple[str, ...]
    limit_w: int
    baseline_w: int = 0
    margin: Fraction = Fraction(15, 100)
    lane: Lane = Lane.MIXED
    redundancy: Redundancy = Redundancy.N
    feeds: tuple[str, ...] = ()
    switch: str = ""
    breaker_w: int | None = None
    """The full rating of its breaker; None where it has none."""

    @property
    def physical_w(self) -> int:
        """What it can carry at all, if not for ever, in W."""
        return max(self.limit_w, self.whole_w) if self.breaker_w is None else self.breaker_w

    @property
    def usable_w(self) -> int:
        """⌊limit × (1 − margin)⌋: what may be planned, the baseline included, in W."""
        return usable_w(self.limit_w, self.margin)

    whole_w: int = 0
    """Its limit with all its feeds, where some carry nothing now."""

    @property
    def node_share_w(self) -> int:
        """What the zone could give each of its nodes with all its feeds, in W."""
        return max(self.limit_w, self.whole_w) // max(len(self.nodes), 1)


@immutable
class Tap:
    """The share ⌈w × numerator ÷ denominator⌉ of a zone's load w that a feed is charged."""

    feed: str
    numerator: int
    denominator: int

    def share_w(self, watts: int) -> int:
        """What the feed is charged of so many W in the zone, rounded up."""
        return ceil_share(watts, self.numerator, self.denominator)


class Topology:
    """All zones and feeds, and for each zone the feeds that it charges.

    The caller (the site file) has checked that parents exist, that there is no cycle and that no node is in two zones.
    """

    def __init__(self, zones: Iterable[Zone], feeds: Iterable[Feed] = ()) -> None:
        self.feeds: Mapping[str, Feed] = {feed.name: feed for feed in feeds}
        self.taps: dict[str, tuple[Tap, ...]] = {}
        self.zones: dict[str, Zone] = {}
        for zone in zones:
            self.zones[zone.name] = zone
            self.taps[zone.name] = self._taps_of(zone, self._shares)

    def without(self, feeds: Collection[str]) -> "Topology":
        """The same while these power feeds, and all that hang on them, carry nothing: zones lean on what is left.

        A zone of which no power feed is left carries nothing. Every other carries as much as before, but under 2N no
        more than what is left of each of its sides.
        """
        dark = {name for name, feed in self.feeds.items() if any(step in feeds for step in self._upwards(feed))}
        return Topology((self._left(zone, dark) for zone in self.zones.values()), self.feeds.values())

    def _left(self, zone: Zone, dark: Collection[str]) -> Zone:
        """A zone without the feeds that are dark."""
        left = tuple(name for name in zone.feeds if name not in dark)
        if left == zone.feeds:
            return zone
        power = [self.feeds[name] for name in left if self.feeds[name].kind is FeedKind.POWER]
        sides: dict[Side | None, int] = {}
        for feed in power:
            sides[feed.side] = sides.get(feed.side, 0) + feed.limit_w
        bounds = sides.values() if zone.redundancy is Redundancy.TWO_N else [sum(sides.values())]
        return replace(zone, feeds=left, limit_w=min(zone.limit_w, *bounds) if power else 0, whole_w=zone.limit_w)

    def share(self, zone: str, feed: str) -> Fraction:
        """The part of a zone's load that a feed is charged."""
        taps = self.taps[zone]
        return next((Fraction(tap.numerator, tap.denominator) for tap in taps if tap.feed == feed), Fraction(0))

    def is_power_feed(self, name: str) -> bool:
        """Whether there is a feed of that name, and it delivers power."""
        return name in self.feeds and self.feeds[name].kind is FeedKind.POWER

    def declared_w(self, name: str) -> int | None:
        """What a zone or feed may carry by the site file, in W; None where there is none of that name."""
        element = self.zones.get(name) or self.feeds.get(name)
        return element.limit_w if element is not None else None

    def kind_of(self, name: str) -> str | None:
        """`zone`, `feed` or `cooling`; None where there is none of that name."""
        if name in self.zones:
            return "zone"
        feed = self.feeds.get(name)
        return None if feed is None else "cooling" if feed.kind is FeedKind.COOLING else "feed"

    @cached_property
    def zone_of_node(self) -> Mapping[str, str]:
        """Node name → zone name."""
        return {node: zone.name for zone in self.zones.values() for node in zone.nodes}

    @cached_property
    def zones_under(self) -> Mapping[str, tuple[str, ...]]:
        """Feed name → names of the zones that charge it."""
        below: dict[str, list[str]] = {name: [] for name in self.feeds}
        for zone, taps in self.taps.items():
            for tap in taps:
                below[tap.feed].append(zone)
        return {name: tuple(zones) for name, zones in below.items()}

    @cached_property
    def flows_under(self) -> Mapping[str, tuple[tuple[str, Tap], ...]]:
        """Feed name → (zone, the part of its load that flows there now): under 2N each side carries as much.

        What a feed is charged is more then: the whole, for the other side may fail.
        """
        below: dict[str, list[tuple[str, Tap]]] = {name: [] for name in self.feeds}
        for zone in self.zones.values():
            doubled = zone.redundancy is Redundancy.TWO_N
            for tap in self._taps_of(zone, self._flows) if doubled else self.taps[zone.name]:
                below[tap.feed].append((zone.name, tap))
        return {name: tuple(flows) for name, flows in below.items()}

    def on_feeds_w(self, load_w: Callable[[Zone], int]) -> dict[str, int]:
        """Feed name → what the loads of all zones come to there, each zone's share rounded up, in W."""
        found = dict.fromkeys(self.feeds, 0)
        for name, taps in self.taps.items():
            for tap in taps:
                found[tap.feed] += tap.share_w(load_w(self.zones[name]))
        return found

    @cached_property
    def feed_baselines_w(self) -> Mapping[str, int]:
        """Feed name → what the zones that charge it put on it without jobs, in W."""
        return self.on_feeds_w(lambda zone: zone.baseline_w)

    def _taps_of(self, zone: Zone, by: Callable[[list[Feed], Redundancy], Mapping[str, Fraction]]) -> tuple[Tap, ...]:
        shares: dict[str, Fraction] = {}
        for kind in FeedKind:
            leaves = [self.feeds[name] for name in zone.feeds if self.feeds[name].kind is kind]
            shares.update(by(leaves, zone.redundancy))
        return tuple(Tap(feed, share.numerator, share.denominator) for feed, share in sorted(shares.items()))

    def _shares(self, leaves: list[Feed], redundancy: Redundancy) -> Mapping[str, Fraction]:
        """Shares of one kind's tree: within a side they add up; under 2N the larger side counts where both meet."""
        if redundancy is not Redundancy.TWO_N:
            return self._flows(leaves, redundancy)
        total: dict[str, Fraction] = {}
        for of_side in self._by_side(leaves):
            for name, share in self._spread(of_side, Fraction(1, len(of_side))).items():
                total[name] = max(total.get(name, Fraction(0)), share)
        return total

    def _flows(self, leaves: list[Feed], redundancy: Redundancy) -> Mapping[str, Fraction]:
        """The same of what flows while nothing has failed: all adds up, and under 2N each side carries as much."""
        sides = self._by_side(leaves)
        total: dict[str, Fraction] = {}
        for of_side in sides:
            by_side = redundancy is Redundancy.TWO_N
            part = Fraction(1, len(of_side) * len(sides) if by_side else len(leaves))
            for name, share in self._spread(of_side, part).items():
                total[name] = total.get(name, Fraction(0)) + share
        return total

    def _by_side(self, leaves: list[Feed]) -> list[list[Feed]]:
        sides = sorted({feed.side for feed in leaves}, key=str)
        return [[feed for feed in leaves if feed.side is side] for side in sides]

    def _spread(self, leaves: list[Feed], part: Fraction) -> Mapping[str, Fraction]:
        """What each feed carries if each of these leaves carries a part of the load."""
        found: dict[str, Fraction] = {}
        for leaf in leaves:
            for name in self._upwards(leaf):
                found[name] = found.get(name, Fraction(0)) + part
        return found

    def _upwards(self, feed: Feed) -> Iterable[str]:
        step: Feed | None = feed
        while step is not None:
            yield step.name
            step = self.feeds[step.parent] if step.parent else None
