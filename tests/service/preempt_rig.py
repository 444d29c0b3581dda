"""A small floor on a fake Slurm whose QOS may preempt each other, with the daemon's whole loop on it."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from slurm_power.adapters.store import StoreWriter
from slurm_power.config import Site, load_site
from slurm_power.core.binding import feature_of, licence_plan
from slurm_power.core.giving_way import Preemption, Stage
from slurm_power.core.record import AdmissionRecord, Standing
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import (
    Command,
    Decision,
    JobRecord,
    JobState,
    PartitionRecord,
    PreemptionRecord,
    QosRecord,
    RequeueHold,
    Signal,
)
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from tests.fakes.slurm import FakeSlurm, make_nodes
from tests.fakes.store import MemoryStore
from tests.service.support import START, FakeClock

SITE = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1}
zones:
  a: {nodes: "a[1-4]", limit: 20kW}
  b: {nodes: "b[1-4]", limit: 20kW}
partitions:
  main: {node_watts: 5kW}
tiers:
  gold:   {qos: gold, notice: never}
  silver: {qos: silver, notice: 10m}
  bronze: {qos: bronze, notice: 0s}
"""
QOS = (
    QosRecord("gold", preempts=("silver", "bronze")),
    QosRecord("silver", preempts=("bronze",), preempt_mode="requeue"),
    QosRecord("bronze", preempt_mode="requeue"),
)
HOUR = 3_600
LATER = 130
"""After so many seconds Slurm starts a requeued job again."""


@dataclass
class Rig:
    """A Slurm and a database that outlive the daemon."""

    qos: Sequence[QosRecord] = QOS
    text: str = SITE
    completing_s: int = 0
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.site: Site = load_site(text=self.text)
        nodes = [
            node
            for zone in self.site.topology.zones.values()
            for node in make_nodes(",".join(zone.nodes), cpus=32, gpus=4, features=[feature_of(zone.name)])
        ]
        names = ",".join(node.name for node in nodes)
        self.slurm = FakeSlurm(
            nodes,
            licenses=licence_plan(self.site.topology).counts,
            partitions=[PartitionRecord("main", names, default=True, max_time_s=86_400)],
            qos=self.qos,
            now=START,
            completing_s=self.completing_s,
        )
        self.slurm.preempts = PreemptionRecord("OFF")
        self._numbers = count(1)
        self.start()

    def start(self) -> None:
        """The daemon, from its beginning."""
        self.writer = StoreWriter(self.store)
        tokens = (f"tok{self.clock.instant}.{number}" for number in count(1))
        self.desk = Desk(self.site, self.clock, StoreJournal(self.writer), tokens=tokens)
        self.rounds = Rounds(
            self.desk, self.slurm, self.writer, Observer(self.desk, remembered(self.store)), self.clock
        )
        self.rounds.derating.load(self.store)
        left = {intent.id for intent in self.store.pending_intents() if intent.id is not None}
        goes_on = self.rounds.preemptions.load(self.store)
        self.store.close_intents(sorted(left - goes_on), "cut off")

    def reload(self, old: str, new: str) -> None:
        """The site file with `new` in the place of `old`, and the daemon reads it anew."""
        assert old in self.text
        self.text = self.text.replace(old, new)
        self.site = load_site(text=self.text)
        self.rounds.change_site(self.site)

    def crash(self) -> None:
        """kill -9, and the daemon comes back."""
        self.writer.close(10)
        self.start()

    def end(self) -> None:
        self.writer.close(10)

    def round(self) -> None:
        asyncio.run(self.rounds.round())
        assert self.writer.flush(10)
        assert not self.desk.faults.by_key, self.desk.faults.by_key

    def later(self, seconds: int, rounds: int = 1) -> None:
        """Time passes, and the daemon looks."""
        for _ in range(rounds):
            self.clock.instant += seconds
            self.slurm.tick(self.clock.instant)
            self.round()

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """Our clock, and neither Slurm's nor monotonic time, is an hour ahead; then it is right again."""
        self.clock.instant += HOUR
        self.clock.wait(-HOUR)
        yield
        self.clock.instant -= HOUR
        self.clock.wait(HOUR)

    def submit(self, qos: str = "bronze", *, est_w: int = 5_000, more: str = "", **fields: Any) -> int:
        """A job as the hook leaves it while it has to wait; its id."""
        token = f"job{next(self._numbers)}"
        held = AdmissionRecord(token, Standing.HOLD, hold="power")
        comment = fields.pop("comment", f"power:est={est_w}W{more}")
        asked: Mapping[str, Any] = {
            "uid": 1000, "user": "alice", "account": "research", "time_limit_s": 36_000, "partition": "main",
            "name": f"n{token}", "exclusive": True, **fields,
        }  # fmt: skip
        record = self.slurm.submit(held=True, qos=qos, comment=comment, admin_comment=held.encode(), **asked)
        return record.job_id

    def running(self, qos: str = "bronze", *, est_w: int = 5_000, more: str = "", **fields: Any) -> int:
        """A job that runs by now."""
        job_id = self.submit(qos, est_w=est_w, more=more, **fields)
        self.later(2, 3)
        assert self.state(job_id) is JobState.RUNNING, self.slurm.job(job_id)
        return job_id

    def state(self, job_id: int) -> JobState:
        return self.slurm.job(job_id).state

    def job(self, job_id: int) -> JobRecord:
        return self.slurm.job(job_id)

    @property
    def live(self) -> list[Preemption]:
        return list(self.desk.preempting)

    @property
    def stages(self) -> list[Stage]:
        return [one.stage for one in self.live]

    def lines(self, *actions: str) -> list[Decision]:
        return list(self.store.decisions(actions=actions))

    def signalled(self) -> list[str]:
        return [command.target for command in self.slurm.signals if isinstance(command, Signal)]

    def written(self, kind: type[Command] = RequeueHold) -> list[str]:
        return [command.target for command in self.slurm.written if isinstance(command, kind)]
