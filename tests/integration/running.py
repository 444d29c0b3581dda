"""A running sandbox, as the tests use it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

from slurm_power.sandbox import cluster
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.wrappers import variables

PATIENCE_S = 180.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running sandbox, and commands in it."""

    root: Path

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    @property
    def env(self) -> dict[str, str]:
        """What `spower sandbox env` exports."""
        path = f"{self.layout.bin}:{os.environ['PATH']}"
        return {**os.environ, **variables(self.layout), "PATH": path}

    def status(self) -> dict[str, Any]:
        return cluster.status(self.root)

    def stop(self, name: str) -> None:
        cluster.stop(self.root, name)

    def start(self, name: str) -> None:
        cluster.start(self.root, name)

    def call(self, *argv: str, user: str | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command, as a user of the cluster if one is named (as root only; else everybody is the caller)."""
        return subprocess.run(
            _as(user, argv),
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
        )

    @contextmanager
    def background(self, *argv: str, user: str) -> Iterator[subprocess.Popen[str]]:
        """A command of a user that goes on meanwhile; it is ended at the end if it has not by itself."""
        with subprocess.Popen(
            _as(user, argv),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        ) as command:
            try:
                yield command
            finally:
                command.terminate()

    def run(self, *argv: str, user: str | None = None, stdin: str = "") -> str:
        """What the command printed; fails the test if it ends badly."""
        done = self.call(*argv, user=user, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(argv)} (as {user}): {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def sbatch(self, *options: str, user: str | None = "alice", script: str = "exit 0") -> int:
        """Submit a batch job; its id. Output goes nowhere unless the options say."""
        said = self.run(
            "sbatch", "--parsable", "--output=/dev/null", *options, user=user, stdin=f"#!/bin/sh\n{script}\n"
        )
        return int(said.split(";")[0])

    def job(self, job_id: int) -> dict[str, str]:
        """A job's fields, as scontrol prints them."""
        words = self.run("scontrol", "-o", "show", "job", str(job_id)).split()
        return dict(word.partition("=")[::2] for word in words if "=" in word)

    def wait_job(self, job_id: int, *states: str) -> dict[str, str]:
        """Wait until a job is in one of these states; its fields then."""
        return self.wait(lambda: self.job(job_id), lambda job: job["JobState"] in states, f"job {job_id} {states}")

    def wait(self, look: Callable[[], T], fits: Callable[[T], bool], what: str) -> T:
        """Look until what is seen fits; fails the test when it takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while not fits(seen := look()):
            assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s for {what}; at last: {seen}"
            time.sleep(0.2)
        return seen


def _as(user: str | None, argv: Sequence[str]) -> tuple[str, ...]:
    return ("runuser", "-u", user, "--", *argv) if user is not None and os.geteuid() == 0 else tuple(argv)


def new_root() -> Path:
    """A directory that is not there yet, short enough for sockets and open to the users of the cluster."""
    return Path(tempfile.gettempdir()).resolve() / f"spw-{token_hex(4)}"
