"""The fake's own behaviour: what a real Slurm shows only now and then."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from slurm_power.core.errors import SlurmTimeout
from slurm_power.ports import Chain, Hold, JobRecord, JobState, Outcome, PartitionRecord, Release, RequeueHold, Update
from tests.fakes.slurm import BUSY, FakeSlurm, Faults, Refusal, make_nodes, parse_licences
from tests.fakes.slurm_placing import expand, satisfied, share_of

START = 1_800_000_000


@pytest.fixture
def slurm() -> FakeSlurm:
    nodes = make_nodes("a[1-2]", features=["a"]) + make_nodes("b[1-2]", features=["b"])
    return FakeSlurm(nodes, licenses={"a_w": 100, "b_w": 100}, now=START)


def states(slurm: FakeSlurm, *jobs: JobRecord) -> list[str]:
    slurm.tick(slurm.now + 1)
    return [slurm.job(job.job_id).state.value for job in jobs]


def test_licences_hold_until_completing_is_over() -> None:
    slurm = FakeSlurm(make_nodes("n1"), licenses={"w": 10}, completing_s=30)
    first, second = slurm.submit(licenses="w:10", runs_s=5), slurm.submit(licenses="w:1")
    assert states(slurm, first, second) == ["RUNNING", "PENDING"]
    assert slurm.job(second.job_id).reason == "Licenses"
    slurm.tick(slurm.now + 5)
    assert states(slurm, first, second) == ["COMPLETING", "PENDING"]
    slurm.tick(slurm.now + 30)
    assert states(slurm, first, second) == ["ENDED", "RUNNING"]


def test_nodes_features_and_partitions_bind(slurm: FakeSlurm) -> None:
    job = slurm.submit(features="b", node_count=2, cpus=2)
    assert states(slurm, job) == ["RUNNING"]
    assert slurm.job(job.job_id).node_list == "b[1-2]"


@pytest.mark.parametrize(
    ("features", "count", "nodes"),
    [
        ("[a*1&b*1]", 2, {"a1", "b1"}),
        ("[(a&b)*1&b*1]", 2, None),
        ("[a|b]", 2, {"a1", "a2"}),
        ("[a|b]", 3, None),
        ("a|b", 3, {"a1", "a2", "b1"}),
        ("a&b", 1, None),
        ("(a|b)&b", 1, {"b1"}),
    ],
)
def test_constraints(slurm: FakeSlurm, features: str, count: int, nodes: set[str] | None) -> None:
    job = slurm.submit(features=features, node_count=count, cpus=count)
    slurm.tick(slurm.now + 1)
    found = slurm.job(job.job_id)
    assert (set(expand(found.node_list)) or None) == nodes
    assert (found.reason == "Resources") is (nodes is None)


def test_expressions_are_read_from_left_to_right() -> None:
    assert satisfied("a|b&c", frozenset("ac"))
    assert not satisfied("a|b&c", frozenset("a"))
    assert satisfied("a|(b&c)", frozenset("a"))


def test_excluded_and_required_nodes(slurm: FakeSlurm) -> None:
    first, second = slurm.submit(excluded_nodes="a[1-2],b1"), slurm.submit(required_nodes="a2", node_count=2, cpus=2)
    assert states(slurm, first, second) == ["RUNNING", "RUNNING"]
    assert slurm.job(first.job_id).node_list == "b2"
    assert "a2" in expand(slurm.job(second.job_id).node_list)


def test_a_full_cluster(slurm: FakeSlurm) -> None:
    big, small = slurm.submit(node_count=4, cpus=4, exclusive=True), slurm.submit()
    assert states(slurm, big, small) == ["RUNNING", "PENDING"]
    assert all(node.cpus_alloc == node.cpus for node in slurm.nodes())
    slurm.finish(big.job_id)
    assert states(slurm, big, small) == ["ENDED", "RUNNING"]


def test_a_node_that_is_down_takes_no_job(slurm: FakeSlurm) -> None:
    for name in ("a1", "a2"):
        slurm.set_node(name, up=False)
    job = slurm.submit(features="a")
    assert states(slurm, job) == ["PENDING"]


def test_the_prolog_denies(slurm: FakeSlurm) -> None:
    asked: list[str] = []

    def deny(job: JobRecord) -> bool:
        asked.append(job.node_list)
        return False

    slurm.prolog = deny
    batch, shell = slurm.submit(licenses="a_w:5"), slurm.submit(batch=False)
    assert states(slurm, batch, shell) == ["PENDING", "ENDED"]
    assert asked == ["a1", "a1"]
    job = slurm.job(batch.job_id)
    assert (job.restarts, job.reason, job.held, job.node_list) == (1, "BeginTime", False, "")
    assert slurm.used() == {"a_w": 0, "b_w": 0}
    slurm.prolog = None
    assert states(slurm, batch) == ["PENDING"]
    slurm.tick(slurm.now + 121)
    assert states(slurm, batch) == ["RUNNING"]


def test_a_throttle(slurm: FakeSlurm) -> None:
    array = slurm.submit(array="1-5%2", runs_s=10)
    slurm.tick(slurm.now + 1)
    running = [job for job in slurm.all_jobs() if job.state is JobState.RUNNING]
    assert [job.target for job in running] == [f"{array.job_id}_1", f"{array.job_id}_2"]
    rest = slurm.job(array.job_id)
    assert (rest.array_tasks, rest.reason) == ("3-5", "JobArrayTaskLimit")
    slurm.tick(slurm.now + 10)
    assert slurm.job(array.job_id).array_tasks == "5"


def test_components_start_together_or_not_at_all(slurm: FakeSlurm) -> None:
    parts = slurm.submit_het({"licenses": "a_w:60"}, {"licenses": "a_w:60"})
    assert states(slurm, *parts) == ["PENDING", "PENDING"]
    slurm.write([(Update(parts[1].target, {"licenses": "b_w:60"}),)])
    assert states(slurm, *parts) == ["RUNNING", "RUNNING"]


def test_one_held_component_holds_all(slurm: FakeSlurm) -> None:
    leader, second = slurm.submit_het({}, {}, held=True)
    slurm.write([(Release(second.target),)])
    assert states(slurm, leader, second) == ["PENDING", "PENDING"]
    slurm.write([(Release(str(leader.job_id)),)])
    assert states(slurm, leader, second) == ["RUNNING", "RUNNING"]


def test_dependencies_begin_and_limits(slurm: FakeSlurm) -> None:
    first = slurm.submit(time_limit_s=60)
    after = slurm.submit(dependency=f"afterok:{first.job_id}")
    later = slurm.submit(begin=START + 30)
    assert states(slurm, first, after, later) == ["RUNNING", "PENDING", "PENDING"]
    assert (slurm.job(after.job_id).eligible_time, slurm.job(later.job_id).eligible_time) == (None, START + 30)
    slurm.tick(START + 29)
    assert states(slurm, later) == ["RUNNING"]
    slurm.tick(START + 62)
    assert states(slurm, first, after) == ["ENDED", "RUNNING"]


def test_who_may_release(slurm: FakeSlurm) -> None:
    job = slurm.submit(held=True)
    slurm.write([(Hold(str(job.job_id)),)])
    with pytest.raises(Refusal, match="denied"):
        slurm.user_release(str(job.job_id))
    slurm.user_hold(str(job.job_id))
    assert slurm.job(job.job_id).reason == "JobHeldAdmin"
    slurm.write([(Release(str(job.job_id)),)])
    slurm.user_hold(str(job.job_id))
    slurm.user_release(str(job.job_id))
    assert states(slurm, job) == ["RUNNING"]


def test_a_hold_on_a_running_job_lasts_through_its_requeue(slurm: FakeSlurm) -> None:
    job = slurm.submit(licenses="a_w:5")
    slurm.tick(slurm.now + 1)
    slurm.write([(Hold(str(job.job_id)),)])
    slurm.user_requeue(job.job_id)
    slurm.tick(slurm.now + 200)
    found = slurm.job(job.job_id)
    assert (found.state, found.held, found.licenses) == (JobState.PENDING, True, "a_w:5")


def test_a_requeued_job_completes_first() -> None:
    slurm = FakeSlurm(make_nodes("n1"), licenses={"w": 10}, completing_s=10)
    job = slurm.submit(licenses="w:10")
    slurm.tick(slurm.now + 1)
    slurm.write([(RequeueHold(str(job.job_id)),)])
    assert (slurm.job(job.job_id).state, slurm.used()) == (JobState.COMPLETING, {"w": 10})
    slurm.tick(slurm.now + 10)
    assert (slurm.job(job.job_id).state, slurm.used()) == (JobState.PENDING, {"w": 0})


def test_an_ended_job_is_forgotten_in_time(slurm: FakeSlurm) -> None:
    job = slurm.submit()
    slurm.cancel(job.job_id)
    assert states(slurm, job) == ["ENDED"]
    slurm.tick(slurm.now + 300)
    assert slurm.jobs([job.job_id]) == ()
    assert slurm.write([(Hold(str(job.job_id)),)])[0].error


def test_suspended_jobs_keep_their_licences(slurm: FakeSlurm) -> None:
    job = slurm.submit(licenses="a_w:5")
    slurm.tick(slurm.now + 1)
    slurm.suspend(job.job_id)
    assert (slurm.job(job.job_id).priority, slurm.used()["a_w"]) == (0, 5)
    slurm.resume(job.job_id)
    assert states(slurm, job) == ["RUNNING"]


def test_reserved_licences_are_not_free(slurm: FakeSlurm) -> None:
    slurm.reserve("a_w", 98)
    job = slurm.submit(licenses="a_w:5")
    assert states(slurm, job) == ["PENDING"]
    assert [(record.name, record.reserved) for record in slurm.licenses()] == [("a_w", 98), ("b_w", 0)]


def test_only_the_partitions_nodes_are_given() -> None:
    slurm = FakeSlurm(
        make_nodes("n[1-3]"), partitions=[PartitionRecord("big", "n[1-3]", True), PartitionRecord("one", "n3")]
    )
    job = slurm.submit(partition="one")
    slurm.tick(slurm.now + 1)
    assert slurm.job(job.job_id).node_list == "n3"
    assert [node.partitions for node in slurm.nodes()] == [("big",), ("big",), ("big", "one")]


# -- misbehaviour ---------------------------------------------------------------------------------------------------


def write_once(slurm: FakeSlurm, faults: Faults) -> tuple[Outcome, JobRecord]:
    job = slurm.submit(held=True)
    slurm.faults = faults
    (outcome,) = slurm.write([(Update(str(job.job_id), {"comment": "set"}), Release(str(job.job_id)))])
    slurm.faults = Faults()
    return outcome, slurm.job(job.job_id)


def test_a_lost_answer(slurm: FakeSlurm) -> None:
    outcome, job = write_once(slurm, Faults(lost_answer=1))
    assert (outcome.unsure, job.comment, job.held) == (True, "set", False)


def test_a_lost_write(slurm: FakeSlurm) -> None:
    outcome, job = write_once(slurm, Faults(lost_write=1))
    assert (outcome.unsure, job.comment, job.held) == (True, "", True)


def test_a_repeated_write(slurm: FakeSlurm) -> None:
    outcome, job = write_once(slurm, Faults(repeated=1))
    assert (outcome, job.comment, job.held) == (Outcome(2), "set", False)
    assert len(slurm.written) == 4


def test_late_and_failed_reads(slurm: FakeSlurm) -> None:
    job = slurm.submit()
    slurm.tick(slurm.now + 1)
    slurm.faults.stale_read = 1
    seen = {(found.state if (found := next(iter(slurm.jobs([job.job_id])), None)) else None) for _ in range(30)}
    assert seen == {None, JobState.PENDING}
    slurm.faults = Faults(failed_read=1)
    with pytest.raises(SlurmTimeout):
        slurm.jobs()


def test_the_same_seed_gives_the_same_history() -> None:
    def history(seed: int) -> list[bool]:
        slurm = FakeSlurm(make_nodes("n1"), seed=seed)
        slurm.faults.lost_write = 0.5
        return [slurm.write([(Hold(str(slurm.submit().job_id)),)])[0].unsure for _ in range(20)]

    assert history(3) == history(3)
    assert len({tuple(history(seed)) for seed in range(5)}) > 1


# -- any history ----------------------------------------------------------------------------------------------------

LICENCES = st.sampled_from(["", "w:1", "w:4", "w:10", "v:3,w:3"])


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens, nodes and licences are never given twice, and every record makes sense."""

    def __init__(self) -> None:
        super().__init__()
        self.slurm = FakeSlurm(make_nodes("n[1-3]", cpus=4, gpus=2), licenses={"w": 10, "v": 5}, now=START)

    @initialize(completing_s=st.sampled_from([0, 5]), faults=st.booleans())
    def begin(self, completing_s: int, faults: bool) -> None:
        self.slurm.completing_s = completing_s
        if faults:
            self.slurm.faults = Faults(0.2, 0.2, 0.2, 0.2, 0.0)

    @rule(
        licenses=LICENCES,
        nodes=st.integers(1, 3),
        held=st.booleans(),
        array=st.sampled_from(["", "1-3", "1-4%1", "0,5"]),
        exclusive=st.booleans(),
        batch=st.booleans(),
    )
    def submit(self, licenses: str, nodes: int, held: bool, array: str, exclusive: bool, batch: bool) -> None:
        self.slurm.submit(
            licenses=licenses,
            node_count=nodes,
            cpus=nodes * 2,
            held=held,
            array=array,
            exclusive=exclusive,
            batch=batch or bool(array),
            runs_s=20,
        )

    @rule(first=LICENCES, second=LICENCES, held=st.booleans())
    def submit_het(self, first: str, second: str, held: bool) -> None:
        self.slurm.submit_het({"licenses": first}, {"licenses": second}, held=held)

    @rule(data=st.data())
    def command(self, data: st.DataObject) -> None:
        jobs = self.slurm.all_jobs()
        if not jobs:
            return
        job = data.draw(st.sampled_from(jobs))
        chains: list[Chain] = [
            (Hold(job.target),),
            (Release(job.target),),
            (RequeueHold(job.target),),
            (Update(job.target, {"excnodelist": "n1"}), Release(job.target)),
        ]
        chain = data.draw(st.sampled_from(chains))
        (outcome,) = self.slurm.write([chain])
        assert outcome.done <= len(chain)
        assert bool(outcome.error) is (outcome.done < len(chain))

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        jobs = [job for job in self.slurm.all_jobs() if job.state is not JobState.ENDED]
        if jobs:
            self.slurm.cancel(data.draw(st.sampled_from(jobs)).job_id)

    @rule(seconds=st.integers(0, 200))
    def wait(self, seconds: int) -> None:
        self.slurm.tick(self.slurm.now + seconds)

    @invariant()
    def licences_are_given_once(self) -> None:
        used = {"w": 0, "v": 0}
        for job in self.slurm.all_jobs():
            if job.state in BUSY:
                for name, count in parse_licences(job.licenses).items():
                    used[name] += count
        assert used["w"] <= 10
        assert used["v"] <= 5

    @invariant()
    def nodes_are_given_once(self) -> None:
        cpus: dict[str, int] = {}
        for job in self.slurm.all_jobs():
            if job.state in BUSY:
                for node in expand(job.node_list):
                    cpus[node] = cpus.get(node, 0) + (4 if job.exclusive else share_of(job).cpus)
        assert all(count <= 4 for count in cpus.values())

    @invariant()
    def records_make_sense(self) -> None:
        jobs = self.slurm.all_jobs()
        assert len({job.target for job in jobs}) == len(jobs)
        for job in jobs:
            started = job.state is not JobState.PENDING
            assert (job.start_time is not None) is started
            assert not (job.array_tasks and started)
            assert bool(job.node_list) is started or job.state is JobState.ENDED


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
