"""The book's journal: what is to become durable goes to the store's writer thread."""

import logging

from slurm_power.adapters.store import StoreWriter
from slurm_power.ports import Decision, StoredJob

_log = logging.getLogger("slurm_power.decision")
_ROUTINE = frozenset({"admit", "launch", "end"})
"""Decisions that every job sees; they are in the audit log, and in this one only when asked for."""


class StoreJournal:
    """`service.book.Journal` over a StoreWriter; decisions are logged too."""

    def __init__(self, writer: StoreWriter) -> None:
        self._writer = writer

    def save(self, job: StoredJob) -> None:
        """Keep what is promised about a job."""
        self._writer.save_jobs([job])

    def drop(self, token: str) -> None:
        """Forget a job."""
        self._writer.drop_jobs([token])

    def record(self, decision: Decision) -> None:
        """Append a line to the audit log."""
        self._writer.record([decision])
        _log.log(
            logging.DEBUG if decision.action in _ROUTINE else logging.INFO,
            "%s %s",
            decision.action,
            decision.job,
            extra={"token": decision.token, "uid": decision.uid, "zones": decision.zones, "reasons": decision.reasons},
        )
