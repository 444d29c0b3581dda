"""`up`: the parts of a cluster, started in the order in which they need each other."""

import importlib.util
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from slurm_power.config import Site
from slurm_power.render import node_features
from slurm_power.sandbox import accounts, users
from slurm_power.sandbox.database import Database, new_password
from slurm_power.sandbox.demo_site import demo_site
from slurm_power.sandbox.failure import SandboxError, with_log
from slurm_power.sandbox.free_ports import free_ports
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.munge import munged
from slurm_power.sandbox.nodes import slurmctld, slurmd
from slurm_power.sandbox.parts import Part, clean_environment
from slurm_power.sandbox.power import power_lines, powerd
from slurm_power.sandbox.process import wait_until
from slurm_power.sandbox.site import node_names, partitions, read_site, write_site
from slurm_power.sandbox.slurm_conf import ClusterPlan, Node, write_slurm_conf
from slurm_power.sandbox.state import State, StateFile, User, locked
from slurm_power.sandbox.teardown import take_down
from slurm_power.sandbox.tools import Tools, check_programs, run
from slurm_power.sandbox.tree import mount_tree
from slurm_power.sandbox.wrappers import variables, write_wrappers

NODES_S = 60.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Options:
    """What `up` was asked for."""

    root: Path
    site: Path | None = None
    racks: int = 4
    nodes_per_rack: int = 4
    gpus: int = 8
    slurm_root: Path | None = None
    users: tuple[str, ...] = ("alice", "bob", "carol")
    daemon: bool = True


def up(options: Options) -> State:
    """Start a cluster. Raises SandboxError or ConfigError, and KeyboardInterrupt, with nothing left behind."""
    _check(options)
    data = demo_site(options.racks, options.nodes_per_rack) if options.site is None else read_site(options.site)
    layout = Layout(options.root)
    layout.create()
    with locked(layout), _handlers(_interrupt):
        file = StateFile(
            State(
                layout.root,
                cluster=f"sandbox{secrets.token_hex(3)}",
                site=str(options.site or layout.site_file),
                slurm_root=None if options.slurm_root is None else str(options.slurm_root),
            )
        )
        _build_or_nothing(_Builder(options, data, layout, file), file)
    return file.state


def _build_or_nothing(builder: "_Builder", file: StateFile) -> None:
    """Build in another thread: an interrupt reaches only this one, never between a start and its record."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(builder.build)
        try:
            work.result()
        except BaseException as error:  # whatever it was, nothing may be left running
            with _handlers(signal.SIG_IGN):
                file.close()
                wait([work])
                _clean_up(file.state, error)
            raise


def _clean_up(state: State, cause: BaseException) -> None:
    """End what was started. Raises SandboxError, with the cause too, if something resists."""
    try:
        take_down(state)
    except SandboxError as error:
        raise SandboxError(f"{cause!s}\nand not all of it could be undone: {error}") from cause


def _check(options: Options) -> None:
    """Refuse what cannot work before anything is made."""
    check_programs(own_slurm=options.slurm_root is None)
    if options.daemon and importlib.util.find_spec("slurm_power.daemon") is None:
        raise SandboxError("slurm_power.daemon is not installed here; --no-daemon starts a cluster without it")
    users.check_names(options.users)
    if os.geteuid() == 0:
        Layout(options.root).check_open_to_all()
    elif options.slurm_root is not None:
        raise SandboxError("--slurm-root mounts another root directory, which only root may do")


class _Builder:
    """One run of `up`: every step either ends well or raises."""

    def __init__(self, options: Options, data: dict[str, Any], layout: Layout, file: StateFile) -> None:
        self._options = options
        self._data = data
        self._layout = layout
        self._file = file
        self._tools = Tools(None if options.slurm_root is None else layout.chroot)
        self._env = clean_environment(layout.root, variables(layout))

    def build(self) -> None:
        """Start everything; what does not need each other starts at the same time."""
        layout, options = self._layout, self._options
        site = write_site(layout, self._data)
        ctld_port, dbd_port, sql_port, *node_ports = free_ports(3 + len(node_names(site)))
        database = Database(layout, self._env, sql_port, dbd_port, new_password())
        write_wrappers(layout, tree=options.slurm_root is not None)
        with ThreadPoolExecutor() as pool:
            keys = pool.submit(lambda: self._start(munged(layout, self._env)))
            tables = pool.submit(lambda: self._start(database.mariadbd()))
            members = self._users(site)
            if options.slurm_root is not None:
                mount_tree(layout, options.slurm_root)
            nodes = self._configure(site, ctld_port, dbd_port, node_ports)
            keys.result()
            tables.result()
        self._start(database.slurmdbd(self._tools))
        accounts.set_up(self._tools, self._env, self._file.state.cluster, site, members)
        self._start_slurm(ctld_port, nodes)
        if options.daemon:
            self._start(powerd(layout, self._env, site))
        self._file.change(complete=True)

    def _users(self, site: Site) -> tuple[User, ...]:
        """The users of the cluster; as root they are made, else there is only the caller."""
        root = os.geteuid() == 0
        names = self._options.users if root else (users.me(),)
        members = accounts.users_of(names, site.policy)
        self._file.change(users=members)
        if root:
            users.acquire(names, self._layout.root)
        return members

    def _configure(self, site: Site, ctld_port: int, dbd_port: int, node_ports: list[int]) -> tuple[Node, ...]:
        """Write what Slurm reads."""
        layout = self._layout
        features = node_features(site)
        version = self._version()
        nodes = tuple(
            Node(name, port, features[name])
            for name, port in zip(node_names(site), node_ports, strict=True)
        )
        plan = ClusterPlan(
            self._file.state.cluster,
            ctld_port,
            dbd_port,
            nodes,
            partitions(site),
            self._options.gpus,
            version,
            power=power_lines(layout, site, self._tools, version, daemon=self._options.daemon),
        )
        write_slurm_conf(layout, plan)
        return nodes

    def _version(self) -> tuple[int, int, int]:
        version = self._tools.version(self._env)
        self._file.change(slurm_version="{}.{:02d}.{}".format(*version))
        return version

    def _start_slurm(self, ctld_port: int, nodes: tuple[Node, ...]) -> None:
        """The controller and all nodes, until every node is fit for work."""
        parts = [slurmctld(self._layout, self._tools, self._env, ctld_port)]
        parts += [slurmd(self._layout, self._tools, self._env, node) for node in nodes]
        started = [self._file.start(part) for part in parts]
        for part in started:
            self._wait_ready(part)
        if not wait_until(self._all_idle, NODES_S):
            raise with_log("not every node came up", self._layout.log / "slurmctld.log")

    def _all_idle(self) -> bool:
        self._file.check_open()
        try:
            states = run(self._tools.argv("sinfo", "--noheader", "--Node", "--format=%T"), self._env).split()
        except SandboxError:  # slurmctld listens before it answers
            return False
        return set(states) == {"idle"}

    def _start(self, part: Part) -> None:
        self._wait_ready(self._file.start(part))

    def _wait_ready(self, part: Part) -> None:
        part.wait_ready(self._file.check_open)


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> Iterator[None]:
    """Handle the signals that end a command so, for a while; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
