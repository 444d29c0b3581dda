"""Phases add up, so a whole must not come along with them."""

from collections.abc import Iterable

from slurm_power.ports import Reading


def doubled(readings: Iterable[Reading]) -> Reading | None:
    """One that tells of a phase where another tells of the whole of the same; None where there is none."""
    found: dict[tuple[str, str, str, str], Reading] = {}
    for one in readings:
        known = found.setdefault((one.kind, one.element, one.quantity, one.part), one)
        if bool(known.phase) != bool(one.phase):
            return one if one.phase else known
    return None
