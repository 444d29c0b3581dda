"""The arithmetic of one zone or feed: what it may carry, what is committed, what may burst on top.

    headroom = usable − committed            (packing; negative after a cut)
    burst    = min(Σ b, z·√(Σ b²)) over correlation groups, or Σ b   (b = max − est of a group)
    room     = min(headroom, limit − committed − burst)

Source: groups are taken to draw independently, so that variances add. With b for one deviation of a group, √(Σ b²) is
one of all together, and z of those are kept free; more than Σ b can never come.

`committed` counts every claim that is live now, also one whose window has run out while its job still runs. At later
instants a claim counts until its window's end, rounded up to a whole minute so that ends can be summed quickly. What
bursts remain then is an upper bound, exact where no group has several claims; it is nothing once all have ended.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import isqrt, sqrt

from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER, Window

_GRAIN_S = 60

Part = tuple[int, int, int, str, int]
"""(est W, burst W, thousandths of nodes, group, end of the window): what a live claim puts on one element."""


class Load:
    """What a claim puts on one element; mutable only while it is being added up."""

    __slots__ = ("burst_w", "est_w", "node_milli")

    def __init__(self, est_w: int = 0, burst_w: int = 0, node_milli: int = 0) -> None:
        self.est_w = est_w
        self.burst_w = burst_w
        self.node_milli = node_milli


class Booking:
    """A claim that begins later, on one element."""

    __slots__ = ("group", "load", "window")

    def __init__(self, window: Window, group: str, load: Load) -> None:
        self.window = window
        self.group = group
        self.load = load


class _Ending:
    """What comes free at one instant: the claims' sums, and the sum of the squares of their bursts."""

    __slots__ = ("burst_w", "claims", "est_w", "node_milli", "squares")

    def __init__(self) -> None:
        self.est_w = 0
        self.burst_w = 0
        self.squares = 0
        self.node_milli = 0
        self.claims = 0


class Level:
    """What is on an element at one instant: watts, bursts (an upper bound), thousandths of nodes."""

    __slots__ = ("booked", "bursts_w", "committed_w", "groups", "live_bursts_w", "node_milli", "squares")

    def __init__(self, meter: "Meter") -> None:
        self.committed_w = meter.committed_w
        self.node_milli = meter.node_milli
        self.bursts_w = self.live_bursts_w = meter.bursts_sum_w
        self.squares = meter.squares
        self.groups = meter.groups
        self.booked: dict[str, int] = {}

    def release(self, ending: _Ending) -> None:
        """Claims have ended. (x + y)² − x² is at least y², so their squares may go."""
        self.committed_w -= ending.est_w
        self.node_milli -= ending.node_milli
        self.bursts_w -= ending.burst_w
        self.live_bursts_w -= ending.burst_w
        self.squares -= ending.squares

    def book(self, booking: Booking, sign: int) -> None:
        """A booking begins (1) or ends (−1)."""
        load = booking.load
        self.committed_w += sign * load.est_w
        self.node_milli += sign * load.node_milli
        if load.burst_w:
            before = self.booked.get(booking.group, 0)
            after = self.booked[booking.group] = before + sign * load.burst_w
            live = self.groups.get(booking.group, 0)
            self.bursts_w += sign * load.burst_w
            self.squares += (after - before) * (2 * live + before + after)  # (x + a)² − (x + b)²

    def burst_of(self, group: str) -> int:
        """The burst of one group at most, in W."""
        return min(self.groups.get(group, 0), self.live_bursts_w) + self.booked.get(group, 0)


class Meter:
    """One zone's or feed's account of watts."""

    __slots__ = (
        "_booked_burst_w",
        "_booked_w",
        "_ends",
        "_instants",
        "_room_w",
        "_z_squared",
        "baseline_w",
        "bookings",
        "bursts_sum_w",
        "committed_w",
        "groups",
        "limit_w",
        "margin",
        "name",
        "node_milli",
        "rule",
        "squares",
        "usable_w",
    )

    def __init__(self, name: str, limit_w: int, margin: Fraction, baseline_w: int, rule: BurstRule) -> None:
        self.name = name
        self.margin = margin
        self.baseline_w = baseline_w
        self.rule = rule
        self.committed_w = baseline_w
        self.node_milli = 0
        self.bookings: dict[str, Booking] = {}
        self.groups: dict[str, int] = {}
        """The burst of each correlation group that is live, in W."""
        self.bursts_sum_w = 0
        """Σ (max − est) of the live claims, in W."""
        self.squares = 0
        """Σ of the groups' bursts squared."""
        self._z_squared = rule.z_milli**2
        self._booked_w = 0
        self._booked_burst_w = 0
        self._ends: dict[int, _Ending] = {}
        self._instants: list[int] | None = None
        self.set_limit(limit_w)

    def set_limit(self, limit_w: int) -> None:
        """Change the limit, in W; claims stay, so headroom may turn negative."""
        self.limit_w = limit_w
        self.usable_w = usable_w(limit_w, self.margin)
        self._room_w: int | None = None

    @property
    def headroom_w(self) -> int:
        """usable − committed, in W."""
        return self.usable_w - self.committed_w

    @property
    def claimed_w(self) -> int:
        """Σ est of the live claims, in W."""
        return self.committed_w - self.baseline_w

    @property
    def burst_w(self) -> int:
        """What may come on top of committed, in W."""
        return self._combine(self.bursts_sum_w, self.squares)

    @property
    def room_w(self) -> int:
        """The most est that another claim without burst could have now, in W."""
        if self._room_w is None:
            free = self.limit_w - self.burst_w
            self._room_w = (self.usable_w if self.usable_w < free else free) - self.committed_w
        return self._room_w

    def room_for(self, burst_milli: int) -> int:
        """The same for a claim of a new group whose burst is `burst_milli` thousandths of its est: at most so much.

        From e + z·√(Q + (r·e)²) ≤ L, or e + S + r·e ≤ L, whichever lets more through, L being limit − committed.
        """
        room_w = self.room_w
        if room_w <= 0 or not burst_milli:
            return room_w
        free = self.limit_w - self.committed_w
        most = (free - self.bursts_sum_w) * 1_000 // (1_000 + burst_milli)
        if most >= room_w:
            return room_w
        if self.rule.rss:
            z_squared = self._z_squared / 1e6
            left = free * free - z_squared * self.squares
            if left > 0:
                ratio = burst_milli / 1_000
                bend = 1 - z_squared * ratio * ratio
                most = max(most, int(left / (free + sqrt(max(free * free - bend * left, 0.0)))))
        return min(room_w, most + 1)  # a root in floating point may be a little short

    def add(self, parts: Iterable[Part]) -> None:
        """Count the parts of live claims. A start with 100,000 claims spends its time here, so it goes by the lot."""
        groups, ends, squared_w = self.groups, self._ends, self.squares
        for est_w, burst_w, node_milli, group, end in parts:
            self.committed_w += est_w
            self.node_milli += node_milli
            at = _counted_until(end)
            ending = ends.get(at)
            if ending is None:
                ending = ends[at] = _Ending()
                self._instants = None
            ending.est_w += est_w
            ending.node_milli += node_milli
            ending.claims += 1
            if burst_w:
                before = groups.get(group, 0)
                groups[group] = before + burst_w
                self.bursts_sum_w += burst_w
                squared_w += burst_w * (2 * before + burst_w)  # (x + b)² − x²
                ending.burst_w += burst_w
                ending.squares += burst_w * burst_w
        self.squares = squared_w
        self._room_w = None

    def remove(self, part: Part) -> None:
        """Take the part of a live claim out again."""
        est_w, burst_w, node_milli, group, end = part
        self.committed_w -= est_w
        self.node_milli -= node_milli
        at = _counted_until(end)
        ending = self._ends[at]
        ending.est_w -= est_w
        ending.node_milli -= node_milli
        ending.claims -= 1
        if burst_w:
            after = self.groups[group] - burst_w
            if after:
                self.groups[group] = after
            else:
                del self.groups[group]
            self.bursts_sum_w -= burst_w
            self.squares -= burst_w * (2 * after + burst_w)
            ending.burst_w -= burst_w
            ending.squares -= burst_w * burst_w
        if not ending.claims:
            del self._ends[at]
            self._instants = None
        self._room_w = None

    def book(self, claim_id: str, booking: Booking) -> None:
        """Keep a claim that begins later."""
        self.bookings[claim_id] = booking
        self._booked_w += booking.load.est_w
        self._booked_burst_w += booking.load.burst_w

    def unbook(self, claim_id: str) -> None:
        """Forget a booking."""
        load = self.bookings.pop(claim_id).load
        self._booked_w -= load.est_w
        self._booked_burst_w -= load.burst_w

    def fits(self, est_w: int, burst_w: int, group: str) -> bool:
        """Whether a claim fits beside those that are live now; bookings do not count."""
        committed_w = self.committed_w + est_w
        if committed_w > self.usable_w:
            return False
        free_w = self.limit_w - committed_w
        if self.bursts_sum_w + burst_w <= free_w:
            return True
        if not self.rule.rss or free_w < 0:
            return False
        squares = self.squares
        if burst_w:
            squares += burst_w * (2 * self.groups.get(group, 0) + burst_w)  # (x + b)² − x²
        return self._z_squared * squares <= 1_000_000 * free_w * free_w

    def lack(
        self, est_w: int, burst_w: int, group: str, window: Window, now: int, ignore: str | None = None
    ) -> tuple[int, int, bool] | None:
        """What keeps a claim out over a window: (asked W, free W, whether by its burst) where it is worst, or None.

        `ignore` names a booking that does not count.
        """
        if window.start <= now and (not self.bookings or self.bookings.keys() == {ignore}):
            if self.fits(est_w, burst_w, group):
                return None
            return self._lack_at(Level(self), est_w, burst_w, group)
        if self._fits_beside_all(est_w, burst_w, group):
            return None
        found = [
            lack
            for level in self.levels(window, now, ignore)
            if (lack := self._lack_at(level, est_w, burst_w, group)) is not None
        ]
        return max(found, key=lambda lack: lack[0] - lack[1], default=None)

    def missing(
        self, est_w: int, burst_w: int, group: str, window: Window, now: int, ignore: str | None = None
    ) -> tuple[int, int]:
        """What a claim lacks where it is worst: W under usable, and W under the limit with bursts; 0 or less fits."""
        levels = [
            (level.committed_w, level.committed_w + self._top_w(level, est_w, burst_w, group))
            for level in self.levels(window, now, ignore)
        ]
        packing_w = max(committed_w for committed_w, _ in levels) + est_w - self.usable_w
        return packing_w, max(top_w for _, top_w in levels) - self.limit_w

    def levels(self, window: Window, now: int, ignore: str | None = None) -> Iterator[Level]:
        """What is there at every instant of the window at which it may be most; one object, changed between yields."""
        start = max(window.start, now)
        level = Level(self)
        pending = iter(self._ends_in_order() if start > now or self.bookings else ())
        at, ending = next(pending, (FOREVER, None))
        changes: list[tuple[int, int, Booking]] = []
        for claim_id, booking in self.bookings.items():
            if claim_id != ignore and booking.window.end > start and booking.window.start < window.end:
                changes.append((max(booking.window.start, start), 1, booking))
                changes.append((booking.window.end, -1, booking))
        changes.sort(key=lambda change: change[:2])  # at one instant ends come before starts
        instant, position = start, 0
        while True:
            # What has outrun its window is here now; of a later instant nobody can say more than its window does.
            while ending is not None and at <= instant and instant > now:
                level.release(ending)
                at, ending = next(pending, (FOREVER, None))
            while position < len(changes) and changes[position][0] <= instant:
                level.book(changes[position][2], changes[position][1])
                position += 1
            yield level
            while position < len(changes) and changes[position][1] < 0:
                level.book(changes[position][2], -1)
                position += 1
            if position == len(changes):
                return
            instant = changes[position][0]

    def free_from(self, est_w: int, burst_w: int, group: str, floor_w: int, now: int) -> int | None:
        """The first instant from which a claim fits and headroom is `floor_w`, by the ends of live claims alone.

        None where what never ends, or the element itself, stands against it.
        """
        highest = self.usable_w - max(est_w, floor_w)
        if self.committed_w <= highest and self.fits(est_w, burst_w, group):
            return now
        level = Level(self)
        for end, ending in self._ends_in_order():
            level.release(ending)
            if level.committed_w <= highest and self._lack_at(level, est_w, burst_w, group) is None:
                return max(end, now + 1)
        return None

    def nodes_from(self, most_milli: int, now: int) -> int | None:
        """The first instant from which live claims take at most so many thousandths of nodes; None if there is none."""
        taken = self.node_milli
        if taken <= most_milli:
            return now
        for end, ending in self._ends_in_order():
            taken -= ending.node_milli
            if taken <= most_milli:
                return max(end, now + 1)
        return None

    def account(self) -> tuple[object, ...]:
        """All numbers that adding and removing keep up to date, to be compared with a fresh count."""
        ends = {
            end: (e.est_w, e.burst_w, e.squares, e.node_milli, e.claims) for end, e in self._ends.items()
        }
        sums = (self.committed_w, self.node_milli, self.bursts_sum_w, self.squares)
        return (*sums, self._booked_w, self._booked_burst_w, dict(self.groups), ends, sorted(self.bookings))

    def _ends_in_order(self) -> Iterable[tuple[int, _Ending]]:
        """(instant, what comes free there) in order of time; what never ends left out."""
        if self._instants is None:
            self._instants = sorted(end for end in self._ends if end < FOREVER)
        ends = self._ends
        return ((end, ends[end]) for end in self._instants)

    def _fits_beside_all(self, est_w: int, burst_w: int, group: str) -> bool:
        """Whether a claim fits even if nothing ended and every booking were there: quick, and mostly true."""
        committed_w = self.committed_w + self._booked_w + est_w
        if committed_w > self.usable_w:
            return False
        twice = 2 * self.groups.get(group, 0) + burst_w
        burst = self._combine(self.bursts_sum_w + burst_w, self.squares + burst_w * twice)
        # √(Σ (x + b)²) is at most √(Σ x²) + Σ b.
        booked = -(-self._booked_burst_w * max(self.rule.z_milli, 1_000) // 1_000)
        return committed_w + burst + booked <= self.limit_w

    def _lack_at(self, level: Level, est_w: int, burst_w: int, group: str) -> tuple[int, int, bool] | None:
        committed_w = level.committed_w
        if committed_w + est_w > self.usable_w:
            return est_w, self.usable_w - committed_w, False
        top_w = self._top_w(level, est_w, burst_w, group)
        if committed_w + top_w > self.limit_w:
            return top_w, self.limit_w - committed_w, True
        return None

    def _top_w(self, level: Level, est_w: int, burst_w: int, group: str) -> int:
        """A claim's est, and the burst of all that is there then."""
        twice = 2 * level.burst_of(group) + burst_w
        return est_w + self._combine(level.bursts_w + burst_w, level.squares + burst_w * twice)

    def _combine(self, total: int, squares: int) -> int:
        if not self.rule.rss or not total:
            return total
        scaled = self._z_squared * squares
        root = isqrt(scaled)
        root += root * root < scaled
        return min(total, -(-root // 1_000))


def _counted_until(end: int) -> int:
    """The end of a claim's window, rounded up to the grain."""
    return end if end >= FOREVER else -(-end // _GRAIN_S) * _GRAIN_S
