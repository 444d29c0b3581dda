"""What a fake Slurm reserves: which windows keep how many licences and which nodes from whom."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from slurm_power.ports import CreateReservation, JobRecord, PrivilegeRecord, ReservationRecord, UpdateReservation
from tests.fakes.slurm_placing import expand, fold
from tests.fakes.slurm_targets import Refusal

MAX_DELAY_S = 600
"""How far in the past the times of a new one may lie; of a change a tenth of that."""
_FOREVER_S = 31_536_000


@dataclass
class Reservations:
    """All reservations. `counted` is what slurmctld counts of each, which a refused update empties.

    people: who there is, by name; with nobody, Slurm keeps no accounts and takes everybody.
    """

    totals: Mapping[str, int]
    people: Mapping[str, PrivilegeRecord] = field(default_factory=dict)
    records: dict[str, ReservationRecord] = field(default_factory=dict)
    counted: dict[str, Mapping[str, int]] = field(default_factory=dict)

    def create(self, command: CreateReservation, nodes: Iterable[str], now: int) -> None:
        """Nodes are chosen of `nodes`. Raises Refusal."""
        said = "Error creating the reservation: "
        if min(command.start, command.end) < now - MAX_DELAY_S or command.end <= command.start:
            raise Refusal(said + "Invalid time specified")
        self._check_owners(command.users, command.accounts, said)
        others = [r for r in self.records.values() if r.start < command.end and command.start < r.end]
        self._check_counts([command.licenses, *(other.licenses for other in others)], said)
        chosen = self._choose(command, nodes, others, said)
        how = ("SPEC_NODES",) if command.nodes else () if chosen else ("ANY_NODES",)
        if command.name in self.records:
            raise Refusal(said + "Duplicate reservation name")
        if not chosen and not command.licenses:
            raise Refusal("scontrol: error: CoreCnt, Nodes, NodeCnt, BurstBuffer, Licenses or Watts must be specified.")
        self.records[command.name] = ReservationRecord(
            name=command.name,
            start=max(command.start, now),
            end=command.end,
            active=command.start <= now,
            users=command.users,
            accounts=command.accounts,
            licenses=dict(command.licenses),
            nodes=fold(chosen),
            node_count=len(chosen),
            features=command.features,
            partition=command.partition,
            flags=(*command.flags, *how),
        )
        self.counted[command.name] = dict(command.licenses)

    def update(self, command: UpdateReservation, now: int) -> None:
        """Raises Refusal, and then counts none of its licences any more, although they are shown."""
        said = "Error updating the reservation: "
        record = self.records.get(command.name)
        if record is None:
            raise Refusal(said + "Requested reservation is invalid")
        try:
            changed = self._changed(record, command, now, said)
        except Refusal:
            self.counted[command.name] = dict.fromkeys(record.licenses, 0)
            raise
        self.records[command.name] = changed
        if command.licenses is not None:
            self.counted[command.name] = dict(command.licenses)

    def delete(self, name: str, jobs: Iterable[JobRecord]) -> None:
        """Raises Refusal while one of these jobs is in it."""
        if name not in self.records:
            raise Refusal(f"delete_reservation reservationname={name}: Requested reservation is invalid")
        if any(job.reservation == name for job in jobs):
            raise Refusal(f"delete_reservation reservationname={name}: Requested reservation is in use")
        del self.records[name], self.counted[name]

    def pass_time(self, now: int, running: Collection[JobRecord]) -> list[str]:
        """What is over goes, unless a job still runs in it. Returns the names of what has gone."""
        self.records = {name: replace(r, active=r.start <= now <= r.end) for name, r in self.records.items()}
        over = [
            name
            for name, record in self.records.items()
            if record.end <= now and all(job.reservation != name for job in running)
        ]
        for name in over:
            self.delete(name, ())
        return over

    def reserved(self) -> dict[str, int]:
        """Licence → how many are counted as reserved now."""
        return _sum(self.counted[r.name] for r in self.records.values() if r.active)

    def kept_from(self, job: JobRecord, now: int) -> dict[str, int]:
        """Licence → how many are kept from a job that starts now: of every window that overlaps, all of them."""
        return _sum(self.counted[record.name] for record in self._others(job, now))

    def barred(self, job: JobRecord, now: int) -> set[str]:
        """The nodes that are kept from a job that starts now."""
        return {node for record in self._others(job, now) for node in expand(record.nodes)}

    def check_access(self, name: str, user: str, account: str, where: str) -> None:
        """Raises Refusal where there is no such reservation, or where it is not theirs."""
        record = self.records.get(name)
        if record is None:
            raise Refusal(f"Requested reservation is invalid{where}")
        if (record.users and user not in record.users) or (record.accounts and account not in record.accounts):
            raise Refusal(f"Access denied to requested reservation{where}")

    def _others(self, job: JobRecord, now: int) -> list[ReservationRecord]:
        end = now + (_FOREVER_S if job.time_limit_s is None else job.time_limit_s)
        return [r for r in self.records.values() if r.start < end and now < r.end and r.name != job.reservation]

    def _changed(
        self, record: ReservationRecord, command: UpdateReservation, now: int, said: str
    ) -> ReservationRecord:
        users = record.users if command.users is None else command.users
        accounts = record.accounts if command.accounts is None else command.accounts
        if command.licenses is not None:
            if not command.licenses and not record.node_count:
                raise Refusal(said + "Invalid license specification")
            self._check_counts([command.licenses], said)
        self._check_owners(users, accounts, said)
        if command.end is not None and command.end < max(now - MAX_DELAY_S // 10, record.start + 1):
            raise Refusal(said + "Invalid time specified")
        return replace(
            record,
            users=users,
            accounts=accounts,
            licenses=record.licenses if command.licenses is None else dict(command.licenses),
            end=record.end if command.end is None else command.end,
        )

    def _check_owners(self, users: Collection[str], accounts: Collection[str], said: str) -> None:
        if not users and not accounts:
            raise Refusal(said + "Reservation request lacks users, groups or accounts")
        if not self.people:
            return
        if not set(users) <= set(self.people):
            raise Refusal(said + "Invalid user id")
        known = {account for person in self.people.values() for account in person.accounts}
        together = all(account in self.people[user].accounts for user in users for account in accounts)
        if not set(accounts) <= known or not together:
            raise Refusal(said + "Invalid account or account/partition combination specified")

    def _check_counts(self, counts: Iterable[Mapping[str, int]], said: str) -> None:
        if any(count > self.totals.get(name, -1) for name, count in _sum(counts).items()):
            raise Refusal(said + "Invalid license specification")

    def _choose(
        self, command: CreateReservation, nodes: Iterable[str], others: Iterable[ReservationRecord], said: str
    ) -> list[str]:
        taken = {node for other in others for node in expand(other.nodes)}
        if command.nodes:
            if taken & set(expand(command.nodes)):
                raise Refusal(said + "Requested reservation overlaps with another reservation")
            return expand(command.nodes)
        free = sorted(set(nodes) - taken)
        if command.node_count and not free:
            raise Refusal(said + "Requested nodes are busy")
        return free[: command.node_count]  # Slurm gives fewer without a word


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
