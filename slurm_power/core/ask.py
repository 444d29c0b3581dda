"""What somebody wants reserved: how many watts, and in which zones."""

from collections.abc import Iterable

from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.units import ceil_share

Charges = tuple[Charge, ...]


@immutable
class AllOf:
    """Watts in each of these zones, (zone, W) by name; `burst_w` may come on top of all together, split like them."""

    shares: tuple[tuple[str, int], ...]
    burst_w: int = 0

    @property
    def watts(self) -> int:
        """Σ over the zones, in W."""
        return sum(watts for _, watts in self.shares)

    @property
    def zones(self) -> tuple[str, ...]:
        """The zones, as given."""
        return tuple(zone for zone, _ in self.shares)


@immutable
class AnyOf:
    """Watts in one of these zones, or in up to `most_zones` of them together, with `burst_w` on top, split alike."""

    zones: tuple[str, ...]
    watts: int
    burst_w: int = 0
    most_zones: int = 1


Ask = AllOf | AnyOf


def charges_of(shares: Iterable[tuple[str, int]], ask: Ask) -> Charges:
    """What shares of an ask are charged, each with its part of the burst, in order of name."""
    return tuple(
        Charge(zone, 0, watts, watts + ceil_share(ask.burst_w, watts, ask.watts))
        for zone, watts in sorted(shares)
        if watts
    )
