"""The daemon or slurmctld in trouble: nothing is lost, nothing starts unadmitted, and afterwards all counts agree."""

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurm_power.sandbox import build
from tests.integration import faults
from tests.integration.conftest import Starter, new_root
from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = """\
defaults: {margin: 0%, max_factor: 1}
hook: {token_ttl: 5s, gate_wait: 8s}
feeds:
  left:  {side: A, limit: 35kW}
  right: {side: B, limit: 35kW}
zones:
  a: {nodes: "a[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
  b: {nodes: "b[1-4]", feeds: [left, right], redundancy: 2N, limit: 20kW, baseline: 1kW}
partitions:
  work: {zones: "a,b"}
"""
Trouble = Callable[[Driver], AbstractContextManager[object]]
ADMIT = b"key=00112233445566778899aabbccddeeff&verdict=admit&message=go&n.priority=100\n"


@pytest.fixture(scope="module")
def site(start_cluster: Starter, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    path: Path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text(SITE)
    return Driver.of(start_cluster(build.Options(new_root(), site=path, gpus=0)))


@pytest.fixture
def home(site: Driver) -> Iterator[Driver]:
    with site.watched():
        yield site
    site.cancel_all()
    assert set(site.agree().values()) == {0}


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
    with trouble(home):
        said = cluster.call(
            "sbatch", "--parsable", "--output=/dev/null", "--comment=mine power:est=2kW", user="alice",
            stdin="#!/bin/sh\nsleep 300\n",
        )
        assert said.returncode == 0, said.stderr
        assert "held" in said.stderr, said.stderr
        plain = int(said.stdout)
        home.est[plain] = 2_000
        array = home.submit("--array=1-3", est_w=1_000, user="bob")
        own_hold = home.submit("--hold", est_w=1_000)
        waits = subprocess.Popen(
            ("runuser", "-u", "carol", "--", "srun", "--comment=power:est=1kW", "sleep", "1"), env=cluster.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
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
    assert home.scontrol("release", str(own_hold), user="alice")
    home.running(own_hold)
    home.agree()


# -- killed while many submit ----------------------------------------------------------------------------------------

SUBMISSIONS = 200
USERS = ("alice", "bob", "carol")


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
    home.cluster.wait(lambda: _completed(home), lambda done: done.keys() >= wanted.keys() and sum(
        done[job_id] for job_id in wanted) == sum(wanted.values()), "all jobs to complete")
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
    return Order(dice.uniform(0, 0.5), USERS[number % 3], dice.choice((300, 700, 1_500, 4_000)), tasks, (*array, *nodes))


def _submit(home: Driver, order: Order) -> int:
    time.sleep(order.pause_s)
    return home.submit(*order.options, est_w=order.est_w, user=order.user, script="sleep 1")


def _completed(home: Driver) -> Counter[int]:
    """How many tasks of each job have come to their end."""
    return Counter(job["array_job_id"] or job["job_id"] for job in home.jobs() if job["job_state"] == "COMPLETED")
