"""The daemon's loop: observe → plan → apply → record, on events and on a tick.

A failed read keeps the last good state.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slurm_power.adapters.store import StoreWriter
from slurm_power.config import Site
from slurm_power.core.errors import PowerError
from slurm_power.core.steps import Steps
from slurm_power.daemon.breath import Breath
from slurm_power.daemon.derating import Derating
from slurm_power.daemon.metering import UsageKeeper
from slurm_power.daemon.mode import ModeKeeper
from slurm_power.daemon.preemptions import Preemptions
from slurm_power.daemon.pruning import Pruning
from slurm_power.daemon.reading import Reader
from slurm_power.daemon.reconciling import CUT_OFF_S, Reconciler
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.writing import Hand
from slurm_power.ports import Clock, Slurm
from slurm_power.service.balancing import look_for_crowds
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.draw_history import note_draws
from slurm_power.service.job_measuring import measure_jobs
from slurm_power.service.measuring import measure
from slurm_power.service.observe import Observer
from slurm_power.service.placing import place
from slurm_power.service.plan import Plan
from slurm_power.service.release import run_freeing, run_pass

_log = logging.getLogger("slurm_power.rounds")

_LULL_S = 0.005
"""So long after a submission rooms are measured."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between polls at most and at least (`longest_s` where reading itself takes long), and between readings
    of partitions and of fair shares.
    """

    tick_s: float = 2.0
    gap_s: float = 0.5
    longest_s: float = 30.0
    partitions_s: float = 30.0
    shares_s: float = 300.0


@dataclass(slots=True)
class Health:
    """How the loop is doing, for `spower health` and the logs."""

    rounds: int = 0
    failures: int = 0
    error: str = ""
    last_good: int = 0
    jobs: int = 0
    reader: Callable[[], str] = str
    """Tells what reads jobs: `squeue`, or pyslurm with its version."""


class Rounds:
    """Reads Slurm, brings the desk in step, runs the admission pass, writes to Slurm. One round at a time."""

    def __init__(
        self,
        desk: Desk,
        slurm: Slurm,
        writer: StoreWriter,
        observer: Observer,
        clock: Clock,
        pace: Pace | None = None,
        *,
        left_open: bool = False,
    ) -> None:
        """`left_open`: whether intents that are open are nobody's, whatever their age."""
        self.reservations = Reservations(desk, slurm, writer, clock)
        self.usage = UsageKeeper(desk, writer)
        self.derating = Derating(desk, writer)
        self.preemptions = Preemptions(desk, slurm, writer, clock, self.soon)
        self.mode = ModeKeeper(desk, writer, clock)
        self.health = Health()
        self._desk = desk
        self._clock = clock
        self._pace = pace or Pace()
        self._breath = Breath(desk, clock)
        self.reader = Reader(
            desk,
            slurm,
            observer,
            clock,
            self._breath,
            partitions_s=self._pace.partitions_s,
            shares_s=self._pace.shares_s,
        )
        self.hand = Hand(desk, slurm, writer, clock, self._breath)
        cut_off_s = 0 if left_open else CUT_OFF_S
        self._reconciler = Reconciler(desk, slurm, writer, self.reservations, self.reader, self.hand, cut_off_s)
        self._pruning = Pruning(writer)
        self._wake = asyncio.Event()
        self._measuring: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    @property
    def drift(self) -> Mapping[str, int]:
        """Kind of drift → how many findings are left for somebody to mend."""
        return self._reconciler.left

    def soon(self) -> None:
        """Something happened: do not wait for the tick."""
        self._wake.set()

    def measure_soon(self) -> None:
        """A submission may have changed rooms: have them measured when there is time for it.

        Not at once: where submissions come one upon the other the next is waiting, and looks up one kind of rooms.
        """
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.create_task(self._measure_rooms())

    async def _measure_rooms(self) -> None:
        await asyncio.sleep(_LULL_S)
        await self._breath.give_way()

    async def run(self) -> None:
        """Rounds for ever; cancelled to end. Nothing that goes wrong in one ends the loop."""
        while True:
            try:
                await self.round()
            except PowerError as error:
                self.health.failures += 1
                self.health.error = str(error)
                _log.error("round failed: %s", error)
            except (Exception, asyncio.CancelledError):  # a defect of ours must not end the loop: the next may heal it
                if _being_cancelled():
                    raise
                self.health.failures += 1
                self.health.error = "internal error, see the log"
                _log.exception("round failed")
            await self._pause()

    async def round(self) -> None:
        """One round. Raises SlurmError or StoreError."""
        async with self._turn:
            begun = self._clock.monotonic()
            await self.preemptions.learn()
            jobs = await self.reader.read(begun)
            self.hand.close_unsure()
            self.derating.step()
            await self._measure_draws()
            await self.reservations.tick()
            await self._breath.in_steps(self._desk.metering.look(self._desk.ledger))
            self.usage.step(begun)
            await self._reconciler.turn(begun)
            await self.preemptions.before_pass()
            await self.hand.carry_out(run_pass(self._desk))
            await self.preemptions.after_pass(self._breath)
            await self.reservations.mirror()
            self.health.rounds += 1
            self.health.jobs = len(jobs)
            self.health.last_good = self._clock.now()
            self._pruning.step(self.health.last_good, begun, self._desk.site.keep_s)

    async def reconcile(self, *, dry_run: bool) -> dict[str, object]:
        """What has drifted, mended unless `dry_run`; between two rounds. Raises SlurmError, StoreError."""
        async with self._turn:
            return await self._reconciler.run(dry_run=dry_run)

    async def look(self) -> None:
        """Read all jobs, and no more than that; between two rounds. Raises SlurmError."""
        async with self._turn:
            await self.reader.look()

    def change_site(self, site: Site) -> None:
        """Another site file. Where it has another mode, that holds and no longer what `spower mode` said before."""
        before = self._desk.mode
        self._desk.change_site(site)
        self.mode.follow(before)

    async def let_go(self) -> int:
        """In observe and advise, release every power hold; their number, with what the present round releases."""
        before = self.hand.freed
        async with self._turn:
            await self.hand.carry_out(run_freeing(self._desk))
        return self.hand.freed - before

    async def place(self, entry: Entry, zone: str | None) -> Plan:
        """Carry out an operator's override, between two rounds. Raises UsageError where it cannot be."""
        async with self._turn:
            plan = place(self._desk, entry, zone)
            await self.hand.carry_out(iter([plan]))
        return plan

    async def _measure_draws(self) -> None:
        with self._desk.faults.apart("stage measuring"):
            await self._breath.in_steps(_measurements(self._desk))
            look_for_crowds(self._desk)

    async def _pause(self) -> None:
        """At least as long as reading took in the last round, so that a large cluster is not read without a break.

        What the round wrote, and how long Slurm let it wait for that, is no reason to look away.
        """
        gap_s = max(self._pace.gap_s, min(self.reader.took_s, self._pace.longest_s))
        await asyncio.sleep(gap_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(self._pace.tick_s - gap_s, 0))
        self._wake.clear()


def _measurements(desk: Desk) -> Steps[None]:
    """What is drawn, by elements and by jobs."""
    yield from measure(desk)
    yield from measure_jobs(desk)
    yield from note_draws(desk)


def _being_cancelled() -> bool:
    """Whether the loop itself is to end; a CancelledError may also come out of what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
