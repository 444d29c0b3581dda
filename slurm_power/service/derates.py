"""The derates that hold or will, what they make of the ledger's limits, and whom a further one would hit."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import floor

from slurm_power.core.derate import Derate, Planned, limit_at, limits_ahead
from slurm_power.core.ledger import Ledger
from slurm_power.core.topology import Feed, Topology
from slurm_power.core.window import FOREVER, Window, format_instant
from slurm_power.service.cuts import May, may

Row = dict[str, object]
_PARTS, _PART_S = 4, 30
"""What a zone gets back comes in so many parts, and so many s apart."""
_FADES = "feeds"
"""The source of a stand-in for what dark feeds take away from a zone: that comes back in parts too."""


class Derates:
    """State of a desk. An element that the site file no longer has is left alone, and counts again when it is back."""

    def __init__(self) -> None:
        self._known: tuple[Derate, ...] = ()
        self._applied: frozenset[str] = frozenset()
        self._rising: dict[str, tuple[int, int]] = {}
        """Zone that a sensor or the facility has cut → (what it carries, in W; the instant from which it may rise)."""
        self._foreseen: tuple[tuple[Derate, ...], Topology, Topology, Mapping[str, Sequence[Derate]]] | None = None
        self._automatic: frozenset[str] = frozenset()
        """Zones that are cut so now."""
        self.touched: frozenset[str] = frozenset()
        """Zones and feeds that are cut, or are going to be, or rise; of no other is the limit less than declared."""

    def __iter__(self) -> Iterator[Derate]:
        """By element, then start."""
        return iter(self._known)

    def replace(self, derates: Iterable[Derate]) -> None:
        """These and no others; `apply` makes them count."""
        self._known = tuple(sorted(derates, key=lambda one: (one.element, one.window.start, one.id)))

    def not_later_than(self, now: int) -> None:
        """The clock has been set back: what was ordered by the wrong clock, to hold at once, holds from now on."""
        known = []
        for one in self._known:
            at_once = one.created > now and one.window.start == one.created and one.window.end > now
            window = Window(now, one.window.end) if at_once else one.window
            known.append(replace(one, created=min(one.created, now), window=window))
        self.replace(known)
        self._rising = {name: (limit_w, min(at, now + _PART_S)) for name, (limit_w, at) in self._rising.items()}

    def over(self, now: int) -> list[Derate]:
        """Those whose time has passed."""
        return [one for one in self._known if one.window.end <= now]

    def dark(self, topology: Topology, instant: int) -> frozenset[str]:
        """The power feeds to which they leave nothing at an instant: zones lean on others then."""
        return _dark(_by_element(self._known), topology, instant)

    def apply(self, ledger: Ledger, declared: Topology, now: int) -> Mapping[str, May]:
        """Set the limits that hold now, and plan those to come. What may carry less than before, and what it might.

        `declared` is the floor with all its feeds, while the ledger's may be without some. Claims stay as they are: who
        has to go is for preemption.
        """
        by_element, ahead = _by_element(self._known), self._ahead(declared, ledger.topology)
        dark = {name for name, zone in ledger.topology.zones.items() if zone.limit_w < zone.whole_w}
        told = {one.element for one in self._known if one.source and now in one.window}
        self._automatic = frozenset(dark | (told & ledger.nodes.keys()))
        lowered: dict[str, May] = {}
        self.touched = self._applied | by_element.keys() | ahead.keys() | self._rising.keys() | dark
        for name in sorted(self.touched):
            declared_w, most_w = declared.declared_w(name), ledger.topology.declared_w(name)
            if declared_w is None or most_w is None:
                continue
            own, meter = by_element.get(name, []), ledger.meters[name]
            limit_w = self._risen_w(name, min(limit_at(declared_w, own, now), most_w), declared_w, now)
            planned = _planned(declared, name, [*own, *ahead.get(name, ())], now, limit_w)
            if limit_w < meter.limit_w:
                lowered[name] = may(ledger, name)
            if limit_w != meter.limit_w:
                ledger.set_limit(name, limit_w)
            if tuple(planned) != meter.planned:
                ledger.plan_limits(name, planned)
        self._applied = frozenset(by_element.keys() | ahead.keys())
        return lowered

    def foreseen(
        self, declared: Topology, left: Topology, instant: int, more: Iterable[Derate] = ()
    ) -> Mapping[str, tuple[int, Sequence[Planned]]]:
        """Element → what it may carry at an instant, in W, and what is planned after it; `more` counted as well.

        `left` is the floor of then, which may be without some feeds.
        """
        known = (*self._known, *more)
        by_element, ahead = _by_element(known), _dark_ahead(known, declared, left)
        found = {}
        for name in sorted(by_element.keys() | ahead.keys()):
            declared_w, most_w = declared.declared_w(name), left.declared_w(name)
            if declared_w is not None and most_w is not None:
                own = [*by_element.get(name, ()), *ahead.get(name, ())]
                limit_w = min(limit_at(declared_w, own, instant), most_w)
                found[name] = limit_w, _planned(declared, name, own, instant, limit_w)
        return found

    def _risen_w(self, name: str, allowed_w: int, declared_w: int, now: int) -> int:
        """A zone that a sensor or the facility has cut gets its watts back in parts, the first of them at once."""
        known, limit_w = self._rising.get(name), allowed_w
        if known is None:
            if limit_w < declared_w and name in self._automatic:
                self._rising[name] = limit_w, now
            return limit_w
        before_w, rises_at = known
        if limit_w > before_w:
            if now < rises_at:
                return before_w
            limit_w = min(limit_w, before_w + max(declared_w // _PARTS, 1))
            rises_at = now + _PART_S
        self._rising[name] = limit_w, rises_at
        if limit_w >= (declared_w if name in self._automatic else allowed_w):
            del self._rising[name]
        return limit_w

    def _ahead(self, declared: Topology, left: Topology) -> Mapping[str, Sequence[Derate]]:
        """As below, found once for the same derates and floors, for it takes long."""
        if self._foreseen is None or self._foreseen[:3] != (self._known, declared, left):
            self._foreseen = self._known, declared, left, _dark_ahead(self._known, declared, left)
        return self._foreseen[3]


def _by_element(known: Iterable[Derate]) -> dict[str, list[Derate]]:
    found: dict[str, list[Derate]] = {}
    for one in known:
        found.setdefault(one.element, []).append(one)
    return found


def _dark(by_element: Mapping[str, Sequence[Derate]], topology: Topology, instant: int) -> frozenset[str]:
    return frozenset(
        name
        for name, own in by_element.items()
        if topology.is_power_feed(name) and limit_at(topology.feeds[name].limit_w, own, instant) <= 0
    )


def _dark_ahead(known: Sequence[Derate], declared: Topology, left: Topology) -> Mapping[str, Sequence[Derate]]:
    """Zone or feed → what is left of it at times to come at which feeds carry nothing, as derates of its own.

    A feed that carries more then has less left for the loads of now (`left` is the floor of now), also of what its own
    derates leave of it. Where it would carry more of some of its zones and not of others, that is not planned.
    """
    by_element = _by_element(known)
    feeds = [one for one in known if declared.is_power_feed(one.element)]
    edges = {edge for one in feeds for edge in (one.window.start, one.window.end)}
    floors: dict[frozenset[str], Topology] = {}
    found: dict[str, list[Derate]] = {}
    for start, end in pairwise(sorted(edges if any(_to_nothing(declared, one) for one in feeds) else ())):
        dark = _dark(by_element, declared, start)
        if not dark:
            continue
        then = floors[dark] = floors.get(dark) or declared.without(dark)

        def limit_then(feed: Feed, start: int = start) -> int:
            return limit_at(feed.limit_w, by_element.get(feed.name, ()), start)

        for name, limit_w in _left_of(declared, left, then, limit_then):
            fades = _FADES if name in declared.zones else ""
            part = Derate("", name, Window(start, end), reason="", created=0, uid=None, limit_w=limit_w, source=fades)
            found.setdefault(name, []).append(part)
    return found


def _left_of(
    declared: Topology, today: Topology, then: Topology, limit_w: Callable[[Feed], int]
) -> Iterator[tuple[str, int]]:
    """What zones and feeds may carry on a floor with fewer feeds, where that is less, in W; `limit_w` of feeds then.

    By the loads as feeds are charged with them today: one that carries twice as much of each zone may carry half as
    much.
    """
    for name, zone in then.zones.items():
        if zone.limit_w < declared.zones[name].limit_w:
            yield name, zone.limit_w
    for name, feed in then.feeds.items():
        shares = [(today.share(zone, name), then.share(zone, name)) for zone in today.zones_under[name]]
        times = {after / before for before, after in shares}
        if len(times) == 1 and (more := times.pop()) > 1:
            yield name, floor(limit_w(feed) / more)


def _to_nothing(topology: Topology, one: Derate) -> bool:
    """Whether it leaves nothing to a power feed."""
    return topology.is_power_feed(one.element) and one.allowed_w(topology.feeds[one.element].limit_w) <= 0


def _planned(declared: Topology, name: str, derates: Iterable[Derate], now: int, limit_w: int) -> list[Planned]:
    """What is to be planned with for an element, which may carry `limit_w` now.

    A power feed that is going to carry nothing carries no load either, and none has to fit there.
    """
    found = limits_ahead(declared.declared_w(name) or 0, [_fading(one) for one in derates], now, limit_w)
    return [one for one in found if one.limit_w > 0 or not declared.is_power_feed(name)]


def _fading(one: Derate) -> Derate:
    """What a sensor or the facility has taken away comes back in parts: it is planned with from the last of them on."""
    window = one.window
    if not one.source or window.end >= FOREVER:
        return one
    return replace(one, window=Window(window.start, window.end + _PARTS * _PART_S))


def derate_rows(topology: Topology, derates: Iterable[Derate], now: int) -> Sequence[Row]:
    """`spower derate list`: each of them, with the limit that it makes."""
    return [_row(topology, one, now) for one in derates]


def _row(topology: Topology, one: Derate, now: int) -> Row:
    declared_w = topology.declared_w(one.element)
    return {
        "id": one.id,
        "element": one.element,
        "kind": topology.kind_of(one.element),
        "declared_w": declared_w,
        "limit_w": one.allowed_w(declared_w) if declared_w is not None else None,
        "percent": float(one.percent) if one.percent is not None else None,
        "active": now in one.window,
        "start": format_instant(one.window.start),
        "end": format_instant(one.window.end) if one.window.end < FOREVER else None,
        "reason": one.reason,
        "uid": one.uid,
        "source": one.source,
    }
