"""What heat and breakers do to limits: a derate of each zone that is too warm, and of what is behind an open breaker.

They are derates like others: durable, audited, and held through silence, for that lets nothing rise. A breaker counts
as closed again once it has been for a while. Who clears such a derate by hand has it forgotten until a sensor says it
anew.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from slurm_power.config import Site
from slurm_power.core.derate import BREAKER, HEAT, WHOLE, Derate
from slurm_power.core.thermal import HeatRules, Thermal
from slurm_power.core.window import FOREVER, Window
from slurm_power.daemon.derating import Derating
from slurm_power.ports import Kind, Quantity, Reading
from slurm_power.service.desk import Desk

_CLOSED_S = 30
"""So long a breaker has to be closed before its feed carries anything again."""


class Reflexes:
    """The state of all zones and breakers."""

    def __init__(self, desk: Desk, derating: Derating) -> None:
        self._desk = desk
        self._derating = derating
        self.zones: dict[str, Thermal] = {}
        self._open: dict[str, tuple[float, bool]] = {}
        """Zone or feed → (since when its breaker is as it is, whether it is open)."""
        self._inlets: dict[str, dict[str, bool]] = {}
        """Zone or feed → inlet → whether its breaker is open: an element is lost once all of them are."""
        self._held: frozenset[tuple[str, str]] = frozenset()
        """(source, element) of the derates that were ours when we last looked."""

    async def follow(self, site: Site) -> None:
        """By this site file from now on. What it knows no rule for ends; what holds goes on."""
        now = self._desk.now()
        rules = _rules(site)
        known = {one.element: one for one in self._desk.derates if one.source == HEAT}
        for name, one in known.items():
            level = sum(1 for step in rules.steps if step.percent <= (one.percent or 0)) if rules is not None else 0
            self.zones.setdefault(name, Thermal(level, since=now))
        for one in self._desk.derates:
            if one.source == BREAKER:
                self._open.setdefault(one.element, (now, True))
        self._inlets = {}  # sources may be others
        if rules is None:
            self.zones = {}
        self.zones = {name: state for name, state in self.zones.items() if name in site.topology.zones}
        self._open = {name: state for name, state in self._open.items() if site.topology.declared_w(name) is not None}
        self._held = self._ours()
        await self._apply()

    @property
    def hold_anything(self) -> bool:
        """Whether a derate of theirs holds."""
        return bool(self._ours())

    @property
    def breakers(self) -> Mapping[str, bool]:
        """Zone or feed → whether its breaker is open, as far as any source has said."""
        return {name: is_open for name, (_, is_open) in self._open.items()}

    async def take(self, readings: Iterable[Reading]) -> bool:
        """Temperatures and states of breakers that a source has just told. Whether a limit has changed."""
        now, changed = self._desk.now(), False
        rules = _rules(self._desk.site)
        self._forget_the_cleared()
        for one in readings:
            if one.quantity is Quantity.TEMPERATURE and one.kind is Kind.ZONE and rules is not None:
                if one.element in self._desk.site.topology.zones:
                    state = self.zones.setdefault(one.element, Thermal(since=now - rules.dwell_s))
                    changed = state.take(one.value, now - max(one.age_s, 0), rules) or changed
            elif one.quantity is Quantity.BREAKER and one.kind is not Kind.NODE:
                changed = self._breaker(one, now) or changed
        return await self._apply() if changed or self._due(now) else False

    def _breaker(self, one: Reading, now: float) -> bool:
        """Whether it says something new. What is neither 0 nor 1 says nothing."""
        if self._desk.declared.topology.declared_w(one.element) is None or one.value not in (0, 1):
            return False
        inlets = self._inlets.setdefault(one.element, {})
        inlets[one.part] = one.value == 0
        is_open, known = all(inlets.values()), self._open.get(one.element)
        if known is None or known[1] != is_open:
            self._open[one.element] = (now, is_open)
            return known is not None or is_open
        return False

    def _due(self, now: float) -> bool:
        """Whether a breaker has been closed for long enough by now, and its derate still holds."""
        held = {one.element for one in self._desk.derates if one.source == BREAKER}
        closed = {name for name, (since, is_open) in self._open.items() if not is_open and now - since >= _CLOSED_S}
        return bool(held & closed)

    async def _apply(self) -> bool:
        """Bring the derates in step. Raises StoreError."""
        before = list(self._desk.derates)
        await self._derating.take(HEAT, self._by_heat())
        await self._derating.take(BREAKER, self._by_breakers())
        self._held = self._ours()
        self._close_zones()
        return before != list(self._desk.derates)

    def _ours(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.source, one.element) for one in self._desk.derates if one.source in (HEAT, BREAKER))

    def _forget_the_cleared(self) -> None:
        for source, element in self._held - self._ours():
            if source == HEAT:
                self.zones.pop(element, None)
            else:
                self._open.pop(element, None)
                self._inlets.pop(element, None)
        self._held = self._ours()

    def _by_heat(self) -> Sequence[Derate]:
        rules, now = _rules(self._desk.site), self._desk.now()
        found = []
        for name, state in self.zones.items():
            if rules is not None and state.level:
                step = rules.steps[min(state.level, len(rules.steps)) - 1]
                why = f"its inlet has reached {float(step.from_c):g} °C: {float(step.percent):g} % less"
                found.append(_derate(HEAT, name, step.percent, why, now))
        return found

    def _by_breakers(self) -> Sequence[Derate]:
        now = self._desk.now()
        held = {one.element for one in self._desk.derates if one.source == BREAKER}
        return [
            _derate(BREAKER, name, WHOLE, "its breaker is open", now)
            for name, (since, is_open) in self._open.items()
            if is_open or (name in held and now - since < _CLOSED_S)
        ]

    def _close_zones(self) -> None:
        """A zone whose thermal state is critical admits nothing."""
        ledger = self._desk.ledger
        for name in ledger.nodes:
            state = self.zones.get(name)
            why = "its inlet is critically warm" if state is not None and state.critical else None
            if ledger.closed.get(name) != why:
                ledger.close(name, why)


def _rules(site: Site) -> HeatRules | None:
    return site.thermal.rules(site.control.smoothing) if site.thermal is not None else None


def _derate(source: str, element: str, percent: Fraction, reason: str, now: int) -> Derate:
    name = f"{source}:{element}:{percent}"
    return Derate(name, element, Window(now, FOREVER), reason, now, None, None, percent, source)
