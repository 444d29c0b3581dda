"""What each sensor's element has drawn of late, as percentiles."""

from slurm_power.core.rolling import Rolling
from slurm_power.core.sketch import Sketch
from slurm_power.core.steps import Steps
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import drawn
from slurm_power.service.draws import Element

EVERY_S = 5
_MOST_S = 60
"""So long at most what is drawn now stands for what was drawn since the last look."""
_AT_ONCE = 50


def note_draws(desk: Desk) -> Steps[None]:
    """Note what zones, feeds and nodes draw now; while nothing fresh is known of one, nothing is noted of it."""
    now, measured = desk.now(), desk.measured
    seconds = min(now - measured.noted_at, _MOST_S) if measured.noted_at else EVERY_S
    if seconds < EVERY_S:
        return
    measured.noted_at = now
    elements = list(measured.draws.elements())
    for number, element in enumerate(elements):
        if number % _AT_ONCE == 0:
            yield
        draw = drawn(desk, element)
        if draw is not None:
            measured.history.setdefault(element, Rolling(now)).add(draw.latest_w, seconds, now)
    for element in measured.history.keys() - set(elements):
        del measured.history[element]


def of_late(desk: Desk, element: Element) -> Sketch:
    """What it has drawn in the last half a day or more."""
    known = desk.measured.history.get(element)
    return known.whole() if known is not None else Sketch()
