"""What may be asked of Slurm in writing, as records. `ports` shows them with all else that the service needs."""

from collections.abc import Mapping
from dataclasses import field

from slurm_power.core.immutable import immutable


@immutable
class Update:
    """`scontrol update jobid=TARGET key=value …`; an empty value clears the field."""

    target: str
    fields: Mapping[str, str]


@immutable
class Hold:
    """`scontrol hold TARGET`."""

    target: str


@immutable
class UserHold:
    """`scontrol uhold TARGET`: a hold that the job's owner may release."""

    target: str


@immutable
class Release:
    """`scontrol release TARGET`."""

    target: str


@immutable
class RequeueHold:
    """`scontrol requeuehold TARGET`."""

    target: str


@immutable
class Requeue:
    """`scontrol requeue TARGET`: pending again, to start about two minutes later at the earliest."""

    target: str


@immutable
class Suspend:
    """`scontrol suspend TARGET`: its processes stop; it keeps its licences, and its priority becomes 0."""

    target: str


@immutable
class Resume:
    """`scontrol resume TARGET`: a suspended job goes on."""

    target: str


@immutable
class Signal:
    """`scancel --batch --signal=NAME TARGET`: such as `USR1`, to the shell of a running batch job alone.

    Unsure for a task of an array that has other tasks pending: it is sent once, and Slurm does not say that it arrived.
    """

    target: str
    name: str


@immutable
class Cancel:
    """`scancel TARGET`. A job that has ended already is told as an error."""

    target: str


class _OfReservation:
    """A command whose target is a reservation's name."""

    __slots__ = ()
    name: str

    @property
    def target(self) -> str:
        """What it is about, as with the commands for jobs."""
        return self.name


@immutable
class CreateReservation(_OfReservation):
    """`scontrol create reservation`. A name that does not begin with our prefix is never sent.

    start, end: instants; a start up to ten minutes ago will do, and means from then on.
    users, accounts: who may use it; of both given, these users under these accounts, and each must be in each.
    licenses: name → count. Those of all reservations that overlap in time must fit the totals together. Without nodes
    one licence must be there; of it 0 will do up to 24.11, and not for 26.05.
    nodes: a hostlist; else node_count of those with the features, of a partition (else the default one): Slurm takes
    fewer without a word where no more are free, so read it back. Neither: no nodes.
    gpus: so many in all, from 24.05 on. flags: more of Slurm's, such as `IGNORE_JOBS`. Without `NO_HOLD_JOBS_AFTER`
    jobs that still wait for it at its end are held by priority 0 and a reason `Reservation NAME was deleted`.
    """

    name: str
    start: int
    end: int
    users: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    licenses: Mapping[str, int] = field(default_factory=dict)
    nodes: str = ""
    node_count: int = 0
    features: str = ""
    partition: str = ""
    gpus: int = 0
    flags: tuple[str, ...] = ()


@immutable
class UpdateReservation(_OfReservation):
    """`scontrol update reservation`; None leaves as it is, an empty tuple takes all users or accounts away.

    A count is checked against its total, not against what others reserve. When Slurm refuses an update, it forgets the
    reservation's counts and prints them still; so they are set again at once as they are printed, and the error tells
    if that fails. After an unsure outcome look at LicenseRecord.reserved.
    """

    name: str
    licenses: Mapping[str, int] | None = None
    users: tuple[str, ...] | None = None
    accounts: tuple[str, ...] | None = None
    end: int | None = None


@immutable
class DeleteReservation(_OfReservation):
    """`scontrol delete reservation`: refused while a job names it that has not ended; `Update` takes a job out."""

    name: str


JobCommand = Update | Hold | UserHold | Release | Requeue | RequeueHold | Suspend | Resume | Signal | Cancel
ReservationCommand = CreateReservation | UpdateReservation | DeleteReservation
Command = JobCommand | ReservationCommand
Chain = tuple[Command, ...]
"""Commands in order; the first that fails ends the chain, so nothing is released that was not bound."""


@immutable
class Outcome:
    """What became of a chain: how many of its commands succeeded, and what Slurm said to the one that did not.

    `unsure` is set when the command may have taken effect although no success was seen (a time-out).
    """

    done: int
    error: str = ""
    unsure: bool = False
    unreached: bool = False
    """Slurm has not heard of the command: it may be tried again at once, for nobody has refused it."""
