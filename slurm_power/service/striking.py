"""What is written to Slurm about victims, and when it is proved that they have left."""

from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.giving_way import Means, Preemption, Trigger, Victim
from slurm_power.core.record import AdmissionRecord, Standing, find_record, put_record
from slurm_power.ports import (
    Cancel,
    Chain,
    HoldKind,
    JobRecord,
    JobState,
    LicenseRecord,
    RequeueHold,
    Signal,
    Update,
    UserHold,
)
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.leaving import on_nodes
from slurm_power.service.preempt_lines import for_whom

Write = tuple[Victim, Chain]


def warnings(desk: Desk, one: Preemption) -> list[Write]:
    """The signals to the batch shells of those who have notice. Who has no batch shell is told by `spower explain`."""
    name = desk.site.preemption.warn_signal
    return [
        (victim, (Signal(victim.target, name),))
        for victim in one.victims
        if victim.notice_s and (entry := on_nodes(desk, victim)) is not None and entry.record and entry.record.batch
    ]


def blows(desk: Desk, one: Preemption) -> list[Write]:
    """What takes those off their nodes whom Slurm has shown running since it was last written to about them."""
    found = []
    for victim in one.victims:
        entry = on_nodes(desk, victim)
        if entry is None or entry.record is None or entry.touched > desk.seen:
            continue
        if entry.record.state in (JobState.RUNNING, JobState.SUSPENDED):
            found.append((victim, _blow(entry, entry.record, victim, one.trigger)))
    return found


def _blow(entry: Entry, record: JobRecord, victim: Victim, trigger: Trigger) -> Chain:
    """A job to be requeued is marked as held by us first: when it is back, nobody may take that for its user's hold.

    Its licences stay as they are until it is bound anew: Slurm would give them back before the job has left its nodes.
    The hold is one of a user's kind, which the modify hook guards: an administrator's is not ours to lift. Whoever drew
    more than his max is held for himself: he would only do so again.
    """
    if victim.means is Means.CANCEL:
        return (Cancel(victim.target),)
    bound = find_record(record.admin_comment)
    hold = HoldKind.USER if trigger is Trigger.MAX else HoldKind.POWER
    kept = AdmissionRecord(entry.token, Standing.HOLD, hold=hold)
    if bound is not None:
        kept = replace(kept, own_excluded=bound.own_excluded)
    comment = put_record(record.admin_comment, kept)
    return Update(victim.target, {"AdminComment": comment}), RequeueHold(victim.target), UserHold(victim.target)


def struck(desk: Desk, one: Preemption, victim: Victim) -> None:
    """Slurm has been written to: what it showed before that no longer counts."""
    entry = on_nodes(desk, victim)
    if entry is not None:
        entry.touched = desk.clock.monotonic()
        entry.note = f"preempted: {for_whom(one)}"


def all_left(desk: Desk, one: Preemption) -> bool:
    """Whether no victim is on nodes any more, COMPLETING included."""
    return all(on_nodes(desk, victim) is None for victim in one.victims)


def proved(desk: Desk, one: Preemption, counted: Mapping[str, LicenseRecord]) -> bool:
    """Whether Slurm's own count has the watts free too that are kept for a job; for anybody else none are."""
    wanted = desk.binder.counts(one.charges) if one.trigger is Trigger.JOB else {}
    return all(
        counted[name].total - counted[name].used >= count for name, count in wanted.items() if name in counted
    )

