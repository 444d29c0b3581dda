"""docs/preemption.md: the states of a preemption, from the table of its steps."""

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise

from slurm_power.core import giving_way
from slurm_power.core.giving_way import LIVE, STEPS, UNTOUCHED, Stage, Step

WHEN = {
    Step.WARN: "some of its victims have notice: the signal is about to be sent",
    Step.WARNED: "it has been sent; the notice begins, or begins anew after a crash in between",
    Step.STRIKE: "the notice is over, or nobody has one",
    Step.FREE: "all victims have left their nodes and COMPLETING, and Slurm's count of licences has their watts free",
    Step.PLACE: "the job that they gave way to, or that moves, is bound and released; for all else, at once",
    Step.CALL_OFF: "whom it was for is gone, placed or held, has enough by now, or the mode no longer acts",
    Step.GIVE_UP: "after minutes victims are still on their nodes, their watts are not counted as free, or whom they "
    "were freed for cannot be placed",
}

HEAD = """\
# States of a preemption

<!-- Made from slurm_power/core/giving_way.py; change it there, then: python -m tests.docs.made -->

A preemption is a set of running jobs that give way to one held job, to a reservation that is short of its watts, to a
limit that was or is going to be cut or is passed by what is drawn; or one job that draws more than its max, or moves to
another zone. [Operations](operations.md#preemption) tells when and by which rules. Each state is written to the
database, as an intent, before what is done in it is begun. A daemon that is killed goes on from there: a signal is
never sent twice, and to mark, requeue, hold or cancel a job can be repeated.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_stages(), "", *_steps(), "", *_diagram()]) + "\n"


def _stages() -> Iterator[str]:
    yield "| state | still to be called off | over | meaning |"
    yield "|---|---|---|---|"
    meanings = _docstrings("Stage")
    for stage in Stage:
        marks = "yes" if stage in UNTOUCHED else "", "" if stage in LIVE else "yes"
        yield f"| `{stage}` | {' | '.join(marks)} | {' '.join(meanings[stage.name].split())} |"


def _steps() -> Iterator[str]:
    yield "| step | when |"
    yield "|---|---|"
    yield from (f"| `{step}` | {WHEN[step]} |" for step in Step)


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f"    {stage} --> {after}: {step}" for (stage, step), after in STEPS.items())
    yield "```"


def _docstrings(name: str) -> dict[str, str]:
    """The strings below the members of an enumeration."""
    tree = ast.parse(inspect.getsource(giving_way))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found = {}
    for member, below in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr):
            target, text = member.targets[0], ast.literal_eval(below.value)
            assert isinstance(target, ast.Name)
            found[target.id] = text
    return found
