"""What is on one zone or feed at one instant: live claims, bookings and reservations together."""

from slurm_power.core.live import Ending, Live
from slurm_power.core.timeline import NOTHING, Sums
from slurm_power.core.window import Window


class Load:
    """What a claim puts on one element; mutable only while it is being added up."""

    __slots__ = ("burst_w", "est_w", "node_milli")

    def __init__(self, est_w: int = 0, burst_w: int = 0, node_milli: int = 0) -> None:
        self.est_w = est_w
        self.burst_w = burst_w
        self.node_milli = node_milli

    @property
    def sums(self) -> Sums:
        """The same as a part of a timeline."""
        return self.est_w, self.burst_w, self.burst_w * self.burst_w, self.node_milli


class Booking:
    """A claim that begins later, on one element."""

    __slots__ = ("group", "load", "window")

    def __init__(self, window: Window, group: str, load: Load) -> None:
        self.window = window
        self.group = group
        self.load = load


class Level:
    """Watts, bursts (an upper bound) and thousandths of nodes on an element from `at` to before `until`."""

    __slots__ = (
        "_less_packing_w",
        "_less_top_w",
        "_packing_w",
        "_reserved",
        "_top_w",
        "at",
        "blind",
        "booked",
        "bursts_w",
        "committed_w",
        "groups",
        "live_bursts_w",
        "node_milli",
        "squares",
        "until",
        "yielding_w",
        "yields",
    )

    def __init__(self, live: Live) -> None:
        self.at = self.until = 0
        self.committed_w = live.committed_w
        self.node_milli = live.node_milli
        self.bursts_w = self.live_bursts_w = live.bursts_sum_w
        self.squares = live.squares
        self.groups = live.groups
        self.booked: dict[str, int] = {}
        self._reserved = NOTHING
        self._packing_w, self._top_w, self.blind = live.packing_w, live.top_w, live.blind
        self._less_packing_w = self._less_top_w = 0
        self.yielding_w = live.yielding_w
        self.yields = True
        """Whether what gives way to planned cuts does so for whom this is looked at."""

    @property
    def packing_w(self) -> int:
        """Up to where est may be packed. In a planned cut what gives way makes up for as much as that takes away."""
        less_w = self._less_packing_w
        return self._packing_w - (max(less_w - self.yielding_w, 0) if self.yields else less_w)

    @property
    def top_w(self) -> int:
        """Up to where est and bursts may go."""
        less_w = self._less_top_w
        return self._top_w - (max(less_w - self.yielding_w, 0) if self.yields else less_w)

    def long_after(self, live: Live) -> None:
        """From here on what is measured now says nothing."""
        self._packing_w += live.usable_w - live.packing_w
        self._top_w += live.limit_w - live.top_w
        self.blind = False

    def packed_w(self, burst_w: int = 0) -> int:
        """What counts where est is packed, with one more burst, in W: of an element that is blind also all bursts."""
        return self.committed_w + self.bursts_w + burst_w if self.blind else self.committed_w

    def release(self, ending: Ending) -> None:
        """Claims have ended. (x + y)² − x² is at least y², so their squares may go."""
        self.committed_w -= ending.est_w
        self.yielding_w -= ending.yielding_w
        self.node_milli -= ending.node_milli
        self.bursts_w -= ending.burst_w
        self.live_bursts_w -= ending.burst_w
        self.squares -= ending.squares

    def carry_less(self, sign: int, packing_w: int, top_w: int) -> None:
        """It may carry so much less, where it is packed and with bursts, from here on (1), or does no more (−1)."""
        self._packing_w -= sign * packing_w
        self._top_w -= sign * top_w

    def cut(self, sign: int, packing_w: int, top_w: int) -> None:
        """The same of a cut to which others give way.

        They make up for it and no more: without the cut, which may be called off, all have to fit.
        """
        self._less_packing_w += sign * packing_w
        self._less_top_w += sign * top_w

    def book(self, sign: int, booking: Booking) -> None:
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

    def leave_out(self, sign: int, reserved: Booking) -> None:
        """A reservation that does not count begins (1) or ends (−1)."""
        load = reserved.load
        self.committed_w -= sign * load.est_w
        self.node_milli -= sign * load.node_milli
        self.bursts_w -= sign * load.burst_w
        self.squares -= sign * load.burst_w * load.burst_w

    def reserve(self, sums: Sums) -> None:
        """So much is reserved now, instead of what was reserved before."""
        est_w, burst_w, squares, node_milli = self._reserved
        self.committed_w += sums[0] - est_w
        self.bursts_w += sums[1] - burst_w
        self.squares += sums[2] - squares
        self.node_milli += sums[3] - node_milli
        self._reserved = sums

    def burst_of(self, group: str) -> int:
        """The burst of one group at most, in W."""
        return min(self.groups.get(group, 0), self.live_bursts_w) + self.booked.get(group, 0)
