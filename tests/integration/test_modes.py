"""observe, advise, enforce: switched on without risk, switched off at once, and only by those who may."""

import json
from typing import Any

import pytest

from slurm_power.core.errors import DaemonUnreachable
from tests.integration import faults
from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = faults.TWO_RACKS


@pytest.fixture
def home(unwatched: Driver) -> Driver:
    """In enforce; nothing is left behind."""
    unwatched.change_site(lambda data: data.update(mode="enforce", enforce="all"))
    unwatched.ask("mode", mode="enforce")
    return unwatched


def crowd(home: Driver) -> tuple[int, int]:
    """A job that runs, and one that is held because of it."""
    runs = home.submit(est_w=15_000, more=",zones=a")
    home.running(runs)
    waits = home.submit(est_w=10_000, more=",zones=a", user="bob")
    home.held(waits)
    return runs, waits


def counted(home: Driver, job_id: int, rack_w: int) -> None:
    """Wait until a job runs and the daemon has so many watts in rack a: where nothing is held, it counts what runs."""
    home.running(job_id)
    home.cluster.wait(lambda: home.ledger()["a"], lambda found: found == rack_w, "what runs to be counted")


def ask_as(home: Driver, user: str, **request: object) -> dict[str, Any]:
    """What the daemon answers a user, over nothing but its socket."""
    script = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
        "s.sendall(sys.argv[2].encode()+b'\\n'); print(s.makefile().readline())"
    )
    control = str(home.cluster.layout.run / "control.sock")
    said = home.cluster.run("/usr/bin/python3", "-c", script, control, json.dumps({"v": 1, **request}), user=user)
    answer: dict[str, Any] = json.loads(said)
    return answer


# -- observe and advise ----------------------------------------------------------------------------------------------


def test_observe_holds_nothing_and_records_what_it_would_have_done(home: Driver) -> None:
    home.ask("mode", mode="observe")
    first, quiet = home.told("power:est=15kW,zones=a")
    counted(home, first, 15_000)
    second, quiet_too = home.told("power:est=10kW,zones=a", user="bob")
    never, _ = home.told("power:est=nonsense", user="bob")
    assert (quiet, quiet_too) == ("", "")
    home.running(second, never)
    job = home.cluster.job(second)
    assert (job["Licenses"], job["Features"]) == ("(null)", "(null)")
    report = home.ask("report", would=True)["counts"]
    assert {"would-admit", "would-hold", "would-reject"} <= report.keys(), report
    home.cluster.run("scancel", str(never))
    counted(home, second, 25_000)


def test_advise_says_it_and_holds_nothing(home: Driver) -> None:
    home.ask("mode", mode="advise")
    first, said = home.told("power:est=15kW,zones=a")
    assert "slurm_power: would be admitted to a" in said, said
    counted(home, first, 15_000)
    second, said = home.told("power:est=10kW,zones=a")
    assert "slurm_power: would be held: zone a is short of power" in said, said
    home.running(second)


def test_without_the_daemon_observe_holds_nothing_either(home: Driver) -> None:
    home.ask("mode", mode="observe")
    with faults.dead(home):
        job_id = home.submit(est_w=15_000)
        home.running(job_id)
    assert home.ask("mode")["mode"] == "observe"


# -- the panic switch ------------------------------------------------------------------------------------------------


def test_observe_releases_every_power_hold_and_only_those(home: Driver) -> None:
    """Back in enforce, all that runs is counted, and what comes next is held again."""
    cluster = home.cluster
    _, waits = crowd(home)
    own = home.submit("--hold", est_w=1_000)
    both = home.submit(est_w=18_000, more=",zones=a", user="carol")
    array = home.submit("--array=1-2", est_w=18_000, more=",zones=a", user="carol")
    het = home.submit_as_is(
        "--comment=power:est=18kW,zones=a", ":", "--comment=power:est=1kW", est_w=0, user="bob"
    )
    home.held(both)
    home.held(array)
    cluster.run("scontrol", "hold", str(both), user="carol")
    changed = home.ask("mode", mode="observe")
    assert changed["mode"] == "observe"
    assert changed["released"] >= 4
    home.running(waits)
    cluster.wait(lambda: home.task_states(array), lambda states: states == ["RUNNING"] * 2, "the array's tasks")
    cluster.wait_job(het, "RUNNING")
    for job_id, user in ((own, "alice"), (both, "carol")):
        assert cluster.job(job_id)["Priority"] == "0"
        assert cluster.job(job_id)["JobState"] == "PENDING"
        cluster.run("scontrol", "release", str(job_id), user=user)
        home.running(job_id)
    home.est |= {het: 18_000, het + 1: 1_000}
    home.ask("mode", mode="enforce")
    late = home.submit(est_w=1_000, more=",zones=a")
    home.held(late)
    cluster.wait(lambda: (home.ledger(), home.loads()), lambda seen: seen[0] == seen[1], "all that runs to be counted")


def test_a_job_let_go_by_the_switch_is_held_again_in_enforce(home: Driver) -> None:
    """It did not start meanwhile, so it queues for its watts like any other."""
    crowd(home)
    late = home.submit("--begin=now+1hour", est_w=10_000, more=",zones=a")
    home.ask("mode", mode="observe")
    home.cluster.wait(lambda: home.cluster.job(late)["Priority"], lambda found: found != "0", "its release")
    home.ask("mode", mode="enforce")
    home.cluster.wait(lambda: home.cluster.job(late)["Priority"], lambda found: found == "0", "its hold")


def test_the_mode_survives_a_restart(home: Driver) -> None:
    home.ask("mode", mode="advise")
    faults.revive(home.cluster, faults.DAEMON)
    assert home.ask("mode")["mode"] == "advise"
    assert (home.cluster.layout.run / "hook.sock.mode").read_text() == "advise\n"


def test_killed_right_after_the_switch(home: Driver) -> None:
    """The mode is durable first; the holds that are left are taken off after the restart."""
    _, waits = crowd(home)
    with faults.fatal_scontrol(home, "update", after=False) as happened:
        with pytest.raises(DaemonUnreachable):
            home.ask("mode", mode="observe")
        assert happened()
    faults.has_died(home.cluster, faults.DAEMON)
    home.cluster.start(faults.DAEMON)
    assert home.ask("mode")["mode"] == "observe"
    home.running(waits)


def test_ordinary_users_may_not_change_the_mode(home: Driver) -> None:
    assert ask_as(home, "alice", op="mode")["result"]["mode"] == "enforce"
    for user in ("alice", "carol"):
        refused = ask_as(home, user, op="mode", mode="observe")
        assert (refused["ok"], "only root and SlurmUser" in refused["error"]) == (False, True)
    assert home.ask("mode")["mode"] == "enforce"


# -- the site file ---------------------------------------------------------------------------------------------------


def test_the_mode_in_the_site_file(home: Driver) -> None:
    """By SIGHUP it takes effect at once: holds are taken off; and it is still there after a restart."""
    _, waits = crowd(home)
    home.change_site(lambda data: data.update(mode="observe"))
    home.running(waits)
    assert home.ask("mode")["mode"] == "observe"
    home.ask("mode", mode="advise")
    home.change_site(lambda data: data.update(mode="enforce"))
    home.cluster.wait(lambda: home.ask("mode")["mode"], lambda mode: mode == "enforce", "the file's mode")
    faults.revive(home.cluster, faults.DAEMON)
    assert home.ask("mode")["mode"] == "enforce"


def test_enforce_for_reserved_work_alone(home: Driver) -> None:
    """Only jobs with a reservation are acted on; those held before are let go."""
    cluster = home.cluster
    runs, waits = crowd(home)
    cluster.run(
        "scontrol", "create", "reservation", "reservationname=guest", "users=alice", "starttime=now", "duration=60",
        "nodes=a1,b1", "flags=ignore_jobs",
    )
    try:
        home.change_site(lambda data: data.update(enforce="reserved"))
        home.running(waits)
        free = home.submit(est_w=12_000, more=",zones=a")
        home.running(free)
        reserved = home.submit("--reservation=guest", est_w=12_000, more=",zones=a")
        home.held(reserved)
        cluster.run("scancel", str(runs), str(free), str(waits))
        home.running(reserved)
        assert "pw_a:12000" in cluster.job(reserved)["Licenses"]
        assert "pw_" not in cluster.job(free)["Licenses"]
    finally:
        home.cancel_all()
        cluster.run("scontrol", "delete", "reservationname=guest")
