import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Code
from slurm_power.core.service_level import Miss, Promise, Run, cause_of, judge
from slurm_power.core.window import FOREVER


@pytest.mark.parametrize(
    ("state", "code", "cause"),
    [
        (State.WAITING, None, Miss.POWER),
        (State.WAITING, Code.ZONE_POWER, Miss.POWER),
        (State.WAITING, Code.FEED_BURST, Miss.POWER),
        (State.WAITING, Code.RESERVED_POWER, Miss.POWER),
        (State.WAITING, Code.NODES, Miss.SCHEDULER),
        (State.WAITING, Code.BINDING, Miss.INVENTORY),
        (State.WAITING, Code.NO_ZONE, Miss.INVENTORY),
        (State.WAITING, Code.HOURS, None),
        (State.WAITING, Code.RESERVATION, None),
        (State.ADMITTED, None, Miss.SCHEDULER),
        (State.BINDING, Code.ZONE_POWER, Miss.SCHEDULER),
        (State.DENIED, None, Miss.POWER),
        (State.PARKED, Code.USER_HOLD, None),
        (State.PARKED, Code.ZONE_POWER, None),
        (State.FREE, None, None),
        (State.RUNNING, None, None),
    ],
)
def test_what_a_job_waits_for(state: State, code: Code | None, cause: Miss | None) -> None:
    assert cause_of(state, code) is cause


@pytest.mark.parametrize(
    ("waited", "miss"),
    [
        ({}, None),
        ({Miss.POWER: 60}, None),
        ({Miss.POWER: 61}, Miss.POWER),
        ({Miss.POWER: 30, Miss.SCHEDULER: 30}, None),
        ({Miss.POWER: 30, Miss.SCHEDULER: 31}, Miss.SCHEDULER),
        ({Miss.SCHEDULER: 40, Miss.INVENTORY: 40}, Miss.INVENTORY),
        ({Miss.SCHEDULER: 40, Miss.INVENTORY: 40, Miss.POWER: 40}, Miss.POWER),
    ],
)
def test_what_made_a_run_wait_too_long(waited: dict[Miss, int], miss: Miss | None) -> None:
    assert judge(Run(waited), Promise(60)) is miss


LATE = {Miss.POWER: 61}
NEVER, HOUR = Promise(60, min_run_s=FOREVER), Promise(60, min_run_s=3_600)
SHORT = Promise(60, max_shortfall_s=300, max_burst_shortfall_s=900)


@pytest.mark.parametrize(
    ("run", "promise", "miss"),
    [
        (Run(ran_s=7_200, preempted=True), NEVER, Miss.PREEMPTED),
        (Run(LATE, ran_s=10, preempted=True), NEVER, Miss.PREEMPTED),
        (Run(ran_s=3_599, preempted=True), HOUR, Miss.PREEMPTED),
        (Run(ran_s=3_600, preempted=True), HOUR, None),
        (Run(ran_s=3_599), HOUR, None),
        (Run(ran_s=600, asked_s=600, preempted=True), HOUR, None),
        (Run(ran_s=599, asked_s=600, preempted=True), HOUR, Miss.PREEMPTED),
        (Run(ran_s=1, preempted=True), Promise(60), None),
        (Run(shortfall_s=300, burst_shortfall_s=900), SHORT, None),
        (Run(shortfall_s=301), SHORT, Miss.WATTS),
        (Run(burst_shortfall_s=901), SHORT, Miss.BURST),
        (Run(LATE, shortfall_s=301, burst_shortfall_s=901), SHORT, Miss.WATTS),
        (Run(LATE, burst_shortfall_s=901), SHORT, Miss.BURST),
        (Run(ran_s=1, preempted=True, shortfall_s=1), Promise(60, 0, min_run_s=2), Miss.PREEMPTED),
        (Run(shortfall_s=1), Promise(60, 0), Miss.WATTS),
        (Run(shortfall_s=10**9, burst_shortfall_s=10**9), Promise(60), None),
    ],
)
def test_what_made_a_run_miss(run: Run, promise: Promise, miss: Miss | None) -> None:
    assert judge(run, promise) is miss
