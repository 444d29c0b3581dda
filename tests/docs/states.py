"""docs/states.md from the tables of transitions."""

import ast
import inspect
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from types import ModuleType
from typing import Any

from slurm_power.core import lifecycle, reservation
from slurm_power.core.lifecycle import CLAIMING, TRANSITIONS, Event, State
from slurm_power.core.reservation import KEEPING, STEPS, ReservationEvent, ReservationState

WHEN: Mapping[StrEnum, str] = {
    Event.ADMIT: "Slurm shows it pending although it was let pass, and its admission still stands for that start",
    Event.WAIT: "it may claim watts, and goes into the queue; or it is pending in Slurm without an admission",
    Event.PARK: "it may not claim watts for now: its user holds it, its time or its dependencies have not come, or "
    "what it asks for can never be",
    Event.BIND: "an admission pass has found a place: its watts count from here on",
    Event.BOUND: "Slurm has taken licences, features and record, and has released it",
    Event.UNBIND: "Slurm has refused to bind it, it was held or changed since, or it did not start in time",
    Event.LAUNCH: "the launch gate let it pass, or Slurm shows it on nodes",
    Event.DENY: "the launch gate turned it away",
    Event.REQUEUE: "Slurm has requeued it: it goes back through admission",
    Event.FREE: "power is none of its business, or the mode does not act on it",
    ReservationEvent.APPROVE: "an administrator, or where the site lets them a coordinator, has approved it, and it "
    "fits",
    ReservationEvent.REFUSE: "its start has come, and nobody has approved it",
    ReservationEvent.BEGIN: "its start has come, and by the policy `preempt` its watts are free: Slurm holds them",
    ReservationEvent.DEGRADE: "no job has held watts of it for its grace",
    ReservationEvent.USE: "a job of its owner holds watts of it, and all that it was granted is free again",
    ReservationEvent.RELEASE: "its end has come while nobody used it",
    ReservationEvent.EXPIRE: "its end has come",
    ReservationEvent.MISS: "a zone of it is not in the site file any more, or its watts did not come free",
    ReservationEvent.CANCEL: "its owner, a coordinator or an administrator has given it up",
}

HEAD = """\
# States

<!-- Made from slurm_power/core/lifecycle.py and reservation.py; change it there, then: python -m tests.docs.made -->

A step that is not in one of the tables is a defect, and raises an error.
"""

OF_JOBS = """\
## Of a job

What the daemon knows of a job is one of these states. A job's watts are counted in the states marked so, and in no
other. Slurm's own state of the job is Slurm's: `spower jobs` shows ours, `squeue` Slurm's. A submission begins as
`admitted`, `waiting`, `parked` or `free`, and a job that was there before the daemon as what Slurm shows of it; a job
that Slurm does not know any more is gone, from every state.
"""

OF_RESERVATIONS = """\
## Of a reservation

`sreservation show` shows it. Its watts, less what its jobs hold, are counted in the states marked so, over its window
and in no other state; so one that is `approved` is in the way of whoever wants its watts then, and with the policy
`preempt` counted once it has begun. Jobs may use it in `active` and `degraded`. It begins as `approved`, as `requested`
where the site asks for approval, or as `refused` where it does not fit; one that is over stays as it is, and its name
is free for another.
"""


@dataclass(frozen=True)
class Chart:
    """A table of transitions and what its states and events mean."""

    module: ModuleType
    states: type[StrEnum]
    events: type[StrEnum]
    steps: Mapping[Any, StrEnum]
    counted: Set[StrEnum]

    def lines(self) -> Iterator[str]:
        """Its section below the text."""
        for part in (self._states(), self._events(), self._diagram(), self._table()):
            yield from part
            yield ""

    def _states(self) -> Iterator[str]:
        yield "| state | counted | meaning |"
        yield "|---|---|---|"
        meanings = _docstrings(self.module, self.states.__name__)
        for state in self.states:
            yield f"| `{state}` | {'yes' if state in self.counted else ''} | {_cell(meanings[state.name])} |"

    def _events(self) -> Iterator[str]:
        yield "| event | when |"
        yield "|---|---|"
        for event in self.events:
            yield f"| `{event}` | {_cell(WHEN[event])} |"

    def _diagram(self) -> Iterator[str]:
        """Steps from a state to itself are in the table alone."""
        yield "```mermaid"
        yield "stateDiagram-v2"
        together: dict[tuple[StrEnum, StrEnum], list[str]] = {}
        for (state, event), target in self.steps.items():
            if state is not target:
                together.setdefault((state, target), []).append(event)
        for (state, target), events in together.items():
            yield f"    {state} --> {target}: {', '.join(events)}"
        yield "```"

    def _table(self) -> Iterator[str]:
        yield f"| from | {' | '.join(f'`{event}`' for event in self.events)} |"
        yield f"|---|{'---|' * len(self.events)}"
        leaving = {state for state, _ in self.steps}
        for state in self.states:
            if state in leaving:
                yield f"| `{state}` | {' | '.join(self.steps.get((state, event), '') for event in self.events)} |"


JOBS = Chart(lifecycle, State, Event, TRANSITIONS, CLAIMING)
RESERVATIONS = Chart(reservation, ReservationState, ReservationEvent, STEPS, KEEPING)


def page() -> str:
    """The whole page."""
    parts = [HEAD, OF_JOBS, *JOBS.lines(), OF_RESERVATIONS, *RESERVATIONS.lines()]
    return "\n".join(parts).rstrip("\n") + "\n"


def _docstrings(module: ModuleType, name: str) -> dict[str, str]:
    """The strings below the members of an enumeration."""
    tree = ast.parse(inspect.getsource(module))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found = {}
    for member, below in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr):
            target, text = member.targets[0], ast.literal_eval(below.value)
            assert isinstance(target, ast.Name)
            found[target.id] = text
    return found


def _cell(text: str) -> str:
    return " ".join(text.split())
