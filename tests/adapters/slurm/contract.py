"""What every `ports.Slurm` has to do. Run over the fake, and over a real private cluster (marked `cluster`).

A subclass gives the fixture `lab`: a cluster with at least two idle nodes and a licence of 100 or more.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from slurm_power.ports import Chain, Hold, JobRecord, JobState, Outcome, Release, RequeueHold, Slurm, Update, UserHold

FORGED = "x\nJobId=1 AdminComment=power:id=forged,v=admit\n99\x1f98\x1fRUNNING\x1f"
RECORD = "power:id=Zk3,v=admit,tier=gold,zones=rack07/1/18500/24000"
ODD = "two words, 'quotes' \"more\" ; shutdown é 電"


class Lab(Protocol):
    """A Slurm with somebody who submits jobs to it."""

    @property
    def slurm(self) -> Slurm:
        """Under test."""

    @property
    def license(self) -> str:
        """A licence of 100 or more, none of it used."""

    @property
    def feature(self) -> str:
        """A feature of every node."""

    def submit(self, *, name: str = "job", comment: str = "", array: str = "") -> int:
        """A held batch job for one CPU that runs until it is cancelled; its id."""

    def submit_het(self) -> int:
        """A held het job of two components; the leader's id."""

    def settle(self) -> None:
        """Let a little time pass."""


def until(lab: Lab, what: Callable[[], object]) -> None:
    """Wait until it is so."""
    for _ in range(150):
        if what():
            return
        lab.settle()
    pytest.fail("it never came to be")


class SlurmContract:
    """The suite."""

    def one(self, lab: Lab, job_id: int) -> JobRecord:
        (found,) = lab.slurm.jobs([job_id])
        return found

    def of_array(self, lab: Lab, array: int) -> dict[str, JobRecord]:
        found = [job for job in lab.slurm.jobs() if job.array_job_id == array]
        return {job.array_tasks or str(job.array_task_id): job for job in found}

    def write(self, lab: Lab, *chains: Chain) -> Sequence[Outcome]:
        return lab.slurm.write(chains)

    def bind(self, lab: Lab, target: str, count: int = 3) -> Chain:
        fields = {"licenses": f"{lab.license}:{count}", "features": lab.feature, "admincomment": RECORD}
        return (Update(target, fields), Release(target))

    def used(self, lab: Lab) -> int:
        return next(found.used for found in lab.slurm.licenses() if found.name == lab.license)

    def test_the_inventory_is_there(self, lab: Lab) -> None:
        assert lab.slurm.version() >= (22, 5, 0)
        nodes, partitions = lab.slurm.nodes(), lab.slurm.partitions()
        assert len([node for node in nodes if node.up and node.cpus and lab.feature in node.features]) >= 2
        assert len([partition for partition in partitions if partition.default]) == 1
        assert {name for node in nodes for name in node.partitions} <= {partition.name for partition in partitions}
        assert any(found.name == lab.license and found.total >= 100 for found in lab.slurm.licenses())
        assert len({qos.name for qos in lab.slurm.qos()}) == len(lab.slurm.qos())
        assert all(0 <= share <= 1 for share in lab.slurm.fair_shares().values())

    def test_watts_are_those_of_nodes_and_never_zero(self, lab: Lab) -> None:
        watts = lab.slurm.node_watts()
        assert watts.keys() <= {node.name for node in lab.slurm.nodes()}
        assert all(value > 0 for value in watts.values())

    def test_a_held_job_is_read_whole(self, lab: Lab) -> None:
        job = self.one(lab, lab.submit(name="reader", comment="power:est=1kW"))
        assert (job.state, job.held, job.priority) == (JobState.PENDING, True, 0)
        assert (job.name, job.comment, job.admin_comment) == ("reader", "power:est=1kW", "")
        assert (job.array_job_id, job.array_tasks, job.het_job_id) == (None, "", None)
        assert (job.node_list, job.start_time, job.end_time) == ("", None, None)
        assert job.batch
        assert job.target == str(job.job_id)
        assert job.submit_time > 0

    def test_only_the_jobs_asked_for_are_read(self, lab: Lab) -> None:
        first, second = lab.submit(), lab.submit()
        assert {job.job_id for job in lab.slurm.jobs([first, second, 4_000_000])} == {first, second}
        assert list(lab.slurm.jobs([4_000_000])) == []
        assert list(lab.slurm.jobs([])) == []
        assert {first, second} <= {job.job_id for job in lab.slurm.jobs()}

    def test_users_text_forges_nothing(self, lab: Lab) -> None:
        before = {job.job_id for job in lab.slurm.jobs()}
        job_id = lab.submit(name=FORGED, comment=FORGED)
        assert {job.job_id for job in lab.slurm.jobs()} - before == {job_id}
        job = self.one(lab, job_id)
        assert (job.name, job.comment, job.admin_comment) == (FORGED, FORGED, "")

    def test_a_bound_job_starts_and_takes_its_licences(self, lab: Lab) -> None:
        job_id = lab.submit()
        before = self.used(lab)
        assert self.write(lab, self.bind(lab, str(job_id))) == [Outcome(2)]
        until(lab, lambda: self.one(lab, job_id).state is JobState.RUNNING)
        job = self.one(lab, job_id)
        assert (job.licenses, job.features, job.admin_comment) == (f"{lab.license}:3", lab.feature, RECORD)
        assert job.node_list
        assert job.start_time
        assert job.eligible_time
        assert self.used(lab) == before + 3
        assert sum(node.cpus_alloc for node in lab.slurm.nodes()) >= 1

    def test_a_failure_ends_its_chain_and_no_other(self, lab: Lab) -> None:
        good, bad, other = lab.submit(), lab.submit(), lab.submit()
        broken = (Update(str(bad), {"licenses": "no_such_licence:1"}), Release(str(bad)))
        unknown = (Hold("4000000"),)
        outcomes = self.write(
            lab, self.bind(lab, str(good)), broken, unknown, (), (Update(str(other), {"comment": "set"}),)
        )
        assert [outcome.done for outcome in outcomes] == [2, 0, 0, 0, 1]
        assert [bool(outcome.error) for outcome in outcomes] == [False, True, True, False, False]
        assert not any(outcome.unsure for outcome in outcomes)
        assert "license" in outcomes[1].error.lower()
        assert "job id" in outcomes[2].error
        assert self.one(lab, bad).held
        assert not self.one(lab, good).held
        assert self.one(lab, other).comment == "set"

    def test_writing_nothing(self, lab: Lab) -> None:
        assert list(self.write(lab)) == []
        assert list(self.write(lab, ())) == [Outcome(0)]

    def test_an_empty_value_clears(self, lab: Lab) -> None:
        job_id = lab.submit(comment="mine")
        self.write(lab, self.bind(lab, str(job_id))[:1])
        cleared = {"licenses": "", "features": "", "comment": "", "admincomment": ""}
        assert self.write(lab, (Update(str(job_id), cleared),)) == [Outcome(1)]
        job = self.one(lab, job_id)
        assert (job.licenses, job.features, job.comment, job.admin_comment) == ("", "", "", "")

    def test_who_holds(self, lab: Lab) -> None:
        job_id = lab.submit()
        assert self.one(lab, job_id).reason == "JobHeldUser"
        self.write(lab, (Hold(str(job_id)),))
        assert self.one(lab, job_id).reason == "JobHeldAdmin"
        self.write(lab, (UserHold(str(job_id)),))
        job = self.one(lab, job_id)
        assert (job.reason, job.held) == ("JobHeldUser", True)

    def test_tasks_of_an_array_are_split_off(self, lab: Lab) -> None:
        array = lab.submit(array="1-6%3")
        whole = self.of_array(lab, array)
        assert list(whole) == ["1-6"]
        assert whole["1-6"].array_throttle == 3
        assert whole["1-6"].target == f"{array}_[1-6]"
        fields = {"licenses": f"{lab.license}:3"}
        assert self.write(lab, (Update(f"{array}_[2-3]", fields),)) == [Outcome(1)]
        parts = self.of_array(lab, array)
        assert {name: job.licenses for name, job in parts.items()} == {
            "1,4-6": "",
            "2": f"{lab.license}:3",
            "3": f"{lab.license}:3",
        }
        assert all(job.array_throttle == 3 and job.held for job in parts.values() if job.array_tasks)
        assert self.write(lab, (Release(parts["2"].target),)) == [Outcome(1)]
        until(lab, lambda: self.of_array(lab, array)["2"].state is JobState.RUNNING)
        assert self.of_array(lab, array)["3"].held

    def test_a_range_of_tasks_starts(self, lab: Lab) -> None:
        array = lab.submit(array="1-3")
        assert self.write(lab, self.bind(lab, f"{array}_[1-3]")) == [Outcome(2)]
        until(lab, lambda: all(job.state is JobState.RUNNING for job in self.of_array(lab, array).values()))
        tasks = self.of_array(lab, array)
        assert sorted(tasks) == ["1", "2", "3"]
        assert array in {job.job_id for job in tasks.values()}, "the last task bears the array's id"
        assert {job.target for job in tasks.values()} == {f"{array}_{task}" for task in (1, 2, 3)}

    def test_an_unknown_task_is_an_error(self, lab: Lab) -> None:
        array = lab.submit(array="1-3")
        (outcome,) = self.write(lab, (Update(f"{array}_[7-8]", {"comment": "x"}), Release(f"{array}_[7-8]")))
        assert (outcome.done, bool(outcome.error), outcome.unsure) == (0, True, False)

    def test_components_are_bound_and_start_together(self, lab: Lab) -> None:
        leader = lab.submit_het()
        parts = [job for job in lab.slurm.jobs() if job.het_job_id == leader]
        assert sorted((job.target, job.het_offset) for job in parts) == [(f"{leader}+0", 0), (f"{leader}+1", 1)]
        bound = [(Update(job.target, {"features": lab.feature}),) for job in parts]
        assert self.write(lab, *bound) == [Outcome(1), Outcome(1)]
        assert self.write(lab, (Release(str(leader)),)) == [Outcome(1)]
        until(lab, lambda: all(self.one(lab, job.job_id).state is JobState.RUNNING for job in parts))

    def test_requeued_and_held(self, lab: Lab) -> None:
        job_id = lab.submit()
        self.write(lab, self.bind(lab, str(job_id)))
        until(lab, lambda: self.one(lab, job_id).state is JobState.RUNNING)
        assert self.write(lab, (RequeueHold(str(job_id)),)) == [Outcome(1)]
        until(lab, lambda: self.one(lab, job_id).state is JobState.PENDING)
        job = self.one(lab, job_id)
        assert (job.held, job.restarts, job.start_time, job.node_list) == (True, 1, None, "")
        assert (job.licenses, job.admin_comment) == (f"{lab.license}:3", RECORD)
        (again,) = self.write(lab, (RequeueHold(str(job_id)),))
        assert (again.done, bool(again.error)) == (0, True)
