"""What heat and breakers do to limits: a derate of each zone that is too warm, and of what is behind an open breaker.

They are derates like others: durable, audited, and held through silence, for that lets nothing rise. Who clears such a
derate by hand has it forgotten until a sensor says it anew. Time is counted by the clock that nobody sets.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from slurm_power.config import Site
from slurm_power.core.derate import BREAKER, HEAT, WHOLE, Derate
from slurm_power.core.thermal import HeatRules, Thermal, sensible
from slurm_power.core.window import FOREVER, Window
from slurm_power.daemon.derating import Derating
from slurm_power.ports import Kind, Quantity, Reading
from slurm_power.service.breakers import Breakers
from slurm_power.service.desk import Desk
from slurm_power.service.measured import CRITICAL

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
        self._warmth: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
        """Zone → sensor → (when, °C): of several the hottest counts."""
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
        self._warmth = {}  # sources may be others
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
        changed = self._behind
        hottest: dict[str, float] = {}
        for one in readings:
            self._doubt(source, one)
            if one.quantity is Quantity.TEMPERATURE and one.kind is Kind.ZONE:
                self._feel(source, stale_s, one, hottest)
            elif one.quantity is Quantity.BREAKER:
                changed = self._look(source, stale_s, one) or changed
        rules = _rules(self._desk.site)
        for zone, celsius in hottest.items():
            if rules is not None:
                state = self.zones.setdefault(zone, Thermal(since=self._moment - rules.dwell_s))
                changed = state.take(celsius, self._moment, rules) or changed
        return await self._apply() if changed else False

    def unfit(self, source: str) -> str:
        """What of that which a source has said since this was last asked makes no sense; empty for nothing."""
        found = self._unfit.pop(source, set())
        return "; ".join(f"{what} makes no sense and is left out" for what in sorted(found)[:_TOLD])

    def _doubt(self, source: str, one: Reading) -> None:
        if one.quantity is Quantity.TEMPERATURE and not sensible(one.value):
            self._unfit.setdefault(source, set()).add(f"the temperature of {one.kind} {one.element}")
        elif one.quantity is Quantity.BREAKER and one.value not in (0, 1):
            self._unfit.setdefault(source, set()).add(f"the breaker state of {one.kind} {one.element}")

    @property
    def _moment(self) -> float:
        return self._desk.clock.monotonic()

    def _look(self, source: str, stale_s: int, one: Reading) -> bool:
        """Whether a reading of a breaker says something new. What is neither 0 nor 1, or old, says nothing."""
        known = one.kind is not Kind.NODE and self._desk.declared.topology.declared_w(one.element) is not None
        if not known or one.age_s > stale_s or one.value not in (0, 1):
            return False
        return self._breakers.take(one.element, source, one.part, one.value == 0, self._moment, stale_s)

    def _feel(self, source: str, stale_s: int, one: Reading, hottest: dict[str, float]) -> None:
        """Note one temperature, and the hottest that is fresh in its zone."""
        known = one.element in self._desk.site.topology.zones
        if not known or one.age_s > stale_s or not sensible(one.value):
            return
        sensors = self._warmth.setdefault(one.element, {})
        sensors[source, one.part] = (self._moment, one.value)
        fresh = [celsius for at, celsius in sensors.values() if self._moment - at <= stale_s]
        hottest[one.element] = max(fresh)

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


def _derate(source: str, element: str, percent: Fraction, reason: str, now: int, mark: str = "") -> Derate:
    name = f"{source}:{element}:{percent}{mark}"
    return Derate(name, element, Window(now, FOREVER), reason, now, None, None, percent, source)
