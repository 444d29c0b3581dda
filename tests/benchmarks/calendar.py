"""Reservations: 10,000 of them in 1,000 zones over 90 days, beside 10,000 live claims, on one core.

Whether another one fits over its whole window, a full refusal with its alternatives, and what the reservations cost the
decisions on ordinary jobs.
"""

import gc
import random
import tracemalloc
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time

from slurm_power.core.ask import AllOf, AnyOf, Ask
from slurm_power.core.calendar import Calendar
from slurm_power.core.claim import RESERVATION, Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.window import Window
from tests.benchmarks.core import stream
from tests.benchmarks.floor import NOW, loaded
from tests.benchmarks.statistics import over_runs, spread

_DAYS = 90
_MILLISECONDS, _MICROSECONDS = 1e3, 1e6


def run(quick: bool) -> dict[str, object]:
    """All figures of this module; CPU time, of streams the medians over runs."""
    zones, feeds, count = (100, 40, 1_000) if quick else (1_000, 200, 10_000)
    rounds, runs = (200, 1) if quick else (5_000, 5)
    ledger = loaded(zones, feeds, count)
    floor = ledger.empty()
    figures: dict[str, object] = {"zones": zones, "feeds": feeds, "claims": count, "reservations": count}
    figures["jobs_without"] = over_runs([stream(ledger, floor, rounds, run) for run in range(runs)])
    figures["load"] = reserve(ledger, count)
    figures["jobs_with"] = over_runs([stream(ledger, floor, rounds, run) for run in range(runs)])
    figures["questions"] = questions(ledger, rounds)
    figures["changes"] = changes(ledger, rounds)
    return figures


def _window(chance: random.Random, longest_days: int = 7) -> Window:
    """Within the days to come, from an hour to some days long, to whole minutes."""
    start = NOW + 60 * chance.randrange(1, _DAYS * 1_440)
    return Window(start, start + 60 * chance.randrange(60, longest_days * 1_440))


def _burst_w(chance: random.Random, est_w: int) -> int:
    return est_w * chance.choice((0, 0, 5, 15)) // 100


def reserve(ledger: Ledger, count: int) -> dict[str, object]:
    """Reserve where it fits, until there are so many; what is refused is tried elsewhere and at another time."""
    chance = random.Random(3)
    zones = sorted(ledger.topology.zones)
    made: list[Claim] = []
    asked, spent = 0, 0.0
    while len(made) < count:
        asked += 1
        name, est_w = f"{RESERVATION}{asked}", 500 * chance.randrange(10, 120)
        charge = Charge(chance.choice(zones), 0, est_w, est_w + _burst_w(chance, est_w))
        claim = Claim(name, (charge,), _window(chance), name, reserves=True)
        if Calendar(ledger, name).lack(claim.charges, claim.window) is None:
            _, ran, _ = _timed(partial(ledger.add, claim))
            spent += ran
            made.append(claim)
    return {"asked": asked, "adding_cpu_s": round(spent, 2), "ledger_grows_mb": _memory_mb(ledger, made)}


def _memory_mb(ledger: Ledger, made: list[Claim]) -> float:
    """What reservations take in a ledger of the same floor, the claims themselves left out."""
    other = Ledger(ledger.topology, now=NOW)
    gc.collect()
    tracemalloc.start()
    other.load(made)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return round(held / 1e6, 1)


def _timed(answer: Callable[[], object]) -> tuple[object, float, float]:
    """(what it answers, CPU seconds, seconds)."""
    clock, began = perf_counter(), thread_time()
    found = answer()
    return found, thread_time() - began, perf_counter() - clock


def questions(ledger: Ledger, rounds: int) -> dict[str, object]:
    """Random zone, window and watts: does it fit; how much would; and where it does not, what would instead."""
    chance = random.Random(5)
    zones = sorted(ledger.topology.zones)
    times: dict[str, list[float]] = {}
    wall: list[float] = []
    fitted = 0

    def time(name: str, answer: Callable[[], object]) -> object:
        found, ran, clock = _timed(answer)
        times.setdefault(name, []).append(ran)
        if name == "feasible":
            wall.append(clock)
        return found

    for number in range(rounds):
        window, est_w, zone = _window(chance), 500 * chance.randrange(10, 180), chance.choice(zones)
        ask = AllOf(((zone, est_w),), _burst_w(chance, est_w))
        fits = time("feasible", partial(_asker(ledger).place, ask, window)) is not None
        fitted += fits
        time("free", partial(_asker(ledger).free, zone, window))
        if not fits and len(times.get("refusal", ())) * 10 < rounds:
            time("refusal", partial(_refuse, ledger, ask, window, chance.sample(zones, 10)))
        if number % 100 == 0:
            some = AnyOf(tuple(zones), 4 * est_w, most_zones=8)
            time("any_of_all_zones", partial(_asker(ledger).place, some, window))
            time("any_of_all_zones_refusal", partial(_refuse, ledger, some, window, []))
    figures: dict[str, object] = {"asked": rounds, "fitted": fitted, "feasible_wall_ms": spread(wall, _MILLISECONDS)}
    return figures | {f"{name}_cpu_ms": spread(found, _MILLISECONDS) for name, found in times.items()}


def _asker(ledger: Ledger) -> Calendar:
    return Calendar(ledger, "res:new")


def _refuse(ledger: Ledger, ask: Ask, window: Window, others: list[str]) -> object:
    calendar = _asker(ledger)
    return calendar.place(ask, window), calendar.alternatives(ask, window, others)


def changes(ledger: Ledger, rounds: int) -> dict[str, object]:
    """Take a reservation out and put it back; move time on by ten minutes, so that some begin."""
    chance = random.Random(6)
    booked = sorted(ledger.bookings(), key=lambda claim: claim.id)
    instants = range(ledger.now, ledger.now + 600 * min(rounds, 1_000), 600)

    def replace(claim: Claim) -> None:
        ledger.replace(claim.id, claim)

    replaced = [_timed(partial(replace, chance.choice(booked)))[1] for _ in range(rounds)]
    advanced = [_timed(partial(ledger.advance, instant))[1] for instant in instants]
    return {
        "replace_cpu_us": spread(replaced, _MICROSECONDS, 1),
        "advance_cpu_us": spread(advanced, _MICROSECONDS, 1),
    }
