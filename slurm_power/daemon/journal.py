"""The book's journal: what is to become durable goes to the store's writer thread."""

import logging
from collections.abc import Sequence

from slurm_power.adapters.store import StoreWriter
from slurm_power.ports import Decision, HoldKind, Intent, Store, StoredJob

_log = logging.getLogger("slurm_power.decision")
_ROUTINE = frozenset({"admit", "launch", "end", "run"})
"""Decisions that every job sees; they are in the audit log, and in this one only when asked for."""
_RELEASING = frozenset({"bind", "free"})
"""Actions that end in a release."""


def remembered(store: Store) -> dict[str, HoldKind]:
    """Who held each job when the daemon was last there, by the key of its claim.

    Who was being released, bound or let go, was held by us: some of the commands may have been carried out, and Slurm's
    record of the job does not tell its hold from its user's then.
    """
    holds = {
        str(key): HoldKind.POWER
        for intent in store.pending_intents()
        if intent.action in _RELEASING
        for key in _keys(intent)
    }
    return {**holds, **{job.token: job.hold for job in store.jobs() if job.hold is not None}}


def _keys(intent: Intent) -> Sequence[object]:
    keys = intent.detail.get("keys")
    return keys if isinstance(keys, list) else ()


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
            extra={
                "token": decision.token,
                "uid": decision.uid,
                "zones": decision.zones,
                "reasons": decision.reasons,
                "reservation": decision.reservation,
                "actor": decision.actor,
                "cause": decision.cause,
                "rule": decision.rule,
            },
        )
