"""What users hold on the word of the submit hook alone: admissions that Slurm has not shown yet, or never did."""

from collections import Counter, deque

_KEPT_S = 600
"""For so long a user has less to himself after submissions that never came."""


class Rumours:
    """Watts by user.

    A submission may never come: `sbatch --test-only`, or what Slurm refuses after us. Who goes on with such would else
    hold watts for ever that others wait for, and never run a job.
    """

    def __init__(self) -> None:
        self._held_w: Counter[int] = Counter()
        self._lost_w: Counter[int] = Counter()
        self._lost: deque[tuple[float, int, int]] = deque()
        """When something was given up, whose it was, and how many watts it had; in order of time."""

    def __bool__(self) -> bool:
        """Whether anybody holds anything so."""
        return bool(self._held_w)

    def put(self, uid: int, watts_w: int) -> None:
        """An admission that Slurm has not shown yet."""
        self._held_w[uid] += watts_w

    def take(self, uid: int, watts_w: int) -> None:
        """It holds nothing any more, or Slurm has shown it."""
        _less(self._held_w, uid, watts_w)

    def lose(self, uid: int, watts_w: int, moment: float) -> None:
        """It was given up at that monotonic time: Slurm should have shown it by then."""
        self._forget(moment)
        if watts_w:
            self._lost.append((moment, uid, watts_w))
            self._lost_w[uid] += watts_w

    def used_w(self, uid: int, moment: float) -> int:
        """What the user holds, and held within the last ten minutes for nothing."""
        self._forget(moment)
        return self._held_w[uid] + self._lost_w[uid]

    def _forget(self, moment: float) -> None:
        while self._lost and self._lost[0][0] <= moment - _KEPT_S:
            _, uid, watts_w = self._lost.popleft()
            _less(self._lost_w, uid, watts_w)


def _less(watts: Counter[int], uid: int, by_w: int) -> None:
    watts[uid] -= by_w
    if not watts[uid]:
        del watts[uid]
