"""Who asks for watts: all that is judged but the watts themselves, which differ from element to element."""

from typing import NamedTuple

from slurm_power.core.window import Window


class Asker(NamedTuple):
    """A claim-to-be, or a part of it.

    `group` is its correlation group, `ignore` a booking or reservation that does not stand in its way (a shadow that it
    outranks, its own place), `through_cuts_s` tells which planned cuts do not: see `Request`.
    """

    group: str
    window: Window
    ignore: str | None = None
    through_cuts_s: int | None = None
