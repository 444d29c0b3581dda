"""The runner, with small programs in Slurm's place."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.core.errors import SlurmError, SlurmTimeout
from slurm_power.ports import Hold


def program(directory: Path, name: str, *lines: str) -> None:
    path = directory / name
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(bin_dir=str(tmp_path), timeout_s=10)


def test_output_status_and_input(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "scontrol", "cat", 'echo "$@" >&2', "exit 3")
    done = runner.run("scontrol", "show", "a b", stdin="é\n", check=False)
    assert (done.status, done.out, done.err) == (3, "é\n", "show a b\n")


def test_a_failure_tells_argv_status_and_output(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "scontrol", "echo no such job >&2", "exit 1")
    with pytest.raises(SlurmError, match="no such job") as caught:
        runner.run("scontrol", "show", "job", "1")
    assert caught.value.argv == (f"{tmp_path}/scontrol", "show", "job", "1")
    assert (caught.value.status, caught.value.output) == (1, "no such job\n")


def test_the_environment_is_ours(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "env")
    foreign = {"SQUEUE_FORMAT": "%i", "SLURM_CLUSTERS": "other", "SLURM_TIME_FORMAT": "relative", "LC_ALL": "de_DE"}
    base_env = {**foreign, "SCANCEL_INTERACTIVE": "1", "PATH": os.environ["PATH"]}
    runner = Runner(conf="/etc/slurm/x.conf", bin_dir=str(tmp_path), base_env=base_env)
    env = dict(line.split("=", 1) for line in runner.run("squeue", env={"SQUEUE_FORMAT2": "JobId"}).out.splitlines())
    assert env["SLURM_CONF"] == "/etc/slurm/x.conf"
    assert (env["LC_ALL"], env["SLURM_TIME_FORMAT"], env["TZ"]) == ("C", "%s", "UTC")
    assert (env["SLURM_BITSTR_LEN"], env["SQUEUE_FORMAT2"]) == ("0", "JobId")
    assert env.keys().isdisjoint({"SQUEUE_FORMAT", "SLURM_CLUSTERS", "SCANCEL_INTERACTIVE"})


def test_without_a_conf_the_environments_one_stays(tmp_path: Path) -> None:
    program(tmp_path, "squeue", 'echo "$SLURM_CONF"')
    runner = Runner(bin_dir=str(tmp_path), base_env={"SLURM_CONF": "/x", "PATH": os.environ["PATH"]})
    assert runner.run("squeue").out == "/x\n"


def test_a_prefix_goes_before_the_command(tmp_path: Path) -> None:
    runner = Runner(bin_dir="/opt/slurm/bin/", prefix=("echo", "chroot"))
    assert runner.run("sinfo", "-h").out == "chroot /opt/slurm/bin/sinfo -h\n"


def test_a_command_that_does_not_end_is_killed_and_its_words_are_kept(tmp_path: Path) -> None:
    program(tmp_path, "scontrol", "echo half >&2", "exec sleep 60")
    with pytest.raises(SlurmTimeout) as caught:
        Runner(bin_dir=str(tmp_path), timeout_s=0.3).run("scontrol")
    assert caught.value.output == "half\n"


def test_a_single_command_may_be_given_less_time_and_not_more(tmp_path: Path) -> None:
    program(tmp_path, "scancel", "exec sleep 60")
    with pytest.raises(SlurmTimeout, match=r"no end after 0\.2 s"):
        Runner(bin_dir=str(tmp_path)).run("scancel", timeout_s=0.2)
    with pytest.raises(SlurmTimeout, match=r"no end after 0\.3 s"):
        Runner(bin_dir=str(tmp_path), timeout_s=0.3).run("scancel", timeout_s=20)


@pytest.mark.parametrize("wanted", [-5, 0, 5])
def test_a_command_has_no_precedence(tmp_path: Path, wanted: int) -> None:
    """Only as root can the daemon have any; else `nice` starts it without."""
    program(tmp_path, "scontrol", "sleep 0.2", "nice")
    run = "import os; from slurm_power.adapters.slurm import Runner; print(os.getpriority(os.PRIO_PROCESS, 0), "
    run += f"Runner(bin_dir={str(tmp_path)!r}).run('scontrol').out)"
    argv = ("nice", "-n", str(wanted), sys.executable, "-c", run)
    of_daemon, of_command = map(int, subprocess.run(argv, capture_output=True, check=True).stdout.split())
    assert of_command == max(of_daemon, 0)


def test_a_time_out_holds_also_where_a_child_keeps_the_output_open(tmp_path: Path) -> None:
    program(tmp_path, "scontrol", "sleep 30")  # the shell's child
    began = time.monotonic()
    with pytest.raises(SlurmTimeout):
        Runner(bin_dir=str(tmp_path), timeout_s=0.3).run("scontrol")
    assert time.monotonic() - began < 20


def test_a_missing_command(tmp_path: Path, runner: Runner) -> None:
    with pytest.raises(SlurmError, match="cannot be started"):
        runner.run("scontrol")
    with pytest.raises(SlurmError, match="cannot be started"):
        list(runner.stream("squeue"))


def test_a_read_only_runner_reads_and_does_not_write(tmp_path: Path) -> None:
    program(tmp_path, "scontrol", "echo slurm 22.05.8", f"touch {tmp_path}/ran")
    runner = Runner(bin_dir=str(tmp_path), read_only=True)
    with pytest.raises(SlurmError, match="only read"):
        SlurmCommands(runner).write([(Hold("1"),)])
    assert not (tmp_path / "ran").exists()
    assert SlurmCommands(runner).version() == (22, 5, 8)


def test_a_stream_comes_in_pieces(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "squeue", "head -c 3000000 /dev/zero")
    pieces = list(runner.stream("squeue"))
    assert sum(map(len, pieces)) == 3_000_000
    assert max(map(len, pieces)) <= 1 << 16


def test_a_stream_that_fails_at_its_end(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "squeue", "echo part", "echo broken >&2", "exit 1")
    with pytest.raises(SlurmError, match="broken"):
        list(runner.stream("squeue"))


def test_a_stream_without_a_column_is_a_failure(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "squeue", "echo 'squeue: error: Invalid job format specification: Foo' >&2")
    with pytest.raises(SlurmError, match="Foo"):
        list(runner.stream("squeue"))


def test_a_stream_that_does_not_end_is_killed(tmp_path: Path) -> None:
    program(tmp_path, "squeue", "echo part", "exec sleep 60")
    pieces = Runner(bin_dir=str(tmp_path), timeout_s=0.3).stream("squeue")
    with pytest.raises(SlurmTimeout):
        list(pieces)


def test_a_stream_left_half_way_leaves_no_process(tmp_path: Path, runner: Runner) -> None:
    program(tmp_path, "squeue", f"echo $$ > {tmp_path}/pid", "exec yes")
    pieces = runner.stream("squeue")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
