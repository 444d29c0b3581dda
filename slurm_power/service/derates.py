"""The derates that hold or will, what they make of the ledger's limits, and whom a further one would hit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from slurm_power.core.derate import Derate, cuts_ahead, limit_at
from slurm_power.core.ledger import Ledger
from slurm_power.core.topology import Topology
from slurm_power.core.window import FOREVER, format_instant
from slurm_power.service.cuts import May, may

Row = dict[str, object]


class Derates:
    """State of a desk. An element that the site file no longer has is left alone, and counts again when it is back."""

    def __init__(self) -> None:
        self._known: tuple[Derate, ...] = ()
        self._applied: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Derate]:
        """By element, then start."""
        return iter(self._known)

    def replace(self, derates: Iterable[Derate]) -> None:
        """These and no others; `apply` makes them count."""
        self._known = tuple(sorted(derates, key=lambda one: (one.element, one.window.start, one.id)))

    def over(self, now: int) -> list[Derate]:
        """Those whose time has passed."""
        return [one for one in self._known if one.window.end <= now]

    def apply(self, ledger: Ledger, now: int) -> Mapping[str, May]:
        """Set the limits that hold now, and plan the cuts to come. What may carry less than before, and what it might.

        Claims stay as they are: who has to go is for preemption.
        """
        by_element: dict[str, list[Derate]] = {}
        for one in self._known:
            by_element.setdefault(one.element, []).append(one)
        lowered: dict[str, May] = {}
        for name in sorted(self._applied | by_element.keys()):
            declared_w = ledger.topology.declared_w(name)
            if declared_w is None:
                continue
            own, meter = by_element.get(name, []), ledger.meters[name]
            limit_w, cuts = limit_at(declared_w, own, now), tuple(cuts_ahead(declared_w, own, now))
            if limit_w < meter.limit_w:
                lowered[name] = may(ledger, name)
            if limit_w != meter.limit_w:
                ledger.set_limit(name, limit_w)
            if cuts != meter.cuts:
                meter.plan_cuts(cuts)
        self._applied = frozenset(by_element)
        return lowered


def derate_rows(topology: Topology, derates: Iterable[Derate], now: int) -> Sequence[Row]:
    """`spower derate list`: each of them, with the limit that it makes."""
    return [_row(topology, one, now) for one in derates]


def _row(topology: Topology, one: Derate, now: int) -> Row:
    declared_w = topology.declared_w(one.element)
    return {
        "id": one.id,
        "element": one.element,
        "kind": topology.kind_of(one.element),
        "declared_w": declared_w,
        "limit_w": one.allowed_w(declared_w) if declared_w is not None else None,
        "percent": float(one.percent) if one.percent is not None else None,
        "active": now in one.window,
        "start": format_instant(one.window.start),
        "end": format_instant(one.window.end) if one.window.end < FOREVER else None,
        "reason": one.reason,
        "uid": one.uid,
        "source": one.source,
    }
