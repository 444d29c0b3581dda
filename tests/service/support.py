"""A desk in one process on a small floor: a site, a clock that stands still, a journal in lists."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from slurm_power.config import Site, load_site
from slurm_power.core.binding import feature_of, licence_plan
from slurm_power.ports import Decision, HoldKind, JobRecord, NodeRecord, PartitionRecord, StoredJob
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from tests.fakes.slurm import FakeSlurm, make_nodes

START = 1_800_000_000
"""2027-01-15T08:00:00Z, a Friday."""

SITE = """\
mode: enforce
enforce: all
timezone: UTC
defaults: {margin: 10%, tier: bronze, max_factor: 1.3, start_grace: 5m}
feeds:
  ups-a:  {side: A, limit: 62kW}
  ups-b:  {side: B, limit: 60kW}
  pdu-a1: {side: A, parent: ups-a, limit: 46kW}
  pdu-b1: {side: B, parent: ups-b, limit: 46kW}
  loop:   {kind: cooling, limit: 52kW}
zones:
  rack01: {nodes: "n[01-03]", feeds: [pdu-a1, pdu-b1, loop], redundancy: 2N, limit: 30kW, baseline: 1kW, lane: hot}
  rack02: {nodes: "n[04-06]", feeds: [pdu-a1, pdu-b1, loop], redundancy: 2N, limit: 30kW, baseline: 1kW, lane: mixed}
  rack03: {nodes: "n[07-09]", feeds: [ups-a, ups-b], redundancy: N, limit: 25kW, baseline: 500W, lane: cold}
partitions:
  main: {node_watts: 8kW, gpu_watts: 700W}
tiers:
  gold:   {qos: gold, notice: never}
  silver: {qos: silver, notice: 10m}
  bronze: {qos: bronze, notice: 0s}
classes:
  interactive: {tier: silver, max_delay: 5m, max: 6kW}
  overnight:   {tier: bronze, hours: "20:00-06:00"}
  lean:        {est: 2kW}
hook: {socket: /run/slurm_power/hook.sock, token_ttl: 10s, rumour_cap: 40kW, gate_wait: 30s}
"""

USERS = {1001: "alice", 1002: "bob", 1003: "carol"}


class FakeClock:
    """Stands still but for what tests tell it; `monotonic` moves a little at each question."""

    def __init__(self, now: int = START) -> None:
        self.instant = now
        self._steps = count(1)
        self._extra = 0.0

    def now(self) -> int:
        return self.instant

    def exact(self) -> float:
        return float(self.instant)

    def monotonic(self) -> float:
        return self.instant - START + self._extra + next(self._steps) * 1e-6

    def wait(self, seconds: float) -> None:
        """Monotonic time passes, as inside one call of the launch gate."""
        self._extra += seconds


class ListJournal:
    """The book's journal; every change is durable at once."""

    def __init__(self) -> None:
        self.jobs: dict[str, StoredJob] = {}
        self.decisions: list[Decision] = []

    def save(self, job: StoredJob) -> None:
        self.jobs[job.token] = job

    def drop(self, token: str) -> None:
        self.jobs.pop(token, None)

    def record(self, decision: Decision) -> None:
        self.decisions.append(decision)

    @property
    def holds(self) -> dict[str, HoldKind]:
        """What the daemon learns from the database when it starts."""
        return {job.token: job.hold for job in self.jobs.values() if job.hold is not None}


def tokens() -> Iterator[str]:
    """Tokens that are the same in every run."""
    return (f"tok{number}" for number in count(1))


def site_of(text: str = SITE, **changes: str) -> Site:
    """The site, with lines replaced: `site_of(mode="advise")`."""
    for key, value in changes.items():
        old = next(line for line in text.splitlines() if line.startswith(f"{key}:"))
        text = text.replace(old, f"{key}: {value}")
    return load_site(text=text)


def floor_nodes(site: Site) -> list[NodeRecord]:
    """Nodes with their zones' features; `x[1-2]` lie in no zone."""
    nodes = [
        node
        for zone in site.topology.zones.values()
        for node in make_nodes(
            ",".join(zone.nodes), cpus=32, gpus=4, features=[feature_of(zone.name), "fast"]
        )
    ]
    return [*nodes, *make_nodes("x[1-2]", cpus=32, gpus=4, features=["slow"])]


def floor_partitions() -> list[PartitionRecord]:
    return [
        PartitionRecord("main", "n[01-09]", default=True, max_time_s=86_400),
        PartitionRecord("outside", "x[1-2]", max_time_s=86_400),
        PartitionRecord("both", "n[01-03],x[1-2]", max_time_s=86_400, default_time_s=3_600),
    ]


def fake_slurm(site: Site, **options: Any) -> FakeSlurm:
    """A Slurm of that floor, with the licences that the site file renders."""
    return FakeSlurm(
        floor_nodes(site),
        licenses={**licence_plan(site.topology).counts, "matlab": 10},
        partitions=floor_partitions(),
        now=START,
        **options,
    )


@dataclass
class Lab:
    """A desk that has surveyed the floor, and what a test says to it."""

    site: Site = field(default_factory=site_of)
    clock: FakeClock = field(default_factory=FakeClock)
    journal: ListJournal = field(default_factory=ListJournal)

    def __post_init__(self) -> None:
        self.desk = Desk(self.site, self.clock, self.journal, tokens=tokens())
        self.observer = Observer(self.desk)
        self.survey()

    def survey(self, nodes: Iterable[NodeRecord] | None = None) -> None:
        licenses = [*licence_plan(self.site.topology).counts, "matlab"]
        self.desk.survey(list(nodes or floor_nodes(self.site)), floor_partitions(), licenses)

    def observe(self, *records: JobRecord, begun: float | None = None, whole: bool = True) -> None:
        self.observer.observe(records, self.clock.monotonic() if begun is None else begun, whole=whole)

    def wait(self, seconds: int) -> None:
        self.clock.instant += seconds
        self.desk.now()

    def committed(self, element: str) -> int:
        """Watts of claims there, without the baseline."""
        return self.desk.ledger.meters[element].claimed_w


def job(comment: str = "power:est=5kW", **fields: object) -> dict[str, object]:
    """A job description as the submit hook sends it."""
    found: dict[str, object] = {
        "user_id": 1001,
        "user_name": "alice",
        "account": "research",
        "name": "train",
        "comment": comment,
        "min_nodes": 1,
        "time_limit": 60,
        "batch": True,
        **fields,
    }
    return {name: value for name, value in found.items() if value is not None}
