"""A desk whose usage goes to a store in memory, with reservations and jobs put there by hand."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.lifecycle import State
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.window import Window
from slurm_power.daemon.metering import UsageKeeper
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.usage_verbs import UsageVerbs
from slurm_power.ports import JobRecord, JobState, PrivilegeRecord
from slurm_power.service.book import Entry
from slurm_power.service.reservation_rows import to_row
from tests.fakes.store import MemoryStore
from tests.service.support import SITE, FakeClock, Lab, ListJournal, fake_slurm, site_of

PRICED = SITE + (
    "reservations: {max_share: 60%, score: {half_life: 30d, floor: 0.4}}\n"
    "tariff: {currency: EUR, kwh: 0.20, reserved_kwh: 0.05, tiers: {gold: 1.5, bronze: 0.5}, checkpoints: 0.8}\n"
    "sla: {gold: {max_delay: 30m, error_budget: 50%}, bronze: {max_delay: 1h, error_budget: 10%}}\n"
)


@dataclass
class Metered:
    """One daemon's usage; `store` outlives it."""

    site_text: str = PRICED
    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)
    journal: ListJournal = field(default_factory=ListJournal)
    privileges: tuple[PrivilegeRecord, ...] = ()

    def __post_init__(self) -> None:
        self.lab = Lab(site_of(self.site_text), self.clock, self.journal)
        self.desk = self.lab.desk
        self.writer = StoreWriter(self.store)
        self.slurm = fake_slurm(self.lab.site, privileges=self.privileges)
        self.keeper = UsageKeeper(self.desk, self.writer)
        self.reservations = Reservations(self.desk, self.slurm, self.writer, self.clock)
        self.keeper.resume(self.store)
        self.reservations.load(self.store.reservations(live_only=True))

    @contextmanager
    def open(self) -> Iterator["Metered"]:
        """Until its end; what was put is written then."""
        yield self
        self.writer.close(10)

    def pass_(self, seconds: int) -> int:
        """Time passes, and reservations follow it."""
        self.lab.wait(seconds)
        asyncio.run(self.reservations.tick())
        return self.desk.ledger.now

    def reserve(
        self, name: str, zone: str, watts_w: int, length_s: int, accounts: tuple[str, ...] = ("research",), **terms: Any
    ) -> Reservation:
        """An active reservation from now on, as the database has it too."""
        now = self.desk.now()
        window = terms.pop("window", None) or Window(now, now + length_s)
        state = terms.pop("state", ReservationState.ACTIVE)
        owner = Owner(accounts, terms.pop("users", ()))
        asked = Terms(name, owner, (zone,), watts_w, window, tier="gold", **terms)
        one = Reservation(f"id-{name}", asked, state, now, now, 7, grants=(Grant(zone, watts_w),))
        self.put(one)
        return one

    def put(self, one: Reservation) -> None:
        """Keep it, here and in the database."""
        self.desk.reserved.put(one)
        self.writer.put(lambda store: store.save_reservations([to_row(one)]))

    def run(
        self,
        key: str,
        est_w: int,
        zone: str = "rack01",
        *,
        within: Reservation | None = None,
        limit_s: int = 3_600,
        account: str = "research",
        tier: str = "gold",
        uid: int = 1_001,
        comment: str = "",
        start: int | None = None,
    ) -> Entry:
        """A job that starts now on nodes of a zone, or has started before."""
        now = self.desk.now() if start is None else start
        record = JobRecord(
            int(key), JobState.RUNNING, uid, "alice", account, time_limit_s=limit_s, start_time=now, comment=comment
        )
        entry = Entry(key, key, State.RUNNING, now, 0.0, uid, job_id=int(key), record=record)
        charges, window = (Charge(zone, 1, est_w, est_w),), Window(now, now + limit_s)
        claim = Claim(key, charges, window, key, tier, uid, account, placed=True)
        claim = self.desk.ledger.drawing(claim, within.claim_id) if within is not None else claim
        self.desk.book.add(entry, claim)
        return entry

    def end(self, key: str) -> None:
        """The job leaves its nodes."""
        self.desk.now()
        entry = self.desk.book.get(key)
        assert entry is not None
        self.desk.book.drop(entry)

    def ask(self, verb: str, uid: int = 0, **request: Any) -> Mapping[str, Any]:
        """The answer to a question; uid 0 is root."""
        verbs = UsageVerbs(self.desk, self.keeper, self.reservations, self.writer, frozenset({0}))
        found: Mapping[str, Any] = asyncio.run(getattr(verbs, verb)(Peer(uid, 0, 0), request))
        return found

    def rows(self, by: str = "account", **request: Any) -> dict[str, Mapping[str, Any]]:
        """The rows of `sreservation usage`, by name."""
        return {row["name"]: row for row in self.ask("usage", by=by, **request)["rows"]}
