"""Operators' overrides: what they order by hand, within physics, and written down."""

from collections.abc import Mapping
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.lifecycle import CLAIMING
from slurm_power.core.policy import Mode
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Rule
from slurm_power.service import views
from slurm_power.service.desk import Desk


class OverrideVerbs:
    """Answers `place` on the control socket."""

    def __init__(self, desk: Desk, rounds: Rounds, masters: frozenset[int]) -> None:
        self._desk = desk
        self._rounds = rounds
        self._masters = masters

    async def place(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """A held job is bound to a zone and released, ahead of the queue. Raises UsageError, PowerError."""
        rights = await self._rounds.reservations.rights(peer.uid, master=peer.uid in self._masters)
        if not rights.administers:
            raise PowerError("only root, SlurmUser and Slurm's operators and administrators may place a job by hand")
        if self._desk.mode is not Mode.ENFORCE:
            raise UsageError(f"the mode is {self._desk.mode}: jobs are not held for power, there is nothing to place")
        zone = request.get("zone")
        if zone is not None and zone not in self._desk.site.topology.zones:
            known = ", ".join(sorted(self._desk.site.topology.zones)[:8])
            raise UsageError(f"there is no zone {zone}; there are {known}")
        name = str(request.get("job", ""))
        entry = views.find(self._desk, name)
        if entry is None:
            raise UsageError(f"no job {name or '(none given)'} is known; spower jobs lists those that are")
        await self._rounds.place(entry, zone)
        if entry.state not in CLAIMING:
            raise PowerError(f"job {entry.name} could not be placed: {entry.note}")
        cause = f"spower place{'' if zone is None else f' --zone={zone}'}"
        now, mode = self._desk.now(), self._desk.mode
        self._desk.book.decided(entry, "place", now, mode, cause=cause, rule=Rule.OVERRIDE, actor=peer.uid)
        return {"schema": views.SCHEMA, "jobs": [views.job_row(self._desk, entry)]}
