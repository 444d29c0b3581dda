"""What a command is called where it is carried out, and which values cannot be sent.

No reservation is named here whose name does not begin with our prefix: nothing else may ever be written or deleted.
How Slurm refuses what may be sent, as tried with 22.05 by root; others than operators get `Invalid user id` for all:

    Invalid user id                         a user whom slurmctld does not know
    Invalid account or account/partition …  an account, or a user without one, or not in every one of the accounts
    Invalid license specification           a licence that is not there; above its total, at creation together with
                                            what all that overlap in time show; none left in a reservation without nodes
    Invalid time specified                  a new one's times over 10 minutes ago, a changed end over 1 minute ago
    Duplicate reservation name              it is there already, perhaps over and still in use
    Requested reservation is invalid        it is not there
    Requested reservation is in use         to be deleted, while a job names it that has not ended: running or pending
    Requested reservation overlaps …        a named node is in another one
    Requested nodes are busy                a job runs on a named node, or no node is free (see IGNORE_JOBS)
    TRES type 'gres/gpu' not supported …    GPUs before 24.05
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from slurm_power.core.binding import PREFIX
from slurm_power.core.errors import UsageError
from slurm_power.ports import (
    Cancel,
    Command,
    CreateReservation,
    DeleteReservation,
    Hold,
    Release,
    Requeue,
    RequeueHold,
    Resume,
    Signal,
    Suspend,
    Update,
    UpdateReservation,
    UserHold,
)

_TARGET = re.compile(r"[0-9]+(?:\+[0-9]+)?(?:_(?:[0-9]+|\[[0-9,-]+\]))?")
_KEY = re.compile(r"[A-Za-z]+")
_SIGNAL = re.compile(r"[A-Z][A-Z0-9]*(?:[+-][0-9]+)?")
_RESERVATION = re.compile(rf"{PREFIX}[A-Za-z0-9_.-]{{1,60}}")
_OWNER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
_LICENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
_FLAG = re.compile(r"[A-Z_]+(?:=[0-9:-]+)?")
_JOB_VERBS = {
    Hold: "hold",
    UserHold: "uhold",
    Release: "release",
    Requeue: "requeue",
    RequeueHold: "requeuehold",
    Suspend: "suspend",
    Resume: "resume",
}


def scontrol_words(command: Command) -> tuple[str, ...]:
    """scontrol's words for a command. Raises UsageError for a target, name, key or value that cannot be sent."""
    match command:
        case CreateReservation():
            return "create", f"reservationname={_reservation(command.name)}", *_created(command)
        case UpdateReservation():
            return "update", f"reservationname={_reservation(command.name)}", *_updated(command)
        case DeleteReservation():
            return "delete", f"reservationname={_reservation(command.name)}"
        case Update():
            pairs = (_pair(key, value) for key, value in command.fields.items())
            return "update", f"jobid={_target(command.target)}", *pairs
        case Signal() | Cancel():
            raise UsageError("scontrol sends no signals")
        case _:
            return _JOB_VERBS[type(command)], _target(command.target)


def scancel_words(command: Signal | Cancel) -> tuple[tuple[str, ...], str]:
    """scancel's options for a command, and its target. Raises UsageError for one that cannot be sent."""
    target = _target(command.target)
    if isinstance(command, Cancel):
        return (), target
    if not _SIGNAL.fullmatch(command.name):
        raise UsageError(f"'{command.name}' is not a signal; write its name, such as USR1")
    return ("--batch", "--state=RUNNING", f"--signal={command.name}"), target


def _target(target: str) -> str:
    if not _TARGET.fullmatch(target):
        raise UsageError(f"'{target}' is not a job; write 812, 812_7, 812_[3-9] or 812+1")
    return target


def _pair(key: str, value: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError(f"'{key}' is not a field of a job; write its name in letters, such as licenses")
    return f"{key}={_printable(key, value)}"


def _printable(key: str, value: str) -> str:
    if not value.isprintable():
        raise UsageError(f"the value of {key} holds a control character: {value!r}")
    return value


def _reservation(name: str) -> str:
    if not _RESERVATION.fullmatch(name):
        raise UsageError(f"'{name}' is not a reservation of ours; they are named {PREFIX}NAME")
    return name


def _created(command: CreateReservation) -> Iterator[str]:
    if not command.users and not command.accounts:
        raise UsageError(f"nobody owns {command.name}; name users or accounts")
    yield from (f"starttime=uts{command.start}", f"endtime=uts{command.end}")
    if command.users:
        yield f"users={_owners(command.users)}"
    if command.accounts:
        yield f"accounts={_owners(command.accounts)}"
    if command.licenses:
        yield f"licenses={licence_list(command.licenses)}"
    where = {"nodes": command.nodes, "features": command.features, "partitionname": command.partition}
    yield from (f"{key}={_printable(key, value)}" for key, value in where.items() if value)
    if command.node_count:
        yield f"nodecnt={command.node_count}"
    if command.gpus:
        yield f"tres=gres/gpu={command.gpus}"
    nowhere = not (command.nodes or command.node_count or command.gpus)
    flags = (*(("ANY_NODES",) if nowhere else ()), *command.flags)
    if flags:
        yield f"flags={_listed(flags, _FLAG, 'flag')}"


def _updated(command: UpdateReservation) -> tuple[str, ...]:
    pairs = {
        "users": None if command.users is None else _owners(command.users),
        "accounts": None if command.accounts is None else _owners(command.accounts),
        "licenses": None if command.licenses is None else licence_list(command.licenses),
        "endtime": None if command.end is None else f"uts{command.end}",
    }
    words = tuple(f"{key}={value}" for key, value in pairs.items() if value is not None)
    if not words:
        raise UsageError(f"nothing to change in {command.name}")
    return words


def licence_list(counts: Mapping[str, int]) -> str:
    """Licences as Slurm takes them. Raises UsageError for a name or a count that cannot be sent."""
    if any(count < 0 for count in counts.values()):
        raise UsageError("a count of licences is below 0")
    _listed(counts, _LICENCE, "licence")
    return ",".join(f"{name}:{count}" for name, count in sorted(counts.items()))


def _owners(names: Iterable[str]) -> str:
    return _listed(names, _OWNER, "user or account")


def _listed(names: Iterable[str], allowed: re.Pattern[str], what: str) -> str:
    names = tuple(names)
    for name in names:
        if not allowed.fullmatch(name):
            raise UsageError(f"'{name}' is not the name of a {what}")
    return ",".join(names)
