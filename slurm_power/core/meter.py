"""What one zone or feed can carry: now, and at every instant of a window that begins later."""

from collections.abc import Iterator
from typing import NamedTuple

from slurm_power.core.ahead import Ahead
from slurm_power.core.asker import Asker
from slurm_power.core.gaps import Span
from slurm_power.core.level import Level
from slurm_power.core.timeline import NOTHING, Sums
from slurm_power.core.walk import ALL, Counted, change_of, level_from, levels, limit_changes
from slurm_power.core.window import Window

_MORE = 1 << 60
"""More watts, or thousandths of nodes, than there are anywhere."""


class Lack(NamedTuple):
    """What keeps a claim out: of `free_w` it asks `asked_w`; `burst` tells which rule, `at` the instant."""

    asked_w: int
    free_w: int
    burst: bool
    at: int


class Meter(Ahead):
    """One zone's or feed's account of watts, and what may be asked of it."""

    __slots__ = ()

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
        for level in levels(self, window, now, ignore, worse, counted=counted):
            if worse(level):
                most_w = self._excess_w(level, est_w, burst_w, group)
                worst = self._lack_at(level, est_w, burst_w, group)
        return worst

    def missing(self, est_w: int, burst_w: int, asker: Asker, now: int) -> tuple[int, int]:
        """What a claim lacks where it is worst: W under usable, and W under the limit with bursts; 0 or less fits."""
        packing_w = top_w = -_MORE
        counted = self._counted(est_w, burst_w, asker, now)
        for level in levels(self, asker.window, now, asker.ignore, counted=counted):
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

        for level in levels(self, window, now, ignore, tighter):
            if tighter(level):
                least_w, at = self._room_at(level), level.at
        return least_w, at

    def most_milli(self, window: Window, now: int, ignore: str | None = None) -> int:
        """The most thousandths of nodes that are taken at any instant of the window."""
        most = 0

        def more(level: Level) -> bool:
            return level.node_milli > most

        for level in levels(self, window, now, ignore, more):
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
            for level in levels(self, window, now, ignore, blocks, ends=True):
                if blocks(level):
                    yield level.at, level.until

    def free_from(self, est_w: int, burst_w: int, group: str, floor_w: int, now: int) -> int | None:
        """The first instant at which a claim fits and headroom is `floor_w`, by limits and ends of live claims alone.

        None where what never ends, or the element itself, stands against it.
        """
        highest = self.packing_w - max(est_w, floor_w)
        if self.committed_w <= highest and self.fits(est_w, burst_w, group):
            return now
        level, limits = Level(self), limit_changes(self, now)
        for at in sorted({*self.instants(), *limits} if limits else self.instants()):
            for change, sign in limits.get(at, ()):
                change(level, sign)
            if at in self.ends:
                level.release(self.ends[at])
            free = level.committed_w <= level.packing_w - max(est_w, floor_w)
            if free and self._lack_at(level, est_w, burst_w, group) is None:
                return max(at, now + 1)
        return None

    def _counted(self, est_w: int, burst_w: int, asker: Asker, now: int) -> Counted:
        """What keeps out a claim that accepts cuts: neither the first of them that ends it nor what is planned later.

        It ends it if the claim does not fit beside what is there when it begins; nobody leaves for mere plans.
        What is reserved later counts all the same, for the cut may be called off.
        """
        if asker.through_cuts_s is None:
            return ALL
        window = asker.window
        soonest = max(window.start, now) + asker.through_cuts_s
        for cut in self.cuts:
            at = cut.window.start
            if soonest <= at < window.end:
                level, _ = level_from(self, at, now)
                level.yields = False
                level.reserve(self.reserved_sums(at))
                change_of(self, cut, now)(level, 1)
                if self._excess_w(level, est_w, burst_w, asker.group) > 0:
                    return Counted(at, yields=False)
        return Counted(yields=False)

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
