"""Questions about a reservation before it is made: whether it fits over its whole window, where, and what would.

Pure: the ledger stays as it is, and what a `Calendar` answers holds until the ledger changes. A window is that of the
reservation; what of it lies before the ledger's now does not count. Closed zones are not left out, for they are closed
today, and a reservation begins some day.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

from slurm_power.core.ask import AllOf, AnyOf, Ask, Charges, charges_of
from slurm_power.core.asker import Asker
from slurm_power.core.gaps import Span, first_gap, last_gap
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.window import FOREVER, Window
from slurm_power.core.wiring import Loads

_LOOKED_AT = 64
"""In so many zones, the roomiest of those that would do, another time is looked for."""
_BURSTY_PARTS, _ROOMIEST = 16, 4
"""A reservation with a burst is split into so many parts at most, and for each as many of the roomiest zones are tried:
only trying tells how much of it a zone carries beside the bursts of others, and submissions wait meanwhile.
"""

@immutable
class Free:
    """The most W that another reservation without burst could have; the element, and when it allows no more."""

    watts: int
    element: str
    at: int


class Kind(StrEnum):
    """How an alternative differs from what was asked."""

    EARLIER = "earlier"
    LATER = "later"
    LESS = "less"
    ELSEWHERE = "elsewhere"


@immutable
class Alternative:
    """What would fit instead."""

    kind: Kind
    charges: Charges
    window: Window

    @property
    def zones(self) -> tuple[str, ...]:
        """Where, by name."""
        return tuple(charge.zone for charge in self.charges)

    @property
    def watts(self) -> int:
        """How much in all zones, in W."""
        return sum(charge.est_w for charge in self.charges)


class Calendar:
    """The weeks to come, as one who wants to reserve sees them.

    `group` is the correlation group that the reservation will have: no other claim's, see `Ledger.add`. `cap_w` is the
    most that the reservation may have in a zone, where there is such a bound. `ignore` is a booked reservation that
    does not count, because the one asked about is to take its place.
    """

    def __init__(
        self, ledger: Ledger, group: str, *, cap_w: Mapping[str, int] | None = None, ignore: str | None = None
    ) -> None:
        self.ledger = ledger
        self.group = group
        self.cap_w = cap_w or {}
        self.ignore = ignore
        self._least: dict[tuple[str, int, int], tuple[int, int]] = {}
        self._blocked: dict[tuple[str, int, int, Window], list[Span]] = {}

    def lack(self, charges: Charges, window: Window, *, beside: Loads | None = None) -> Shortfall | None:
        """The first element that cannot carry the charges over the whole window, or None. KeyError: unknown zone."""
        return self.ledger.shortfall(charges, Asker(self.group, window, self.ignore), beside=beside)

    def free(self, zone: str, window: Window) -> Free:
        """The most constant watts over the whole window, all feeds counted. KeyError for a zone that there is not."""
        watts, at = self._least_room(zone, window)
        found = Free(watts, zone, at)
        for tap in self.ledger.topology.taps[zone]:
            if self.ledger.meters[tap.feed].fits_beside_all(tap.share_w(found.watts), 0, self.group):
                continue
            room_w, at = self._least_room(tap.feed, window)
            watts = room_w * tap.denominator // tap.numerator
            if watts < found.watts:
                found = Free(watts, tap.feed, at)
        return Free(max(found.watts, 0), found.element, found.at)

    def place(self, ask: Ask, window: Window) -> Charges | None:
        """Where the whole of it goes, or None.

        Of any zones: the one on which least would be left over; else, where several are allowed, few. Which few is
        found by taking the roomiest first, which may miss a split where they share a feed.
        """
        if isinstance(ask, AllOf):
            charges = charges_of(ask.shares, ask)
            return charges if self._fits(charges, window) else None
        tightest = sorted((room_w, zone) for zone, room_w in self._rooms(ask, window) if room_w >= ask.watts)
        for _, zone in tightest:
            charges = charges_of([(zone, ask.watts)], ask)
            if self._fits(charges, window):
                return charges
        parts = self._spread(ask, window) if ask.most_zones > 1 else {}
        return charges_of(parts.items(), ask) if sum(parts.values()) == ask.watts else None

    def partial(self, ask: Ask, window: Window, min_w: int = 1) -> Charges | None:
        """The most of it that fits, if that is at least `min_w` in all zones together; None if it is not.

        Of zones that are all asked for, each gets the same part of its share, rounded down.
        """
        charges = self.place(ask, window)
        if charges is None and isinstance(ask, AllOf):
            charges = self._part_of_all(ask, window)
        elif charges is None and isinstance(ask, AnyOf):
            charges = charges_of(self._spread(ask, window).items(), ask)
        return charges if charges and sum(charge.est_w for charge in charges) >= min_w else None

    def alternatives(self, ask: Ask, window: Window, others: Sequence[str] = ()) -> tuple[Alternative, ...]:
        """What would fit, where the ask does not, at most one of each kind.

        The nearest earlier and the nearest later window of the same length; the most watts in the window as asked; the
        whole in zones of `others`, over no more of them than were asked. For an ask for several of any zones, the
        other times are those at which one zone would do, or an even split over the roomiest.
        """
        found = [
            self._earlier(ask, window),
            self._later(ask, window),
            self._alternative(Kind.LESS, self.partial(ask, window), window),
            self._alternative(Kind.ELSEWHERE, self._elsewhere(ask, window, others), window),
        ]
        return tuple(one for one in found if one is not None)

    # -- where --------------------------------------------------------------------------------------------------

    def _least_room(self, element: str, window: Window) -> tuple[int, int]:
        """(W, instant) of the least room of a zone or feed over the window; feeds are asked for by many zones."""
        key = (element, window.start, window.end)
        if key not in self._least:
            meter = self.ledger.meters[element]
            self._least[key] = meter.least_room(window, self.ledger.now, self.ignore)
        return self._least[key]

    def _capped(self, zone: str, watts: int) -> int:
        return min(watts, self.cap_w.get(zone, watts))

    def _rooms(self, ask: AnyOf, window: Window) -> list[tuple[str, int]]:
        """(zone, the most that it could have without burst) of each zone of the ask, in W."""
        return [(zone, self._capped(zone, self.free(zone, window).watts)) for zone in sorted(set(ask.zones))]

    def _fits(self, charges: Charges, window: Window) -> bool:
        within = all(charge.est_w <= self._capped(charge.zone, charge.est_w) for charge in charges)
        return within and self.lack(charges, window) is None

    def _spread(self, ask: AnyOf, window: Window) -> dict[str, int]:
        """Zone → W: the whole ask or as much as its zones carry, over at most `most_zones` of them, roomiest first."""
        rooms = self._rooms(ask, window)
        parts: dict[str, int] = {}
        left_w = ask.watts
        most_parts = min(ask.most_zones, _BURSTY_PARTS) if ask.burst_w else ask.most_zones
        while left_w and len(parts) < most_parts:
            beside = self.ledger.loads(charges_of(parts.items(), ask))
            watts, zone = self._next_part(ask, window, left_w, [r for r in rooms if r[0] not in parts], beside)
            if not watts:
                break
            parts[zone] = watts
            left_w -= watts
        return parts

    def _next_part(
        self, ask: AnyOf, window: Window, left_w: int, rooms: list[tuple[str, int]], beside: Loads
    ) -> tuple[int, str]:
        """(W, zone): where most of what is left fits beside other parts; if all of it fits several, the tightest."""
        reach = [(min(left_w, room_w, self._beside(zone, window, beside)), room_w, zone) for zone, room_w in rooms]
        reach.sort(key=lambda one: (-one[0], one[1], one[2]))
        del reach[_ROOMIEST:]
        best = (0, "")
        for reach_w, _, zone in reach:
            if reach_w <= best[0]:
                break
            watts = self._most_in(zone, reach_w, ask, window, beside)
            if watts > best[0]:
                best = watts, zone
        return best

    def _beside(self, zone: str, window: Window, beside: Loads) -> int:
        """The most that feeds leave a zone beside other loads, in W; the zone itself has none of them."""
        least_w = FOREVER
        for tap in self.ledger.topology.taps[zone]:
            load = beside.get(tap.feed)
            if load is not None:
                room_w = self._least_room(tap.feed, window)[0] - load.est_w
                least_w = min(least_w, room_w * tap.denominator // tap.numerator)
        return least_w

    def _most_in(self, zone: str, highest_w: int, ask: AnyOf, window: Window, beside: Loads) -> int:
        """The most up to `highest_w` that a zone carries with its part of the burst, in W."""
        return _most(
            highest_w, lambda watts: self.lack(charges_of([(zone, watts)], ask), window, beside=beside) is None
        )

    def _part_of_all(self, ask: AllOf, window: Window) -> Charges:
        total = ask.watts

        def part(watts: int) -> Charges:
            return charges_of([(zone, share * watts // total) for zone, share in ask.shares], ask)

        return part(_most(total, lambda watts: self._fits(part(watts), window)))

    def _elsewhere(self, ask: Ask, window: Window, others: Sequence[str]) -> Charges | None:
        zones = tuple(zone for zone in others if zone not in ask.zones)
        most_zones = len(ask.shares) if isinstance(ask, AllOf) else ask.most_zones
        return self.place(AnyOf(zones, ask.watts, ask.burst_w, most_zones), window)

    # -- when ---------------------------------------------------------------------------------------------------

    def _shapes(self, ask: Ask, window: Window) -> Iterator[Charges]:
        """Charges that would do at another time, within what caps allow."""
        if isinstance(ask, AllOf):
            shapes = [list(ask.shares)]
        else:
            rooms = sorted(self._rooms(ask, window), key=lambda pair: (-pair[1], pair[0]))
            shapes = [[(zone, ask.watts)] for zone, _ in rooms[:_LOOKED_AT]]
            several = min(ask.most_zones, len(rooms), ask.watts)
            if several > 1:
                shapes.append([(rooms[k][0], (ask.watts + k) // several) for k in range(several)])
        for shape in shapes:
            if all(watts == self._capped(zone, watts) for zone, watts in shape):
                yield charges_of(shape, ask)

    def _blocking(self, charges: Charges, window: Window) -> list[list[Span]]:
        """For each element under the charges, where in the window they do not fit; many zones share a feed."""
        found = []
        for element, load in self.ledger.loads(charges).items():
            key = (element, load.est_w, load.burst_w, window)
            if key not in self._blocked:
                meter, now = self.ledger.meters[element], self.ledger.now
                spans = meter.blocked(load.est_w, load.burst_w, self.group, window, now, self.ignore)
                self._blocked[key] = list(spans)
            found.append(self._blocked[key])
        return found

    def _earlier(self, ask: Ask, window: Window) -> Alternative | None:
        now, length_s = self.ledger.now, window.end - window.start
        if window.start <= now:
            return None
        before = Window(now, window.end)
        found = [
            (-at, charges)
            for charges in self._shapes(ask, window)
            if (at := last_gap(self._blocking(charges, before), window.start, length_s, now)) is not None
        ]
        if not found:
            return None
        back, charges = min(found, key=_by_instant)
        at = -back
        return Alternative(Kind.EARLIER, charges, Window(at, at + length_s))

    def _later(self, ask: Ask, window: Window) -> Alternative | None:
        start, length_s = max(window.start, self.ledger.now), window.end - window.start
        found = [
            (at, charges)
            for charges in self._shapes(ask, window)
            if (at := first_gap(self._blocking(charges, Window(start)), start, length_s)) is not None
        ]
        if not found:
            return None
        at, charges = min(found, key=_by_instant)
        return Alternative(Kind.LATER, charges, Window(at, min(at + length_s, FOREVER)))

    @staticmethod
    def _alternative(kind: Kind, charges: Charges | None, window: Window) -> Alternative | None:
        return Alternative(kind, charges, window) if charges is not None else None


def _by_instant(found: tuple[int, Charges]) -> tuple[int, int, tuple[str, ...]]:
    """The nearest instant first, then fewer zones, then by name."""
    at, charges = found
    return at, len(charges), tuple(charge.zone for charge in charges)


def _most(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest number up to `highest` that fits, where with one all smaller ones do; 0 if none does."""
    if highest > 0 and fits(highest):
        return highest
    low, high = 0, max(highest - 1, 0)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
