"""When zones and feeds held more than they may, so that of a run it can be told how long those that carry it did.

What is over is told from time to time, and counts from then until the next time. Nothing is kept by run.
"""

from collections import deque
from collections.abc import Collection, Container, Iterable, Iterator

from slurm_power.core.want import Want

_KEPT = 256
"""Stretches that are kept of each zone or feed in each respect, the latest: what wavers must not fill the memory."""


class Overages:
    """Since when zones and feeds are over, and the stretches of time, half-open, in which they were."""

    def __init__(self) -> None:
        self._told_at = 0
        self._since: dict[Want, int] = {}
        self._past: dict[Want, deque[tuple[int, int]]] = {}
        """In order of time."""

    def only(self, elements: Container[str]) -> None:
        """There are no others any more: what was told of them is forgotten."""
        self._since = {want: start for want, start in self._since.items() if want.element in elements}
        self._past = {want: stretches for want, stretches in self._past.items() if want.element in elements}

    def tell(self, found: Collection[Want], now: int) -> None:
        """These are over now, and no others."""
        if now < self._told_at:
            self._go_back(now)
        self._told_at = now
        for want in [want for want in self._since if want not in found]:
            start = self._since.pop(want)
            if start < now:
                self._past.setdefault(want, deque(maxlen=_KEPT)).append((start, now))
        for want in found:
            self._since.setdefault(want, now)

    def seconds(self, wants: Iterable[Want], since: int, until: int) -> int:
        """In how many seconds from `since` to `until` any of these was over."""
        if not self._since and not self._past:
            return 0
        total, reached = 0, since
        for start, end in sorted(stretch for want in wants for stretch in self._latest(want, since, until)):
            total += max(min(end, until) - max(start, reached), 0)
            reached = max(reached, end)
        return total

    def _latest(self, want: Want, since: int, until: int) -> Iterator[tuple[int, int]]:
        """The stretches that end after `since`; one that lasts still goes on to `until`."""
        if want in self._since:
            yield self._since[want], until
        for stretch in reversed(self._past.get(want, ())):
            if stretch[1] <= since:
                return
            yield stretch

    def _go_back(self, now: int) -> None:
        """The clock was ahead: nothing has been over at an instant that is still to come."""
        self._since = {want: min(start, now) for want, start in self._since.items()}
        for want, stretches in self._past.items():
            left = ((start, min(end, now)) for start, end in stretches if start < now)
            self._past[want] = deque(left, maxlen=_KEPT)
