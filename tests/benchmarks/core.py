"""The decision and the ledger: on a floor of 10,000 zones, 2,000 feeds and 100,000 live claims, on one core.

`mixed` is work as it comes, most of which fits. The other mixes are made to hurt: floors on which part of the requests
or all of them must be held, because wide feeds, narrow feeds, bursts or nodes are used up, or a shadow is booked.
"""

import gc
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter, thread_time

from slurm_power.core.admission import Admit, decide
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeFree, ZoneNodes
from slurm_power.core.queue import shadow
from tests.benchmarks.floor import (
    CPUS,
    GPUS,
    NODES,
    NOW,
    TIERS,
    claims,
    loaded,
    request,
    some_nodes,
    topology,
)
from tests.benchmarks.statistics import over_runs, spread

_MICROSECONDS = 1e6


def run(quick: bool) -> dict[str, object]:
    """All figures of this module, of streams the medians over runs; times of single decisions in microseconds."""
    zones, feeds, count = (500, 100, 5_000) if quick else (10_000, 2_000, 100_000)
    rounds, runs = (300, 1) if quick else (5_000, 5)
    figures: dict[str, object] = {"zones": zones, "feeds": feeds, "claims": count, "runs": runs}
    figures["load"] = loading(zones, feeds, count)
    ledger = loaded(zones, feeds, count)
    floor = ledger.empty()
    figures["mixed"] = over_runs([stream(ledger, floor, rounds, run) for run in range(runs)])
    figures["cycle"] = cycle(ledger, floor, rounds)
    for name, spoil in MIXES.items():
        with_change = loaded(zones, feeds, count)
        spoil(with_change)
        figures[name] = over_runs([stream(with_change, floor, rounds, run) for run in range(runs)])
    return figures


def loading(zones: int, feeds: int, count: int) -> dict[str, object]:
    """Seconds to load all claims into a fresh ledger, best of three, and the memory that ledger and claims take."""
    topo = topology(zones, feeds)
    made = claims(topo, count)
    seconds = []
    for _ in range(3):
        ledger = Ledger(topo, now=NOW)
        gc.collect()
        began = perf_counter()
        ledger.load(made)
        seconds.append(perf_counter() - began)
        del ledger
    began = perf_counter()
    Ledger(topo, now=NOW)
    empty_s = perf_counter() - began
    del made
    gc.collect()
    tracemalloc.start()
    ledger = Ledger(topo, now=NOW)
    floor_mb = tracemalloc.get_traced_memory()[0] / 1e6
    ledger.load(claims(topo, count))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "seconds": round(min(seconds), 2),
        "seconds_empty_ledger": round(empty_s, 2),
        "empty_ledger_mb": round(floor_mb, 1),
        "with_claims_mb": round(held / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
    }


def stream(ledger: Ledger, floor: Ledger, rounds: int, run: int) -> dict[str, object]:
    """Decisions one by one on a floor that stays as it is: by verdict, and all together. Each run has other requests.

    `cpu` is the time that the thread ran: on a busy machine the clock on the wall shows others' turns as well.
    """
    chance = random.Random(7 + run)
    asked = [request(chance, number) for number in range(rounds)]
    for one in asked[:200]:
        decide(one, ledger, floor, others=TIERS)
    times: dict[str, list[float]] = {}
    wall = []
    for one in asked:
        began, ran = perf_counter(), thread_time()
        verdict = decide(one, ledger, floor, others=TIERS)
        times.setdefault(type(verdict).__name__.lower(), []).append(thread_time() - ran)
        wall.append(perf_counter() - began)
    every = [seconds for found in times.values() for seconds in found]
    return {
        "verdicts": {name: len(found) for name, found in sorted(times.items())},
        "wall_us": spread(wall, _MICROSECONDS, 1),
        "cpu_us": spread(every, _MICROSECONDS, 1),
        **{f"{name}_cpu_us": spread(found, _MICROSECONDS, 1) for name, found in sorted(times.items())},
        "decisions_per_cpu_s": round(len(every) / sum(every)),
    }


def cycle(ledger: Ledger, floor: Ledger, rounds: int) -> dict[str, object]:
    """Decide and add; and with the removal of an older claim, so that the floor stays as full as it was."""
    chance = random.Random(8)
    added, whole, wall = [], [], []
    verdicts: Counter[str] = Counter()
    old = iter(list(ledger.claims))
    for number in range(rounds):
        one = request(chance, rounds + number)
        clock, began = perf_counter(), thread_time()
        verdict = decide(one, ledger, floor, others=TIERS)
        verdicts[type(verdict).__name__.lower()] += 1
        if isinstance(verdict, Admit):
            ledger.add(verdict.claim)
            added.append(thread_time() - began)
            ledger.remove(next(old))
            whole.append(thread_time() - began)
            wall.append(perf_counter() - clock)
    return {
        "verdicts": dict(verdicts),
        "decide_add_cpu_us": spread(added, _MICROSECONDS, 1),
        "decide_add_remove_cpu_us": spread(whole, _MICROSECONDS, 1),
        "decide_add_remove_wall_us": spread(wall, _MICROSECONDS, 1),
        "cycles_per_cpu_s": round(len(whole) / sum(whole)),
    }


# -- floors that hurt ------------------------------------------------------------------------------------------------


def _fill(ledger: Ledger, prefix: str, left_w: int, *, every: int = 1) -> None:
    """Cut feeds of a kind to what they carry and `left_w`; `every` second, third … only."""
    names = [name for name in sorted(ledger.topology.feeds) if name.startswith(prefix)]
    for name in names[::every]:
        ledger.set_limit(name, ledger.meters[name].committed_w + ledger.meters[name].burst_w + left_w)


def _full_bursts(ledger: Ledger) -> None:
    """Every zone has watts to plan, but next to none to burst."""
    for name in ledger.topology.zones:
        meter = ledger.meters[name]
        ledger.set_limit(name, meter.committed_w + meter.burst_w + 6_000)


def _full_nodes(ledger: Ledger) -> None:
    """No node is idle; scraps of nodes are left everywhere, a few of a useful size."""
    for number, name in enumerate(ledger.topology.zones):
        parts = (NodeFree(CPUS // 8, 1), NodeFree(CPUS // 2, 0), NodeFree(8, 4 if number % 500 == 0 else 0))
        ledger.set_nodes(name, ZoneNodes(NODES, 0, CPUS, GPUS, parts))


def _shadowed(ledger: Ledger) -> None:
    """The head of the queue waits for a zone under full feeds; its shadow weighs on them."""
    _fill(ledger, "pdu", 3_000, every=2)
    head = replace(request(random.Random(1), 0), id="head", est_w=60_000, max_w=70_000)
    claim = shadow(head, ledger)
    if claim is not None:
        ledger.add(claim)


def _one_site_wide(ledger: Ledger) -> None:
    _fill(ledger, "utility", 500)


def _ups(ledger: Ledger) -> None:
    _fill(ledger, "ups", 500)


def _half_ups(ledger: Ledger) -> None:
    _fill(ledger, "ups", 500, every=4)


def _pdus(ledger: Ledger) -> None:
    _fill(ledger, "pdu", 500)


def _closed(ledger: Ledger) -> None:
    for name in ledger.topology.zones:
        ledger.close(name, "thermal state critical")


def _busy(ledger: Ledger) -> None:
    """Racks are as full as they get, nodes are free: every job looks for the few that are left."""
    some_nodes(ledger)
    for number, name in enumerate(ledger.topology.zones):
        if number % 200:
            ledger.set_limit(name, (ledger.meters[name].committed_w + 400) * 100 // 85)


MIXES: dict[str, Callable[[Ledger], None]] = {
    "held_utility_full": _one_site_wide,
    "held_all_ups_full": _ups,
    "held_some_ups_full": _half_ups,
    "held_pdus_full": _pdus,
    "few_zones_left": _busy,
    "held_bursts_full": _full_bursts,
    "held_nodes_full": _full_nodes,
    "held_zones_closed": _closed,
    "held_beside_shadow": _shadowed,
}
