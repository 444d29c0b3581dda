"""What is measured: readings of zones, feeds and nodes, from any source that has a protocol of its own."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from slurm_power.core.immutable import immutable


class Kind(StrEnum):
    """What an element of a reading is."""

    ZONE = "zone"
    FEED = "feed"
    NODE = "node"


class Quantity(StrEnum):
    """What is measured, and its unit."""

    POWER = "power"
    """W."""
    ENERGY = "energy"
    """J since some instant: a counter that only grows, until it is reset."""
    TEMPERATURE = "temperature"
    """°C."""
    BREAKER = "breaker"
    """1: closed; 0: open or tripped."""


@immutable
class Reading:
    """One value of one element, in the unit of its quantity: the source has done the scaling."""

    kind: Kind
    element: str
    quantity: Quantity
    value: float
    """As it came, also where it is no number or makes no sense: to judge that is not the source's affair."""
    age_s: float = 0.0
    """How long before it was read it was measured, by the source's own clock; negative: it says later."""
    part: str = ""
    """The inlet that was measured, where an element has several: it draws the sum of all."""
    phase: str = ""
    """The phase that was measured, where each is measured for itself."""


@immutable
class Told:
    """What a source tells at one time."""

    readings: Sequence[Reading]
    trouble: str = ""
    """What beside these cannot be read or makes no sense, and is left out; names the source; empty for nothing."""


class Telemetry(Protocol):
    """A source of readings."""

    def read(self) -> Told:
        """All that it measures, now. Blocks for a bounded time.

        Raises TelemetryError, which names the source, where there is nothing but trouble.
        """

    def close(self) -> None:
        """No more questions; a reading that is under way may end with an error."""
