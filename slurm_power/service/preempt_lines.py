"""What the audit log is told of a preemption: lines for each victim and for whom they give way, and one for masters.

A victim's line does not name whom it gives way to, nor the other way round: they are different users' jobs. Who for
whom stands in a line of no job and no account, which root and SlurmUser alone can read.
"""

from collections.abc import Mapping
from dataclasses import replace

from slurm_power.core.giving_way import PHYSICAL, Preemption, Trigger, Victim
from slurm_power.core.reasons import Code, Reason
from slurm_power.ports import Decision, Rule
from slurm_power.service.book import Entry
from slurm_power.service.candidates import lost_s
from slurm_power.service.desk import Desk

GAVE_WAY = "preempt"
"""The action of the line that says that a job was taken off its nodes, or is about to be."""
PROTECT, UNPROTECT = "protect", "unprotect"
CHECKPOINTED = "checkpointed"


def planned(desk: Desk, one: Preemption) -> None:
    """Victims are chosen."""
    _of_beneficiary(desk, one, "preempting", "others are to give way")
    named = ", ".join(f"{victim.job} ({victim.tier})" for victim in one.victims)
    zones = tuple(sorted({zone for victim in one.victims for zone in victim.zones}))
    line = _line(desk, one, "preemption", f"{named} give way to {_name(desk, one)}")
    desk.journal.record(replace(line, zones=zones, numbers=_sums(one)))


def of_victims(desk: Desk, one: Preemption, action: str, cause: str) -> None:
    """The same line for each victim."""
    for victim in one.victims:
        of_victim(desk, one, victim, action, cause)


def of_victim(desk: Desk, one: Preemption, victim: Victim, action: str, cause: str) -> None:
    """A line for one victim: its tier as data, for how many of a tier give way within an hour is counted by it."""
    desk.journal.record(
        replace(
            _line(desk, one, action, cause),
            job=victim.job,
            token=victim.token,
            uid=victim.uid,
            account=victim.account,
            zones=victim.zones,
            reasons=(Reason(Code.PREEMPTED, victim.tier, detail=for_whom(one)).as_json(),),
            numbers={"est_w": victim.est_w, "notice_s": victim.notice_s, "lost_s": victim.lost_s},
        )
    )


def checkpointed(desk: Desk, entry: Entry, actor: int) -> None:
    """A running job's work up to now is safe; the line is also what remembers it over a restart."""
    record, now = entry.record, desk.ledger.now
    kept_s = lost_s(desk, entry, record) if record is not None else 0
    desk.preempting.checkpoints[entry.name] = now
    desk.journal.record(
        Decision(
            at=now,
            job=entry.name,
            token=entry.token,
            uid=entry.uid,
            account=record.account if record is not None else "",
            action=CHECKPOINTED,
            mode=desk.mode,
            actor=actor,
            cause="spower checkpointed",
            rule=Rule.CHECKPOINT,
            numbers={"kept_s": kept_s},
        )
    )


def ended(desk: Desk, one: Preemption) -> None:
    """It is over, well or not."""
    _of_beneficiary(desk, one, f"preemption-{one.stage}", one.cause)


def for_whom(one: Preemption) -> str:
    """For whom others give way, in words that name no job."""
    if one.trigger is Trigger.JOB:
        return f"a job of tier {one.tier} needs its watts"
    if one.trigger is Trigger.RESERVATION:
        return f"a reservation of tier {one.tier} is short of its watts"
    if one.trigger is Trigger.MOVE:
        zones = ", ".join(charge.zone for charge in one.charges)
        return f"its zone draws more than its jobs asked for, and there is room in {zones}"
    if one.trigger is Trigger.MAX:
        return "it draws more than its max; correct max in its comment, and release it"
    first, *others = one.elements
    which = f"{first} and {len(others)} more" if others else first
    if one.trigger is Trigger.CUT:
        return f"{which} will carry less, by a cut that is planned"
    does, do = ("draws", "draw") if one.trigger is Trigger.DRAW else ("holds", "hold")
    return f"{which} {do} more than their limits let them" if others else f"{which} {does} more than its limit lets it"


def _name(desk: Desk, one: Preemption) -> str:
    if one.trigger in (Trigger.JOB, Trigger.MAX, Trigger.MOVE):
        return desk.book.name_of(one.beneficiary) or one.beneficiary
    return f"reservation {one.beneficiary}" if one.trigger is Trigger.RESERVATION else one.beneficiary


def _rule(trigger: Trigger) -> Rule:
    if trigger is Trigger.MOVE:
        return Rule.BALANCE
    if trigger is Trigger.MAX:
        return Rule.OVER_MAX
    return Rule.OVER_LIMIT if trigger in PHYSICAL else Rule.PREEMPT


def _sums(one: Preemption) -> Mapping[str, int]:
    lost_s = sum(victim.lost_s for victim in one.victims)
    return {"freed_w": one.watts_w, "notice_s": one.notice_s, "lost_s": lost_s}


def _of_beneficiary(desk: Desk, one: Preemption, action: str, cause: str) -> None:
    zones = tuple(charge.zone for charge in one.charges)
    line = replace(_line(desk, one, action, cause), zones=zones, numbers=_sums(one))
    entry = desk.book.get(one.beneficiary) if one.trigger is Trigger.JOB else None
    reservation = desk.reserved.get(one.beneficiary) if one.trigger is Trigger.RESERVATION else None
    if entry is not None:
        account = entry.record.account if entry.record is not None else ""
        line = replace(line, job=entry.name, token=entry.token, uid=entry.uid, account=account)
    if reservation is not None:
        accounts = ",".join(reservation.terms.owner.accounts)
        line = replace(line, reservation=reservation.name, uid=reservation.created_by, account=accounts)
    desk.journal.record(line)


def _line(desk: Desk, one: Preemption, action: str, cause: str) -> Decision:
    """What every line of a preemption has; it is about no job and no reservation yet."""
    rule = _rule(one.trigger)
    return Decision(at=desk.ledger.now, action=action, mode=desk.mode, cause=cause, rule=rule)
