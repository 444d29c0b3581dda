"""The questions about usage, service levels, profiles and who holds watts, on the control socket."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import UsageError
from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.reservation import Reservation
from slurm_power.core.showback import Total
from slurm_power.core.window import FOREVER
from slurm_power.daemon.asked import whole
from slurm_power.daemon.metering import GAP, UsageKeeper
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.turns import all_found, in_steps, in_turns
from slurm_power.ports import Decision, PrivilegeRecord, Store, Viewer
from slurm_power.service import usage_views as views
from slurm_power.service.desk import Desk
from slurm_power.service.facts import JobFacts, from_hook
from slurm_power.service.holders import holder_rows, zone_rows
from slurm_power.service.metering import MISSED
from slurm_power.service.profile_views import may_see, profile_row
from slurm_power.service.reservation_rows import from_row
from slurm_power.service.rights import Rights

_PATIENCE_S = 2.0
_MOST_LINES = 100_000
_USUAL_S = 30 * 86_400
"""How far back a question about usage looks that does not say."""


class UsageVerbs:
    """Answers `usage`, `levels`, `holders` and `profiles`."""

    def __init__(
        self, desk: Desk, keeper: UsageKeeper, reservations: Reservations, writer: StoreWriter, masters: frozenset[int]
    ) -> None:
        self._desk = desk
        self._keeper = keeper
        self._reservations = reservations
        self._writer = writer
        self._masters = masters
        self._one_at_a_time = asyncio.Lock()
        self._asking: asyncio.Future[Sequence[PrivilegeRecord]] | None = None

    async def usage(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """Reserved and used energy, cost and score by account, user, reservation or tier, and each zone's watts."""
        by = request.get("by", views.By.ACCOUNT)
        if by not in set(views.By):
            raise UsageError(f'"by" is one of {", ".join(views.By)}')
        asked = await self._asked(peer, request, views.By(by))
        totals, known, gaps = await self._read(asked, GAP, None)
        self._desk.now()
        return {
            **views.usage_table(self._desk, asked, totals, known, gaps),
            "zones": await in_steps(zone_rows(self._desk)),
        }

    async def levels(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """Runs by tier, how many missed their service level, and why."""
        asked = await self._asked(peer, request, views.By.TIER)
        rights = asked.rights
        viewer = Viewer(rights.uid, tuple(sorted(rights.accounts | rights.coordinates)), asked.private)
        totals, _, misses = await self._read(asked, MISSED, None if rights.administers else viewer)
        return views.level_table(self._desk.site, asked, totals, misses)

    async def holders(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """Who owns watts in each zone, until when, and what becomes of them if nobody uses them."""
        zone, desk = request.get("zone"), self._desk
        if zone is not None and zone not in desk.site.topology.zones:
            raise UsageError(f"there is no zone {zone!r}; spower zones lists them")
        rights = await self._rights(peer)
        viewer = peer.uid if desk.private_jobs and not rights.administers else None
        desk.now()
        rows = await all_found(holder_rows(desk, rights.may_see, viewer, zone))
        zones = [row for row in await in_steps(zone_rows(desk)) if zone in (None, row["zone"])]
        return {"schema": views.SCHEMA, "zones": zones, "holders": rows}

    async def profiles(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """What was learnt of the draw of jobs, by account, name, partition and GPUs a node."""
        wanted = {name: request.get(name) for name in ("account", "name")}
        if any(not isinstance(value, str | None) for value in wanted.values()):
            raise UsageError('"account" and "name" are texts')
        rights, private = await self._rights(peer), self._desk.private_jobs
        rows = []
        async for key, learnt in in_turns(sorted(self._desk.metering.profiles.learnt.items(), key=_by_key)):
            asked = wanted["account"] in (None, key.account) and wanted["name"] in (None, key.name)
            if asked and may_see(key.account, rights, private=private):
                rows.append(profile_row(key, learnt))
        return {"schema": views.SCHEMA, "profiles": rows}

    async def described(
        self, peer: Peer, job: Mapping[str, object]
    ) -> tuple[JobFacts, Mapping[ProfileKey, Learnt] | None]:
        """A job of which somebody asks what would become of it, and the profiles that he may know of; None: all.

        Where he names no account and has just one, it is that, as in sbatch. A slow accounting database is not waited
        for: then it is by what was read of it last.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._reservations.privileges())
        await asyncio.wait([self._asking], timeout=_PATIENCE_S)
        accounts = self._reservations.accounts_of(peer.uid)
        if len(accounts) == 1 and job.get("user_id") == peer.uid:
            job = {"default_account": next(iter(accounts)), **job}
        facts = from_hook(job)
        sees = not self._desk.private_jobs or peer.uid in self._masters or facts.account in accounts
        return facts, None if sees else {}

    async def _rights(self, peer: Peer) -> Rights:
        return await self._reservations.rights(peer.uid, master=peer.uid in self._masters)

    async def _asked(self, peer: Peer, request: Mapping[str, Any], by: views.By) -> views.Asked:
        """The question, once all that has come to be is on its way to the database."""
        rights, now = await self._rights(peer), self._desk.now()
        since = whole(request, "since", max(now - _USUAL_S, 0), (0, FOREVER))
        until = min(whole(request, "until", FOREVER, (0, FOREVER)), now + 1)  # this instant too
        if since >= until:
            raise UsageError('the period is empty: "since" is before "until", and not after now')
        self._keeper.flush()
        return views.Asked(
            period=views.whole_hours(since, until),
            by=by,
            rights=rights,
            private=self._desk.private_jobs,
            tariffs=self._desk.site.tariffs,
            months=tuple(self._keeper.months),
        )

    async def _read(
        self, asked: views.Asked, action: str, viewer: Viewer | None
    ) -> tuple[Mapping[str, Total], Mapping[str, Reservation], Sequence[Decision]]:
        """Totals, reservations by id, and lines of an action; in a thread of its own, one question at a time."""

        def read(store: Store) -> tuple[Mapping[str, Total], Mapping[str, Reservation], Sequence[Decision]]:
            known = {row.id: from_row(row) for row in store.reservations(live_only=False)}
            period = asked.period
            lines = store.decisions(
                actions=[action], since=period.start, until=period.end, viewer=viewer, limit=_MOST_LINES
            )
            return views.gather(store, asked, known), known, lines

        async with self._one_at_a_time:
            await self._writer.written()
            return await asyncio.to_thread(self._writer.read, read)


def _by_key(item: tuple[ProfileKey, Learnt]) -> ProfileKey:
    return item[0]
