"""Several that watch the book."""

from slurm_power.core.claim import Claim
from slurm_power.service.book import Entry, Watch


class Watches:
    """Whoever watches the book, in this order: each is told of every change."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = list(watches)

    def add(self, watch: Watch) -> None:
        """One more, after the others."""
        self._watches.append(watch)

    def moved(self, entry: Entry, claim: Claim | None, now: int) -> None:
        """A job is new, or has come to another state or claim."""
        for watch in self._watches:
            watch.moved(entry, claim, now)

    def dropped(self, entry: Entry, now: int) -> None:
        """A job is gone."""
        for watch in self._watches:
            watch.dropped(entry, now)

    def ended_with(self, entry: Entry, word: str) -> None:
        """Slurm shows that a job has ended, and its word for how."""
        for watch in self._watches:
            watch.ended_with(entry, word)

    def draws_more(self, entry: Entry, watts: int, seconds: int, now: int) -> None:
        """A run has drawn so many W for so long, and more than its max."""
        for watch in self._watches:
            watch.draws_more(entry, watts, seconds, now)
