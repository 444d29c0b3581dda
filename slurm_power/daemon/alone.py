"""Reconciliation while the daemon is away: the same desk from the site file, the database and Slurm, for one look.

Nobody is admitted: held jobs wait for the daemon. It acts in the daemon's turn, as the daemon's user, so that files of
the database stay the daemon's.
"""

import asyncio
import os
import pwd
from pathlib import Path

from slurm_power.adapters.clock import SystemClock
from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.adapters.slurm.inventory import read_slurm_user
from slurm_power.adapters.store import StoreWriter, open_store
from slurm_power.adapters.turn import Turn, TurnTaken
from slurm_power.config import Site
from slurm_power.core.errors import DaemonUnreachable, PowerError
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.mode import stored_mode
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Clock, Decision, Slurm, Store, StoredJob
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer

DAEMON, COMMAND = "slurm-powerd", "sreservation reconcile"
_WAIT_S = 60.0
"""How long a second command waits for the first: that does in seconds what it can."""
_FLUSH_S = 10.0
_SEEN_AGAIN = frozenset({"found-running", "found-running-over"})


def reconcile_alone(site: Site, *, dry_run: bool) -> dict[str, object]:
    """What `reconcile` on the control socket answers, without a daemon. For root and SlurmUser.

    Raises DaemonUnreachable where it runs and does not answer, and PowerError.
    """
    runner = Runner(read_only=dry_run)
    become(read_slurm_user(runner))
    try:
        with Turn(site.hook.socket, COMMAND, wait_s=_WAIT_S, never=(DAEMON,)):
            store = open_store(site.state_url)
            try:
                return one_look(site, SlurmCommands(runner), store, SystemClock(), dry_run=dry_run)
            finally:
                store.close()
    except TurnTaken as error:
        if error.holder == DAEMON:
            raise DaemonUnreachable("slurm-powerd runs and does not answer: it starts, or hangs") from error
        raise


def one_look(site: Site, slurm: Slurm, store: Store, clock: Clock, *, dry_run: bool) -> dict[str, object]:
    """The same over any Slurm and store; whose turn it is, is the caller's to see to."""
    writer = StoreWriter(store)
    try:
        desk = Desk(site, clock, _Silent() if dry_run else _Quiet(writer))
        rounds = Rounds(desk, slurm, writer, Observer(desk, remembered(store)), clock, left_open=True)
        desk.mode = stored_mode(store, site.policy.mode).mode(site.policy.mode)
        rounds.derating.load(store)
        rounds.usage.load(store)
        rounds.reservations.load(store.reservations(live_only=True))
        return {**asyncio.run(rounds.reconcile(dry_run=dry_run)), "by": "command"}
    finally:
        if not writer.close(_FLUSH_S):
            raise PowerError("not everything could be written to the database; run it again")


def become(uid: int) -> None:
    """Go on as SlurmUser where we are root; whoever is neither may not. Raises PowerError."""
    if os.geteuid() == uid:
        return
    if os.geteuid() != 0:
        raise PowerError("only root and SlurmUser may reconcile")
    try:
        user = pwd.getpwuid(uid)
    except KeyError as error:
        raise PowerError(f"SlurmUser has uid {uid}, and this machine knows no such user") from error
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(uid)
    os.chdir(Path("/"))


class _Quiet(StoreJournal):
    """The daemon's journal, but for what it would say anew of each job that it finds when it starts."""

    def record(self, decision: Decision) -> None:
        """Append to the audit log what has been done."""
        if decision.action not in _SEEN_AGAIN:
            super().record(decision)


class _Silent:
    """The journal of a dry run."""

    def save(self, job: StoredJob) -> None:
        """Nothing."""

    def drop(self, token: str) -> None:
        """Nothing."""

    def record(self, decision: Decision) -> None:
        """Nothing."""
