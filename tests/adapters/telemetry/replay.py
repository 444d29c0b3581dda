"""Logs of real nodes, shown to a Prometheus server as if they were measured now.

The logs are those of MLPerf Power v4.0, of H100 nodes that train together, one value for every two seconds:
`mlperf_power_v4.0_h100/mlperf_node_power_series.csv.gz` in the folder that SLURM_POWER_DATA names, else in
`shared/data` beside the checkout. Where nobody named a folder and there are none, a short series with the same bounds
stands in. The names of tests say which it is: `made` where it is that one.
"""

import csv
import gzip
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.adapters.telemetry.hostile import Question, Wire, answers

_NAMED = os.environ.get("SLURM_POWER_DATA")
_DATA = Path(_NAMED) if _NAMED else Path(__file__).parents[4] / "shared/data"
LOGS = _DATA / "mlperf_power_v4.0_h100/mlperf_node_power_series.csv.gz"
RECORDED = bool(_NAMED) or LOGS.exists()
"""Whether the logs of real nodes are taken; a folder that was named and has none is an error."""
_SYSTEM = "64xSMC-H100-SXM-80GB"
_SHORT = 300
Log = Sequence[float]


def logs(count: int) -> list[Log]:
    """Watts of so many nodes of one run, sample by sample."""
    return _recorded(count) if RECORDED else _made(count)


def _recorded(count: int) -> list[Log]:
    found: dict[str, list[float]] = {}
    run = None
    with gzip.open(LOGS, "rt", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["system"] != _SYSTEM or (run is not None and row["run"] != run):
                continue
            run = row["run"]
            if row["node"] not in found and len(found) == count:
                break
            found.setdefault(row["node"], []).append(float(row["power_w"]))
    return list(found.values())


def _made(count: int) -> list[Log]:
    """Between idle and full load of such a node, in steps of iterations and evaluations."""
    dice = random.Random(4)
    return [
        [float(dice.randint(5_400, 6_900) if at % 60 > 8 else dice.randint(2_000, 2_400)) for at in range(_SHORT)]
        for _ in range(count)
    ]


class Replay:
    """An exporter's page, to be served by `Hostile(replay.shows)`: one sample a second from the middle of the logs on.

    `node_watts` as most exporters show it, `gateway_watts` the same with the time of each sample, as gateways do.
    """

    def __init__(self, racks: Mapping[str, Mapping[str, Log]]) -> None:
        """`racks`: rack → node → its log."""
        self._racks = racks
        self._begun = time.time()
        self.shown: list[dict[str, float]] = []
        """Node → watts, for each time that it was scraped."""

    def shows(self, wire: Wire, question: Question) -> None:
        """Answer one scrape."""
        now = time.time()
        lines, shown = [], {}
        for rack, nodes in self._racks.items():
            for node, log in nodes.items():
                shown[node] = log[(len(log) // 2 + int(now - self._begun)) % len(log)]
                labels = f'{{rack="{rack}",host="{node}.example.org:9290"}}'
                lines.append(f"node_watts{labels} {shown[node]}")
                lines.append(f"gateway_watts{labels} {shown[node]} {int(now * 1_000)}")
        self.shown.append(shown)
        answers("\n".join([*lines, ""]).encode(), Content_Type="text/plain; version=0.0.4")(wire, question)
