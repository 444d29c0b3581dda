"""What is live on one zone or feed: what it may carry, what is committed, what may burst on top.

    headroom = usable − stray − committed    (packing; negative after a cut)
    burst    = min(Σ b, z·√(Σ b²)) over correlation groups, or Σ b   (b = max − est of a group)
    room     = min(headroom, limit − committed − max(burst, stray))

`stray` is what is drawn beyond what is committed, as measured last. While an element is blind, for its sensors are
silent, max counts as est: committed + Σ b ≤ usable. Both matter to whoever is to be admitted, and to nobody else.

Source: groups are taken to draw independently, so that variances add. With b for one deviation of a group, √(Σ b²) is
one of all together, and z of those are kept free; more than Σ b can never come.

`committed` counts every claim that is live now, also one whose window has run out while its job still runs.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import isqrt, sqrt

from slurm_power.core.policy import BurstRule
from slurm_power.core.topology import usable_w
from slurm_power.core.window import FOREVER

_GRAIN_S = 60

Part = tuple[int, int, int, str, int, int | None]
"""What a live claim puts on one element: (est W, burst W, thousandths of nodes, group, end of the window, how long from
now planned cuts have to begin at the soonest for it to give way to them, or None where it never does).
"""


class Ending:
    """What comes free at one instant: the claims' sums, and the sum of the squares of their bursts."""

    __slots__ = ("burst_w", "claims", "est_w", "node_milli", "squares", "yielding_w")

    def __init__(self) -> None:
        self.est_w = 0
        self.yielding_w = 0
        """Of est_w, what gives way to planned cuts."""
        self.burst_w = 0
        self.squares = 0
        self.node_milli = 0
        self.claims = 0


class Live:
    """One zone's or feed's account of the watts of live claims."""

    __slots__ = (
        "_instants",
        "_room_w",
        "_z_squared",
        "apart_squares",
        "baseline_w",
        "blind",
        "bursts_sum_w",
        "committed_w",
        "ends",
        "groups",
        "limit_w",
        "margin",
        "name",
        "node_milli",
        "packing_w",
        "rule",
        "squares",
        "stray_w",
        "top_w",
        "usable_w",
        "yielding_w",
        "yields_s",
    )

    def __init__(self, name: str, limit_w: int, margin: Fraction, baseline_w: int, rule: BurstRule) -> None:
        self.name = name
        self.margin = margin
        self.baseline_w = baseline_w
        self.rule = rule
        self.committed_w = baseline_w
        self.node_milli = 0
        self.yielding_w = 0
        """Of committed, what gives way to planned cuts."""
        self.yields_s = 0
        """How long from now a cut has to begin at the soonest for all of that to have left by then.

        The most that any claim here has ever needed: never less than what those of now need, and they are of few tiers.
        """
        self.groups: dict[str, int] = {}
        """The burst of each correlation group, in W."""
        self.bursts_sum_w = 0
        """Σ (max − est) of the claims, in W."""
        self.squares = 0
        """Σ of the groups' bursts squared."""
        self.apart_squares = 0
        """Σ of the claims' bursts squared, one by one."""
        self.ends: dict[int, Ending] = {}
        """Instant → what comes free there, rounded up to a whole minute so that ends can be summed quickly."""
        self._z_squared = rule.z_milli**2
        self._instants: list[int] | None = None
        self.stray_w = 0
        self.blind = False
        self.set_limit(limit_w)

    def set_limit(self, limit_w: int) -> None:
        """Change the limit, in W; claims stay, so headroom may turn negative."""
        self.limit_w = limit_w
        self.usable_w = usable_w(limit_w, self.margin)
        self.set_stray(self.stray_w, blind=self.blind)

    def set_stray(self, stray_w: int, *, blind: bool) -> None:
        """So much is drawn beyond what is committed, in W; `blind`: nobody knows what is drawn."""
        self.stray_w = stray_w
        self.blind = blind
        self.packing_w = self.usable_w - stray_w
        """Up to where est may be packed."""
        self.top_w = self.limit_w - max(stray_w - self.burst_w, 0)
        """Up to where est and bursts may go: what is stray is a part of the bursts that are reckoned with."""
        self._room_w: int | None = None

    @property
    def headroom_w(self) -> int:
        """usable − stray − committed, in W."""
        return self.packing_w - self.committed_w

    @property
    def claimed_w(self) -> int:
        """Σ est of the live claims, in W."""
        return self.committed_w - self.baseline_w

    @property
    def burst_w(self) -> int:
        """What may come on top of committed, in W."""
        return self.combine(self.bursts_sum_w, self.squares)

    @property
    def room_w(self) -> int:
        """The most est that another claim without burst could have now, in W."""
        if self._room_w is None:
            free = self.top_w - self.burst_w
            packing_w = self.packing_w - self.bursts_sum_w if self.blind else self.packing_w
            self._room_w = (packing_w if packing_w < free else free) - self.committed_w
        return self._room_w

    def room_for(self, burst_milli: int) -> int:
        """The same for a claim of a new group whose burst is `burst_milli` thousandths of its est: at most so much.

        From e + z·√(Q + (r·e)²) ≤ L, or e + S + r·e ≤ L, whichever lets more through, L being limit − committed.
        """
        room_w = self.room_w if self._room_w is None else self._room_w
        if room_w <= 0 or not burst_milli:
            return room_w
        if self.blind:
            room_w = room_w * 1_000 // (1_000 + burst_milli)
        free = self.top_w - self.committed_w
        most = (free - self.bursts_sum_w) * 1_000 // (1_000 + burst_milli)
        if most >= room_w:
            return room_w
        if self.rule.rss:
            z_squared = self._z_squared / 1e6
            left = free * free - z_squared * self.squares
            if left > 0:
                ratio = burst_milli / 1_000
                bend = 1 - z_squared * ratio * ratio
                under = free * free - bend * left
                by_root = int(left / (free + (sqrt(under) if under > 0 else 0)))
                most = most if most > by_root else by_root
        return room_w if room_w <= most else most + 1  # a root in floating point may be a little short

    def add(self, parts: Iterable[Part]) -> None:
        """Count the parts of live claims. A start with 100,000 claims spends its time here, so it goes by the lot."""
        groups, ends, squares, apart = self.groups, self.ends, self.squares, self.apart_squares
        for est_w, burst_w, node_milli, group, end, yields_s in parts:
            self.committed_w += est_w
            self.node_milli += node_milli
            at = _counted_until(end)
            ending = ends.get(at)
            if ending is None:
                ending = ends[at] = Ending()
                self._instants = None
            ending.est_w += est_w
            ending.node_milli += node_milli
            ending.claims += 1
            if yields_s is not None:
                self.yielding_w += est_w
                ending.yielding_w += est_w
                self.yields_s = max(self.yields_s, yields_s)
            if burst_w:
                before = groups.get(group, 0)
                groups[group] = before + burst_w
                self.bursts_sum_w += burst_w
                square = burst_w * burst_w
                squares += 2 * before * burst_w + square  # (x + b)² − x²
                apart += square
                ending.burst_w += burst_w
                ending.squares += square
        self.squares, self.apart_squares = squares, apart
        self._room_w = None

    def remove(self, part: Part) -> None:
        """Take the part of a live claim out again."""
        est_w, burst_w, node_milli, group, end, yields_s = part
        self.committed_w -= est_w
        self.node_milli -= node_milli
        at = _counted_until(end)
        ending = self.ends[at]
        ending.est_w -= est_w
        ending.node_milli -= node_milli
        ending.claims -= 1
        if yields_s is not None:
            self.yielding_w -= est_w
            ending.yielding_w -= est_w
        if burst_w:
            after = self.groups[group] - burst_w
            if after:
                self.groups[group] = after
            else:
                del self.groups[group]
            self.bursts_sum_w -= burst_w
            self.squares -= burst_w * (2 * after + burst_w)
            self.apart_squares -= burst_w * burst_w
            ending.burst_w -= burst_w
            ending.squares -= burst_w * burst_w
        if not ending.claims:
            del self.ends[at]
            self._instants = None
        self._room_w = None

    def fits(self, est_w: int, burst_w: int, group: str) -> bool:
        """Whether a claim fits beside those that are live now."""
        committed_w = self.committed_w + est_w
        if committed_w > self.packing_w:
            return False
        if self.blind and committed_w + self.bursts_sum_w + burst_w > self.packing_w:
            return False
        free_w = self.top_w - committed_w
        if self.bursts_sum_w + burst_w <= free_w:
            return True
        if not self.rule.rss or free_w < 0:
            return False
        squares = self.squares
        if burst_w:
            squares += burst_w * (2 * self.groups.get(group, 0) + burst_w)  # (x + b)² − x²
        return self._z_squared * squares <= 1_000_000 * free_w * free_w

    def instants(self) -> list[int]:
        """When claims end, in order of time; what never ends left out."""
        if self._instants is None:
            self._instants = sorted(end for end in self.ends if end < FOREVER)
        return self._instants

    def nodes_from(self, most_milli: int, now: int) -> int | None:
        """The first instant from which live claims take at most so many thousandths of nodes; None if there is none."""
        taken = self.node_milli
        if taken <= most_milli:
            return now
        for end in self.instants():
            taken -= self.ends[end].node_milli
            if taken <= most_milli:
                return max(end, now + 1)
        return None

    def combine(self, total: int, squares: int) -> int:
        """The burst of groups whose bursts add up to `total` W and whose squares to `squares`, in W, rounded up."""
        if not self.rule.rss or not total:
            return total
        scaled = self._z_squared * squares
        root = isqrt(scaled)
        root += root * root < scaled
        return min(total, -(-root // 1_000))


def _counted_until(end: int) -> int:
    """The end of a claim's window, rounded up to the grain."""
    return end if end >= FOREVER else -(-end // _GRAIN_S) * _GRAIN_S
