"""What is on one zone or feed now, and what begins there later: bookings, reservations, other limits."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from slurm_power.core.derate import Planned
from slurm_power.core.level import Booking
from slurm_power.core.live import Live
from slurm_power.core.policy import BurstRule
from slurm_power.core.timeline import Sums, Timeline
from slurm_power.core.window import Window

_EMPTY = Timeline()
"""Where nothing is reserved; never changed."""
_MOST = 1 << 60
"""More watts than there are anywhere."""


class Ahead(Live):
    """One zone's or feed's account of watts, with what is to come.

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
        self._least_w = _MOST
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
        self._least_w = min((one.limit_w for one in planned), default=_MOST)
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
            self.reservations.remove(reserved.window, reserved.load.sums)
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
    def reservations(self) -> Timeline:
        """The sums of what is reserved, over time."""
        return self._timeline or _EMPTY

    @property
    def nodes_ahead(self) -> bool:
        """Whether anything that begins later may take nodes."""
        return bool(self.bookings) or self.reservations.peak[3] > 0

    def others_ahead(self, ignore: str | None) -> bool:
        """Whether anything but the one to ignore begins later."""
        ignored = ignore in self.bookings or ignore in self.reserved
        return bool(self.planned) or len(self.bookings) + len(self.reserved) > ignored

    def bursts(self, group: str) -> bool:
        """Whether a live or booked claim of the group has a burst here."""
        return group in self.groups or any(b.group == group and b.load.burst_w for b in self.bookings.values())

    def reserved_sums(self, instant: int) -> Sums:
        """What is there at an instant of that which is reserved and has not begun."""
        return self.reservations.most_in(Window(instant, instant + 1))

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

    def numbers(self) -> tuple[object, ...]:
        """All numbers that adding and removing keep up to date: tests compare them with a fresh count."""
        ends = {
            end: (e.est_w, e.burst_w, e.squares, e.node_milli, e.claims, e.yielding_w) for end, e in self.ends.items()
        }
        sums = (self.committed_w, self.yielding_w, self.node_milli, self.bursts_sum_w, self.squares, self.apart_squares)
        booked = (self._booked_w, self._booked_burst_w, sorted(self.bookings), sorted(self.reserved), self.ahead)
        line = self.reservations
        return *sums, *booked, dict(self.groups), ends, line.steps(), line.peak, line.bounds_hold()
