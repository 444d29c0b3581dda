"""The arithmetic of one zone or feed: what it may carry, what is committed, what may burst on top.

    headroom = usable − committed            (packing; negative after a cut)
    burst    = min(Σ b, z·√(Σ b²)) over correlation groups, or Σ b   (b = max − est of a group)
    room     = min(headroom, limit − committed − burst)

`committed` counts every claim that is live now, also one whose window has run out while its job still runs. For later
instants a claim counts until its window's end, rounded up to a whole minute so that ends can be summed quickly.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import isqrt

from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER, Window

_GRAIN_S = 60


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


class Meter:
    """One zone's or feed's account of watts."""

    __slots__ = (
        "_burst_w",
        "_bursts",
        "_ends",
        "_squares",
        "_sum",
        "baseline_w",
        "bookings",
        "committed_w",
        "limit_w",
        "margin",
        "name",
        "node_milli",
        "rule",
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
        self._bursts: dict[str, int] = {}
        self._sum = 0
        self._squares = 0
        self._burst_w: int | None = 0
        self._ends: dict[int, list[int]] = {}
        self.set_limit(limit_w)

    def set_limit(self, limit_w: int) -> None:
        """Change the limit, in W; claims stay, so headroom may turn negative."""
        self.limit_w = limit_w
        self.usable_w = usable_w(limit_w, self.margin)

    @property
    def headroom_w(self) -> int:
        """usable − committed, in W."""
        return self.usable_w - self.committed_w

    @property
    def claimed_w(self) -> int:
        """Σ est of the live claims, in W."""
        return self.committed_w - self.baseline_w

    @property
    def bursts_sum_w(self) -> int:
        """Σ (max − est) of the live claims, in W."""
        return self._sum

    @property
    def burst_w(self) -> int:
        """What may come on top of committed, in W."""
        if self._burst_w is None:
            self._burst_w = self._combine(self._sum, self._squares)
        return self._burst_w

    @property
    def room_w(self) -> int:
        """The most est that another claim without burst could have now, in W."""
        free = self.limit_w - self.burst_w
        return (self.usable_w if self.usable_w < free else free) - self.committed_w

    def add(self, load: Load, group: str, end: int) -> None:
        """Count a live claim's load."""
        self.committed_w += load.est_w
        self.node_milli += load.node_milli
        if load.burst_w:
            self._shift_burst(group, load.burst_w)
        slot = self._ends.get(end := _grain(end))
        if slot is None:
            self._ends[end] = [load.est_w, load.node_milli, 1]
        else:
            slot[0] += load.est_w
            slot[1] += load.node_milli
            slot[2] += 1

    def remove(self, load: Load, group: str, end: int) -> None:
        """Take a live claim's load out again."""
        self.committed_w -= load.est_w
        self.node_milli -= load.node_milli
        if load.burst_w:
            self._shift_burst(group, -load.burst_w)
        slot = self._ends[end := _grain(end)]
        slot[0] -= load.est_w
        slot[1] -= load.node_milli
        slot[2] -= 1
        if not slot[2]:
            del self._ends[end]

    def peak(self, window: Window, now: int, ignore: str | None = None) -> tuple[int, int]:
        """The most (committed W, thousandths of nodes) at any instant of the window, but for the booking `ignore`."""
        if not self.bookings and window.start <= now:
            return self.committed_w, self.node_milli
        live = [b for name, b in self.bookings.items() if name != ignore and b.window.overlaps(window)]
        start = max(window.start, now)
        instants = {start, *(b.window.start for b in live if b.window.start > start)}
        peaks = [self._at(instant, now, live) for instant in instants]
        return max(watts for watts, _ in peaks), max(nodes for _, nodes in peaks)

    def burst_with(self, group: str, burst_w: int, window: Window, ignore: str | None = None) -> int:
        """The burst if a claim of `group` with `burst_w` came on top, in W.

        Claims that end within the window count to its end: never too little.
        """
        if not self.bookings:
            if not burst_w:
                return self.burst_w
            twice = 2 * self._bursts.get(group, 0) + burst_w  # (x + b)² − x² = b·(2x + b)
            return self._combine(self._sum + burst_w, self._squares + burst_w * twice)
        extra = [(group, burst_w)]
        extra += [
            (b.group, b.load.burst_w)
            for name, b in self.bookings.items()
            if name != ignore and b.window.overlaps(window)
        ]
        total, squares, moved = self._sum, self._squares, dict[str, int]()
        for name, added in extra:
            before = moved.get(name, self._bursts.get(name, 0))
            moved[name] = before + added
            total += added
            squares += (before + added) ** 2 - before**2
        return self._combine(total, squares)

    def ends(self) -> list[tuple[int, int, int]]:
        """(instant, W, thousandths of nodes) that come free there, in order of time; FOREVER left out."""
        return sorted((end, slot[0], slot[1]) for end, slot in self._ends.items() if end < FOREVER)

    def groups(self) -> Iterable[tuple[str, int]]:
        """The burst of each correlation group, in W."""
        return self._bursts.items()

    def _at(self, instant: int, now: int, bookings: list[Booking]) -> tuple[int, int]:
        watts, nodes = self.committed_w, self.node_milli
        if instant > now:
            for end, slot in self._ends.items():
                if end <= instant:
                    watts -= slot[0]
                    nodes -= slot[1]
        for booking in bookings:
            if instant in booking.window:
                watts += booking.load.est_w
                nodes += booking.load.node_milli
        return watts, nodes

    def _shift_burst(self, group: str, by: int) -> None:
        before = self._bursts.get(group, 0)
        after = before + by
        if after:
            self._bursts[group] = after
        else:
            del self._bursts[group]
        self._sum += by
        self._squares += after * after - before * before
        self._burst_w = None

    def _combine(self, total: int, squares: int) -> int:
        if not self.rule.rss or not total:
            return total
        scaled = self.rule.z_milli**2 * squares
        root = isqrt(scaled)
        root += root * root < scaled
        return min(total, -(-root // 1_000))


def _grain(end: int) -> int:
    return end if end >= FOREVER else -(-end // _GRAIN_S) * _GRAIN_S
