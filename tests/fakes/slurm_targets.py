"""How a fake Slurm reads what it is told: targets, tasks, licences."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_TARGET = re.compile(r"(?P<job>\d+)(?:\+(?P<offset>\d+)|_(?:(?P<task>\d+)|\[(?P<tasks>[\d,-]+)\]))?")


class Refusal(Exception):
    """Slurm's words against a command."""


@dataclass(frozen=True)
class Target:
    """`812`, `812+1`, `812_7`, `812_[3-9]`."""

    text: str
    job_id: int
    offset: int | None = None
    tasks: frozenset[int] | None = None


def parse_target(text: str) -> Target:
    """What a command names. Raises Refusal."""
    match = _TARGET.fullmatch(text)
    if match is None:
        raise Refusal(f"Invalid job id specified for job {text}")
    tasks = match["task"] or match["tasks"]
    return Target(
        text,
        int(match["job"]),
        int(match["offset"]) if match["offset"] else None,
        frozenset(parse_tasks(tasks)) if tasks else None,
    )


def parse_tasks(text: str) -> list[int]:
    """`3-6,8` as numbers in order."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


def fold_tasks(tasks: Iterable[int]) -> str:
    """Numbers as `3-6,8`."""
    runs: list[list[int]] = []
    for task in sorted(tasks):
        if runs and runs[-1][1] == task - 1:
            runs[-1][1] = task
        else:
            runs.append([task, task])
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in runs)


def parse_licences(text: str) -> dict[str, int]:
    """`a:2,b` as counts; the same name twice adds up."""
    counts: dict[str, int] = {}
    for part in filter(None, re.split(r"[,;]", text)):
        name, _, count = part.partition(":")
        counts[name] = counts.get(name, 0) + int(count or 1)
    return counts
