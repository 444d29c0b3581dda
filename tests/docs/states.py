"""docs/states.md from the table of transitions."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise

from slurm_power.core import lifecycle
from slurm_power.core.lifecycle import CLAIMING, TRANSITIONS, Event, State

WHEN = {
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
}

HEAD = """\
# States of a job

<!-- Made from slurm_power/core/lifecycle.py; change it there, then: python -m tests.docs.made -->

What the daemon knows of a job is one of these states. A job's watts are counted in the states marked so, and in no
other. Slurm's own state of the job is Slurm's: `spower jobs` shows ours, `squeue` Slurm's. A submission begins as
`admitted`, `waiting`, `parked` or `free`, and a job that was there before the daemon as what Slurm shows of it; a job
that Slurm does not know any more is gone, from every state. A step that is not in the table is a defect, and raises an
error.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_states(), "", *_events(), "", *_diagram(), "", *_table()]) + "\n"


def _states() -> Iterator[str]:
    yield "| state | counted | meaning |"
    yield "|---|---|---|"
    meanings = _docstrings("State")
    for state in State:
        yield f"| `{state}` | {'yes' if state in CLAIMING else ''} | {_cell(meanings[state.name])} |"


def _events() -> Iterator[str]:
    yield "| event | when |"
    yield "|---|---|"
    for event in Event:
        yield f"| `{event}` | {_cell(WHEN[event])} |"


def _diagram() -> Iterator[str]:
    """Steps from a state to itself are in the table alone."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    together: dict[tuple[State, State], list[str]] = {}
    for (state, event), target in TRANSITIONS.items():
        if state is not target:
            together.setdefault((state, target), []).append(event)
    for (state, target), events in together.items():
        yield f"    {state} --> {target}: {', '.join(events)}"
    yield "```"


def _table() -> Iterator[str]:
    yield f"| from | {' | '.join(f'`{event}`' for event in Event)} |"
    yield f"|---|{'---|' * len(Event)}"
    for state in State:
        yield f"| `{state}` | {' | '.join(TRANSITIONS.get((state, event), '') for event in Event)} |"


def _docstrings(name: str) -> dict[str, str]:
    """The strings below the members of an enumeration."""
    tree = ast.parse(inspect.getsource(lifecycle))
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
