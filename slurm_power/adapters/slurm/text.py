"""Values as Slurm prints them."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from sys import intern

from slurm_power.core.errors import UsageError
from slurm_power.core.units import parse_slurm_duration_s

_NOTHING = frozenset(("", "(null)", "N/A", "None", "NONE", "Unknown"))
_ASIDE = re.compile(r"\([^)]*\)")
_PARTS = re.compile(r"[:=]")


def lines(text: str) -> Iterator[str]:
    """What lies between newlines, and nothing else that Unicode calls the end of a line.

    One by one: to split megabytes in one go would keep everybody waiting who is to be answered.
    """
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        yield text[begin:end]
        begin = end + 1
    if begin < len(text):
        yield text[begin:]


def plain(text: str) -> str:
    """The text; empty where Slurm prints that there is none."""
    return "" if text in ("(null)", "N/A") else text


def number(text: str) -> int | None:
    """A whole number; None where Slurm says that there is none."""
    return int(text) if text.isascii() and text.isdigit() else None


class Words(dict[str, str]):
    """What Slurm has printed → `plain` of it, each word kept once however many records show it."""

    def __missing__(self, text: str) -> str:
        word = self[text] = intern(plain(text))
        return word


class Numbers(dict[str, int | None]):
    """What Slurm has printed → `number` of it."""

    def __missing__(self, text: str) -> int | None:
        value = self[text] = number(text)
        return value


def instant(text: str) -> int | None:
    """An instant printed with SLURM_TIME_FORMAT=%s; None for unknown, none and never."""
    return int(text) if text not in _NOTHING else None


@lru_cache(maxsize=4_096)
def limit_s(text: str) -> int | None:
    """A time limit in seconds; None for unlimited, unset, and for more than a year, which squeue calls INVALID."""
    try:
        return parse_slurm_duration_s(text)
    except UsageError:
        return None


@lru_cache(maxsize=16_384)
def count_gpus(tres: str) -> int | None:
    """GPUs in a list of trackable or generic resources: `cpu=4,gres/gpu=2`, `gres:gpu:a100:2`, `gpu:8(S:0-1)`.

    None where GPUs are not mentioned. A total beside totals by type counts once.
    """
    total: int | None = None
    typed: int | None = None
    for item in _ASIDE.sub("", tres).split(","):
        name, *rest = _PARTS.split(item.removeprefix("gres:").removeprefix("gres/"))
        if name != "gpu":
            continue
        count = _count(rest[-1]) if rest else 1
        if len(rest) > 1 or count is None:
            typed = (typed or 0) + (1 if count is None else count)
        else:
            total = (total or 0) + count
    return total if total is not None else typed


@lru_cache(maxsize=4_096)
def gpu_types(gres: str) -> tuple[tuple[str, int], ...]:
    """(type, GPUs) in a node's list of generic resources, in order of name: `gpu:h100:4(S:0-1),gpu:a100:2`."""
    types: dict[str, int] = {}
    for item in _ASIDE.sub("", gres).split(","):
        name, *rest = _PARTS.split(item)
        if name == "gpu" and rest and _count(rest[0]) is None:
            types[rest[0]] = types.get(rest[0], 0) + ((_count(rest[1]) or 0) if len(rest) > 1 else 1)
    return tuple(sorted(types.items()))


def _count(text: str) -> int | None:
    digits = text.removesuffix("K")
    return int(digits) * (1 if digits == text else 1_024) if digits.isdigit() else None


@lru_cache(maxsize=16_384)
def job_gpus(tres: str, asked: tuple[str, str, str, str], nodes: int, tasks: int) -> int:
    """GPUs of a whole job; `asked` is what it asks for a job, a node, a task and a socket.

    By the tracked resources where the site tracks gres/gpu, else by what the job asked for. GPUs asked for by socket
    count one socket a node there, for the number of sockets is not known before the start.
    """
    tracked = count_gpus(tres)
    if tracked is not None:
        return tracked
    return max((count_gpus(text) or 0) * times for text, times in zip(asked, (1, nodes, tasks, nodes), strict=True))


def licence_counts(text: str) -> dict[str, int]:
    """Licences as Slurm prints them: `a:2,b`, in later versions `a=2` too; what is named twice adds up."""
    counts: dict[str, int] = {}
    for part in filter(None, re.split(r"[,;|]", plain(text))):
        name, *count = _PARTS.split(part, maxsplit=1)
        counts[name] = counts.get(name, 0) + (int(count[0]) if count else 1)
    return counts


def fold_tasks(tasks: Iterable[int]) -> str:
    """Task numbers as Slurm folds them: `3-6,8`."""
    ordered = sorted(set(tasks))
    runs: list[tuple[int, int]] = []
    for task in ordered:
        if runs and runs[-1][1] == task - 1:
            runs[-1] = (runs[-1][0], task)
        else:
            runs.append((task, task))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
