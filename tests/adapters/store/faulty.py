"""A database that fails, refuses rows and stands still as a test wants it."""

import threading
from collections.abc import Sequence

from slurm_power.adapters.store import StoreDataError, StoreWriter
from slurm_power.core.errors import StoreError
from slurm_power.ports import Decision, Intent, StoredJob
from tests.fakes.store import MemoryStore

LONG_S = 20.0
"""Longer than anything here takes; nothing waits that long unless the test fails."""


class Faulty(MemoryStore):
    """A store that notes its calls, can be made to fail, to refuse rows, and to stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.fail: StoreError | None = None
        self.refused: set[str] = set()
        self.bug: Exception | None = None
        self.attempts = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def _enter(self, what: str) -> None:
        self.entered.set()
        assert self.go.wait(LONG_S)
        fail = self.fail
        self.attempts.release()
        if fail is not None:
            raise fail
        if self.bug is not None:
            raise self.bug
        self.calls.append(what)

    def _refuse(self, names: Sequence[str]) -> None:
        if self.refused & set(names):
            raise StoreDataError("cannot be stored")

    def save_jobs(self, jobs: Sequence[StoredJob]) -> None:
        if jobs:
            self._enter("save " + ",".join(each.token for each in jobs))
            self._refuse([each.token for each in jobs])
        super().save_jobs(jobs)

    def drop_jobs(self, tokens: Sequence[str]) -> None:
        if tokens:
            self._enter("drop " + ",".join(tokens))
        super().drop_jobs(tokens)

    def record(self, decisions: Sequence[Decision]) -> None:
        self._enter("record " + ",".join(each.job for each in decisions))
        self._refuse([each.job for each in decisions])
        super().record(decisions)

    def open_intents(self, intents: Sequence[Intent]) -> Sequence[Intent]:
        self._enter("intents " + ",".join(each.target for each in intents))
        return super().open_intents(intents)

    def set_setting(self, name: str, value: str | None) -> None:
        self._enter(f"set {name}={value}")
        super().set_setting(name, value)

    def await_attempts(self, number: int) -> None:
        for _ in range(number):
            assert self.attempts.acquire(timeout=LONG_S)


def stall(writer: StoreWriter, store: Faulty) -> None:
    """Let the thread stand still inside a first write, so that what follows queues up."""
    store.go.clear()
    store.entered.clear()
    writer.put(lambda each: each.set_setting("first", "1"))
    assert store.entered.wait(LONG_S)
