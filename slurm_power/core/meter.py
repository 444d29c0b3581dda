"""What is on one zone or feed now and at any later instant: live claims, bookings and reservations.

At later instants a live claim counts until its window's end, rounded up to a whole minute. What bursts remain of live
claims then is an upper bound, exact where no group has several of them; it is nothing once all have ended.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from slurm_power.core.asker import Asker
from slurm_power.core.derate import Planned
from slurm_power.core.gaps import Span
from slurm_power.core.level import Booking, Level
from slurm_power.core.live import Ending, Live
from slurm_power.core.policy import BurstRule
from slurm_power.core.timeline import NOTHING, Sums, Timeline
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER, Window

STRAY_S = 900
"""What is measured now says nothing about whatever begins later than this, in s."""
_EMPTY = Timeline()
"""Where nothing is reserved; never changed."""

_Change = Callable[[Level, int], None]
"""What happens to a level where something begins (1) or ends (−1)."""

_MORE = 1 << 60
"""More watts, or thousandths of nodes, than there are anywhere."""


def _any_level(_: Level) -> bool:
    return True


class Counted(NamedTuple):
    """Other limits and plans that begin before an instant count; `yields`: what gives way to a cut does so for him."""

    before: int = FOREVER
    yields: bool = True


_ALL = Counted()


class Lack(NamedTuple):
    """What keeps a claim out: of `free_w` it asks `asked_w`; `burst` tells which rule, `at` the instant."""

    asked_w: int
    free_w: int
    burst: bool
    at: int


class Meter(Live):
    """One zone's or feed's account of watts.

    `bookings` are the few claims that begin later and are looked at one by one (shadows); `reserved` the many whose
    sums lie in a timeline. `ahead` tells whether there is any of either, or another limit to come.
    """

    __slots__ = ("_booked_burst_w", "_booked_w", "_least_w", "_timeline", "ahead", "bookings", "planned", "reserved")

    def __init__(self, name: str, limit_w: int, margin: Fraction, baseline_w: int, rule: BurstRule) -> None:
        super().__init__(name, limit_w, margin, baseline_w, rule)
        self.bookings: dict[str, Booking] = {}
        self.reserved: dict[str, Booking] = {}
        self.planned: tuple[Planned, ...] = ()
        """Times at which it may carry less or more than now, no two at once, in order."""
        self.ahead = False
        self._booked_w = 0
        self._booked_burst_w = 0
        self._least_w = _MORE
        """The least that it may carry then."""
        self._timeline: Timeline | None = None

    def book(self, claim_id: str, booking: Booking) -> None:
        """Keep a claim that begins later."""
        self.bookings[claim_id] = booking
        self._booked_w += booking.load.est_w
        self._booked_burst_w += booking.load.burst_w
        self.ahead = True

    def reserve(self, claim_id: str, booking: Booking) -> None:
        """Keep a claim that begins later, one of many. No other claim may be of its correlation group."""
        if self._timeline is None:
            self._timeline = Timeline()
        self._timeline.add(booking.window, booking.load.sums)
        self.reserved[claim_id] = booking
        self.ahead = True

    def plan_limits(self, planned: Sequence[Planned]) -> None:
        """These, in place of those known before, are times to come at which it may carry less or more than now."""
        self.planned = tuple(planned)
        self._least_w = min((one.limit_w for one in planned), default=_MORE)
        self.ahead = self._anything_ahead()

    @property
    def cuts(self) -> Iterator[Planned]:
        """The times to come at which it may carry less than now, in order."""
        return (one for one in self.planned if one.limit_w < self.limit_w)

    def cut_at(self, instant: int) -> Planned | None:
        """The one of these that holds at an instant."""
        return next((one for one in self.cuts if instant in one.window), None)

    def limit_at(self, instant: int) -> int:
        """What it may carry at an instant, in W, as far as it is known."""
        return next((one.limit_w for one in self.planned if instant in one.window), self.limit_w)

    def unbook(self, claim_id: str) -> None:
        """Forget a claim that begins later."""
        booking = self.bookings.pop(claim_id, None)
        if booking is not None:
            self._booked_w -= booking.load.est_w
            self._booked_burst_w -= booking.load.burst_w
        else:
            reserved = self.reserved.pop(claim_id)
            self._reservations.remove(reserved.window, reserved.load.sums)
            if not self.reserved:
                self._timeline = None
        self.ahead = self._anything_ahead()

    def _anything_ahead(self) -> bool:
        return bool(self.bookings or self.reserved or self.planned)

    @property
    def strays(self) -> bool:
        """Whether what is measured, or is not, keeps anybody out."""
        return self.blind or self.stray_w > 0

    @property
    def _reservations(self) -> Timeline:
        return self._timeline or _EMPTY

    @property
    def nodes_ahead(self) -> bool:
        """Whether anything that begins later may take nodes."""
        return bool(self.bookings) or self._reservations.peak[3] > 0

    def others_ahead(self, ignore: str | None) -> bool:
        """Whether anything but the one to ignore begins later."""
        ignored = ignore in self.bookings or ignore in self.reserved
        return bool(self.planned) or len(self.bookings) + len(self.reserved) > ignored

    def bursts(self, group: str) -> bool:
        """Whether a live or booked claim of the group has a burst here."""
        return group in self.groups or any(b.group == group and b.load.burst_w for b in self.bookings.values())

    def reserved_sums(self, instant: int) -> Sums:
        """What is there at an instant of that which is reserved and has not begun."""
        return self._reservations.most_in(Window(instant, instant + 1))

    def reserved_at(self, instant: int, ignore: str | None = None) -> str | None:
        """The id of the largest reservation at an instant, of equals the first by name; None where there is none."""
        there = ((-r.load.est_w, name) for name, r in self.reserved.items() if instant in r.window and name != ignore)
        return min(there, default=(0, None))[1]

    def nodes_reserved_in(self, window: Window, ignore: str | None = None) -> str | None:
        """The id of a reservation that takes nodes within a window, of several the first by name; None without one."""
        there = (
            name
            for name, r in self.reserved.items()
            if r.load.node_milli and r.window.overlaps(window) and name != ignore
        )
        return min(there, default=None)

    def lack(self, est_w: int, burst_w: int, asker: Asker, now: int) -> Lack | None:
        """What keeps so much of a claim out over its window where it is worst (of equals the first), or None."""
        group, window, ignore, _ = asker
        if window.start <= now and not (self.ahead and (ignore is None or self.others_ahead(ignore))):
            if self.fits(est_w, burst_w, group):
                return None
            level = Level(self)
            level.at = now
            return self._lack_at(level, est_w, burst_w, group)
        if self.fits_beside_all(est_w, burst_w, group):
            return None
        if self._timeline is not None and self._fits_beside(self._timeline.most_in(window), est_w, burst_w, group):
            return None
        worst: Lack | None = None
        most_w = 0

        def worse(level: Level) -> bool:
            return self._excess_w(level, est_w, burst_w, group) > most_w

        counted = self._counted(est_w, burst_w, asker, now)
        for level in self.levels(window, now, ignore, worse, counted=counted):
            if worse(level):
                most_w = self._excess_w(level, est_w, burst_w, group)
                worst = self._lack_at(level, est_w, burst_w, group)
        return worst

    def missing(self, est_w: int, burst_w: int, asker: Asker, now: int) -> tuple[int, int]:
        """What a claim lacks where it is worst: W under usable, and W under the limit with bursts; 0 or less fits."""
        packing_w = top_w = -_MORE
        counted = self._counted(est_w, burst_w, asker, now)
        for level in self.levels(asker.window, now, asker.ignore, counted=counted):
            packing_w = max(packing_w, level.packed_w(burst_w) + est_w - level.packing_w)
            burst_with_w = self._burst_with(level, burst_w, asker.group)
            top_w = max(top_w, level.committed_w + est_w + burst_with_w - level.top_w)
        return packing_w, top_w

    def least_room(self, window: Window, now: int, ignore: str | None = None) -> tuple[int, int]:
        """(the most est that a claim without burst could have over the whole window, the first instant without more).

        In W; negative where more than is allowed is committed.
        """
        least_w, at = _MORE, window.start

        def tighter(level: Level) -> bool:
            return self._room_at(level) < least_w

        for level in self.levels(window, now, ignore, tighter):
            if tighter(level):
                least_w, at = self._room_at(level), level.at
        return least_w, at

    def most_milli(self, window: Window, now: int, ignore: str | None = None) -> int:
        """The most thousandths of nodes that are taken at any instant of the window."""
        most = 0

        def more(level: Level) -> bool:
            return level.node_milli > most

        for level in self.levels(window, now, ignore, more):
            most = max(most, level.node_milli)
        return most

    def blocked(
        self,
        est_w: int,
        burst_w: int,
        group: str,
        window: Window,
        now: int,
        ignore: str | None = None,
        most_milli: int = _MORE,
    ) -> Iterator[Span]:
        """Where in the window a claim does not fit, or more than `most_milli` of nodes are taken, in order of time."""

        def blocks(level: Level) -> bool:
            return level.node_milli > most_milli or self._excess_w(level, est_w, burst_w, group) > 0

        if most_milli < _MORE or not self.fits_beside_all(est_w, burst_w, group):
            for level in self.levels(window, now, ignore, blocks, ends=True):
                if blocks(level):
                    yield level.at, level.until

    def levels(
        self,
        window: Window,
        now: int,
        ignore: str | None = None,
        looks_into: Callable[[Level], bool] = _any_level,
        *,
        ends: bool = False,
        counted: Counted = _ALL,
    ) -> Iterator[Level]:
        """What is there over the window, in order of time; one object, changed between yields.

        There is one for the start and one wherever something begins, or what begins later ends; with `ends` also where
        live claims end, as long as `looks_into` affirms the level before. Parts of the window over which it denies a
        level that is at least as high are left out.
        """
        start = max(window.start, now)
        end = max(window.end, start + 1)
        level, position = self._level_from(start, now)
        level.yields = counted.yields
        instants = self.instants() if start > now or self.ahead or ends else ()
        changes = self._changes(Window(start, end), now, ignore, counted)
        cuts = sorted({start, end, *(change[0] for change in changes if change[0] < end)})
        changed = 0

        def pass_on(instant: int) -> None:
            nonlocal position
            # What has outrun its window is here now; of a later instant nobody can say more than its window does.
            while position < len(instants) and instants[position] <= instant and instant > now:
                level.release(self.ends[instants[position]])
                position += 1

        def highest(instant: int, sums: Sums) -> bool:
            pass_on(instant)
            level.reserve(sums)
            return looks_into(level)

        for cut, after in pairwise(cuts):
            pass_on(cut)
            while changed < len(changes) and changes[changed][0] <= cut:
                _, sign, change = changes[changed]
                change(level, sign)
                changed += 1
            for at, until, sums in self._reservations.over(Window(cut, after), highest):
                pass_on(at)
                level.reserve(sums)
                level.at, level.until = at, until
                while ends and position < len(instants) and instants[position] < until and looks_into(level):
                    if max(instants[position], now + 1) >= until:
                        break
                    level.until = max(instants[position], now + 1)
                    yield level
                    level.at, level.until = level.until, until
                    pass_on(level.at)
                yield level

    def free_from(self, est_w: int, burst_w: int, group: str, floor_w: int, now: int) -> int | None:
        """The first instant at which a claim fits and headroom is `floor_w`, by limits and ends of live claims alone.

        None where what never ends, or the element itself, stands against it.
        """
        highest = self.packing_w - max(est_w, floor_w)
        if self.committed_w <= highest and self.fits(est_w, burst_w, group):
            return now
        level, limits = Level(self), self._limits(now)
        for at in sorted({*self.instants(), *limits} if limits else self.instants()):
            for change, sign in limits.get(at, ()):
                change(level, sign)
            if at in self.ends:
                level.release(self.ends[at])
            free = level.committed_w <= level.packing_w - max(est_w, floor_w)
            if free and self._lack_at(level, est_w, burst_w, group) is None:
                return max(at, now + 1)
        return None

    def _limits(self, now: int) -> dict[int, list[tuple[_Change, int]]]:
        """Instant to come → what happens to what it may carry: begins (1) or ends (−1)."""
        found: dict[int, list[tuple[_Change, int]]] = {}
        if self.strays:
            found[now + STRAY_S] = [(lambda level, _: level.long_after(self), 1)]
        for one in self.planned:
            change = self._change(one, now)
            for at, sign in ((one.window.start, 1), (one.window.end, -1)):
                if at < FOREVER:
                    found.setdefault(at, []).append((change, sign))
        return found

    def numbers(self) -> tuple[object, ...]:
        """All numbers that adding and removing keep up to date: tests compare them with a fresh count."""
        ends = {
            end: (e.est_w, e.burst_w, e.squares, e.node_milli, e.claims, e.yielding_w) for end, e in self.ends.items()
        }
        sums = (self.committed_w, self.yielding_w, self.node_milli, self.bursts_sum_w, self.squares, self.apart_squares)
        booked = (self._booked_w, self._booked_burst_w, sorted(self.bookings), sorted(self.reserved), self.ahead)
        line = self._reservations
        return *sums, *booked, dict(self.groups), ends, line.steps(), line.peak, line.bounds_hold()

    def _level_from(self, start: int, now: int) -> tuple[Level, int]:
        """The live claims at an instant, and how many of the ends in order have passed by then."""
        level = Level(self)
        if start > now + STRAY_S:
            level.long_after(self)
        if start <= now:
            return level, 0
        ends = self.ends
        instants = self.instants()
        passed = bisect_right(instants, start)
        if passed <= len(instants) // 2:
            for end in instants[:passed]:
                level.release(ends[end])
            return level, passed
        gone = Ending()  # by what is left, for that is less to add up
        gone.est_w, gone.burst_w = self.committed_w - self.baseline_w, self.bursts_sum_w
        gone.yielding_w = self.yielding_w
        gone.squares, gone.node_milli = self.apart_squares, self.node_milli
        for end in [*instants[passed:], *(FOREVER,) * (FOREVER in ends)]:
            ending = ends[end]
            gone.est_w -= ending.est_w
            gone.yielding_w -= ending.yielding_w
            gone.burst_w -= ending.burst_w
            gone.squares -= ending.squares
            gone.node_milli -= ending.node_milli
        level.release(gone)
        return level, passed

    def _counted(self, est_w: int, burst_w: int, asker: Asker, now: int) -> Counted:
        """What keeps out a claim that accepts cuts: neither the first of them that ends it nor what is planned later.

        It ends it if the claim does not fit beside what is there when it begins; nobody leaves for mere plans.
        What is reserved later counts all the same, for the cut may be called off.
        """
        if asker.through_cuts_s is None:
            return _ALL
        window = asker.window
        soonest = max(window.start, now) + asker.through_cuts_s
        for cut in self.cuts:
            at = cut.window.start
            if soonest <= at < window.end:
                level, _ = self._level_from(at, now)
                level.yields = False
                level.reserve(self.reserved_sums(at))
                self._change(cut, now)(level, 1)
                if self._excess_w(level, est_w, burst_w, asker.group) > 0:
                    return Counted(at, yields=False)
        return Counted(yields=False)

    def _changes(
        self, within: Window, now: int, ignore: str | None, counted: Counted
    ) -> list[tuple[int, int, _Change]]:
        """(instant, 1 or −1, what happens): where the level changes by other than the timeline."""
        before = counted.before
        booked = (booking for claim_id, booking in self.bookings.items() if claim_id != ignore)
        found: list[tuple[Window, _Change]]
        found = [(one.window, partial(Level.book, booking=one)) for one in booked if one.window.start < before]
        planned = (one for one in self.planned if one.window.start < before)
        found += [(one.window, self._change(one, now)) for one in planned]
        ignored = self.reserved.get(ignore) if ignore is not None else None
        if ignored is not None:
            found.append((ignored.window, partial(Level.leave_out, reserved=ignored)))
        changes: list[tuple[int, int, _Change]] = []
        for window, change in found:
            if window.overlaps(within):
                changes.append((max(window.start, within.start), 1, change))
                changes.append((window.end, -1, change))
        changes.sort(key=lambda change: change[:2])  # at one instant ends come before starts
        return changes

    def _change(self, planned: Planned, now: int) -> _Change:
        """What happens to a level with another limit. Others give way to a cut that leaves them the time to."""
        limit_w = planned.limit_w
        yields = limit_w < self.limit_w and planned.window.start >= now + self.yields_s
        packing_w = self.usable_w - usable_w(limit_w, self.margin)
        return partial(Level.cut if yields else Level.carry_less, packing_w=packing_w, top_w=self.limit_w - limit_w)

    def fits_beside_all(self, est_w: int, burst_w: int, group: str) -> bool:
        """Whether a claim fits even if nothing ended and every booking were there: quick, and mostly true."""
        return self._fits_beside(self._timeline.peak if self._timeline is not None else NOTHING, est_w, burst_w, group)

    def _fits_beside(self, peak: Sums, est_w: int, burst_w: int, group: str) -> bool:
        """The same beside so much that is reserved."""
        cut_w = max(self.limit_w - self._least_w, 0)
        committed_w = self.committed_w + self._booked_w + cut_w + peak[0] + est_w
        if committed_w > self.packing_w or self.blind:
            return False
        twice = 2 * self.groups.get(group, 0) + burst_w
        burst = self.combine(self.bursts_sum_w + peak[1] + burst_w, self.squares + peak[2] + burst_w * twice)
        # √(Σ (x + b)²) is at most √(Σ x²) + Σ b.
        booked = -(-self._booked_burst_w * max(self.rule.z_milli, 1_000) // 1_000)
        return committed_w + burst + booked <= self.top_w

    def _lack_at(self, level: Level, est_w: int, burst_w: int, group: str) -> Lack | None:
        packed_w, packs_w = level.packed_w(), est_w + burst_w if level.blind else est_w
        if packed_w + packs_w > level.packing_w:
            return Lack(packs_w, level.packing_w - packed_w, False, level.at)
        top_w = est_w + self._burst_with(level, burst_w, group)
        if level.committed_w + top_w > level.top_w:
            return Lack(top_w, level.top_w - level.committed_w, True, level.at)
        return None

    def _excess_w(self, level: Level, est_w: int, burst_w: int, group: str) -> int:
        """By how much either rule would be broken, in W; at most 0 where none is. It never falls as a level rises."""
        top_w = level.committed_w + est_w + self._burst_with(level, burst_w, group)
        return max(level.packed_w(burst_w) + est_w - level.packing_w, top_w - level.top_w)

    def _burst_with(self, level: Level, burst_w: int, group: str) -> int:
        """What may come on top with so much more of a group, in W."""
        twice = 2 * level.burst_of(group) + burst_w
        return self.combine(level.bursts_w + burst_w, level.squares + burst_w * twice)

    def _room_at(self, level: Level) -> int:
        free_w = level.top_w - level.committed_w - self.combine(level.bursts_w, level.squares)
        return min(level.packing_w - level.packed_w(), free_w)
