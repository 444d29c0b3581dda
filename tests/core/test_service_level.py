import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Code
from slurm_power.core.service_level import Miss, Promise, cause_of, judge


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
    ("waited", "preempted", "miss"),
    [
        ({}, False, None),
        ({Miss.POWER: 60}, False, None),
        ({Miss.POWER: 61}, False, Miss.POWER),
        ({Miss.POWER: 30, Miss.SCHEDULER: 30}, False, None),
        ({Miss.POWER: 30, Miss.SCHEDULER: 31}, False, Miss.SCHEDULER),
        ({Miss.SCHEDULER: 40, Miss.INVENTORY: 40}, False, Miss.INVENTORY),
        ({Miss.SCHEDULER: 40, Miss.INVENTORY: 40, Miss.POWER: 40}, False, Miss.POWER),
        ({}, True, Miss.PREEMPTED),
        ({Miss.POWER: 61}, True, Miss.PREEMPTED),
    ],
)
def test_what_made_a_run_miss(waited: dict[Miss, int], preempted: bool, miss: Miss | None) -> None:
    assert judge(waited, Promise(60), preempted=preempted) is miss
