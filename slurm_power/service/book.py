"""All jobs that the daemon knows, their claims in the ledger, and what is to be written down of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from slurm_power.core.admission import Verdict
from slurm_power.core.claim import Charge, Claim, reservation_of
from slurm_power.core.ledger import Ledger
from slurm_power.core.lifecycle import CLAIMING, Event, State, follow
from slurm_power.core.reasons import Reason
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import Decision, HoldKind, JobRecord, StoredJob
from slurm_power.service.asking import Ask
from slurm_power.service.facts import ArraySpec, task_ids
from slurm_power.service.rumours import Rumours


class Journal(Protocol):
    """Where the book's changes go to become durable; never blocks (the store's writer thread stands behind it)."""

    def save(self, job: StoredJob) -> None:
        """Keep what is promised about a job."""

    def drop(self, token: str) -> None:
        """Forget a job."""

    def record(self, decision: Decision) -> None:
        """Append a line to the audit log."""


class Watch(Protocol):
    """Who is told of every change of a job's state, and of who draws more than his max."""

    def moved(self, entry: "Entry", claim: Claim | None, now: int) -> None:
        """A job is new, or has come to another state or claim."""

    def dropped(self, entry: "Entry", now: int) -> None:
        """A job is gone."""

    def ended_with(self, entry: "Entry", word: str) -> None:
        """Slurm shows that a job has ended, and its word for how; before it is dropped."""

    def draws_more(self, entry: "Entry", watts: int, seconds: int, now: int) -> None:
        """A run has drawn so many W for so long, and more than its max."""


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
    task: tuple[int, int] | None = None
    """Array job id and task, for one task of an array."""
    verdict: Verdict | None = None
    charges: tuple[Charge, ...] = ()
    """What it was admitted with, per copy."""
    gate: tuple[int, int] | None = None
    """The job id and restart count that the launch gate let pass."""
    gate_told: tuple[str, ...] = ()
    """What the gate said of that start besides; empty where it was not asked."""
    gate_asked: float | None = None
    """Monotonic time at which the gate was first told to wait."""
    released: int | None = None
    refusals: int = 0
    """How often in a row Slurm has refused to bind it."""
    retry_at: int = 0
    """The instant before which it is not tried again."""
    rumour_w: int = 0
    """Watts that it holds on the word of the submit hook alone."""
    dirty: bool = False
    """It was changed in Slurm; what it asks is to be read anew."""
    stale: bool = False
    """To be looked at again although Slurm shows nothing new of it."""
    stored: bool = False
    """Whether the database has a row of it."""
    note: str = ""
    """Why it last came back to the queue."""

    @property
    def seen(self) -> bool:
        """Whether Slurm has shown it."""
        return self.job_id is not None

    @property
    def held_by_user(self) -> bool:
        """Whether its user holds it, as far as we know; an administrator's hold is neither his nor ours."""
        return self.hold is not None and self.hold.by_user

    @property
    def held_by_us(self) -> bool:
        """Whether we hold it for power."""
        return self.hold is not None and self.hold.by_us

    @property
    def name(self) -> str:
        """How people call it: `812`, `812_3`, `812+1`, or the token while Slurm has not shown it."""
        if self.task is not None:
            return f"{self.task[0]}_{self.task[1]}"
        record = self.record
        if record is None:
            return str(self.job_id) if self.job_id is not None else self.token
        return record.target


@dataclass(slots=True)
class Book:
    """Entries by key, by job id and by array task, kept in step with the ledger.

    A claim is there exactly in claiming states.
    """

    ledger: Ledger
    journal: Journal
    watch: Watch
    entries: dict[str, Entry] = field(default_factory=dict)
    by_job: dict[int, str] = field(default_factory=dict)
    arrays: dict[int, dict[int, str]] = field(default_factory=dict)
    """Array job id → task → key."""
    components: dict[int, set[str]] = field(default_factory=dict)
    """Job id of a heterogeneous job → keys of its components."""
    rumours: Rumours = field(default_factory=Rumours)
    private: bool = False
    """Whether users may learn of their own jobs only."""
    _states: dict[State, set[str]] = field(default_factory=lambda: {state: set() for state in State})
    _tokens: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Token → how many entries have it."""

    def get(self, key: str) -> Entry | None:
        """The entry of that key."""
        return self.entries.get(key)

    def of_job(self, job_id: int) -> Entry | None:
        """The entry of the record with that Slurm job id."""
        return self.entries.get(self.by_job.get(job_id, ""))

    def of_task(self, array_job_id: int, task: int) -> Entry | None:
        """The entry of one task of an array."""
        return self.entries.get(self.arrays.get(array_job_id, {}).get(task, ""))

    def active_tasks(self, array_job_id: int) -> set[int]:
        """The tasks of an array that hold watts, each by a claim of its own."""
        keys = self.arrays.get(array_job_id, {})
        return {task for task, key in keys.items() if (entry := self.entries.get(key)) and entry.state in CLAIMING}

    def may_start(self, array: ArraySpec | None, record: JobRecord) -> int:
        """How many tasks of a pending array its throttle lets hold watts beside those that do already; else one.

        Tasks that have been bound but that Slurm still shows in the record of the rest have their claims.
        """
        if array is None or not record.array_tasks:
            return 1
        active = self.active_tasks(record.array_job_id or record.job_id)
        if not active:
            return array.at_once
        waiting = array.tasks - len(active.intersection(task_ids(record.array_tasks)))
        return waiting if array.throttle is None else max(0, min(waiting, array.throttle - len(active)))

    def split(self, parent: Entry, task: tuple[int, int], now: int, state: State) -> Entry:
        """An entry for one task of an array that Slurm keeps apart from the rest by now; held as the rest is."""
        key = f"{parent.token}.{task[1]}"
        entry = Entry(key, parent.token, state, now, parent.touched, parent.uid, hold=parent.hold, task=task)
        if parent.ask is not None:
            entry.ask = replace(parent.ask, request=replace(parent.ask.request.with_copies(1), id=key))
        self.add(entry)
        return entry

    def name_of(self, key: str) -> str:
        """How people call the job behind a claim; empty where Slurm has not shown it yet."""
        entry = self.entries.get(key)
        return entry.name if entry is not None and (entry.seen or entry.task) else ""

    def add(self, entry: Entry, claim: Claim | None = None) -> None:
        """A new entry; with a claim if its state has one."""
        if (claim is not None) != (entry.state in CLAIMING):
            raise ValueError(f"a job that is {entry.state} {'has no' if claim else 'needs a'} claim")
        if claim is not None and entry.state is State.ADMITTED and not entry.seen:
            entry.rumour_w = claim.est_w
            self.rumours.put(entry.uid, entry.rumour_w)
        self._enter(entry)
        if claim is not None:
            self.ledger.add(claim)
        self.watch.moved(entry, claim, self.ledger.now)
        self.save(entry)

    def restore(self, pairs: Sequence[tuple[Entry, Claim]]) -> None:
        """Running jobs that the book does not have yet, many at once; of one that it has, nothing is changed."""
        new = {entry.key: (entry, claim) for entry, claim in pairs if entry.key not in self.entries}
        self.ledger.load(claim for _, claim in new.values())
        for entry, claim in new.values():
            self._enter(entry)
            self.watch.moved(entry, claim, self.ledger.now)

    def know(self, entry: Entry, record: JobRecord) -> None:
        """Slurm has shown the entry's job."""
        if entry.job_id != record.job_id:
            self._forget_job(entry)
            self._no_rumour(entry)
            self.rumours.came(entry.token)
            entry.job_id = record.job_id
            self.save(entry)
        self.by_job[record.job_id] = entry.key
        entry.record = record
        if record.array_job_id is not None and record.array_task_id is not None:
            entry.task = (record.array_job_id, record.array_task_id)
            self._know_task(entry)
        if record.het_job_id is not None:
            self.components.setdefault(record.het_job_id, set()).add(entry.key)

    def together(self, entry: Entry) -> list[Entry]:
        """All components of the entry's heterogeneous job, by offset; else the entry alone."""
        record = entry.record
        if record is None or record.het_job_id is None:
            return [entry]
        parts = [self.entries[key] for key in self.components[record.het_job_id]]
        return sorted(parts, key=lambda part: (part.record.het_offset or 0) if part.record else 0)

    def parts_of(self, job_id: int) -> list[Entry]:
        """The tasks of an array, or the components of a heterogeneous job, that have entries of their own."""
        keys = [*self.arrays.get(job_id, {}).values(), *self.components.get(job_id, ())]
        return [self.entries[key] for key in keys if key in self.entries]

    def look_again(self) -> None:
        """The site or the mode has changed: the next snapshot judges every job anew."""
        for entry in self.entries.values():
            entry.stale = True

    def take_copy(self, parent: Entry) -> Claim | None:
        """One task of an array gets a claim of its own: the claim of the pending rest shrinks by it.

        The rest is not overdue while tasks of it start. Returns the claim as it was, None where it counts no task any
        more.
        """
        claim = self.ledger.claims.get(parent.key)
        parent.released = self.ledger.now
        if claim is None or not claim.copies:
            return None
        self.ledger.replace(parent.key, claim.with_copies(claim.copies - 1))
        return claim

    def move(self, entry: Entry, event: Event, claim: Claim | None = None) -> None:
        """Follow an event. The claim is set, replaced or taken out as the new state wants."""
        state = follow(entry.state, event)
        if (claim is not None) != (state in CLAIMING):
            raise ValueError(f"a job that is {state} {'has no' if claim else 'needs a'} claim")
        self._states[entry.state].discard(entry.key)
        self._states[state].add(entry.key)
        entry.state = state
        if claim is None:
            self.ledger.remove(entry.key)
        else:
            self.ledger.replace(entry.key, claim)
        self.watch.moved(entry, claim, self.ledger.now)
        self.save(entry)

    def drop(self, entry: Entry) -> None:
        """The job is gone: out of the book, its claim out of the ledger."""
        self.ledger.remove(entry.key)
        self.watch.dropped(entry, self.ledger.now)
        del self.entries[entry.key]
        self._states[entry.state].discard(entry.key)
        self._no_rumour(entry)
        self._forget_job(entry)
        if entry.task is not None:
            tasks = self.arrays.get(entry.task[0], {})
            if tasks.get(entry.task[1]) == entry.key:
                del tasks[entry.task[1]]
            if not tasks:
                self.arrays.pop(entry.task[0], None)
        if entry.record is not None and entry.record.het_job_id is not None:
            parts = self.components.get(entry.record.het_job_id, set())
            parts.discard(entry.key)
            if not parts:
                self.components.pop(entry.record.het_job_id, None)
        self._tokens[entry.token] -= 1
        if entry.stored:
            self.journal.drop(entry.key)
        if not self._tokens[entry.token]:
            del self._tokens[entry.token]
            self.journal.drop(entry.token)

    def take_over(self, other: "Book") -> None:
        """The entries of another book, with those of their claims whose zones are still there.

        A job whose zone is gone is counted again by the next snapshot, on the nodes that it has.
        """
        self.entries, self.by_job, self.arrays = other.entries, other.by_job, other.arrays
        self.rumours, self.components = other.rumours, other.components
        self._states, self._tokens = other._states, other._tokens
        now = self.ledger.now
        claiming = [other.ledger.claims[entry.key] for entry in self.entries.values() if entry.state in CLAIMING]
        claims = [claim if claim.window.start <= now else _begun(claim, now) for claim in claiming]
        homeless = {c.id for c in claims if any(charge.zone not in self.ledger.nodes for charge in c.charges)}
        self.ledger.load(claim for claim in claims if claim.id not in homeless)
        for key in sorted(homeless):
            self.move(self.entries[key], Event.FREE)

    def not_later_than(self, now: int) -> None:
        """The clock has been set back: what was noted at an instant to come was noted now."""
        for entry in self.entries.values():
            entry.created = min(entry.created, now)
            entry.released = None if entry.released is None else min(entry.released, now)
            entry.retry_at = min(entry.retry_at, now)
            if entry.ask is not None and entry.ask.request.not_before > now:
                entry.dirty = True  # its time had come by the wrong clock

    def keys_in(self, state: State) -> list[str]:
        """The keys of the entries in a state, in no order."""
        return list(self._states[state])

    def save(self, entry: Entry) -> None:
        """Keep who holds the job, which Slurm cannot tell us after a restart; all else is in Slurm's own record of it.

        The pending rest of an array is kept under its token, a task that is held by itself under its own key. Tasks
        whose release is under way are many, and known by their intent.
        """
        ask = entry.ask
        if entry.hold is None:
            if entry.stored:
                entry.stored = False
                self.journal.drop(entry.key)
            return
        if entry.key != entry.token and entry.state is State.BINDING:
            return
        entry.stored = True
        request = ask.request if ask is not None else None
        self.journal.save(
            StoredJob(
                token=entry.key,
                job_id=entry.job_id,
                uid=entry.uid,
                account=request.account if request else "",
                tier=request.tier.name if request else "",
                est_w=request.est_w if request else 0,
                max_w=request.max_w if request else 0,
                headroom_w=request.headroom_w if request else 0,
                group=request.group if request else "",
                submitted_at=ask.submitted if ask else entry.created,
                hold=entry.hold,
            )
        )

    def decided(
        self,
        entry: Entry,
        action: str,
        now: int,
        mode: str,
        reasons: Sequence[Reason] = (),
        *,
        cause: str,
        rule: str = "",
        actor: int | None = None,
    ) -> None:
        """Append to the audit log what was decided about an entry, and what set it off; without a rule, the first
        reason's code is the rule. `actor` is the uid of who ordered it, None the daemon by its rules.
        """
        request = entry.ask.request if entry.ask else None
        claim = self.ledger.claims.get(entry.key)
        named = request.reservation if request else ""
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
                reservation=reservation_of(claim.within) if claim is not None and claim.within else named,
                reasons=tuple(reason.as_json() for reason in reasons),
                actor=actor,
                cause=cause,
                rule=rule or (str(reasons[0].code) if reasons else ""),
                numbers={"est_w": request.est_w, "max_w": request.max_w} if request else {},
            )
        )

    def _enter(self, entry: Entry) -> None:
        self.entries[entry.key] = entry
        self._states[entry.state].add(entry.key)
        self._tokens[entry.token] += 1
        if entry.job_id is not None:
            self.by_job[entry.job_id] = entry.key
        if entry.record is not None and entry.record.het_job_id is not None:
            self.components.setdefault(entry.record.het_job_id, set()).add(entry.key)
        self._know_task(entry)

    def _no_rumour(self, entry: Entry) -> None:
        if entry.rumour_w:
            self.rumours.take(entry.uid, entry.rumour_w)
            entry.rumour_w = 0

    def _know_task(self, entry: Entry) -> None:
        if entry.task is not None:
            self.arrays.setdefault(entry.task[0], {})[entry.task[1]] = entry.key

    def _forget_job(self, entry: Entry) -> None:
        if entry.job_id is not None and self.by_job.get(entry.job_id) == entry.key:
            del self.by_job[entry.job_id]


def _begun(claim: Claim, now: int) -> Claim:
    """A live claim from before the clock was set back: from now on, and for as long as it was."""
    end = claim.window.end
    return claim.at(Window(now, end if end >= FOREVER else now + end - claim.window.start))
