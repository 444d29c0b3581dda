"""The queue of held jobs in one admission pass: each is placed if it fits, and its binding and release are planned."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heapify, heappop

from slurm_power.core.admission import Admit, Hold, Reject, Verdict
from slurm_power.core.claim import Charge
from slurm_power.core.lifecycle import Event, State
from slurm_power.core.placement import Placer
from slurm_power.core.queue import Rank, Waiting, rank
from slurm_power.core.reasons import SHORT, Code, Reason
from slurm_power.core.request import Request
from slurm_power.core.reservation import ReservationState
from slurm_power.core.steps import Steps, finish
from slurm_power.ports import Command, HoldKind, JobRecord, Release, Update
from slurm_power.service.asking import Ask, opening
from slurm_power.service.binding import Binding
from slurm_power.service.book import Entry
from slurm_power.service.deciding import means, verdict_steps
from slurm_power.service.desk import Desk
from slurm_power.service.facts import task_ids
from slurm_power.service.plan import Plan
from slurm_power.service.submit import per_copy

_AT_ONCE = 200
"""Jobs that are ranked before others get their turn."""
_THROTTLED = Reason(Code.NOT_ELIGIBLE, detail="as many tasks of its array as may run at once hold watts already")


class Queue:
    """One pass over the queue, from its head."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._done: set[str] = set()
        """Components that were looked at with another of their job."""
        self._failed: dict[tuple[object, ...], tuple[Request, Hold]] = {}
        """The smallest request of each kind that found no place in this pass."""
        self._waits = False
        """Whether somebody has been found who has to wait for watts. Until then the shadow is that of the last pass:
        it holds against whoever is submitted meanwhile, and not against those who are looked at before its head.
        """

    def run(self) -> Iterator[Plan | None]:
        """Plans; None where nothing is to be written. Between two of them others may be answered."""
        desk = self._desk
        now = desk.now()
        places: list[Rank] = []
        for number, key in enumerate(desk.book.keys_in(State.WAITING)):
            if number % _AT_ONCE == 0:
                yield None
            entry = desk.book.get(key)
            if entry is not None and self._in_hours(entry):
                places.append(rank(_waiting(desk, entry), now))
        desk.preempting.heads.clear()
        heapify(places)  # not sorted: the hook is answered between two jobs, not while a hundred thousand are sorted
        while places:
            entry = desk.book.get(heappop(places)[-1])
            if entry is None or entry.key in self._done or not _ready(desk, entry):
                continue
            plan = None
            with desk.faults.apart(entry.key):
                plan = yield from self._place_or_shade(entry)
            yield plan
        if not self._waits:
            desk.shadow.drop()

    def _in_hours(self, entry: Entry) -> bool:
        """Whether it may be placed now. Once the hours of its class have passed it is read anew, and parked."""
        if not _ready(self._desk, entry):
            return False
        hours = entry.ask.hours if entry.ask is not None else None
        if opening(hours, self._desk.ledger.now, self._desk.site.timezone):
            entry.dirty = True
            return False
        return True

    def _place_or_shade(self, entry: Entry) -> Steps[Plan | None]:
        """The plan for an entry; the first that has to wait for watts gets the shadow."""
        desk = self._desk
        if not self._waits and desk.preempting.kept(entry.key) is not None:
            desk.shadow.drop()  # one thing can be ignored, and that is what is kept for it
        plan = yield from self._place(entry)
        waits = self._is_short(entry) and desk.book.get(entry.key) is entry and _ready(desk, entry)
        if plan is not None:
            desk.preempting.let_go(entry.key)
        elif entry.ask is not None and waits and desk.preempting.kept(entry.key) is None:
            desk.preempting.heads.setdefault(entry.ask.request.tier.name, entry.key)
            settled = self._waits and desk.shadow.id is not None
            request = _to_shade(desk, entry.ask.request.with_copies(1)) if not settled else None
            if request is not None:
                yield from desk.shadow.cast(request, first=not self._waits)
                self._waits = True
        return plan

    def _is_short(self, entry: Entry) -> bool:
        """Whether it waits for watts or nodes: who cannot start for another reason keeps them from nobody."""
        if not isinstance(entry.verdict, Hold) or entry.verdict.reasons[0].code not in SHORT:
            return False
        het = entry.record is not None and entry.record.het_job_id is not None
        return not het or all(_ready(self._desk, part) for part in self._desk.book.together(entry))

    def _ignored(self, request: Request) -> str | None:
        """What does not stand in its way."""
        ignored = self._desk.ignored_by(request)
        return ignored if ignored is not None or self._waits else self._desk.shadow.id

    def _place(self, entry: Entry) -> Steps[Plan | None]:
        ask, record = entry.ask, entry.record
        if ask is None or record is None:
            return None
        if record.het_job_id is not None:
            return self._components(entry, record.het_job_id)
        if record.array_tasks:
            return self._range(entry, ask, record)
        return (yield from self._one(entry, ask, record))

    # -- one job ------------------------------------------------------------------------------------------------

    def _one(self, entry: Entry, ask: Ask, record: JobRecord) -> Steps[Plan | None]:
        array, throttle = record.array_job_id, record.array_throttle
        if array is not None and throttle is not None and len(self._desk.book.active_tasks(array)) >= throttle:
            entry.verdict = Hold((_THROTTLED,))
            return None
        request, goes_to = ask.request, self._desk.preempting.goes_to(entry.key)
        if goes_to and request.zones is not None:
            goes_to &= request.zones  # its user may have changed them since
        if goes_to:
            request = replace(request, zones=goes_to)
        verdict = yield from self._deciding(entry, request)
        if not isinstance(verdict, Admit):
            self._note_rejection(entry, verdict)
            return None
        return self.bind(entry, ask, record, verdict)

    def bind(self, entry: Entry, ask: Ask, record: JobRecord, verdict: Admit) -> Plan | None:
        """The plan for a whole record of Slurm's that has its place; its claim counts from here on."""
        charges = per_copy(verdict.claim.charges, verdict.claim.copies)
        binding = self._binding(entry, ask, record, entry.token, charges, within=verdict.claim.within)
        if binding is None:
            return None
        entry.charges = charges
        self._desk.book.move(entry, Event.BIND, verdict.claim)
        update = Update(record.target, _fields(binding, ask))
        return Plan("bind", record.target, (update, Release(record.target)), (entry.key,))

    # -- arrays -------------------------------------------------------------------------------------------------

    def _range(self, entry: Entry, ask: Ask, record: JobRecord) -> Plan | None:
        """The largest range of an array's next tasks that fits one zone, found by halving."""
        copies = self._desk.book.may_start(ask.facts.array, record)
        everything = task_ids(record.array_tasks)
        tasks = everything[:copies]
        if not tasks:
            entry.verdict = Hold((_THROTTLED,))
            return None
        while tasks:
            verdict = self._decide(entry, ask.request.with_copies(len(tasks)))
            if isinstance(verdict, Admit):
                if len(tasks) == len(everything):  # Slurm would not split what is the whole record
                    return self.bind(entry, ask, record, verdict)
                return self._tasks(entry, ask, record, tasks, verdict)
            if len(tasks) == 1:
                self._note_rejection(entry, verdict)
            tasks = tasks[: len(tasks) // 2]
        return None

    def _tasks(self, entry: Entry, ask: Ask, record: JobRecord, tasks: list[int], verdict: Admit) -> Plan | None:
        """Tasks of their own token: Slurm gives each a record of its own; the rest of the array goes on waiting."""
        desk = self._desk
        token = desk.new_token()
        charges = per_copy(verdict.claim.charges, len(tasks))
        binding = self._binding(entry, ask, record, token, charges, within=verdict.claim.within)
        if binding is None:
            return None
        keys = []
        for task in tasks:
            key = f"{token}.{task}"
            request = replace(ask.request.with_copies(1), id=key)
            member = Entry(key, token, State.BINDING, desk.now(), desk.clock.monotonic(), entry.uid)
            member.ask = replace(ask, request=request)
            member.task = (record.array_job_id or record.job_id, task)
            member.hold, member.charges, member.verdict = HoldKind.POWER, charges, verdict
            claim = request.claim(charges, desk.now(), verdict.claim.share_milli)
            within = verdict.claim.within
            desk.book.add(member, desk.ledger.drawing(claim, within) if within else claim)
            keys.append(key)
        entry.touched = desk.clock.monotonic()
        target = f"{record.array_job_id}_[{','.join(map(str, tasks))}]"
        update = Update(target, _fields(binding, ask))
        return Plan("bind", target, (update, Release(target)), tuple(keys), queued=entry.key)

    # -- heterogeneous jobs -------------------------------------------------------------------------------------

    def _components(self, entry: Entry, leader: int) -> Plan | None:
        """All components, or none: placed one beside the other, released by the leader."""
        book = self._desk.book
        parts = book.together(entry)
        self._done.update(part.key for part in parts)
        if not all(_ready(self._desk, part) for part in parts):
            return None
        for part in parts:
            verdict = self._decide(part, part.ask.request) if part.ask is not None else None
            if not isinstance(verdict, Admit):
                entry.verdict = verdict
                break
            part.charges = verdict.claim.charges
            book.move(part, Event.BIND, verdict.claim)
        updates = self._bind_together(entry, parts) if all(part.state is State.BINDING for part in parts) else None
        if updates is None:
            for part in parts:
                if part.state is State.BINDING:
                    book.move(part, Event.UNBIND)
            return None
        target = str(leader)
        return Plan("bind", target, (*updates, Release(target)), tuple(part.key for part in parts))

    def _bind_together(self, entry: Entry, parts: Sequence[Entry]) -> list[Command] | None:
        """The leader carries the licences of all: Slurm 24.11 and later know no others, and the gate looks there."""
        together = [charge for part in parts for charge in part.charges]
        updates: list[Command] = []
        for part in parts:
            if part.ask is None or part.record is None:
                return None
            counted = together if part is parts[0] else []
            within = self._desk.ledger.claims[part.key].within
            binding = self._binding(part, part.ask, part.record, part.token, part.charges, counted, within)
            if binding is None:
                entry.verdict = part.verdict
                return None
            updates.append(Update(part.record.target, _fields(binding, part.ask)))
        return updates

    # -- each of them -------------------------------------------------------------------------------------------

    def _decide(self, entry: Entry, request: Request) -> Verdict | None:
        """The verdict, at once: for tasks and components, several of which are placed together."""
        return finish(self._deciding(entry, request, apart=False))

    def _deciding(self, entry: Entry, request: Request, *, apart: bool = True) -> Steps[Verdict | None]:
        """The verdict; None where the entry is no longer to be placed when it has been found.

        What asks no less than a like request that just found no place is not searched for again. With `apart` others
        may be answered between two steps, and what they were promised may lie where this job was to go.
        """
        desk, ask = self._desk, entry.ask
        if ask is None:
            return None
        where = (request.tier, request.pool, request.zones, request.excluded, request.reservation)
        kind = (*where, request.group, request.headroom_w, request.ask, request.through_cuts_s)
        failed = self._failed.get(kind)
        if failed is not None and _no_less(request, failed[0]):
            entry.verdict = failed[1]
            return failed[1]
        ledger = desk.ledger
        verdict, alone = yield from _watched(verdict_steps(desk, ask, request, self._ignored(request)))
        if apart and not alone:
            stands = desk.ledger is ledger and desk.book.get(entry.key) is entry and entry.ask is ask
            if not stands or not _ready(desk, entry):
                return None
            if isinstance(verdict, Admit):
                verdict = self._again(request, verdict)
        if isinstance(verdict, Hold):
            self._failed[kind] = (request, verdict)
        entry.verdict = verdict
        return verdict

    def _again(self, request: Request, verdict: Admit) -> Verdict:
        """An admission that took several steps, as of now; a hold where its place has gone to others meanwhile."""
        desk, charges = self._desk, verdict.claim.charges
        now = desk.now()
        placer = Placer(request, desk.ledger, request.window(now), self._ignored(request))
        if not placer.stands(charges):
            return Hold((Reason(Code.LARGE, detail=str(request.ask.nodes)),))
        return replace(verdict, claim=request.claim(charges, now, verdict.claim.share_milli))

    def _binding(
        self,
        entry: Entry,
        ask: Ask,
        record: JobRecord,
        token: str,
        charges: Sequence[Charge],
        counted: Sequence[Charge] | None = None,
        within: str = "",
    ) -> Binding | None:
        facts = replace(ask.facts, admin_comment=record.admin_comment)
        asked = replace(ask, facts=facts)
        nodes = self._desk.reserved.nodes_for(within)
        binding = self._desk.binder.bind(asked, token, charges, record.restarts, counted, within, nodes)
        if isinstance(binding, Reason):
            entry.verdict = Hold((binding,))
            return None
        return binding

    def _note_rejection(self, entry: Entry, verdict: Verdict | None) -> None:
        """What could never run stays held, and says why; its user changes or cancels it."""
        desk = self._desk
        if isinstance(verdict, Reject) and entry.note != verdict.reasons[0].text:
            entry.note = verdict.reasons[0].text
            desk.book.decided(entry, "never", desk.now(), desk.mode, verdict.reasons, cause="admission pass")


def _watched(steps: Steps[Verdict]) -> Steps[tuple[Verdict, bool]]:
    """What the steps lead to, and whether it was one step alone."""
    alone = True
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, alone
        alone = False
        yield


def _ready(desk: Desk, entry: Entry) -> bool:
    """Held by us alone, held in Slurm too, in our scope, and shown by Slurm since we last wrote to it.

    Not while victims leave for it: it has what they leave as soon as that is proved to be free.
    """
    return (
        desk.settled
        and not desk.preempting.blocks(entry.key)
        and entry.state is State.WAITING
        and entry.hold is HoldKind.POWER
        and entry.record is not None
        and entry.record.held
        and entry.touched <= desk.seen
        and entry.retry_at <= desk.ledger.now
        and entry.ask is not None
        and desk.acts_on(entry.ask)
    )


def _waiting(desk: Desk, entry: Entry) -> Waiting:
    ask, record = entry.ask, entry.record
    if ask is None or record is None:
        raise ValueError(f"job {entry.name} is in the queue without a request")
    return Waiting(
        request=ask.request,
        submitted=ask.submitted,
        job_id=record.job_id,
        deadline=ask.deadline,
        max_delay_s=ask.max_delay_s,
        first_call=_first_call(desk, ask),
        fair_share=desk.fair_shares.get((record.account, record.user), 0.5),
        accuracy=desk.metering.accuracy(record.account, desk.ledger.now),
    )


def _first_call(desk: Desk, ask: Ask) -> bool:
    """Whether it is for one of the owner's reservations that has given its watts back for want of use."""
    request = ask.request
    return any(
        one.state is ReservationState.DEGRADED and one.terms.owner.owns(request.account, ask.facts.user)
        for one in means(desk, request.reservation)
    )


def _to_shade(desk: Desk, request: Request) -> Request | None:
    """What a shadow is to be cast for. A job of a reservation needs none: its watts are kept, or will be.

    One of a degraded reservation waits for what is everybody's, in that one's zones.
    """
    if not request.reservation:
        return request
    found = means(desk, request.reservation)
    if any(one.state is not ReservationState.DEGRADED for one in found):
        return None
    zones = frozenset(grant.zone for one in found for grant in one.grants)
    return replace(request, zones=zones if request.zones is None else request.zones & zones)


def _no_less(one: Request, other: Request) -> bool:
    """Whether `one` needs at least as much as `other`, a request of the same kind, for at least as long."""
    return (
        one.est_w >= other.est_w
        and one.max_w - one.est_w >= other.max_w - other.est_w
        and one.not_before >= other.not_before
        and (one.time_limit_s is None or (other.time_limit_s is not None and one.time_limit_s >= other.time_limit_s))
    )


def _fields(binding: Binding, ask: Ask) -> dict[str, str]:
    fields = {
        "Licenses": binding.licenses,
        "Features": binding.features,
        "Prefer": "",  # Slurm would follow it past the zone; it may have come past the hook, or be of an older binding
        "AdminComment": binding.admin_comment,
    }
    if binding.excluded_nodes is not None:
        fields["ExcNodeList"] = binding.excluded_nodes
    if binding.reservation:
        fields["ReservationName"] = binding.reservation
    if binding.nodes is not None:
        fields["NumNodes"] = f"{binding.nodes}-{binding.nodes}"
    if ask.qos and ask.qos not in (ask.facts.qos, ask.facts.default_qos):
        fields["QOS"] = ask.qos
    return fields
