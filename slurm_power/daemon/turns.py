"""Long work in the event loop, with a turn for everybody else in between: the hook must not be kept waiting."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import TypeVar

from slurm_power.core.steps import Steps, into

_AT_ONCE = 50

T = TypeVar("T")


async def in_steps(steps: Steps[T], at_least_s: float = 0.0) -> T:
    """What they return; others have their turn after each step that ends `at_least_s` or more after their last."""
    found: list[T] = []
    since = monotonic()
    for _ in into(found, steps):
        if monotonic() - since >= at_least_s:
            await asyncio.sleep(0)
            since = monotonic()
    return found[0]


async def in_turns(items: Iterable[T]) -> AsyncIterator[T]:
    """The items, for a loop that does a little with each; others have their turn before every few of them."""
    for number, item in enumerate(items):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        yield item


async def all_found(found: Iterable[T | None]) -> list[T]:
    """What a search yields; at each None others have their turn."""
    kept: list[T] = []
    for one in found:
        if one is None:
            await asyncio.sleep(0)
        else:
            kept.append(one)
    return kept
