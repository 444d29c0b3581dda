"""What heat and breakers do to limits: a derate of each zone that is too warm, and of what is behind an open breaker.

They are derates like others: durable, audited, and held through silence, for that lets nothing rise. Who clears such a
derate by hand has it forgotten until a sensor says it anew. Time is counted by the clock that nobody sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import isfinite

from slurm_power.config import Site
from slurm_power.core.derate import BREAKER, HEAT, WHOLE, Derate
from slurm_power.core.gauge import AHEAD_S
from slurm_power.core.thermal import HeatRules, Thermal, sensible
from slurm_power.core.window import FOREVER, Window
from slurm_power.daemon.derating import Derating
from slurm_power.daemon.naming import names
from slurm_power.ports import Kind, Quantity, Reading
from slurm_power.service.breakers import Breakers
from slurm_power.service.desk import Desk
from slurm_power.service.measured import CRITICAL
from slurm_power.service.thermometers import Thermometers

_MARK = ":critical"
"""What the id of a derate by heat ends with where the zone admits nothing."""
_TOLD = 5
"""Of how many elements it is said that what a source says of them makes no sense."""


class Reflexes:
    """The state of all zones and breakers."""

    def __init__(self, desk: Desk, derating: Derating) -> None:
        self._desk = desk
        self._derating = derating
        self.zones: dict[str, Thermal] = {}
        self._thermometers = Thermometers()
        self._breakers = Breakers()
        self._unfit: dict[str, set[str]] = {}
        """Source → what of that which it said last makes no sense."""
        self._held: frozenset[tuple[str, str]] = frozenset()
        """(source, element) of the derates that were ours when we last looked."""
        self._behind = False
        """Whether the derates may not be what they should: the database has failed."""

    def restore(self, site: Site) -> None:
        """What held before a restart holds from here on, before anybody is admitted."""
        moment, rules = self._moment, _rules(site)
        for one in self._desk.derates:
            if one.source == HEAT and rules is not None and one.element in site.topology.zones:
                level = sum(1 for step in rules.steps if step.percent <= (one.percent or 0))
                critical = one.id.endswith(_MARK)
                self.zones.setdefault(one.element, Thermal(level, critical=critical, since=moment))
            elif one.source == BREAKER:
                self._breakers.restore(one.element)
        self._held = self._ours()
        self._close_zones()

    async def follow(self, site: Site) -> None:
        """By this site file from now on. What it knows no rule for ends; what holds goes on. Raises StoreError."""
        self._forget_the_cleared()
        declared = site.topology.declared_w
        self.zones = {name: state for name, state in self.zones.items() if _rules(site) and name in site.topology.zones}
        self._breakers.keep({name for name in self._breakers.elements() if declared(name) is not None})
        self._breakers.expect(site.telemetry or ())
        self._thermometers.keep(names(site.telemetry or ()))
        await self._apply()

    @property
    def hold_anything(self) -> bool:
        """Whether a derate of theirs holds."""
        return bool(self._ours())

    @property
    def breakers(self) -> Mapping[str, bool]:
        """Zone or feed → whether it is behind an open breaker, as far as any source has said."""
        return self._breakers.states()

    async def take(self, source: str, stale_s: int, readings: Iterable[Reading]) -> bool:
        """Temperatures and states of breakers that a source has just told. Whether a limit has changed.

        Raises StoreError; then it is tried again with the next readings of any source.
        """
        self._forget_the_cleared()
        changed, rules = self._behind, _rules(self._desk.site)
        felt: set[str] = set()
        for one in readings:
            doubt = _doubt(one)
            if doubt:
                self._unfit.setdefault(source, set()).add(doubt)
            elif one.age_s > stale_s:
                continue
            elif one.quantity is Quantity.BREAKER:
                changed = self._look(source, stale_s, one) or changed
            elif one.quantity is Quantity.TEMPERATURE and rules is not None and self._feel(source, stale_s, one, rules):
                felt.add(one.element)
        for zone in felt:
            changed = (rules is not None and self._judge(zone, rules)) or changed
        return await self._apply() if changed else False

    def unfit(self, source: str) -> str:
        """What of that which a source has said since this was last asked makes no sense; empty for nothing."""
        found = self._unfit.pop(source, set())
        return "; ".join(sorted(found)[:_TOLD])

    @property
    def _moment(self) -> float:
        return self._desk.clock.monotonic()

    def _look(self, source: str, stale_s: int, one: Reading) -> bool:
        """Whether a reading of a breaker says something new."""
        known = one.kind is not Kind.NODE and self._desk.declared.topology.declared_w(one.element) is not None
        if not known:
            return False
        return self._breakers.take(one.element, source, one.part, one.value == 0, self._moment, stale_s)

    def _feel(self, source: str, stale_s: int, one: Reading, rules: HeatRules) -> bool:
        """Whether a temperature says something new of a zone."""
        if one.kind is not Kind.ZONE or one.element not in self._desk.site.topology.zones:
            return False
        at = self._moment - one.age_s
        return self._thermometers.take(one.element, source, one.part, one.value, at, stale_s, rules.window_s)

    def _judge(self, zone: str, rules: HeatRules) -> bool:
        """Whether what is known of the warmth of a zone changes anything."""
        warmth = self._thermometers.warmth(zone, self._moment, rules.window_s)
        state = self.zones.setdefault(zone, Thermal(since=self._moment - rules.dwell_s))
        return warmth is not None and state.judge(warmth, self._moment, rules)

    async def _apply(self) -> bool:
        """Bring the derates in step. Raises StoreError."""
        before = list(self._desk.derates)
        self._behind = True
        await self._derating.take(HEAT, self._by_heat())
        await self._derating.take(BREAKER, self._by_breakers())
        self._behind = False
        self._held = self._ours()
        self._close_zones()
        return before != list(self._desk.derates)

    def _ours(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.source, one.element) for one in self._desk.derates if one.source in (HEAT, BREAKER))

    def _forget_the_cleared(self) -> None:
        for source, element in self._held - self._ours():
            if source == HEAT:
                self.zones.pop(element, None)
                self._thermometers.forget(element)
            else:
                self._breakers.forget(element)
        self._held = self._ours()

    def _by_heat(self) -> Sequence[Derate]:
        rules, now = _rules(self._desk.site), self._desk.now()
        found = []
        for name, state in self.zones.items():
            if rules is None or not (state.level or state.critical):
                continue
            level = min(state.level, len(rules.steps))
            percent = rules.steps[level - 1].percent if level else Fraction(0)
            reached = rules.critical_c if state.critical else rules.steps[level - 1].from_c
            why = f"its inlet has reached {float(reached or 0):g} °C: {float(percent):g} % less"
            mark = _MARK if state.critical else ""
            found.append(_derate(HEAT, name, percent, why + ", and nothing is admitted" * state.critical, now, mark))
        return found

    def _by_breakers(self) -> Sequence[Derate]:
        now = self._desk.now()
        lost = sorted(name for name, is_open in self._breakers.states().items() if is_open)
        return [_derate(BREAKER, name, WHOLE, "its breaker is open", now) for name in lost]

    def _close_zones(self) -> None:
        """A zone whose thermal state is critical admits nothing."""
        ledger = self._desk.ledger
        for name in ledger.nodes:
            state = self.zones.get(name)
            critical, closed = state is not None and state.critical, ledger.closed.get(name)
            if critical and closed != CRITICAL:
                ledger.close(name, CRITICAL)
            elif not critical and closed == CRITICAL:
                ledger.close(name, None)


def _rules(site: Site) -> HeatRules | None:
    return site.thermal.rules(site.control.smoothing) if site.thermal is not None else None


def _doubt(one: Reading) -> str:
    """Why a reading is not believed; empty where it is, or where others have to judge it."""
    if one.quantity is Quantity.TEMPERATURE:
        what, sense = f"the temperature of {one.kind} {one.element}", sensible(one.value)
    elif one.quantity is Quantity.BREAKER:
        what, sense = f"the breaker state of {one.kind} {one.element}", one.value in (0, 1)
    else:
        return ""
    if not sense:
        return f"{what} makes no sense and is left out"
    if not isfinite(one.age_s):
        return f"{what} has no time and is left out"
    if one.age_s < -AHEAD_S:
        return f"{what} is from a clock that is ahead and is left out"
    return ""


def _derate(source: str, element: str, percent: Fraction, reason: str, now: int, mark: str = "") -> Derate:
    name = f"{source}:{element}:{percent}{mark}"
    window = Window(now, FOREVER)
    return Derate(name, element, window, reason, created=now, uid=None, percent=percent, source=source)
