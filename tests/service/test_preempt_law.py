"""Who may preempt whom, and how, from what sacctmgr and slurm.conf say."""

import pytest

from slurm_power.core.giving_way import Means
from slurm_power.ports import JobRecord, JobState, PreemptionRecord, QosRecord
from slurm_power.service.law import NO_LAW, Law, law_of

OFF = PreemptionRecord("OFF")


def law(preempts: dict[str, str]) -> Law:
    return law_of([QosRecord(name, preempts=tuple(below.split())) for name, below in preempts.items()], OFF)


@pytest.mark.parametrize(
    ("preempts", "qos", "victims"),
    [
        ({"gold": "silver bronze", "silver": "bronze", "bronze": ""}, "gold", {"silver", "bronze"}),
        ({"gold": "silver bronze", "silver": "bronze", "bronze": ""}, "bronze", set()),
        ({"gold": "gold bronze", "bronze": ""}, "gold", {"bronze"}),
        ({"gold": "bronze", "bronze": "gold"}, "gold", set()),
        ({"gold": "silver", "silver": "bronze", "bronze": "gold"}, "gold", set()),
        ({"gold": "silver other", "silver": "gold", "other": ""}, "gold", {"other"}),
        ({"gold": "gone"}, "gold", set()),
        ({"gold": "bronze", "bronze": ""}, "unknown", set()),
    ],
)
def test_pairs(preempts: dict[str, str], qos: str, victims: set[str]) -> None:
    """Whoever could preempt back, by way of others too, is left out."""
    assert law(preempts).victims_of(qos) == victims


def test_nobody_preempts_before_slurm_has_been_asked() -> None:
    assert NO_LAW.victims_of("gold") == frozenset()


@pytest.mark.parametrize(
    ("own", "cluster", "batch", "requeue", "expected"),
    [
        ("", "OFF", True, True, Means.REQUEUE),
        ("", "GANG,SUSPEND", True, True, None),
        ("requeue", "GANG,SUSPEND", True, True, Means.REQUEUE),
        ("cancel", "REQUEUE", True, True, Means.CANCEL),
        ("cancel", "REQUEUE", False, True, Means.CANCEL),
        ("", "CANCEL", True, False, Means.CANCEL),
        ("requeue", "CANCEL", True, False, None),
        ("requeue", "CANCEL", False, True, None),
        ("within,requeue", "OFF", True, True, Means.REQUEUE),
    ],
)
def test_means(own: str, cluster: str, batch: bool, requeue: bool, expected: Means | None) -> None:
    found = law_of([QosRecord("bronze", preempt_mode=own)], PreemptionRecord(cluster))
    record = JobRecord(1, JobState.RUNNING, 1000, qos="bronze", batch=batch, requeue=requeue)
    if expected is None:
        assert found.obstacle(record)
    else:
        assert (found.obstacle(record), found.means(record)) == (None, expected)


@pytest.mark.parametrize(
    ("own", "cluster", "expected"), [(None, None, 0), (None, 60, 60), (0, 60, 0), (30, 60, 30), (30, None, 30)]
)
def test_exempt_time(own: int | None, cluster: int | None, expected: int) -> None:
    found = law_of([QosRecord("bronze", exempt_s=own)], PreemptionRecord("REQUEUE", cluster))
    assert found.exempt_s("bronze") == expected


@pytest.mark.parametrize(
    ("own", "batch", "requeue", "cluster_requeues", "expected"),
    [
        ("requeue", True, True, False, True),
        ("requeue", True, None, True, True),
        ("requeue", True, None, False, False),
        ("requeue", True, False, True, False),
        ("requeue", False, True, True, False),
        ("cancel", False, False, False, True),
        ("suspend", True, True, True, False),
    ],
)
def test_whom_a_planned_cut_could_end(
    own: str, batch: bool, requeue: bool | None, cluster_requeues: bool, expected: bool
) -> None:
    cluster = PreemptionRecord("OFF", requeue=cluster_requeues)
    found = law_of([QosRecord("bronze", preempt_mode=own)], cluster)
    assert found.may_end("bronze", batch=batch, requeue=requeue) == expected
    assert not found.may_end("unknown", batch=batch, requeue=requeue)
    assert not NO_LAW.may_end("bronze", batch=batch, requeue=requeue)
