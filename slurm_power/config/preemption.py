"""The section `preemption` of the site file."""

from typing import Literal

from slurm_power.config.fields import Count, Name, Seconds, SignalName
from slurm_power.config.section import Section, key
from slurm_power.core.reservation import WhenShort


class Preemption(Section):
    """Bounds on preemption; who may preempt whom is what sacctmgr says of the QOS (`Preempt`)."""

    per_hour: Count = key(
        "60", "the most jobs of one tier that give way within an hour; a cut of a limit knows no such bound"
    )
    min_run: Seconds = key("10m", "how long a job that was requeued runs before it may have to give way again")
    after_cut: WhenShort = key(
        "preempt",
        "what becomes of running jobs where a reload of this file or a derate cuts a limit below what they hold: "
        "`preempt`: those that may be preempted give way; `wait`: they run to their ends",
    )
    warn_signal: SignalName = key(
        "URG",
        "the signal that a job's batch shell gets when its notice begins; URG does nothing to a job that does not "
        "expect it, USR1 would end it there and then",
    )
    over_max: Literal["warn", "evict"] = key(
        "warn",
        "what becomes of a job that draws more than its own max for a minute, as measured on nodes of its own: `warn`: "
        "it is told and charged what it draws; `evict`: it also gives way, with its notice, and is held for its user",
    )
    emergency: tuple[Name, ...] = key(
        (),
        "tiers whose jobs go without notice, in this order, where more is drawn than a breaker carries (its full "
        "rating; where there is none, the declared limit): `[bronze, silver]`, say. Who is not named keeps his notice, "
        "and where that is `never` he stays",
    )
