"""How close to the least sufficient watts the choice of victims comes, and how long it takes among many.

Each case is a job or a cut that is short of up to four things (watts of a zone, of a feed under N or 2N, of a feed
further up, nodes), and candidates of up to three tiers. The best is what a solver (CP-SAT) finds that keeps the same
order of tiers: of the highest tier that has to be touched the least watts, with those settled of the next the least.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from time import thread_time

from ortools.sat.python import cp_model

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.offer import Candidate, Offer
from slurm_power.core.steps import finish
from slurm_power.core.victims import choose, highest_touched
from slurm_power.core.window import Window
from slurm_power.daemon.main import spare_survivors
from tests.benchmarks.floor import NOW
from tests.benchmarks.statistics import percentile, spread

_SOLVER_S = 2.0
"""Of the solver's own count, which does not depend on how busy the machine is."""
_LOST_S = 100_000
_MANY = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """What is short, and who may go."""

    short: tuple[int, ...]
    offers: tuple[Offer, ...]


def run(quick: bool) -> dict[str, object]:
    """Excess over the best in 1,000 cases, and milliseconds of a choice among 10,000 candidates."""
    return {"against_best": compare(50 if quick else 1_000), "among_many": timed(2 if quick else 50)}


def compare(count: int) -> dict[str, object]:
    """Ours beside the solver's best, over so many cases of 4 to 200 candidates."""
    excess: list[float] = []
    proved = idle = tiers = 0
    for seed in range(count):
        chance = random.Random(seed)
        case = make(chance, round(4 * 50 ** chance.random()))
        gone = _gone(case)
        best_w, certain = best(case, gone)
        ours_w = _watts(gone, list(best_w))
        proved += certain
        idle += spare(case, gone)
        tiers += len(best_w) > 1
        apart = next((rank for rank in best_w if ours_w[rank] != best_w[rank]), None)
        excess.append(0.0 if apart is None else (ours_w[apart] - best_w[apart]) / sum(best_w.values()))
    return {
        "cases": count,
        "more_than_one_tier_touched": tiers,
        "proved_by_the_solver": proved,
        "as_good_as_the_best": excess.count(0.0),
        "with_a_victim_that_could_be_left_out": idle,
        "excess_percent": {
            "median": round(100 * median(excess), 3),
            "mean": round(100 * mean(excess), 3),
            "p95": round(100 * percentile(excess, 0.95), 3),
            "max": round(100 * max(excess), 3),
        },
    }


def timed(rounds: int) -> dict[str, object]:
    """CPU milliseconds of a choice among 10,000 candidates, by how much of all that they hold is short."""
    found: dict[str, object] = {"candidates": _MANY}
    every: list[float] = []
    spare_survivors()  # as the daemon does: the collector would else look through all jobs time and again
    for name, share in (("one_job", 0.000_2), ("a_hundredth", 0.01), ("a_fifth", 0.2), ("two_thirds", 0.66)):
        times = []
        for seed in range(rounds):
            case = make(random.Random(seed), _MANY, share)
            began = thread_time()
            victims = finish(choose(case.short, case.offers))
            times.append(thread_time() - began)
            if victims is None:
                raise RuntimeError("all candidates do not suffice")
        found[name] = spread(times, 1e3, 1)
        every += times
    return {**found, "all": spread(every, 1e3, 1)}


def make(chance: random.Random, count: int, share: float | None = None) -> Case:
    """A case of so many candidates, of which about `share` has to go (None: any)."""
    dimensions = chance.randint(1, 4)
    tiers = chance.choice(((2,), (1, 2), (0, 1, 2)))
    like = chance.random() < 0.2  # a floor of jobs that are all alike
    offers = tuple(_offer(chance, number, dimensions, tiers, like) for number in range(count))
    part = chance.uniform(0.01, 0.9) if share is None else share
    total = [sum(offer.gives[k] for offer in offers) for k in range(dimensions)]
    short = tuple(math.ceil(amount * part * chance.uniform(0.5, 1.0)) for amount in total)
    return Case(short, offers)


def _offer(chance: random.Random, number: int, dimensions: int, tiers: Sequence[int], like: bool) -> Offer:
    nodes = chance.choice((1, 1, 1, 2, 4, 8))
    watts = nodes * (5_600 if like else chance.randrange(700, 10_200))
    here = chance.random() < 0.5
    gives = (watts, watts if here else 0, -(-watts // 2) if here else watts, 1_000 * nodes if here else 0)
    claim = Claim(str(number), (Charge("rack", nodes, watts, watts),), Window(NOW), str(number))
    started = NOW - chance.randrange(86_400)
    one = Candidate(claim, chance.choice(tiers), started, number, lost_s=chance.randrange(_LOST_S))
    return Offer(one, watts, gives[:dimensions])


def best(case: Case, known: Sequence[Offer]) -> tuple[dict[int, int], bool]:
    """Tier → the least watts of it, the highest that has to be touched first; and whether all is proved.

    The solver starts from a set that is known to suffice.
    """
    first = {offer.candidate.id for offer in known}
    highest = highest_touched(case.short, case.offers)
    offers = [offer for offer in case.offers if highest is not None and offer.candidate.rank >= highest]
    model = cp_model.CpModel()
    goes = [model.new_bool_var(offer.candidate.id) for offer in offers]
    for place, amount in enumerate(case.short):
        model.add(sum(offer.gives[place] * var for offer, var in zip(offers, goes, strict=True)) >= amount)
    for offer, var in zip(offers, goes, strict=True):
        model.add_hint(var, offer.candidate.id in first)
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = _SOLVER_S
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    found, certain = dict[int, int](), True
    for rank in sorted({offer.candidate.rank for offer in offers}):
        own = [offer.watts * var for offer, var in zip(offers, goes, strict=True) if offer.candidate.rank == rank]
        model.minimize(sum(own))
        certain = solver.solve(model) == cp_model.OPTIMAL and certain
        found[rank] = round(solver.objective_value)
        model.add(sum(own) == found[rank])
    return found, certain


def spare(case: Case, gone: Sequence[Offer]) -> bool:
    """Whether the others would suffice without some victim."""
    given = [sum(offer.gives[k] for offer in gone) for k in range(len(case.short))]
    return any(
        all(sum_ - gives >= amount for sum_, gives, amount in zip(given, offer.gives, case.short, strict=True))
        for offer in gone
    )


def _gone(case: Case) -> list[Offer]:
    victims = finish(choose(case.short, case.offers))
    if victims is None:
        raise RuntimeError("all candidates do not suffice")
    ids = {victim.id for victim in victims}
    return [offer for offer in case.offers if offer.candidate.id in ids]


def _watts(gone: Sequence[Offer], ranks: Sequence[int]) -> dict[int, int]:
    return {rank: sum(offer.watts for offer in gone if offer.candidate.rank == rank) for rank in ranks}
