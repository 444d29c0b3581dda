"""Whether a run kept its tier's service level, and what made it miss."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from slurm_power.core.immutable import immutable
from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Code
from slurm_power.core.window import FOREVER


class Miss(StrEnum):
    """What made a run miss its service level."""

    POWER = "power"
    """It was held for want of watts."""
    SCHEDULER = "scheduler"
    """It had its watts and waited for Slurm, or for nodes."""
    INVENTORY = "inventory"
    """What it asked for, the site file and Slurm's nodes do not go together."""
    PREEMPTED = "preempted"
    """It was preempted although its tier never is, or before it had run for as long as its tier promises."""
    WATTS = "watts"
    """A zone or feed that carried it had more committed than usable, for too long."""
    BURST = "burst"
    """A zone or feed that carried it had more committed with bursts than its limit, for too long."""


@immutable
class Promise:
    """What a tier's runs are judged against."""

    max_delay_s: int
    """The longest placement delay: time from eligible to start, in s."""
    max_shortfall_s: int = FOREVER
    """How long in all committed may pass usable on what carries a run, in s."""
    max_burst_shortfall_s: int = FOREVER
    """The same of committed + burst and the limit."""
    min_run_s: int = 0
    """How long it runs before it may be preempted, in s; FOREVER where it never may."""


@immutable
class Run:
    """How a run fared until its end."""

    waited_s: Mapping[Miss, int] = field(default_factory=dict)
    """For how long it waited for what, in s."""
    ran_s: int = 0
    asked_s: int = FOREVER
    """Its time limit, in s."""
    preempted: bool = False
    shortfall_s: int = 0
    """How long committed passed usable on a zone or feed that carried it, in s."""
    burst_shortfall_s: int = 0
    """The same of committed + burst and the limit."""

    @property
    def delay_s(self) -> int:
        """For how long it waited in all, in s."""
        return sum(self.waited_s.values())


_NODES = frozenset({Code.NODES, Code.QUEUE, Code.STARTING, Code.LARGE})
_INVENTORY = frozenset({Code.NO_ZONE, Code.NO_PARTITION, Code.BINDING, Code.ENVELOPE, Code.UNREACHABLE})
_OWN = frozenset({Code.HOURS, Code.NOT_ELIGIBLE, Code.USER_HOLD, Code.ADMIN_HOLD, Code.RESERVATION, Code.HET})
_ORDER = (Miss.POWER, Miss.INVENTORY, Miss.SCHEDULER)


def cause_of(state: State, code: Code | None) -> Miss | None:
    """What a job waits for in a state; `code` is of the reason that stands in its way.

    None where the wait does not count: its user or an administrator holds it, it is not eligible, or not ours.
    """
    if state in (State.BINDING, State.ADMITTED):
        return Miss.SCHEDULER
    if state is State.DENIED:
        return Miss.POWER
    if state is not State.WAITING or code in _OWN:
        return None
    if code in _INVENTORY:
        return Miss.INVENTORY
    return Miss.SCHEDULER if code in _NODES else Miss.POWER


def judge(run: Run, promise: Promise) -> Miss | None:
    """What made a run miss its service level; None where it was kept.

    What befell it on its nodes goes before its wait. Of that the longest is named, of equals the first of power,
    inventory and scheduler.
    """
    if run.preempted and run.ran_s < min(promise.min_run_s, run.asked_s):
        return Miss.PREEMPTED
    if run.shortfall_s > promise.max_shortfall_s:
        return Miss.WATTS
    if run.burst_shortfall_s > promise.max_burst_shortfall_s:
        return Miss.BURST
    if run.delay_s <= promise.max_delay_s:
        return None
    return max(_ORDER, key=lambda cause: (run.waited_s.get(cause, 0), -_ORDER.index(cause)))
