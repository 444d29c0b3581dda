"""Whether values that are to be added up are parts of a whole that is one of them."""

from collections.abc import Iterable, Sequence
from math import isfinite

from slurm_power.adapters.telemetry.web import shown
from slurm_power.ports import Kind, Quantity, Reading

_FEWEST = 3
_TOLERANCE = 0.02


def sum_of_parts(values: Sequence[float]) -> int | None:
    """Which of the values, none of them negative, is the sum of all others within 2 %; None where none is.

    Of two values nothing can be said: two equal ones are as likely two inlets that share a load.
    """
    if len(values) < _FEWEST:
        return None
    whole = max(range(len(values)), key=values.__getitem__)
    rest = sum(values) - values[whole]
    alike = abs(values[whole] - rest) <= _TOLERANCE * values[whole]
    return whole if values[whole] > 0 and alike else None


def total_of_inlets(readings: Iterable[Reading]) -> str:
    """Which inlet of an element draws what all its others do, in words; empty where none does."""
    drawn: dict[tuple[Kind, str], dict[str, float]] = {}
    for one in readings:
        if one.quantity is Quantity.POWER and one.part:
            inlets = drawn.setdefault((one.kind, one.element), {})
            inlets[one.part] = inlets.get(one.part, 0.0) + one.value
    for (kind, element), inlets in drawn.items():
        values = list(inlets.values())
        sound = all(isfinite(value) and value >= 0 for value in values)
        whole = sum_of_parts(values) if sound else None
        if whole is not None:
            names = list(inlets)
            total = names.pop(whole)
            return (
                f"inlet '{shown(total)}' of {kind} '{shown(element)}' ({values[whole]:g} W) is the sum of "
                f"{shown(', '.join(names))}: a total and its parts would count twice"
            )
    return ""
