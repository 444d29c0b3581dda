"""After a crash: all jobs read from squeue's own text, every claim counted again. Seconds, and the process's memory.

And the round after it, in which nothing has changed: how long it takes, and for how long at most nobody is answered.
"""

import gc
import multiprocessing
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

from slurm_power.adapters.clock import SystemClock
from slurm_power.adapters.slurm.dialect import DIALECTS
from slurm_power.adapters.slurm.jobs import JobReader
from slurm_power.adapters.slurm.runner import PIECE_BYTES, Completed
from slurm_power.config import load_site
from slurm_power.daemon.main import spare_survivors
from slurm_power.ports import Decision, NodeRecord, PartitionRecord, StoredJob
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from tests.benchmarks.statistics import spread

NODES = 10
NONCE = "\x1fbench\x1f"


def run(quick: bool) -> dict[str, object]:
    """Each run in a process of its own."""
    jobs, runs = (2_000, 1) if quick else (100_000, 5)
    found = [in_process(_measure, jobs) for _ in range(runs)]
    return {
        "jobs": jobs,
        "zones": jobs // NODES,
        "runs": runs,
        "read_s": spread([one["read_s"] for one in found]),
        "count_s": spread([one["count_s"] for one in found]),
        "whole_s": spread([one["read_s"] + one["count_s"] for one in found]),
        "cpu_s": spread([one["cpu_s"] for one in found]),
        "memory_mb": spread([one["memory_mb"] for one in found], digits=0),
        "unchanged_read_s": spread([one["unchanged_read_s"] for one in found]),
        "unchanged_count_s": spread([one["unchanged_count_s"] for one in found]),
        "unchanged_longest_s": spread([one["unchanged_longest_s"] for one in found]),
    }


class Canned:
    """squeue's answer for running jobs, one a node, as 24.11 prints it; made beforehand, as its time is not ours."""

    def __init__(self, jobs: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process lives)
        for job in range(1, jobs + 1):
            self._file.write(self._row(job).encode())

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        """Nothing but squeue is asked."""
        raise AssertionError((program, args, stdin, env, check, writes))

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The rows, in pieces as large as the runner's."""
        del program, args, env
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece

    @staticmethod
    def _row(job: int) -> str:
        zone, node = divmod(job - 1, NODES)
        record = f"power:id=token{job:08d},v=admit,tier=bronze,zones=rack{zone:05d}/1/5600/7280"
        fields = (
            *(job, job, "N/A", "RUNNING", 1000 + job % 500, f"user{job % 500}", "research", "bronze", "train"),
            *(4_294_900_000 - job, "None", "N/A", "N/A", f"n{zone:05d}-{node}", 1, 64, "1-00:00:00"),
            *("1800000000", "1800000000", "1800000060", "4000000000", 0, 1, 1, f"pw_rack{zone:05d}:5600"),
            *(f"pw_rack{zone:05d}", "", "(null)", "(null)", 1, "cpu=64,node=1,gres/gpu=8", "N/A"),
            *("gres/gpu:8", "N/A", "N/A", "train.sh", record, "power:est=5.6kW,max=7.28kW", "YES", ""),
        )
        return "".join(f"{field}{NONCE}" for field in fields) + "\n"


class _NoJournal:
    def save(self, job: StoredJob) -> None:
        """Nothing."""

    def drop(self, token: str) -> None:
        """Nothing."""

    def record(self, decision: Decision) -> None:
        """Nothing."""


def _site(jobs: int) -> str:
    zones = "".join(
        f'  rack{zone:05d}: {{nodes: "n{zone:05d}-[0-{NODES - 1}]", feeds: [pdu-{zone % 500}], limit: 130kW}}\n'
        for zone in range(jobs // NODES)
    )
    feeds = "".join(f"  pdu-{feed}: {{limit: 20MW}}\n" for feed in range(500))
    tiers = "tiers:\n  bronze: {qos: bronze, notice: 0s}\n"
    return f"mode: enforce\nfeeds:\n{feeds}zones:\n{zones}{tiers}"


def floor(jobs: int) -> tuple[Desk, JobReader]:
    """A desk that has seen nodes, partitions and licences, and what reads these running jobs."""
    site = load_site(text=_site(jobs))
    desk = Desk(site, SystemClock(), _NoJournal())
    names = [f"n{zone:05d}-{node}" for zone in range(jobs // NODES) for node in range(NODES)]
    hosts = ",".join(f"n{zone:05d}-[0-{NODES - 1}]" for zone in range(jobs // NODES))
    features = {name: (f"pw_rack{name[1:6]}",) for name in names}
    nodes = [NodeRecord(name, True, 64, 64, 8, 8, features=features[name]) for name in names]
    desk.survey(nodes, [PartitionRecord("train", hosts, default=True)], [f"pw_{zone}" for zone in site.topology.zones])
    return desk, JobReader(Canned(jobs), DIALECTS[2], lambda: NONCE)


def _measure(jobs: int, answer: Connection) -> None:
    desk, reader = floor(jobs)
    observer = Observer(desk)
    gc.disable()  # as the daemon does until its first round is over
    cpu, began = time.process_time(), time.perf_counter()
    records = reader.read()
    read = time.perf_counter()
    observer.observe(records, time.monotonic())
    counted = time.perf_counter()
    cpu = time.process_time() - cpu
    spare_survivors()
    gc.enable()
    if len(desk.ledger.claims) != jobs:
        raise AssertionError(f"{len(desk.ledger.claims)} claims of {jobs} jobs")
    memory = _most_memory_mb()
    found = {"read_s": read - began, "count_s": counted - read, "cpu_s": cpu, "memory_mb": memory}
    answer.send({**found, **_unchanged(reader, observer)})


def _most_memory_mb() -> float:
    """The most that this process has had. Not getrusage: that hands on what the process that started it had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _unchanged(reader: JobReader, observer: Observer) -> dict[str, float]:
    began = time.perf_counter()
    records = reader.read()
    read = last = time.perf_counter()
    longest = 0.0
    for _ in observer.steps(records, time.monotonic()):
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    end = time.perf_counter()
    longest = max(longest, end - last)
    return {"unchanged_read_s": read - began, "unchanged_count_s": end - read, "unchanged_longest_s": longest}


def in_process(measure: Callable[[int, Connection], None], jobs: int) -> dict[str, float]:
    """What it sends back of so many jobs, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=measure, args=(jobs, there))
    child.start()
    there.close()
    try:
        found: dict[str, float] = here.recv()
    finally:
        child.join()
    return found
