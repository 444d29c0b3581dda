"""How much of the watts that could be admitted our placement admits, seeing one job at a time.

Each instance is a small floor and more jobs than it can carry, in the order in which they happen to arrive. Ours
decides on each job as it comes and never moves one. The best is what a solver (CP-SAT) finds that knows all jobs
beforehand and may refuse any; where it runs out of time its proven upper bound is taken. Both keep the same rules:
packing, bursts, feeds under N and 2N, lanes, nodes, several zones for one job.
"""

import random
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, median

from ortools.sat.python import cp_model

from slurm_power.core.admission import Admit, decide
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeAsk, ZoneNodes
from slurm_power.core.request import Request
from slurm_power.core.topology import Feed, Lane, Redundancy, Side, Topology, Zone
from tests.benchmarks.floor import NOW, TIERS
from tests.benchmarks.statistics import percentile

_UNIT_W = 100
"""Watts are multiples of 200 W, so that halves are exact, and the solver counts in hundreds."""
_SOLVER_S = 2.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A floor and the jobs that come to it, in order."""

    topology: Topology
    jobs: tuple[Request, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """How instances are drawn: what feeds can carry of the zones below, how much is asked, how many jobs burst."""

    ups: tuple[float, float]
    pdu: tuple[float, float]
    asked: tuple[float, float]
    bursty: float


MIXED = Family(ups=(0.85, 1.2), pdu=(0.85, 1.25), asked=(1.1, 1.6), bursty=0.2)
"""Feeds bind in some instances and zones in others; a job in five may burst by a third or more."""
SCARCE = Family(ups=(0.75, 1.1), pdu=(0.8, 1.2), asked=(1.2, 2.0), bursty=0.25)
"""Feeds bind nearly everywhere, and twice as much is asked as there is: it pays to refuse, which ours never does."""


def run(quick: bool) -> dict[str, object]:
    """The distribution of ours ÷ best over random instances of both families."""
    return {"mixed": compare(MIXED, 10 if quick else 200), "scarce": compare(SCARCE, 5 if quick else 100)}


def compare(family: Family, count: int) -> dict[str, object]:
    """Ours ÷ best over so many instances of a family."""
    ratios, gaps = [], []
    for seed in range(count):
        instance = make(seed, family)
        found_w, bound_w = best(instance)
        gaps.append(1 - found_w / bound_w)
        ratios.append(online(instance) / bound_w)
    return {
        "instances": count,
        "solved_to_optimality": gaps.count(0.0),
        "bound_above_found_at_mean": round(mean(gaps), 4),
        "solver_seconds_at_most": _SOLVER_S,
        "ours_to_bound": {
            "min": round(min(ratios), 4),
            "p5": round(percentile(ratios, 0.05), 4),
            "median": round(median(ratios), 4),
            "mean": round(mean(ratios), 4),
            "max": round(max(ratios), 4),
        },
    }


def make(seed: int, family: Family = MIXED) -> Instance:
    """Four to eight racks of 40 to 130 kW on one or two pairs of PDUs under two UPSs, and more jobs than they carry."""
    chance = random.Random(seed)
    zones = [_zone(chance, number) for number in range(chance.randint(4, 8))]
    feeds = []
    for side in Side:
        feeds.append(Feed(f"ups-{side}", _share(chance, zones, family.ups), side))
        for pair in range(2):
            below = [zone for zone in zones if f"pdu-{side}{pair}" in zone.feeds]
            limit_w = _share(chance, below, family.pdu) if below else 10_000
            feeds.append(Feed(f"pdu-{side}{pair}", limit_w, side, f"ups-{side}"))
    wanted_w = sum(zone.limit_w for zone in zones) * chance.uniform(*family.asked)
    jobs: list[Request] = []
    while sum(job.est_w for job in jobs) < wanted_w:
        jobs.append(_job(chance, len(jobs), family.bursty))
    return Instance(Topology(zones, feeds), tuple(jobs))


def _zone(chance: random.Random, number: int) -> Zone:
    pair = chance.randrange(2)
    return Zone(
        name=f"rack{number}",
        nodes=tuple(f"n{number}-{k}" for k in range(32)),
        limit_w=chance.randrange(40_000, 130_000, 1_000),
        baseline_w=chance.choice((0, 2_000, 4_000)),
        margin=Fraction(chance.choice((10, 15, 20)), 100),
        lane=chance.choice((Lane.MIXED, Lane.MIXED, Lane.HOT, Lane.COLD)),
        redundancy=chance.choice(list(Redundancy)),
        feeds=(f"pdu-A{pair}", f"pdu-B{pair}"),
    )


def _share(chance: random.Random, zones: list[Zone], part: tuple[float, float]) -> int:
    """A rating for a feed of these zones: part of what they would charge it if all were full."""
    full_w = sum(zone.limit_w // (1 if zone.redundancy is Redundancy.TWO_N else 2) for zone in zones)
    return max(round(full_w * chance.uniform(*part)), *(zone.limit_w for zone in zones))


def _job(chance: random.Random, number: int, bursty: float) -> Request:
    nodes = chance.choices((1, 2, 3, 4, 6, 10), weights=(55, 20, 8, 10, 5, 2))[0]
    per_node_w = chance.randrange(800, 10_200, 200)
    percent = chance.choice((30, 40, 60) if chance.random() < bursty else (0, 5, 10))
    burst_w = per_node_w * percent // 100 // 200 * 200
    return Request(
        id=f"j{number}",
        tier=chance.choice(TIERS),
        est_w=per_node_w * nodes,
        max_w=(per_node_w + burst_w) * nodes,
        group=f"g{number}",
        ask=NodeAsk(nodes=nodes, exclusive=True),
    )


def online(instance: Instance) -> int:
    """The watts that ours admits."""
    ledger = Ledger(instance.topology, now=NOW)
    for name, zone in instance.topology.zones.items():
        ledger.set_nodes(name, ZoneNodes(len(zone.nodes), len(zone.nodes)))
    floor = ledger.empty()
    admitted_w = 0
    for job in instance.jobs:
        verdict = decide(job, ledger, floor)
        if isinstance(verdict, Admit):
            ledger.add(verdict.claim)
            admitted_w += job.est_w
    return admitted_w


def best(instance: Instance) -> tuple[int, int]:
    """The most watts that the solver could admit, and what it proved that nobody can pass, in W."""
    topology, model = instance.topology, cp_model.CpModel()
    taken = [model.new_bool_var(job.id) for job in instance.jobs]
    nodes: dict[tuple[int, str], cp_model.IntVar] = {}
    for j, job in enumerate(instance.jobs):
        for name, zone in topology.zones.items():
            if zone.lane in job.lanes:
                nodes[j, name] = model.new_int_var(0, min(job.ask.nodes, len(zone.nodes)), f"{job.id}@{name}")
        model.add(sum(var for (k, _), var in nodes.items() if k == j) == job.ask.nodes * taken[j])
    for name, zone in topology.zones.items():
        model.add(sum(var for (_, at), var in nodes.items() if at == name) <= len(zone.nodes))
        _carry(model, instance, nodes, {name: Fraction(1)}, zone.limit_w, zone.margin)
    for name, feed in topology.feeds.items():
        taps = ((zone, tap) for zone in topology.zones for tap in topology.taps[zone] if tap.feed == name)
        shares = {zone: Fraction(tap.numerator, tap.denominator) for zone, tap in taps}
        _carry(model, instance, nodes, shares, feed.limit_w, feed.margin)
    model.maximize(sum(job.est_w // _UNIT_W * var for job, var in zip(instance.jobs, taken, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = _SOLVER_S
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.linearization_level = 2  # with it nearly all are solved in a second
    found = solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    found_w = round(solver.objective_value) * _UNIT_W if found else 0
    return found_w, round(solver.best_objective_bound) * _UNIT_W


def _carry(
    model: cp_model.CpModel,
    instance: Instance,
    nodes: dict[tuple[int, str], cp_model.IntVar],
    shares: dict[str, Fraction],
    limit_w: int,
    margin: Fraction,
) -> None:
    """Packing and burst on one element: committed ≤ usable; Σ b ≤ rest, or (2·√Σ b²)² = 4·Σ b² ≤ rest²."""
    zones = instance.topology.zones
    limit = limit_w // _UNIT_W
    baseline = sum(int(zones[name].baseline_w * share) // _UNIT_W for name, share in shares.items())
    loads, bursts = [], []
    for j, job in enumerate(instance.jobs):
        own = [(var, shares[z]) for (k, z), var in nodes.items() if k == j and z in shares]
        if not own:
            continue
        est = job.est_w // job.ask.nodes // _UNIT_W
        extra = (job.max_w - job.est_w) // job.ask.nodes // _UNIT_W
        loads += [int(est * share) * var for var, share in own]
        if extra:
            burst = model.new_int_var(0, extra * job.ask.nodes, "")
            model.add(burst == sum(int(extra * share) * var for var, share in own))
            bursts.append(burst)
    if not loads:
        return
    usable = int(limit_w * (1 - margin)) // _UNIT_W
    model.add(sum(loads) + baseline <= usable)
    rest = model.new_int_var(0, limit, "")
    model.add(rest == limit - baseline - sum(loads))
    if not bursts:
        return
    squares = []
    for burst in bursts:
        square = model.new_int_var(0, limit * limit, "")
        model.add_multiplication_equality(square, [burst, burst])
        squares.append(square)
    rest_squared = model.new_int_var(0, limit * limit, "")
    model.add_multiplication_equality(rest_squared, [rest, rest])
    summed = model.new_bool_var("")
    model.add(sum(bursts) <= rest).only_enforce_if(summed)
    model.add(4 * sum(squares) <= rest_squared).only_enforce_if(summed.negated())
