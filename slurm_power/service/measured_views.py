"""What is shown of readings: of each zone and feed, and of the sources."""

from slurm_power.core.meter import Meter
from slurm_power.core.window import format_instant
from slurm_power.ports import Kind
from slurm_power.service.desk import Desk
from slurm_power.service.draws import Element
from slurm_power.service.measuring import drawn, measured

Row = dict[str, object]


def measured_row(desk: Desk, kind: Kind, meter: Meter) -> Row:
    """What is measured of one zone or feed, beside what is committed there."""
    element = Element(kind, meter.name)
    draw = drawn(desk, element)
    breach = desk.measured.breaches.get(meter.name)
    return {
        "measured_w": draw.smooth_w if draw is not None else None,
        "stale": draw is None if measured(desk, element) else None,
        "stray_w": meter.stray_w,
        "over_w": breach.over_w if breach is not None else 0,
    }


def element_row(desk: Desk, element: Element) -> Row:
    """All that is known of the draw of one element."""
    draw = drawn(desk, element)
    apart = desk.measured.draws.disagree(element, desk.ledger.now)
    return {
        "kind": str(element.kind),
        "element": element.name,
        "smooth_w": draw.smooth_w if draw is not None else None,
        "latest_w": draw.latest_w if draw is not None else None,
        "at": format_instant(int(draw.at)) if draw is not None else None,
        "stale": draw is None,
        "least_w": apart[0] if apart is not None else None,
        "most_w": apart[1] if apart is not None else None,
    }
