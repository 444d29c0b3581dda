"""`spower checkpointed`: a job says that its work so far is safe, and would lose no more than what comes after."""

from collections.abc import Mapping
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import UsageError
from slurm_power.core.lifecycle import State
from slurm_power.core.window import format_instant
from slurm_power.service import preempt_lines, views
from slurm_power.service.desk import Desk

_LEAST_S = 30
"""A job that says so more often is told the instant of the last time: each is a line of the audit log."""


class Checkpoints:
    """Answers `checkpointed` on the control socket."""

    def __init__(self, desk: Desk, writer: StoreWriter, masters: frozenset[int]) -> None:
        self._desk = desk
        self._writer = writer
        self._masters = masters

    async def note(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """Note it for the peer's own running job, durable before it is answered. Raises UsageError, StoreError."""
        name = str(request.get("job", ""))
        entry = views.find(self._desk, name)
        if entry is None or (peer.uid != entry.uid and peer.uid not in self._masters):
            raise UsageError(f"no job {name or '(none given)'} of yours is known")
        if entry.state is not State.RUNNING:
            raise UsageError(f"job {entry.name} does not run; a checkpoint is told of from within a running job")
        now = self._desk.now()
        at = self._desk.preempting.checkpoints.get(entry.name)
        if at is None or not 0 <= now - at < _LEAST_S:
            preempt_lines.checkpointed(self._desk, entry, peer.uid)
            at = now
        await self._writer.written()
        return {"schema": views.SCHEMA, "job": entry.name, "at": format_instant(at)}
