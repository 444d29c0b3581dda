"""All jobs that the daemon knows, their claims in the ledger, and what is to be written down of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slurm_power.core.admission import Verdict
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.lifecycle import CLAIMING, Event, State, follow
from slurm_power.ports import Decision, HoldKind, JobRecord, StoredJob
from slurm_power.service.asking import Ask


class Journal(Protocol):
    """Where the book's changes go to become durable; never blocks (the store's writer thread stands behind it)."""

    def save(self, job: StoredJob) -> None:
        """Keep what is promised about a job."""

    def drop(self, token: str) -> None:
        """Forget a job."""

    def record(self, decision: Decision) -> None:
        """Append a line to the audit log."""


@dataclass(slots=True)
class Entry:
    """One job, array task or component. `key` is its claim's id: the token, and `.task` for tasks of an array."""

    key: str
    token: str
    state: State
    created: int
    touched: float
    """Monotonic time of the last change that did not come from a snapshot; an older snapshot does not undo it."""
    uid: int = 0
    ask: Ask | None = None
    hold: HoldKind | None = None
    job_id: int | None = None
    record: JobRecord | None = None
    verdict: Verdict | None = None
    charges: tuple[Charge, ...] = ()
    """What it was admitted with, per copy."""
    gate: tuple[int, int] | None = None
    """The job id and restart count that the launch gate let pass."""
    gate_asked: float | None = None
    """Monotonic time at which the gate was first told to wait."""
    released: int | None = None
    dirty: bool = False
    """Its user has changed it in Slurm; what it asks is to be read anew."""
    note: str = ""
    """Why it last came back to the queue."""

    @property
    def seen(self) -> bool:
        """Whether Slurm has shown it."""
        return self.job_id is not None

    @property
    def name(self) -> str:
        """How people call it: `812`, `812_3`, `812+1`, or the token while Slurm has not shown it."""
        record = self.record
        if record is None:
            return str(self.job_id) if self.job_id is not None else self.token
        if record.array_task_id is not None:
            return f"{record.array_job_id}_{record.array_task_id}"
        return record.target


@dataclass(slots=True)
class Book:
    """Entries by key and by job id, kept in step with the ledger: a claim is there exactly in claiming states."""

    ledger: Ledger
    journal: Journal
    entries: dict[str, Entry] = field(default_factory=dict)
    by_job: dict[int, str] = field(default_factory=dict)
    _tokens: Counter[str] = field(default_factory=Counter)

    def get(self, key: str) -> Entry | None:
        """The entry of that key."""
        return self.entries.get(key)

    def of_job(self, job_id: int) -> Entry | None:
        """The entry of the record with that Slurm job id."""
        return self.entries.get(self.by_job.get(job_id, ""))

    def add(self, entry: Entry, claim: Claim | None = None) -> None:
        """A new entry; with a claim if its state has one."""
        if (claim is not None) != (entry.state in CLAIMING):
            raise ValueError(f"a job that is {entry.state} {'has no' if claim else 'needs a'} claim")
        self.entries[entry.key] = entry
        self._tokens[entry.token] += 1
        if entry.job_id is not None:
            self.by_job[entry.job_id] = entry.key
        if claim is not None:
            self.ledger.add(claim)
        self.save(entry)

    def know(self, entry: Entry, record: JobRecord) -> None:
        """Slurm has shown the entry's job."""
        if entry.job_id != record.job_id:
            self._forget_job(entry)
            entry.job_id = record.job_id
            self.save(entry)
        self.by_job[record.job_id] = entry.key
        entry.record = record

    def move(self, entry: Entry, event: Event, claim: Claim | None = None) -> None:
        """Follow an event. The claim is set, replaced or taken out as the new state wants."""
        state = follow(entry.state, event)
        if (claim is not None) != (state in CLAIMING):
            raise ValueError(f"a job that is {state} {'has no' if claim else 'needs a'} claim")
        entry.state = state
        if claim is None:
            self.ledger.remove(entry.key)
        else:
            self.ledger.replace(entry.key, claim)
        self.save(entry)

    def drop(self, entry: Entry) -> None:
        """The job is gone: out of the book, its claim out of the ledger."""
        self.ledger.remove(entry.key)
        del self.entries[entry.key]
        self._forget_job(entry)
        self._tokens[entry.token] -= 1
        if not self._tokens[entry.token]:
            del self._tokens[entry.token]
            self.journal.drop(entry.token)

    def take_over(self, other: "Book") -> None:
        """The entries of another book, with those of their claims whose zones are still there."""
        self.entries, self.by_job, self._tokens = other.entries, other.by_job, other._tokens
        self.ledger.load(
            claim
            for key, claim in other.ledger.claims.items()
            if key in self.entries and all(charge.zone in self.ledger.nodes for charge in claim.charges)
        )

    def in_state(self, *states: State) -> Iterator[Entry]:
        """Entries in one of these states, in order of key."""
        return iter(sorted((e for e in self.entries.values() if e.state in states), key=lambda e: e.key))

    def save(self, entry: Entry) -> None:
        """Keep what must outlive the daemon; an array is kept once, under its token."""
        ask = entry.ask
        if ask is None or entry.key != entry.token:
            return
        request = ask.request
        self.journal.save(
            StoredJob(
                token=entry.token,
                job_id=entry.job_id,
                uid=entry.uid,
                account=request.account,
                tier=request.tier.name,
                est_w=request.est_w,
                max_w=request.max_w,
                headroom_w=request.headroom_w,
                group=request.group,
                submitted_at=ask.submitted,
                hold=entry.hold,
            )
        )

    def decided(self, entry: Entry, action: str, now: int, mode: str, reasons: Sequence[object] = ()) -> None:
        """Append to the audit log what was decided about an entry."""
        request = entry.ask.request if entry.ask else None
        self.journal.record(
            Decision(
                at=now,
                job=entry.name,
                token=entry.token,
                uid=entry.uid,
                account=request.account if request else "",
                action=action,
                mode=mode,
                zones=tuple(charge.zone for charge in entry.charges),
                reasons=tuple(reason for reason in reasons if isinstance(reason, dict)),
            )
        )

    def _forget_job(self, entry: Entry) -> None:
        if entry.job_id is not None and self.by_job.get(entry.job_id) == entry.key:
            del self.by_job[entry.job_id]
