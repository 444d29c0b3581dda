"""Derates by hand: asked for on the control socket, durable before they hold, and gone when their time has passed."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.derate import BREAKER, HEAT, WHOLE, Derate
from slurm_power.core.errors import PowerError, StoreError, UsageError
from slurm_power.core.units import format_watts, parse_fraction
from slurm_power.core.window import FOREVER, Window, format_instant
from slurm_power.daemon.asked import name_in, whole
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.turns import in_steps
from slurm_power.ports import Decision, Rule, Store
from slurm_power.service import views
from slurm_power.service.derates import derate_rows
from slurm_power.service.desk import Desk
from slurm_power.service.hit import hit_rows

_SETTING = "derates"
_MOST = 1_000
_LONGEST_REASON = 200
_SURE_S = 60
"""So long a derate's time has to have passed before it is forgotten; it holds no longer meanwhile."""
_CLEARED = ("", HEAT, BREAKER)
"""The sources of derates that can be cleared by hand."""


class Derating:
    """Keeps the desk's derates in step with the database and with time."""

    def __init__(self, desk: Desk, writer: StoreWriter) -> None:
        self._desk = desk
        self._writer = writer
        self._turn = asyncio.Lock()
        self._passed: dict[str, float] = {}
        """Derate whose time has passed → monotonic time since when."""

    def load(self, store: Store) -> None:
        """At a start, before anything is admitted. Raises StoreError, also for what no version of ours has written."""
        text = store.setting(_SETTING)
        if text is None:
            return
        try:
            self._desk.derates.replace(_from_json(one) for one in json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"the derates in the database cannot be read: {error!r}") from None
        self._desk.derates.not_later_than(self._desk.now())
        self._desk.follow_derates()

    def step(self) -> None:
        """Part of a round: limits follow time, and what is over is forgotten. Never blocks."""
        desk = self._desk
        over = self._over(desk.now())
        if over and not self._turn.locked():  # else in the next round
            left = [one for one in desk.derates if one not in over]
            desk.derates.replace(left)
            self._writer.put(lambda store: store.set_setting(_SETTING, _to_text(left)))
            for one in over:
                self._note("derate-ended", one, "its time has passed", None)
        desk.follow_derates()

    def _over(self, now: int) -> list[Derate]:
        """Those whose time has passed, and has stayed so: a clock that is ahead for a moment ends none for good."""
        moment, passed = self._desk.clock.monotonic(), self._desk.derates.over(now)
        self._passed = {one.id: self._passed.get(one.id, moment) for one in passed}
        return [one for one in passed if moment - self._passed[one.id] >= _SURE_S]

    async def add(self, one: Derate) -> None:
        """One more, durably first. Raises StoreError, and PowerError where there are too many."""
        async with self._turn:
            known = list(self._desk.derates)
            if len(known) >= _MOST:
                raise PowerError(f"there are {len(known)} derates already; clear some: spower derate list")
            await self._change([*known, one])
            self._noted("derate", one, one.uid)

    async def clear(self, element: str, uid: int) -> list[Derate]:
        """All of an element's end, durably first, but those of the facility's signals; what they were.

        Those that follow a sensor hold again once that says so. Raises StoreError.
        """
        async with self._turn:
            gone = [one for one in self._desk.derates if one.element == element and one.source in _CLEARED]
            await self._change([one for one in self._desk.derates if one not in gone])
            for one in gone:
                self._noted("derate-cleared", one, uid)
            return gone

    async def take(self, source: str, derates: Sequence[Derate]) -> None:
        """These are all that a source of the facility's asks for, durably first. Raises StoreError."""
        async with self._turn:
            before = {one.id: one for one in self._desk.derates if one.source == source}
            after = {one.id: before.get(one.id, one) for one in derates}
            if before == after:
                return
            await self._change([*(one for one in self._desk.derates if one.source != source), *after.values()])
            for name in before.keys() - after.keys():
                self._noted("derate-cleared", before[name], None)
            for name in after.keys() - before.keys():
                self._noted("derate", after[name], None)

    async def _change(self, derates: Sequence[Derate]) -> None:
        await self._writer.durable(lambda store: store.set_setting(_SETTING, _to_text(derates)))
        self._desk.derates.replace(derates)
        self._desk.follow_derates()

    def _note(self, action: str, one: Derate, cause: str, actor: int | None) -> None:
        """A line of the audit log."""
        desk = self._desk
        declared_w = desk.declared.topology.declared_w(one.element)
        numbers = {} if declared_w is None else {"limit_w": one.allowed_w(declared_w), "declared_w": declared_w}
        desk.journal.record(
            Decision(
                at=desk.ledger.now,
                uid=actor or 0,
                action=action,
                mode=desk.mode,
                zones=(one.element,),
                actor=actor,
                cause=cause,
                rule=Rule.DERATE,
                numbers=numbers,
            )
        )

    def _noted(self, action: str, one: Derate, actor: int | None) -> None:
        """What somebody has ordered, or the facility asked for."""
        start, end = format_instant(one.window.start), format_instant(one.window.end)
        self._note(action, one, f"{one.reason} (from {start} to {end or 'whenever it is cleared'})", actor)


class DerateVerbs:
    """Answers `derate` on the control socket: `do` is `list`, `set` or `clear`."""

    def __init__(
        self, desk: Desk, derating: Derating, reservations: Reservations, masters: frozenset[int]
    ) -> None:
        self._desk = desk
        self._derating = derating
        self._reservations = reservations
        self._masters = masters

    async def derate(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """Raises UsageError, PowerError, StoreError."""
        do = request.get("do", "list")
        if do == "list":
            now = self._desk.now()
            return self._answer([one for one in self._desk.derates if one.window.end > now])
        rights = await self._reservations.rights(peer.uid, master=peer.uid in self._masters)
        if not rights.administers:
            raise PowerError("only root, SlurmUser and Slurm's operators and administrators may derate")
        if do == "set":
            return await self._set(peer, request)
        if do == "clear":
            return await self._clear(peer, request)
        raise UsageError(f"unknown do {do!r}; known: list, set, clear")

    async def _set(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        dry_run = request.get("dry_run") is True
        one = _wanted(self._desk, request, peer.uid, needs_reason=not dry_run)
        if dry_run:
            hit = await in_steps(hit_rows(self._desk, one))
            return {**self._answer([one]), **hit}
        await self._derating.add(one)
        return self._answer([one])

    async def _clear(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        element = name_in(request, "element")
        gone = await self._derating.clear(element, peer.uid)
        sources = sorted({one.source for one in self._desk.derates if one.element == element})
        if not gone and sources:
            raise UsageError(f"{element} is derated by {', '.join(sources)}, and as long as that asks for it")
        if not gone:
            raise UsageError(f"nothing derates {element}; spower derate list shows what is derated")
        return self._answer(gone)

    def _answer(self, derates: Sequence[Derate]) -> dict[str, object]:
        rows = derate_rows(self._desk.declared.topology, derates, self._desk.now())
        return {"schema": views.SCHEMA, "derates": rows}


def _wanted(desk: Desk, request: Mapping[str, Any], uid: int, *, needs_reason: bool) -> Derate:
    element = name_in(request, "element")
    reason = name_in(request, "reason") if needs_reason or "reason" in request else ""
    declared_w = desk.declared.topology.declared_w(element)
    if declared_w is None:
        raise UsageError(f"there is no zone or feed {element}; spower zones lists them")
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise UsageError(f"a reason is a line of {_LONGEST_REASON} characters at most")
    now = desk.now()
    start = whole(request, "start", now, (0, FOREVER))
    end = whole(request, "end", FOREVER, (0, FOREVER))
    if end <= max(start, now):
        raise UsageError("a derate ends after its start, and in times to come: --for=2h or --until=now+2hours")
    limit_w = whole(request, "limit_w", 0, (0, FOREVER)) if "limit_w" in request else None
    percent = _percent(request)
    if (limit_w is None) == (percent is None):
        raise UsageError("say how much: --limit=30kW or --percent=25, and not both")
    window = Window(max(start, now), end)
    one = Derate(
        desk.new_token(), element, window, reason, created=now, uid=uid, limit_w=limit_w, percent=percent
    )
    if one.allowed_w(declared_w) >= declared_w:
        raise UsageError(f"{element} carries {format_watts(declared_w)} at most by the site file: that derates nothing")
    return one


def _percent(request: Mapping[str, Any]) -> Fraction | None:
    if "percent" not in request:
        return None
    try:
        percent = parse_fraction(f"{request['percent']}%") * WHOLE
    except UsageError:
        percent = Fraction(0)
    if not 0 < percent <= WHOLE:
        raise UsageError("a percentage of what is declared is taken away: more than 0, 100 at most, such as 25")
    return percent


def _to_text(derates: Sequence[Derate]) -> str:
    return json.dumps([_to_json(one) for one in derates])


def _to_json(one: Derate) -> dict[str, object]:
    return {
        "id": one.id,
        "element": one.element,
        "start": one.window.start,
        "end": one.window.end,
        "reason": one.reason,
        "created": one.created,
        "uid": one.uid,
        "limit_w": one.limit_w,
        "percent": None if one.percent is None else str(one.percent),
        "source": one.source,
    }


def _from_json(told: Mapping[str, Any]) -> Derate:
    window = Window(int(told["start"]), int(told["end"]))
    percent = None if told["percent"] is None else Fraction(told["percent"])
    uid = None if told["uid"] is None else int(told["uid"])
    return Derate(
        id=str(told["id"]),
        element=str(told["element"]),
        window=window,
        reason=str(told["reason"]),
        created=int(told["created"]),
        uid=uid,
        limit_w=told["limit_w"],
        percent=percent,
        source=str(told["source"]),
    )
