"""Long computations in steps: a generator yields now and then, so that its caller may do other things meanwhile."""

from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Yields between two stretches of work, and returns a T."""


def finish(steps: Steps[T]) -> T:
    """All steps at once."""
    found: list[T] = []
    for _ in into(found, steps):
        pass
    return found[0]


def into(found: list[T], steps: Steps[T]) -> Iterator[None]:
    """The steps one by one, for whoever has something to do between them; what they return is put into `found`."""
    found.append((yield from steps))
