"""The launch gate: compare and reserve on the nodes that Slurm has really chosen, in one step."""

from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.claim import RESERVATION, Claim, split_over
from slurm_power.core.lifecycle import CLAIMING, Event, State
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.record import NEVER, Standing, find_record
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.units import format_watts
from slurm_power.ports import Rule
from slurm_power.service.asking import Ask, Free, interpret
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk, Reply
from slurm_power.service.facts import from_record
from slurm_power.service.world import nodes_of

_RETRY_S = 2
_START = "start on its nodes"
_TOLD = ("SLURM_JOB_NODELIST", "SLURM_JOB_UID", "SLURM_JOB_LICENSES", "SLURM_JOB_NAME", "SLURM_JOB_COMMENT")
"""Variables that stay the same when the gate is asked again for the same start."""


def job_of(env: Mapping[str, str]) -> int | None:
    """The id of the job that the gate asks about; None where its environment does not say."""
    text = env.get("SLURM_JOB_ID", "")
    return int(text) if text.isdigit() else None


def entry_of(desk: Desk, env: Mapping[str, str]) -> Entry | None:
    """The entry of the job that the gate asks about. A task of an array goes by its number: its pending rest may
    have had the same job id.
    """
    array, task = env.get("SLURM_ARRAY_JOB_ID", ""), env.get("SLURM_ARRAY_TASK_ID", "")
    if array.isdigit() and task.isdigit():
        return desk.book.of_task(int(array), int(task))
    job_id = job_of(env)
    return desk.book.of_job(job_id) if job_id is not None else None


def launch(desk: Desk, env: Mapping[str, str], *, final: bool = True) -> Reply:
    """Whether the job may start on its nodes. Asked again for the same start, it answers the same.

    Where watts are short and this is not `final`, the verdict is `look`: the claims of jobs that have just ended may
    stand in the way, so that Slurm is to be read once more before anybody is turned away. So it is while the ledger
    is not settled.
    """
    job_id = job_of(env)
    entry = entry_of(desk, env)
    now = desk.now()
    counts = desk.world.zones_of(nodes_of(env.get("SLURM_JOB_NODELIST", "")))
    if desk.mode is not Mode.ENFORCE or not counts:
        return Reply("allow")
    if job_id is None or (entry is None and final):
        return Reply("deny", "slurm_power does not know this job")
    if entry is None:
        return Reply("look")  # its release was still on its way when Slurm was read for it
    start = (job_id, _restarts(env))
    told = tuple(env.get(name, "") for name in _TOLD)
    passed = entry.gate == start and entry.state is State.RUNNING
    if not final and (_another(entry, env, passed) or (passed and entry.gate_told not in ((), told))):
        return Reply("look")  # slurmctld may have lost its state and begun its job ids anew
    if _another(entry, env, passed):
        return Reply("deny", "slurm_power knows another job by this id")
    if passed:
        return Reply("allow")
    if not desk.settled:
        return Reply("wait", fields={"seconds": _RETRY_S}) if final else Reply("look")
    claim = claim_on(desk, entry, counts, now)
    if isinstance(claim, str):
        return _denied(desk, entry, claim, now)
    rest = desk.book.get(entry.token) if entry.task is not None and entry.state not in CLAIMING else None
    lent = desk.book.take_copy(rest) if rest is not None and rest is not entry else None
    short = _short_at_start(desk, entry, claim)
    if short is not None and (entry.state is not State.FREE or _ours(desk, entry)):
        if lent is not None:
            desk.ledger.replace(lent.id, lent)
        if not final:
            return Reply("look")
        return _short(desk, entry, short, now)
    entry.gate, entry.gate_told = start, told
    entry.gate_asked = None
    entry.note = ""
    entry.touched = desk.clock.monotonic()
    desk.book.move(entry, Event.LAUNCH, claim)
    desk.book.decided(entry, "launch", now, desk.mode, cause=_START, rule=Rule.LAUNCH_GATE)
    return Reply("allow")


def _another(entry: Entry, env: Mapping[str, str], passed: bool) -> bool:
    """Whether the gate asks about another job than ours of that id: another user's, or already let pass elsewhere."""
    uid = env.get("SLURM_JOB_UID", "")
    if uid.isdigit() and int(uid) != entry.uid:
        return True
    if not passed:
        return False
    known = entry.gate_told[0] if entry.gate_told else entry.record.node_list if entry.record is not None else ""
    return set(nodes_of(known)) != set(nodes_of(env.get("SLURM_JOB_NODELIST", "")))


def end(desk: Desk, env: Mapping[str, str]) -> Reply:
    """A job's end, as the epilog tells it: the claim stays until the job has left COMPLETING, which a poll sees."""
    entry = entry_of(desk, env)
    if entry is not None:
        desk.book.decided(entry, "end", desk.now(), desk.mode, cause="epilog")
    return Reply("allow")


def claim_on(desk: Desk, entry: Entry, counts: Mapping[str, int], now: int, end_at: int | None = None) -> Claim | str:
    """The claim of an entry on so many nodes in each zone; a text where it has no envelope that can be read."""
    ask = ask_of(desk, entry, now)
    if isinstance(ask, str):
        return ask
    single = ask.request.with_copies(1)
    nodes = sum(counts.values())
    est_w, max_w = single.est_w, single.max_w
    if ask.scales and nodes > single.ask.nodes:
        est_w = -(-est_w * nodes // single.ask.nodes)
        max_w = -(-max_w * nodes // single.ask.nodes)
    charges = split_over(dict(counts), est_w, max_w)
    share = max(desk.ledger.nodes[zone].share_milli(single.ask) for zone in counts)
    claim = replace(single, id=entry.key).claim(charges, now, share)
    if end_at is not None and end_at > now:
        claim = claim.at(type(claim.window)(now, end_at))
    return as_admitted(desk, entry, claim)


def as_admitted(desk: Desk, entry: Entry, claim: Claim) -> Claim:
    """A claim made anew for an entry: it draws on the reservation that the entry was admitted to draw on, if any."""
    within = _within(desk, entry)
    return desk.ledger.drawing(claim, within) if within else claim


def _within(desk: Desk, entry: Entry) -> str:
    """The id of that reservation's claim, as the entry's claim or its record has it."""
    claim = desk.ledger.claims.get(entry.key)
    if claim is not None or entry.record is None:
        return claim.within if claim is not None else ""
    found = find_record(entry.record.admin_comment)
    admitted = found is not None and found.standing is Standing.ADMIT and found.reservation
    return RESERVATION + found.reservation if found is not None and admitted else ""


def ask_of(desk: Desk, entry: Entry, now: int) -> Ask | str:
    """What the entry asks for; read from Slurm's record where the submission was never seen."""
    if entry.ask is not None and not entry.dirty:
        return entry.ask
    if entry.record is None:
        return "slurm_power has not seen this job"
    facts = replace(from_record(entry.record), user_hold=False, dependency="", begin=0)
    found = interpret(facts, desk.world, entry.key, now, entry.record.submit_time)
    entry.dirty = False
    if isinstance(found, Ask):
        entry.ask = found
        return found
    if isinstance(found, Free):
        return "its nodes lie in zones, but it asked for none"
    return "; ".join(reason.text for reason in found.reasons)


def _short_at_start(desk: Desk, entry: Entry, claim: Claim) -> Shortfall | None:
    """A start puts real load on its zones: after a cut it is denied, also where its watts were promised before."""
    promised = desk.ledger.remove(entry.key)
    try:
        return desk.shortfall_instead(entry.key, claim)
    finally:
        if promised is not None:
            desk.ledger.add(promised)


def _restarts(env: Mapping[str, str]) -> int:
    text = env.get("SLURM_JOB_RESTART_COUNT", "0")
    return int(text) if text.isdigit() else 0


def _ours(desk: Desk, entry: Entry) -> bool:
    return entry.ask is not None and desk.acts_on(entry.ask)


def _short(desk: Desk, entry: Entry, short: Shortfall, now: int) -> Reply:
    """Deny; but a job that a denial would kill waits a while first."""
    record = entry.record
    dies = record is not None and not (record.batch and record.requeue)
    if dies:
        moment = desk.clock.monotonic()
        if entry.gate_asked is None:
            entry.gate_asked = moment
        if moment - entry.gate_asked < desk.site.policy.gate_wait_s:
            return Reply("wait", fields={"seconds": _RETRY_S})
    why = f"{short.element} lacks {format_watts(short.asked_w - short.free_w)}"
    return _denied(desk, entry, why, now)


def _denied(desk: Desk, entry: Entry, why: str, now: int) -> Reply:
    reason = Reason(Code.GATE, detail=why)
    told = unholdable(entry) and entry.note != ""  # Slurm tries it every two minutes: once for each start is enough
    entry.note = reason.text
    entry.gate_asked = None
    entry.touched = desk.clock.monotonic()
    if entry.state in CLAIMING or entry.state in (State.FREE, State.DENIED):
        desk.book.move(entry, Event.DENY)
    if not told:
        desk.book.decided(entry, "deny", now, desk.mode, [reason], cause=_START, rule=Rule.LAUNCH_GATE)
    return Reply("deny", reason.text)


def unholdable(entry: Entry) -> bool:
    """Whether Slurm lets nobody hold the job: it comes from scrontab."""
    record = find_record(entry.record.admin_comment) if entry.record is not None else None
    return record is not None and record.hold == NEVER
