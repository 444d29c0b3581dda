"""What is shown of readings: of each zone and feed, and of the sources."""

from collections.abc import Mapping, Sequence
from itertools import chain

from slurm_power.core.meter import Meter
from slurm_power.core.steps import Steps
from slurm_power.core.window import format_instant
from slurm_power.ports import Kind
from slurm_power.service import drawn
from slurm_power.service.desk import Desk
from slurm_power.service.draw_history import of_late
from slurm_power.service.draws import Doubt, Element

Row = dict[str, object]


def measured_row(desk: Desk, kind: Kind, meter: Meter) -> Row:
    """What is measured of one zone or feed, beside what is committed there."""
    element = Element(kind, meter.name)
    draw = drawn.seen(desk, element)
    breach = desk.measured.breaches.get(meter.name)
    return {
        "measured_w": draw.smooth_w if draw is not None else None,
        "stale": (draw is None or not draw.whole) if drawn.is_measured(desk, element) else None,
        "stray_w": meter.stray_w,
        "over_w": breach.over_w if breach is not None else 0,
    }


def source_rows(desk: Desk) -> list[Row]:
    """The sources that have been asked, and what is wrong with each."""
    return [{"source": name, "trouble": text} for name, text in sorted(desk.measured.troubles.asked.items())]


def doubts_of(desk: Desk) -> Steps[Mapping[Element, Sequence[Doubt]]]:
    """What is wrong with readings now, by element."""
    found: dict[Element, list[Doubt]] = {}
    for doubt in chain(desk.measured.draws.doubts(desk.ledger.now), drawn.doubts(desk)):
        if doubt is None:
            yield
        else:
            found.setdefault(doubt.element, []).append(doubt)
    return {element: sorted(doubts, key=lambda one: (one.source, one.text)) for element, doubts in found.items()}


def element_row(desk: Desk, element: Element, doubts: Sequence[Doubt]) -> Row:
    """All that is known of the draw of one element."""
    draw = drawn.seen(desk, element)
    apart, late = drawn.disagree(desk, element), of_late(desk, element)
    return {
        "kind": str(element.kind),
        "element": element.name,
        "smooth_w": draw.smooth_w if draw is not None else None,
        "latest_w": draw.latest_w if draw is not None else None,
        "at": format_instant(int(draw.at)) if draw is not None else None,
        "stale": draw is None or not draw.whole,
        "p50_w": late.percentile(50),
        "p95_w": late.percentile(95),
        "peak_w": late.peak_w if late.total else None,
        "least_w": apart[0] if apart is not None else None,
        "most_w": apart[1] if apart is not None else None,
        "doubts": [{"source": doubt.source, "text": doubt.text} for doubt in doubts],
    }
