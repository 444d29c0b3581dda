"""Plans written to Slurm, in batches, the intents durable first; what came of each is told to the desk."""

import asyncio
import logging
from collections.abc import Iterator, Sequence

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import SlurmError, StoreError
from slurm_power.daemon.breath import Breath
from slurm_power.ports import Clock, Intent, Outcome, Slurm
from slurm_power.service.desk import Desk
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied

_log = logging.getLogger("slurm_power.writing")

_BATCH = 100
"""Plans that are written to Slurm together."""
_AT_A_TIME = 2
"""Batches that are being written at once. A busy slurmctld takes one after the other: both have to fit a time-out."""


class Hand:
    """Writes what a pass plans to Slurm."""

    def __init__(self, desk: Desk, slurm: Slurm, writer: StoreWriter, clock: Clock, breath: Breath) -> None:
        self.writes = 0
        """Plans that were written, whatever came of them."""
        self.freed = 0
        """Writes that took our hold off a job that we do not act on, and succeeded."""
        self.unsure: Sequence[int] = ()
        """Ids of the intents of which it is not known what became of them: open until a whole snapshot shows it."""
        self._desk = desk
        self._slurm = slurm
        self._writer = writer
        self._clock = clock
        self._breath = breath
        self._taking_in = asyncio.Lock()

    async def carry_out(self, steps: Iterator[Plan | None]) -> None:
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

    def close_unsure(self) -> None:
        """A whole snapshot has been taken in, which shows what became of those writes."""
        self._close(self.unsure, "unsure; Slurm was read anew")
        self.unsure = ()

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
        self._close_known(opened, outcomes)
        self._count(plans, outcomes)

    async def _take_in(self, plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> None:
        async with self._taking_in:  # with the pass and two batches at once, the hook would wait for all three
            async for plan, outcome in self._breath.between(zip(plans, outcomes, strict=True)):
                if outcome.error:
                    _log.warning("%s %s: %s", plan.action, plan.target, outcome.error, extra={"done": outcome.done})
                with self._desk.faults.apart(plan.target):
                    applied(self._desk, plan, outcome)

    def _close_known(self, opened: Sequence[Intent], outcomes: Sequence[Outcome]) -> None:
        """Close the intents of which it is known what became of them, and keep the others."""
        ids: dict[bool, list[int]] = {False: [], True: []}
        for intent, outcome in zip(opened, outcomes, strict=True):
            if intent.id is not None:
                ids[outcome.unsure].append(intent.id)
        self.unsure = (*self.unsure, *ids[True])
        self._close(ids[False], "done")

    def _close(self, ids: Sequence[int], result: str) -> None:
        if ids:
            self._writer.put(lambda store: store.close_intents(ids, result))

    def _count(self, plans: Sequence[Plan], outcomes: Sequence[Outcome]) -> None:
        self.writes += len(plans)
        done = (plan for plan, outcome in zip(plans, outcomes, strict=True) if outcome.done == len(plan.chain))
        self.freed += sum(plan.action == "free" for plan in done)


async def _until_fewer(tasks: list[asyncio.Task[None]], most: int) -> None:
    """Wait until fewer than `most` of these are left; raises what one of them has raised, once all have ended."""
    while len(tasks) >= most:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if errors := [error for task in tasks if task.done() and (error := task.exception())]:
            await asyncio.wait(tasks)
            raise errors[0]
        tasks[:] = [task for task in tasks if not task.done()]
