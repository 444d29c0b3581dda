"""The daemon or slurmctld in trouble: nothing is lost, nothing starts unadmitted, and afterwards all counts agree."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.integration import faults
from tests.integration.driver import Driver, watts

pytestmark = pytest.mark.cluster

SITE = faults.TWO_RACKS

Trouble = Callable[[Driver], AbstractContextManager[object]]
ADMIT = b"key=00112233445566778899aabbccddeeff&verdict=admit&message=go&n.priority=100\n"


# -- no answer at submit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(faults.dead, id="dead"),
        pytest.param(faults.hanging, id="hanging"),
        pytest.param(faults.missing, id="no socket"),
        pytest.param(lambda home: faults.impostor(home, b"\x00\xff rubbish"), id="rubbish"),
        pytest.param(lambda home: faults.impostor(home, b"verdict=" + b"x" * 100_000), id="endless rubbish"),
        pytest.param(lambda home: faults.impostor(home, b"verdict=admit&message=go\n"), id="an answer without key"),
        pytest.param(lambda home: faults.impostor(home, ADMIT, owner="bob"), id="another user's socket"),
    ],
)
def test_without_an_answer_jobs_are_held_and_admitted_later(home: Driver, trouble: Trouble) -> None:
    cluster = home.cluster
    srun = cluster.background("srun", "--comment=power:est=1kW", "sleep", "1", user="carol")
    with ExitStack() as meanwhile:
        with trouble(home):
            plain, said = home.told("mine power:est=2kW")
            assert "held" in said, said
            home.est[plain] = 2_000
            array = home.submit("--array=1-3", est_w=1_000, user="bob")
            own_hold = home.submit("--hold", est_w=1_000)
            waits = meanwhile.enter_context(srun)
            for job_id in (plain, array, own_hold):
                job = cluster.job(job_id)
                assert (job["JobState"], job["Priority"]) == ("PENDING", "0"), job
                assert "v=hold" in job["AdminComment"], job
            assert not home.scontrol("release", str(plain), user="alice")
            assert not home.scontrol("update", f"jobid={plain}", "comment=nothing", user="alice")
            assert not home.on_nodes()
        home.running(plain)
        assert cluster.job(plain)["Comment"] == "mine"  # scontrol's line, cut at the space
        cluster.wait(lambda: len(home.on_nodes()), lambda count: count >= 4, "the array's three tasks")
        assert waits.wait(60) == 0
    home.agree()
    assert home.state(own_hold) == "parked"
    assert cluster.job(own_hold)["Priority"] == "0"
    # after several time-outs the hook does not ask for a while, and denies
    cluster.wait(lambda: home.scontrol("release", str(own_hold), user="alice"), bool, "the hook to ask again")
    home.running(own_hold)
    home.agree()


# -- killed while many submit ----------------------------------------------------------------------------------------

SUBMISSIONS = 200
USERS = ("alice", "bob", "carol")


@pytest.mark.long
def test_200_submissions_while_the_daemon_is_killed(home: Driver) -> None:
    """None is lost, none starts without an admission, none is counted twice; `home` watches the budgets meanwhile."""
    begun = int(time.time())
    dice = random.Random(20_22)
    orders = [_order(dice, number) for number in range(SUBMISSIONS)]
    with ThreadPoolExecutor(4) as pool:
        submitted = [pool.submit(_submit, home, order) for order in orders]
        kills = 0
        while not all(job.done() for job in submitted):
            time.sleep(dice.uniform(0.0, 0.6))
            faults.kill(home.cluster, faults.DAEMON)
            time.sleep(dice.uniform(0.0, 0.6))
            home.cluster.start(faults.DAEMON)
            kills += 1
    assert kills >= 4
    ids = [job.result() for job in submitted]
    assert len(set(ids)) == SUBMISSIONS
    home.agree()  # in the middle of it
    wanted = {job_id: order.tasks for job_id, order in zip(ids, orders, strict=True)}

    def all_done(done: Counter[int]) -> bool:
        return all(done[job] >= tasks for job, tasks in wanted.items())

    home.cluster.wait(lambda: _completed(home), all_done, "all jobs to complete")
    ended = [job for job in home.jobs() if (job["array_job_id"] or job["job_id"]) in wanted]
    assert Counter(job["array_job_id"] or job["job_id"] for job in ended) == wanted
    assert all("v=admit" in job["admin_comment"] for job in ended)
    assert not [line for line in home.ask("report", since=begun)["decisions"] if line["action"] == "found-running-over"]


@dataclass(frozen=True, slots=True)
class Order:
    """A submission of the storm."""

    pause_s: float
    user: str
    est_w: int
    tasks: int
    options: tuple[str, ...]


def _order(dice: random.Random, number: int) -> Order:
    tasks = dice.choice((1, 1, 1, 1, 3))
    array = (f"--array=0-{tasks - 1}",) if tasks > 1 else ()
    nodes = (f"--nodes={dice.choice((1, 1, 1, 2))}",) if tasks == 1 else ()
    est_w = dice.choice((300, 700, 1_500, 4_000))
    return Order(dice.uniform(0, 0.5), USERS[number % 3], est_w, tasks, (*array, *nodes))


def _submit(home: Driver, order: Order) -> int:
    time.sleep(order.pause_s)
    return home.submit(*order.options, est_w=order.est_w, user=order.user, script="sleep 1")


def _completed(home: Driver) -> Counter[int]:
    """How many tasks of each job have come to their end."""
    return Counter(job["array_job_id"] or job["job_id"] for job in home.jobs() if job["job_state"] == "COMPLETED")


# -- requeued while the daemon is dead -------------------------------------------------------------------------------


def test_native_preemption_while_the_daemon_is_dead(home: Driver) -> None:
    """Slurm preempts by itself; the preempted job, its old licences still on it, is not let start again."""
    cluster = home.cluster
    bronze = home.submit("--exclusive", "--nodelist=a1", est_w=5_000, user="bob")
    home.running(bronze)
    gold = home.submit("--exclusive", "--nodelist=a1", "--qos=gold", est_w=12_000)
    _check_admitted(home, gold)
    with faults.dead(home):
        home.running(gold)
        requeued = cluster.wait_job(bronze, "PENDING")
        assert (requeued["Restarts"], requeued["Priority"] != "0") == ("1", True)
        assert "pw_a:5000" in requeued["Licenses"]
        home.may_start_now(bronze, "reqnodelist=a2")
        _denied_again(home, bronze)
    _turned_away(home, bronze)
    assert home.agree()["a"] == 12_000
    home.may_start_now(bronze)
    home.running(bronze)
    assert home.agree()["a"] == 17_000


@pytest.mark.parametrize("script", ["sleep 300", "exit 0"], ids=["running", "finished"])
def test_a_requeue_by_the_user_while_the_daemon_is_dead(home: Driver, script: str) -> None:
    """A requeued job, or a finished one that its owner brings back to life, goes through admission again."""
    cluster = home.cluster
    job_id = home.submit("--requeue", est_w=15_000, more=",zones=a", script=script)
    if script == "exit 0":
        cluster.wait_job(job_id, "COMPLETED")
    else:
        home.running(job_id)
        waits = home.submit(est_w=16_000, more=",zones=a", user="carol")
        home.held(waits)
    with faults.dead(home):
        cluster.run("scontrol", "requeue", str(job_id), user="alice")
        cluster.wait_job(job_id, "PENDING")
        home.may_start_now(job_id)
        _denied_again(home, job_id)
    if script == "exit 0":
        _turned_away(home, job_id)
        home.may_start_now(job_id)
        cluster.wait_job(job_id, "COMPLETED")
    else:
        home.running(waits)  # its watts were free, and it was the first that could take them
        _turned_away(home, job_id)
        assert home.agree()["a"] == 16_000
        cluster.run("scancel", str(waits))
        home.may_start_now(job_id)
        home.running(job_id)
    home.agree()


def _denied_again(home: Driver, job_id: int) -> None:
    """Wait until the gate has turned away a job that was requeued once."""
    home.cluster.wait(lambda: home.cluster.job(job_id), lambda job: job["Restarts"] == "2", "the gate to deny")
    assert home.cluster.wait_job(job_id, "PENDING", "RUNNING")["JobState"] == "PENDING"


def _check_admitted(home: Driver, job_id: int) -> None:
    """The daemon may not have seen the job's number yet."""
    job = home.cluster.job(job_id)
    assert job["JobState"] == "PENDING"
    assert job["Priority"] != "0"
    assert "v=admit" in job["AdminComment"]


def _turned_away(home: Driver, job_id: int) -> dict[str, str]:
    """Wait until a job is held without a claim, in the queue or until Slurm finds it eligible; its fields in Slurm."""

    def held(job: dict[str, str]) -> bool:
        return (job["JobState"], job["Priority"]) == ("PENDING", "0") and home.state(job_id) in ("waiting", "parked")

    return home.cluster.wait(lambda: home.cluster.job(job_id), held, f"job {job_id} to be held")


# -- the launch gate denies ------------------------------------------------------------------------------------------


def test_a_limit_lowered_between_admission_and_start(unwatched: Driver) -> None:
    """The gate turns the job away; it is held with the reason, and runs when there is room again.

    Unwatched: Slurm shows a job that was turned away as COMPLETING on its nodes, as if it had drawn something.
    """
    home = unwatched
    runs = home.submit(est_w=8_000, more=",zones=a")
    home.running(runs)
    job_id = home.submit(est_w=8_000, more=",zones=a")
    _check_admitted(home, job_id)
    with limits(home, a="15kW"):
        assert _turned_away(home, job_id)["Restarts"] == "1"
        told = home.ask("explain", job=str(job_id))
        assert told["verdict"] == "hold", told
        assert "a lacks 2kW" in told["note"], told
        assert home.agree()["a"] == 8_000
    home.may_start_now(job_id)
    home.running(job_id)
    assert home.agree()["a"] == 16_000


@pytest.mark.parametrize("room_comes", [True, False], ids=["room comes", "no room"])
def test_an_interactive_job_waits_at_the_gate_within_bounds(unwatched: Driver, room_comes: bool) -> None:
    """A denial would kill it, so the gate waits first: `gate_wait` of 8 s at most."""
    home, cluster = unwatched, unwatched.cluster
    node = home.submit("--exclusive", "--nodelist=a1", est_w=1_000)
    runs = home.submit("--exclude=a1", est_w=8_000, more=",zones=a")
    home.running(node, runs)
    argv = ("srun", "--comment=power:est=8kW,zones=a", "--exclusive", "--nodelist=a1", "--job-name=waits", "true")
    with cluster.background(*argv, user="alice") as waits:
        job_id = home.id_of("waits")
        cluster.wait(lambda: cluster.job(job_id)["Priority"], lambda priority: priority != "0", "its release")
        _check_admitted(home, job_id)
        with limits(home, a="15kW"):
            cluster.run("scancel", str(node))
            assert cluster.wait_job(job_id, "CONFIGURING", "RUNNING", "COMPLETED")["JobState"] == "CONFIGURING"
            if not room_comes:
                cluster.wait_job(job_id, "CANCELLED")
                assert [job["job_id"] for job in home.on_nodes()] == [runs]
        if room_comes:
            cluster.wait_job(job_id, "COMPLETED")
        assert (waits.wait(60) == 0) == room_comes


@contextmanager
def limits(home: Driver, **kilowatts: str) -> Iterator[None]:
    """Other limits of zones for a while, in force by SIGHUP."""

    def put(wanted: Mapping[str, str]) -> None:
        def change(data: dict[str, Any]) -> None:
            for zone, limit in wanted.items():
                data["zones"][zone]["limit"] = limit

        home.change_site(change)
        in_watts = {zone: watts(limit) for zone, limit in wanted.items()}
        home.cluster.wait(home.limits, lambda found: found.items() >= in_watts.items(), "the new limits")

    before = yaml.safe_load(SITE)["zones"]
    put(kilowatts)
    try:
        yield
    finally:
        put({zone: before[zone]["limit"] for zone in kilowatts})
