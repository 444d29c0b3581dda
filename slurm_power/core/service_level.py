"""Whether a run kept its tier's service level, and what made it miss."""

from collections.abc import Mapping
from enum import StrEnum

from slurm_power.core.immutable import immutable
from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Code


class Miss(StrEnum):
    """What made a run miss its service level."""

    POWER = "power"
    """It was held for want of watts."""
    SCHEDULER = "scheduler"
    """It had its watts and waited for Slurm, or for nodes."""
    INVENTORY = "inventory"
    """What it asked for, the site file and Slurm's nodes do not go together."""
    PREEMPTED = "preempted"
    """Its tier is never preempted, and it was."""


@immutable
class Promise:
    """What a tier's runs are judged against."""

    max_delay_s: int
    """The longest placement delay: time from eligible to start, in s."""


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


def judge(waited_s: Mapping[Miss, int], promise: Promise, *, preempted: bool = False) -> Miss | None:
    """What made a run miss its service level; None where it was kept.

    `waited_s`: for how long it waited for what. The longest is named; of equals the first of power, inventory and
    scheduler. `preempted`: although its tier never is.
    """
    if preempted:
        return Miss.PREEMPTED
    if sum(waited_s.values()) <= promise.max_delay_s:
        return None
    return max(_ORDER, key=lambda cause: (waited_s.get(cause, 0), -_ORDER.index(cause)))
