"""What the facility says: the cuts of zones and feeds that it asks for, and what it measures."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from slurm_power.core.immutable import immutable
from slurm_power.core.policy import Hours
from slurm_power.ports.telemetry import Reading


@immutable
class AskedCut:
    """One cut as the facility asks for it; `limit_w` or `percent` (of what is declared) is set."""

    element: str
    reason: str
    start: int | None = None
    """None: from when it is first seen."""
    end: int | None = None
    """None: until it is asked for no more."""
    limit_w: int | None = None
    percent: Fraction | None = None
    hours: Hours | None = None
    """Only in these hours of each of its days, in the site's local time."""


@immutable
class FacilitySignal:
    """All that it says, and when that was written."""

    cuts: Sequence[AskedCut]
    written_at: int
    readings: Sequence[Reading] = ()
    trouble: str = ""
    """What of its readings makes no sense and is left out; empty for nothing."""


class Facility(Protocol):
    """A source of signals."""

    def read(self) -> FacilitySignal:
        """What it says now. Blocks; raises SignalError."""
