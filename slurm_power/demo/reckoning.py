"""The demo's own account of watts: from what was submitted and where Slurm runs it, and not from the daemon's ledger.

Only the floor plan (limits, and which share of a zone's load a feed is charged) is the product's.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from slurm_power.core.binding import PREFIX
from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import Topology
from slurm_power.core.units import ceil_share, format_watts
from slurm_power.ports import LicenseRecord


@dataclass(frozen=True, slots=True)
class Draw:
    """What one running job, or task of an array, may draw, and on which nodes. Jobs of one `group` burst together."""

    job: str
    group: str
    nodes: tuple[str, ...]
    est_w: int
    max_w: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What one zone or feed may carry."""

    name: str
    limit_w: int
    usable_w: int
    baseline_w: int


@dataclass(frozen=True, slots=True)
class Reckoned:
    """Σ est of the jobs that run on a zone or feed, and what may come on top of it for a while, in W."""

    est_w: int = 0
    burst_w: int = 0


def budgets(topology: Topology) -> dict[str, Budget]:
    """Zone or feed → its budget; zones first, in order of name."""
    found = {
        zone.name: Budget(zone.name, zone.limit_w, zone.usable_w, zone.baseline_w)
        for _, zone in sorted(topology.zones.items())
    }
    for name, feed in sorted(topology.feeds.items()):
        found[name] = Budget(name, feed.limit_w, feed.usable_w, topology.feed_baselines_w[name])
    return found


def reckon(topology: Topology, rule: BurstRule, draws: Iterable[Draw]) -> dict[str, Reckoned]:
    """Zone or feed → what these jobs put on it. KeyError for a node that lies in no zone."""
    est_w: dict[str, int] = defaultdict(int)
    bursts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for draw in draws:
        for zone, count in _count(topology, draw.nodes).items():
            zone_est_w = ceil_share(draw.est_w, count, len(draw.nodes))
            zone_max_w = ceil_share(draw.max_w, count, len(draw.nodes))
            est_w[zone] += zone_est_w
            bursts[zone][draw.group] += zone_max_w - zone_est_w
            for tap in topology.taps[zone]:
                share_w = tap.share_w(zone_est_w)
                est_w[tap.feed] += share_w
                bursts[tap.feed][draw.group] += tap.share_w(zone_max_w) - share_w
    return {name: Reckoned(watts, _together(rule, bursts[name].values())) for name, watts in est_w.items()}


def passed(budget: Budget, found: Reckoned) -> str:
    """How the budget is passed; empty where it is kept."""
    committed_w = budget.baseline_w + found.est_w
    if committed_w > budget.usable_w:
        return (
            f"{budget.name}: committed {format_watts(committed_w)} is more than usable {format_watts(budget.usable_w)}"
        )
    if committed_w + found.burst_w > budget.limit_w:
        top = f"{format_watts(committed_w)} and bursts of {format_watts(found.burst_w)}"
        return f"{budget.name}: {top} are more than the limit {format_watts(budget.limit_w)}"
    return ""


def miscounts(reckoned: Mapping[str, Reckoned], licenses: Sequence[LicenseRecord]) -> list[str]:
    """Where Slurm's own count passes its total, or is not the Σ est of the jobs that run, to the watt."""
    wrong = []
    for licence in licenses:
        if not licence.name.startswith(PREFIX):
            continue
        est_w = reckoned.get(licence.name.removeprefix(PREFIX), Reckoned()).est_w
        if licence.used > licence.total:
            wrong.append(f"licence {licence.name}: {licence.used} used of {licence.total}")
        if licence.used != est_w:
            wrong.append(f"licence {licence.name}: {licence.used} used, but its jobs were submitted with {est_w} W")
    return wrong


def _count(topology: Topology, nodes: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for node in nodes:
        counts[topology.zone_of_node[node]] += 1
    return counts


def _together(rule: BurstRule, bursts: Iterable[int]) -> int:
    """min(Σ b, z·√(Σ b²)), or Σ b."""
    values = list(bursts)
    total = sum(values)
    return min(total, ceil(rule.z_milli / 1_000 * sqrt(sum(b * b for b in values)))) if rule.rss else total
