"""A daemon on a small floor: the real desk, rounds and control socket over a Slurm and a store in memory."""

import asyncio
import os
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from slurm_power.adapters.clock import SystemClock
from slurm_power.adapters.lines import encode_error
from slurm_power.adapters.lines_server import Handler, LineServer
from slurm_power.adapters.store import StoreWriter
from slurm_power.config import load_site
from slurm_power.core.binding import feature_of, licence_plan
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.journal import StoreJournal
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import PartitionRecord
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from slurm_power.service.submit import submit
from tests.fakes.slurm import FakeSlurm, make_nodes
from tests.fakes.store import MemoryStore

SITE = """\
mode: enforce
timezone: UTC
defaults: {margin: 10%, redundancy: 2N}
feeds:
  ups-a: {side: A, limit: 62kW}
  ups-b: {side: B, limit: 60kW}
  loop: {kind: cooling, limit: 80kW}
zones:
  rack01: {nodes: "n[01-02]", feeds: [ups-a, ups-b, loop], limit: 30kW, baseline: 1kW, lane: hot}
  rack02: {nodes: "n[03-04]", feeds: [ups-a, ups-b], limit: 30kW, baseline: 1kW}
  rack03: {nodes: "n[05-06]", redundancy: N, limit: 20kW, lane: cold}
partitions:
  main: {node_watts: 8kW}
classes:
  interactive: {tier: silver, max_delay: 5m, max: 6kW}
  overnight: {tier: bronze, hours: "20:00-06:00"}
"""
ALICE = 61_001
"""A uid that whoever runs the tests is not likely to have."""
T = TypeVar("T")


@contextmanager
def short_directory() -> Iterator[Path]:
    """A directory whose sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="spower") as name:
        yield Path(name)


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there to its end."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextmanager
def serving(socket: Path, handler: Handler) -> Iterator[Loop]:
    """A server of one-line exchanges, as the daemon's control socket is one."""
    loop = Loop()
    server = LineServer(socket, 0o666, handler, error_reply=encode_error)
    loop.run(server.start())
    try:
        yield loop
    finally:
        loop.run(server.stop())
        loop.close()


class Stage:
    """A daemon that answers on `socket`; its site file is `conf`."""

    def __init__(self, directory: Path, site_text: str = SITE, masters: frozenset[int] | None = None) -> None:
        self.directory = directory
        self.socket = directory / "control.sock"
        self.conf = directory / "site.yaml"
        self.conf.write_text(f"{site_text}hook: {{socket: {directory}/hook.sock}}\n")
        self.site = load_site(self.conf)
        clock = SystemClock()
        self.slurm = FakeSlurm(
            [
                node
                for zone in self.site.topology.zones.values()
                for node in make_nodes(",".join(zone.nodes), gpus=4, features=[feature_of(zone.name)])
            ],
            licenses=licence_plan(self.site.topology).counts,
            partitions=[PartitionRecord("main", "n[01-06]", default=True, max_time_s=86_400)],
            now=clock.now(),
        )
        self.store = MemoryStore()
        self.writer = StoreWriter(self.store)
        self.desk = Desk(self.site, clock, StoreJournal(self.writer))
        self.rounds = Rounds(self.desk, self.slurm, self.writer, Observer(self.desk), clock)
        self.masters = frozenset({os.geteuid()}) if masters is None else masters
        self.loop: Loop | None = None

    @contextmanager
    def open(self) -> Iterator["Stage"]:
        """Serve."""
        handler = ControlHandler(self.desk, self.rounds, self.writer, self.masters, lambda: None)
        with serving(self.socket, handler) as loop:
            self.loop = loop
            self.round()
            yield self
        self.writer.close(10)

    def round(self) -> None:
        """One round of the daemon, after Slurm has started what it can."""
        assert self.loop is not None
        self.slurm.schedule()
        self.loop.run(self.rounds.round())

    def sbatch(self, comment: str, *, user_hold: bool = False, **fields: Any) -> int:
        """Submit a job through the hook; its id."""
        assert self.loop is not None
        job = {
            "user_id": ALICE,
            "user_name": "alice",
            "account": "research",
            "name": "train",
            "comment": comment,
            "min_nodes": 1,
            "shared": 0,
            "time_limit": 60,
            "batch": True,
            **({"priority": 0} if user_hold else {}),
            **fields,
        }
        reply = self.loop.run(_submit(self.desk, job))
        told = reply.fields
        record = self.slurm.submit(
            held=user_hold or told.get("priority") == 0,
            uid=ALICE,
            account="research",
            name=str(job["name"]),
            qos=str(told.get("qos", job.get("qos", ""))),
            node_count=job["min_nodes"],
            cpus=64,
            exclusive=True,
            time_limit_s=3_600,
            comment=comment,
            licenses=str(told.get("licenses", "")),
            features=str(told.get("features", "")),
            admin_comment=str(told.get("admin_comment", "")),
        )
        return record.job_id


async def _submit(desk: Desk, job: dict[str, object]) -> Any:
    return submit(desk, job)


def play(stage: Stage) -> dict[str, str]:
    """What the reading tests look at: a job that runs, one that waits for watts, one that its user holds."""
    runs = stage.sbatch("power:est=18.5kW,max=20kW", qos="gold")
    stage.round()
    stage.round()
    waits = stage.sbatch("power:est=24kW,max=26kW,zones=rack01", qos="silver")
    held = stage.sbatch("power:est=5kW", user_hold=True, qos="bronze")
    stage.round()
    return {"runs": str(runs), "waits": str(waits), "held": str(held)}
