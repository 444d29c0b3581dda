"""A small cluster in order, for tests that put something out of order: jobs in every state, a reservation, others'."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.window import Window
from slurm_power.daemon.alone import one_look
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import CreateReservation, JobRecord, QosRecord, ReservationRecord, Store
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from slurm_power.service.reservation_rows import to_row
from tests.fakes.slurm import FakeSlurm
from tests.fakes.store import MemoryStore
from tests.service.support import START, FakeClock, fake_slurm, site_of

RUNS, WAITS, ADMITTED, OUTSIDE = 1, 2, 3, 4
HOUR = 3_600
QOS = [QosRecord("gold"), QosRecord("silver"), QosRecord("bronze")]
Answer = Mapping[str, Any]


def reservation(name: str = "spring", zone: str = "rack02", **changes: Any) -> Reservation:
    """One that is active, of 4 kW, whose window has an hour left."""
    start, end = changes.pop("start", START - 60), changes.pop("end", START + HOUR)
    owner = Owner(accounts=("research",))
    terms = Terms(name, owner, (zone,), 4_000, Window(start, end), tier="bronze", grace_s=2 * HOUR)
    state = changes.pop("state", ReservationState.ACTIVE)
    return Reservation(f"id-{name}", terms, state, start, start, 1001, (Grant(zone, 4_000),), **changes)


@dataclass
class World:
    """Slurm, the database and the site, which outlive the daemon; and a daemon, which has looked at all."""

    store: Store = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.site = site_of()
        self.slurm = fake_slurm(self.site, qos=QOS)
        self.store.save_reservations([to_row(reservation())])
        self.start()
        self._submit(RUNS, "power:est=5kW,zones=rack01")
        self.round()
        self.slurm.schedule()
        self.round()
        self._submit(WAITS, "power:est=22kW,zones=rack01")
        self._submit(ADMITTED, "power:est=3kW,zones=rack03")
        self.slurm.submit(uid=1002, user="bob", partition="outside", licenses="matlab:2", time_limit_s=HOUR)
        others = CreateReservation("theirs", START, START + HOUR, ("bob",), licenses={"matlab": 3})
        self.slurm._apply(others)  # not ours to write, so past the adapter's checks
        self.round()
        self.round()

    def _submit(self, number: int, comment: str) -> None:
        self.slurm.submit(
            held=True,
            comment=comment,
            account="research",
            admin_comment=f"power:id=t{number},v=hold,hold=power",
            time_limit_s=HOUR,
        )

    # -- the daemon ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A daemon, as it comes up."""
        self.writer = StoreWriter(self.store)
        self.desk = Desk(self.site, self.clock, StoreJournal(self.writer))
        observer = Observer(self.desk, remembered(self.store))
        self.rounds = Rounds(self.desk, self.slurm, self.writer, observer, self.clock)
        self.rounds.reservations.load(self.store.reservations(live_only=True))

    def round(self) -> None:
        asyncio.run(self.rounds.round())
        assert self.writer.flush(10)
        self._pass(1)

    def _pass(self, seconds: int) -> None:
        """Time passes; no job starts or ends meanwhile."""
        self.clock.instant += seconds
        self.slurm.now = self.clock.instant

    def stop(self) -> None:
        self.writer.close(10)

    def reconcile(self, how: str, *, dry_run: bool = False) -> Answer:
        """By the daemon that runs, or alone with the daemon away."""
        self._pass(1)
        if how == "daemon":
            answer = asyncio.run(self.rounds.reconcile(dry_run=dry_run))
            assert self.writer.flush(10)
            return answer
        self.stop()
        return one_look(self.site, self.slurm, self.store, self.clock, dry_run=dry_run)

    # -- what there is ------------------------------------------------------------------------------------------

    def job(self, job_id: int) -> JobRecord:
        return self.slurm.job(job_id)

    def shown(self) -> dict[str, object]:
        """Everything that a reconciliation could touch in Slurm and in the database."""
        jobs = {
            job.job_id: (job.state, job.held, job.licenses, job.features, job.excluded_nodes)
            for job in self.slurm.all_jobs()
        }
        reservations: dict[str, ReservationRecord] = {one.name: one for one in self.slurm.reservations()}
        kept = {name: (one.licenses, one.users, one.accounts) for name, one in reservations.items()}
        return {
            "jobs": jobs,
            "reservations": kept,
            "counted": {one.name: (one.used, one.reserved) for one in self.slurm.licenses()},
            "holds": {row.token: row.hold for row in self.store.jobs()},
            "intents": [intent.target for intent in self.store.pending_intents()],
            "states": {row.name: row.state for row in self.store.reservations(live_only=False)},
        }


def kinds(answer: Answer) -> list[tuple[str, str, str]]:
    """(status, kind, subject) of each finding."""
    return [(row["status"], row["kind"], row["subject"]) for row in answer["findings"]]


__all__ = ["ADMITTED", "OUTSIDE", "RUNS", "WAITS", "FakeSlurm", "World", "kinds", "reservation"]
