"""The admission pass over held jobs, and the writes to Slurm that it leads to.

A pass yields plans; the daemon carries them out and tells `applied` what became of them. Between two yields other
questions may be answered, so every step looks at the book as it is then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from slurm_power.core.admission import Admit, Hold, Reject, Verdict, decide
from slurm_power.core.claim import Charge
from slurm_power.core.lifecycle import Event, State
from slurm_power.core.policy import Mode
from slurm_power.core.queue import Waiting, order
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import AdmissionRecord, Standing, put_record
from slurm_power.core.request import Request
from slurm_power.ports import Chain, Command, HoldKind, JobRecord, JobState, Outcome, Release, Update, UserHold
from slurm_power.ports import Hold as HoldJob
from slurm_power.service.asking import Ask
from slurm_power.service.binding import Binding
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.facts import task_ids
from slurm_power.service.submit import per_copy

_POWERS = (HoldKind.POWER, HoldKind.BOTH)
_STARTING_REASONS = frozenset({"BeginTime", "Dependency", "Prolog", "None"})


@dataclass(frozen=True, slots=True)
class Plan:
    """Commands for one job, or for all components of one, and the entries that they are about."""

    action: str
    """bind, hold or free"""
    target: str
    chain: Chain
    keys: tuple[str, ...]


def run_pass(desk: Desk) -> Iterator[Plan | None]:
    """One pass: hold what should be held, then the queue from its head. Yields None where nothing is to be written."""
    yield from run_freeing(desk)
    if desk.mode is not Mode.ENFORCE:
        return
    yield from _hold_strays(desk)
    yield from _overdue(desk)
    yield from _queue(desk)


def run_freeing(desk: Desk) -> Iterator[Plan | None]:
    """Take our hold, and only ours, off jobs that we do not act on: all of them after the panic switch."""
    everything = desk.mode is not Mode.ENFORCE
    states = (State.FREE, State.WAITING, State.PARKED, State.DENIED) if everything else (State.FREE,)
    done: set[str] = set()
    for entry in desk.book.in_state(*states):
        record = entry.record
        if entry.key in done or record is None or not record.held or entry.hold not in _POWERS:
            continue
        parts = desk.book.together(entry)
        done.update(part.key for part in parts)
        yield _freeing(record, [part for part in parts if part.record is not None])


def _freeing(record: JobRecord, parts: Sequence[Entry]) -> Plan:
    """One job is let go, all its components together; one that its user holds too stays held by him."""
    updates: list[Command] = []
    for part in parts:
        if part.record is not None:
            kept = AdmissionRecord(part.token, Standing.FREE)
            updates.append(Update(part.record.target, _unbinding(part, part.record, kept)))
    users = any(part.hold in (HoldKind.USER, HoldKind.BOTH) for part in parts)
    last: Command = UserHold(_whole(record)) if users else Release(_whole(record))
    return Plan("free", _whole(record), (*updates, last), tuple(part.key for part in parts))


def applied(desk: Desk, plan: Plan, outcome: Outcome) -> None:
    """Take in what became of a plan. Where that is not known, the next snapshot tells."""
    now = desk.now()
    for key in plan.keys:
        entry = desk.book.get(key)
        if entry is None:
            continue
        entry.touched = desk.clock.monotonic()
        if outcome.unsure:
            continue
        if plan.action == "bind" and entry.state is State.BINDING:
            _bound(desk, entry, plan, outcome, now)
        elif plan.action == "free" and outcome.done == len(plan.chain):
            entry.hold = HoldKind.USER if entry.hold in (HoldKind.USER, HoldKind.BOTH) else None
            desk.book.move(entry, Event.FREE)
            desk.book.decided(entry, "free", now, desk.mode)
        elif plan.action == "hold":
            desk.book.decided(entry, "hold", now, desk.mode, [{"code": "hold", "text": entry.note or outcome.error}])


def _bound(desk: Desk, entry: Entry, plan: Plan, outcome: Outcome, now: int) -> None:
    if outcome.done == len(plan.chain):
        desk.book.move(entry, Event.BOUND, desk.ledger.claims[entry.key])
        entry.hold = None
        entry.released = now
        desk.book.save(entry)
        desk.book.decided(entry, "release", now, desk.mode)
        return
    entry.note = f"Slurm refused to bind it: {outcome.error}"
    desk.book.move(entry, Event.UNBIND)
    desk.book.decided(entry, "bind-failed", now, desk.mode, [{"code": "binding", "text": entry.note}])


# -- what must be held -----------------------------------------------------------------------------------------------


def _hold_strays(desk: Desk) -> Iterator[Plan | None]:
    """Jobs that wait for power, by our book, but are free to start in Slurm."""
    for entry in desk.book.in_state(State.WAITING, State.PARKED, State.DENIED):
        record = entry.record
        if record is None or record.state is not JobState.PENDING or record.held:
            continue
        if entry.state is State.DENIED:
            desk.book.move(entry, Event.WAIT)
        entry.hold = HoldKind.BOTH if entry.hold in (HoldKind.USER, HoldKind.BOTH) else HoldKind.POWER
        desk.book.save(entry)
        yield _holding(entry, record)


def _overdue(desk: Desk) -> Iterator[Plan | None]:
    """Jobs that were placed but did not start in time: their watts are stranded there.

    They keep their claim until Slurm shows them held, for until then they may start.
    """
    grace_s = desk.site.policy.start_grace_s
    now = desk.now()
    for entry in desk.book.in_state(State.ADMITTED):
        record = entry.record
        if record is None or record.state is not JobState.PENDING or record.held or record.array_tasks:
            continue
        if entry.hold in (HoldKind.USER, HoldKind.BOTH):
            continue  # its user has just held it, as the next snapshot will show
        since = max(entry.released or entry.created, record.eligible_time or 0)
        if now - since < grace_s or record.reason in _STARTING_REASONS:
            continue
        reason = Reason(Code.STARTING, detail=record.reason)
        entry.note = reason.text
        entry.hold = HoldKind.POWER
        desk.book.save(entry)
        desk.book.decided(entry, "unbind", now, desk.mode, [reason.as_json()])
        yield _holding(entry, record)


def _holding(entry: Entry, record: JobRecord) -> Plan:
    kept = AdmissionRecord(entry.token, Standing.HOLD, hold=entry.hold or HoldKind.POWER)
    update = Update(record.target, _unbinding(entry, record, kept))
    return Plan("hold", record.target, (HoldJob(_whole(record)), update), (entry.key,))


def _unbinding(entry: Entry, record: JobRecord, kept: AdmissionRecord) -> dict[str, str]:
    fields = {"AdminComment": put_record(record.admin_comment, kept)}
    if entry.ask is not None:
        fields |= {"Licenses": entry.ask.licenses, "Features": entry.ask.features}
    return fields


def _whole(record: JobRecord) -> str:
    """Holding or releasing a component means its whole job."""
    return str(record.het_job_id) if record.het_job_id is not None else record.target


# -- the queue -------------------------------------------------------------------------------------------------------


def _queue(desk: Desk) -> Iterator[Plan | None]:
    desk.drop_shadow()
    now = desk.now()
    done: set[str] = set()
    for waiting in order([_waiting(desk, entry) for entry in _candidates(desk)], now):
        entry = desk.book.get(waiting.request.id)
        if entry is None or entry.key in done or entry.state is not State.WAITING or entry.record is None:
            continue
        if entry.record.het_job_id is not None:
            plan = _bind_components(desk, entry, done)
        elif entry.record.array_tasks:
            plan = _bind_range(desk, entry)
        else:
            plan = _bind_one(desk, entry)
        if plan is None and desk.shadow is None and entry.ask is not None and isinstance(entry.verdict, Hold):
            desk.cast_shadow(entry.ask.request.with_copies(1))
        yield plan


def _candidates(desk: Desk) -> Iterator[Entry]:
    return (entry for entry in desk.book.in_state(State.WAITING) if _ready(desk, entry))


def _ready(desk: Desk, entry: Entry) -> bool:
    """Held by us alone, held in Slurm too, in our scope, and shown by Slurm since we last wrote to it."""
    return (
        entry.state is State.WAITING
        and entry.hold is HoldKind.POWER
        and entry.record is not None
        and entry.record.held
        and entry.touched <= desk.seen
        and entry.ask is not None
        and desk.acts_on(entry.ask)
    )


def _waiting(desk: Desk, entry: Entry) -> Waiting:
    ask = entry.ask
    record = entry.record
    if ask is None or record is None:
        raise ValueError(f"job {entry.name} is in the queue without a request")
    return Waiting(
        request=ask.request,
        submitted=ask.submitted,
        job_id=record.job_id,
        deadline=ask.deadline,
        max_delay_s=ask.max_delay_s,
        fair_share=desk.fair_shares.get((record.account, record.user), 0.5),
    )


def _decide(desk: Desk, entry: Entry, request: Request) -> Verdict:
    verdict = decide(request, desk.ledger, desk.floor, ignore=desk.ignored_by(request), others=desk.tiers)
    entry.verdict = verdict
    return verdict


def _bind_one(desk: Desk, entry: Entry) -> Plan | None:
    ask, record = entry.ask, entry.record
    if ask is None or record is None:
        return None
    verdict = _decide(desk, entry, ask.request)
    if not isinstance(verdict, Admit):
        _note_rejection(desk, entry, verdict)
        return None
    return _bind_whole(desk, entry, ask, record, verdict)


def _bind_whole(desk: Desk, entry: Entry, ask: Ask, record: JobRecord, verdict: Admit) -> Plan | None:
    charges = per_copy(verdict.claim.charges, verdict.claim.copies)
    binding = _binding(desk, entry, ask, record, entry.token, charges)
    if binding is None:
        return None
    entry.charges = charges
    desk.book.move(entry, Event.BIND, verdict.claim)
    update = Update(record.target, _fields(binding, ask))
    return Plan("bind", record.target, (update, Release(record.target)), (entry.key,))


def _bind_range(desk: Desk, entry: Entry) -> Plan | None:
    """The largest range of an array's next tasks that fits one zone, found by halving."""
    ask, record = entry.ask, entry.record
    if ask is None or record is None:
        return None
    copies = desk.book.may_start(ask.facts.array, record)
    everything = task_ids(record.array_tasks)
    tasks = everything[:copies]
    while tasks:
        request = ask.request.with_copies(len(tasks))
        verdict = decide(request, desk.ledger, desk.floor, ignore=desk.ignored_by(request))
        if isinstance(verdict, Admit) and len(tasks) == len(everything):
            entry.verdict = verdict
            return _bind_whole(desk, entry, ask, record, verdict)  # Slurm would not split what is the whole record
        if isinstance(verdict, Admit):
            return _bind_tasks(desk, entry, ask, record, tasks, verdict)
        entry.verdict = verdict
        tasks = tasks[: len(tasks) // 2]
    if copies:
        _note_rejection(desk, entry, _decide(desk, entry, ask.request.with_copies(1)))
    return None


def _bind_tasks(
    desk: Desk, entry: Entry, ask: Ask, record: JobRecord, tasks: list[int], verdict: Admit
) -> Plan | None:
    """Tasks of their own token: Slurm gives each a record of its own; the rest of the array goes on waiting."""
    token = desk.new_token()
    charges = per_copy(verdict.claim.charges, len(tasks))
    binding = _binding(desk, entry, ask, record, token, charges)
    if binding is None:
        return None
    keys = []
    for task in tasks:
        key = f"{token}.{task}"
        request = replace(ask.request.with_copies(1), id=key)
        member = Entry(key, token, State.WAITING, desk.now(), desk.clock.monotonic(), entry.uid)
        member.ask = replace(ask, request=request)
        member.task = (record.array_job_id or record.job_id, task)
        member.hold, member.charges, member.verdict = HoldKind.POWER, charges, verdict
        desk.book.add(member)
        desk.book.move(member, Event.BIND, request.claim(charges, desk.now(), verdict.claim.share_milli))
        keys.append(key)
    entry.touched = desk.clock.monotonic()
    target = f"{record.array_job_id}_[{','.join(map(str, tasks))}]"
    update = Update(target, _fields(binding, ask))
    return Plan("bind", target, (update, Release(target)), tuple(keys))


def _bind_components(desk: Desk, entry: Entry, done: set[str]) -> Plan | None:
    """All components of a heterogeneous job, or none: placed one beside the other, released by the leader."""
    record = entry.record
    if record is None or record.het_job_id is None:
        return None
    parts = desk.book.together(entry)
    done.update(part.key for part in parts)
    if not all(_ready(desk, part) for part in parts):
        return None
    updates: list[Command] = []
    placed: list[Entry] = []
    for part in parts:
        if part.ask is None or part.record is None:
            break
        verdict = _decide(desk, part, part.ask.request)
        if not isinstance(verdict, Admit):
            entry.verdict = verdict
            break
        binding = _binding(desk, part, part.ask, part.record, part.token, verdict.claim.charges)
        if binding is None:
            break
        part.charges = verdict.claim.charges
        desk.book.move(part, Event.BIND, verdict.claim)
        placed.append(part)
        updates.append(Update(part.record.target, _fields(binding, part.ask)))
    if len(placed) < len(parts):
        for part in placed:
            desk.book.move(part, Event.UNBIND)
        return None
    leader = str(record.het_job_id)
    return Plan("bind", leader, (*updates, Release(leader)), tuple(part.key for part in parts))


def _binding(
    desk: Desk, entry: Entry, ask: Ask, record: JobRecord, token: str, charges: Sequence[Charge]
) -> Binding | None:
    facts = replace(ask.facts, admin_comment=record.admin_comment)
    binding = desk.binder.bind(replace(ask, facts=facts), token, charges, record.restarts)
    if isinstance(binding, Reason):
        entry.verdict = Hold((binding,))
        return None
    return binding


def _fields(binding: Binding, ask: Ask) -> dict[str, str]:
    fields = {
        "Licenses": binding.licenses,
        "Features": binding.features,
        "AdminComment": binding.admin_comment,
    }
    if binding.excluded_nodes is not None:
        fields["ExcNodeList"] = binding.excluded_nodes
    if binding.nodes is not None:
        fields["NumNodes"] = f"{binding.nodes}-{binding.nodes}"
    if ask.qos and ask.facts.qos != ask.qos:
        fields["QOS"] = ask.qos
    return fields


def _note_rejection(desk: Desk, entry: Entry, verdict: Verdict) -> None:
    """What could never run stays held, and says why; its user changes or cancels it."""
    if isinstance(verdict, Reject) and entry.note != verdict.reasons[0].text:
        entry.note = verdict.reasons[0].text
        reasons = [reason.as_json() for reason in verdict.reasons]
        desk.book.decided(entry, "never", desk.now(), desk.mode, reasons)
