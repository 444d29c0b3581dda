"""Reconciliation carried out: read, plan (service/reconcile.py), mend, and look again whether it is mended.

A part of each round once a minute, and the whole of it on demand. What a person has to mend is told, and so is, where
the mode is not enforce, what would have to be written to Slurm.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from slurm_power.adapters.slurm.words import scontrol_words
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import SlurmError
from slurm_power.core.policy import Mode
from slurm_power.daemon.preemptions import ACTION
from slurm_power.daemon.reading import Reader
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.turns import all_found
from slurm_power.daemon.writing import Hand
from slurm_power.ports import HoldKind, Intent, Slurm, Store, StoredJob
from slurm_power.service.desk import Desk
from slurm_power.service.finding import Finding, Kind, Seen
from slurm_power.service.plan import Plan
from slurm_power.service.reconcile import findings, in_order, still
from slurm_power.service.release import run_holds

_log = logging.getLogger("slurm_power.reconcile")
_EVERY_S = 60.0
CUT_OFF_S = 300
"""An intent that has been open for so long was cut off: no write to Slurm takes that long."""
_LOOKS = 3
"""So often is mended at most, where something new shows each time: on a busy cluster something always does."""
_WINDOWS = 3
"""So many steps may time have taken a reservation since it was last looked at: it begins, lies unused, and ends."""
_OF_JOBS = frozenset({Kind.RUNNING_UNADMITTED, Kind.RUNNING_LICENCES, Kind.PENDING_LICENCES, Kind.PENDING_BINDING})
"""Kinds that are mended by the commands that the finding has."""
_OF_TIME = frozenset({Kind.RESERVATION_OVER, Kind.RESERVATION_LATE, Kind.RESERVATION_UNUSED, Kind.RESERVATION_ZONE})
_OF_HOLDS = frozenset({Kind.HOLD_LOST, Kind.HOLD_GROUNDLESS})
_MIRRORED = frozenset(kind for kind in Kind if kind.startswith("reservation-")) - _OF_TIME
_BY_ROUNDS = _OF_TIME | _OF_HOLDS | _MIRRORED
"""Kinds that every round mends by itself, and that come up in the usual course of things."""


class Reconciler:
    """Finds what has drifted, and mends it. `cut_off_s`: an intent open for longer belongs to nobody any more."""

    def __init__(
        self,
        desk: Desk,
        slurm: Slurm,
        writer: StoreWriter,
        reservations: Reservations,
        reader: Reader,
        hand: Hand,
        cut_off_s: int,
    ) -> None:
        self._desk = desk
        self._slurm = slurm
        self._writer = writer
        self._reservations = reservations
        self._reader = reader
        self._hand = hand
        self._cut_off_s = cut_off_s
        self._looked_at: float | None = None
        self._told: set[tuple[str, str]] = set()
        self.left: Mapping[str, int] = {}
        """Kind → how many findings somebody has to mend, as they were last looked for."""

    async def turn(self, moment: float) -> None:
        """A part of a round, after its look: once a minute mend what the rest of the round does not, and tell of what
        is new. Raises StoreError.
        """
        if self._looked_at is None:
            self._looked_at = moment  # nothing is to be waited for at a start
        if moment - self._looked_at < _EVERY_S:
            return
        self._looked_at = moment
        try:
            found = await self._find(qos=False)
        except SlurmError as error:
            _log.warning("cannot reconcile: %s", error)
            return
        found = [one for one in found if one.kind not in _BY_ROUNDS]
        for one in found:
            if one.order not in self._told:
                _log.warning("%s %s: %s", one.kind, one.subject, one.found, extra={"remedy": one.remedy})
        self._told = {one.order for one in found}
        mending = [one for one in found if self._mends(one)]
        self.left = Counter(str(one.kind) for one in found if not self._mends(one))
        await self._mend(mending)
        self._forget(mending)

    async def run(self, *, dry_run: bool) -> dict[str, object]:
        """All of it, now: the answer to `reconcile`. Raises SlurmError, StoreError."""
        await self._look()
        found = await self._find(qos=True)
        if not dry_run:
            found, left = await self._mend_all(found)
        else:
            left = {one.order for one in found if not self._mends(one)}
        mended = "would" if dry_run else "mended"
        return _answer(self._desk.mode, found, {one.order: mended for one in found if one.order not in left})

    async def _mend_all(self, found: list[Finding]) -> tuple[list[Finding], set[tuple[str, str]]]:
        """Mend, and again what shows only then: one reservation may be off in several ways, of which one is found, and
        a hold that is taken off leaves its row behind. All that was found, and what of it is left.

        What nobody has had the time to mend, on a cluster where something new shows each time, is for the next run.
        """
        tried: list[Finding] = []
        for_somebody = [one for one in found if not self._mends(one)]
        mending = [one for one in found if self._mends(one)]
        left: set[tuple[str, str]] = set()
        for _ in range(_LOOKS):
            if not mending:
                break
            await self._mend(mending)
            await self._hand.carry_out(run_holds(self._desk))
            await self._reservations.set_right()
            self._forget(mending)
            tried += mending
            await self._look()
            after = await self._find(qos=False)
            left, known = still(tried, after), {one.order for one in (*tried, *for_somebody)}
            new = [one for one in after if one.order not in known]
            for_somebody += [one for one in new if not self._mends(one)]
            mending = [one for one in new if self._mends(one)]
        return in_order([*tried, *for_somebody]), left | {one.order for one in for_somebody}

    def _mends(self, one: Finding) -> bool:
        return one.mends and (one.kind not in _OF_JOBS | _MIRRORED or self._desk.mode is Mode.ENFORCE)

    # -- reading ------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        await self._reader.read_anew()
        self._hand.close_unsure()

    async def _find(self, *, qos: bool) -> list[Finding]:
        holds = {key: entry.hold for key, entry in self._desk.book.entries.items()}
        stored = self._writer.submit_and_wait(_stored)  # behind all that the book has put before
        shown, counted = await self._reservations.look()
        seen = Seen(shown, counted, miscounts=self._reader.miscounts)
        if qos:
            names = frozenset(record.name for record in await asyncio.to_thread(self._slurm.qos))
            seen = replace(seen, qos=names or None)
        return await self._sorted(await self._with_stored(seen, holds, stored))

    async def _with_stored(
        self,
        seen: Seen,
        holds: dict[str, HoldKind | None],
        stored: "Future[tuple[Sequence[StoredJob], Sequence[Intent]]]",
    ) -> Seen:
        rows, intents = await asyncio.wrap_future(stored)
        before, busy = self._desk.clock.now() - self._cut_off_s, set(self._hand.unsure)
        cut_off = [
            intent
            for intent in intents
            if intent.at <= before and intent.id not in busy and intent.action != ACTION  # a preemption takes minutes
        ]
        return replace(seen, rows=rows, holds=holds, intents=cut_off)

    async def _sorted(self, seen: Seen) -> list[Finding]:
        self._desk.now()
        return in_order(await all_found(findings(self._desk, seen)))

    # -- mending ------------------------------------------------------------------------------------------------

    async def _mend(self, found: Sequence[Finding]) -> None:
        """All in the ledger and all about single jobs; holds and Slurm's reservations follow from what is then."""
        desk = self._desk
        for one in found:
            if one.kind is Kind.CLAIM_ORPHAN:
                desk.ledger.remove(one.subject)
            elif one.kind is Kind.JOB_UNCLAIMED and (entry := desk.book.get(one.keys[0])) is not None:
                entry.stale = True
        for _ in range(_WINDOWS):
            await self._reservations.tick()
        plans = [Plan("mend", one.subject, one.chain, one.keys) for one in found if one.kind in _OF_JOBS]
        await self._hand.carry_out(iter(plans))

    def _forget(self, found: Sequence[Finding]) -> None:
        """What the database remembers for nobody; after all else, for an intent tells whose hold a job is held by."""
        tokens = [one.subject for one in found if one.kind is Kind.HOLD_STALE]
        intents = [int(one.subject) for one in found if one.kind is Kind.INTENT_OPEN]
        if tokens:
            self._writer.drop_jobs(tokens)
        if intents:
            self._writer.put(lambda store: store.close_intents(intents, "cut off; Slurm was read anew"))


def _stored(store: Store) -> tuple[Sequence[StoredJob], Sequence[Intent]]:
    return [row for row in store.jobs() if row.hold is not None], store.pending_intents()


def _answer(mode: Mode, found: Sequence[Finding], status: dict[tuple[str, str], str]) -> dict[str, object]:
    rows = [_row(one, status.get(one.order, "left")) for one in found]
    counts = {name: sum(row["status"] == name for row in rows) for name in ("mended", "would", "left")}
    return {"schema": 1, "mode": str(mode), "by": "daemon", "counts": counts, "findings": rows}


def _row(one: Finding, status: str) -> dict[str, object]:
    return {
        "status": status,
        "kind": str(one.kind),
        "subject": one.subject,
        "found": one.found,
        "remedy": one.remedy,
        "commands": [" ".join(("scontrol", *scontrol_words(command))) for command in one.chain],
    }
