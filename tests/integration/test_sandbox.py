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
from slurm_power.config import load_site
from slurm_power.core.errors import PowerError
from slurm_power.sandbox import build, cluster, process
from slurm_power.sandbox.layout import Layout, mounts_below
from slurm_power.sandbox.parts import MARK
from slurm_power.sandbox.process import Process
from slurm_power.sandbox.slurm_conf import ClusterPlan, write_slurm_conf
from tests.integration.conftest import Starter
from tests.integration.running import Cluster, new_root

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
    """Those of its parts, and slurmstepds, whose directory may be gone by now."""
    return set(process.with_environment({MARK: str(root)})) | set(process.working_below(root, "slurmstepd"))


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


OWN_SITE = """\
zones:
  left: {nodes: "l[1-2]", limit: 30kW}
  right: {nodes: r1, limit: 20kW}
partitions:
  small: {zones: right}
  all: {}
tiers:
  must: {qos: high, notice: never}
  may: {qos: low}
hook: {socket: /run/not/ours.sock, timeout: 50ms}
"""


def test_a_sites_own_file(start_cluster: Starter, tmp_path: Path) -> None:
    """Its nodes, partitions and tiers; not its sockets."""
    path = tmp_path / "site.yaml"
    path.write_text(OWN_SITE)
    home = start_cluster(build.Options(new_root(), site=path, users=("alice", "bob"), gpus=0, daemon=False))
    said = home.run("sinfo", "--noheader", "--format=%P %N").splitlines()
    assert sorted(said) == ["all l[1-2],r1", "small* r1"]
    assert home.status()["users"][0]["qos"] == ["high", "low"]
    assert home.status()["site"] == str(path)
    site = load_site(home.layout.site_file)
    assert (site.hook.socket.parent, site.hook.timeout_ms) == (home.layout.run, 50)
    assert "LicenseName=pw_left" in home.run("scontrol", "show", "licenses")
    job = home.wait_job(home.sbatch("--constraint=pw_left", "--partition=all"), "COMPLETED")
    assert job["NodeList"].startswith("l")


def test_a_wrong_site_file_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("zones: {a: {nodes: n1, limit: 30kW, colour: red}}")
    root = new_root()
    with pytest.raises(PowerError, match="colour"):
        build.up(small(root, site=path))
    assert not root.exists()


@pytest.mark.skipif(not AS_ROOT, reason="only root mounts")
def test_slurm_from_another_tree() -> None:
    """The machine's own root stands for the other tree. Where nothing may be mounted it says so."""
    root = new_root()
    options = small(root, slurm_root=Path("/"), users=())
    if subprocess.run(["unshare", "--mount", "--propagation=unchanged", "true"], check=False).returncode != 0:
        with pytest.raises(PowerError, match="mount"):
            build.up(options)
    else:
        home = Cluster(build.up(options).root)
        pid = home.status()["pids"]["slurmctld"]
        assert Path(f"/proc/{pid}/root").readlink() == home.layout.chroot
        assert home.wait_job(home.sbatch("--nodes=2", user=None), "COMPLETED")["NumNodes"] == "2"
        home.wait_job(home.sbatch(user=None, script="exec sleep 600"), "RUNNING")
        cluster.down(root)
    assert not root.exists()
    assert mounts_below(root) == []
    assert processes_of(root) == set()


def test_the_whole_product_runs(sandbox: Cluster) -> None:
    """With the daemon: a job is admitted, bound and launched; one that never fits is refused; nothing waits for it."""
    status = sandbox.status()
    assert all([*(pid for name, pid in status["pids"].items() if name != "slurmd"), *status["pids"]["slurmd"].values()])
    job = sandbox.wait_job(sandbox.sbatch("--comment=power:est=10kW,max=12kW"), "COMPLETED", "FAILED")
    assert job["JobState"] == "COMPLETED"
    assert job["Licenses"].startswith("pw_rack")
    refused = sandbox.call("sbatch", "--comment=power:est=900kW", "--wrap=exit 0", user="alice")
    assert refused.returncode != 0
    assert "rejected" in refused.stderr


def test_without_the_daemon_jobs_wait_held(sandbox: Cluster) -> None:
    sandbox.stop("slurm-powerd")
    try:
        job_id = sandbox.sbatch("--comment=power:est=10kW")
        assert sandbox.job(job_id)["Priority"] == "0"
    finally:
        sandbox.start("slurm-powerd")
    assert sandbox.wait_job(job_id, "COMPLETED", "FAILED")["JobState"] == "COMPLETED"


def test_down_where_nothing_is() -> None:
    with pytest.raises(PowerError, match="there is no sandbox in"):
        cluster.down(new_root())
