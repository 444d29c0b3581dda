"""Whether Slurm's own count of our licences is what its jobs hold.

Slurm 22.05 gives the licences of a job back twice if it is reconfigured while the job is completing, and its count was
seen too low once after a kill and a start. From then on it would let too many watts in while the daemon is away, until
it is reconfigured once more.
"""

from collections.abc import Iterable, Mapping

from slurm_power.core.binding import PREFIX, our_licences
from slurm_power.ports import JobRecord, JobState, LicenseRecord

READINGS = 3
"""So often in a row a difference has to be seen: jobs start and end between the readings of jobs and of licences."""
_WITHOUT = frozenset({JobState.PENDING, JobState.ENDED})


class Recount:
    """Compares one reading of jobs and licences after the other."""

    def __init__(self) -> None:
        self.found: dict[str, int] = {}
        """Licence → what Slurm counts as used less what its jobs hold, in W, where that has stood for some readings."""
        self._seen: dict[str, tuple[int, int]] = {}
        """Licence → the last difference, and in how many readings in a row it was that."""

    @property
    def doubtful(self) -> bool:
        """Whether the last reading showed a difference that has not stood for long enough to be believed."""
        return any(times < READINGS for _, times in self._seen.values())

    def take(self, jobs: Iterable[JobRecord], counted: Iterable[LicenseRecord]) -> bool:
        """Take in one reading; whether `found` has changed."""
        held = _held(jobs)
        seen: dict[str, tuple[int, int]] = {}
        for licence in counted:
            differs_w = licence.used - held.get(licence.name, 0)
            if differs_w and licence.name.startswith(PREFIX):
                last_w, times = self._seen.get(licence.name, (0, 0))
                seen[licence.name] = differs_w, times + 1 if differs_w == last_w else 1
        self._seen = seen
        before, self.found = self.found, {name: w for name, (w, times) in seen.items() if times >= READINGS}
        return self.found != before


def _held(jobs: Iterable[JobRecord]) -> Mapping[str, int]:
    held: dict[str, int] = {}
    for job in jobs:
        if job.licenses and job.state not in _WITHOUT:
            for name, watts in our_licences(job.licenses).items():
                held[name] = held.get(name, 0) + watts
    return held
