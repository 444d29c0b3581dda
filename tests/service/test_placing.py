"""Overrides: an operator places a held job ahead of the queue, within physics."""

from typing import Any

import pytest

from slurm_power.core.errors import UsageError
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.ports import Release, Update
from slurm_power.service.placing import place
from tests.core.recount import differences
from tests.service.support import Lab
from tests.service.test_release import entry, held, plans, runs


@pytest.fixture
def lab() -> Lab:
    """rack03 can give 22 kW; job 1 draws 15 of them, job 2 heads the queue for 20, job 3 asks for 5 behind it."""
    lab = Lab()
    first = runs(1, 15_000)
    second = held(2, "power:est=20kW,max=20kW,zones=rack03", time_limit_s=7_200)
    third = held(3, "power:est=5kW,max=5kW,zones=rack03", time_limit_s=36_000)
    assert not plans(lab, first, second, third)
    return lab


def test_a_job_goes_ahead_of_the_queue(lab: Lab) -> None:
    plan = place(lab.desk, entry(lab, 3), "rack03")
    update, release = plan.chain
    assert isinstance(update, Update)
    assert update.fields["Licenses"] == "pw_rack03:5000,pw_ups-a:2500,pw_ups-b:2500"
    assert isinstance(release, Release)
    assert entry(lab, 3).state is State.BINDING
    assert lab.desk.ledger.meters["rack03"].claimed_w == 20_000
    assert not differences(lab.desk.ledger)


def test_not_past_a_budget(lab: Lab) -> None:
    with pytest.raises(UsageError, match="within physics: rack03: zone rack03 is short of power: asked 20kW, free 7kW"):
        place(lab.desk, entry(lab, 2), "rack03")
    assert entry(lab, 2).state is State.WAITING
    assert lab.desk.ledger.meters["rack03"].claimed_w == 15_000


def test_not_where_the_job_itself_may_not_go(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"may not go to zone rack01: its partition, zones= or nodes allow rack03"):
        place(lab.desk, entry(lab, 3), "rack01")


def test_without_a_zone_the_tightest_that_can_carry_it(lab: Lab) -> None:
    lab.observe(runs(1, 15_000), held(4, "power:est=5kW,max=5kW"))
    place(lab.desk, entry(lab, 4), None)
    assert [charge.zone for charge in entry(lab, 4).charges] == ["rack03"]


def test_a_lane_and_a_headroom_floor_give_way(lab: Lab) -> None:
    lab.observe(runs(1, 15_000), held(4, "power:est=5kW,max=5kW,headroom=20kW,zones=rack03", qos="gold"))
    place(lab.desk, entry(lab, 4), "rack03")
    assert entry(lab, 4).state is State.BINDING


def test_the_hours_of_a_class_give_way(lab: Lab) -> None:
    lab.observe(runs(1, 15_000), held(4, "power:est=5kW,max=5kW,class=overnight,zones=rack03"))
    assert entry(lab, 4).state is State.PARKED
    place(lab.desk, entry(lab, 4), "rack03")
    assert entry(lab, 4).state is State.BINDING


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"admin_comment": "power:id=t4,v=hold,hold=both"}, "held by its user or an administrator too"),
        ({"array_job_id": 4, "array_tasks": "0-3"}, "is placed by parts; name one task of it, such as 4_3"),
        ({"dependency": "afterok:1"}, "not eligible yet"),
        ({"priority": 5}, "only one that is held for power can be placed"),
    ],
)
def test_what_cannot_be_placed_says_why(lab: Lab, fields: dict[str, Any], why: str) -> None:
    lab.observe(runs(1, 15_000), held(4, **fields))
    with pytest.raises(UsageError, match=why):
        place(lab.desk, entry(lab, 4), "rack03")
    assert not differences(lab.desk.ledger)


def test_one_that_runs_is_not_placed_again(lab: Lab) -> None:
    with pytest.raises(UsageError, match="job 1 is running; only one that is held for power can be placed"):
        place(lab.desk, entry(lab, 1), "rack03")


def test_a_closed_zone_takes_nobody(lab: Lab) -> None:
    lab.desk.ledger.close("rack03", "too hot")
    with pytest.raises(UsageError, match="rack03: closed: too hot"):
        place(lab.desk, entry(lab, 3), "rack03")


def test_not_while_zones_are_being_counted_anew(lab: Lab) -> None:
    lab.desk.mode = Mode.ENFORCE
    lab.desk._moved_at = lab.desk.clock.monotonic() + 100
    with pytest.raises(UsageError, match="zones have just changed"):
        place(lab.desk, entry(lab, 3), "rack03")
