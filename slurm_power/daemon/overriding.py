"""Operators' overrides: what they order by hand, within physics, and written down."""

from collections.abc import Mapping
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.lifecycle import CLAIMING
from slurm_power.core.policy import Mode
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Rule
from slurm_power.service import preempt_lines, views
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk


class OverrideVerbs:
    """Answers `place` and `protect` on the control socket."""

    def __init__(self, desk: Desk, rounds: Rounds, writer: StoreWriter, masters: frozenset[int]) -> None:
        self._desk = desk
        self._rounds = rounds
        self._writer = writer
        self._masters = masters

    async def place(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """A held job is bound to a zone and released, ahead of the queue. Raises UsageError, PowerError."""
        await self._check(peer, "place")
        if self._desk.mode is not Mode.ENFORCE:
            raise UsageError(f"the mode is {self._desk.mode}: jobs are not held for power, there is nothing to place")
        zone = request.get("zone")
        if zone is not None and zone not in self._desk.site.topology.zones:
            known = ", ".join(sorted(self._desk.site.topology.zones)[:8])
            raise UsageError(f"there is no zone {zone}; there are {known}")
        entry = self._named(request)
        await self._rounds.place(entry, zone)
        if entry.state not in CLAIMING:
            raise PowerError(f"job {entry.name} could not be placed: {entry.note}")
        cause = f"spower place{'' if zone is None else f' --zone={zone}'}"
        now, mode = self._desk.now(), self._desk.mode
        self._desk.book.decided(entry, "place", now, mode, cause=cause, rule=Rule.OVERRIDE, actor=peer.uid)
        return {"schema": views.SCHEMA, "jobs": [views.job_row(self._desk, entry)]}

    async def protect(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """A job gives way to no other from here on, or with `off` as before; durable before it is answered.

        Raises UsageError, PowerError, StoreError.
        """
        await self._check(peer, "protect")
        entry, off = self._named(request), request.get("off", False)
        if not isinstance(off, bool):
            raise UsageError('"off" is true or false')
        desk = self._desk
        (desk.preempting.protected.discard if off else desk.preempting.protected.add)(entry.token)
        action = preempt_lines.UNPROTECT if off else preempt_lines.PROTECT
        cause = f"spower protect{' --off' if off else ''}"
        desk.book.decided(entry, action, desk.now(), desk.mode, cause=cause, rule=Rule.OVERRIDE, actor=peer.uid)
        await self._writer.written()
        return {"schema": views.SCHEMA, "jobs": [views.job_row(desk, entry)]}

    async def _check(self, peer: Peer, what: str) -> None:
        rights = await self._rounds.reservations.rights(peer.uid, master=peer.uid in self._masters)
        if not rights.administers:
            raise PowerError(f"only root, SlurmUser and Slurm's operators and administrators may {what} a job by hand")

    def _named(self, request: Mapping[str, Any]) -> Entry:
        name = str(request.get("job", ""))
        entry = views.find(self._desk, name)
        if entry is None:
            raise UsageError(f"no job {name or '(none given)'} is known; spower jobs lists those that are")
        return entry
