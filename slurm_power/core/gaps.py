"""Where a window of some length lies free between stretches in which something stands in its way."""

from collections.abc import Iterable
from heapq import merge

from slurm_power.core.window import FOREVER

Span = tuple[int, int]
"""The instants from the first to before the second."""


def first_gap(blocked: Iterable[Iterable[Span]], start: int, length_s: int) -> int | None:
    """The first instant from `start` on from which `length_s` seconds are free of all; None if that is never.

    Each of `blocked` is in order of time, and is read no further than the answer needs.
    """
    at = start
    for begin, until in merge(*blocked):
        if begin >= at + length_s:
            break
        at = max(at, until)
    return at if at < FOREVER else None


def last_gap(blocked: Iterable[Iterable[Span]], start: int, length_s: int, earliest: int) -> int | None:
    """The last instant up to `start` from which `length_s` seconds are free of all, not before `earliest`; or None."""
    at = start
    for begin, until in reversed(_united(merge(*blocked))):
        if until <= at:
            break
        at = min(at, begin - length_s)
    return at if at >= earliest else None


def _united(spans: Iterable[Span]) -> list[Span]:
    """Spans in order of their begins, those that touch made one."""
    found: list[Span] = []
    for begin, until in spans:
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], until)
        else:
            found.append((begin, until))
    return found
