"""Small floors, requests and claims for tests of the core: everything that a test does not name is harmless."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from slurm_power.core.claim import RESERVATION, WHOLE_NODE, Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import BurstRule, Tier
from slurm_power.core.request import Request
from slurm_power.core.topology import Feed, FeedKind, Lane, Redundancy, Side, Topology, Zone
from slurm_power.core.window import FOREVER, Window

GOLD = Tier("gold", "gold", None, 0)
SILVER = Tier("silver", "silver", 600, 1)
BRONZE = Tier("bronze", "bronze", 0, 2)
NOW = 1_800_000_000
N, TWO_N = Redundancy.N, Redundancy.TWO_N
RSS, SUM = BurstRule(), BurstRule(rss=False)


def zone(
    name: str,
    limit_w: int = 100_000,
    *,
    nodes: int = 8,
    margin: Fraction | int = 0,
    baseline_w: int = 0,
    lane: Lane = Lane.MIXED,
    redundancy: Redundancy = N,
    feeds: Iterable[str] = (),
    switch: str = "",
) -> Zone:
    return Zone(
        name=name,
        nodes=tuple(f"{name}-n{k}" for k in range(nodes)),
        limit_w=limit_w,
        baseline_w=baseline_w,
        margin=Fraction(margin),
        lane=lane,
        redundancy=redundancy,
        feeds=tuple(feeds),
        switch=switch,
    )


def feed(
    name: str,
    limit_w: int,
    side: Side | None = None,
    parent: str | None = None,
    *,
    kind: FeedKind = FeedKind.POWER,
    margin: Fraction | int = 0,
) -> Feed:
    return Feed(name, limit_w, side, parent, kind, Fraction(margin))


def ledger(
    zones: Iterable[Zone],
    feeds: Iterable[Feed] = (),
    *,
    rule: BurstRule = RSS,
    pools: dict[str, tuple[str, ...]] | None = None,
) -> Ledger:
    return Ledger(Topology(zones, feeds), pools, rule, NOW)


def request(
    est_w: int = 1_000,
    max_w: int | None = None,
    *,
    id: str = "new",
    tier: Tier = SILVER,
    group: str | None = None,
    pool: str = "",
    headroom_w: int = 0,
    nodes: int = 1,
    copies: int = 1,
    cpus: int = 1,
    gpus: int = 0,
    exclusive: bool = False,
    hours: float | None = None,
    zones: Iterable[str] | None = None,
    excluded: Iterable[str] = (),
    not_before: int = 0,
) -> Request:
    return Request(
        id=id,
        tier=tier,
        est_w=est_w,
        max_w=est_w if max_w is None else max_w,
        group=id if group is None else group,
        pool=pool,
        headroom_w=headroom_w,
        ask=NodeAsk(nodes, copies, cpus, gpus, exclusive),
        time_limit_s=None if hours is None else round(hours * 3_600),
        zones=None if zones is None else frozenset(zones),
        excluded=frozenset(excluded),
        not_before=not_before,
    )


def claim(
    id: str,
    zones: str | dict[str, int],
    est_w: int,
    max_w: int | None = None,
    *,
    hours: float | None = None,
    start_h: float = 0,
    group: str | None = None,
    nodes: int = 1,
    share_milli: int = 0,
    tier: str = "silver",
    placed: bool = True,
    tentative: bool = False,
) -> Claim:
    """A claim in one zone, or with est watts by zone; hours count from NOW, `hours` None is without end."""
    watts = {zones: est_w} if isinstance(zones, str) else zones
    top_w = est_w if max_w is None else max_w
    start = NOW + round(start_h * 3_600)
    return Claim(
        id=id,
        charges=tuple(Charge(name, nodes, w, w + top_w - est_w) for name, w in sorted(watts.items())),
        window=Window(start, FOREVER if hours is None else start + round(hours * 3_600)),
        group=id if group is None else group,
        tier=tier,
        share_milli=share_milli,
        placed=placed,
        tentative=tentative,
    )


def reservation(
    name: str,
    zones: str | dict[str, int],
    est_w: int,
    max_w: int | None = None,
    *,
    start_h: float,
    hours: float,
    group: str | None = None,
    nodes: int = 0,
) -> Claim:
    """The claim of a reservation; without `nodes` it keeps watts alone."""
    id, milli = f"{RESERVATION}{name}", WHOLE_NODE if nodes else 0
    made = claim(id, zones, est_w, max_w, start_h=start_h, hours=hours, group=group, nodes=nodes, share_milli=milli)
    return replace(made, reserves=True)


def pair(limit_w: int, **zones: Redundancy) -> Ledger:
    """Zones of 100 kW that share the feeds `a` and `b`, each of `limit_w`."""
    return ledger(
        [zone(name, redundancy=redundancy, feeds=("a", "b")) for name, redundancy in zones.items()],
        [feed("a", limit_w, Side.A), feed("b", limit_w, Side.B)],
    )
