"""Whether values that are to be added up are parts of a whole that is one of them."""

from collections.abc import Sequence

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
