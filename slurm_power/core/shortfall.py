"""What is short where a claim does not fit."""

from dataclasses import field

from slurm_power.core.immutable import immutable


@immutable
class Shortfall:
    """Why a claim does not fit an element: of `free_w` it asks `asked_w`; `burst` tells which of the two rules."""

    element: str
    asked_w: int
    free_w: int
    burst: bool
    at: int = field(default=0, compare=False)
    """The instant at which it is shortest."""
