"""The admission pass over held jobs, and the writes to Slurm that it leads to.

A pass yields plans; the daemon carries them out and tells `applied` what became of them. Between two yields other
questions may be answered, so every step looks at the book as it is then.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import heapify, heappop
from itertools import chain, islice

from slurm_power.core.lifecycle import Event, State
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import AdmissionRecord, Standing
from slurm_power.core.units import format_watts
from slurm_power.ports import Command, HoldKind, JobRecord, JobState, Outcome, Release, Rule, Update, UserHold
from slurm_power.service.balancing import elsewhere, lasting
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.plan import Plan, unbinding, whole
from slurm_power.service.queueing import Queue

UNBIND = "unbind"
"""The action of a line about a job that has its place, has not started, and is to be placed anew."""
_PATIENCE_S, _LONGEST_S = 30, 900
"""How long a job is put off that Slurm has refused to bind, the first time and at most."""
_AT_ONCE = 500
"""Entries that are looked at before others get their turn."""
_PUT_OFF = {"bind": "bind", "free": "release"}
"""Actions that are tried again later where Slurm refuses them, and how to say them."""
_STARTING_REASONS = frozenset({"Dependency", "Prolog", "None"})


def run_pass(desk: Desk) -> Iterator[Plan | None]:
    """One pass: hold what should be held, then the queue from its head. Yields None where nothing is to be written."""
    yield from run_holds(desk)
    if desk.mode is not Mode.ENFORCE:
        return
    yield from _apart(desk, "overdue", _overdue(desk))
    yield from _apart(desk, "balance", _crowded_out(desk))
    yield from Queue(desk).run()


def run_holds(desk: Desk) -> Iterator[Plan | None]:
    """Take off holds that nothing wants, and hold what should be held."""
    yield from _apart(desk, "free", run_freeing(desk))
    if desk.mode is Mode.ENFORCE:
        yield from _apart(desk, "hold", _hold_strays(desk))


def _apart(desk: Desk, stage: str, plans: Iterator[Plan | None]) -> Iterator[Plan | None]:
    """The plans of one stage; an error in it must not keep the stages after it from their turn, round after round."""
    while True:
        found: list[Plan | None] = []
        with desk.faults.apart(f"stage {stage}"):
            found.extend(islice(plans, 1))
        if not found:
            return
        yield found[0]


def run_freeing(desk: Desk) -> Iterator[Plan | None]:
    """Take our hold, and only ours, off jobs that we do not act on: all of them after the panic switch, and then also
    those that Slurm would not let go a moment ago.
    """
    everything, now = desk.mode is not Mode.ENFORCE, desk.now()
    states = (State.FREE, State.WAITING, State.PARKED, State.DENIED) if everything else (State.FREE,)
    done: set[str] = set()
    for entry in _select(desk, _held_by_us, *states):
        if entry is None:
            yield None
            continue
        if everything and desk.mode is Mode.ENFORCE:
            return  # switched on again meanwhile
        record = entry.record
        if entry.key in done or record is None or not _held_by_us(entry):
            continue
        if entry.retry_at > now and not everything:
            continue
        parts = desk.book.together(entry)
        done.update(part.key for part in parts)
        yield _freeing(record, [part for part in parts if part.record is not None])


def _select(desk: Desk, wanted: Callable[[Entry], bool], *states: State) -> Iterator[Entry | None]:
    """Those entries in one of these states that are wanted, in order of key; None where others may be answered.

    They may change, or leave, while they are read.
    """
    book = desk.book
    keys: list[str] = []
    for number, key in enumerate(chain.from_iterable(map(book.keys_in, states))):
        if number % _AT_ONCE == 0:
            yield None
        entry = book.get(key)
        if entry is not None and wanted(entry):
            keys.append(key)
    heapify(keys)  # not sorted: that would take long where they are a hundred thousand
    for number in range(len(keys)):
        if number % _AT_ONCE == 0:
            yield None
        entry = book.get(heappop(keys))
        if entry is not None:
            yield entry


def _freeing(record: JobRecord, parts: Sequence[Entry]) -> Plan:
    """One job is let go, all its components together; one that its user holds too stays held by him."""
    updates: list[Command] = []
    for part in parts:
        if part.record is not None:
            kept = AdmissionRecord(part.token, Standing.FREE)
            updates.append(Update(part.record.target, unbinding(part, part.record, kept)))
    users = any(part.held_by_user for part in parts)
    last: Command = UserHold(whole(record)) if users else Release(whole(record))
    return Plan("free", whole(record), (*updates, last), tuple(part.key for part in parts))


def applied(desk: Desk, plan: Plan, outcome: Outcome) -> None:
    """Take in what became of a plan. Where that is not known, the next snapshot tells."""
    now = desk.now()
    refused = not (outcome.unsure or outcome.unreached) and outcome.done < len(plan.chain)
    if plan.action in _PUT_OFF and refused:
        for key in (plan.queued,) if plan.queued else plan.keys:
            _put_off(desk, key, f"Slurm refused to {_PUT_OFF[plan.action]} it: {outcome.error}")
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
            entry.hold = HoldKind.USER if entry.held_by_user else None
            entry.refusals = entry.retry_at = 0
            desk.book.move(entry, Event.FREE)
            desk.book.decided(entry, "free", now, desk.mode, cause="the mode does not act on it", rule=Rule.MODE)
        elif plan.action == "hold" and outcome.done:
            why = Reason(Code.HELD, detail=entry.note or outcome.error)
            desk.book.decided(entry, "hold", now, desk.mode, [why], cause="free to start in Slurm")
        elif plan.action == "mend" and outcome.done:
            desk.book.decided(entry, "mend", now, desk.mode, cause="its binding was changed", rule=Rule.RECONCILE)


def _bound(desk: Desk, entry: Entry, plan: Plan, outcome: Outcome, now: int) -> None:
    if outcome.done == len(plan.chain):
        desk.book.move(entry, Event.BOUND, desk.ledger.claims[entry.key])
        entry.hold = None
        entry.released = now
        entry.refusals = entry.retry_at = 0
        desk.book.save(entry)
        desk.book.decided(entry, "release", now, desk.mode, cause="admission pass", rule=Rule.ADMISSION)
        return
    entry.note = f"it could not be bound in Slurm: {outcome.error}"
    desk.book.move(entry, Event.UNBIND)
    why = Reason(Code.BINDING, detail=outcome.error)
    desk.book.decided(entry, "bind-failed", now, desk.mode, [why], cause="Slurm refused")
    if plan.queued and not entry.seen:
        desk.book.drop(entry)  # a task that Slurm has not split off; its array goes on waiting


def _put_off(desk: Desk, key: str, note: str) -> None:
    """Slurm has refused it and would again: do not ask it each round, nor let it stand in others' way."""
    entry = desk.book.get(key)
    if entry is not None:
        entry.refusals += 1
        entry.retry_at = desk.now() + min(_PATIENCE_S << (entry.refusals - 1), _LONGEST_S)
        entry.note = note


# -- what must be held -----------------------------------------------------------------------------------------------


def _hold_strays(desk: Desk) -> Iterator[Plan | None]:
    """Jobs that wait for power, by our book, but are free to start in Slurm."""
    for entry in _select(desk, _startable, State.WAITING, State.PARKED, State.DENIED):
        if entry is None:
            yield None
            continue
        record = entry.record
        if record is None or not _startable(entry):
            continue
        if entry.state is State.DENIED:
            desk.book.move(entry, Event.WAIT)
        entry.hold = HoldKind.BOTH if entry.held_by_user else HoldKind.POWER
        desk.book.save(entry)
        yield _holding(entry, record)


def _overdue(desk: Desk) -> Iterator[Plan | None]:
    """Jobs that were placed but did not start in time: their watts are stranded there.

    They keep their claim until Slurm shows them held, for until then they may start.
    """
    grace_s = desk.site.policy.start_grace_s
    now = desk.now()
    for entry in _select(desk, _startable, State.ADMITTED):
        if entry is None:
            yield None
            continue
        record = entry.record
        if record is None or not _startable(entry):
            continue
        if entry.held_by_user:
            continue  # its user has just held it, as the next snapshot will show
        if record.array_tasks and not desk.ledger.claims[entry.key].copies:
            entry.released = now  # as many of its tasks run as its throttle allows: the rest holds no watts till then
            continue
        since = entry.released or entry.created  # its begin time does not count: its user may move that at any time
        # By both clocks: the wall's may leap ahead, and what touches a job is at times not its release.
        if min(now - since, desk.clock.monotonic() - entry.touched) < grace_s or record.reason in _STARTING_REASONS:
            continue
        cause = f"not started after {grace_s} s"
        yield _taken_back(desk, entry, record, Reason(Code.STARTING, detail=record.reason), cause, Rule.START_GRACE)


def _crowded_out(desk: Desk) -> Iterator[Plan | None]:
    """Jobs that were placed, have not started, and would be turned away in a crowded zone while another has room."""
    zones = set(lasting(desk))
    for entry in _select(desk, _startable, State.ADMITTED) if zones else ():
        record = entry.record if entry is not None else None
        reason = _turned_away(desk, entry, zones) if entry is not None else None
        if entry is None or record is None or reason is None:
            yield None
            continue
        if record.array_tasks or record.het_job_id is not None or entry.held_by_user:
            continue
        found = yield from elsewhere(desk, entry)
        there = desk.book.get(entry.key) is entry and entry.state is State.ADMITTED and _startable(entry)
        if found is not None and there and lasting(desk):
            if entry.hold is None:  # else Slurm has refused to hold it before
                desk.moves.moved(desk.ledger.now)
            yield _taken_back(desk, entry, record, reason, "another zone has room", Rule.BALANCE)


def _turned_away(desk: Desk, entry: Entry, zones: Collection[str]) -> Reason | None:
    """Why it could not start now: one of these zones has less than nothing left, its own watts there counted."""
    claim = desk.ledger.claims.get(entry.key)
    for charge in claim.charges if claim is not None and _startable(entry) else ():
        meter = desk.ledger.meters[charge.zone]
        if charge.zone in zones and meter.room_w < 0:
            left_w = charge.est_w + meter.headroom_w
            return Reason(Code.STRAY, charge.zone, charge.est_w, left_w, format_watts(meter.stray_w))
    return None


def _taken_back(desk: Desk, entry: Entry, record: JobRecord, reason: Reason, cause: str, rule: Rule) -> Plan:
    """A job that has its place and has not started is held, to be placed anew."""
    entry.note = reason.text
    entry.hold = HoldKind.POWER
    desk.book.save(entry)
    desk.book.decided(entry, UNBIND, desk.now(), desk.mode, [reason], cause=cause, rule=rule)
    return _holding(entry, record)


def _startable(entry: Entry) -> bool:
    """Whether Slurm last showed it pending and not held."""
    record = entry.record
    return record is not None and record.state is JobState.PENDING and not record.held


def _held_by_us(entry: Entry) -> bool:
    return entry.record is not None and entry.record.held and entry.held_by_us


def _holding(entry: Entry, record: JobRecord) -> Plan:
    kept = AdmissionRecord(entry.token, Standing.HOLD, hold=entry.hold or HoldKind.POWER)
    update = Update(record.target, unbinding(entry, record, kept))
    return Plan("hold", record.target, (UserHold(whole(record)), update), (entry.key,))
