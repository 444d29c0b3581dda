"""What users hold on the word of the submit hook alone: admissions that Slurm has not shown yet, or never did."""

from collections import Counter
from typing import NamedTuple

_KEPT_S = 600
"""For so long a submission that never came counts against its user."""
_MOST_LOST = 5
"""So many of them, however few watts they had, and nothing more of the user's counts before Slurm has shown it."""


class _Lost(NamedTuple):
    moment: float
    uid: int
    watts_w: int


class Rumours:
    """Watts by user.

    A submission may never come: `sbatch --test-only`, or what Slurm refuses after us. Who goes on with such would else
    hold watts for ever that others wait for, and never run a job.
    """

    def __init__(self) -> None:
        self._held_w: Counter[int] = Counter()
        self._lost: dict[str, _Lost] = {}
        """Token → what was given up, in order of time."""
        self._lost_w: Counter[int] = Counter()
        self._lost_count: Counter[int] = Counter()

    def __bool__(self) -> bool:
        """Whether anything is held so, or was given up lately."""
        return bool(self._held_w or self._lost)

    def put(self, uid: int, watts_w: int) -> None:
        """An admission that Slurm has not shown yet."""
        self._held_w[uid] += watts_w

    def take(self, uid: int, watts_w: int) -> None:
        """It holds nothing any more, or Slurm has shown it."""
        _less(self._held_w, uid, watts_w)

    def lose(self, token: str, uid: int, watts_w: int, moment: float) -> None:
        """It was given up at that monotonic time: Slurm should have shown it by then."""
        self._forget(moment)
        self.came(token)  # it counts once, whatever has been known of it
        if watts_w:
            self._lost[token] = _Lost(moment, uid, watts_w)
            self._lost_w[uid] += watts_w
            self._lost_count[uid] += 1

    def came(self, token: str) -> None:
        """Slurm has shown it after all."""
        lost = self._lost.pop(token, None)
        if lost is not None:
            self._count_off(lost)

    def left_w(self, uid: int, cap_w: int, moment: float) -> int | None:
        """What the user may have besides, of `cap_w`; None where nothing of his is outstanding or was given up."""
        self._forget(moment)
        used_w = self._held_w[uid] + self._lost_w[uid]
        if not used_w:
            return None
        return max(cap_w - used_w, 0) if self._lost_count[uid] < _MOST_LOST else 0

    def _forget(self, moment: float) -> None:
        while self._lost:
            token, lost = next(iter(self._lost.items()))
            if lost.moment > moment - _KEPT_S:
                return
            del self._lost[token]
            self._count_off(lost)

    def _count_off(self, lost: _Lost) -> None:
        _less(self._lost_w, lost.uid, lost.watts_w)
        _less(self._lost_count, lost.uid, 1)


def _less(counter: Counter[int], uid: int, by: int) -> None:
    counter[uid] -= by
    if not counter[uid]:
        del counter[uid]
