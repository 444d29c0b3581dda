"""Watts as a user asks for them: exact, and for the whole job or for each of its nodes or GPUs."""

from dataclasses import field
from enum import StrEnum
from fractions import Fraction

from slurm_power.core.immutable import immutable


class Per(StrEnum):
    """What a quantity is multiplied by."""

    JOB = "job"
    NODE = "node"
    GPU = "gpu"


@immutable
class Quantity:
    """Exact watts, for the whole job or for each node or GPU; rounded only once multiplied."""

    watts: Fraction
    per: Per = Per.JOB
    at: int = field(default=0, compare=False)
    """Where it stands in the comment, in characters from 0, for errors that show only when it is multiplied."""
