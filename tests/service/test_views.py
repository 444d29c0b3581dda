import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.ports import JobRecord, JobState, LicenseRecord
from slurm_power.service import views
from slurm_power.service.facts import from_hook
from slurm_power.service.submit import submit
from tests.service.support import Lab, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


def shown(lab: Lab, job_id: int, comment: str, **fields: object) -> None:
    reply = submit(lab.desk, job(comment, **fields))
    record = JobRecord(
        job_id,
        JobState.PENDING,
        1001,
        user="alice",
        name="train",
        partition="main",
        comment=comment,
        priority=0 if reply.verdict == "hold" else 1_000,
        admin_comment=str(reply.fields["admin_comment"]),
        time_limit_s=3_600,
    )
    lab.observe(record, whole=False)


def named(items: Any, name: str) -> Mapping[str, Any]:
    return next(item for item in items if item["name"] == name)


def test_zones_and_feeds_with_their_numbers(lab: Lab) -> None:
    shown(lab, 1, "power:est=5kW,max=6kW,zones=rack02")
    found: Any = views.zones(lab.desk, {"pw_rack02": LicenseRecord("pw_rack02", 26_000, 5_000)})
    zone = named(found["zones"], "rack02")
    assert json.loads(json.dumps(found)) == found
    numbers = {
        key: zone[key]
        for key in ("limit_w", "usable_w", "baseline_w", "committed_w", "burst_w", "headroom_w")
    }
    assert numbers == {
        "limit_w": 30_000,
        "usable_w": 27_000,
        "baseline_w": 1_000,
        "committed_w": 6_000,
        "burst_w": 1_000,
        "headroom_w": 21_000,
    }
    assert (zone["jobs"], zone["license"]) == (1, "pw_rack02")
    assert (zone["license_total"], zone["license_used"]) == (26_000, 5_000)
    feed = named(found["feeds"], "ups-a")
    assert (feed["side"], feed["parent"], feed["committed_w"]) == ("A", None, 7_250)
    assert named(found["feeds"], "loop")["kind"] == "cooling"


def test_jobs_of_all_and_of_one(lab: Lab) -> None:
    shown(lab, 1, "power:est=5kW")
    shown(lab, 2, "power:est=5kW", priority=0)
    found: Any = views.jobs(lab.desk)
    assert [(j["job"], j["state"], j["hold"], j["zones"]) for j in found["jobs"]] == [
        ("1", "admitted", None, ["rack03"]),
        ("2", "parked", "user", []),
    ]
    assert views.jobs(lab.desk, 4_711) == {"schema": 1, "jobs": []}


def test_an_admitted_job_explained(lab: Lab) -> None:
    shown(lab, 1, "power:est=5kW", qos="gold")
    found: Any = views.explain(lab.desk, "1")
    assert (found["verdict"], found["power_class"], found["reasons"]) == ("admit", "reserved", [])
    assert found["sentence"] == "Job 1 is admitted in rack01 on reserved power."


def test_a_waiting_job_explained(lab: Lab) -> None:
    shown(lab, 1, "power:est=20kW,max=20kW,zones=rack03")
    shown(lab, 2, "power:est=5kW,max=5kW,zones=rack03")
    found: Any = views.explain(lab.desk, "2")
    assert found["verdict"] == "hold"
    (reason,) = found["reasons"]
    assert (reason["code"], reason["subject"], reason["asked_w"], reason["free_w"], reason["short_w"]) == (
        "zone_power",
        "rack03",
        5_000,
        2_000,
        3_000,
    )
    assert found["earliest_start"] == "2027-01-15T09:00:00Z"
    assert any(cure["after_job"] == "1" for cure in found["helps"])
    assert found["sentence"].startswith(
        "Job 2 waits because zone rack03 is short of power: asked 5kW, free 2kW"
    )
    assert "when job 1 ends" in found["sentence"]


def test_names_of_tasks_components_and_tokens(lab: Lab) -> None:
    runs = JobRecord(10, JobState.RUNNING, 1001, node_list="n01", comment="power:est=1kW")
    lab.observe(
        replace(runs, array_job_id=9, array_task_id=3),
        replace(runs, job_id=20, het_job_id=20, het_offset=0),
        replace(runs, job_id=21, het_job_id=20, het_offset=1),
    )
    shown = {"9_3": 10, "9": 10, "20": 20, "20+1": 21, "10": 10, "job10": 10}
    for name, job_id in shown.items():
        found: Any = views.explain(lab.desk, name)
        assert found is not None, name
        assert found["job_id"] == job_id
    for name in ("9_4", "20+2", "4711", "9_x", "", "x_[1-2]"):
        assert views.explain(lab.desk, name) is None, name
    assert views.explain(lab.desk, "4711") is None


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"comment": "power:est=5kW"}, "admit"),
        ({"comment": "power:est=5kW", "partition": "outside"}, "admit"),
        ({"comment": "power:est=80kW"}, "reject"),
        ({"comment": "power:est="}, "reject"),
        ({"comment": "power:est=5kW,class=overnight"}, "hold"),
    ],
)
def test_check_claims_nothing(lab: Lab, fields: dict[str, object], verdict: str) -> None:
    before = dict(lab.desk.ledger.claims)
    found: Any = views.check(lab.desk, from_hook(job(str(fields.pop("comment")), **fields)))
    assert found["verdict"] == verdict
    assert found["sentence"].endswith(".")
    assert json.loads(json.dumps(found)) == found
    assert lab.desk.ledger.claims == before
    assert not lab.desk.book.entries


def test_a_report_counts(lab: Lab) -> None:
    for comment in ("power:est=5kW", "power:est=5kW", "power:est="):
        submit(lab.desk, job(comment))
    found: Any = views.report(lab.journal.decisions, would=False)
    assert found["counts"] == {"admit": 2, "reject": 1}
    assert found["reason_counts"] == {"envelope": 1}
    assert views.report(lab.journal.decisions, would=True)["counts"] == {}


def test_a_report_of_what_would_have_been() -> None:
    lab = Lab(site_of(mode="observe"))
    submit(lab.desk, job("power:est=80kW"))
    assert views.report(lab.journal.decisions, would=True)["counts"] == {"would-reject": 1}
