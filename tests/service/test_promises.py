"""Promises do not outlive what they were made for: bindings, node counts, zones that change, arrays that wait."""

from dataclasses import replace

import pytest

from slurm_power.core.claim import Charge
from slurm_power.core.lifecycle import State
from slurm_power.core.record import find_record
from slurm_power.ports import HoldKind, JobRecord, JobState, Update, UserHold
from slurm_power.service.binding import Binding
from slurm_power.service.book import Entry
from slurm_power.service.facts import from_record
from slurm_power.service.launch import launch
from slurm_power.service.modify import modify
from slurm_power.service.plan import Plan
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import SITE, Lab, floor_nodes, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


def entry_of(lab: Lab, job_id: int) -> Entry:
    found = lab.desk.book.of_job(job_id)
    assert found is not None
    return found


def plans(lab: Lab) -> list[Plan]:
    return [plan for plan in run_pass(lab.desk) if plan is not None]


class TestArraysThatDoNotStart:
    """The admitted rest of an array gives its watts back if none of its tasks starts."""

    @staticmethod
    def admitted(lab: Lab, tasks: str, throttle: int | None = None) -> JobRecord:
        given = tasks if throttle is None else f"{tasks}%{throttle}"
        reply = submit(lab.desk, job("power:est=5kW,max=5kW,zones=rack03", array_inx=given))
        record = JobRecord(
            1,
            JobState.PENDING,
            1001,
            partition="main",
            name="train",
            comment="power:est=5kW,max=5kW,zones=rack03",
            priority=9,
            time_limit_s=3_600,
            reason="Resources",
            array_job_id=1,
            array_tasks=tasks,
            array_throttle=throttle,
            admin_comment=str(reply.fields["admin_comment"]),
        )
        lab.observe(record)
        assert entry_of(lab, 1).state is State.ADMITTED
        return record

    def test_it_is_held_and_queued(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-2")
        assert lab.committed("rack03") == 15_000
        lab.wait(301)
        lab.observe(rest)
        [plan] = plans(lab)
        assert plan.action == "hold"
        assert plan.chain[0] == UserHold("1_[0-2]")
        update = plan.chain[1]
        assert isinstance(update, Update)
        assert (update.fields["Licenses"], update.fields["Features"]) == ("", "")
        held = replace(
            rest, priority=0, admin_comment=update.fields["AdminComment"], licenses="", features=""
        )
        lab.observe(held)
        entry = entry_of(lab, 1)
        assert (entry.state, entry.hold) == (State.WAITING, HoldKind.POWER)
        assert lab.committed("rack03") == 0

    def test_not_while_tasks_of_it_start(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-2")
        lab.wait(299)
        task = replace(
            rest, job_id=2, array_task_id=0, array_tasks="", state=JobState.CONFIGURING, node_list="n07"
        )
        lab.observe(replace(rest, array_tasks="1-2"), task)
        lab.wait(200)
        begun = replace(task, state=JobState.RUNNING, start_time=lab.clock.now() - 200)
        lab.observe(replace(rest, array_tasks="1-2"), begun)
        assert plans(lab) == []
        lab.wait(101)
        lab.observe(replace(rest, array_tasks="1-2"), begun)
        assert [plan.target for plan in plans(lab)] == ["1_[1-2]"]

    def test_not_for_the_time_that_its_throttle_kept_it(self, lab: Lab) -> None:
        rest = self.admitted(lab, "0-1", throttle=1)
        task = replace(
            rest, job_id=2, array_task_id=0, array_tasks="", state=JobState.RUNNING, node_list="n07"
        )
        rest = replace(rest, array_tasks="1")
        for _ in range(3):
            lab.wait(200)
            lab.observe(rest, task)
            assert plans(lab) == []
        lab.observe(rest, replace(task, state=JobState.ENDED))
        assert plans(lab) == []
        assert lab.committed("rack03") == 5_000


class TestHowManyNodes:
    """Where each node more draws more watts, a job gets as many as it was charged for."""

    @pytest.mark.parametrize(
        ("comment", "shape", "nodes", "est_w"),
        [
            ("power:est=5kW/node,max=5kW/node", {"min_nodes": 1, "max_nodes": 3}, 1, 5_000),
            ("power:est=5kW/node,max=5kW/node", {"min_nodes": 2}, 2, 10_000),
            ("power:est=5kW/node,max=5kW/node", {"min_nodes": None, "num_tasks": 64}, 2, 10_000),
            ("power:est=5kW/node,max=5kW/node", {"min_nodes": 1, "num_tasks": 64}, 2, 10_000),
            ("power:est=5kW/node,max=5kW/node", {"min_nodes": 1, "max_nodes": 4, "num_tasks": 64}, 2, 10_000),
            ("power:est=1kW/gpu,max=1kW/gpu", {"min_nodes": 1, "tres_per_node": "gres:gpu:4"}, 1, 4_000),
            ("power:est=4kW,max=2kW/node", {"min_nodes": 2, "max_nodes": 3}, 2, 4_000),
            ("", {"min_nodes": 1, "max_nodes": 3, "shared": 0}, 1, 8_000),
        ],
    )
    def test_it_is_fixed(
        self, lab: Lab, comment: str, shape: dict[str, object], nodes: int, est_w: int
    ) -> None:
        reply = submit(lab.desk, job(comment, **shape))
        assert reply.verdict == "admit"
        assert (reply.fields["min_nodes"], reply.fields["max_nodes"]) == (nodes, nodes)
        record = find_record(str(reply.fields["admin_comment"]))
        assert record is not None
        assert [(charge.nodes, charge.est_w) for charge in record.charges] == [(nodes, est_w)]
        assert not record.any_nodes

    @pytest.mark.parametrize(
        ("comment", "shape", "any_nodes"),
        [
            ("power:est=5kW/node", {"min_nodes": 2, "max_nodes": 2}, False),
            ("power:est=5kW", {"min_nodes": 2, "max_nodes": 2}, False),
            ("power:est=5kW", {"min_nodes": 1, "max_nodes": 3}, True),
            ("power:est=5kW", {"min_nodes": None, "num_tasks": 64}, True),
            ("power:est=1kW/gpu", {"min_nodes": None, "tres_per_job": "gres:gpu:4"}, True),
        ],
    )
    def test_it_is_left_as_asked(
        self, lab: Lab, comment: str, shape: dict[str, object], any_nodes: bool
    ) -> None:
        reply = submit(lab.desk, job(comment, **shape))
        assert reply.verdict == "admit"
        assert "min_nodes" not in reply.fields
        record = find_record(str(reply.fields["admin_comment"]))
        assert record is not None
        assert record.any_nodes is any_nodes

    def test_a_later_pass_fixes_it_too(self, lab: Lab) -> None:
        lab.observe(
            JobRecord(
                1,
                JobState.PENDING,
                1001,
                partition="main",
                comment="power:est=5kW/node",
                time_limit_s=60,
                admin_comment="power:id=t1,v=hold,hold=power",
                cpus=64,
            )
        )
        [plan] = plans(lab)
        update = plan.chain[0]
        assert isinstance(update, Update)
        assert update.fields["NumNodes"] == "2-2"


class TestZonesThatChange:
    """From a change of zones to the next whole snapshot nobody is admitted, for what runs is not counted anew yet."""

    RENAMED = SITE.replace("rack03:", "rack04:")
    MOVED = SITE.replace('"n[04-06]"', '"n[04-05]"').replace('"n[07-09]"', '"n[06-09]"')

    @pytest.mark.parametrize(("text", "zone", "node"), [(RENAMED, "rack04", "n07"), (MOVED, "rack03", "n06")])
    def test_what_runs_is_counted_first(self, lab: Lab, text: str, zone: str, node: str) -> None:
        runs = JobRecord(
            1,
            JobState.RUNNING,
            1001,
            partition="main",
            name="a",
            comment="power:est=20kW,max=20kW",
            node_list=node,
            start_time=lab.clock.now(),
            time_limit_s=3_600,
        )
        held = JobRecord(
            2,
            JobState.PENDING,
            1001,
            partition="main",
            name="b",
            comment=f"power:est=9kW,max=9kW,zones={zone}",
            admin_comment="power:id=t2,v=hold,hold=power",
        )
        begins = JobRecord(
            3,
            JobState.PENDING,
            1001,
            partition="main",
            name="c",
            comment="power:est=9kW,max=9kW",
            priority=9,
            admin_comment="power:id=t3,v=admit,zones=rack01/1/9000/9000",
            time_limit_s=3_600,
        )
        lab.observe(runs, held, begins)
        before = lab.clock.monotonic()
        lab.desk.change_site(site_of(text))
        asked = job(f"power:est=9kW,max=9kW,zones={zone}")
        gate = {"SLURM_JOB_ID": "3", "SLURM_JOB_NODELIST": "n08"}

        def nobody_gets_in() -> None:
            assert submit(lab.desk, asked).verdict == "hold"
            assert launch(lab.desk, gate, final=False).verdict == "look"
            assert launch(lab.desk, gate).verdict == "wait"
            longer = {"job_id": 3, "user_id": 1001, "priority": 9, "time_limit": 60}
            assert modify(lab.desk, 1001, {"time_limit": 120}, longer).verdict == "deny"
            assert not [plan for plan in plans(lab) if plan.action == "bind"]

        nobody_gets_in()
        lab.observe(runs, held, begins, begun=before)  # begun before the change: of no use
        nobody_gets_in()
        lab.observe(runs, held, begins)
        assert lab.committed(zone) == 20_000
        assert submit(lab.desk, asked).verdict == "hold"
        assert launch(lab.desk, gate).verdict == "deny"
        assert submit(lab.desk, job("power:est=9kW,max=9kW,zones=rack01")).verdict == "admit"

    def test_other_changes_stop_nobody(self, lab: Lab) -> None:
        lab.desk.change_site(site_of(SITE.replace("limit: 30kW", "limit: 29kW")))
        assert submit(lab.desk, job()).verdict == "admit"


class TestBindingByExcludedNodes:
    """Where the zone's feature is missing, all other nodes are excluded; what the user excluded is kept apart."""

    @staticmethod
    def bare(lab: Lab) -> None:
        lab.survey([replace(node, features=("fast",)) for node in floor_nodes(lab.site)])

    @pytest.mark.parametrize("own", ["", "n08", "n[08,12-13]", "odd{name}", "n[1-"])
    def test_the_users_list_comes_back(self, lab: Lab, own: str) -> None:
        self.bare(lab)
        reply = submit(lab.desk, job("power:est=5kW,zones=rack03", exc_nodes=own))
        assert reply.verdict == "admit"
        bound = str(reply.fields["exc_nodes"])
        assert bound == ",".join(filter(None, (own, "n[01-06]")))
        record = JobRecord(
            1,
            JobState.PENDING,
            1001,
            partition="main",
            comment="power:est=5kW,zones=rack03",
            priority=9,
            excluded_nodes=bound,
            admin_comment=str(reply.fields["admin_comment"]),
            reason="Resources",
        )
        assert from_record(record).excluded_nodes == own
        lab.observe(record)
        lab.wait(301)
        lab.observe(record)
        [plan] = plans(lab)
        update = plan.chain[1]
        assert isinstance(update, Update)
        assert update.fields["ExcNodeList"] == own
        assert "x=" not in update.fields["AdminComment"]

    def test_a_feature_that_is_there_again_takes_its_place(self, lab: Lab) -> None:
        lab.observe(
            JobRecord(
                1,
                JobState.PENDING,
                1001,
                partition="main",
                comment="power:est=5kW,zones=rack03",
                admin_comment="power:id=t1,v=admit,x=n08,zones=rack01/1/1/1",
                excluded_nodes="n[04-09]",
            )
        )
        entry = entry_of(lab, 1)
        assert entry.ask is not None
        binding = lab.desk.binder.bind(entry.ask, "t1", [Charge("rack03", 1, 5_000, 6_500)])
        assert isinstance(binding, Binding)
        assert (binding.features, binding.excluded_nodes) == ("pw_rack03", "n08")

    def test_a_list_too_long_holds(self, lab: Lab) -> None:
        self.bare(lab)
        reply = submit(lab.desk, job("power:est=5kW,zones=rack03", exc_nodes="a" * 64_000))
        assert reply.verdict == "hold"
        assert "too long" in reply.message
