"""The sandbox itself: what it starts, that it works, and that nothing of it is left."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurm_power.cli.sandbox import sandbox as commands
from slurm_power.core.errors import PowerError
from slurm_power.sandbox import build, cluster, process
from slurm_power.sandbox.layout import Layout, mounts_below
from slurm_power.sandbox.parts import MARK
from slurm_power.sandbox.process import Process
from slurm_power.sandbox.slurm_conf import ClusterPlan, write_slurm_conf
from tests.integration.conftest import Cluster, Starter, new_root

pytestmark = pytest.mark.cluster

AS_ROOT = os.geteuid() == 0
MADE = "sbxuser"
"""A user that no machine has."""


def small(root: Path, **more: object) -> build.Options:
    """One rack of two nodes, without the daemon: quick, and enough to see that Slurm works."""
    return build.Options(**{"root": root, "racks": 1, "nodes_per_rack": 2, "daemon": False, **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(start_cluster: Starter) -> Cluster:
    return start_cluster(small(new_root(), users=("alice", "bob", "carol", MADE)))


def processes_of(root: Path) -> set[Process]:
    return set(process.with_environment({MARK: str(root)}))


def test_every_part_runs(tiny: Cluster) -> None:
    status = tiny.status()
    pids = dict(status["pids"])
    slurmd = pids.pop("slurmd")
    assert set(pids) == {"munged", "mariadbd", "slurmdbd", "slurmctld"}
    assert set(slurmd) == {"gpu001", "gpu002"}
    assert all(Path(f"/proc/{pid}").exists() for pid in [*pids.values(), *slurmd.values()])
    assert status["slurm_version"].count(".") == 2
    logs = [log for name, log in status["logs"].items() if name != "slurmd"]
    assert all(Path(log).exists() for log in [*logs, *status["logs"]["slurmd"].values()])


def test_status_speaks_json(tiny: Cluster) -> None:
    said = CliRunner().invoke(commands, ["status", "--json", "--dir", str(tiny.root)])
    assert json.loads(said.output) == tiny.status()


def test_env_leads_plain_commands_to_it(tiny: Cluster) -> None:
    lines = CliRunner().invoke(commands, ["env", "--dir", str(tiny.root)]).output
    said = subprocess.run(
        ["/bin/sh", "-c", f"{lines}\nexec sinfo --noheader --format=%N"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "gpu[001-002]"


def test_a_users_job_runs(tiny: Cluster) -> None:
    job = tiny.wait_job(tiny.sbatch("--gpus=8", "--nodes=1", user="alice"), "COMPLETED", "FAILED")
    assert job["JobState"] == "COMPLETED"
    assert job["UserId"].startswith("alice(" if AS_ROOT else pwd.getpwuid(os.geteuid()).pw_name)
    assert "gres/gpu=8" in job["TRES"]


def test_srun_runs_on_all_nodes(tiny: Cluster) -> None:
    said = tiny.run("srun", "--nodes=2", "printenv", "SLURMD_NODENAME", user="alice")
    assert sorted(said.split()) == ["gpu001", "gpu002"]


@pytest.mark.skipif(not AS_ROOT, reason="as another user than root there is one user, who may use everything")
@pytest.mark.parametrize(
    ("user", "qos", "allowed"),
    [
        ("alice", "gold", True),
        ("bob", "gold", False),
        ("bob", "silver", True),
        ("carol", "silver", False),
        ("carol", "bronze", True),
    ],
)
def test_a_user_has_the_tiers_meant_for_him(tiny: Cluster, user: str, qos: str, allowed: bool) -> None:
    done = tiny.call("sbatch", "--output=/dev/null", f"--qos={qos}", "--wrap=exit 0", user=user)
    assert (done.returncode == 0) == allowed, done.stderr


def test_who_names_no_tier_gets_the_default(tiny: Cluster) -> None:
    assert tiny.wait_job(tiny.sbatch(), "COMPLETED")["QOS"] == "bronze"


def test_preemption_is_set_up(tiny: Cluster) -> None:
    said = tiny.run("sacctmgr", "--noheader", "--parsable2", "show", "qos", "format=name,preempt")
    rules = dict(line.split("|") for line in said.splitlines())
    assert set(rules["gold"].split(",")) == {"silver", "bronze"}
    assert rules["silver"] == "bronze"
    assert rules["bronze"] == ""


@pytest.mark.parametrize("name", ["slurmctld", "gpu002", "slurmdbd", "mariadbd", "munged"])
def test_a_part_stops_and_starts(tiny: Cluster, name: str) -> None:
    def pid() -> int | None:
        pids = tiny.status()["pids"]
        found: int | None = {**pids, **pids["slurmd"]}[name]
        return found

    before = pid()
    tiny.stop(name)
    assert pid() is None
    with pytest.raises(PowerError, match="does not run"):
        tiny.stop(name)
    tiny.start(name)
    assert pid() not in (None, before)
    with pytest.raises(PowerError, match="runs already"):
        tiny.start(name)
    show = ("sinfo", "--noheader", "--Node", "--format=%T")
    tiny.wait(lambda: set(tiny.call(*show).stdout.split()), lambda states: states == {"idle"}, "both nodes idle")
    assert tiny.wait_job(tiny.sbatch("--nodes=2"), "COMPLETED", "FAILED")["JobState"] == "COMPLETED"


def test_an_unknown_part(tiny: Cluster) -> None:
    with pytest.raises(PowerError, match="it has munged, mariadbd"):
        tiny.stop("gpu777")


def test_up_where_a_sandbox_is(tiny: Cluster) -> None:
    before = tiny.status()
    with pytest.raises(PowerError, match="there is a sandbox in"):
        build.up(small(tiny.root))
    assert tiny.status() == before


def test_up_in_an_occupied_directory() -> None:
    root = new_root()
    root.mkdir()
    (root / "mine").write_text("kept")
    try:
        with pytest.raises(PowerError, match="not an empty directory"):
            build.up(small(root))
        assert (root / "mine").read_text() == "kept"
    finally:
        shutil.rmtree(root)


def test_down_leaves_nothing_even_of_running_jobs() -> None:
    root = new_root()
    home = Cluster(build.up(small(root, users=("sbxother",))).root)
    user = "sbxother"
    # one that Slurm does not see: it left its session
    job = home.sbatch(user=user, script="setsid sleep 600 & exec sleep 600")
    home.wait_job(job, "RUNNING")
    marks = {"SLURM_CLUSTER_NAME": home.status()["cluster"], "SLURM_JOB_ID": str(job)}
    home.wait(lambda: len(set(process.with_environment(marks))), lambda count: count >= 2, "the job's processes")
    cluster.down(root)
    assert not root.exists()
    assert processes_of(root) == set()
    assert set(process.with_environment(marks)) == set()
    assert mounts_below(root) == []
    with pytest.raises(KeyError):
        pwd.getpwnam(user)


@pytest.mark.skipif(not AS_ROOT, reason="only root makes users")
def test_a_user_stays_while_another_sandbox_needs_him(tiny: Cluster) -> None:
    other = build.up(small(new_root(), users=(MADE,)))
    cluster.down(other.root)
    assert pwd.getpwnam(MADE)
    assert tiny.wait_job(tiny.sbatch(user=MADE), "COMPLETED")


def test_a_failure_halfway_cleans_up_and_shows_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(layout: Layout, plan: ClusterPlan) -> None:
        write_slurm_conf(layout, plan)
        layout.slurm_conf.write_text(layout.slurm_conf.read_text() + "SelectType=select/nonsense\n")

    monkeypatch.setattr("slurm_power.sandbox.build.write_slurm_conf", spoil)
    root = new_root()
    with pytest.raises(PowerError, match=r"slurmctld ended before it was ready(.|\n)*nonsense"):
        build.up(small(root))
    assert not root.exists()
    assert processes_of(root) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cleans_up(number: signal.Signals) -> None:
    root = new_root()
    module = "from slurm_power.cli.sandbox import sandbox; sandbox()"
    up = subprocess.Popen(
        [sys.executable, "-c", module, "up", "--no-daemon", "--dir", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.wait_until(Layout(root).munge_socket.exists, 30)
    up.send_signal(number)
    up.communicate(timeout=60)
    assert up.returncode != 0
    assert not root.exists()
    assert processes_of(root) == set()


def test_down_where_nothing_is() -> None:
    with pytest.raises(PowerError, match="there is no sandbox in"):
        cluster.down(new_root())
