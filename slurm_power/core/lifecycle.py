"""The life of a job with us, as data: states, events, and which event leads where.

The usual way, on which ADMITTED is also where a submission begins that fits at once:

    PARKED ──wait──▶ WAITING ──bind──▶ BINDING ──bound──▶ ADMITTED ──launch──▶ RUNNING ──▶ (gone)

Claims are counted in BINDING, ADMITTED and RUNNING, and in no other state. docs/states.md is made from this module and
draws every step.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    PARKED = "parked"
    """May not claim watts yet: held by its user, not eligible, components not complete."""
    WAITING = "waiting"
    """Held by us, in the queue."""
    BINDING = "binding"
    """Admitted in a pass; its update and release are on their way to Slurm."""
    ADMITTED = "admitted"
    """Bound to its zones and pending in Slurm."""
    RUNNING = "running"
    """On nodes, until it has left COMPLETING."""
    DENIED = "denied"
    """Turned away at the launch gate; to be held as soon as Slurm has requeued it."""
    FREE = "free"
    """Not ours to hold: outside all zones, or out of the mode's scope. Its watts count once it runs in a zone."""


class Event(StrEnum):
    """What can happen to a job."""

    ADMIT = "admit"
    WAIT = "wait"
    PARK = "park"
    BIND = "bind"
    BOUND = "bound"
    UNBIND = "unbind"
    LAUNCH = "launch"
    DENY = "deny"
    REQUEUE = "requeue"
    FREE = "free"


TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.PARKED, Event.WAIT): State.WAITING,
    (State.PARKED, Event.FREE): State.FREE,
    (State.PARKED, Event.LAUNCH): State.RUNNING,
    (State.WAITING, Event.BIND): State.BINDING,
    (State.WAITING, Event.PARK): State.PARKED,
    (State.WAITING, Event.WAIT): State.WAITING,
    (State.WAITING, Event.FREE): State.FREE,
    (State.WAITING, Event.LAUNCH): State.RUNNING,
    (State.BINDING, Event.BOUND): State.ADMITTED,
    (State.BINDING, Event.UNBIND): State.WAITING,
    (State.BINDING, Event.PARK): State.PARKED,
    (State.BINDING, Event.LAUNCH): State.RUNNING,
    (State.BINDING, Event.DENY): State.DENIED,
    (State.BINDING, Event.FREE): State.FREE,
    (State.ADMITTED, Event.LAUNCH): State.RUNNING,
    (State.ADMITTED, Event.DENY): State.DENIED,
    (State.ADMITTED, Event.UNBIND): State.WAITING,
    (State.ADMITTED, Event.WAIT): State.WAITING,
    (State.ADMITTED, Event.PARK): State.PARKED,
    (State.ADMITTED, Event.FREE): State.FREE,
    (State.RUNNING, Event.LAUNCH): State.RUNNING,
    (State.RUNNING, Event.REQUEUE): State.WAITING,
    (State.RUNNING, Event.ADMIT): State.ADMITTED,
    (State.RUNNING, Event.WAIT): State.WAITING,
    (State.RUNNING, Event.PARK): State.PARKED,
    (State.RUNNING, Event.DENY): State.DENIED,
    (State.RUNNING, Event.FREE): State.FREE,
    (State.DENIED, Event.WAIT): State.WAITING,
    (State.DENIED, Event.PARK): State.PARKED,
    (State.DENIED, Event.LAUNCH): State.RUNNING,
    (State.DENIED, Event.DENY): State.DENIED,
    (State.DENIED, Event.FREE): State.FREE,
    (State.FREE, Event.LAUNCH): State.RUNNING,
    (State.FREE, Event.WAIT): State.WAITING,
    (State.FREE, Event.PARK): State.PARKED,
    (State.FREE, Event.DENY): State.DENIED,
    (State.FREE, Event.FREE): State.FREE,
}

CLAIMING = frozenset({State.ADMITTED, State.BINDING, State.RUNNING})
"""States in which a job's watts are counted."""


def follow(state: State, event: Event) -> State:
    """The state after an event. Raises ValueError where the table has no such step."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a job that is {state} cannot {event}") from None
