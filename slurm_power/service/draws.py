"""What the sources say of the draw of zones, feeds and nodes; several may speak of one element, and the higher counts.

A source may measure an element as a whole or an inlet of it. Wholes are alternatives to each other; the inlets add up
to one more. While one of them is silent the others are a lower bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from itertools import groupby
from typing import NamedTuple

from slurm_power.config.control import Control
from slurm_power.core.gauge import AHEAD_S, Bounds, Draw, Gauge, add_up
from slurm_power.core.immutable import immutable
from slurm_power.ports import Kind, Quantity, Reading

_AT_ONCE = 200
"""Elements that are looked at before others get their turn."""
ORPHANED_S = 600
"""So long an element counts as silent whose sources have gone from the site file."""
REPLACED_S = 86_400
"""What a source has not told of for so long, while it told of the rest of the same element, is there no more."""
_WATTS = frozenset({Quantity.POWER, Quantity.ENERGY})
_PHASES = 3


class Element(NamedTuple):
    """A zone, feed or node."""

    kind: Kind
    name: str


class Sensor(NamedTuple):
    """One inlet of an element; with no part the whole."""

    element: Element
    part: str = ""


class LastTold(NamedTuple):
    """When a sensor last told something fit, in s, and of which phases, where it tells of each by itself."""

    at: float
    phases: frozenset[str] = frozenset()


@immutable
class Feeler:
    """A source as far as its readings are judged by it: asked each `every_s`, stale after `stale_s`.

    `expects` is what it is to tell of by the site file, `remembered` what it has told of before a start.
    """

    name: str
    stale_s: int
    every_s: int
    expects: frozenset[Sensor] = frozenset()
    remembered: Mapping[Sensor, LastTold] = field(default_factory=dict)


@immutable
class Doubt:
    """What is wrong with the readings of an element from a source."""

    source: str
    element: Element
    text: str


class _Track(NamedTuple):
    source: str
    part: str


class _Count(NamedTuple):
    """A counter of energy: when and at how many J it last moved, and when it was last heard."""

    at: float
    joules: float
    heard_at: float


class Draws:
    """The gauges, by element, source and inlet. `now` is the ledger's clock, in s."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._feelers: dict[str, Feeler] = {}
        self._gauges: dict[Element, dict[_Track, Gauge]] = {}
        self._counters: dict[tuple[Element, _Track], _Count] = {}
        self._phases: dict[tuple[Element, _Track], LastTold] = {}
        """Which phases were last told of, all at once."""
        self._expected: dict[Element, set[_Track]] = {}
        self._orphans: dict[Element, float] = {}
        """What nobody is asked about any more since a change of the sources → until when that counts as silence."""

    def follow(self, feelers: Iterable[Feeler], control: Control, now: float = 0) -> None:
        """These sources and no others from now on; what is known from those that stay is kept."""
        before = list(self.elements())
        self._control = control
        self._feelers = {one.name: one for one in feelers}
        self._expect()
        for element, gauges in list(self._gauges.items()):
            left = {track: gauge for track, gauge in gauges.items() if track.source in self._feelers}
            for track, gauge in left.items():
                one = self._feelers[track.source]
                gauge.judge_by(one.stale_s, one.every_s, control.smoothing, control.stuck)
            if left:
                self._gauges[element] = left
            else:
                del self._gauges[element]
        self._counters = {key: one for key, one in self._counters.items() if key[1].source in self._feelers}
        self._phases = {key: one for key, one in self._phases.items() if key[1].source in self._feelers}
        for one in self._feelers.values():
            for sensor, told in one.remembered.items():
                self._phases.setdefault((sensor.element, _Track(one.name, sensor.part)), told)
        lost = [element for element in before if not self.measured(element)]
        self._orphans |= dict.fromkeys(lost, now + ORPHANED_S)

    def _expect(self) -> None:
        self._expected = {}
        for one in self._feelers.values():
            for sensor in (*one.expects, *one.remembered):
                self._expected.setdefault(sensor.element, set()).add(_Track(one.name, sensor.part))

    def renew(self, now: float) -> None:
        """What is silent since its sources are gone is not measured any more after a while."""
        self._orphans = {element: until for element, until in self._orphans.items() if until > now}

    def forget(self, source: str, sensor: Sensor) -> None:
        """A sensor that is not in the site file, and has been replaced by others of its element."""
        one = self._feelers.get(source)
        if one is None or sensor in one.expects:
            return
        left = {each: told for each, told in one.remembered.items() if each != sensor}
        self._feelers[source] = replace(one, remembered=left)
        self._expect()
        track = _Track(source, sensor.part)
        self._gauges.get(sensor.element, {}).pop(track, None)
        self._phases.pop((sensor.element, track), None)

    @property
    def stale_s(self) -> int:
        """After so long any source that says nothing is stale, in s."""
        return max((one.stale_s for one in self._feelers.values()), default=0)

    def take(
        self, source: str, readings: Iterable[Reading], now: float, bounds: Callable[[Element], Bounds | None]
    ) -> set[Element]:
        """Take in what a source has just said. The elements of which something new and fit is known.

        `bounds` tells what is believed of an element; None where there is no such element.
        """
        fresh: set[Element] = set()
        watts = sorted((one for one in readings if one.quantity in _WATTS), key=_by_track)
        for (kind, name, part), phases in groupby(watts, _by_track):
            element, track = Element(kind, name), _Track(source, part)
            believed = bounds(element)
            if believed is None or source not in self._feelers:
                continue
            believed = replace(believed, part=True) if part else believed
            if self._take(element, track, list(phases), now, believed):
                fresh.add(element)
        return fresh

    def _take(
        self, element: Element, track: _Track, phases: Sequence[Reading], now: float, believed: Bounds
    ) -> bool:
        """Whether the readings of one track are new and fit."""
        at = now - max((one.age_s for one in phases), key=abs)
        if phases[0].quantity is Quantity.ENERGY:
            watts = self._from_counter(element, track, phases[0].value, at, now)
            return watts is not None and self._gauge(element, track).take(watts, at, now, believed)
        told = frozenset(one.phase for one in phases)
        known = self._phases.get((element, track))
        if known is not None and told < known.phases and at - known.at <= REPLACED_S:
            # what these carry says nothing of the others
            self._gauge(element, track).refuse(f"lacks phase {', '.join(sorted(known.phases - told))}")
            return False
        self._phases[element, track] = LastTold(at, told)
        values = [one.value for one in phases]
        fullest_w = _PHASES * max(values) if len(values) == _PHASES else 0  # the fullest phase is what trips
        return self._gauge(element, track).take(max(sum(values), fullest_w), at, now, believed)

    def heard(self) -> dict[str, dict[Sensor, LastTold]]:
        """Source → sensor that has told anything → when it last did."""
        found: dict[str, dict[Sensor, LastTold]] = {source: {} for source in self._feelers}
        for element, gauges in self._gauges.items():
            for track, gauge in gauges.items():
                if gauge.at is not None:
                    phases = self._phases.get((element, track), LastTold(0)).phases
                    found[track.source][Sensor(element, track.part)] = LastTold(gauge.at, phases)
        return found

    def measured(self, element: Element) -> bool:
        """Whether any source is to tell of it, or has."""
        return element in self._gauges or element in self._expected or element in self._orphans

    def seen(self, element: Element, now: float) -> Draw | None:
        """What it draws, or, where that is not `whole`, draws at least; None where nothing fresh is known."""
        found: Draw | None = None
        for one in self._alternatives(element, now):
            found = one if found is None else found.or_more(one)
        return found

    def draw(self, element: Element, now: float) -> Draw | None:
        """What it draws; None where not all of it is known."""
        found = self.seen(element, now)
        return found if found is not None and found.whole else None

    def wholes(self, element: Element, now: float) -> list[Draw]:
        """What each that speaks of all of it says."""
        return [one for one in self._alternatives(element, now) if one.whole and not one.late]

    def elements(self) -> Iterable[Element]:
        """All of which anything was ever said, or is to be."""
        return dict.fromkeys([*self._gauges, *self._expected, *self._orphans])

    def doubts(self, now: float) -> Iterator[Doubt | None]:
        """What is wrong with readings now: unfit, stale, or never come; None is a pause for others."""
        for number, (element, gauges) in enumerate(list(self._gauges.items())):
            if number % _AT_ONCE == 0:
                yield None
            for track, gauge in list(gauges.items()):
                age_s = gauge.age_s(now)
                silent = age_s is None or age_s > gauge.stale_s
                quiet = "nothing fit has come yet" if age_s is None else f"the last fit reading is {age_s:.0f} s old"
                text = "; ".join(filter(None, (gauge.trouble, quiet if silent else "")))
                if text:
                    yield Doubt(track.source, element, text)
        for one in list(self._feelers.values()):
            yield None
            yield from self._unheard(one)

    def _unheard(self, one: Feeler) -> Iterator[Doubt]:
        """What a source is to tell of and has not."""
        for sensor in one.expects | one.remembered.keys():
            there = {track.part for track in self._gauges.get(sensor.element, {}) if track.source == one.name}
            if sensor.part not in there and (sensor.part or not there):
                of = f" of inlet {sensor.part}" if sensor.part else ""
                yield Doubt(one.name, sensor.element, f"nothing has come yet{of}")

    def not_later_than(self, now: float) -> None:
        """The clock has been set back."""
        for gauges in self._gauges.values():
            for gauge in gauges.values():
                gauge.not_later_than(now)
        self._counters.clear()

    def _gauge(self, element: Element, track: _Track) -> Gauge:
        gauges = self._gauges.setdefault(element, {})
        gauge = gauges.get(track)
        if gauge is None:
            one = self._feelers[track.source]
            gauge = gauges[track] = Gauge(one.stale_s, one.every_s, self._control.smoothing, self._control.stuck)
            self._orphans.pop(element, None)
        return gauge

    def _alternatives(self, element: Element, now: float) -> list[Draw]:
        """What each source says of the whole, and what all inlets come to."""
        found: list[Draw] = []
        inlets: dict[str, Draw | None] = {one.part: None for one in self._expected.get(element, ()) if one.part}
        for track, gauge in self._gauges.get(element, {}).items():
            one = gauge.draw(now)
            if not track.part:
                found += [one] if one is not None else []
                continue
            known = inlets.get(track.part)
            inlets[track.part] = known.or_more(one) if known is not None and one is not None else known or one
        together = add_up(inlets.values())
        if together is not None and together.latest_w > 0:  # else it is silent: nothing that is on draws nothing
            found.append(together)
        return found

    def _from_counter(
        self, element: Element, track: _Track, joules: float, at: float, now: float
    ) -> float | None:
        """The mean power since the counter last moved; None until it moves, and after a reset or a silence.

        A counter in coarse steps stands still between two of them: that is no zero.
        """
        before = self._counters.get((element, track))
        if at > now + AHEAD_S or (before is not None and at <= before.heard_at):
            return None
        silent = before is None or at - before.heard_at > self._feelers[track.source].stale_s
        if before is not None and not silent and joules == before.joules:
            self._counters[element, track] = before._replace(heard_at=at)
            return None
        self._counters[element, track] = _Count(at, joules, at)
        if before is None or silent or joules < before.joules:
            return None
        return (joules - before.joules) / (at - before.at)


def _by_track(one: Reading) -> tuple[Kind, str, str]:
    return one.kind, one.element, one.part

