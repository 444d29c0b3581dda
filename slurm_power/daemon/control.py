"""The control socket: what the commands ask. The peer's uid, as the kernel tells it, is the identity."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Unpack

from slurm_power.adapters.lines import result_pieces
from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.adapters.users import user_of
from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.policy import Mode
from slurm_power.core.window import FOREVER, format_instant
from slurm_power.daemon.asked import wanted_lines, whole
from slurm_power.daemon.checkpoints import Checkpoints
from slurm_power.daemon.derating import DerateVerbs
from slurm_power.daemon.overriding import OverrideVerbs
from slurm_power.daemon.reserving import ReservationVerbs
from slurm_power.daemon.rounds import Rounds
from slurm_power.daemon.turns import in_steps, in_turns
from slurm_power.daemon.usage_verbs import UsageVerbs
from slurm_power.ports import LINES, Decision, Store, Viewer, Wanted
from slurm_power.service import views
from slurm_power.service.asking import Ask, interpret
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import on_floor
from slurm_power.service.later import foresee, remark_at
from slurm_power.service.measured_views import doubts_of, element_row, source_rows
from slurm_power.service.metering import RUN
from slurm_power.service.run_views import ended

_LINES, _LINES_OF_MASTERS = 2_000, 100_000
"""Lines of a report at most, and for root and SlurmUser."""
_FAULTS_SHOWN = 20
_LATE_S = 10
"""How long a question about an instant may have been on its way."""
Verb = Callable[[Peer, Mapping[str, Any]], Awaitable[dict[str, object]]]


class ControlHandler:
    """Answers `spower` and `sreservation`."""

    def __init__(
        self,
        desk: Desk,
        rounds: Rounds,
        writer: StoreWriter,
        masters: frozenset[int],
        mode_changed: Callable[[], None],
    ) -> None:
        self._mode_changed = mode_changed
        self._desk = desk
        self._rounds = rounds
        self._writer = writer
        self._masters = masters
        self._reporting = asyncio.Lock()
        self._checkpointed = Checkpoints(desk, writer, masters).note
        reserving = ReservationVerbs(desk, rounds.reservations, masters, rounds.soon)
        overriding = OverrideVerbs(desk, rounds, writer, masters)
        derating = DerateVerbs(desk, rounds.derating, rounds.reservations, masters)
        metered = self._metered = UsageVerbs(desk, rounds.usage, rounds.reservations, writer, masters)
        self._verbs: dict[str, Verb] = {
            "zones": self._zones,
            "jobs": self._jobs,
            "explain": self._explain,
            "check": self._check,
            "mode": self._mode,
            "report": self._report,
            "audit": self._audit,
            "checkpointed": self._checkpointed,
            "health": self._health,
            "place": overriding.place,
            "protect": overriding.protect,
            "derate": derating.derate,
            "telemetry": self._telemetry,
            "reservation": reserving.change,
            "reservations": reserving.show,
            "usage": metered.usage,
            "levels": metered.levels,
            "holders": metered.holders,
            "profiles": metered.profiles,
            "reconcile": self._reconcile,
        }

    async def __call__(self, peer: Peer, request: Mapping[str, Any]) -> str:
        """The line for one request. Raises UsageError, PowerError."""
        verb = self._verbs.get(str(request.get("op")))
        if verb is None:
            raise UsageError(f"unknown op {request.get('op')!r}; known: {', '.join(self._verbs)}")
        pieces = result_pieces(await verb(peer, request))
        return "".join([piece async for piece in in_turns(pieces)])

    async def _zones(self, _: Peer, __: Mapping[str, Any]) -> dict[str, object]:
        desk, counted = self._desk, await self._rounds.reader.licenses()
        desk.now()
        zones = [views.zone_row(desk, name, counted) async for name in in_turns(sorted(desk.site.topology.zones))]
        feeds = [views.feed_row(desk, name, counted) async for name in in_turns(sorted(desk.site.topology.feeds))]
        return views.zone_table(desk, zones, feeds)

    async def _telemetry(self, _: Peer, __: Mapping[str, Any]) -> dict[str, object]:
        desk = self._desk
        desk.now()
        doubts = await in_steps(doubts_of(desk))
        elements = sorted({one for one in desk.measured.draws.elements() if on_floor(desk.site.topology, one)})
        rows = [element_row(desk, one, doubts.get(one, ())) async for one in in_turns(elements)]
        return {"schema": views.SCHEMA, "sources": source_rows(desk), "elements": rows}

    def _limited_to(self, peer: Peer) -> int | None:
        """The uid of whose jobs alone the peer may learn; None: of all."""
        return peer.uid if self._desk.private_jobs and peer.uid not in self._masters else None

    async def _jobs(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        uid, viewer = request.get("uid"), self._limited_to(peer)
        entries = views.job_list(self._desk, uid if isinstance(uid, int) else viewer)
        if viewer is not None:
            entries = [entry for entry in entries if entry.uid == viewer]
        return views.job_table([views.job_row(self._desk, entry) async for entry in in_turns(entries)])

    async def _explain(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        name = str(request.get("job", ""))
        found = views.explain(self._desk, name, self._limited_to(peer)) or await self._ended(peer, name)
        if found is None:
            raise UsageError(f"no job {name or '(none given)'} is known; spower jobs lists those that are")
        return found

    async def _ended(self, peer: Peer, name: str) -> dict[str, object] | None:
        """By the audit log, what became of a job that Slurm shows no more."""
        if not name:
            return None
        limited = self._limited_to(peer)
        viewer = None if limited is None else Viewer(peer.uid, (), private=True)
        lines, _ = await self._lines(job=name, actions=[RUN], viewer=viewer, limit=LINES)
        return ended(name, [line for line in lines if line.job == name], views.SCHEMA)

    async def _check(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        job = request.get("job")
        if not isinstance(job, dict):
            raise UsageError('a check describes the job: {"op":"check","job":{"comment":"power:est=5kW"}}')
        asker = {"user_id": peer.uid, "user_name": user_of(peer.uid)}
        described = {**asker, **job} if peer.uid in self._masters else {**job, **asker}
        facts, learnt = await self._metered.described(peer, described)
        desk, viewer, at = self._desk, self._limited_to(peer), request.get("at")
        now = desk.now()
        if at is not None and (not isinstance(at, int) or isinstance(at, bool) or not now - _LATE_S <= at <= FOREVER):
            raise UsageError(f'"at" is an instant from now on, in seconds since 1970: {now + 3_600}')
        if at is None or at <= now:
            return views.check(desk, facts, viewer, learnt)
        asked = interpret(facts, desk.world, "check", at, now, learnt)
        if not isinstance(asked, Ask):
            return views.checked(desk, asked, None, viewer=viewer, at=at)
        async with self._reporting:
            verdict = await asyncio.to_thread(foresee(desk, asked, at).verdict)
        return views.checked(desk, verdict, asked, remark_at(asked, now, at), viewer=viewer, at=at)

    async def _mode(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        wanted = request.get("mode")
        if wanted is None:
            return self._mode_now()
        if peer.uid not in self._masters:
            raise PowerError("only root and SlurmUser may change the mode")
        if wanted not in set(Mode):
            raise UsageError(f"no mode {wanted!r}; there are {', '.join(Mode)}")
        await self._rounds.mode.set(Mode(wanted), peer.uid)
        self._rounds.soon()
        self._mode_changed()
        return self._mode_now(0 if wanted == Mode.ENFORCE else await self._rounds.let_go())

    def _mode_now(self, released: int = 0) -> dict[str, object]:
        choice = self._rounds.mode.choice
        return {
            "schema": views.SCHEMA,
            "mode": str(self._desk.mode),
            "released": released,
            "file_mode": str(self._desk.site.policy.mode),
            "source": "file" if choice is None else "command",
            "set_uid": choice.uid if choice is not None else None,
            "set_at": format_instant(choice.at) if choice is not None else None,
        }

    async def _report(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        most = _LINES_OF_MASTERS if peer.uid in self._masters else _LINES
        since = whole(request, "since", 0, (0, FOREVER))
        limit = min(whole(request, "limit", _LINES, (1, _LINES_OF_MASTERS)), most)
        viewer, would = self._limited_to(peer), request.get("would", False)
        if not isinstance(would, bool):
            raise UsageError('"would" is true or false')

        found, names = await self._lines(uid=viewer, since=since, limit=limit, of_jobs=True)
        tally = views.Tally(viewer, names)
        return tally.report([tally.row(line) async for line in in_turns(views.reported(found, would=would))])

    async def _audit(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        master, private = peer.uid in self._masters, self._desk.private_jobs
        await self._rounds.reservations.privileges()
        accounts = tuple(sorted(self._rounds.reservations.accounts_of(peer.uid)))
        viewer = None if master else Viewer(peer.uid, accounts, private)
        most = _LINES_OF_MASTERS if master else _LINES
        wanted = wanted_lines(request, viewer, LINES, most)
        if "job" in wanted:
            wanted["tokens"] = views.tokens_of(self._desk, wanted["job"])
        found, names = await self._lines(**wanted)
        limited = self._limited_to(peer) is not None
        rows = [views.audit_row(line, names, private=limited) async for line in in_turns(found)]
        return {"schema": views.SCHEMA, "lines": rows}

    async def _lines(self, **wanted: Unpack[Wanted]) -> tuple[Sequence[Decision], Mapping[str, str]]:
        """Lines of the audit log, and how the jobs are called by now that stand in them by their tokens."""

        def read(store: Store) -> tuple[Sequence[Decision], list[str], Mapping[str, str]]:
            found = store.decisions(**wanted)
            tokens = views.nameless(found)
            return found, tokens, store.names(tokens)

        # Not in the writer's thread, where intents would wait for it; and one at a time, for threads are few.
        async with self._reporting:
            await self._writer.written()
            found, tokens, logged = await asyncio.to_thread(self._writer.read, read)
        return found, views.names(self._desk, tokens, logged)

    async def _reconcile(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        if peer.uid not in self._masters:
            raise PowerError("only root and SlurmUser may reconcile")
        dry_run = request.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise UsageError('"dry_run" is true or false')
        return await self._rounds.reconcile(dry_run=dry_run)

    async def _health(self, peer: Peer, __: Mapping[str, Any]) -> dict[str, object]:
        health, store = self._rounds.health, self._writer.health()
        faulty = list(self._desk.faults.by_key.items()) if self._limited_to(peer) is None else []
        return {
            "schema": views.SCHEMA,
            "mode": str(self._desk.mode),
            "rounds": health.rounds,
            "failures": health.failures,
            "error": health.error,
            "last_good": format_instant(health.last_good) if health.last_good else None,
            "jobs": health.jobs,
            "reader": health.reader(),
            "claims": len(self._desk.ledger.claims),
            "writes": self._rounds.hand.writes,
            "miscounts": dict(self._rounds.reader.miscounts),
            "faults": self._desk.faults.count,
            "faulty_jobs": dict(faulty[:_FAULTS_SHOWN]),
            "store_waiting": store.waiting,
            "store_error": store.error,
            "store_lost": store.given_up,
        }
