"""What a job's owner is told of preemption, in words that name no other job."""

from slurm_power.core.giving_way import PHYSICAL, UNTOUCHED, Means, Preemption, Stage, Trigger, Victim
from slurm_power.core.units import format_watts
from slurm_power.core.window import format_instant
from slurm_power.service.desk import Desk
from slurm_power.service.preempt_lines import for_whom


def told(desk: Desk, key: str) -> str:
    """How a job stands to preemption: it gives way, others give way to it, or why none do; empty for none of these."""
    state = desk.preempting
    part = state.victim(key)
    if part is not None:
        return _victim(*part)
    one = state.serving(Trigger.JOB, key)
    if one is not None:
        return _beneficiary(one)
    above = desk.measured.above.lasting(key)
    if above is not None:
        return f"it draws {format_watts(above.watts)}, more than its max of {format_watts(above.max_w)}"
    why = state.why_not.get(key, "")
    return f"it preempts nobody: {why}" if why else ""


def _victim(one: Preemption, victim: Victim) -> str:
    how = "requeued" if victim.means is Means.REQUEUE else "cancelled"
    rule = "" if one.trigger in PHYSICAL else " by sacctmgr's Preempt of the QOS"
    return f"it gives way{rule}: {for_whom(one)}; it is {how} {_when(one)}"


def _beneficiary(one: Preemption) -> str:
    count = len(one.victims)
    jobs = f"{count} {'job' if count == 1 else 'jobs'} with {format_watts(one.watts_w)}"
    if one.stage is Stage.FREE:
        return f"{jobs} gave way to it, and it is placed next"
    return f"it is about to preempt {jobs}, which {'leaves' if count == 1 else 'leave'} {_when(one)}"


def _when(one: Preemption) -> str:
    if one.stage in UNTOUCHED and one.strike_at is not None:
        return f"at {format_instant(one.strike_at)}"
    return f"after {one.notice_s} s of notice" if one.stage in UNTOUCHED and one.notice_s else "now"
