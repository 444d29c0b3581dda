"""Users, real ones, who try to get watts that nobody admitted. In this whole module no budget is ever passed."""

import os
import pwd
import re
from collections.abc import Iterator

import pytest

from tests.integration.driver import Driver, wait_for

pytestmark = pytest.mark.cluster

BOUND = ("Licenses", "Features", "QOS", "NumNodes", "Comment", "Partition", "Account", "AdminComment", "ReqNodeList",
         "ExcNodeList", "Priority", "TRES", "JobName")
"""What a refused change leaves as it was, if the job has not changed its state meanwhile."""


@pytest.fixture(scope="module")
def site(racks: Driver) -> Iterator[Driver]:
    root = ("reservationname=nodes", "starttime=now+1hours", "duration=60", "nodes=b2", "users=alice")
    racks.cluster.run("scontrol", "create", "reservation", *root)
    yield racks
    racks.cluster.run("scontrol", "delete", "reservationname=nodes")


@pytest.fixture(scope="class")
def targets(site: Driver) -> Iterator[dict[str, int]]:
    """A job of alice's in each state, for changes that leave no trace."""
    found = {
        "running": site.submit("--time=10", est_w=9_000, more=",zones=c"),
        "admitted": site.submit("--time=10", "--partition=closed", est_w=1_000, more=",zones=a"),
        "held": site.submit("--time=10", est_w=12_000, more=",zones=c"),
    }
    site.running(found["running"])
    site.cluster.wait(lambda: site.state(found["admitted"]), lambda state: state == "admitted", "the admission")
    site.held(found["held"])
    yield found
    site.cancel_all()


def bound(site: Driver, job_id: int) -> dict[str, str]:
    job = site.cluster.job(job_id)
    return {name: job.get(name, "").replace("(null)", "") for name in BOUND}


CHANGES = (
    "licenses=", "licenses=pw_c:1", "licenses=pw_a:1,pw_b:1", "features=pw_b", "features=pw_b&pw_c", "nice=-1",
    "qos=gold", "priority=1000", "comment=power:est=1W", "dependency=expand:1", "account=ops", "partition=lab",
    "admincomment=power:id=mine,v=admit,zones=c/1/1/1", "admincomment=", "numnodes=99", "nodelist=l1",
    "deadline=now+60", "prefer=pw_b", "prefer=x",
    "features=", "qos=silver", "numnodes=2", "comment=", "partition=main", "partition=closed", "account=research",
    "reservationname=nodes", "gres=gpu:1", "gres=", "nodelist=b1", "excnodelist=c1", "numcpus=64", "numtasks=64",
    "dependency=singleton", "requeue=0", "contiguous=yes",
)
"""Refused once watts are promised, or without effect."""


OF_HELD = ("licenses=", "licenses=pw_c:1", "licenses=pw_c:0;x", "features=pw_b", "features=[pw_a|pw_b]", "nice=-1",
           "priority=1000", "dependency=expand:1", "comment=power:id=mine,v=admit", "comment=power:est=-1W",
           "admincomment=power:id=mine,v=admit,zones=c/1/1/1", "admincomment=")
"""Refused, or without effect, while a job is held for power; a user may change the rest, and it is read anew."""


class TestChanges:
    """By `scontrol`, of jobs that are there for all of these tests."""

    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("state", ["running", "admitted"])
    def test_what_was_admitted_stays(self, site: Driver, targets: dict[str, int], state: str, change: str) -> None:
        job_id = targets[state]
        before = bound(site, job_id)
        site.scontrol("update", f"jobid={job_id}", change, user="alice")
        assert bound(site, job_id) == before
        assert site.state(job_id) == state

    @pytest.mark.parametrize("change", OF_HELD)
    def test_a_held_job_gets_no_watts_by_a_change(self, site: Driver, targets: dict[str, int], change: str) -> None:
        before = bound(site, targets["held"])
        site.scontrol("update", f"jobid={targets['held']}", change, user="alice")
        assert bound(site, targets["held"]) == before

    def test_a_power_hold_is_not_for_users_to_lift(self, site: Driver, targets: dict[str, int]) -> None:
        job_id = targets["held"]
        update = ("update", f"jobid={job_id}")
        for user in ("alice", "bob"):
            for words in (("release", str(job_id)), (*update, "priority=500")):
                assert not site.scontrol(*words, user=user), (user, words)
            site.scontrol(*update, "nice=0", user=user)
        site.still_held(job_id)

    def test_holding_it_oneself_and_releasing_changes_nothing(self, site: Driver, targets: dict[str, int]) -> None:
        job_id = str(targets["held"])
        assert site.scontrol("hold", job_id, user="alice")
        site.scontrol("release", job_id, user="alice")
        site.scontrol("release", job_id, user="alice")
        site.still_held(targets["held"])


def test_a_held_job_that_asks_for_less_is_read_anew(home: Driver) -> None:
    home.running(home.submit(est_w=9_000, more=",zones=c"))
    job_id = home.submit(est_w=12_000, more=",zones=c")
    home.held(job_id)
    assert home.scontrol("update", f"jobid={job_id}", "comment=power:est=8kW,zones=c", user="alice")
    home.est[job_id] = 8_000
    home.running(job_id)
    assert home.agree()["c"] == 17_000


def test_a_held_job_that_leaves_our_zones_runs_without_watts(home: Driver) -> None:
    home.running(home.submit(est_w=9_000, more=",zones=c"))
    job_id = home.submit(est_w=12_000, user="bob")
    other = home.submit(est_w=16_500, user="bob")
    home.held(other)
    assert home.scontrol("update", f"jobid={other}", "partition=lab", user="bob")
    home.running(other)
    home.running(job_id)
    assert home.cluster.job(other)["NodeList"] == "l1"
    home.agree()


def test_the_time_limit_may_shrink(home: Driver) -> None:
    job_id = home.submit("--time=10", est_w=1_000)
    home.running(job_id)
    assert home.scontrol("update", f"jobid={job_id}", "timelimit=5", user="alice")
    assert home.cluster.job(job_id)["TimeLimit"] == "00:05:00"
    assert not home.scontrol("update", f"jobid={job_id}", "timelimit=60", user="alice")
    assert home.cluster.job(job_id)["TimeLimit"] == "00:05:00"


def test_a_throttle_that_is_lifted_past_us(home: Driver) -> None:
    """Slurm applies it before it asks; what then starts is still only what fits."""
    array = home.submit("--array=1-6%1", est_w=7_000, more=",zones=c", script="sleep 2")
    home.cluster.wait(lambda: len(home.on_nodes()), lambda count: count == 1, "the first task")
    home.scontrol("update", f"jobid={array}", "arraytaskthrottle=0", user="alice")
    home.scontrol("update", f"jobid={array}", "arraytaskthrottle=0", user="bob")
    home.cluster.wait(
        lambda: home.task_states(array),
        lambda states: states == ["COMPLETED"] * 6,
        "all tasks",
    )
    home.agree()


# -- at submit --------------------------------------------------------------------------------------------------


REFUSED = (
    ("--licenses=pw_c:1", "pw_"),
    ("--licenses=other,pw_c:0", "pw_"),
    ("--licenses=pw_c:1;pw_a", "pw_"),
    ("--constraint=pw_c", "pw_"),
    ("--constraint=[pw_a|pw_c]", "pw_"),
    ("--constraint=[pw_a*1&pw_c*1]", "pw_"),
    ("--prefer=pw_c", "pw_"),
    ("--dependency=expand:1", "expand"),
    ("--qos=gold", "qos"),
    ("--comment=power:est=1kW,tier=gold", "qos"),
    ("--comment=power:est=0", "est"),
    ("--comment=power:est=-5kW", "est"),
    ("--comment=power:est=1e9kW", "est"),
    ("--comment=power:est=99999999999999999999W", "est"),
    ("--comment=power:est=nan", "est"),
    ("--comment=power:est=٣kW", "est"),
    ("--comment=power:est=5kW,max=4kW", "max"),
    ("--comment=power:est=5kW,est=1W", "est"),
    ("--comment=power:est=5kW power:est=1W", "power:"),
    ("--comment=power:id=mine,v=admit,zones=c/1/1/1", "id"),
    ("--comment=power:est=1kW,preemptible=no", "preempt"),
    ("--comment=power:est=17001W", "17"),
    ("--comment=power:est=1kW,zones=lab[1-99999999]", "zones"),
    ("--nodelist=" + ",".join(f"n{index}" for index in range(9_999)), ""),
    ('--comment={"estimatedPowerKW": -1}', "estimatedPowerKW"),
    ('--comment={"estimatedPowerKW": 1e308}', "estimatedPowerKW"),
    ('--comment={"estimatedPowerKW": 1, "estimatedPowerKW": 2}', "estimatedPowerKW"),
)


@pytest.mark.parametrize(("option", "says"), REFUSED)
def test_refused_at_submit(site: Driver, option: str, says: str) -> None:
    claims = {job["job"] for job in site.ask("jobs")["jobs"] if job["state"] == "admitted"}
    done = site.cluster.call("sbatch", option, "--output=/dev/null", "--wrap=sleep 60", user="carol")
    site.cluster.run("scancel", "--user=carol")
    assert done.returncode != 0, done
    assert says in done.stderr.lower() or says in done.stderr
    now = {job["job"] for job in site.ask("jobs")["jobs"] if job["state"] == "admitted"}
    if "gold" not in option:  # that one is Slurm's to refuse, after us
        assert now <= claims


@pytest.mark.parametrize(
    "option", ["--licenses=pw_c:1", "--constraint=pw_c", "--prefer=pw_c", "--dependency=expand:1"]
)
def test_refused_without_the_daemon_too(home: Driver, option: str) -> None:
    with home.away():
        assert home.cluster.call("sbatch", option, "--wrap=sleep 60", user="carol").returncode != 0


INJECTIONS = (
    'power:est=1kW; ","verdict":"admit","x":"',
    'power:est=1kW\n","admin_comment":"power:id=mine,v=free',
    "power:est=1kW;\n{\"v\":1,\"op\":\"submit\"}\n",
    "power:est=1kW; &set.priority=5&n.priority=5&verdict=pass&key=",
    "power:est=1kW; %s%n%d%00%0a\\u0000\\",
    "power:est=1kW; \x1b[2J\x1b]0;x\x07\x08\x7f",
    "power:est=1kW; JobId=1 AdminComment=power:id=mine,v=free\x1fLicenses=\x1f",
    "power:est=1kW;" + bytes(byte for byte in range(1, 256)).decode("utf-8", "surrogateescape"),
)


@pytest.mark.parametrize("comment", INJECTIONS)
def test_a_comment_is_only_a_comment(home: Driver, comment: str) -> None:
    name = f"x\nJobId=1 AdminComment=power:id=mine,v=free {comment[:40]}"
    job_id = home.submit_as_is(f"--comment={comment}", f"--job-name={name}", est_w=1_000, user="carol")
    home.cluster.wait(lambda: [job["job_id"] for job in home.on_nodes()], lambda ids: ids == [job_id], "it to run")
    job = next(job for job in home.on_nodes())
    assert re.fullmatch(r"power:id=[\w.-]+,v=admit,tier=bronze,(n=\w+,)?zones=[abc]/1/1000/1000", job["admin_comment"])
    assert re.match(r"pw_[abc]:1000\b", job["licenses"])
    assert sum(home.agree()[zone] for zone in "abc") == 1_000
    assert home.ask("health")["failures"] == 0


@pytest.mark.parametrize("comment", INJECTIONS[1:3])
def test_nor_is_it_more_without_the_daemon(home: Driver, comment: str) -> None:
    with home.away():
        job_id = home.submit_as_is(
            f"--comment={comment}", f"--job-name=x\n{comment}", est_w=1_000, user="carol"
        )
        job = next(job for job in home.jobs() if job["job_id"] == job_id)
        assert re.fullmatch(r"power:id=lua-\w+,v=hold,hold=power", job["admin_comment"])
        home.scontrol("release", str(job_id), user="carol")
        assert next(job for job in home.jobs() if job["job_id"] == job_id)["job_state"] == "PENDING"
    home.cluster.wait(lambda: [job["job_id"] for job in home.on_nodes()], lambda ids: ids == [job_id], "it to run")


def mark(home: Driver, nodes: str, features: str) -> None:
    both = (f"availablefeatures={features}", f"activefeatures={features}")
    home.cluster.run("scontrol", "update", f"nodename={nodes}", *both)


@pytest.fixture
def fast_nodes(home: Driver) -> Iterator[None]:
    """One in rack a and one in rack c has a feature of the site's own."""
    for node in ("a1", "c1"):
        mark(home, node, f"pw_{node[0]},fast")
    yield
    for node in ("a1", "c1"):
        mark(home, node, f"pw_{node[0]}")


@pytest.mark.usefixtures("fast_nodes")
def test_a_preference_does_not_lead_past_the_zone(home: Driver) -> None:
    """Slurm takes nodes that `--prefer` finds in place of those that the job is bound to."""
    bound_to_b = home.submit("--prefer=fast", est_w=9_000, more=",zones=b")
    bound_to_c = home.submit("--prefer=fast", est_w=2_000, more=",zones=c")
    home.running(bound_to_b, bound_to_c)
    waits = home.submit("--prefer=fast", est_w=9_000, more=",zones=b")
    home.held(waits)
    assert not home.scontrol("update", f"jobid={waits}", "prefer=fast", user="alice")
    home.cluster.run("scancel", str(bound_to_b))
    home.running(waits)
    nodes = [home.cluster.job(job_id)["NodeList"] for job_id in (bound_to_b, bound_to_c, waits)]
    assert [node[0] for node in nodes] == ["b", "c", "b"]
    home.agree()


# -- rumours ----------------------------------------------------------------------------------------------------


def test_trials_in_a_loop_keep_nobody_out(home: Driver) -> None:
    """bob fills a rack with submissions that never come; carol's real job starts all the same."""
    bob = str(pwd.getpwnam("bob").pw_uid)  # so he is called until Slurm has shown a job of his

    def flood() -> None:
        for _ in range(6):
            home.cluster.call(
                "sbatch", "--test-only", "--comment=power:est=6kW,zones=c", "--wrap=true", user="bob"
            )
        jobs = home.ask("jobs")["jobs"]
        rumours = [job["est_w"] for job in jobs if job["user"] == bob and job["state"] == "admitted"]
        assert sum(rumours) <= 12_000  # the cap of one user

    flood()
    job_id = home.submit(est_w=16_000, more=",zones=c", user="carol")

    def stands() -> tuple[str, object]:
        flood()
        return home.cluster.job(job_id)["JobState"], home.entries(job_id)

    home.cluster.wait(stands, lambda seen: seen[0] == "RUNNING", "carol's job to run beside bob's trials")
    flood()
    assert not [job for job in home.ask("jobs")["jobs"] if job["user"] == bob and job["state"] == "admitted"]


# -- old watts --------------------------------------------------------------------------------------------------


def brought_back(home: Driver) -> int:
    """A finished job that its owner has requeued: it is pending, with everything it was admitted with."""
    job_id = home.submit("--requeue", est_w=9_000, more=",zones=c", script="true")
    home.cluster.wait_job(job_id, "COMPLETED")
    wait_for(lambda: home.ledger()["c"] == 0, "its claim to go")
    return job_id


def test_a_finished_job_brought_back_is_admitted_anew(home: Driver) -> None:
    job_id = brought_back(home)
    other = home.submit(est_w=10_000, more=",zones=c")
    home.running(other)
    home.cluster.run("scontrol", "requeue", str(job_id), user="alice")
    home.may_start_now(job_id)
    home.still_held(job_id)
    home.cluster.run("scancel", str(other))
    home.cluster.wait_job(job_id, "COMPLETED")


def test_a_finished_job_does_not_start_again_without_the_daemon(home: Driver) -> None:
    """Its licences and its record are whole, but the record was for its first start."""
    job_id = brought_back(home)
    with home.away():
        home.cluster.run("scontrol", "requeue", str(job_id), user="alice")
        home.may_start_now(job_id)
        home.cluster.wait(
            lambda: home.cluster.job(job_id),
            lambda job: (job["Restarts"], job["JobState"]) == ("2", "PENDING"),
            "the gate to turn it away",
        )


def test_requeue_in_a_loop(home: Driver) -> None:
    """Each start is admitted for itself, also when its owner holds and releases it in between."""
    job_id = home.submit("--requeue", est_w=9_000, more=",zones=c")
    home.running(job_id)
    assert home.scontrol("requeuehold", str(job_id), user="alice")
    home.cluster.wait_job(job_id, "PENDING")
    other = home.submit(est_w=10_000, more=",zones=c")
    home.running(other)
    home.scontrol("release", str(job_id), user="alice")
    home.may_start_now(job_id)
    home.still_held(job_id)


# -- many -------------------------------------------------------------------------------------------------------


def test_two_hundred_at_once(home: Driver) -> None:
    """Forty-five fit at a time; `watched` looks all the while."""
    script = "for i in $(seq 200); do sbatch -Q -o /dev/null --comment=power:est=1kW --wrap='sleep 0.3'; done"
    home.cluster.run("sh", "-c", script, user="bob")
    home.cluster.wait(
        lambda: [job["job_state"] for job in home.jobs() if job["user_name"] == "bob" and job["name"] == "wrap"],
        lambda states: len(states) >= 200 and set(states) == {"COMPLETED"},
        "all two hundred",
    )
    assert set(home.agree().values()) == {0}


def test_on_real_accounts(site: Driver) -> None:
    """The rest of this module proves little if everybody is root."""
    assert os.geteuid() == 0
    assert [user["name"] for user in site.cluster.status()["users"]] == ["alice", "bob", "carol"]
