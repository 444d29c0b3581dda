"""A submission: the hook's question, answered from memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from slurm_power.core.admission import Admit, Hold, Reject, Verdict, could_ever_fit
from slurm_power.core.binding import bind_features
from slurm_power.core.claim import Charge
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import NEVER, AdmissionRecord, Standing, put_record
from slurm_power.core.request import Request
from slurm_power.ports import HoldKind, Rule
from slurm_power.service.asking import Ask, Free, keeps_together
from slurm_power.service.binding import Binding
from slurm_power.service.book import Entry
from slurm_power.service.deciding import verdict_on
from slurm_power.service.desk import Desk, Reply
from slurm_power.service.facts import JobFacts
from slurm_power.service.wording import describe

_MOST_PARTS = 1_000
"""Zones over which a job might have to go: a few milliseconds where it finds its place, 30 where feeds are full."""
_SUBMISSION = "submission"
_PASS = Reply("pass")
_UNSETTLED = Reason(Code.NOT_ELIGIBLE, detail="the site's zones have just changed, and what runs is counted anew")


def submit(desk: Desk, job: Mapping[str, object]) -> Reply:
    """Decide on a submission. The claim of an admission counts from here on, under a token."""
    now = desk.now()
    token = desk.new_token()
    facts, asked = desk.descriptions.read(job, token, now)
    if isinstance(asked, Free):
        return _free(desk, facts, token)
    if isinstance(asked, Reject):
        if asked.reasons[0].code is Code.NO_PARTITION:
            return _unknown_partition(desk, facts, token, asked.reasons[0], now)
        return _rejected(desk, facts, token, asked, now)
    verdict = judge(desk, asked) if _quick(desk, asked.request) else _later(asked.request)
    if facts.cron and not isinstance(verdict, Reject):
        # Nobody can hold or update a scrontab job: the launch gate is where it meets the budget. What could never
        # pass there is refused now, while somebody reads the message, and not at the gate every two minutes.
        return _free(desk, facts, token, hold=NEVER)
    if not desk.acts_on(asked):
        return _observed(desk, asked, verdict, now)
    return _enforced(desk, asked, verdict, now)


def withdraw(desk: Desk, reply: Reply) -> None:
    """The hook had given up before this answer: Slurm has the job under the hook's own record, or not at all."""
    entry = desk.book.get(reply.token)
    if entry is not None and not entry.seen:
        desk.book.decided(entry, "unheard", desk.now(), desk.mode, cause="the hook had given up", rule=Rule.TIMEOUT)
        desk.book.drop(entry)


def _quick(desk: Desk, request: Request) -> bool:
    """Whether a place can be looked for while slurmctld waits: of a job over very many zones that takes long."""
    return not request.ask.spreads or min(request.ask.nodes, len(desk.ledger.nodes)) <= _MOST_PARTS


def _later(request: Request) -> Hold:
    return Hold((Reason(Code.LARGE, detail=str(request.ask.nodes)),))


def judge(desk: Desk, ask: Ask) -> Verdict:
    """The verdict on an ask that is new to the ledger; the same question that `spower check` puts."""
    reason = ask.waits or (Reason(Code.HET) if ask.facts.het else None)
    request = ask.request
    if reason is None and not request.not_before > desk.ledger.now:
        reason = _rumours(desk, request) if desk.settled else _UNSETTLED
    if reason is None:
        _let_the_head_go_first(desk, request)
    verdict = verdict_on(desk, ask, request)
    # What a reservation refuses it refuses to every part of the job too.
    rejected = isinstance(verdict, Reject) and not request.reservation
    if isinstance(verdict, Reject) and rejected and request.ask.together:
        verdict = _apart(desk, ask, verdict)
    if rejected and request.ask.copies > 1 and could_ever_fit(request.with_copies(1), desk.floor):
        verdict = Hold((Reason(Code.ARRAY),))
    if reason is not None and not isinstance(verdict, Reject):
        earliest = request.not_before if request.not_before > desk.ledger.now else None
        return Hold((reason,), earliest)
    return verdict


def _let_the_head_go_first(desk: Desk, request: Request) -> None:
    """What has come free since the last pass is for whoever heads the queue, before it is for a newcomer."""
    head = desk.shadow.head
    if head is None or desk.ignored_by(request) is not None or not _quick(desk, head):
        return
    entry = desk.book.get(head.id) if desk.preempting.kept(head.id) is None else None
    if entry is not None and entry.state is State.WAITING and entry.hold is HoldKind.POWER:
        desk.shadow.bring_forward()


def _apart(desk: Desk, ask: Ask, verdict: Reject) -> Reject:
    """The same, with what to write instead where the constraint alone keeps the job out of several zones."""
    request = ask.request
    if not could_ever_fit(replace(request, ask=replace(request.ask, together=False)), desk.floor):
        return verdict
    detail = (
        "GPUs for the whole job (--gpus, --gpus-per-task, --ntasks-per-gpu) keep it to one zone, and none is large "
        "enough; ask for them by the node, such as -N4 --gpus-per-node=8"
    )
    if keeps_together(ask.features):
        detail = (
            f"--constraint={ask.features} keeps it to one zone, and none is large enough; leave counts and brackets "
            "out, or submit a heterogeneous job with a component for each part, such as: "
            "sbatch -N2 -C x : -N2 -C y job.sh"
        )
    return replace(verdict, reasons=(Reason(Code.BINDING, detail=detail), *verdict.reasons))


def per_copy(charges: tuple[Charge, ...], copies: int) -> tuple[Charge, ...]:
    """The charges of one task of an array."""
    return tuple(Charge(c.zone, c.nodes // copies, c.est_w // copies, c.max_w // copies) for c in charges)


def _rumours(desk: Desk, request: Request) -> Reason | None:
    """Submissions that Slurm has not shown yet, or never did, may hold only so many watts of one user."""
    cap_w = desk.site.policy.rumour_cap_w
    left_w = desk.book.rumours.left_w(request.uid, cap_w, desk.clock.monotonic())
    if left_w is not None and request.est_w > left_w:
        return Reason(Code.RUMOURS, str(request.uid), request.est_w, left_w)
    return None


def _enforced(desk: Desk, ask: Ask, verdict: Verdict, now: int) -> Reply:
    if isinstance(verdict, Reject):
        return _rejected(desk, ask.facts, ask.request.id, verdict, now)
    if isinstance(verdict, Admit):
        charges = per_copy(verdict.claim.charges, ask.request.ask.copies)
        within = verdict.claim.within
        nodes = desk.reserved.nodes_for(within)
        binding = desk.binder.bind(ask, ask.request.id, charges, within=within, reservation=nodes)
        if isinstance(binding, Binding):
            return _admitted(desk, ask, verdict, binding, now)
        verdict = Hold((binding,))
    return _held(desk, ask, verdict, now)


def _admitted(desk: Desk, ask: Ask, verdict: Admit, binding: Binding, now: int) -> Reply:
    entry = _entry(desk, ask, State.ADMITTED, verdict, now)
    entry.charges = per_copy(verdict.claim.charges, ask.request.ask.copies)
    desk.book.add(entry, verdict.claim)
    desk.book.decided(entry, "admit", now, desk.mode, cause=_SUBMISSION, rule=Rule.ADMISSION)
    fields: dict[str, str | int] = {
        "licenses": binding.licenses,
        "features": binding.features,
        "admin_comment": binding.admin_comment,
    }
    if binding.excluded_nodes is not None:
        fields["exc_nodes"] = binding.excluded_nodes
    if binding.reservation:
        fields["reservation"] = binding.reservation
    if binding.nodes is not None:
        fields |= {"min_nodes": binding.nodes, "max_nodes": binding.nodes}
    if ask.qos:
        fields["qos"] = ask.qos
    given = {name: value for name, value in fields.items() if value != ""}
    if ask.facts.prefer and not ask.pinned:
        given["prefer"] = _preference(desk, ask.facts.prefer, entry.charges)
    return Reply("admit", describe(verdict, desk.book, now, ask), given, entry.token)


def _preference(desk: Desk, prefer: str, charges: Sequence[Charge]) -> str:
    """The user's preference within the zones of the admission; empty where nothing there could fulfil it."""
    if desk.world.zones_with(prefer).zones >= {charge.zone for charge in charges}:
        return bind_features(prefer, charges) or ""
    return ""


def _held(desk: Desk, ask: Ask, verdict: Hold, now: int) -> Reply:
    state = State.PARKED if ask.waits is not None or ask.facts.het else State.WAITING
    return _kept(desk, _entry(desk, ask, state, verdict, now), ask.facts, verdict, now)


def _unknown_partition(desk: Desk, facts: JobFacts, token: str, reason: Reason, now: int) -> Reply:
    """Held until the next round, which reads the partitions anew. One that there is not is refused by Slurm itself."""
    desk.lost_partition = True
    if not desk.in_scope(facts):
        return _PASS
    if facts.cron:
        return _free(desk, facts, token, hold=NEVER)
    verdict = Hold((reason,))
    entry = Entry(token, token, State.PARKED, now, desk.clock.monotonic(), facts.uid, verdict=verdict)
    return _kept(desk, entry, facts, verdict, now)


def _kept(desk: Desk, entry: Entry, facts: JobFacts, verdict: Hold, now: int) -> Reply:
    """Into the book, and held in Slurm with a record that says by whom."""
    ask = entry.ask
    entry.hold = HoldKind.USER if facts.user_hold else HoldKind.POWER
    desk.book.add(entry)
    desk.book.decided(entry, "hold", now, desk.mode, verdict.reasons, cause=_SUBMISSION)
    record = AdmissionRecord(entry.token, Standing.HOLD, ask.request.tier.name if ask else "", hold=entry.hold)
    fields: dict[str, str | int] = {"priority": 0, "admin_comment": put_record(facts.admin_comment, record)}
    if ask is not None and ask.qos:
        fields["qos"] = ask.qos
    message = describe(verdict, desk.book, now, ask)
    if facts.prefer:
        fields["prefer"] = ""  # it would lead past the zone that a later pass binds the job to
        message += "\nslurm_power: --prefer is left out, since the job has to wait"
    return Reply("hold", message, fields, entry.token)


def _observed(desk: Desk, ask: Ask, verdict: Verdict, now: int) -> Reply:
    """Observe records; advise says it too. The job goes in untouched."""
    entry = _entry(desk, ask, State.FREE, verdict, now)
    reasons, rule = ((), Rule.ADMISSION) if isinstance(verdict, Admit) else (verdict.reasons, "")
    desk.book.add(entry)
    action = f"would-{type(verdict).__name__.lower()}"
    desk.book.decided(entry, action, now, desk.mode, reasons, cause=_SUBMISSION, rule=rule)
    if desk.mode is Mode.ADVISE:
        return Reply("pass", describe(verdict, desk.book, now, ask, would=True))
    return _PASS


def _rejected(desk: Desk, facts: JobFacts, token: str, verdict: Reject, now: int) -> Reply:
    stray = Entry(token, token, State.FREE, now, desk.clock.monotonic(), facts.uid, verdict=verdict)
    enforced = desk.mode is Mode.ENFORCE
    action = "reject" if enforced else "would-reject"
    desk.book.decided(stray, action, now, desk.mode, verdict.reasons, cause=_SUBMISSION)
    if enforced:
        return Reply("reject", describe(verdict, desk.book, now))
    return Reply("pass", describe(verdict, desk.book, now, would=True)) if desk.mode is Mode.ADVISE else _PASS


def _free(desk: Desk, facts: JobFacts, token: str, hold: str = "") -> Reply:
    """Marked, so that the launch gate knows it without the daemon."""
    if desk.mode is not Mode.ENFORCE:
        return _PASS
    record = AdmissionRecord(token, Standing.FREE, hold=hold)
    return Reply("admit", "", {"admin_comment": put_record(facts.admin_comment, record)})


def _entry(desk: Desk, ask: Ask, state: State, verdict: Verdict, now: int) -> Entry:
    token = ask.request.id
    return Entry(token, token, state, now, desk.clock.monotonic(), ask.facts.uid, ask, verdict=verdict)

