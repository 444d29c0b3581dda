"""Constraints that cannot be combined with several zones: `[x*2&y*2]` and other brackets."""

import pytest

from slurm_power.core.binding import feature_of
from slurm_power.core.lifecycle import State
from slurm_power.core.record import find_record
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import Lab, floor_nodes, job

COUNTED = ["[fast*2&fast*2]", "[fast|slow]", "fast&[fast*4]"]


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize("constraint", COUNTED)
def test_more_nodes_than_any_zone_has_are_refused_with_what_to_write(lab: Lab, constraint: str) -> None:
    reply = submit(lab.desk, job("power:est=4kW,max=4kW", features=constraint, min_nodes=4, num_tasks=4, shared=0))
    assert reply.verdict == "reject"
    assert f"--constraint={constraint} keeps it to one zone" in reply.message
    assert "-C x : -N2 -C y" in reply.message


@pytest.mark.parametrize("constraint", ["fast", "fast|slow", ""])
def test_others_are_spread_as_before(lab: Lab, constraint: str) -> None:
    reply = submit(lab.desk, job("power:est=4kW,max=4kW", features=constraint, min_nodes=4, num_tasks=4, shared=0))
    assert reply.verdict == "admit"
    assert str(reply.fields["features"]).count(feature_of("rack")) == 2


@pytest.mark.parametrize("constraint", COUNTED[:2])
def test_it_waits_for_one_zone_rather_than_be_split(lab: Lab, constraint: str) -> None:
    """Once rack02 has two nodes left, a job of three could only be split over rack01 and rack02, and never be bound."""
    taken = submit(lab.desk, job("power:est=1kW,max=1kW,zones=rack01", min_nodes=2, num_tasks=2, shared=0, name="n"))
    assert taken.verdict == "admit"
    fields: dict[str, object] = {"features": constraint, "min_nodes": 3, "num_tasks": 3, "shared": 0, "qos": "gold"}
    reply = submit(lab.desk, job("power:est=3kW,max=3kW", **fields))
    assert reply.verdict == "admit"
    record = find_record(str(reply.fields["admin_comment"]))
    assert record is not None
    assert [(charge.zone, charge.nodes) for charge in record.charges] == [("rack02", 3)]
    again = submit(lab.desk, job("power:est=3kW,max=3kW", **fields))
    assert again.verdict == "hold"
    assert "rack0" in again.message


def test_one_that_came_past_the_hook_says_that_it_can_never_run(lab: Lab) -> None:
    record = JobRecord(
        1,
        JobState.PENDING,
        1001,
        partition="main",
        qos="bronze",
        comment="power:est=4kW,max=4kW",
        node_count=4,
        cpus=4,
        exclusive=True,
        features=COUNTED[0],
        admin_comment="power:id=t1,v=hold,hold=power",
    )
    lab.observe(record)
    assert [plan for plan in run_pass(lab.desk) if plan is not None] == []
    entry = lab.desk.book.of_job(1)
    assert entry is not None
    assert entry.state is State.WAITING
    assert [decision.action for decision in lab.journal.decisions][-1] == "never"


def test_without_counts_in_one_zone_it_is_bound_there(lab: Lab) -> None:
    lab.survey(floor_nodes(lab.site))
    reply = submit(lab.desk, job("power:est=2kW", features="[fast*1&fast*1]", min_nodes=2, num_tasks=2, shared=0))
    assert reply.fields["features"] == "[(fast&pw_rack03)*1&(fast&pw_rack03)*1]"
