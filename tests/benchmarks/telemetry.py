"""Readings of 5,000 nodes and 500 zones, taken in each 5 s, and put beside what is committed in each round; one core.

From Prometheus's answer as JSON to strays and breaches, also of 1,000 PDUs, two UPS and 25 loops, which have no sensors
of their own, with 5,000 jobs on the nodes; and how long the longest step is in which nobody else is served.
"""

import gc
import json
from collections.abc import Callable
from statistics import median
from time import perf_counter, thread_time

from slurm_power.adapters.telemetry.prometheus import PrometheusSource
from slurm_power.config import load_site
from slurm_power.config.telemetry import Prometheus
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.window import Window
from slurm_power.daemon.naming import expected, names
from slurm_power.daemon.sources import lots
from slurm_power.ports import Reading
from slurm_power.service.desk import Desk
from slurm_power.service.draw_history import note_draws
from slurm_power.service.draws import Feeler
from slurm_power.service.job_measuring import measure_jobs
from slurm_power.service.measuring import measure, take
from tests.adapters.telemetry.hostile import Hostile, Question, Wire, answers
from tests.service.support import START, FakeClock, ListJournal

_EVERY_S, _ROUND_S = 5, 2
_ROW = 20
"""Zones that share a cooling loop."""


def run(quick: bool) -> dict[str, object]:
    """CPU time of one polling of all, of one round, and what of a core that comes to."""
    zones, per_zone, polls = (50, 10, 5) if quick else (500, 10, 40)
    desk = _desk(zones, per_zone)
    answer_of = _answers(zones, per_zone)
    with Hostile(answer_of) as server:
        config = Prometheus.model_validate(
            {
                "type": "prometheus", "url": server.url, "every": "5s", "stale": "60s", "label": "zone",
                "zone_watts": "zones", "node_watts": "nodes",
            }
        )  # fmt: skip
        source = PrometheusSource(config)
        figures = _measure(desk, source, polls)
        source.close()
    return {"zones": zones, "nodes": zones * per_zone, "jobs": len(desk.ledger.claims), **figures}


def _desk(zones: int, per_zone: int) -> Desk:
    sides = ("a", "b")
    lines = ["timezone: UTC", "defaults: {redundancy: 2N}", "feeds:"]
    lines += [f"  ups-{side}: {{side: {side.upper()}, limit: 60MW}}" for side in sides]
    lines += [f"  loop{row}: {{kind: cooling, limit: 10MW}}" for row in range(-(-zones // _ROW))]
    lines += [f"  pdu{z}-{side}: {{parent: ups-{side}, limit: 100kW}}" for z in range(zones) for side in sides]
    lines += ["zones:"]
    lines += [
        f'  z{z:03}: {{nodes: "z{z:03}n[1-{per_zone}]", limit: 100kW, baseline: 2kW, '
        f"feeds: [pdu{z}-a, pdu{z}-b, loop{z // _ROW}]}}"
        for z in range(zones)
    ]
    text = "\n".join(lines) + """
telemetry:
  - {type: prometheus, url: "http://127.0.0.1:9", every: 5s, stale: 60s, zone_watts: zones, node_watts: nodes}
"""
    site = load_site(text=text)
    desk = Desk(site, FakeClock(), ListJournal())
    named = names(site.telemetry or ())
    feelers = [Feeler(name, one.stale, one.every, expected(one, site)) for name, one in named.items()]
    desk.measured.draws.follow(feelers, site.control)
    window = Window(START - 3_600, START + 86_400)
    desk.ledger.load(
        Claim(f"j{z}.{n}", (Charge(f"z{z:03}", 1, 7_000, 8_000),), window, f"g{z}.{n}", placed=True)
        for z in range(zones)
        for n in range(per_zone)
    )
    return desk


def _answers(zones: int, per_zone: int) -> Callable[[Wire, Question], None]:
    """A server that answers both queries; the numbers move with each answer."""
    asked = [0]

    def behaves(wire: Wire, question: Question) -> None:
        asked[0] += 1
        nodes = "query=nodes" in question.target
        result = [
            {"metric": {"node": f"z{z:03}n{n}"}, "value": [0, str(6_000 + (asked[0] * 7 + n) % 900)]}
            for z in range(zones)
            for n in range(1, per_zone + 1)
        ] if nodes else [
            {"metric": {"zone": f"z{z:03}"}, "value": [0, str(62_000 + (asked[0] * 13 + z) % 9_000)]}
            for z in range(zones)
        ]  # fmt: skip
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        answers(json.dumps(body).encode(), Content_Type="application/json")(wire, question)

    return behaves


def _measure(desk: Desk, source: PrometheusSource, polls: int) -> dict[str, object]:
    gc.collect()
    gc.freeze()  # as the daemon does
    name = next(iter(desk.measured.draws.heard()))
    clock = desk.clock
    assert isinstance(clock, FakeClock)
    reads, takes, rounds, steps = [], [], [], []
    for _ in range(polls):
        clock.instant += _EVERY_S
        began = thread_time()
        readings = source.read().readings
        reads.append(thread_time() - began)
        began = thread_time()
        for lot in lots(readings):
            steps.append(_timed_take(desk, name, lot))
        takes.append(thread_time() - began)
        began = thread_time()
        for walk in (measure(desk), measure_jobs(desk), note_draws(desk)):
            since = perf_counter()
            for _ in walk:
                steps.append(perf_counter() - since)
                since = perf_counter()
        rounds.append(thread_time() - began)
    core = (median(reads) + median(takes)) / _EVERY_S + median(rounds) / _ROUND_S
    return {
        "read_ms": round(median(reads) * 1e3, 1),
        "take_in_ms": round(median(takes) * 1e3, 1),
        "round_ms": round(median(rounds) * 1e3, 1),
        "longest_step_ms": round(max(steps) * 1e3, 2),
        "of_a_core": round(core, 3),
    }


def _timed_take(desk: Desk, name: str, lot: list[Reading]) -> float:
    began = perf_counter()
    take(desk, name, lot)
    return perf_counter() - began
