"""A user's `scontrol update`, `hold` or `release`: what admission decided stays as it is.

Slurm's own superusers never come here. On Slurm 22.05 strangers do (ownership is checked later), so nothing here
changes what we believe of a job unless its owner asks.
"""

from collections.abc import Mapping

from slurm_power.core.envelope import parse_comment
from slurm_power.core.errors import EnvelopeError
from slurm_power.core.lifecycle import Event, State
from slurm_power.core.policy import Mode
from slurm_power.core.record import AdmissionRecord, Standing, find_record
from slurm_power.core.window import Window
from slurm_power.ports import HoldKind
from slurm_power.service.asking import forbidden
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk, Reply
from slurm_power.service.facts import from_hook

_ALLOW = Reply("allow")
_HARMLESS = frozenset({"priority", "nice", "time_limit", "time_min", "begin_time", "end_time", "name"})
"""Fields that have rules of their own below, or that admission does not look at."""
_WHY = (
    "power was admitted for this job as it was submitted; to change it, hold it first (scontrol hold), "
    "change it, and release it"
)


def modify(desk: Desk, uid: int, job: Mapping[str, object], rec: Mapping[str, object]) -> Reply:
    """Decide on a user's change of a job; `job` holds the changed fields, `rec` the job as Slurm has it."""
    entry = _entry_of(desk, rec)
    if entry is None or desk.mode is not Mode.ENFORCE or entry.state is State.FREE:
        return _unknown(desk, rec, job)
    owner = uid == rec.get("user_id")
    facts = from_hook(job)
    refused = forbidden(facts)
    if refused is not None:
        return _deny(refused.text)
    if "nice" in job and rec.get("priority", 0) == 0:
        return _deny("nice: Slurm would let the job go with it; change it once the job is released")
    if entry.state in (State.WAITING, State.PARKED):
        reply = _change_of_held(desk, entry, job, owner=owner)
    else:
        reply = _change_of_admitted(desk, entry, job, rec, owner=owner)
    if reply is None and "priority" in job:
        task = _task(rec)
        if task is not None and entry.task is None and owner and not _releases(job):
            entry = desk.book.split(entry, task, desk.now(), State.PARKED)
        reply = _priority(desk, entry, job, owner=owner)
    return reply or _ALLOW


def _entry_of(desk: Desk, rec: Mapping[str, object]) -> Entry | None:
    record = find_record(str(rec.get("admin_comment") or ""))
    task = _task(rec)
    if task is not None:
        return desk.book.of_task(*task) or _task_of(desk, record, task)
    job_id = rec.get("job_id")
    entry = desk.book.of_job(job_id) if isinstance(job_id, int) else None
    if entry is None and record is not None:
        entry = desk.book.get(record.token)
    return entry


def _task(rec: Mapping[str, object]) -> tuple[int, int] | None:
    """The array's job id and the task, if the job is one task of an array."""
    array, task = rec.get("array_job_id"), rec.get("array_task_id")
    return (array, task) if isinstance(array, int) and isinstance(task, int) else None


def _task_of(desk: Desk, record: AdmissionRecord | None, task: tuple[int, int]) -> Entry | None:
    """Slurm has split this task off just now, to ask about it: what is decided is for this task alone.

    While the rest of its array has a claim, that claim counts for the task too.
    """
    parent = desk.book.get(record.token) if record is not None else None
    if parent is None or parent.state not in (State.WAITING, State.PARKED):
        return parent
    return desk.book.split(parent, task, desk.now(), parent.state)


def _unknown(desk: Desk, rec: Mapping[str, object], job: Mapping[str, object]) -> Reply:
    """A job that we do not act on. Our licences are not for it, though, and where it is held for power it stays so."""
    refused = forbidden(from_hook(job))
    if refused is not None and desk.mode is Mode.ENFORCE:
        return _deny(refused.text)
    record = find_record(str(rec.get("admin_comment") or ""))
    held = record is not None and record.standing is Standing.HOLD
    if held and desk.mode is Mode.ENFORCE and (_releases(job) or "nice" in job):
        return _deny("this job is held for power; it is released when its watts are free")
    return _ALLOW


def _change_of_held(desk: Desk, entry: Entry, job: Mapping[str, object], *, owner: bool) -> Reply | None:
    """A job without a claim may be changed as its user likes; it is read anew before it is admitted."""
    if job.get("prefer"):
        return _deny("prefer: it would lead the job past the zone that it is bound to; use features")
    comment = job.get("comment")
    if isinstance(comment, str) and comment:
        try:
            parse_comment(comment, desk.now(), desk.site.timezone)
        except EnvelopeError as error:
            return _deny(str(error))
    if owner and set(job) - {"priority"}:
        entry.dirty = True
        entry.touched = desk.clock.monotonic()
    return None


def _change_of_admitted(
    desk: Desk, entry: Entry, job: Mapping[str, object], rec: Mapping[str, object], *, owner: bool
) -> Reply | None:
    touched = sorted(set(job) - _HARMLESS)
    if touched:
        return _deny(f"{', '.join(touched)}: {_WHY}")
    limit = job.get("time_limit")
    if owner and isinstance(limit, (int, float)):
        return _longer(desk, entry, int(limit), rec.get("time_limit"))
    return None


def _longer(desk: Desk, entry: Entry, minutes: int, before: object) -> Reply | None:
    """A longer time limit is a new question: is the zone free that long?"""
    claim = desk.ledger.claims.get(entry.key)
    if claim is None or (isinstance(before, (int, float)) and minutes <= before):
        return None
    start = claim.window.start
    longer = claim.at(Window(start, max(claim.window.end, start + minutes * 60)))
    if not desk.settled:
        return _deny("the site's zones have just changed; please try again in a moment")
    short = desk.ledger.shortfall_instead(claim.id, longer)
    if short is not None:
        return _deny(f"{short.element} is promised to another job within that time")
    desk.ledger.replace(claim.id, longer)
    return None


def _priority(desk: Desk, entry: Entry, job: Mapping[str, object], *, owner: bool) -> Reply | None:
    if not _releases(job):
        if entry.state is State.BINDING:
            return _deny("its release is on its way to Slurm and would lift this hold too; please hold it again")
        if owner and entry.hold is not HoldKind.ADMIN:
            entry.hold = HoldKind.BOTH if entry.held_by_us else HoldKind.USER
            entry.touched = desk.clock.monotonic()
            if entry.state is State.WAITING:
                desk.book.move(entry, Event.PARK)
            else:
                desk.book.save(entry)
        return None
    if entry.hold is None or entry.hold is HoldKind.ADMIN:
        return None  # Slurm itself lets none but an operator lift an administrator's hold
    if entry.hold is HoldKind.POWER:
        return _deny("this job is held for power; it is released when its watts are free (spower explain)")
    if owner:
        # The user lifts his own hold: from now on only power holds the job, and the next pass looks at it.
        entry.hold = HoldKind.POWER
        entry.dirty = True
        entry.touched = desk.clock.monotonic()
        if entry.state is State.PARKED:
            desk.book.move(entry, Event.WAIT)
        else:
            desk.book.save(entry)
    message = "your hold is lifted; slurm_power releases the job as soon as its watts are free"
    return Reply("allow", message, {"priority": 0})


def _releases(job: Mapping[str, object]) -> bool:
    priority = job.get("priority")
    return isinstance(priority, (int, float)) and priority > 0


def _deny(why: str) -> Reply:
    return Reply("deny", f"slurm_power: {why}")
