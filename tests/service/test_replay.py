"""Logged power of H100 nodes replayed as the draw of a full rack: nobody is shed for it, and nobody churns."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator

import pytest

from slurm_power.ports import JobState, Kind, Quantity, Reading
from slurm_power.service.measuring import take
from tests.adapters.telemetry.replay import LOGS, RECORDED, logs
from tests.service.test_measuring import Metered

RACK = 4
"""Nodes in a rack, each with a job of its own."""
_LOOKS = 400


def runs() -> Iterator[tuple[str, list[list[float]]]]:
    """(name, the log of each of its first nodes) of one run of each benchmark and size; a made one without the logs."""
    if not RECORDED:
        yield "made", [list(log) for log in logs(RACK)]
        return
    found: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(dict)
    which: dict[tuple[str, str], str] = {}
    with gzip.open(LOGS, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            kind = row["system"], row["benchmark"]
            nodes = found[kind]
            if which.setdefault(kind, row["run"]) == row["run"] and (row["node"] in nodes or len(nodes) < RACK):
                nodes.setdefault(row["node"], []).append(float(row["power_w"]))
    for (system, benchmark), nodes in found.items():
        yield f"{benchmark} on {system}", list(nodes.values())


RUNS = dict(runs())


@pytest.mark.parametrize("name", RUNS)
def test_a_rack_that_is_full_by_p95(name: str) -> None:
    """Jobs declare the 95th percentile of their logs, fill usable to the watt, and draw what the logs say."""
    series = RUNS[name]
    est_w = [int(sorted(log)[len(log) * 95 // 100]) for log in series]
    limit_w = -(-sum(est_w) * 100 // 85)
    nodes = len(series)
    rig = Metered(text=f"""\
timezone: UTC
defaults: {{max_factor: 1.05}}
zones: {{a: {{nodes: "a[1-{nodes}]", limit: {limit_w}W}}}}
partitions: {{main: {{node_watts: 5kW}}}}
control: {{smoothing: 30s}}
telemetry: [{{type: slurm, every: 2s, stale: 20s}}]
""")
    jobs = [rig.running(("gold", "silver", "bronze")[n % 3], est_w=watts) for n, watts in enumerate(est_w)]
    held = rig.submit("bronze", est_w=500)
    for look in range(min(_LOOKS, max(map(len, series)))):
        readings = [
            Reading(Kind.NODE, f"a{number}", Quantity.POWER, log[look % len(log)])
            for number, log in enumerate(series, start=1)
        ]
        take(rig.desk, rig.sources[0], readings)
        rig.later(2)
        assert rig.desk.measured.breaches == {}
    assert [rig.state(job) for job in jobs] == [JobState.RUNNING] * nodes
    assert rig.state(held) is JobState.PENDING
    assert (rig.lines("preempt", "preempt-notice"), rig.live) == ([], [])
    rig.end()
