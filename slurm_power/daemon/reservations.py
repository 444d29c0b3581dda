"""Reservations in the daemon: read at the start, changed by time and on demand, and held in Slurm."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from slurm_power.adapters.store import StoreWriter
from slurm_power.adapters.users import user_of
from slurm_power.core.binding import PREFIX
from slurm_power.core.errors import SlurmError, StoreError
from slurm_power.core.policy import Mode
from slurm_power.core.reservation import Reservation, ReservationState
from slurm_power.ports import (
    Clock,
    Command,
    Decision,
    Intent,
    LicenseRecord,
    Outcome,
    PrivilegeRecord,
    ReservationRecord,
    Rule,
    Slurm,
    Store,
    StoredReservation,
)
from slurm_power.service.desk import Desk
from slurm_power.service.mirror import Holding, Step, holdings, in_use, node_holdings, node_steps, steps
from slurm_power.service.rehoming import rehome
from slurm_power.service.reservation_rows import from_row, to_row
from slurm_power.service.reserving import changes, degrade
from slurm_power.service.rights import Rights, rights_of

_log = logging.getLogger("slurm_power.reservations")
_PRIVILEGES_S = 30.0
_LOOK_S = 30.0
"""How long what Slurm showed of its reservations is believed while nothing was written."""
REHOMED = "rehomed"
"""The action of a line about one that has moved, for its zone was lost."""


class Reservations:
    """Keeps the desk's reservations, the database's and Slurm's in step."""

    def __init__(self, desk: Desk, slurm: Slurm, writer: StoreWriter, clock: Clock) -> None:
        self._desk = desk
        self._slurm = slurm
        self._writer = writer
        self._clock = clock
        self._shown: Sequence[ReservationRecord] | None = None
        self._shown_at = float("-inf")
        self._counted: Sequence[LicenseRecord] = ()
        self._fresh = False
        """Whether licences were counted when reservations were last shown, and nothing was concluded from that yet."""
        self._tried: dict[str, tuple[str, Command, float]] = {}
        """Name in Slurm → what was found and done last, and when: where it did not help it is not done each round."""
        self._privileges: Sequence[PrivilegeRecord] = ()
        self._privileges_at = float("-inf")

    def load(self, rows: Sequence[StoredReservation]) -> None:
        """Take in what the database promises, before anything is admitted. Raises StoreError.

        What is open begins its grace anew: nobody could come to use it while we were away, and when a job last did so
        is not written down each time.
        """
        now = self._desk.now()
        found = [from_row(row) for row in rows]
        woken = (replace(one, last_used=now) if one.state is ReservationState.ACTIVE else one for one in found)
        self._desk.missed += self._desk.reserved.take_in(woken, now)

    # -- time ---------------------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """What time and use do."""
        changed = changes(self._desk)
        unused = [one for one in changed if one.state is ReservationState.DEGRADED]
        done = [one for one in changed if one.state is not ReservationState.DEGRADED]
        if done:
            self.write(done)
        moved = rehome(self._desk)
        if moved:
            self.write(moved)
        for one in moved:
            self.record(one, str(one.state) if not one.live else REHOMED, one.cause)
        for one in [*done, *[one for one in unused if await self._degrade(one)]]:
            self.record(one, str(one.state), one.cause)

    async def _degrade(self, one: Reservation) -> bool:
        """Durable first, since its watts are then anybody's."""
        before = self._desk.reserved.of_claim(one.claim_id)
        try:
            await self.save(one)
            if degrade(self._desk, one, before):
                return True
            present = self._desk.reserved.of_claim(one.claim_id)
            if present is not None:
                await self.save(present)
        except StoreError as error:
            _log.error("reservation %s keeps its watts while the database fails: %s", one.name, error)
        return False

    def record(self, one: Reservation, action: str, cause: str, actor: int | None = None) -> None:
        """A line of the audit log about a reservation."""
        self._desk.journal.record(
            Decision(
                at=self._clock.now(),
                uid=one.created_by,
                account=",".join(one.terms.owner.accounts),
                action=action,
                mode=self._desk.mode,
                zones=tuple(grant.zone for grant in one.grants) or one.terms.zones,
                reservation=one.name,
                actor=actor,
                cause=cause,
                rule=Rule.RESERVATION,
                numbers={"watts_w": one.terms.watts_w, "granted_w": one.granted_w},
            )
        )

    def write(self, changed: Sequence[Reservation]) -> None:
        """Have them written down, soon."""
        rows = [to_row(one) for one in changed]
        self._writer.put(lambda store: store.save_reservations(rows))

    async def save(self, one: Reservation) -> None:
        """Make it durable. Raises StoreError."""
        row = to_row(one)
        await self._writer.durable(lambda store: store.save_reservations([row]))

    async def history(self) -> list[Reservation]:
        """All that there ever were, by name, then start. Raises StoreError."""
        await self._writer.written()

        def read(store: Store) -> list[Reservation]:
            return [from_row(row) for row in store.reservations(live_only=False)]

        return await asyncio.to_thread(self._writer.read, read)

    # -- Slurm --------------------------------------------------------------------------------------------------

    async def mirror(self) -> None:
        """Have Slurm hold what it should, which is nothing unless we enforce. Raises StoreError."""
        moment = self._clock.monotonic()
        wanted = holdings(self._desk) if self._desk.mode is Mode.ENFORCE else []
        if self._shown is None or moment - self._shown_at >= _LOOK_S:
            try:
                await self.look()
            except SlurmError as error:  # a round goes on without; what was shown last may be right no more
                _log.warning("cannot read Slurm's reservations: %s", error)
                return
        found = self._steps(wanted)
        self._tried = {name: tried for name, tried in self._tried.items() if moment - tried[2] < _LOOK_S}
        new = [step for step in found if self._tried.get(step.name, ())[:2] != (step.finding, step.chain[-1])]
        if new:
            await self._write(new, moment)

    def _steps(self, wanted: Sequence[Holding]) -> list[Step]:
        """What brings Slurm to what it should hold of watts, and of nodes."""
        now, version, users, shown = self._clock.now(), self._desk.version, self._users(), self._shown or ()
        nodes = node_holdings(self._desk) if self._desk.mode is Mode.ENFORCE else []
        found = steps(wanted, shown, self._counted, now, version, fresh=self._fresh, users=users)
        self._fresh = False
        return found + node_steps(nodes, shown, now, users)

    def _users(self) -> Mapping[str, Sequence[str]]:
        """The jobs that name reservations of ours; looked up only where Slurm has any, for there are many jobs."""
        ours = any(one.name.startswith(PREFIX) for one in self._shown or ())
        return in_use(self._desk) if ours else {}

    async def look(self) -> tuple[Sequence[ReservationRecord], Sequence[LicenseRecord]]:
        """Slurm's reservations and licences, read now. Raises SlurmError."""
        self._shown_at = self._clock.monotonic()
        self._shown = await asyncio.to_thread(self._slurm.reservations)
        self._counted = await asyncio.to_thread(self._slurm.licenses)
        self._fresh = True
        return self.shown()

    async def set_right(self) -> None:
        """Have Slurm hold what it should, by what `look` has just read. Raises SlurmError, StoreError."""
        if self._desk.mode is not Mode.ENFORCE:
            return
        found = self._steps(holdings(self._desk))
        if found:
            await self._write(found, self._clock.monotonic())

    def shown(self) -> tuple[Sequence[ReservationRecord], Sequence[LicenseRecord]]:
        """Slurm's reservations and licences as they were last read; none before that."""
        return self._shown or (), self._counted

    async def _write(self, found: Sequence[Step], moment: float) -> None:
        now = self._clock.now()
        intents = [Intent(step.name, f"reservation-{step.finding}", now) for step in found]
        opened = await self._writer.durable(lambda store: store.open_intents(intents))
        self._shown = None  # to be read anew, whatever comes of it
        try:
            outcomes = await asyncio.to_thread(self._slurm.write, [step.chain for step in found])
        except SlurmError as error:
            outcomes = [Outcome(0, str(error), unsure=True)] * len(found)
        for step, outcome in zip(found, outcomes, strict=True):
            if outcome.error:
                _log.warning("%s reservation %s: %s", step.finding, step.name, outcome.error)
            else:
                _log.info("%s reservation %s: set right in Slurm", step.finding, step.name)
            if not (outcome.unsure or outcome.unreached):
                self._tried[step.name] = (step.finding, step.chain[-1], moment)
        ids = [intent.id for intent in opened if intent.id is not None]
        self._writer.put(lambda store: store.close_intents(ids, "done"))

    # -- who may --------------------------------------------------------------------------------------------------

    async def privileges(self) -> Sequence[PrivilegeRecord]:
        """What the accounting database says of users, not older than half a minute; as before where it is away."""
        moment = self._clock.monotonic()
        if moment - self._privileges_at >= _PRIVILEGES_S:
            try:
                self._privileges = await asyncio.to_thread(self._slurm.privileges)
                self._privileges_at = moment
            except SlurmError as error:
                _log.warning("cannot read privileges: %s", error)
        return self._privileges

    async def rights(self, uid: int, *, master: bool) -> Rights:
        """What a user may do."""
        return rights_of(uid, user_of(uid), await self.privileges(), master=master)

    def accounts_of(self, uid: int) -> frozenset[str]:
        """The accounts for whose reservations he answers, by what was last read."""
        known = rights_of(uid, user_of(uid), self._privileges, master=False)
        return known.accounts | known.coordinates
