"""The questions of `sreservation`: who asks, what may he, what comes of it; durable before it is told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.slurm.words import scontrol_words
from slurm_power.core.errors import PowerError, StoreError, UsageError
from slurm_power.core.reservation import OPEN, Reservation, ReservationEvent, ReservationState, Terms
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.daemon.reservations import Reservations
from slurm_power.daemon.turns import in_turns
from slurm_power.service import reservation_views as views
from slurm_power.service.desk import Desk
from slurm_power.service.mirror import holdings, in_use, node_holdings, node_steps, steps
from slurm_power.service.reserved import after
from slurm_power.service.reserving import Answer, Offer, offer, with_both
from slurm_power.service.rights import Rights, check_owner
from slurm_power.service.terms import fields_of, read_terms

_ID_LETTERS = 8
Verb = Callable[[Rights, Mapping[str, Any]], Awaitable[dict[str, object]]]


class ReservationVerbs:
    """Answers `reservation` and `reservations` on the control socket."""

    def __init__(
        self, desk: Desk, keeper: Reservations, masters: frozenset[int], soon: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._keeper = keeper
        self._masters = masters
        self._soon = soon
        self._turn = asyncio.Lock()
        """One change at a time: what is written of one reservation stands in the order in which it was done."""
        self._verbs: dict[str, Verb] = {
            "create": self._create,
            "check": self._check,
            "update": self._update,
            "cancel": self._cancel,
            "renew": self._renew,
        }

    async def change(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """`create`, `check`, `update`, `cancel` and `renew`. Raises UsageError, PowerError."""
        verb = self._verbs.get(str(request.get("do")))
        if verb is None:
            raise UsageError(f"unknown \"do\" {request.get('do')!r}; known: {', '.join(self._verbs)}")
        rights = await self._rights(peer)
        if verb == self._check:
            return await verb(rights, request)
        async with self._turn:
            return await verb(rights, request)

    def _offer(self, terms: Terms, before: Reservation | None = None) -> Offer:
        """Raises PowerError until what runs is counted where its nodes lie: till then zones may look emptier."""
        if not self._desk.settled:
            raise PowerError("the jobs on the floor are being counted; ask again in a few seconds")
        return offer(self._desk, terms, before)

    async def show(self, peer: Peer, request: Mapping[str, Any]) -> dict[str, object]:
        """The reservations that the peer may see: live ones, the newest of each name given, or with `over` all."""
        rights = await self._rights(peer)
        names = request.get("names", [])
        if not isinstance(names, list):
            raise UsageError('"names" is a list of names')
        found = list(self._desk.reserved)
        if names or request.get("over"):
            live = {one.id: one for one in found}
            found = [live.get(one.id, one) for one in await self._keeper.history()]
        found = [one for one in found if rights.may_see(one) and (not names or one.name in names)]
        if names and not request.get("over"):
            newest = {one.name: one for one in sorted(found, key=lambda one: (one.created, one.live, one.id))}
            found = list(newest.values())
        found.sort(key=lambda one: (one.name, one.terms.window.start, one.created, one.live, one.id))
        return views.table([views.row(self._desk, one) async for one in in_turns(found)])

    async def _rights(self, peer: Peer) -> Rights:
        return await self._keeper.rights(peer.uid, master=peer.uid in self._masters)

    def _read(self, request: Mapping[str, Any], now: int, before: Reservation | None = None) -> Terms:
        gpus = {zone: nodes.gpus for zone, nodes in self._desk.ledger.nodes.items()}
        return read_terms(_terms(request), self._desk.site, now, before, gpus)

    # -- create -------------------------------------------------------------------------------------------------

    async def _check(self, rights: Rights, request: Mapping[str, Any]) -> dict[str, object]:
        now = self._desk.now()
        terms = self._read(request, now)
        found = self._offer(terms)
        one = self._made(terms, found, rights, now, approved=True)
        return views.answer(self._desk, one, found, f"Such a reservation {_said(one, found)}.")

    async def _create(self, rights: Rights, request: Mapping[str, Any]) -> dict[str, object]:
        return await self._new(rights, request, self._read(request, self._desk.now()))

    async def _renew(self, rights: Rights, request: Mapping[str, Any]) -> dict[str, object]:
        """One that lives lasts so much longer; one that is over is made anew, with the terms that it had."""
        name, length_s = str(request.get("name", "")), request.get("length_s")
        if not isinstance(length_s, int) or isinstance(length_s, bool) or length_s < 1:
            raise UsageError("say for how long; write --duration=8h")
        live = self._desk.reserved.get(name)
        if live is not None:
            longer = {"end": live.terms.window.end + length_s}
            return await self._update(rights, {**request, "terms": longer})
        known = [one for one in await self._keeper.history() if one.name == name and rights.may_see(one)]
        if not known:
            raise UsageError(f"there is no reservation '{name}'; sreservation show --all lists them")
        before = max(known, key=lambda one: (one.created, one.id))
        now = self._desk.now()
        window = {"start": request.get("start") or now, "length_s": length_s}
        terms = read_terms({**fields_of(before.terms), "end": None, **window}, self._desk.site, now)
        return await self._new(rights, request, terms)

    async def _new(self, rights: Rights, request: Mapping[str, Any], terms: Terms) -> dict[str, object]:
        desk, privileges = self._desk, await self._keeper.privileges()
        now = desk.now()
        approval = desk.site.reservations.approval
        rights.check_make(terms.owner, approval)
        check_owner(terms.owner, privileges)
        if desk.reserved.get(terms.name) is not None:
            raise UsageError(f"there is a reservation {terms.name} already; give another name, or update that one")
        found = self._offer(terms)
        one = self._made(terms, found, rights, now, approved=rights.may_approve(terms.owner, approval))
        sentence = f"Reservation {one.name} {_said(one, found)}."
        if request.get("dry_run"):
            return views.answer(desk, one, found, f"Nothing is done. {sentence}", self._commands(one, None))
        await self._keep(one)
        self._keeper.record(one, str(one.state), one.cause or f"sreservation {request['do']}", rights.uid)
        return views.answer(desk, one, found, sentence)

    def _made(self, terms: Terms, found: Offer, rights: Rights, now: int, *, approved: bool) -> Reservation:
        """The reservation that an offer makes; one that waits for approval is granted nothing yet."""
        state, cause = ReservationState.APPROVED, ""
        if found.answer is not Answer.FITS:
            state, cause = ReservationState.REFUSED, found.cause
        elif not approved:
            state, cause = ReservationState.REQUESTED, f"waits for approval by: {self._desk.site.reservations.approval}"
        return Reservation(
            id=self._desk.new_token()[:_ID_LETTERS],
            terms=terms,
            state=state,
            since=now,
            created=now,
            created_by=rights.uid,
            grants=found.grants if state is ReservationState.APPROVED else (),
            cause=cause,
        )

    async def _keep(self, one: Reservation) -> None:
        """Keep a new one, and make that durable; where it cannot be, all is as before."""
        self._desk.reserved.put(one)
        try:
            await self._keeper.save(one)
        except StoreError:
            present = self._desk.reserved.of_claim(one.claim_id)
            if present is not None:  # else its time was over meanwhile
                self._desk.reserved.put(replace(present, state=ReservationState.CANCELLED))
            raise
        self._soon()

    async def _change(self, one: Reservation, before: Reservation) -> None:
        """Keep it in the place of `before`, and both until that is durable: so neither a crash nor a database that
        fails leaves us with more promised than there is. Raises StoreError, and UsageError where it ends meanwhile.
        """
        reserved, moved = self._desk.reserved, not before.terms.window.overlaps(one.terms.window)
        with reserved.also(before) if moved else nullcontext():
            one = await self._changed_to(one, before)
            reserved.put(one)
        self._soon()

    async def _changed_to(self, one: Reservation, before: Reservation) -> Reservation:
        """What is durable in the end; again where a round has changed it meanwhile. Raises like `_change`."""
        reserved = self._desk.reserved
        reserved.put(with_both(before, one))
        while True:
            present = reserved.of_claim(one.claim_id)
            try:
                await self._keeper.save(one)
            except StoreError:
                now = reserved.of_claim(one.claim_id)
                if now is not None:  # else its time was over meanwhile
                    opened = before.terms.window.start <= self._desk.ledger.now
                    stays = _as_now(before, now) if opened and before.claim() is not None else before
                    reserved.put(stays)
                    self._keeper.write([stays])  # a round may have written down meanwhile that the new one began
                raise
            now = reserved.of_claim(one.claim_id)
            if now is None:
                raise UsageError(f"reservation {one.name} has ended meanwhile")
            if now is present:
                return one
            one = _as_now(one, now)

    # -- update and cancel --------------------------------------------------------------------------------------

    async def _update(self, rights: Rights, request: Mapping[str, Any]) -> dict[str, object]:
        desk, privileges = self._desk, await self._keeper.privileges()
        before, now = self._live(request, rights), desk.now()
        approves = bool(request.get("approve"))
        terms = self._read(request, now, before)
        if terms.name != before.name:
            raise UsageError(f"reservation {before.name} keeps its name, by which jobs know it; make another one")
        self._check_update(rights, before, terms, approves=approves)
        check_owner(terms.owner, privileges)
        found = self._offer(terms, before)
        if found.answer is not Answer.FITS:
            sentence = f"Reservation {before.name} stays as it is: {found.cause}."
            return views.answer(desk, before, found, sentence)
        one = _changed(before, terms, found, now, approves=approves)
        sentence = f"Reservation {one.name} {_said(one, found)}."
        if request.get("dry_run"):
            return views.answer(desk, one, found, f"Nothing is done. {sentence}", self._commands(one, before))
        await self._change(one, before)
        desk.book.look_again()  # claims within it have been counted to its end at least
        self._keeper.record(one, "approved" if approves else "updated", "sreservation update", rights.uid)
        return views.answer(desk, one, found, sentence)

    def _check_update(self, rights: Rights, before: Reservation, terms: Terms, *, approves: bool) -> None:
        approval = self._desk.site.reservations.approval
        rights.check_change(before, ends=False)
        rights.check_make(terms.owner, approval)
        if approves and before.state is not ReservationState.REQUESTED:
            raise UsageError(f"reservation {before.name} is {before.state}; there is nothing to approve")
        if (approves or before.grants) and not rights.may_approve(terms.owner, approval):
            who = "administrators" if approval == "administrator" else "administrators and coordinators"
            raise UsageError(f"reservation {before.name} is for {who} to approve and to change")

    async def _cancel(self, rights: Rights, request: Mapping[str, Any]) -> dict[str, object]:
        before, now = self._live(request, rights), self._desk.now()
        rights.check_change(before, ends=True)
        one = after(before, ReservationEvent.CANCEL, now, f"cancelled by {rights.user}")
        running = len(self._desk.ledger.within(before.claim_id))
        jobs = f"; {running} of its jobs {'goes' if running == 1 else 'go'} on" if running else ""
        sentence = f"Reservation {one.name} is cancelled{jobs}."
        if request.get("dry_run"):
            return views.answer(self._desk, one, None, f"Nothing is done. {sentence}", self._commands(one, before))
        await self._give_up(one)
        self._desk.book.look_again()
        self._soon()
        self._keeper.record(one, "cancelled", "sreservation cancel", rights.uid)
        return views.answer(self._desk, one, None, sentence)

    async def _give_up(self, one: Reservation) -> None:
        """Durable first, since its watts are then anybody's; again where a round has written it down behind us."""
        reserved = self._desk.reserved
        while True:
            present = reserved.of_claim(one.claim_id)
            await self._keeper.save(one)
            if reserved.of_claim(one.claim_id) is present:
                break
        reserved.put(one)

    def _live(self, request: Mapping[str, Any], rights: Rights) -> Reservation:
        name = str(request.get("name", ""))
        found = self._desk.reserved.get(name)
        if found is None or not rights.may_see(found):
            raise UsageError(f"there is no reservation '{name}' that is not over; sreservation show lists yours")
        return found

    # -- the plan -----------------------------------------------------------------------------------------------

    def _commands(self, one: Reservation, before: Reservation | None) -> list[str]:
        """Slurm's commands for it as far as they can be told now: while it is not open Slurm holds nothing of it."""
        desk, now = self._desk, self._desk.now()
        start = one.terms.window.start
        approved = one.state is ReservationState.APPROVED
        opens = replace(one, state=ReservationState.ACTIVE, since=max(now, start)) if approved else one
        known = before if before is not None else replace(one, state=ReservationState.CANCELLED)
        shown, counted = self._keeper.shown()
        try:
            desk.reserved.put(opens)
            users = in_use(desk)
            found = steps(holdings(desk), shown, counted, now, desk.version, users=users)
            found += node_steps(node_holdings(desk), shown, now, users)
        finally:
            desk.reserved.put(known)
        when = [] if start <= now or one.state in OPEN else [f"# at {format_instant(start)}:"]
        commands = [" ".join(("scontrol", *scontrol_words(command))) for step in found for command in step.chain]
        return [*when, *commands] if commands else []


def _terms(request: Mapping[str, Any]) -> Mapping[str, Any]:
    terms = request.get("terms", {})
    if not isinstance(terms, dict):
        raise UsageError('"terms" says what is reserved: {"name":"spring","zones":["rack07"],"watts_w":40000,…}')
    return terms


def _changed(before: Reservation, terms: Terms, found: Offer, now: int, *, approves: bool) -> Reservation:
    if before.state is ReservationState.REQUESTED:
        if not approves:
            return replace(before, terms=terms)
        return replace(
            before, terms=terms, state=ReservationState.APPROVED, since=now, grants=found.grants, cause=""
        )
    return replace(before, terms=terms, grants=found.grants)


def _as_now(one: Reservation, now: Reservation) -> Reservation:
    """The same, after what a round has done to it meanwhile."""
    return replace(one, state=now.state, since=now.since, last_used=now.last_used, cause=now.cause)


def _said(one: Reservation, found: Offer) -> str:
    """What became of it, as the end of a sentence."""
    window = f"from {format_instant(one.terms.window.start)} to {format_instant(one.terms.window.end)}"
    if one.state is ReservationState.REFUSED:
        never = " and never can be" if found.answer is Answer.NEVER else ""
        return f"cannot be fulfilled as asked{never}: {found.cause}"
    if one.state is ReservationState.REQUESTED:
        return f"fits {window} and {one.cause}"
    part = "" if one.granted_w == one.terms.watts_w else f", of {format_watts(one.terms.watts_w)} asked"
    others = "; jobs of lower tiers are to give way before it begins" if found.preempts else ""
    return f"is {one.state}: {views.granted(one)}{part}, {window}{others}"
