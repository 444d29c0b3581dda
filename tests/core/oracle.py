"""The rules of admission once more, slowly and from the design alone: no meter, no index, no sums that are kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, sqrt

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import FeedKind, Redundancy, Topology
from slurm_power.core.window import Window


@dataclass(frozen=True)
class Excess:
    """An element that carries too much at an instant."""

    element: str
    instant: int
    rule: str
    watts: int
    allowed: int


def share_of(topology: Topology, zone: str, element: str) -> Fraction:
    """The part of a zone's load that an element carries: all if it is the zone, else by its feeds."""
    if element == zone:
        return Fraction(1)
    shares = []
    for kind in FeedKind:
        leaves = [
            topology.feeds[name] for name in topology.zones[zone].feeds if topology.feeds[name].kind is kind
        ]
        sides = {leaf.side for leaf in leaves}
        whole_each = topology.zones[zone].redundancy is Redundancy.TWO_N and len(sides) > 1
        by_side = []
        for side in sides:
            own = [leaf for leaf in leaves if leaf.side is side]
            below = [leaf for leaf in own if _lies_under(topology, leaf.name, element)]
            by_side.append(Fraction(len(below), len(own) if whole_each else len(leaves)))
        shares.append(max(by_side) if whole_each else sum(by_side, Fraction(0)))
    return sum(shares, Fraction(0))


def _lies_under(topology: Topology, feed: str | None, element: str) -> bool:
    while feed is not None:
        if feed == element:
            return True
        feed = topology.feeds[feed].parent
    return False


def charged(topology: Topology, charges: Iterable[Charge], element: str) -> tuple[int, int]:
    """(est, max) of these charges on one element, in W; demand rounds up, zone by zone."""
    est_w = max_w = 0
    for charge in charges:
        share = share_of(topology, charge.zone, element)
        est_w += ceil(charge.est_w * share)
        max_w += ceil(charge.max_w * share)
    return est_w, max_w


def there(claim: Claim, instant: int, now: int) -> bool:
    """Whether a claim counts: what has begun counts now whatever its window says, and later until its end."""
    if claim.window.start <= now and not claim.tentative:
        return instant == now or instant < claim.window.end
    return instant in claim.window


def excess(
    topology: Topology,
    rule: BurstRule,
    limits: Mapping[str, int],
    claims: Iterable[Claim],
    window: Window,
    now: int,
    elements: Iterable[str],
) -> list[Excess]:
    """Where and when, within the window, committed passes usable, or committed + burst passes the limit."""
    every = list(claims)
    edges = {edge for c in every for edge in (c.window.start, c.window.end)}
    instants = sorted({max(window.start, now), *(edge for edge in edges if edge in window and edge > now)})
    found = []
    for element in elements:
        limit = limits[element]
        margin = (
            topology.zones[element].margin if element in topology.zones else topology.feeds[element].margin
        )
        baseline = sum(
            ceil(z.baseline_w * share_of(topology, z.name, element)) for z in topology.zones.values()
        )
        for instant in instants:
            committed, groups = baseline, dict[str, int]()
            for claim in every:
                if there(claim, instant, now):
                    est_w, max_w = charged(topology, claim.charges, element)
                    committed += est_w
                    groups[claim.group] = groups.get(claim.group, 0) + max_w - est_w
            total = sum(groups.values())
            burst = float(total)
            if rule.rss:
                burst = min(total, rule.z_milli / 1_000 * sqrt(sum(b * b for b in groups.values())))
            top = committed + ceil(burst - 1e-6)  # watts are whole, and demand rounds up
            if committed > floor(limit * (1 - margin)):
                found.append(Excess(element, instant, "packing", committed, floor(limit * (1 - margin))))
            if top > limit:
                found.append(Excess(element, instant, "burst", top, limit))
    return found


def touched(topology: Topology, charges: Iterable[Charge]) -> list[str]:
    """The zones of the charges and every feed that carries part of one."""
    every = list(charges)
    names = [charge.zone for charge in every]
    return names + [name for name in topology.feeds if any(share_of(topology, c.zone, name) for c in every)]
