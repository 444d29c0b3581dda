"""A large floor for benchmarks: zones under A/B feeds, loaded with claims."""

import random
from fractions import Fraction

from slurm_power.core.claim import WHOLE_NODE, Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeAsk, NodeFree, ZoneNodes
from slurm_power.core.policy import Tier
from slurm_power.core.request import Request
from slurm_power.core.topology import Feed, Lane, Redundancy, Side, Topology, Zone
from slurm_power.core.window import Window

GOLD = Tier("gold", "gold", None, 0)
SILVER = Tier("silver", "silver", 600, 1)
BRONZE = Tier("bronze", "bronze", 0, 2)
TIERS = (GOLD, SILVER, BRONZE)
NOW = 1_800_000_000
GPUS, CPUS, NODES = 8, 128, 8


def topology(zones: int = 10_000, feeds: int = 2_000) -> Topology:
    """Zones of 130 kW in pairs of PDUs under floor PDUs, UPSs and two utility lines."""
    upper = max(feeds // 20, 2) // 2 * 2
    leaves = (feeds - upper - 2) // 2 * 2
    made = [Feed("utility-a", 10**9, Side.A), Feed("utility-b", 10**9, Side.B)]
    per_upper = 2 * zones // upper
    for i in range(upper):
        side = Side.A if i % 2 == 0 else Side.B
        made.append(Feed(f"ups-{i:04d}", per_upper * 115_000, side, f"utility-{side.lower()}"))
    pairs = leaves // 2
    per_pair = -(-zones // pairs)
    for i in range(leaves):
        side = Side.A if i % 2 == 0 else Side.B
        parent = f"ups-{(i // 2 * (upper // 2) // pairs) * 2 + i % 2:04d}"
        made.append(Feed(f"pdu-{i:04d}", per_pair * 120_000, side, parent))
    lanes = (Lane.MIXED, Lane.MIXED, Lane.HOT, Lane.COLD)
    return Topology(
        (
            Zone(
                name=f"rack{i:05d}",
                nodes=tuple(f"n{i:05d}-{k}" for k in range(NODES)),
                limit_w=130_000,
                baseline_w=4_000,
                margin=Fraction(15, 100),
                lane=lanes[i % 4],
                redundancy=Redundancy.TWO_N,
                feeds=(f"pdu-{(i % pairs) * 2:04d}", f"pdu-{(i % pairs) * 2 + 1:04d}"),
            )
            for i in range(zones)
        ),
        made,
    )


def claims(topo: Topology, count: int = 100_000, seed: int = 1) -> list[Claim]:
    """Claims of mixed size and end, in rounds over the zones, each within its zone's and feeds' reach."""
    chance = random.Random(seed)
    names = sorted(topo.zones)
    room_w = 110_500 * len(names) * 7 // (10 * count)
    made = []
    for i in range(count):
        est_w = chance.choice((2, 4, 8, 12, 24)) * room_w // 10
        max_w = est_w * chance.choice((105, 115, 130, 150)) // 100
        made.append(
            Claim(
                id=str(i),
                charges=(Charge(names[i % len(names)], 1, est_w, max_w),),
                window=Window(NOW - 60, NOW + chance.randrange(60, 86_400)),
                group=f"{chance.randrange(500)}/{chance.randrange(20)}",
                tier=chance.choice(TIERS).name,
                share_milli=WHOLE_NODE // 2,
                placed=True,
            )
        )
    return made


def loaded(zones: int = 10_000, feeds: int = 2_000, count: int = 100_000, seed: int = 1) -> Ledger:
    """The ledger of such a floor with this many live claims, about seven tenths full, with nodes of all kinds free."""
    ledger = Ledger(topology(zones, feeds), now=NOW)
    ledger.load(claims(ledger.topology, count, seed))
    some_nodes(ledger, seed)
    return ledger


def some_nodes(ledger: Ledger, seed: int = 1) -> None:
    """Whole nodes idle in most zones, parts of nodes in many."""
    chance = random.Random(seed)
    for zone in sorted(ledger.topology.zones):
        idle = chance.choice((0, 0, 1, 2, 4))
        partly = (NodeFree(CPUS // 2, GPUS // 2),) * chance.choice((0, 1, 2))
        ledger.set_nodes(zone, ZoneNodes(NODES, idle, CPUS, GPUS, partly))


def request(chance: random.Random, number: int) -> Request:
    """One of a mixed stream: parts of a node, whole nodes, several nodes."""
    nodes = chance.choice((1, 1, 1, 1, 1, 2, 2, 4))
    gpus = GPUS if nodes > 1 else chance.choice((1, 2, 4, 8))
    est_w = nodes * gpus * chance.choice((500, 700, 1_000, 1_275))
    return Request(
        id=f"r{number}",
        tier=chance.choice(TIERS),
        est_w=est_w,
        max_w=-(-est_w * chance.choice((105, 115, 130, 150)) // 100),
        group=f"{chance.randrange(500)}/{chance.randrange(20)}",
        ask=NodeAsk(nodes=nodes, cpus=gpus * CPUS // GPUS, gpus=gpus, exclusive=gpus == GPUS),
        time_limit_s=chance.randrange(600, 86_400),
    )
