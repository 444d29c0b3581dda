"""A pass that takes a breath while it looks for the place of one job: what happens meanwhile counts."""

from collections.abc import Callable

import pytest

from slurm_power.core import spread
from slurm_power.core.admission import Admit, Hold
from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Code
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.core.recount import differences
from tests.service.support import START, Lab, job

WIDE = JobRecord(
    1,
    JobState.PENDING,
    1001,
    partition="main",
    name="wide",
    node_count=5,
    cpus=160,
    exclusive=True,
    time_limit_s=3_600,
    submit_time=START - 100,
    comment="power:est=30kW,max=30kW",
    admin_comment="power:id=t1,v=hold,hold=power",
)
"""A job that takes parts of two zones."""


@pytest.fixture(autouse=True)
def breathless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_AT_ONCE", 1)


def passed(breath: int, meanwhile: Callable[[Lab], object]) -> tuple[Lab, list[str], int]:
    """A pass with something done at one of its breaths: what it plans, and how many breaths it took."""
    lab = Lab()
    lab.observe(WIDE)
    breaths, targets = 0, []
    for plan in run_pass(lab.desk):
        if plan is not None:
            targets.append(plan.target)
        elif breaths == breath:
            meanwhile(lab)
        breaths += plan is None
    assert all(meter.headroom_w >= 0 for meter in lab.desk.ledger.meters.values())
    assert differences(lab.desk.ledger) == []
    return lab, targets, breaths


def test_it_is_placed_where_nothing_happens() -> None:
    lab, targets, breaths = passed(0, lambda lab: None)
    assert targets == ["1"]
    assert len(lab.desk.ledger.claims["t1"].charges) == 2
    assert breaths > 3


def test_what_is_promised_to_others_meanwhile_is_not_promised_again() -> None:
    """At each breath: the place that was found stands, or the job waits for the next pass."""
    waited = 0
    breaths = passed(0, lambda lab: None)[2]
    for breath in range(breaths):
        lab, targets, _ = passed(breath, lambda lab: submit(lab.desk, job("power:est=20kW,max=20kW", min_nodes=3)))
        entry = lab.desk.book.get("t1")
        assert entry is not None
        assert (targets == ["1"]) is isinstance(entry.verdict, Admit)
        if isinstance(entry.verdict, Hold) and entry.verdict.reasons[0].code is Code.LARGE:
            waited += 1
            assert entry.state is State.WAITING
            assert lab.desk.shadow.head is not None
    assert waited


@pytest.mark.parametrize("breath", range(4))
def test_a_job_that_leaves_meanwhile_is_not_placed(breath: int) -> None:
    def leaves(lab: Lab) -> None:
        entry = lab.desk.book.get("t1")
        if entry is not None:
            lab.desk.book.drop(entry)

    lab, targets, _ = passed(breath, leaves)
    assert targets == []
    assert not lab.desk.ledger.claims
    assert lab.desk.shadow.head is None
