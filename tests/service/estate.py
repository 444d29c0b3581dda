"""The cluster of tests/service/cluster.py with reservations of power, and what has to hold of them after every step.

What is kept is computed here from what each reservation was granted and from Slurm's own records of jobs.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from slurm_power.core.record import Standing, find_record
from slurm_power.core.reservation import KEEPING, Owner, Reservation, ReservationEvent, ReservationState, Terms
from slurm_power.core.window import Window
from slurm_power.ports import JobRecord, JobState, StoredReservation
from slurm_power.service.desk import Desk
from slurm_power.service.mirror import holdings, steps
from slurm_power.service.reservation_rows import from_row, to_row
from slurm_power.service.reserved import after
from slurm_power.service.reserving import Answer, changes, degrade, offer
from tests.service.cluster import Cluster
from tests.service.spec import Spec
from tests.service.support import SITE, USERS

_ROOMY = f"{SITE}reservations: {{max_share: 100%}}\n"
_NAMED = re.compile(r"reservation=(\w+)")


class Estate(Cluster):
    """Reservations belong to users. They are made, changed and given up in the steps of daemon/reserving.py."""

    def __init__(self, seed: int = 0) -> None:
        self.rows: dict[str, StoredReservation] = {}
        """What is durable, by id."""
        self.alone: set[tuple[int, int]] = set()
        """Starts that the launch gate let pass while the daemon was away: it cannot know of reservations."""
        self._number = 0
        super().__init__(seed, _ROOMY)

    # -- the daemon ------------------------------------------------------------------------------------------------

    def learn(self, desk: Desk) -> None:
        desk.missed += desk.reserved.take_in([one for one in self.kept_rows() if one.live], desk.now())

    def pass_time(self, desk: Desk) -> None:
        for one in changes(desk):
            self.rows[one.id] = to_row(one)
            if one.state is ReservationState.DEGRADED:
                assert degrade(desk, one, desk.reserved.of_claim(one.claim_id))

    def mirror(self, desk: Desk) -> Iterator[None]:
        shown, counted = self.slurm.reservations(), self.slurm.licenses()
        found = steps(holdings(desk), shown, counted, self.slurm.now, desk.version)
        yield
        self.slurm.write([step.chain for step in found])
        yield

    def _gate_alone(self, job: JobRecord) -> bool:
        passed = super()._gate_alone(job)
        if passed:
            self.alone.add((job.job_id, job.restarts))
        return passed

    # -- people ----------------------------------------------------------------------------------------------------

    def reserve(self, terms: Terms, *, dies: bool = False) -> bool:
        """Whether it is granted; `dies`: the daemon does before anything is durable."""
        desk = self.desk
        if desk is None or desk.reserved.get(terms.name) is not None:
            return False
        now = desk.now()
        found = offer(desk, terms)
        if found.answer is not Answer.FITS:
            return False
        self._number += 1
        one = Reservation(f"id{self._number}", terms, ReservationState.APPROVED, now, now, 0, found.grants)
        desk.reserved.put(one)
        if dies:
            self.crash()
            return False
        self.rows[one.id] = to_row(one)
        return True

    def change(self, name: str, **changes: object) -> bool:
        """Whether it was changed."""
        before = self.desk.reserved.get(name) if self.desk is not None else None
        if self.desk is None or before is None:
            return False
        self.desk.now()
        terms = replace(before.terms, **changes)  # type: ignore[arg-type]
        if terms.window.end <= self.clock.instant:
            return False
        found = offer(self.desk, terms, before)
        if found.answer is not Answer.FITS:
            return False
        one = replace(before, terms=terms, grants=found.grants)
        self.desk.reserved.put(one)
        self.rows[one.id] = to_row(one)
        self.desk.book.look_again()
        return True

    def give_up(self, name: str, *, dies: bool = False) -> None:
        """Cancelled; `dies`: the daemon does between the database and its memory."""
        before = self.desk.reserved.get(name) if self.desk is not None else None
        if self.desk is None or before is None:
            return
        one = after(before, ReservationEvent.CANCEL, self.desk.now())
        self.rows[one.id] = to_row(one)
        if dies:
            self.crash()
            return
        self.desk.reserved.put(one)
        self.desk.book.look_again()

    def terms(self, name: str, uid: int, zones: tuple[str, ...], watts_w: int, start_s: int, length_s: int) -> Terms:
        start = self.clock.instant + start_s
        owner = Owner((), (USERS[uid],))
        return Terms(name, owner, zones, watts_w, Window(start, start + length_s), grace_s=120)

    # -- what is true ----------------------------------------------------------------------------------------------

    def kept_rows(self) -> list[Reservation]:
        return [from_row(row) for row in self.rows.values()]

    def group(self, job: JobRecord, spec: Spec) -> str:
        key = _draws_on(job)
        return f"res:{key}" if key else super().group(job, spec)

    def keeping(self) -> list[Reservation]:
        """Those whose window is open and that keep their watts, by the database."""
        now = self.clock.instant
        return [
            one for one in self.kept_rows() if one.state in KEEPING and not one.planned and now in one.terms.window
        ]

    def kept(self, jobs: list[tuple[JobRecord, dict[str, int]]]) -> Counter[str]:
        """Zone or feed → watts granted and not held by these jobs, of reservations that are open."""
        drawn: Counter[tuple[str, str]] = Counter()
        for job, zones in jobs:
            total = sum(zones.values())
            for zone, count in zones.items():
                drawn[_draws_on(job), zone] += ceil(self.spec_of(job).est_w * count / total)
        found: Counter[str] = Counter()
        for one in self.keeping():
            for grant in one.grants:
                left_w = max(grant.watts_w - drawn[one.key, grant.zone], 0)
                found[grant.zone] += left_w
                for tap in self.site.topology.taps[grant.zone]:
                    found[tap.feed] += ceil(left_w * tap.numerator / tap.denominator)
        return found

    def check(self) -> None:
        super().check()
        self.check_kept()
        self.check_outsiders()

    def check_kept(self) -> None:
        """What runs and what is kept together pass no budget, in est nor with the bursts of what runs."""
        running = self.running()
        if any((job.job_id, job.restarts) in self.alone for job, _ in running):
            return
        kept = self.kept(running)
        for name, (est_w, burst_w) in self.loads(running).items():
            element = self.site.topology.zones.get(name) or self.site.topology.feeds[name]
            usable_w = int(element.limit_w * (1 - element.margin))
            told = f"{name}: {est_w} W run, {kept[name]} W are kept, {usable_w} W are usable {self.picture()}"
            assert est_w + kept[name] <= usable_w, told
            assert est_w + kept[name] + burst_w <= element.limit_w, told

    def check_outsiders(self) -> None:
        """No job of an outsider draws on a reservation, by Slurm's records or by the ledger."""
        owners = {one.key: one.terms.owner for one in self.kept_rows()}
        for job in self.slurm.all_jobs():
            key = _draws_on(job)
            if key and key in owners:
                assert owners[key].owns("research", USERS[self.spec_of(job).uid]), job
        for one in self.desk.reserved if self.desk is not None else ():
            for claim in self.desk.ledger.within(one.claim_id) if self.desk is not None else ():
                assert one.terms.owner.owns("research", USERS[claim.uid]), claim

    def check_exact(self) -> None:
        """Once it is quiet the ledger is exactly what runs, what may start and what is kept, and Slurm holds that."""
        assert self.desk is not None
        jobs = [*self.running(), *self.startable()]
        kept = self.kept(jobs)
        for name, (est_w, _) in self.loads(jobs).items():
            counted = self.desk.ledger.meters[name].committed_w
            assert counted == est_w + kept[name], f"{name}: {est_w}+{kept[name]} W, {counted} W {self.picture()}"
        assert {one.name for one in self.desk.reserved} == {one.name for one in self.kept_rows() if one.live}
        reserved = {record.name: record.reserved for record in self.slurm.licenses()}
        for zone in self.site.topology.zones:
            assert reserved[f"pw_{zone}"] == kept[zone], f"{zone}: Slurm holds {reserved[f'pw_{zone}']} W {kept}"

    def drain(self) -> None:
        """Who waits for a reservation goes; all else runs to its end."""
        for job in self.slurm.all_jobs():
            if job.state is JobState.PENDING and _NAMED.search(self.spec_of(job).comment):
                self.cancel(job.job_id)
        super().drain()


def _draws_on(job: JobRecord) -> str:
    """The key of the reservation that a job was admitted to draw on."""
    record = find_record(job.admin_comment)
    return record.reservation if record is not None and record.standing is Standing.ADMIT else ""


