"""The daemon's loop: observe → plan → apply → record, on events and on a tick.

A failed read keeps the last good state.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from slurm_power.adapters.store import StoreWriter
from slurm_power.config import Site
from slurm_power.core.errors import PowerError, SlurmError, StoreError
from slurm_power.core.policy import Native
from slurm_power.core.steps import Steps
from slurm_power.daemon.breath import Breath
from slurm_power.daemon.derating import Derating
from slurm_power.daemon.metering import UsageKeeper
from slurm_power.daemon.mode import ModeKeeper
from slurm_power.daemon.preemptions import Preemptions
from slurm_power.daemon.pruning import Pruning
from slurm_power.daemon.reconciling import CUT_OFF_S, Hands, Reconciler
from slurm_power.daemon.reservations import Reservations
from slurm_power.ports import (
    Clock,
    Intent,
    JobRecord,
    LicenseRecord,
    NodeRecord,
    Outcome,
    PartitionRecord,
    Slurm,
)
from slurm_power.service.balancing import look_for_crowds
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.draw_history import note_draws
from slurm_power.service.job_measuring import measure_jobs
from slurm_power.service.measuring import measure
from slurm_power.service.observe import Observer
from slurm_power.service.placing import place
from slurm_power.service.plan import Plan
from slurm_power.service.recount import READINGS, Recount
from slurm_power.service.release import applied, run_freeing, run_pass

_log = logging.getLogger("slurm_power.rounds")

_BATCH = 100
"""Plans that are written to Slurm together."""
_AT_A_TIME = 2
"""Batches that are being written at once. A busy slurmctld takes one after the other: both have to fit a time-out."""
_LULL_S = 0.005
"""So long after a submission rooms are measured."""
_DOUBT_S = 0.5
"""Between two readings of a count of licences that looks off."""
_COUNT_S = 3.0
"""How long who asks for our figures waits for Slurm's beside them, for instance while slurmctld is away."""


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
    writes: int = 0
    freed: int = 0
    """Writes that took our hold off a job that we do not act on, and succeeded."""
    miscounts: Mapping[str, int] = field(default_factory=dict)
    """Licence → by how many W Slurm counts more than its jobs hold, or less."""
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
        self._slurm = slurm
        self._writer = writer
        self._observer = observer
        self._clock = clock
        self._pace = pace or Pace()
        self._breath = Breath(desk, clock)
        self._pruning = Pruning(writer)
        self._wake = asyncio.Event()
        self._measuring: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[dict[str, LicenseRecord]] | None = None
        self._turn = asyncio.Lock()
        self._taking_in = asyncio.Lock()
        self._partitions: Sequence[PartitionRecord] = ()
        self._partitions_at = float("-inf")
        self._shares_at = float("-inf")
        self._nodes: Sequence[NodeRecord] = ()
        self._licenses: frozenset[str] = frozenset()
        self._recount = Recount()
        self._missing: tuple[str, ...] = ()
        self._private = True
        self._took_s = 0.0
        self._unsure: list[int] = []
        """Intents of which it is not known what became of them: open until a whole snapshot shows it."""
        hands = Hands(self._look_anew, self._carry_out, lambda: self._recount.found, lambda: self._unsure)
        cut_off_s = 0 if left_open else CUT_OFF_S
        self._reconciler = Reconciler(desk, slurm, writer, self.reservations, hands, cut_off_s)

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
            self._measuring = asyncio.create_task(self._measure())

    async def _measure(self) -> None:
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
            jobs = await self._learn_all(begun)
            self.derating.step()
            await self._measure_draws()
            await self.reservations.tick()
            await self._breath.in_steps(self._desk.metering.look(self._desk.ledger))
            self.usage.step(begun)
            await self._reconciler.turn(begun)
            await self.preemptions.before_pass()
            await self._carry_out(run_pass(self._desk))
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

    async def _look_anew(self) -> None:
        """Read everything, also what is read at longer intervals; again where Slurm's count of licences looks off."""
        for _ in range(READINGS):
            self._partitions_at = float("-inf")
            await self._learn_all(self._clock.monotonic())
            if not self._recount.doubtful:
                return
            await asyncio.sleep(_DOUBT_S)

    async def _learn_all(self, begun: float) -> Sequence[JobRecord]:
        """Read Slurm and bring the desk in step. Returns all jobs."""
        jobs = await self._read(begun)
        await self._observe(jobs, begun)
        self._took_s = self._clock.monotonic() - begun
        self._close(self._unsure, "unsure; Slurm was read anew")
        self._unsure = []
        return jobs

    async def look(self) -> None:
        """Read all jobs, and no more than that. Raises SlurmError."""
        async with self._turn:
            begun = self._clock.monotonic()
            jobs = await asyncio.to_thread(self._slurm.jobs)
            await self._observe(jobs, begun)

    async def learn(self, job_id: int) -> None:
        """Read one job, for a gate that cannot wait for the next round. Raises SlurmError."""
        begun = self._clock.monotonic()
        records = await asyncio.to_thread(self._slurm.jobs, [job_id])
        self._observer.observe(records, begun, whole=False)

    async def licenses(self) -> dict[str, LicenseRecord]:
        """Slurm's own count of licences; empty where it cannot be read, or not soon. All wait for one reading."""
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_licenses())
        counting = self._counting
        await asyncio.wait([counting], timeout=_COUNT_S)
        return counting.result() if counting.done() else {}

    async def _count_licenses(self) -> dict[str, LicenseRecord]:
        try:
            found = await asyncio.to_thread(self._slurm.licenses)
        except SlurmError as error:
            _log.warning("cannot read licences: %s", error)
            return {}
        return {record.name: record for record in found}

    def change_site(self, site: Site) -> None:
        """Another site file. Where it has another mode, that holds and no longer what `spower mode` said before."""
        before = self._desk.mode
        self._desk.change_site(site)
        self.mode.follow(before)

    async def let_go(self) -> int:
        """In observe and advise, release every power hold; their number, with what the present round releases."""
        before = self.health.freed
        async with self._turn:
            await self._carry_out(run_freeing(self._desk))
        return self.health.freed - before

    async def place(self, entry: Entry, zone: str | None) -> Plan:
        """Carry out an operator's override, between two rounds. Raises UsageError where it cannot be."""
        async with self._turn:
            plan = place(self._desk, entry, zone)
            await self._carry_out(iter([plan]))
        return plan

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read(self, begun: float) -> Sequence[JobRecord]:
        nodes = await asyncio.to_thread(self._slurm.nodes)
        due = begun - self._partitions_at >= self._pace.partitions_s or self._desk.lost_partition
        if due:
            self._desk.lost_partition = False
            self._desk.version = await asyncio.to_thread(self._slurm.version)
            self._partitions = await asyncio.to_thread(self._slurm.partitions)
            self._desk.private_jobs = await self._jobs_are_private()
            self._partitions_at = begun
        if begun - self._shares_at >= self._pace.shares_s:
            self._desk.fair_shares = await self._fair_shares()
            self._shares_at = begun
        jobs = await asyncio.to_thread(self._slurm.jobs)
        if due:
            await self._read_licenses(jobs)
        # Taken in together: else a job that has just started is counted on its node, and once more as one to come.
        if due or nodes != self._nodes:
            self._nodes = nodes
            self._desk.survey(nodes, self._partitions, self._licenses)
            self._warn_of_missing()
        return jobs

    async def _jobs_are_private(self) -> bool:
        """PrivateData=jobs; where it cannot be read, as it was last, and before that yes."""
        try:
            self._private = "jobs" in await asyncio.to_thread(self._slurm.private_data)
        except SlurmError as error:
            _log.warning("cannot read PrivateData: %s", error)
        return self._private

    async def _read_licenses(self, jobs: Sequence[JobRecord]) -> None:
        """Which licences Slurm has, and whether it counts what `jobs` hold of them; as before where it cannot tell."""
        try:
            found = await asyncio.to_thread(self._slurm.licenses)
        except SlurmError as error:
            _log.warning("cannot read licences: %s", error)
            return
        self._licenses = frozenset(record.name for record in found)
        if self._recount.take(jobs, found):
            self.health.miscounts = wrong = self._recount.found
            if wrong:
                _log.warning("Slurm's count of licences is not what its jobs hold", extra={"by_w": wrong})
            else:
                _log.info("Slurm's count of licences is what its jobs hold again")

    def _warn_of_missing(self) -> None:
        """Slurm lacks licences of ours: it does not guard those watts while we are away. Said once."""
        missing = self._desk.binder.missing if self._desk.site.policy.native is Native.LICENSES else ()
        if missing != self._missing:
            self._missing = missing
            if missing:
                extra = {"missing": missing[:20], "count": len(missing)}
                _log.warning("Slurm lacks licences; see `spower render slurm`", extra=extra)

    async def _fair_shares(self) -> dict[tuple[str, str], float]:
        """Without them the queue goes on, by age."""
        try:
            return dict(await asyncio.to_thread(self._slurm.fair_shares))
        except SlurmError as error:
            _log.warning("cannot read fair shares: %s", error)
            return {}

    # -- writing ------------------------------------------------------------------------------------------------

    async def _carry_out(self, steps: Iterator[Plan | None]) -> None:
        """Run a pass and write what it plans, in batches, each made durable as intents first.

        Batches are written while the next are planned.
        """
        plans: list[Plan] = []
        writes: list[asyncio.Task[None]] = []
        try:
            async for plan in self._breath.between(steps):
                if plan is not None:
                    plans.append(plan)
                if len(plans) >= _BATCH:
                    await _until_fewer(writes, _AT_A_TIME)
                    writes.append(asyncio.create_task(self._write(plans)))
                    plans = []
            if plans:
                writes.append(asyncio.create_task(self._write(plans)))
        finally:  # also after a defect in the pass: nothing of it goes on into the next round
            await _until_fewer(writes, 1)

    async def _write(self, plans: list[Plan]) -> None:
        now = self._clock.now()
        intents = [Intent(plan.target, plan.action, now, {"keys": list(plan.keys)}) for plan in plans]
        try:
            opened = await self._writer.durable(lambda store: store.open_intents(intents))
        except StoreError as error:
            _log.error("nothing is written to Slurm while the database fails: %s", error)
            await self._take_in(plans, [Outcome(0, "the state database fails", unreached=True)] * len(plans))
            return
        try:
            outcomes = await asyncio.to_thread(self._slurm.write, [plan.chain for plan in plans])
        except SlurmError as error:
            _log.error("cannot write to Slurm: %s", error)
            outcomes = [Outcome(0, str(error), unsure=True)] * len(plans)
        await self._take_in(plans, outcomes)
        ids: dict[bool, list[int]] = {False: [], True: []}
        for intent, outcome in zip(opened, outcomes, strict=True):
            if intent.id is not None:
                ids[outcome.unsure].append(intent.id)
        self._unsure += ids[True]
        self._close(ids[False], "done")
        self.health.writes += len(plans)
        done = (plan for plan, outcome in zip(plans, outcomes, strict=True) if outcome.done == len(plan.chain))
        self.health.freed += sum(plan.action == "free" for plan in done)

    def _close(self, ids: Sequence[int], result: str) -> None:
        if ids:
            self._writer.put(lambda store: store.close_intents(ids, result))

    async def _take_in(self, plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> None:
        async with self._taking_in:  # with the pass and two batches at once, the hook would wait for all three
            async for plan, outcome in self._breath.between(zip(plans, outcomes, strict=True)):
                if outcome.error:
                    _log.warning("%s %s: %s", plan.action, plan.target, outcome.error, extra={"done": outcome.done})
                with self._desk.faults.apart(plan.target):
                    applied(self._desk, plan, outcome)

    async def _observe(self, jobs: Sequence[JobRecord], begun: float) -> None:
        await self._breath.in_steps(self._observer.steps(jobs, begun))

    async def _measure_draws(self) -> None:
        with self._desk.faults.apart("stage measuring"):
            await self._breath.in_steps(_measurements(self._desk))
            look_for_crowds(self._desk)

    async def _pause(self) -> None:
        """At least as long as reading took in the last round, so that a large cluster is not read without a break.

        What the round wrote, and how long Slurm let it wait for that, is no reason to look away.
        """
        gap_s = max(self._pace.gap_s, min(self._took_s, self._pace.longest_s))
        await asyncio.sleep(gap_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), max(self._pace.tick_s - gap_s, 0))
        self._wake.clear()


def _measurements(desk: Desk) -> Steps[None]:
    """What is drawn, by elements and by jobs."""
    yield from measure(desk)
    yield from measure_jobs(desk)
    yield from note_draws(desk)


async def _until_fewer(tasks: list[asyncio.Task[None]], most: int) -> None:
    """Wait until fewer than `most` of these are left; raises what one of them has raised, once all have ended."""
    while len(tasks) >= most:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if errors := [error for task in tasks if task.done() and (error := task.exception())]:
            await asyncio.wait(tasks)
            raise errors[0]
        tasks[:] = [task for task in tasks if not task.done()]


def _being_cancelled() -> bool:
    """Whether the loop itself is to end; a CancelledError may also come out of what it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
