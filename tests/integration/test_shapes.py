"""Every shape of a job goes through admission, is charged by the task and by the node, and runs to its end."""

import json
import re
from pathlib import Path

import pytest
from ClusterShell.NodeSet import NodeSet

from tests.integration.driver import Driver, wait_for

pytestmark = pytest.mark.cluster


def record_of(job: dict[str, str]) -> str:
    """Standing, tier, restarts and charges of an admission record."""
    found = re.fullmatch(r"power:id=[\w.-]+,(\S*)", job["AdminComment"])
    assert found is not None, job["AdminComment"]
    return re.sub(r"\bn=\w+,", "", found[1])


# -- one job ----------------------------------------------------------------------------------------------------


def test_a_single_job_is_bound_to_its_zone(home: Driver) -> None:
    job_id = home.submit("--time=10", est_w=4_000, more=",max=5000W,zones=a")
    home.running(job_id)
    job = home.cluster.job(job_id)
    assert job["Licenses"] == "pw_a:4000,pw_f-a:4000,pw_f-b:4000"
    assert job["Features"] == "pw_a"
    assert record_of(job) == "v=admit,tier=bronze,zones=a/1/4000/5000"
    assert home.agree()["a"] == 4_000


def test_without_an_envelope_the_node_rating_counts_by_the_part_used(home: Driver) -> None:
    part = home.submit_as_is("--ntasks=16", est_w=2_000)  # 16 of 64 CPUs of a node of 8 kW
    whole = home.submit_as_is("--exclusive", est_w=8_000)
    cards = home.submit_as_is("--gpus=4", est_w=4_000)
    home.running(part, whole, cards)
    assert sum(home.agree()[zone] for zone in "abc") == 14_000


def test_what_the_user_wrote_beside_ours_stays(home: Driver) -> None:
    comment = "run 7; power:est=3kW; see\tnotes|é\"quoted\""
    job_id = home.submit_as_is(f"--comment={comment}", est_w=3_000)
    home.running(job_id)
    found = next(job for job in home.jobs() if job["job_id"] == job_id)
    assert found["comment"] == comment


@pytest.mark.parametrize("comment", ["nothing of ours", "powerful: est=5kW", "über~!@#$%^&*()", " lead and trail "])
def test_a_comment_that_is_not_ours_stays_byte_for_byte(home: Driver, comment: str) -> None:
    job_id = home.submit_as_is(f"--comment={comment}", est_w=125)
    home.running(job_id)
    assert next(job for job in home.jobs() if job["job_id"] == job_id)["comment"] == comment
    home.cluster.run("scancel", str(job_id))


def test_json_form(home: Driver) -> None:
    said = {"jobId": "train-7", "estimatedPowerKW": 4.5, "maxPowerKW": 6, "priority": "silver", "preemptible": True}
    job_id = home.submit_as_is(f"--comment={json.dumps(said)}", est_w=4_500)
    home.running(job_id)
    job = home.cluster.job(job_id)
    assert job["QOS"] == "silver"
    assert re.fullmatch(r"v=admit,tier=silver,zones=[abc]/1/4500/6000", record_of(job))


def test_class_and_tier(home: Driver) -> None:
    training = home.submit(est_w=1_000, more=",class=training")
    silver = home.submit(est_w=1_000, more=",tier=silver", user="bob")
    home.running(training, silver)
    assert [home.cluster.job(job_id)["QOS"] for job_id in (training, silver)] == ["silver", "silver"]
    over = home.cluster.call("sbatch", "--comment=power:est=9kW,class=training", "--wrap=true", user="alice")
    assert over.returncode != 0
    assert "training" in over.stderr
    assert "8kW" in over.stderr


def test_a_tier_without_its_qos_is_slurms_to_refuse(home: Driver) -> None:
    done = home.cluster.call("sbatch", "--comment=power:est=1kW,tier=gold", "--wrap=true", user="carol")
    assert done.returncode != 0
    assert "Invalid qos" in done.stderr
    wait_for(lambda: home.ask("health")["claims"] == 0, "the claim of the refused submission to go")


def test_a_trial_leaves_no_claim(home: Driver) -> None:
    done = home.cluster.call("sbatch", "--test-only", "--comment=power:est=9kW", "--wrap=true", user="alice")
    assert done.returncode == 0, done.stderr
    wait_for(lambda: home.ask("health")["claims"] == 0, "the claim of the trial to go", 10)
    assert set(home.agree().values()) == {0}


# -- arrays -----------------------------------------------------------------------------------------------------


def test_an_array_that_fits_starts_at_once(home: Driver) -> None:
    array = home.submit("--array=0-3", est_w=2_000, more=",zones=a")
    home.cluster.wait(lambda: len(home.on_nodes()), lambda count: count == 4, "all tasks on nodes")
    assert home.agree()["a"] == 8_000
    assert {job["licenses"] for job in home.on_nodes()} == {"pw_a:2000,pw_f-a:2000,pw_f-b:2000"}
    tasks = [f"{array}_{task}" for task in range(4)]  # the pending rest is forgotten by the next look at Slurm
    wait_for(lambda: sorted(entry["job"] for entry in home.entries(array)) == tasks, "an entry for each task alone")


def test_a_throttled_array_claims_what_may_run(home: Driver) -> None:
    """18 kW in all, 6 kW at a time; a job beside it gets the rest of the zone."""
    array = home.submit("--array=1-6%2", est_w=3_000, more=",zones=a", script="sleep 1")
    beside = home.submit(est_w=11_000, more=",zones=a")
    home.running(beside)
    home.cluster.wait(lambda: home.task_states(array), lambda states: states == ["COMPLETED"] * 6, "all tasks")
    assert home.agree()["a"] == 11_000


def test_an_array_larger_than_any_zone_goes_range_by_range(home: Driver, notes: Path) -> None:
    """60 kW of tasks on a pair that carries 28 and a rack of 17."""
    array = home.submit("--array=0-11", est_w=5_000, script=f"while [ ! -e {notes}/go ]; do sleep 0.5; done")
    home.cluster.wait(lambda: len(home.on_nodes()), lambda count: count >= 6, "several ranges on nodes")
    (notes / "go").touch()
    home.cluster.wait(lambda: home.task_states(array), lambda states: states == ["COMPLETED"] * 12, "all tasks")
    assert set(home.agree().values()) == {0}


# -- several nodes and components -------------------------------------------------------------------------------


def test_several_nodes_in_several_racks_are_charged_by_nodes(home: Driver) -> None:
    job_id = home.submit("--nodes=5", "--exclusive", est_w=10_000)
    home.running(job_id)
    job = home.cluster.job(job_id)
    nodes = [home.floor.zone_of[node] for node in NodeSet(job["NodeList"])]
    counts = {zone: nodes.count(zone) for zone in sorted(set(nodes))}
    assert sorted(counts.values()) == [1, 2, 2]
    assert job["Features"] == "[" + "&".join(f"pw_{zone}*{count}" for zone, count in counts.items()) + "]"
    assert {zone: home.agree()[zone] for zone in counts} == {zone: 2_000 * count for zone, count in counts.items()}


def test_watts_by_the_node(home: Driver) -> None:
    job_id = home.submit_as_is("--nodes=2", "--comment=power:est=3kW/node,zones=b", est_w=6_000)
    home.running(job_id)
    assert home.agree()["b"] == 6_000


def test_components_are_bound_together_or_not_at_all(home: Driver) -> None:
    blocker = home.submit(est_w=12_000, more=",zones=c")
    home.running(blocker)
    leader = home.submit_as_is(
        "--comment=power:est=2kW,zones=a", "--nodes=1", ":", "--comment=power:est=6kW,zones=c", "--nodes=2", est_w=2_000
    )
    home.est[leader + 1] = 6_000
    home.settle()
    components = [home.cluster.job(leader + offset) for offset in (0, 1)]
    assert [job["Priority"] for job in components] == ["0", "0"]
    assert home.agree()["a"] == 0
    home.cluster.run("scancel", str(blocker))
    home.running(leader, leader + 1)
    assert {zone: home.agree()[zone] for zone in "abc"} == {"a": 2_000, "b": 0, "c": 6_000}


# -- interactive ------------------------------------------------------------------------------------------------


def test_srun_and_salloc_run(home: Driver) -> None:
    said = home.cluster.run("srun", "--comment=power:est=2kW", "--nodes=2", "printenv", "SLURMD_NODENAME", user="alice")
    assert len(said.split()) == 2
    home.cluster.run("salloc", "--comment=power:est=2kW", "true", user="bob")


def test_srun_waits_while_held_and_runs_when_released(home: Driver) -> None:
    blocker = home.submit(est_w=15_000, more=",zones=c")
    home.running(blocker)
    argv = ("srun", "--job-name=wants", "--comment=power:est=4kW,zones=c", "echo", "ran")
    with home.cluster.background(*argv, user="alice") as srun:
        job_id = home.id_of("wants")
        home.still_held(job_id)
        assert srun.poll() is None
        home.cluster.run("scancel", str(blocker))
        output, errors = srun.communicate(timeout=60)
    assert (srun.returncode, output) == (0, "ran\n"), errors
    assert "held" in errors


@pytest.mark.parametrize("relents", [True, False])
def test_the_gate_lets_srun_wait_before_it_denies(site: Driver, relents: bool) -> None:
    """Admitted, waiting for its partition; then the rack is cut below its watts, and it gets its nodes."""
    options = (f"--job-name=gate{relents}", "--partition=closed", "--comment=power:est=10kW,zones=c")
    with site.cluster.background("srun", *options, "echo", "ran", user="alice") as srun:
        job_id = site.id_of(f"gate{relents}")
        site.cluster.wait(lambda: site.state(job_id), lambda state: state == "admitted", "the admission")
        site.change_site(lambda data: data["zones"]["c"].update(limit="8kW"))
        try:
            site.settle(1)
            site.cluster.run("scontrol", "update", "partition=closed", "state=up")
            site.cluster.wait_job(job_id, "CONFIGURING")
            if relents:
                site.settle(1)
                assert site.cluster.job(job_id)["JobState"] == "CONFIGURING"
                site.change_site(lambda data: data["zones"]["c"].update(limit="20kW"))
            output, errors = srun.communicate(timeout=60)
        finally:
            site.cluster.run("scontrol", "update", "partition=closed", "state=down")
            site.change_site(lambda data: data["zones"]["c"].update(limit="20kW"))
    assert output == ("ran\n" if relents else ""), errors
    assert (srun.returncode == 0) == relents
    site.cancel_all()


# -- later ------------------------------------------------------------------------------------------------------


def test_a_dependent_job_claims_when_it_may_start(home: Driver) -> None:
    first = home.submit(est_w=2_000, more=",zones=b", script="exec sleep 300")
    then = home.submit(f"--dependency=afterany:{first}", est_w=9_000, more=",zones=b")
    home.running(first)
    home.settle(1)
    assert home.state(then) == "parked"
    assert home.agree()["b"] == 2_000
    between = home.submit(est_w=15_000, more=",zones=b")
    home.running(between)
    home.cluster.run("scancel", str(first))
    home.still_held(then)  # eligible by now, but there is no room
    home.cluster.run("scancel", str(between))
    home.running(then)


def test_afterok_runs_or_never_does(home: Driver) -> None:
    good, bad = (home.submit(est_w=2_000, script=script) for script in ("true", "exit 3"))
    runs, never = (home.submit(f"--dependency=afterok:{job_id}", est_w=9_000, script="true") for job_id in (good, bad))
    home.cluster.wait_job(runs, "COMPLETED")
    home.cluster.wait(lambda: home.cluster.job(never)["Dependency"], lambda text: "failed" in text, "the failure")
    home.cluster.wait(lambda: home.ask("health")["claims"], lambda claims: claims == 0, "no claim of it")


def test_begin_claims_nothing_until_then(home: Driver) -> None:
    later = home.submit("--begin=now+5", est_w=9_000, more=",zones=b", script="true")
    home.settle(1)
    assert home.state(later) == "parked"
    assert home.ledger()["b"] == 0
    home.cluster.wait_job(later, "COMPLETED")


def test_a_users_own_hold_stays_until_he_lifts_it(home: Driver) -> None:
    job_id = home.submit("--hold", est_w=2_000)
    home.settle()
    assert home.state(job_id) == "parked"
    assert home.cluster.job(job_id)["Priority"] == "0"
    assert home.scontrol("release", str(job_id), user="alice")
    home.running(job_id)


def test_a_requeued_job_goes_back_through_admission(home: Driver) -> None:
    job_id = home.submit("--requeue", est_w=9_000, more=",zones=b")
    home.running(job_id)
    home.cluster.run("scontrol", "requeue", str(job_id), user="alice")
    home.cluster.wait(lambda: home.cluster.job(job_id), lambda job: job["Restarts"] == "1", "the restart count")
    home.cluster.wait(lambda: home.cluster.job(job_id)["Licenses"], lambda text: "pw_" not in text, "to be unbound")
    assert home.agree()["b"] == 0
    other = home.submit(est_w=16_000, more=",zones=b")
    home.running(other)
    home.may_start_now(job_id)
    home.still_held(job_id)
    home.cluster.run("scancel", str(other))
    home.running(job_id)
    assert record_of(home.cluster.job(job_id)) == "v=admit,tier=bronze,r=1,zones=b/1/9000/9000"


def test_a_suspended_job_keeps_its_watts(home: Driver) -> None:
    job_id = home.submit(est_w=9_000, more=",zones=b")
    home.running(job_id)
    home.cluster.run("scontrol", "suspend", str(job_id))
    home.cluster.wait_job(job_id, "SUSPENDED")
    home.settle()
    assert home.ledger()["b"] == 9_000
    home.still_held(home.submit(est_w=9_000, more=",zones=b"))
    home.cluster.run("scontrol", "resume", str(job_id))
    home.running(job_id)


# -- without us -------------------------------------------------------------------------------------------------


def test_submitted_while_the_daemon_is_away(home: Driver) -> None:
    with home.away():
        first = home.submit(est_w=9_000, more=",zones=b")
        second = home.submit(est_w=9_000, more=",zones=b")
        jobs = [home.cluster.job(job_id) for job_id in (first, second)]
        assert all(re.fullmatch(r"power:id=lua-\w+,v=hold,hold=power", job["AdminComment"]) for job in jobs)
        assert [job["Priority"] for job in jobs] == ["0", "0"]
    home.running(first)
    home.still_held(second)
    assert home.agree()["b"] == 9_000


def test_submitted_before_the_hook_was_there(home: Driver) -> None:
    """A job without any record of ours is held and admitted like another; one that runs is counted."""
    conf = home.cluster.layout.slurm_conf
    with_us = conf.read_text()
    without = re.sub(r"(?m)^(JobSubmitPlugins|PrologSlurmctld|EpilogSlurmctld)=.*$", "", with_us)
    home.cluster.stop("slurm-powerd")
    conf.write_text(without)
    home.cluster.run("scontrol", "reconfigure")
    runs = home.submit("--nodelist=b1", est_w=12_000)
    home.running(runs)
    waits = home.submit("--nodelist=b[1-2]", "--exclusive", est_w=9_000)
    conf.write_text(with_us)
    home.cluster.run("scontrol", "reconfigure")
    home.cluster.start("slurm-powerd")
    wait_for(lambda: home.ledger()["b"] == 12_000, "the running job to be counted")
    home.still_held(waits)
    home.cluster.run("scancel", str(runs))
    home.running(waits)
    assert home.agree()["b"] == 9_000


def test_nodes_in_no_zone_are_none_of_our_business(home: Driver) -> None:
    job_id = home.submit("--partition=lab", est_w=99_000)
    home.running(job_id)
    job = home.cluster.job(job_id)
    assert job["NodeList"] == "l1"
    assert record_of(job) == "v=free"
    assert "pw_" not in job["Licenses"]
    assert set(home.agree().values()) == {0}
