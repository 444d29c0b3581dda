"""Submissions that Slurm itself would take, and must not have to refuse for what we bind them to."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.record import find_record
from slurm_power.ports import HoldKind, NodeRecord, Outcome, PartitionRecord
from slurm_power.service.book import Entry
from slurm_power.service.desk import Reply
from slurm_power.service.facts import parse_array
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit
from slurm_power.service.world import World
from tests.service.support import Lab, floor_nodes, floor_partitions, job, site_of
from tests.service.test_observe import ADMITTED, entry, pending


@pytest.fixture
def lab() -> Lab:
    return Lab()


def zones(reply: Reply) -> dict[str, int]:
    """Zone → nodes of an admission."""
    assert reply.verdict == "admit", reply.message
    record = find_record(str(reply.fields["admin_comment"]))
    assert record is not None
    return {charge.zone: charge.nodes for charge in record.charges}


def told(lab: Lab, comment: str = "power:est=2kW,max=2kW", **fields: object) -> Reply:
    return submit(lab.desk, job(comment, **fields))


def survey(lab: Lab, nodes: Iterable[NodeRecord], *more: PartitionRecord) -> None:
    lab.desk.survey(list(nodes), [*floor_partitions(), *more], ["matlab"])


class TestRequiredNodes:
    @pytest.mark.parametrize("count", [None, 2])
    @pytest.mark.parametrize("comment", ["power:est=2kW,max=2kW", "power:est=1kW/node,max=1kW/node"])
    def test_of_two_zones_bind_the_job_themselves(self, lab: Lab, count: int | None, comment: str) -> None:
        reply = told(lab, comment, req_nodes="n01,n04", min_nodes=count, max_nodes=count, features="fast")
        assert zones(reply) == {"rack01": 1, "rack02": 1}
        assert (reply.fields["min_nodes"], reply.fields["max_nodes"]) == (2, 2)
        assert reply.fields["features"] == "fast"  # counted features and required nodes would add up
        assert lab.committed("rack01") == lab.committed("rack02") == 1_000

    def test_each_zone_gets_as_many_as_are_named_there(self, lab: Lab) -> None:
        reply = told(lab, "power:est=3kW,max=3kW", req_nodes="n[01-02],n07", min_nodes=3)
        assert zones(reply) == {"rack01": 2, "rack03": 1}

    def test_wait_until_all_their_zones_have_room(self, lab: Lab) -> None:
        assert told(lab, "power:est=20kW,max=20kW,zones=rack01").verdict == "admit"
        assert told(lab, "power:est=20kW,max=20kW", req_nodes="n01,n04").verdict == "hold"

    def test_an_array_of_them_is_not_bound_as_a_whole(self, lab: Lab) -> None:
        assert told(lab, req_nodes="n01,n04", array_inx="1-2").verdict == "hold"

    def test_of_one_zone_bind_it_to_that_zone(self, lab: Lab) -> None:
        reply = told(lab, req_nodes="n[04-05]")
        assert zones(reply) == {"rack02": 2}
        assert reply.fields["features"] == "pw_rack02"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"req_nodes": "n01,n04", "min_nodes": 3}, "name all of them"),
            ({"req_nodes": "n01", "min_nodes": 4}, "name all of them"),
            ({"req_nodes": "n01,x1", "partition": "both"}, "inside and outside"),
            ({"req_nodes": "n01,n04", "comment": "power:est=1kW,zones=rack01"}, "leaves out"),
        ],
    )
    def test_that_no_binding_goes_with_are_refused(self, lab: Lab, fields: dict[str, object], words: str) -> None:
        reply = submit(lab.desk, {**job(), **fields})
        assert reply.verdict == "reject"
        assert words in reply.message

    def test_their_preference_stays(self, lab: Lab) -> None:
        assert "prefer" not in told(lab, req_nodes="n01,n04", prefer="slow").fields


class TestNodesThatWouldDo:
    def test_what_is_left_beside_excluded_nodes(self, lab: Lab) -> None:
        assert zones(told(lab, exc_nodes="n[01-02],n[04-05]", min_nodes=2)) == {"rack03": 2}
        assert sum(zones(told(lab, exc_nodes="n[01-02],n[04-05],n07", min_nodes=4)).values()) == 4
        assert told(lab, exc_nodes="n[01-02],n[04-05],n07", min_nodes=5).verdict == "reject"

    def test_a_job_over_zones_goes_where_nodes_are_left(self, lab: Lab) -> None:
        found = zones(told(lab, exc_nodes="n[01-02],n[04-05],n[07-08]", min_nodes=3))
        assert found == {"rack01": 1, "rack02": 1, "rack03": 1}

    def test_memory_that_only_one_zone_has(self, lab: Lab) -> None:
        survey(lab, [replace(n, memory_mb=1_000_000 if n.name < "n04" else 100_000) for n in floor_nodes(lab.site)])
        assert zones(told(lab, min_mem_per_node=500_000)) == {"rack01": 1}
        assert zones(told(lab, min_mem_per_cpu=100_000, num_tasks=4)) == {"rack01": 1}
        assert zones(told(lab, mem_per_tres="gres:gpu:200000", tres_per_job="gres:gpu:2")) == {"rack01": 1}
        assert told(lab, min_mem_per_node=2_000_000).verdict == "reject"

    def test_memory_of_which_too_few_nodes_are_in_a_zone(self, lab: Lab) -> None:
        big = ("n01", "n04", "n05")
        survey(lab, [replace(n, memory_mb=900_000 if n.name in big else 100_000) for n in floor_nodes(lab.site)])
        assert zones(told(lab, min_mem_per_node=500_000, min_nodes=2)) == {"rack02": 2}
        assert zones(told(lab, min_mem_per_node=500_000, min_nodes=3)) == {"rack01": 1, "rack02": 2}
        assert zones(told(lab, min_mem_per_node=500_000, exc_nodes="n04-n05,n04,n05")) == {"rack01": 1}

    def test_a_feature_that_too_few_nodes_of_a_zone_have(self, lab: Lab) -> None:
        some = ("n01", "n04", "n05")
        nodes = [replace(n, features=(*n.features, *(["ib"] if n.name in some else []))) for n in floor_nodes(lab.site)]
        survey(lab, nodes)
        assert zones(told(lab, features="ib", min_nodes=2)) == {"rack02": 2}
        assert zones(told(lab, features="ib&fast", min_nodes=3)) == {"rack01": 1, "rack02": 2}
        assert told(lab, "power:est=1kW,zones=rack02", features="ib", min_nodes=3).verdict == "reject"
        assert told(lab, features="ib", min_nodes=4).verdict == "reject"

    @pytest.mark.parametrize("field", ["tres_per_node", "tres_per_job", "tres_per_task", "gres"])
    def test_a_type_of_gpus_that_only_one_zone_has(self, lab: Lab, field: str) -> None:
        types = {"rack01": "a100", "rack02": "h100", "rack03": "b200"}
        of_node = lab.site.topology.zone_of_node
        nodes = floor_nodes(lab.site)
        survey(lab, [replace(n, gpu_types=((types.get(of_node.get(n.name, ""), "t4"), 4),)) for n in nodes])
        assert zones(told(lab, **{field: "gres:gpu:h100:4"})) == {"rack02": 1}

    def test_a_partition_with_a_part_of_some_zones(self, lab: Lab) -> None:
        survey(lab, floor_nodes(lab.site), PartitionRecord("dbg", "n01,n[04-05]", max_time_s=86_400))
        assert zones(told(lab, partition="dbg", min_nodes=2)) == {"rack02": 2}
        assert zones(told(lab, partition="dbg", min_nodes=3)) == {"rack01": 1, "rack02": 2}
        assert told(lab, partition="dbg", min_nodes=4).verdict == "reject"

    def test_over_zones_it_finds_all_nodes_in_one_partition(self, lab: Lab) -> None:
        east, west = PartitionRecord("east", "n[01-02]"), PartitionRecord("west", "n[04-05],n07")
        survey(lab, floor_nodes(lab.site), east, west)
        assert zones(told(lab, partition="east,west", min_nodes=3)) == {"rack02": 2, "rack03": 1}
        assert told(lab, partition="east,west", min_nodes=4).verdict == "reject"

    def test_new_memory_in_a_node_is_seen(self, lab: Lab) -> None:
        survey(lab, [replace(n, memory_mb=100_000) for n in floor_nodes(lab.site)])
        assert told(lab, min_mem_per_node=500_000).verdict == "reject"
        survey(lab, [replace(n, memory_mb=900_000) for n in floor_nodes(lab.site)])
        assert told(lab, min_mem_per_node=500_000).verdict == "admit"


@pytest.mark.parametrize(
    ("fields", "nodes"),
    [
        ({"num_tasks": 8, "min_cpus": 8, "ntasks_per_tres": 1}, 2),  # 8 GPUs, 4 a node
        ({"num_tasks": 8, "min_cpus": 8, "ntasks_per_gpu": 1}, 2),
        ({"tres_per_job": "gres:gpu:4", "cpus_per_tres": "gres:gpu:16"}, 2),  # 64 CPUs, 32 a node
        ({"tres_per_job": "gres:gpu:6", "tres_per_node": "gres:gpu:2"}, 3),
        ({"num_tasks": 2, "cpus_per_task": 20}, 2),  # no task over two nodes
        ({"num_tasks": 3, "tres_per_task": "gres:gpu:3"}, 3),
        ({"tres_per_job": "gres:gpu:4", "mem_per_tres": "gres:gpu:400000"}, None),
        ({"num_tasks": 4, "min_mem_per_cpu": 600_000}, None),
        ({"num_tasks": 4, "ntasks_per_socket": 1}, None),
    ],
)
def test_as_many_nodes_as_it_needs(lab: Lab, fields: dict[str, object], nodes: int | None) -> None:
    reply = told(lab, "power:est=1kW/node,max=1kW/node", min_nodes=None, **fields)
    assert reply.fields.get("max_nodes") == nodes


class TestGpusOfTheWholeJob:
    @pytest.mark.parametrize(
        "fields",
        [
            {"tres_per_job": "gres:gpu:16"},
            {"tres_per_job": "gres:gpu:16", "tres_per_node": "gres:gpu:4"},
            {"tres_per_task": "gres:gpu:4", "num_tasks": 4},
            {"num_tasks": 16, "ntasks_per_tres": 1},
        ],
    )
    def test_more_than_a_zone_has_go_with_no_binding(self, lab: Lab, fields: dict[str, object]) -> None:
        reply = submit(lab.desk, job("power:est=2kW", **{"min_nodes": None, **fields}))
        assert reply.verdict == "reject"
        assert "--gpus-per-node=8" in reply.message

    @pytest.mark.parametrize(
        "fields",
        [
            {"tres_per_job": "gres:gpu:4", "min_nodes": 4},  # each part alone could give them
            {"tres_per_node": "gres:gpu:4", "min_nodes": 4},
            {"tres_per_job": "gres:gpu:16", "req_nodes": "n[01-03],n04"},
        ],
    )
    def test_others_may_go_over_zones(self, lab: Lab, fields: dict[str, object]) -> None:
        assert len(zones(submit(lab.desk, job("power:est=2kW", **fields)))) == 2

    def test_they_find_a_zone_that_has_them(self, lab: Lab) -> None:
        assert list(zones(told(lab, tres_per_job="gres:gpu:12", min_nodes=None)).values()) == [12 // 4]


class TestBoundButWithoutNodes:
    """Slurm took the binding of a held job and then found no nodes for it: BadConstraints, priority 0."""

    def refused(self, lab: Lab, **fields: object) -> Entry:
        found = pending(admin_comment=ADMITTED, licenses="pw_rack03:5000", features="pw_rack03")
        lab.observe(found)
        lab.observe(replace(found, **{"priority": 0, "reason": "BadConstraints", "node_count": 3, **fields}))  # type: ignore[arg-type]
        return entry(lab)

    def test_it_is_nobodys_hold_and_tried_again_later(self, lab: Lab) -> None:
        bad = self.refused(lab)
        assert (bad.hold, bad.state) == (HoldKind.POWER, State.WAITING)
        assert "BadConstraints" in bad.note
        assert lab.committed("rack03") == 0
        assert not [plan for plan in run_pass(lab.desk) if plan]
        lab.wait(301)
        lab.observe(*[one.record for one in lab.desk.book.entries.values() if one.record])
        (plan,) = [plan for plan in run_pass(lab.desk) if plan]
        assert plan.action == "bind"
        applied(lab.desk, plan, Outcome(len(plan.chain)))
        assert lab.committed("rack03") + lab.committed("rack02") + lab.committed("rack01") == 5_000
        again = replace(pending(admin_comment=ADMITTED), priority=0, reason="BadConstraints", node_count=3)
        lab.observe(replace(again, licenses="pw_rack03:5000", features="pw_rack03"))
        assert (bad.hold, bad.state) == (HoldKind.POWER, State.WAITING)
        assert not [plan for plan in run_pass(lab.desk) if plan]

    def test_a_hold_of_the_user_stays_his(self, lab: Lab) -> None:
        assert self.refused(lab, reason="JobHeldUser").hold is HoldKind.USER

    def test_what_the_record_does_not_show_is_remembered(self, lab: Lab) -> None:
        survey(lab, [replace(n, memory_mb=900_000 if n.name < "n04" else 100_000) for n in floor_nodes(lab.site)])
        reply = told(lab, min_mem_per_node=500_000, dependency="afterany:7")
        held = pending(priority=0, admin_comment=str(reply.fields["admin_comment"]), dependency="afterany:7")
        lab.observe(pending(7), held)
        lab.observe(held)
        ask = entry(lab).ask
        assert ask is not None
        assert ask.request.zones == frozenset({"rack01"})


class TestArrays:
    @pytest.mark.parametrize("text", ["1-6", "[1-6]", "+1-+6", " +1-6", "[1,3-11:2]"])
    def test_as_slurm_reads_them(self, text: str) -> None:
        spec = parse_array(text)
        assert spec is not None
        assert spec.tasks == 6

    @pytest.mark.parametrize("text", ["[1-6%2]", "1-6%2", "[1-6]% +2"])
    def test_throttles(self, text: str) -> None:
        spec = parse_array(text)
        assert spec is not None
        assert (spec.tasks, spec.throttle) == (6, 2)

    @pytest.mark.parametrize("text", ["0-99999999999999999999999", "0-999999999999999999", "5-1", "9" * 9_000])
    def test_without_measure(self, lab: Lab, text: str) -> None:
        assert told(lab, array_inx=text).verdict in ("admit", "hold", "reject")


def test_constraints_are_not_remembered_without_end() -> None:
    world = World(site_of(), floor_nodes(site_of()), floor_partitions())
    for number in range(1_500):
        world.zones_with(f"fast|x{number}")
    assert len(world._by_feature) <= 1_000
    assert world.zones_with("x&" * 600 + "x").zones == frozenset(world.site.topology.zones)
