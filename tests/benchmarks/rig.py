"""A sandbox for benchmarks: a small real cluster whose daemon carries a large ledger."""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import yaml

from slurm_power.adapters.lines_client import ask
from slurm_power.core.errors import DaemonUnreachable
from slurm_power.sandbox import build, cluster
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.wrappers import variables
from tests.benchmarks.loaded_daemon import LOAD

REAL_ZONES = 4
NODES = 5
CPUS = 64
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Rig:
    """A running cluster and its loaded daemon."""

    layout: Layout
    zones: int
    feeds: int
    claims: int
    daemon: int = 0
    """Its process."""
    empty: int = 0
    """The process of one that decides nothing, on `empty_socket`."""

    @property
    def empty_socket(self) -> Path:
        """Where questions are answered and nothing is decided."""
        return self.layout.run / "empty.sock"

    @property
    def env(self) -> dict[str, str]:
        """What Slurm's commands need."""
        path = f"{self.layout.bin}:{os.environ['PATH']}"
        return {**os.environ, **variables(self.layout), "PATH": path}

    def run(self, *argv: str, stdin: str = "") -> str:
        """What a command printed. Raises CalledProcessError."""
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, text=True, check=True, timeout=300)
        return done.stdout

    def ask(self, **request: object) -> dict[str, object]:
        """The daemon's answer on its control socket."""
        return dict(ask(self.layout.run / "control.sock", request, 30.0))

    def answers(self) -> bool:
        """Whether the daemon serves."""
        try:
            return bool(self.ask(op="health"))
        except DaemonUnreachable:
            return False

    def controller(self) -> list[int]:
        """What runs on a controller: slurmctld, slurmdbd, its database, munge and our daemon."""
        pids = cluster.status(self.layout.root)["pids"]
        return [self.daemon, self.empty, *(pid for name, pid in pids.items() if name != "slurmd" and pid)]

    @contextmanager
    def without_daemon(self) -> Iterator[None]:
        """Stand the daemon still meanwhile, so that it takes nothing from what is measured."""
        os.kill(self.daemon, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.daemon, signal.SIGCONT)

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left."""
        self.run("scancel", "--partition=train")
        wait(lambda: not self.run("squeue", "-h", "-o", "%i"), "the queue to be empty")
        wait(lambda: not self.ask(op="jobs")["jobs"], "the daemon to forget the jobs")


def wait(done: object, what: str, pause_s: float = 0.02) -> float:
    """Poll a callable until it is true; the seconds that it took. Raises TimeoutError."""
    began = time.monotonic()
    while not done():  # type: ignore[operator]
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(pause_s)
    return time.monotonic() - began


def site(zones: int, feeds: int, limit: str = "100MW") -> dict[str, object]:
    """A site of a few real zones and many that Slurm does not have, all under the same A/B trees."""
    pairs = max((feeds - 4) // 2, 1)
    made: dict[str, object] = {
        "utility-a": {"side": "A", "limit": "2000MW"},
        "utility-b": {"side": "B", "limit": "2000MW"},
        "ups-a": {"side": "A", "parent": "utility-a", "limit": "1500MW"},
        "ups-b": {"side": "B", "parent": "utility-b", "limit": "1500MW"},
    }
    for pair in range(pairs):
        made[f"pdu-a{pair}"] = {"side": "A", "parent": "ups-a", "limit": limit}
        made[f"pdu-b{pair}"] = {"side": "B", "parent": "ups-b", "limit": limit}
    racks: dict[str, object] = {}
    for index in range(zones):
        real = index < REAL_ZONES
        first = index * NODES + 1
        racks[f"rack{index:02d}" if real else f"{LOAD}{index:05d}"] = {
            "nodes": f"{'gpu' if real else 'sim'}[{first:06d}-{first + NODES - 1:06d}]",
            "feeds": [f"pdu-a{index % pairs}", f"pdu-b{index % pairs}"],
            "redundancy": "2N",
            "limit": "130kW",
            "baseline": "2kW",
        }
    names = ",".join(name for name in racks if name.startswith("rack"))
    return {
        "mode": "enforce",
        "feeds": made,
        "zones": racks,
        "partitions": {"train": {"zones": names, "node_watts": "10200W", "gpu_watts": "700W"}},
        "tiers": {
            "gold": {"qos": "gold", "notice": "never"},
            "silver": {"qos": "silver", "notice": "10m"},
            "bronze": {"qos": "bronze", "notice": "0s"},
        },
        "hook": {"rumour_cap": "2000MW"},
    }


@contextmanager
def rig(zones: int, feeds: int, claims: int) -> Iterator[Rig]:
    """A cluster of `REAL_ZONES` zones; its daemon has `zones` zones under `feeds` feeds and `claims` live claims."""
    root = Path(tempfile.gettempdir()).resolve() / f"spw-{secrets.token_hex(4)}"
    small = root.with_suffix(".yaml")
    small.write_text(yaml.safe_dump(site(REAL_ZONES, feeds=12), sort_keys=False))
    try:
        state = build.up(build.Options(root, site=small, users=()))
        layout = Layout(state.root)
        try:
            with _loaded(layout, zones, feeds, claims) as made:
                yield made
        finally:
            cluster.down(state.root)
    finally:
        small.unlink()


@contextmanager
def _loaded(layout: Layout, zones: int, feeds: int, claims: int) -> Iterator[Rig]:
    """The sandbox's daemon ended, and the loaded one in its place, on the same sockets."""
    cluster.stop(layout.root, "slurm-powerd")
    wanted = yaml.safe_load(layout.site_file.read_text())
    large = site(zones, feeds)
    large["hook"] = {**wanted["hook"], **dict(large["hook"])}  # type: ignore[call-overload]
    large["state"] = wanted["state"]
    layout.site_file.write_text(yaml.dump(large, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))
    made = Rig(layout, zones, feeds, claims)
    with (layout.log / "loaded.log").open("wb") as log:
        daemon = _beside(made.env, log, "loaded_daemon", str(claims))
        empty = _beside(made.env, log, "empty_daemon", str(made.empty_socket))
        try:
            made = replace(made, daemon=daemon.pid, empty=empty.pid)
            wait(lambda: made.answers() or daemon.poll() is not None, "the loaded daemon")
            if daemon.poll() is not None:
                raise RuntimeError((layout.log / "loaded.log").read_text()[-2_000:])
            yield made
        finally:
            for process in (daemon, empty):
                process.terminate()
                process.wait(30)


def _beside(env: dict[str, str], log: BinaryIO, module: str, *words: str) -> subprocess.Popen[bytes]:
    """A daemon of the benchmarks, with the precedence that etc/systemd/slurm-powerd.service gives."""
    argv = ("nice", "-n", "-10", sys.executable, "-m", f"tests.benchmarks.{module}", *words)
    return subprocess.Popen(argv, env=env, stderr=log)
