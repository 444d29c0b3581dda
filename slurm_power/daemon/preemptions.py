"""Preemptions carried out: each step durable before what it says is done, and gone on with after a crash.

Of each preemption one intent is open, which holds it as it stands; of two that a crash left the later counts.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import SlurmError, StoreError
from slurm_power.core.giving_way import (
    PLACED,
    UNTOUCHED,
    Preemption,
    Stage,
    Step,
    Trigger,
    Victim,
    follow,
    read_stored,
    stored,
)
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.daemon.breath import Breath
from slurm_power.daemon.reading import read_licenses
from slurm_power.daemon.turns import in_steps
from slurm_power.ports import Clock, Intent, Rule, Slurm, Store
from slurm_power.service import preempt_lines as lines
from slurm_power.service.book import Entry
from slurm_power.service.calling_off import spared, why_not_needed
from slurm_power.service.desk import Desk
from slurm_power.service.law import law_of
from slurm_power.service.leaving import keep, on_nodes
from slurm_power.service.release import UNBIND
from slurm_power.service.shedding import hurried, without_notice
from slurm_power.service.striking import Write, all_left, blows, proved, struck, warnings
from slurm_power.service.victims import chosen

_log = logging.getLogger("slurm_power.preemptions")

ACTION = "preemption"
"""The action of our intents."""
_LAW_S = 30.0
"""How long what sacctmgr says of the QOS is believed."""
_GIVE_UP_S = 600
"""How long victims may take to leave their nodes, and Slurm to count what they held as free."""
_PLACE_S = 120
"""How long their watts are kept for a job that cannot be placed after all."""
_COOL_S = 300
"""How long nobody is preempted again for a job for which it came to nothing."""
_FAR_S, _POLL_S = 1.0, 0.05
"""How often the clock is looked at while a notice runs, and in its last seconds."""
_SET_S = 2
"""By how much a notice may end off its time before the clock counts as set."""
_HOUR_S, _WEEK_S = 3_600, 7 * 86_400
_LINES = 100_000


class Preemptions:
    """Carries out the preemptions of a desk."""

    def __init__(
        self, desk: Desk, slurm: Slurm, writer: StoreWriter, clock: Clock, soon: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._slurm = slurm
        self._writer = writer
        self._clock = clock
        self._soon = soon
        self._intents: dict[str, list[int]] = {}
        """Preemption → its open intents."""
        self._acting = asyncio.Lock()
        self._alarm: asyncio.Task[None] | None = None
        self._law_at = float("-inf")
        self._told_at: dict[str, float] = {}
        """Preemption → monotonic time at which its victims were told."""
        self._untold: list[Preemption] = []
        """Taken over from before a restart; what is kept for them is booked once their jobs are known."""

    # -- after a start --------------------------------------------------------------------------------------------

    def load(self, store: Store) -> frozenset[int]:
        """Take over what a crash left, and what the audit log remembers. Returns the intents that stay open."""
        for intent in store.pending_intents():
            if intent.action == ACTION and intent.id is not None:
                self._take_over(intent, intent.id)
        now, protected = self._clock.now(), self._desk.preempting.protected
        for line in store.decisions(actions=[lines.GAVE_WAY, UNBIND], since=max(now - _HOUR_S, 0), limit=_LINES):
            for reason in line.reasons if line.action == lines.GAVE_WAY else ():
                self._desk.preempting.gave_way(str(reason.get("subject")), min(line.at, now))
            if line.rule == Rule.BALANCE:
                self._desk.moves.moved(min(line.at, now))
        told = store.decisions(actions=[lines.CHECKPOINTED], since=max(now - _WEEK_S, 0), limit=_LINES)
        self._desk.preempting.checkpoints.update({line.job: line.at for line in told})
        for line in store.decisions(actions=[lines.PROTECT, lines.UNPROTECT], limit=_LINES):
            (protected.add if line.action == lines.PROTECT else protected.discard)(line.token)
        return frozenset(intent for intents in self._intents.values() for intent in intents)

    def _take_over(self, intent: Intent, number: int) -> None:
        try:
            one = read_stored(intent.detail)
        except (KeyError, TypeError, ValueError) as error:
            _log.error("a preemption in the database is not understood and is given up: %s", error)
            return
        self._intents.setdefault(one.id, []).append(number)
        self._desk.preempting.put(replace(one, since=min(one.since, self._clock.now())))
        if one.trigger is Trigger.OVER:
            self._desk.preempting.cuts.go_on(one.elements)
        self._untold = [*(other for other in self._untold if other.id != one.id), one]

    # -- in each round --------------------------------------------------------------------------------------------

    async def learn(self) -> None:
        """What sacctmgr says, before anybody is judged by it."""
        if self._desk.mode is Mode.ENFORCE:
            await self._read_law()

    async def before_pass(self) -> None:
        """What Slurm has just shown may let a preemption go on, so that the pass places whom it is for."""
        untold, self._untold = self._untold, []
        for one in untold:
            with self._desk.faults.apart(f"preemption {one.id}"):
                keep(self._desk, one)
        with self._desk.faults.apart("stage preemption"):
            await self.act()

    async def after_pass(self, breath: Breath) -> None:
        """New preemptions for those whom the pass found no place for, and their first step."""
        with self._desk.faults.apart("stage preemption"):
            for one in await breath.in_steps(chosen(self._desk)):
                lines.planned(self._desk, one)
            await self.act()

    async def _read_law(self) -> None:
        moment = self._clock.monotonic()
        if moment - self._law_at < _LAW_S:
            return
        try:
            qos = await asyncio.to_thread(self._slurm.qos)
            self._desk.take_law(law_of(qos, await asyncio.to_thread(self._slurm.preemption)))
            self._law_at = moment
        except SlurmError as error:
            _log.warning("cannot read who may preempt whom: %s", error)

    async def act(self) -> None:
        """Whatever is due by now, each preemption as far as it goes. A database that fails stops all of it."""
        async with self._acting:
            try:
                for one in self._desk.preempting:
                    await self._apart(one)
            except StoreError as error:
                _log.error("nobody is preempted while the database fails: %s", error)
        self._set_alarm()

    async def _apart(self, one: Preemption) -> None:
        """An error in one keeps none of the others. Raises StoreError."""
        failed: StoreError | None = None
        with self._desk.faults.apart(f"preemption {one.id}"):
            try:
                await self._go_on(one)
            except StoreError as error:
                failed = error
        if failed is not None:
            raise failed

    # -- step by step ---------------------------------------------------------------------------------------------

    async def _go_on(self, one: Preemption) -> None:
        self._desk.now()
        if one.stage in UNTOUCHED:
            await self._untouched(one)
        elif one.stage is Stage.STRIKING:
            await self._striking(one)
        else:
            await self._free(one)

    async def _untouched(self, one: Preemption) -> None:
        """It may still be called off; else those with notice are warned, or its time has come."""
        why = why_not_needed(self._desk, one)
        if why is None and all_left(self._desk, one):
            why = "those who were to give way have ended by themselves"
        if why is not None:
            await self._end(one, Step.CALL_OFF, why)
        elif one.stage is Stage.PLANNED and one.id not in self._intents:
            await self._untouched(await self._save(one))  # as it was planned, before anything is done about it
        elif one.stage is Stage.PLANNED and one.notice_s:
            warning = await self._step(one, Step.WARN)
            await self._write(warnings(self._desk, warning))
            await self._give_notice(warning)
        elif one.stage is Stage.WARNING:
            await self._give_notice(one)  # cut off while they were being told: that is not done twice
        elif one.trigger is Trigger.CUT and one.strike_at is None:
            await self._strike_after_notice(one)  # others may have ended since it was planned, over a crash too
        elif one.strike_at is None:
            await self._strike(one)
        else:
            await self._noticed(one, one.strike_at)

    async def _give_notice(self, one: Preemption) -> None:
        """Their notice begins now that they have been told; the clock's whole seconds cut none of it short."""
        self._told_at[one.id] = self._clock.monotonic()
        noticed = await self._step(one, Step.WARNED, strike_at=self._clock.now() + one.notice_s + 1)
        keep(self._desk, noticed)
        lines.of_victims(self._desk, noticed, "preempt-notice", "the warn signal was sent, and the notice begins")

    async def _noticed(self, one: Preemption, strike_at: int) -> None:
        """Its time has come; or the clock was set since they were told, which neither cuts it nor draws it out."""
        now, ends = self._clock.now(), self._notice_ends(one, strike_at)
        urgent = hurried(self._desk, one)
        if now >= max(strike_at, ends):
            await self._strike_after_notice(one)
        elif urgent:
            await self._hurry(one, urgent)
        elif abs(ends - strike_at) > _SET_S:
            keep(self._desk, await self._save(replace(one, strike_at=ends)))

    async def _hurry(self, one: Preemption, urgent: Sequence[Victim]) -> None:
        """A breaker is about to trip: these of its victims go at once, and the others keep their notice."""
        keys = {victim.key for victim in urgent}
        left = tuple(victim for victim in one.victims if victim.key not in keys)
        if left:
            await self._save(replace(one, victims=left))
        else:
            await self._end(one, Step.CALL_OFF, "its victims go at once")
        made = without_notice(self._desk, urgent)
        lines.planned(self._desk, made)
        await self._go_on(made)

    def _notice_ends(self, one: Preemption, strike_at: int) -> int:
        """When it ends by the clock as it is now; of one that was told before a restart only that is known."""
        now, told_at = self._clock.now(), self._told_at.get(one.id)
        if told_at is None:
            return min(strike_at, now + one.notice_s + 1)
        return now + ceil(max(one.notice_s - (self._clock.monotonic() - told_at), 0))

    async def _strike_after_notice(self, one: Preemption) -> None:
        """Whoever need not go any more stays."""
        stay = await in_steps(spared(self._desk, one))
        left = replace(one, victims=tuple(victim for victim in one.victims if victim.key not in stay))
        if all_left(self._desk, left):
            await self._end(one, Step.CALL_OFF, "enough is free")
            return
        await self._strike(left)
        for victim in one.victims:
            if victim.key in stay:
                lines.of_victim(self._desk, one, victim, "preempt-off", "it need not give way")

    async def _strike(self, one: Preemption) -> None:
        struck = await self._step(one, Step.STRIKE)
        for victim in one.victims:
            if on_nodes(self._desk, victim) is not None:
                lines.of_victim(self._desk, one, victim, lines.GAVE_WAY, f"after {one.notice_s} s of notice")
                self._desk.preempting.gave_way(victim.tier, self._desk.ledger.now)
                self._desk.metering.preempted(victim.key)
        await self._striking(struck)

    async def _striking(self, one: Preemption) -> None:
        """Again in each round, about those whom Slurm still shows running."""
        if self._desk.mode is not Mode.ENFORCE:
            await self._end(one, Step.GIVE_UP, f"the mode is {self._desk.mode}")
        elif all_left(self._desk, one):
            await self._prove(one)
        elif self._clock.now() - one.since >= _GIVE_UP_S:
            await self._end(one, Step.GIVE_UP, f"they have not left their nodes within {_GIVE_UP_S} s")
        else:
            await self._write(blows(self._desk, one), one)

    async def _prove(self, one: Preemption) -> None:
        """All have left; their watts are given on once Slurm counts them as free too."""
        if await self._is_proved(one):
            lines.of_victims(self._desk, one, "preempted", "it has left its nodes")
            await self._free(await self._step(one, Step.FREE))
        elif self._clock.now() - one.since >= _GIVE_UP_S:
            await self._end(one, Step.GIVE_UP, f"Slurm does not count their watts as free after {_GIVE_UP_S} s")

    async def _is_proved(self, one: Preemption) -> bool:
        counted = await read_licenses(self._slurm)
        return counted is not None and proved(self._desk, one, {record.name: record for record in counted})

    async def _free(self, one: Preemption) -> None:
        """A job is placed by the next pass; who else was short has its watts by now."""
        entry = self._desk.book.get(one.beneficiary) if one.trigger in PLACED else None
        if one.trigger not in PLACED:
            await self._end(one, Step.PLACE, "its watts are free")
        elif entry is None or entry.state in (State.PARKED, State.FREE):
            await self._end(one, Step.GIVE_UP, why_not_needed(self._desk, one) or "")
        elif entry.state is not State.WAITING or (_is_rest(entry) and self._desk.preempting.kept(entry.key) is None):
            await self._end(one, Step.PLACE, "it has its place")
        elif self._clock.now() - one.since >= _PLACE_S:
            await self._end(one, Step.GIVE_UP, f"it was not placed within {_PLACE_S} s")

    # -- durable --------------------------------------------------------------------------------------------------

    async def _step(self, one: Preemption, step: Step, strike_at: int | None = None) -> Preemption:
        """The preemption after a step, durable. Raises StoreError, and then nothing has changed."""
        at = one.strike_at if strike_at is None else strike_at
        return await self._save(replace(one, stage=follow(one.stage, step), since=self._clock.now(), strike_at=at))

    async def _save(self, one: Preemption) -> Preemption:
        intent = Intent(one.beneficiary, ACTION, one.since, stored(one))
        before = self._intents.get(one.id, [])

        def save(store: Store) -> Sequence[Intent]:
            opened = store.open_intents([intent])
            store.close_intents(before, str(one.stage))
            return opened

        opened = await self._writer.durable(save)
        self._intents[one.id] = [new.id for new in opened if new.id is not None]
        self._desk.preempting.put(one)
        return one

    async def _end(self, one: Preemption, step: Step, cause: str) -> None:
        """It is over. Raises StoreError, and then it is not."""
        over = replace(one, stage=follow(one.stage, step), since=self._clock.now(), cause=cause)
        result, ids = f"{over.stage}: {cause}", self._intents.get(one.id, [])
        await self._writer.durable(lambda store: store.close_intents(ids, result))
        self._intents.pop(one.id, None)
        self._told_at.pop(one.id, None)
        self._desk.preempting.put(over)
        lines.ended(self._desk, over)
        if over.stage in (Stage.CALLED_OFF, Stage.FAILED):
            self._desk.measured.overdrawn.called_off(over.id)
        if over.stage is Stage.CALLED_OFF:
            lines.of_victims(self._desk, over, "preempt-off", "it need not give way")
        if over.stage is Stage.FAILED:
            for victim in over.victims:
                if on_nodes(self._desk, victim) is not None:
                    self._desk.metering.stayed(victim.key)
            self._desk.preempting.put_off(one, self._desk.ledger.now + _COOL_S)

    async def _write(self, writes: Sequence[Write], one: Preemption | None = None) -> None:
        """Write to Slurm; where it fails or nobody knows, the next snapshot tells. `one`: in which they are struck."""
        if not writes:
            return
        try:
            outcomes = await asyncio.to_thread(self._slurm.write, [chain for _, chain in writes])
        except SlurmError as error:
            _log.error("cannot write to Slurm: %s", error)
            return
        for (victim, _), outcome in zip(writes, outcomes, strict=True):
            if outcome.error:
                _log.warning("preempting %s: %s", victim.job, outcome.error, extra={"done": outcome.done})
            if one is not None and (outcome.done or outcome.unsure):
                struck(self._desk, one, victim)
        self._soon()

    # -- to the second --------------------------------------------------------------------------------------------

    def _set_alarm(self) -> None:
        """Watch the clock while a notice runs, whatever the rounds are doing then."""
        if self._next_instant() is not None and (self._alarm is None or self._alarm.done()):
            self._alarm = asyncio.create_task(self._watch())

    def _next_instant(self) -> int | None:
        """When the next notice is over."""
        instants = [one.strike_at for one in self._desk.preempting if one.stage is Stage.NOTICE and one.strike_at]
        return min(instants, default=None)

    async def _watch(self) -> None:
        while (instant := self._next_instant()) is not None:
            if self._clock.now() < instant:
                await asyncio.sleep(_FAR_S if instant - self._clock.now() > _FAR_S + 1 else _POLL_S)
                continue
            with self._desk.faults.apart("stage preemption"):
                await self.act()
            self._soon()
            await asyncio.sleep(_FAR_S)  # where it could not be done, it is for the next round


def _is_rest(entry: Entry) -> bool:
    """Whether it is the pending rest of an array, which goes on waiting when a task of it is placed."""
    return entry.record is not None and entry.record.array_tasks != ""
