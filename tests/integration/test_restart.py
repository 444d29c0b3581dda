"""kill -9 and restarts: afterwards the ledger is what it was, and what it should be."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from slurm_power.core.errors import DaemonUnreachable
from tests.integration import faults
from tests.integration.driver import Driver, wait_for

pytestmark = pytest.mark.cluster

SITE = faults.TWO_RACKS

Picture = dict[str, tuple[str, str | None, tuple[str, ...], int]]


# -- killed at a certain point ---------------------------------------------------------------------------------------


def test_killed_right_after_its_answers(home: Driver) -> None:
    jobs = [home.submit(est_w=2_000, user=user) for user in ("alice", "bob", "carol", "alice", "bob")]
    faults.revive(home.cluster, faults.DAEMON)
    home.running(*jobs)
    assert home.agree()["left"] == 10_000


@pytest.mark.parametrize(
    ("at", "after"), [("update", False), ("update", True), ("release", False), ("release", True)]
)
def test_killed_while_it_binds(home: Driver, at: str, after: bool) -> None:
    """A held job, and all tasks of an array, are about to be let go."""
    blocks = home.submit(est_w=18_000, more=",zones=a")
    home.running(blocks)
    waits = home.submit(est_w=11_000, more=",zones=a")
    array = home.submit("--array=1-4", est_w=1_500, more=",zones=a", user="bob")
    home.held(waits)
    with faults.fatal_scontrol(home, at, after=after) as happened:
        home.cluster.run("scancel", str(blocks))
        wait_for(happened, "the daemon to be killed")
        faults.has_died(home.cluster, faults.DAEMON)
    home.cluster.start(faults.DAEMON)
    home.running(waits)
    home.cluster.wait(lambda: len(home.on_nodes()), lambda count: count == 5, f"the tasks of {array}")
    assert home.agree()["a"] == 17_000


def test_killed_while_it_holds(home: Driver) -> None:
    """A job that root let go past us is held again, whatever happens meanwhile."""
    blocks = home.submit(est_w=18_000, more=",zones=a")
    home.running(blocks)
    waits = home.submit(est_w=17_000, more=",zones=a")
    home.held(waits)
    with faults.fatal_scontrol(home, "uhold", after=True) as happened:
        home.cluster.run("scontrol", "update", f"jobid={waits}", "starttime=now+1hour")
        home.cluster.run("scontrol", "release", str(waits))
        wait_for(happened, "the daemon to be killed")
        faults.has_died(home.cluster, faults.DAEMON)
    home.cluster.start(faults.DAEMON)
    home.may_start_now(waits)
    home.held(waits)
    assert home.agree()["a"] == 18_000
    home.cluster.run("scancel", str(blocks))
    home.running(waits)


def test_killed_while_the_gate_asks(home: Driver) -> None:
    """The gate judges by the admission record and lets the job start; the daemon finds it running."""
    job_id = home.submit(est_w=7_000)
    with faults.hanging(home):
        home.cluster.wait_job(job_id, "CONFIGURING")
        faults.kill(home.cluster, faults.DAEMON)
    home.running(job_id)
    home.cluster.start(faults.DAEMON)
    assert home.agree()["left"] == 7_000


# -- slurmctld killed ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_slurmctld_killed_right_after_submissions(unwatched: Driver) -> None:
    """Whether Slurm remembers the jobs is its own affair; no watt stays behind for one that it has lost."""
    home = unwatched
    before = home.submit(est_w=3_000)
    home.running(before)
    highest = max(home.submit(est_w=2_000, user=user) for user in ("alice", "bob", "carol"))
    faults.revive(home.cluster, faults.CONTROLLER)
    home.agree()
    after = home.submit(est_w=1_000)
    while after <= highest:  # Slurm gives ids that it has lost anew, and a node that still knows one refuses its job
        home.cluster.run("scancel", str(after))
        after = home.submit(est_w=1_000)
    home.running(after)
    home.agree()


@pytest.mark.long
def test_slurmctld_killed_while_the_daemon_binds(unwatched: Driver) -> None:
    home = unwatched
    blocks = home.submit(est_w=18_000, more=",zones=a")
    home.running(blocks)
    waits = home.submit(est_w=17_000, more=",zones=a")
    home.held(waits)
    time.sleep(6)  # slurmctld saves its state every five seconds; what it has lost is not at issue here
    with faults.fatal_scontrol(home, "release", after=True, victim=faults.CONTROLLER) as happened:
        home.cluster.run("scancel", str(blocks))
        wait_for(happened, "slurmctld to be killed")
        faults.has_died(home.cluster, faults.CONTROLLER)
    home.cluster.start(faults.CONTROLLER)
    home.cluster.run("scancel", str(blocks))  # in case it has forgotten
    home.running(waits)
    assert home.agree()["a"] == 17_000


def test_slurmctld_killed_while_the_gate_asks(unwatched: Driver) -> None:
    home = unwatched
    job_id = home.submit(est_w=7_000)
    with faults.hanging(home):
        home.cluster.wait_job(job_id, "CONFIGURING")
        time.sleep(1)
        faults.revive(home.cluster, faults.CONTROLLER)
    left = {job["job_id"] for job in home.jobs()}
    if job_id in left:
        home.running(job_id)
    home.agree()


# -- rebuilt ---------------------------------------------------------------------------------------------------------


def test_a_restart_changes_nothing(home: Driver) -> None:
    """Running, admitted, held, held by users, arrays, het jobs: the same claims as before, and no hold is lifted."""
    cluster = home.cluster
    runs = home.submit("--exclusive", "--nodelist=a1", est_w=9_000)
    home.running(runs)
    admitted = home.submit("--exclusive", "--nodelist=a1", est_w=2_000)  # until its node is free
    waits = home.submit(est_w=18_000, user="bob", more=",zones=a")
    array = home.submit("--array=1-5%2", "--exclude=a1", est_w=1_000, user="carol")
    own_hold = home.submit("--hold", est_w=1_000, user="bob")
    both = home.submit(est_w=18_500, user="carol", more=",zones=a")
    het = home.submit_as_is(
        "--comment=power:est=600W", "-N1", ":", "--comment=power:est=700W", "-N1", est_w=0, user="bob"
    )
    home.est |= {het: 600, het + 1: 700}
    cluster.wait(lambda: len(home.on_nodes()), lambda count: count == 5, "the running ones")
    home.held(waits)
    home.held(both)
    cluster.run("scontrol", "hold", str(both), user="carol")
    before = picture(home)
    assert before[str(runs)][0] == "running"
    assert before[str(admitted)][0] == "admitted"
    assert before[str(waits)][:2] == ("waiting", "power")
    assert before[str(own_hold)][:2] == ("parked", "user")
    assert before[str(both)][:2] == ("parked", "both"), before
    assert len([name for name in before if name.startswith(f"{array}_")]) == 3
    assert {before[f"{het}+{offset}"][0] for offset in (0, 1)} == {"running"}
    ledger = home.ledger()

    def unchanged() -> None:
        home.settle(1)
        now = picture(home)
        assert now == before, {name: (before.get(name), now.get(name)) for name in before | now}
        assert home.ledger() == ledger

    faults.revive(cluster, faults.DAEMON)
    unchanged()
    cluster.stop(faults.DAEMON)
    cluster.start(faults.DAEMON)
    unchanged()
    with home.away():
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (cluster.layout.power / name).unlink(missing_ok=True)
    # That a user has put a hold of his own onto ours was known to the database alone.
    before[str(both)] = ("waiting", "power", *before[str(both)][2:])
    unchanged()
    cluster.run("scancel", str(runs), str(array))
    home.running(admitted)


def picture(home: Driver) -> Picture:
    """What the daemon believes of each job: state, whose hold, zones, est."""
    jobs = home.ask("jobs")["jobs"]
    return {job["job"]: (job["state"], job["hold"], tuple(job["zones"]), job["est_w"]) for job in jobs}


# -- signals ---------------------------------------------------------------------------------------------------------


def test_sigterm_ends_it_cleanly(home: Driver) -> None:
    """Sockets gone, status 0, and what was decided last is in the database."""
    run = home.cluster.layout.run
    with home.away(), own_daemon(home) as daemon:
        for name, mode in (("hook.sock", 0o600), ("control.sock", 0o666), ("hook.sock.key", 0o600)):
            found = (run / name).stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid) == (mode, os.geteuid()), name
        job_id = home.submit(est_w=1_000)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0
        assert not (run / "hook.sock").exists()
        assert not (run / "control.sock").exists()
        token = home.cluster.job(job_id)["AdminComment"].partition("id=")[2].partition(",")[0]
    home.running(job_id)
    decided = home.ask("report")["decisions"]
    assert [line["action"] for line in decided if line["job"] in (token, str(job_id))][:1] == ["admit"]
    assert home.agree()["left"] == 1_000


def test_a_second_daemon_is_refused(home: Driver) -> None:
    pid = faults.pid_of(home.cluster, faults.DAEMON)
    second = subprocess.run(DAEMON_ARGV, env=home.cluster.env, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode != 0
    assert "another daemon answers there" in second.stderr
    assert faults.pid_of(home.cluster, faults.DAEMON) == pid
    job_id = home.submit(est_w=1_000)
    assert "v=admit" in home.cluster.job(job_id)["AdminComment"]


def test_it_does_not_take_a_path_where_somebody_else_listens(home: Driver) -> None:
    with faults.impostor(home, b"", owner="bob"):
        refused = subprocess.run(
            DAEMON_ARGV, env=home.cluster.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert refused.returncode != 0
        assert "another daemon answers there" in refused.stderr


def test_sighup_takes_a_good_site_file_and_refuses_a_bad_one(home: Driver) -> None:
    """With the claims kept either way."""
    layout = home.cluster.layout
    text = layout.site_file.read_text()
    runs = home.submit(est_w=9_000, more=",zones=a")
    home.running(runs)
    try:
        home.change_site(lambda data: data["zones"]["a"].update(limit="15kW"))
        home.cluster.wait(lambda: home.limits()["a"], lambda found: found == 15_000, "the new limit")
        assert home.agree()["a"] == 9_000
        late = home.submit(est_w=6_000, more=",zones=a")
        home.held(late)
        seen = layout.log.joinpath("slurm-powerd.log").stat().st_size
        bananas = text.replace("limit: 20kW", "limit: 20 bananas")
        for bad, said in (("zones: {", "not YAML"), (bananas, "bananas")):
            layout.site_file.write_text(bad)
            os.kill(faults.pid_of(home.cluster, faults.DAEMON), signal.SIGHUP)
            refusal = refusal_after(home, seen)
            assert "the old one stays in force" in refusal
            assert said in refusal
            seen = layout.log.joinpath("slurm-powerd.log").stat().st_size
            assert home.limits()["a"] == 15_000
        assert home.agree()["a"] == 9_000
    finally:
        layout.site_file.write_text(text)
        home.change_site(lambda data: None)
    home.running(late)
    assert home.agree()["a"] == 15_000


def test_other_sockets_wait_for_a_restart_and_the_rest_of_the_file_is_in_force(home: Driver) -> None:
    """What the gate reads while the daemon is away goes on lying where slurmctld looks for it."""
    layout = home.cluster.layout
    text, known = layout.site_file.read_text(), layout.run / "hook.sock.nodes"

    def elsewhere(data: dict[str, Any]) -> None:
        data["hook"] = {"socket": "/nowhere/hook.sock", "control": "/nowhere/control.sock"}
        data["zones"]["a"].update(limit="15kW")

    try:
        before = known.stat().st_ino
        home.change_site(elsewhere)
        home.cluster.wait(lambda: home.limits()["a"], lambda found: found == 15_000, "the new limit")
        home.cluster.wait(lambda: known.stat().st_ino, lambda found: found != before, "the gate to be told")
        assert "Traceback" not in layout.log.joinpath("slurm-powerd.log").read_text()
    finally:
        layout.site_file.write_text(text)
        home.change_site(lambda data: None)
    home.cluster.wait(lambda: home.limits()["a"], lambda found: found == 20_000, "the old limit")


DAEMON_ARGV = (sys.executable, "-m", "slurm_power.daemon")


@contextmanager
def own_daemon(home: Driver) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon that is ours to wait for."""
    with subprocess.Popen(DAEMON_ARGV, env=home.cluster.env, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_for(lambda: (home.cluster.layout.run / "control.sock").exists() and answers(home), "its answer")
            yield daemon
        finally:
            daemon.kill()


def answers(home: Driver) -> bool:
    try:
        return bool(home.ask("health"))
    except DaemonUnreachable:
        return False


def refusal_after(home: Driver, seen: int) -> str:
    """Wait for an error in the daemon's log beyond so many bytes."""
    log = home.cluster.layout.log / "slurm-powerd.log"

    def errors() -> list[str]:
        lines = [json.loads(line) for line in log.read_bytes()[seen:].decode().splitlines() if line.startswith("{")]
        return [line["message"] for line in lines if line["level"] == "error"]

    return home.cluster.wait(errors, bool, "an error in the log")[-1]
