"""A snapshot of Slurm's jobs against the book: what each job really is, and what follows for its claim.

Slurm is the truth about jobs. A snapshot is older than what the hooks have told since it was begun: an entry touched
later than that is left for the next one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from slurm_power.core.admission import Reject
from slurm_power.core.claim import WHOLE_NODE, Claim, split_over
from slurm_power.core.lifecycle import CLAIMING, Event, State
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import Mode
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.core.request import Request
from slurm_power.core.window import Window
from slurm_power.ports import HoldKind, JobRecord, JobState
from slurm_power.service.asking import Ask, Free, interpret
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.facts import from_record
from slurm_power.service.launch import claim_on
from slurm_power.service.world import nodes_of

_AT_ONCE = 25
"""Records that are taken in before others get their turn."""
_ON_NODES = frozenset({JobState.CONFIGURING, JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})


class Observer:
    """Brings a desk's book in step with Slurm. `holds` are what the database remembers of holds, by token."""

    def __init__(self, desk: Desk, holds: dict[str, HoldKind] | None = None) -> None:
        self.desk = desk
        self._holds = holds or {}

    def observe(self, records: Sequence[JobRecord], begun: float, *, whole: bool = True) -> None:
        """Take in records read from Slurm; `begun` is the monotonic time at which reading began.

        `whole` says that these are all of Slurm's jobs, so that one that is missing is gone.
        """
        for _ in self.steps(records, begun, whole=whole):
            pass

    def steps(self, records: Sequence[JobRecord], begun: float, *, whole: bool = True) -> Iterator[None]:
        """The same, yielding after every few records so that others can be answered meanwhile."""
        alive = [record for record in records if record.state is not JobState.ENDED]
        if whole:
            self.desk.seen = begun
            self._gone({self._key(record) for record in alive}, begun)
        # What runs is a fact and is counted first; what was admitted but has not started must fit beside it.
        for number, record in enumerate(sorted(alive, key=_seniority)):
            if number % _AT_ONCE == 0:
                yield
            key = self._key(record)
            if self._settled(key, record, begun):
                continue
            if record.state in _ON_NODES:
                self._running(key, record)
            else:
                self._pending(key, record)

    def _settled(self, key: str, record: JobRecord, begun: float) -> bool:
        """Whether nothing new can be learnt: touched since reading began, or exactly as it was.

        The pending rest of an array is looked at each time: how much of it may run depends on its started tasks. So
        is a parked job whose time has come.
        """
        known = self.desk.book.get(key)
        if known is None or known.touched > begun:
            return known is not None
        ask = known.ask
        if known.state is State.PARKED and ask is not None and 0 < ask.request.not_before <= self.desk.ledger.now:
            return False
        return known.record == record and not known.dirty and not record.array_tasks

    # -- identity -----------------------------------------------------------------------------------------------

    def _key(self, record: JobRecord) -> str:
        """The entry's key: the token of the admission record, and the task of an array; else the job's own id."""
        found = find_record(record.admin_comment)
        if found is None:
            known = self.desk.book.of_job(record.job_id)
            return known.key if known is not None else f"job{record.job_id}"
        if record.array_task_id is not None:
            return f"{found.token}.{record.array_task_id}"
        # The last pending task of an array keeps the record of the whole, also when it was bound as one task.
        alone = f"{found.token}.{record.array_tasks}"
        return alone if record.array_tasks and self.desk.book.get(alone) is not None else found.token

    def _entry(self, key: str, record: JobRecord, state: State) -> Entry:
        """The entry of a record, made in `state` if the book has none."""
        desk = self.desk
        entry = desk.book.get(key) or desk.book.of_job(record.job_id)
        if entry is not None and entry.key != key:
            # The same job under another token: its pending rest was split, or it was bound anew.
            desk.book.drop(entry)
            entry = None
        if entry is None:
            token = key.rpartition(".")[0] if record.array_task_id is not None and "." in key else key
            parent = desk.book.get(token)
            entry = Entry(key, token, state, desk.now(), 0.0, record.uid, record=record)
            if parent is not None and parent.ask is not None:
                entry.ask = replace(parent.ask, request=replace(parent.ask.request.with_copies(1), id=key))
            desk.book.add(entry)
        desk.book.know(entry, record)
        return entry

    # -- on nodes -----------------------------------------------------------------------------------------------

    def _running(self, key: str, record: JobRecord) -> None:
        desk = self.desk
        counts = desk.world.zones_of(nodes_of(record.node_list))
        entry = self._entry(key, record, State.FREE)
        if record.state is JobState.CONFIGURING and entry.gate != (record.job_id, record.restarts):
            self._hand_over(entry, record)
            return  # its prolog is running: the gate decides, not we
        if not counts:
            if entry.state is not State.FREE:
                desk.book.move(entry, Event.FREE)
            return
        start = record.start_time if record.start_time is not None else desk.now()
        made = claim_on(desk, entry, counts, min(start, desk.now()), record.end_time)
        claim = self._by_record(entry, record, counts, start) if isinstance(made, str) else made
        if entry.gate != (record.job_id, record.restarts):
            self._ungated(entry, record, claim)
        desk.book.move(entry, Event.LAUNCH, replace(claim, placed=True))

    def _hand_over(self, entry: Entry, record: JobRecord) -> None:
        """A task of an admitted array is about to start: it takes its copy of what the pending rest has claimed."""
        desk = self.desk
        rest, found = desk.book.get(entry.token), find_record(record.admin_comment)
        if entry.state is not State.FREE or rest is None or rest is entry or found is None:
            return
        claim = self._claim_again(entry, record, found)
        if claim is None:
            return
        lent = desk.book.take_copy(rest)
        if desk.ledger.shortfall_instead(entry.key, claim) is None:
            self._admit(entry, claim)
        elif lent is not None:
            desk.ledger.replace(lent.id, lent)

    def _by_record(self, entry: Entry, record: JobRecord, counts: dict[str, int], start: int) -> Claim:
        """A claim for a running job whose envelope cannot be read: by its admission record, else by its nodes' part.

        What runs has to be counted, whatever its comment says by now.
        """
        desk = self.desk
        policy = desk.site.policy
        found = find_record(record.admin_comment)
        charges = found.charges if found is not None else ()
        topology = desk.site.topology
        part_w = sum(topology.zones[z].limit_w * n // max(len(topology.zones[z].nodes), 1) for z, n in counts.items())
        by_qos = {tier.qos: tier for tier in policy.tiers.values()}
        request = Request(
            id=entry.key,
            tier=by_qos.get(record.qos, policy.tiers[policy.default_tier]),
            est_w=sum(c.est_w for c in charges) or part_w,
            max_w=sum(c.max_w for c in charges) or part_w,
            group=f"{record.uid}/{record.name}",
            ask=NodeAsk(nodes=record.node_count),
            time_limit_s=record.time_limit_s,
            uid=record.uid,
            account=record.account,
        )
        entry.ask = Ask(request=request, facts=from_record(record), submitted=record.submit_time)
        claim = request.claim(split_over(counts, request.est_w, request.max_w), min(start, desk.now()), WHOLE_NODE)
        end = record.end_time
        return claim if end is None or end <= claim.window.start else claim.at(Window(claim.window.start, end))

    def _ungated(self, entry: Entry, record: JobRecord, claim: Claim) -> None:
        """A start that the gate did not see: before we were there, while we were away, or past it."""
        desk = self.desk
        entry.gate = (record.job_id, record.restarts)
        short = desk.ledger.shortfall_instead(entry.key, claim)
        action = "found-running" if short is None else "found-running-over"
        reasons = [] if short is None else [{"code": "over", "subject": short.element, "asked_w": short.asked_w,
                                             "free_w": short.free_w}]
        desk.book.decided(entry, action, desk.now(), desk.mode, reasons)

    # -- pending ------------------------------------------------------------------------------------------------

    def _pending(self, key: str, record: JobRecord) -> None:
        found = find_record(record.admin_comment)
        fresh = self.desk.book.get(key) is None
        entry = self._entry(key, record, State.FREE)
        if self.desk.mode is not Mode.ENFORCE or (found is not None and found.standing is Standing.FREE):
            self._leave(entry)
        elif record.held:
            self._held(entry, record, found, fresh=fresh)
        else:
            self._unheld(entry, record, found)

    def _leave(self, entry: Entry) -> None:
        if entry.state is not State.FREE:
            self.desk.book.move(entry, Event.FREE)

    def _held(self, entry: Entry, record: JobRecord, found: AdmissionRecord | None, *, fresh: bool) -> None:
        desk = self.desk
        if entry.state is State.BINDING:
            # Its release did not take effect; the claim goes, the job queues again.
            desk.book.move(entry, Event.UNBIND)
        if fresh or entry.hold is None:
            entry.hold = self._whose_hold(entry, found)
        ask = self._ask_anew(entry, record)
        if ask is None:
            return
        parked = entry.hold is not HoldKind.POWER or ask.waits is not None
        if parked and entry.state is not State.PARKED:
            desk.book.move(entry, Event.PARK)
        elif not parked and entry.state is not State.WAITING:
            self._to_queue(entry)

    def _whose_hold(self, entry: Entry, found: AdmissionRecord | None) -> HoldKind:
        """The database knows best (users cannot change it), then the admission record; else it is the user's own."""
        if entry.token in self._holds:
            return self._holds[entry.token]
        if found is not None and found.standing is Standing.HOLD and found.hold in set(HoldKind):
            return HoldKind(found.hold)
        return HoldKind.USER

    def _unheld(self, entry: Entry, record: JobRecord, found: AdmissionRecord | None) -> None:
        """Pending and free to start: fine if it was admitted and its claim is there or still fits."""
        desk = self.desk
        if entry.state is State.BINDING:
            desk.book.move(entry, Event.BOUND, desk.ledger.claims[entry.key])
        if found is None or found.standing is not Standing.ADMIT:
            self._stray(entry, record)
            return
        if record.restarts > found.restarts:
            entry.dirty = True
            self._to_queue(entry)  # requeued: it goes back through admission
            return
        if entry.state is State.ADMITTED and not record.array_tasks:
            return
        claim = self._claim_again(entry, record, found)
        entry.hold = None
        if claim is not None and desk.ledger.shortfall_instead(entry.key, claim) is None:
            self._admit(entry, claim)
        else:
            self._to_queue(entry)

    def _admit(self, entry: Entry, claim: Claim) -> None:
        book = self.desk.book
        if entry.state is State.ADMITTED:
            book.ledger.replace(entry.key, claim)
        elif entry.state is State.RUNNING:
            book.move(entry, Event.ADMIT, claim)
        else:
            if entry.state is not State.WAITING:
                book.move(entry, Event.WAIT)
            book.move(entry, Event.BIND, claim)
            book.move(entry, Event.BOUND, claim)

    def _claim_again(self, entry: Entry, record: JobRecord, found: AdmissionRecord) -> Claim | None:
        """The claim that the admission record stands for; for the rest of an array, of as many tasks as may run."""
        desk = self.desk
        ask = self._ask_anew(entry, record)
        if ask is None or ask.waits is not None:
            return None
        if any(charge.zone not in desk.ledger.nodes for charge in found.charges):
            return None
        copies = desk.book.may_start(ask.facts.array, record)
        charges = tuple(
            replace(c, nodes=c.nodes * copies, est_w=c.est_w * copies, max_w=c.max_w * copies) for c in found.charges
        )
        share = max((desk.ledger.nodes[c.zone].share_milli(ask.request.ask) for c in charges), default=1_000)
        entry.charges = found.charges
        if not charges:
            return None
        return replace(replace(ask.request, id=entry.key).claim(charges, desk.now(), share), copies=copies)

    def _stray(self, entry: Entry, record: JobRecord) -> None:
        """Pending without an admission: submitted before we were there, or let go past us."""
        ask = self._ask_anew(entry, record)
        if ask is None or not self.desk.acts_on(ask):
            return
        self._to_queue(entry)

    def _to_queue(self, entry: Entry) -> None:
        """Into the queue; the next pass holds it in Slurm."""
        desk = self.desk
        entry.hold = HoldKind.POWER
        if entry.state is State.RUNNING:
            desk.book.move(entry, Event.REQUEUE)
        elif entry.state in CLAIMING:
            desk.book.move(entry, Event.UNBIND)
        else:
            desk.book.move(entry, Event.WAIT)

    def _ask_anew(self, entry: Entry, record: JobRecord) -> Ask | None:
        """What the job asks for now; None (and the entry left alone) where that is nothing, or nothing readable."""
        desk = self.desk
        known = entry.ask
        if known is not None and not entry.dirty and not record.array_tasks and known.waits is None:
            return known
        facts = replace(from_record(record), user_hold=entry.hold in (HoldKind.USER, HoldKind.BOTH))
        submitted = known.submitted if known is not None else record.submit_time
        found = interpret(facts, desk.world, entry.key, desk.now(), submitted)
        entry.dirty = False
        if isinstance(found, Ask):
            entry.ask = found
            return found
        if isinstance(found, Reject):
            entry.verdict = found
            entry.hold = entry.hold or HoldKind.POWER
            if entry.state is not State.PARKED and entry.state is not State.RUNNING:
                desk.book.move(entry, Event.PARK)
        elif isinstance(found, Free):
            self._leave(entry)
        return None

    # -- gone ---------------------------------------------------------------------------------------------------

    def _gone(self, present: set[str], begun: float) -> None:
        """Drop what Slurm no longer has. A submission that it has never shown is given its time."""
        desk = self.desk
        now = desk.now()
        for entry in list(desk.book.entries.values()):
            if entry.key in present or entry.touched > begun:
                continue
            if entry.seen or now - entry.created >= desk.site.policy.token_ttl_s:
                desk.book.drop(entry)


def _seniority(record: JobRecord) -> tuple[bool, bool, int, int]:
    """What runs first, then what is admitted and unheld, by age: whoever was promised watts first keeps them first."""
    return record.state not in _ON_NODES, record.held, record.submit_time, record.job_id


