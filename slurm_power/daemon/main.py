"""`slurm-powerd`: read the site file, open the database, learn from Slurm, then serve until told to end."""

import asyncio
import gc
import logging
import os
import pwd
import signal
import sys
from pathlib import Path

import click

from slurm_power import __version__
from slurm_power.adapters.clock import SystemClock
from slurm_power.adapters.lines import NO_ANSWER, HookKey, encode_error, replace_file
from slurm_power.adapters.lines_server import LineServer, ServerLimits
from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.adapters.slurm.counted import CountedCommands
from slurm_power.adapters.slurm.inventory import read_slurm_user
from slurm_power.adapters.slurm.pyslurm_reader import WORKER as PYSLURM_WORKER
from slurm_power.adapters.store import SqlStore, StoreWriter, open_store
from slurm_power.adapters.turn import Turn, TurnTaken
from slurm_power.config import Site, load_site
from slurm_power.core.errors import PowerError, SlurmError
from slurm_power.daemon.alone import DAEMON
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.exporting import Exporting
from slurm_power.daemon.hook import HookHandler
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.logs import set_up
from slurm_power.daemon.rounds import Rounds
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.telemetry import Telemetry
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from slurm_power.service.outcomes import TellingJournal

_log = logging.getLogger("slurm_power.daemon")
_RETRY_S = 2.0
_FLUSH_S = 10.0
_CONTROL_PER_UID = 32
_TURN_WAIT_S = 120.0
"""How long a start waits for `sreservation reconcile` to end."""
_TURN_S = 0.0001
"""How long another thread (reading Slurm's answers, writing to the database) may keep the hook from being answered. It
does so anew after every system call of an answer.
"""


class Daemon:
    """One site's daemon, from its start to its end."""

    def __init__(self, site: Site, store: SqlStore, runner: Runner, slurm_user: tuple[int, int]) -> None:
        self._owner = slurm_user if os.geteuid() == 0 else None
        clock = SystemClock()
        self._store = store
        self._writer = StoreWriter(store)
        journal, commands = TellingJournal(StoreJournal(self._writer)), CountedCommands(runner)
        self.desk = Desk(site, clock, journal)
        observer = Observer(self.desk, remembered(store))
        slurm = SlurmCommands(commands, pyslurm=PYSLURM_WORKER)
        self._rounds = Rounds(self.desk, slurm, self._writer, observer, clock)
        self._rounds.health.reader = slurm.reader
        self._rounds.mode.load(store)
        self._rounds.usage.resume(store)
        self._rounds.usage.load(store)
        self._rounds.derating.load(store)
        sensors = Sensors(self.desk, self._writer)
        sensors.load(store)
        self._telemetry = Telemetry(self.desk, self._rounds.derating, sensors, slurm, self._rounds.soon)
        self._exporting = Exporting(self.desk, journal, self._rounds, self._writer, self._telemetry, commands)
        self._exporting.load(store)
        self._rounds.reservations.load(store.reservations(live_only=True))
        goes_on = self._rounds.preemptions.load(store)
        self._left_open = [i.id for i in store.pending_intents() if i.id is not None and i.id not in goes_on]
        self._key: HookKey | None = None
        masters = frozenset({0, os.geteuid(), slurm_user[0]})
        handler = HookHandler(self.desk, self._rounds, self._secret)
        self._hook = LineServer(
            site.hook.socket,
            0o600,
            self._exporting.timed(handler),
            allowed_uids=masters,
            owner=self._owner,
            error_reply=lambda _: NO_ANSWER,
            unheard=handler.unheard,
            lasting=True,
        )
        self._control = LineServer(
            site.hook.control,
            0o666,
            ControlHandler(self.desk, self._rounds, self._writer, masters, self._tell_gate),
            owner=self._owner,
            error_reply=encode_error,
            limits=ServerLimits(per_uid=_CONTROL_PER_UID),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises PowerError if another daemon has the sockets, or metrics no address."""
        sys.setswitchinterval(_TURN_S)
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._hook.bind()
        self._control.bind()
        self._exporting.start(self.desk.site)
        if not await self.first_round(ended):
            return
        self._writer.put(lambda store: store.close_intents(self._left_open, "cut off; Slurm was read anew"))
        self._key = HookKey.create(self.desk.site.hook.socket, self._owner)
        self._tell_gate()
        await self._hook.start()
        await self._control.start()
        _log.info("serving", extra={"version": __version__, "mode": str(self.desk.mode)})
        rounds = asyncio.create_task(self._rounds.run())
        self._telemetry.follow(self.desk.site)
        recalling = asyncio.create_task(self._rounds.usage.recall())
        await ended.wait()
        self._telemetry.stop()
        rounds.cancel()
        recalling.cancel()
        await asyncio.wait([rounds], timeout=_FLUSH_S)  # a write may take as long as Slurm lets it
        await self._hook.stop()
        await self._control.stop()
        await self._exporting.stop()
        self._rounds.usage.end()
        _log.info("ended")

    def close(self) -> None:
        """Write what is waiting and release the database."""
        if not self._writer.close(_FLUSH_S):
            _log.error("not everything could be written to the database")
        self._store.close()

    async def first_round(self, ended: asyncio.Event) -> bool:
        """Nothing is answered before the ledger stands; meanwhile the hook holds. False if told to end first."""
        while not ended.is_set():
            try:
                # Hardly anything of it is garbage, and to look for that among 100,000 jobs takes a third of the time.
                gc.disable()
                await self._rounds.round()
                spare_survivors()
            except SlurmError as error:
                _log.warning("waiting for Slurm: %s", error)
                try:
                    await asyncio.wait_for(ended.wait(), _RETRY_S)
                except TimeoutError:
                    continue
            else:
                return True
            finally:
                gc.enable()
        return False

    def _secret(self) -> str:
        if self._key is None:
            raise PowerError("the hook is served before its key is made")
        return self._key.value

    def _tell_gate(self) -> None:
        """What the hook and the gate need to know while the daemon is away: nodes' zones, and the mode."""
        socket = self._hook.path
        nodes = sorted(self.desk.site.topology.zone_of_node.items())
        lines = "".join(f"{node} {zone}\n" for node, zone in nodes)
        replace_file(socket.with_name(socket.name + ".nodes"), lines, 0o644, self._owner)
        replace_file(socket.with_name(socket.name + ".mode"), f"{self.desk.mode}\n", 0o644, self._owner)

    def _reload(self) -> None:
        """SIGHUP: a good site file takes the place of the old one; a bad one is refused and nothing changes."""
        before = self.desk.site
        try:
            site = load_site(before.path)
        except PowerError as error:
            _log.error("the site file is refused, the old one stays in force: %s", error)
            return
        if (site.hook.socket, site.hook.control, site.state_url) != (
            before.hook.socket, before.hook.control, before.state_url,
        ):
            _log.warning("sockets and database change only with a restart")
        self._rounds.change_site(site)
        self._telemetry.follow(site)
        self._exporting.follow(site)
        try:
            self._tell_gate()
        except PowerError as error:
            _log.error("the launch gate goes by the old site file while the daemon is away: %s", error)
        self._rounds.soon()
        _log.info("the site file was read anew", extra={"warnings": site.warnings})


@click.command()
@click.option("--conf", type=click.Path(path_type=Path), help="Site file; else $SLURM_POWER_CONF, else /etc/slurm/.")
@click.option("--log-level", default="info", type=click.Choice(["debug", "info", "warning", "error"]))
@click.version_option(__version__, prog_name="slurm-powerd")
def command(conf: Path | None, log_level: str) -> None:
    """Decide, account and explain electrical power for Slurm."""
    set_up(log_level)
    site = load_site(conf)
    for warning in site.warnings:
        _log.warning("%s", warning)
    runner = Runner()
    user = slurm_user(runner)
    owner = user if os.geteuid() == 0 else None
    try:
        with Turn(site.hook.socket, DAEMON, wait_s=_TURN_WAIT_S, never=(DAEMON,), owner=owner):
            daemon = Daemon(site, open_store(site.state_url), runner, user)
            try:
                asyncio.run(daemon.run())
            finally:
                daemon.close()
    except TurnTaken as error:
        if error.holder != DAEMON:
            raise
        raise PowerError(f"{site.hook.socket}: another daemon answers there; stop it first") from error


def spare_survivors() -> None:
    """Keep the collector from all objects that are there, and later from all that have survived a full collection.

    A full collection over 100,000 jobs keeps the hook waiting for half a second. What lives long here (entries, claims,
    records) is in no cycles and goes when its last reference goes.
    """
    gc.freeze()
    gc.callbacks.append(lambda phase, about: gc.freeze() if phase == "stop" and about["generation"] == 2 else None)


def slurm_user(runner: Runner) -> tuple[int, int]:
    """uid and gid of SlurmUser; while slurmctld cannot be asked, our own user stands for it."""
    try:
        uid = read_slurm_user(runner)
        return uid, pwd.getpwuid(uid).pw_gid
    except (SlurmError, KeyError) as error:
        _log.warning("cannot tell who SlurmUser is, taking our own user for it: %s", error)
        return os.geteuid(), os.getegid()


def main() -> None:
    """The console script: our own errors become one line and an exit code."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Abort:
        sys.exit(130)
    except PowerError as error:
        click.echo(f"slurm-powerd: {error}", err=True)
        sys.exit(error.exit_code)
