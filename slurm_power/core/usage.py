"""Usage: what jobs and reservations came to within one hour, in watt-seconds."""

from typing import NamedTuple

from slurm_power.core.immutable import immutable

HOUR_S = 3_600
SUMS = ("reserved_ws", "used_ws", "jobs_ws", "yielding_ws", "ended_ws", "off_ws", "runs", "missed")
"""The fields of `Usage` that add up."""


class Share(NamedTuple):
    """Whose usage it is. A tuple, for it is looked up with each job that starts."""

    reservation: str
    """The id of the reservation; empty for jobs without one."""
    account: str
    """Of a reservation its accounts, parted by commas; empty where users alone own it."""
    uid: int
    """Of a reservation the uid of who made it."""
    tier: str


@immutable
class Usage:
    """What one user's jobs and reservations of one tier came to within one hour, in watt-seconds."""

    reservation: str
    """The id of the reservation; empty for jobs without one."""
    account: str
    uid: int
    tier: str
    hour: int
    """The instant at which the hour begins."""
    reserved_ws: int = 0
    """Held by the reservation, used or not."""
    used_ws: int = 0
    """Of that, used by jobs."""
    jobs_ws: int = 0
    """Claimed by jobs on nodes, within a reservation or not."""
    yielding_ws: int = 0
    """Of that, by jobs that may be preempted and checkpoint."""
    ended_ws: int = 0
    """What the runs that ended in this hour had held from start to end."""
    off_ws: int = 0
    """By how much what these runs had asked for was off: see `core.score`."""
    runs: int = 0
    """How many runs ended."""
    missed: int = 0
    """Of these, how many missed their service level."""

    @property
    def share(self) -> Share:
        """Whose it is."""
        return Share(self.reservation, self.account, self.uid, self.tier)


def hour_of(at: int) -> int:
    """The instant at which the hour of an instant begins; hours are those of UTC."""
    return at - at % HOUR_S
