"""Zones and feeds that a change of the site file or a derate has cut, and that hold more than they may since then."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from slurm_power.core.ledger import Ledger
from slurm_power.core.topology import Tap
from slurm_power.core.want import over
from slurm_power.service.patience import Patience

Taps = Mapping[str, tuple[Tap, ...]]
"""Zone → the feeds that carry it, each with its share."""


class May(NamedTuple):
    """What a zone or feed may carry beside what it draws without jobs, in W; and by which shares feeds are charged."""

    usable_w: int
    limit_w: int
    taps: Taps


_UNKNOWN = May(1 << 60, 1 << 60, {})
"""What it might carry before a cut that a restart has made us forget: more than anything carries now."""


class Cuts:
    """Remembered until they hold no more than they may, or may carry what they did before the first cut.

    A cut is a lower limit, a larger margin or baseline, and for a feed a larger share of a zone's load: under 2N it has
    to carry the whole. Whatever holds too much for another reason (found so in Slurm, put there by an operator, moved
    there with its nodes) is not among them, nor is what bears another name from now on.
    """

    def __init__(self) -> None:
        self._before: dict[str, May] = {}
        self.patience = Patience()
        self.noted = 0
        """How often another site file came into force, or a derate."""

    def __contains__(self, element: str) -> bool:
        """Whether it is cut."""
        return element in self._before

    def note(self, before: Ledger, after: Ledger) -> None:
        """Another site file is in force. Of all that is cut victims are looked for anew."""
        known, self._before = self._before, {}
        dearer = _dearer(before.topology.taps, after.topology.taps)
        for name in after.meters:
            if name not in before.meters:
                continue
            was, now = known.get(name) or may(before, name), may(after, name)
            costs_more = name in (_dearer(was.taps, now.taps) if name in known else dearer)
            if costs_more or now.usable_w < was.usable_w or now.limit_w < was.limit_w:
                self._before[name] = was
        self.patience.forget_all()
        self.noted += 1

    def lowered(self, before: Mapping[str, May]) -> None:
        """These may carry less from now on, and what they might before; victims are looked for anew."""
        for name, was in before.items():
            self._before.setdefault(name, was)
            self.patience.forget(name)
        self.noted += bool(before)

    def go_on(self, elements: Iterable[str]) -> None:
        """Others were giving way for these before a restart."""
        self._before.update(dict.fromkeys(elements, _UNKNOWN))

    def clear(self) -> None:
        """Nobody is to give way for any of them."""
        self._before.clear()
        self.patience.forget_all()

    def due(self, ledger: Ledger, now: int) -> list[str]:
        """Those for which victims are to be looked for now, in order of name; what is over no more is forgotten."""
        known = [name for name in self._before if name in ledger.meters]
        too_much = {want.element for want in over(ledger.meters, known)}
        self._before = {name: self._before[name] for name in known if name in too_much}
        return sorted(name for name in too_much if not self.patience.waits(name, now))


def may(ledger: Ledger, name: str) -> May:
    """What it may carry now."""
    meter = ledger.meters[name]
    return May(meter.usable_w - meter.baseline_w, meter.limit_w - meter.baseline_w, ledger.topology.taps)


def _dearer(before: Taps, after: Taps) -> set[str]:
    """The feeds that carry a larger share of a zone's load than they did; what zones are new put there is no cut."""
    found: set[str] = set()
    for zone, taps in after.items():
        had = before.get(zone)
        if had is None or had == taps:
            continue
        parts = {tap.feed: (tap.numerator, tap.denominator) for tap in had}
        for tap in taps:
            numerator, denominator = parts.get(tap.feed, (0, 1))
            if tap.numerator * denominator > numerator * tap.denominator:
                found.add(tap.feed)
    return found
