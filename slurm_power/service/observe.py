"""A snapshot of Slurm's jobs against the book: what each job really is, and what follows for its claim.

Slurm is the truth about jobs. A snapshot is older than what the hooks have told since it was begun: an entry touched
later than that is left for the next one.
"""

from collections.abc import Iterator, Sequence

from slurm_power.core.lifecycle import State
from slurm_power.core.record import find_record
from slurm_power.core.steps import Steps
from slurm_power.ports import HoldKind, JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.pending import Pending
from slurm_power.service.restore import restore
from slurm_power.service.running import on_nodes
from slurm_power.service.world import nodes_of

_AT_ONCE = 4
"""Records that are taken in before others get their turn."""
_MANY = 100
"""Records that are compared with what is known before others get their turn."""
_ON_NODES = frozenset({JobState.CONFIGURING, JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})


class Observer:
    """Brings a desk's book in step with Slurm. `holds` are what the database remembers of holds, by key."""

    def __init__(self, desk: Desk, holds: dict[str, HoldKind] | None = None) -> None:
        self.desk = desk
        self._pending = Pending(desk, dict(holds or {}))

    def observe(self, records: Sequence[JobRecord], begun: float, *, whole: bool = True) -> None:
        """Take in records read from Slurm; `begun` is the monotonic time at which reading began.

        `whole` says that these are all of Slurm's jobs, so that one that is missing is gone.
        """
        for _ in self.steps(records, begun, whole=whole):
            pass

    def steps(self, records: Sequence[JobRecord], begun: float, *, whole: bool = True) -> Steps[None]:
        """The same, yielding after every few records so that others can be answered meanwhile."""
        if whole:
            self.desk.mend_clock()
        present: set[str] = set()
        news: list[JobRecord] = []
        if whole and not self.desk.book.entries:
            yield from restore(self.desk, records)
        if whole:
            yield from self.desk.make_rooms()
        for number, record in enumerate(records):
            if number % _MANY == 0:
                yield
            if record.state is JobState.ENDED:
                self._has_come(record, begun)
                continue
            known = self._same(record)
            key = known.key if known is not None else self._key(record)
            present.add(key)
            if not self._settled(known or self.desk.book.get(key), record, begun):
                news.append(record)
        if whole:
            yield from self._gone(present, begun, rests=False)
        # What runs is a fact and is counted first; what was admitted but has not started must fit beside it.
        for number, record in enumerate(sorted(news, key=_seniority)):
            if number % _AT_ONCE == 0:
                yield
            key = self._key(record)
            if not self._settled(self.desk.book.get(key), record, begun):
                self._take_in_apart(key, record)
        if whole:
            yield from self._gone(present, begun, rests=True)
            self.desk.seen = begun
            self.desk.faults.keep(self.desk.book.entries)
            self._pending.forget_stored()

    def _has_come(self, record: JobRecord, begun: float) -> None:
        """It has ended; where Slurm was not read before that, it was no trial, and its watts are free."""
        ended = self.desk.book.of_job(record.job_id)
        if ended is not None:
            self.desk.book.watch.ended_with(ended, record.result)
        found = find_record(record.admin_comment) if self.desk.book.rumours else None
        if found is None:
            return
        self.desk.book.rumours.came(found.token)
        entry = self.desk.book.get(found.token)
        if entry is not None and not entry.seen and entry.touched <= begun:
            self.desk.book.drop(entry)

    def _settled(self, known: Entry | None, record: JobRecord, begun: float) -> bool:
        """Whether nothing new can be learnt of `known`: touched since reading began, or exactly as it was.

        The pending rest of an array is looked at each time: how much of it may run depends on its started tasks. So
        is a parked job whose time has come or whose forerunners have ended, an admitted one with a forerunner that has
        not, and one whose release may have been lost.
        """
        same = known or self.desk.book.of_job(record.job_id)
        if same is not None and same.touched > begun:
            return True
        if known is None:
            return False
        if known.dirty or known.stale or known.state is State.BINDING or record.array_tasks:
            return False
        if known.record is not record and known.record != record:
            return False
        waits = bool(record.dependency) and self._pending.unmet(record.dependency) != ""
        if known.state is not State.PARKED:
            return not waits or known.state is not State.ADMITTED
        if record.dependency and not waits:
            return False
        time = known.ask.request.not_before if known.ask is not None else 0
        return not time or time > self.desk.ledger.now

    def _take_in_apart(self, key: str, record: JobRecord) -> None:
        """Take in one record. One that cannot be is tried again with the next snapshot; a claim that it has stays."""
        with self.desk.faults.apart(key):
            self._take_in(key, record)
        entry = self.desk.book.get(key)
        if entry is not None and key in self.desk.faults.by_key:
            entry.stale = True

    def _take_in(self, key: str, record: JobRecord) -> None:
        known = self.desk.book.get(key)
        before = known.record if known is not None else None
        entry = self._entry(key, record)
        entry.stale = False
        if record.state not in _ON_NODES:
            self._pending.judge(entry, record, before)
        elif record.state is JobState.CONFIGURING and entry.gate != (record.job_id, record.restarts):
            self._pending.starting(entry, record)
        else:
            on_nodes(self.desk, entry, record, self.desk.world.zones_of(nodes_of(record.node_list)))

    # -- identity -----------------------------------------------------------------------------------------------

    def _same(self, record: JobRecord) -> Entry | None:
        """The entry that a record like this one has been taken into, pending rests of arrays apart."""
        known = self.desk.book.of_job(record.job_id)
        if known is None or record.array_tasks:
            return None
        # The reader gives the very same record while nothing of it changes; to compare two takes far longer.
        return known if known.record is record or known.record == record else None

    def _key(self, record: JobRecord) -> str:
        """The entry's key: the token of the admission record, and the task of an array; else the job's own id."""
        same = self._same(record)
        if same is not None:
            return same.key
        known = self.desk.book.of_job(record.job_id)
        found = find_record(record.admin_comment)
        if found is None:
            return known.key if known is not None else f"job{record.job_id}"
        if record.array_task_id is not None:
            return f"{found.token}.{record.array_task_id}"
        # The last pending task of an array keeps the record of the whole, also when it was bound as one task.
        alone = f"{found.token}.{record.array_tasks}"
        return alone if record.array_tasks and self.desk.book.get(alone) is not None else found.token

    def _entry(self, key: str, record: JobRecord) -> Entry:
        """The entry of a record, made if the book has none."""
        desk = self.desk
        entry = desk.book.get(key) or desk.book.of_job(record.job_id)
        former = None
        if entry is not None and entry.key != key:
            # The same job under another token: its pending rest was split, or it was bound anew. The last task to
            # start takes the job id of its array; what that has claimed is still to be handed over, task by task.
            if entry.key != key.rpartition(".")[0]:
                former = entry
                desk.book.drop(entry)
            entry = None
        if entry is None:
            token = key.rpartition(".")[0] if record.array_task_id is not None and "." in key else key
            parent = desk.book.get(token)
            if parent is not None and record.array_job_id is not None and record.array_task_id is not None:
                task = (record.array_job_id, record.array_task_id)
                entry = desk.book.split(parent, task, desk.now(), State.FREE)
                entry.hold = self._pending.remembered(key) or entry.hold
            else:
                entry = Entry(key, token, State.FREE, desk.now(), 0.0, record.uid, record=record)
                entry.hold = former.hold if former is not None else None
                desk.book.add(entry)
        desk.book.know(entry, record)
        return entry

    # -- gone ---------------------------------------------------------------------------------------------------

    def _gone(self, present: set[str], begun: float, *, rests: bool) -> Iterator[None]:
        """Drop what Slurm no longer has. A submission that it has never shown is given its time.

        The pending rest of an array (`rests`) goes after its tasks have taken their copies of its claim, so that
        nobody else gets hold of those watts in between.
        """
        desk = self.desk
        now = desk.now()
        # Looked up all at once, some ms for 100,000; to do it by parts would take many times as long.
        for number, key in enumerate([key for key in desk.book.entries if key not in present]):
            if number % _AT_ONCE == 0:
                yield
            entry = desk.book.get(key)
            if entry is None or entry.touched > begun:
                continue
            if rests != (entry.record is not None and entry.record.array_tasks != ""):
                continue
            ttl_s = desk.site.policy.token_ttl_s
            # By both clocks: the wall's may leap ahead.
            if entry.seen or min(now - entry.created, begun - entry.touched) >= ttl_s:
                desk.book.rumours.lose(entry.token, entry.uid, entry.rumour_w, begun)
                desk.book.drop(entry)


def _seniority(record: JobRecord) -> tuple[bool, bool, int, int]:
    """What runs first, then what is admitted and unheld, by age: whoever was promised watts first keeps them first."""
    return record.state not in _ON_NODES, record.held, record.submit_time, record.job_id
