"""What comes free between two passes is for the head of the queue, not for whoever happens to be submitted then."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.binding import licence_plan
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code
from slurm_power.ports import JobRecord, JobState, PartitionRecord
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.service.support import START, Lab, floor_nodes, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


def waits(job_id: int = 1, comment: str = "power:est=20kW,max=20kW,zones=rack03", **fields: Any) -> JobRecord:
    return JobRecord(
        job_id,
        JobState.PENDING,
        1001,
        user="alice",
        account="research",
        partition="main",
        qos="bronze",
        time_limit_s=3_600,
        submit_time=START - 100,
        comment=comment,
        admin_comment=f"power:id=t{job_id},v=hold,hold=power",
        **fields,
    )


def runs(job_id: int = 9, watts: int = 15_000) -> JobRecord:
    record = replace(waits(job_id, f"power:est={watts},max={watts}"), state=JobState.RUNNING, priority=1_000)
    return replace(record, node_list="n07", start_time=START, end_time=START + 3_600, admin_comment="")


def passes(lab: Lab) -> list[str]:
    return [plan.target for plan in run_pass(lab.desk) if plan is not None]


def newcomer(lab: Lab, comment: str = "power:est=5kW,max=5kW,zones=rack03", **fields: object) -> str:
    """Short enough to be over before the head was to start."""
    return submit(lab.desk, job(comment, **{"time_limit": 10, "user_id": 1002, "user_name": "bob", **fields})).verdict


def test_a_newcomer_does_not_take_what_the_head_waits_for(lab: Lab) -> None:
    lab.observe(runs(), waits())
    assert passes(lab) == []
    lab.observe(waits())
    assert newcomer(lab) == "hold"
    assert passes(lab) == ["1"]


def test_a_newcomer_that_is_over_before_the_head_can_start_delays_nobody(lab: Lab) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    assert newcomer(lab) == "admit"


def test_it_says_for_whom_it_waits(lab: Lab) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    lab.observe(waits())
    told = submit(lab.desk, job("power:est=4kW,max=4kW,zones=rack03", time_limit=10))
    assert told.verdict == "hold"
    (reason, *_) = lab.journal.decisions[-1].reasons
    assert reason["code"] == Code.QUEUE
    assert passes(lab) == ["1"]


def test_who_fits_beside_the_head_is_admitted(lab: Lab) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    lab.observe(waits())
    assert newcomer(lab, "power:est=2kW,max=2kW,zones=rack03") == "admit"
    assert newcomer(lab, "power:est=5kW,max=5kW,zones=rack02") == "admit"
    assert passes(lab) == ["1"]


def test_what_comes_free_elsewhere_does_not_cost_the_head_its_place(lab: Lab) -> None:
    """Its shadow lies in one rack, and another comes free for a while."""
    head = waits(1, "power:est=20kW,max=20kW,zones=rack[02-03]")
    other = replace(runs(8, 12_000), node_list="n04", end_time=START + 7_200)
    lab.observe(runs(), other, head)
    passes(lab)
    lab.observe(runs(), head)
    assert newcomer(lab, "power:est=8kW,max=8kW,zones=rack02", qos="silver") == "admit"
    assert newcomer(lab, "power:est=5kW,max=5kW,zones=rack03", time_limit=24 * 60) == "hold"


def test_who_waits_behind_a_job_without_an_end_goes_first_too(lab: Lab) -> None:
    """Nobody can tell its start, so there is no plan for it."""
    licences = licence_plan(lab.site.topology).counts
    lab.desk.survey(floor_nodes(lab.site), [PartitionRecord("main", "n[01-09]", default=True)], licences)
    lab.observe(replace(runs(), end_time=None, time_limit_s=None), waits())
    passes(lab)
    assert lab.desk.shadow.id is None
    lab.observe(waits())
    assert newcomer(lab) == "hold"
    assert passes(lab) == ["1"]


def test_while_the_queue_is_looked_at_the_last_plan_holds(lab: Lab) -> None:
    """Gold is placed first, and somebody is submitted before the head has its turn."""
    gold = waits(2, "power:est=1kW,max=1kW,zones=rack01")
    lab.observe(runs(), waits())
    passes(lab)
    lab.observe(waits(), replace(gold, qos="gold", admin_comment="power:id=t2,v=hold,hold=power"))
    found = run_pass(lab.desk)
    targets = []
    for plan in found:
        if plan is not None:
            targets.append(plan.target)
            assert newcomer(lab) == "hold"
    assert targets == ["2", "1"]


@pytest.mark.parametrize("why", ["licences of its own", "a part that its user holds"])
def test_who_cannot_start_for_another_reason_keeps_nobody_out(lab: Lab, why: str) -> None:
    if why == "licences of its own":
        jobs = [waits(1, "power:est=20kW,max=20kW,zones=rack03", licenses="matlab:1|fluent:1")]
    else:
        parts = [waits(n, "power:est=20kW,max=20kW,zones=rack03", het_job_id=1, het_offset=n - 1) for n in (1, 2)]
        jobs = [parts[0], replace(parts[1], admin_comment="", comment="", dependency="afterany:9(unfulfilled)")]
    for _ in range(3):
        lab.observe(*jobs)
        assert passes(lab) == []
        lab.wait(5)
    assert newcomer(lab, "power:est=10kW,max=10kW,zones=rack03") == "admit"


def test_the_plan_goes_with_the_mode(lab: Lab) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    lab.desk.mode = Mode.ADVISE
    assert not list(lab.desk.ledger.bookings())


def test_a_higher_tier_goes_before_the_head(lab: Lab) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    lab.observe(waits())
    assert newcomer(lab, qos="silver") == "admit"


@pytest.mark.parametrize("how", ["cancelled", "waits for another"])
def test_a_head_that_no_longer_waits_keeps_nobody_out(lab: Lab, how: str) -> None:
    lab.observe(runs(), waits())
    passes(lab)
    if how == "cancelled":
        lab.observe(runs(8, 1_000))
    else:
        lab.observe(runs(8, 1_000), waits(dependency="afterany:8(unfulfilled)"))
    assert newcomer(lab) == "admit"


def test_trials_again_and_again_do_not_keep_the_head_out() -> None:
    """Submissions that never come to Slurm: each is dropped after its time, and others come at once."""
    lab = Lab(site_of(hook="{token_ttl: 10s, rumour_cap: 22kW}"))
    assert [newcomer(lab, "power:est=11kW,max=11kW,zones=rack03") for _ in range(3)] == ["admit", "admit", "hold"]
    lab.observe(waits())
    assert passes(lab) == []
    lab.wait(11)
    lab.observe(waits(), begun=lab.clock.monotonic() + 11)
    assert newcomer(lab, "power:est=11kW,max=11kW,zones=rack03") == "hold"
    assert passes(lab) == ["1"]
