"""What all sections of the site file have in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping with known keys; unknown ones are errors, and it never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def key(default: Any, description: str) -> Any:
    """A key that may be left out; the default is written as in the file and parsed like it."""
    return Field(default=default, description=description, validate_default=default is not None)


def wrong(problem: str, expected: str) -> PydanticCustomError:
    """What a validator raises: what is wrong, and what was expected."""
    return PydanticCustomError("site", "{problem}", {"problem": problem, "expected": expected})
