"""A thread between the daemon and its database: who decides never waits for a disk.

What is put is kept in order. Saves of jobs and audit lines between two other operations are folded into one batch: of
several saves of one job only the last is written. Audit lines alone are gathered for a moment first, since a commit
costs more than the decision that it keeps; who holds a job, and whatever is put otherwise, waits for nothing but what
was put before it. A database that fails is tried
again and again, at growing intervals; meanwhile at most `limit` rows wait, and past that the oldest are given up and
counted (Slurm's own admission records can rebuild the claims).
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slurm_power.adapters.store.errors import StoreDataError
from slurm_power.core.errors import StoreError
from slurm_power.ports import Decision, Store, StoredJob

_log = logging.getLogger("slurm_power.store")

T = TypeVar("T")
_MAX_ROWS = 500
"""Rows in one transaction: small enough that a flush or an intent behind it waits for milliseconds only."""


@dataclass(frozen=True, slots=True)
class WriterHealth:
    """How the writer is doing."""

    waiting: int
    """Rows and operations not yet written."""
    failures: int
    """Attempts that failed since the start."""
    given_up: int
    """Rows and operations that were never written: refused by the database as data, or too many waiting."""
    error: str
    """Why the last attempt failed; empty if it succeeded."""


@dataclass(slots=True)
class _Batch:
    """Rows that may be written together."""

    first: int
    """The number of the oldest put in it."""
    jobs: dict[str, StoredJob | None] = field(default_factory=dict)
    """By token; None for one to be dropped."""
    lines: deque[Decision] = field(default_factory=deque)

    def __len__(self) -> int:
        return len(self.jobs) + len(self.lines)


@dataclass(slots=True)
class _Call:
    """Any other operation, and who waits for it."""

    first: int
    operation: Callable[[Store], Any]
    future: "Future[Any] | None" = None

    def __len__(self) -> int:
        return 1


class StoreWriter:
    """Writes to `store` from a thread of its own, which starts at once. The store stays the caller's to close.

    `limit`: rows and operations that may wait. `retry_s`: pause after a failure, doubled up to `retry_max_s`.
    `gather_s`: how long audit lines are gathered for one commit; a crash of the machine or of the daemon loses so much.
    """

    def __init__(
        self,
        store: Store,
        *,
        limit: int = 100_000,
        retry_s: float = 0.25,
        retry_max_s: float = 15.0,
        gather_s: float = 0.25,
    ) -> None:
        self._store = store
        self._limit = limit
        self._gather_s = gather_s
        self._retry_s = retry_s
        self._retry_max_s = retry_max_s
        self._changed = threading.Condition()
        self._queue: deque[_Batch | _Call] = deque()
        self._waiting = 0
        self._accepted = 0
        self._flushing = 0
        self._current: _Batch | _Call | None = None
        self._failures = 0
        self._given_up = 0
        self._error = ""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def save_jobs(self, jobs: Sequence[StoredJob]) -> None:
        """Save these jobs soon. Never blocks on the database."""
        self._put_jobs({job.token: job for job in jobs})

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        """Forget these jobs soon. Never blocks on the database."""
        self._put_jobs(dict.fromkeys(tokens))

    def record(self, decisions: Sequence[Decision]) -> None:
        """Append to the audit log soon. Never blocks on the database.

        A line may be written twice if the connection to a server breaks during a commit, but is never lost by that.
        """
        with self._changed:
            if self._admit(len(decisions)):
                batch = self._open_batch()
                batch.lines.extend(decisions)
                self._waiting += len(decisions)
                self._trim()

    def put(self, operation: Callable[[Store], object]) -> None:
        """Run an operation on the store soon, after all that was put before; tried again while the database fails.

        Never blocks on the database. The operation runs in the writer's thread.
        """
        self._put_call(operation, None)

    def submit_and_wait(self, operation: Callable[[Store], T]) -> "Future[T]":
        """Run an operation after all that was put before; the future has its result once that is durable.

        It is tried once: while the database fails, the future fails with StoreError, and what it was to precede must
        not be done. From asyncio: `durable`.
        """
        future: Future[T] = Future()
        self._put_call(operation, future)
        return future

    async def durable(self, operation: Callable[[Store], T]) -> T:
        """`submit_and_wait`, awaited. Raises StoreError."""
        return await asyncio.wrap_future(self.submit_and_wait(operation))

    async def written(self) -> None:
        """All that was put before is durable, or was given up. Raises StoreError while the database fails."""
        await self.durable(lambda _: None)

    def read(self, operation: Callable[[Store], T]) -> T:
        """Read in the caller's own thread, beside the writer's: nothing that is to be written waits for it.

        Raises what the store raises; blocks as long as the database does.
        """
        return operation(self._store)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put before is written (or given up); False if that took longer than `timeout_s`."""
        with self._changed:
            target = self._accepted
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._oldest() > target, timeout_s)
            finally:
                self._flushing -= 1

    def health(self) -> WriterHealth:
        """How the writer is doing."""
        with self._changed:
            return WriterHealth(self._waiting, self._failures, self._given_up, self._error)

    def close(self, timeout_s: float) -> bool:
        """Write what is waiting and end the thread; False if not all could be written within `timeout_s`.

        Futures still waiting then fail with StoreError.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            left = self._waiting
            self._fail_futures(StoreError("the state database's writer was closed before this was written"))
            self._queue.clear()
        if left:
            _log.error("state database: %d changes were lost at the end: %s", left, self._error or "too slow")
        return not left

    def _put_jobs(self, jobs: dict[str, StoredJob | None]) -> None:
        with self._changed:
            if self._admit(len(jobs)):
                batch = self._open_batch()
                before = len(batch)
                batch.jobs.update(jobs)
                self._waiting += len(batch) - before
                self._changed.notify_all()
                self._trim()

    def _put_call(self, operation: Callable[[Store], Any], future: "Future[Any] | None") -> None:
        with self._changed:
            if self._closing or self._waiting >= self._limit:
                self._given_up += 1
                if future is not None:
                    why = self._error or "too many changes are waiting"
                    future.set_exception(StoreError(f"the state database is behind: {why}"))
                return
            self._accepted += 1
            self._waiting += 1
            self._queue.append(_Call(self._accepted, operation, future))
            self._changed.notify_all()

    def _admit(self, rows: int) -> bool:
        """Count one more put; after the end nothing is taken any more."""
        if self._closing:
            self._given_up += rows
            return False
        self._accepted += 1
        return True

    def _open_batch(self) -> _Batch:
        """The batch at the queue's end, which the thread has not taken yet. Only a new one wakes the thread."""
        tail = self._queue[-1] if self._queue else None
        if not isinstance(tail, _Batch):
            tail = _Batch(self._accepted)
            self._queue.append(tail)
            self._changed.notify_all()
        return tail

    def _trim(self) -> None:
        """Give up the oldest rows past the limit: audit lines first, then jobs. Calls are refused when put."""
        if self._waiting <= self._limit:
            return
        for oldest_first in (_pop_line, _pop_job):
            for batch in self._queue:
                while self._waiting > self._limit and isinstance(batch, _Batch) and oldest_first(batch):
                    self._waiting -= 1
                    self._given_up += 1

    def _oldest(self) -> float:
        """The number of the oldest put that is not done with; beyond all numbers if there is none."""
        pending = self._current or (self._queue[0] if self._queue else None)
        return pending.first if pending is not None else float("inf")

    def _run(self) -> None:
        """The thread: take the oldest, write it, and again; while the database fails, wait longer each time."""
        pause = self._retry_s
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                self._changed.wait_for(self._wanted_now, self._gather_s)
                self._current = self._queue.popleft()
            error = self._write(self._current)
            with self._changed:
                if error is None:
                    self._waiting -= len(self._current)
                    pause = self._retry_s
                else:
                    self._put_back(self._current)
                    self._fail_futures(error)
                self._current = None
                self._changed.notify_all()
                if error is not None:
                    if self._closing:
                        return
                    self._changed.wait_for(lambda: self._closing, pause)
                    pause = min(2 * pause, self._retry_max_s)

    def _wanted_now(self) -> bool:
        """Whether there is more in the queue than audit lines, or somebody waits for those."""
        head = self._queue[0]
        return self._closing or self._flushing > 0 or len(self._queue) > 1 or isinstance(head, _Call) or bool(head.jobs)

    def _write(self, item: _Batch | _Call) -> StoreError | None:
        """Write one item; returns the error if it has to be tried again, and then `item` holds what is left of it."""
        try:
            if isinstance(item, _Call):
                self._run_call(item)
            else:
                self._write_batch(item)
        except StoreError as error:
            self._note_failure(error)
            return error
        return None

    def _run_call(self, call: _Call) -> None:
        future = call.future
        if future is not None and not future.set_running_or_notify_cancel():
            return
        try:
            result = call.operation(self._store)
        except Exception as error:  # whatever an operation raises belongs to who put it, and must not end the thread
            if future is not None:
                if _transient(error):
                    self._note_failure(error)
                future.set_exception(error)
            elif _transient(error):
                raise
            else:
                self._note_given_up(error)
        else:
            self._note_success()
            if future is not None:
                future.set_result(result)

    def _write_batch(self, batch: _Batch) -> None:
        """Piece by piece; what is written is taken out, so that a later try begins behind it."""

        def save(rows: Sequence[tuple[str, StoredJob | None]]) -> None:
            self._store.save_jobs([job for _, job in rows if job is not None])
            self._store.drop_jobs([token for token, job in rows if job is None])

        def forget_jobs(rows: Sequence[tuple[str, StoredJob | None]]) -> None:
            for token, _ in rows:
                del batch.jobs[token]

        def forget_lines(rows: Sequence[Decision]) -> None:
            for _ in rows:
                batch.lines.popleft()

        self._write_rows(list(batch.jobs.items()), save, forget_jobs)
        self._write_rows(list(batch.lines), self._store.record, forget_lines)

    def _write_rows(
        self, rows: Sequence[T], write: Callable[[Sequence[T]], None], forget: Callable[[Sequence[T]], None]
    ) -> None:
        """In pieces, halved where one holds a row that can never be stored, until that row stands alone and is left."""
        size = _MAX_ROWS
        while rows:
            piece = rows[:size]
            try:
                write(piece)
            except Exception as error:  # also a fault of ours in one row must not keep the others from the disk
                if _transient(error):
                    raise
                if len(piece) > 1:
                    size = len(piece) // 2
                    continue
                self._note_given_up(error)
            else:
                self._note_success()
            forget(piece)
            with self._changed:
                self._waiting -= len(piece)
            rows = rows[len(piece) :]
            size = min(2 * size, _MAX_ROWS)

    def _put_back(self, item: _Batch | _Call) -> None:
        """To the front again, folded into what came after it where that is a batch too."""
        tail = self._queue[0] if self._queue else None
        if isinstance(item, _Batch) and isinstance(tail, _Batch):
            both = len(item) + len(tail)
            tail.jobs = item.jobs | tail.jobs
            tail.lines = item.lines + tail.lines
            self._waiting -= both - len(tail)
        else:
            self._queue.appendleft(item)
        self._trim()

    def _fail_futures(self, error: StoreError) -> None:
        """Who waits for durability hears at once that there is none."""
        for item in [item for item in self._queue if isinstance(item, _Call) and item.future is not None]:
            if item.future is not None and item.future.set_running_or_notify_cancel():
                item.future.set_exception(error)
            self._queue.remove(item)
            self._waiting -= 1

    def _note_success(self) -> None:
        with self._changed:
            recovered, self._error = self._error, ""
        if recovered:
            _log.info("state database: writing again")

    def _note_failure(self, error: Exception) -> None:
        with self._changed:
            self._failures += 1
            before, self._error = self._error, str(error)
        if before != str(error):
            _log.error("state database: cannot write, will try again: %s", error)

    def _note_given_up(self, error: Exception) -> None:
        with self._changed:
            self._given_up += 1
        _log.error("state database: a change can never be stored and is given up: %s", error)


def _transient(error: Exception) -> bool:
    """Whether the database is at fault, and not the data or the code: then another try makes sense."""
    return isinstance(error, StoreError) and not isinstance(error, StoreDataError)


def _pop_line(batch: _Batch) -> bool:
    """Give up the oldest audit line; False if there is none."""
    if batch.lines:
        batch.lines.popleft()
        return True
    return False


def _pop_job(batch: _Batch) -> bool:
    """Give up the oldest job; False if there is none."""
    if batch.jobs:
        del batch.jobs[next(iter(batch.jobs))]
        return True
    return False
