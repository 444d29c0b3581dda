"""Processes are known by pid and start time."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_power.sandbox import process
from slurm_power.sandbox.free_ports import free_ports


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[process.Process]:
    child = subprocess.Popen(["sleep", "60"], cwd=tmp_path, env={"SBX_TEST_MARK": str(tmp_path)})
    found = process.find(child.pid)
    assert found is not None
    yield found
    child.kill()
    child.wait()


def test_a_recycled_pid_is_nobody_of_ours(sleeper: process.Process) -> None:
    other = replace(sleeper, started=sleeper.started - 1)
    assert sleeper.alive
    assert not other.alive
    assert process.end([other]) == []
    assert sleeper.alive


def test_a_zombie_does_not_live(sleeper: process.Process) -> None:
    assert process.end([sleeper]) == []
    assert not sleeper.alive


def test_a_leader_that_ended_before_its_threads_lives() -> None:
    """So does, for a moment, a process that was killed while one of its threads waited for a disk."""
    leaves = "threading.Thread(target=sys.stdin.read).start(); ctypes.CDLL(None).pthread_exit(None)"
    script = f"import ctypes, sys, threading; {leaves}"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:
        found = process.find(child.pid)
        assert found is not None
        status = Path(f"/proc/{child.pid}/status")
        assert process.wait_until(lambda: "State:\tZ" in status.read_text(), 10.0)
        assert found.alive
        child.kill()
        assert process.wait_until(lambda: not found.alive, 10.0)


def test_found_by_environment_and_place(sleeper: process.Process, tmp_path: Path) -> None:
    assert list(process.with_environment({"SBX_TEST_MARK": str(tmp_path)})) == [sleeper]
    assert list(process.with_environment({"SBX_TEST_MARK": None, "NO_SUCH": None})) == []
    assert list(process.working_below(tmp_path, "sleep")) == [sleeper]
    assert list(process.working_below(tmp_path, "slurmstepd")) == []
    assert list(process.rooted_below(tmp_path)) == []


def test_ports_are_distinct() -> None:
    assert len(set(free_ports(50))) == 50
