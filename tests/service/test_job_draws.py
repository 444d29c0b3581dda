"""What a job declared, drew and cost, for its owner; replayed, too, with the logged power of real nodes."""

import asyncio
from collections.abc import Iterator

import pytest

from slurm_power.ports import Decision, JobState, Kind, StoredDraw
from slurm_power.service import views
from slurm_power.service.metering import RUN
from slurm_power.service.run_views import ended
from tests.service.preempt_rig import SITE
from tests.service.test_measuring import Metered

NODES = SITE + """\
tariff: {currency: EUR, kwh: 1}
control: {smoothing: 10s, ramp: 30s}
telemetry:
  - {type: slurm, every: 1s, stale: 20s}
  - {type: redfish, url: "http://rack-b", zone: b, every: 1s, stale: 20s}
"""


@pytest.fixture
def rig() -> Iterator[Metered]:
    made = Metered(text=NODES)
    yield made
    made.end()


def finish(rig: Metered, job: int) -> str:
    """The job ends; the sentence that its owner reads then."""
    rig.slurm.finish(job)
    rig.later(2, 2)
    found = ended(str(job), rig.lines(RUN), 1)
    assert found is not None
    return str(found["sentence"])


def draws_by_nodes(rig: Metered, watts: dict[str, int], seconds: int) -> None:
    for _ in range(seconds):
        for node, value in watts.items():
            rig.says(value, zone=node, kind=Kind.NODE)
        rig.later(1)


def test_by_its_own_nodes(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",max=12kW,zones=a", node_count=2)
    nodes = rig.job(job).node_list
    assert nodes == "a[1-2]"
    draws_by_nodes(rig, {"a1": 3_000, "a2": 4_000}, 100)
    draws_by_nodes(rig, {"a1": 5_000, "a2": 6_000}, 10)
    told = views.explain(rig.desk, str(job))
    assert told is not None
    drawn = told["drawn"]
    assert isinstance(drawn, dict)
    assert (drawn["latest_w"], drawn["peak_w"], drawn["whole"]) == (11_000, 11_000, True)
    assert drawn["p50_w"] == pytest.approx(7_000, rel=0.006)
    assert drawn["p95_w"] == pytest.approx(11_000, rel=0.006)
    sentence = finish(rig, job)
    assert sentence.startswith(f"Job {job} has ended; it declared 9kW (at most 12kW), ran for 00:01:5")
    assert "in the median" in sentence
    assert "11kW at its peak" in sentence
    assert "and cost 0.29 EUR" in sentence  # 9 kW for 116 s


def test_nodes_that_are_shared_are_divided_by_what_was_declared(rig: Metered) -> None:
    share = {"exclusive": False, "cpus": 8, "required_nodes": "a1"}
    small = rig.running("bronze", est_w=1_000, more=",zones=a", **share)
    large = rig.running("bronze", est_w=3_000, more=",zones=a", **share)
    draws_by_nodes(rig, {"a1": 6_000}, 12)
    found = {job: rig.desk.metering.drawn.get(rig.desk.book.of_job(job).key) for job in (small, large)}  # type: ignore[union-attr]
    assert [run.latest_w for run in found.values() if run is not None] == [1_500, 4_500]
    assert ", as its part of what it shared" in finish(rig, small)


def test_by_its_zone_where_nothing_nearer_is_measured(rig: Metered) -> None:
    for _ in range(2):
        rig.running("bronze", est_w=4_000, more=",zones=b")
    job = rig.running("bronze", est_w=2_000, more=",zones=b")
    for _ in range(12):
        rig.says(12_500, zone="b", source=1)
        rig.later(1)
    assert "drew 2.5kW in the median" in finish(rig, job)


def test_a_run_of_which_nothing_was_measured(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",zones=a")
    rig.later(30, 3)
    assert "and nothing is known of what it drew" in finish(rig, job)


def test_a_restart_in_the_middle_is_told(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 3_000}, 60)
    rig.crash()
    rig.later(1)
    draws_by_nodes(rig, {"a1": 3_000}, 30)
    assert rig.state(job) is JobState.RUNNING
    assert "that were measured" in finish(rig, job)


def test_what_it_drew_before_the_daemon_was_restarted_counts(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 6_000}, 100)
    rig.rounds.usage.end()
    rig.crash()
    rig.rounds.usage.load(rig.store)
    draws_by_nodes(rig, {"a1": 3_000}, 100)
    [line] = told(rig, job)
    assert line.numbers["measured_s"] == pytest.approx(205, abs=15)
    assert (line.numbers["peak_w"], line.numbers["whole"]) == (6_000, 1)
    assert line.numbers["p95_w"] == pytest.approx(6_000, rel=0.006)


def test_a_run_that_began_anew_meanwhile_has_drawn_nothing_yet(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 6_000}, 100)
    rig.rounds.usage.end()
    rig.slurm.user_requeue(job)
    rig.clock.instant += 300
    rig.slurm.tick(rig.clock.instant)
    rig.crash()
    rig.rounds.usage.load(rig.store)
    rig.later(130, 3)
    assert rig.state(job) is JobState.RUNNING
    draws_by_nodes(rig, {"a1": 3_000}, 20)
    assert told(rig, job)[-1].numbers["peak_w"] == 3_000


def test_profiles_learn_nothing_twice_over_a_crash(rig: Metered) -> None:
    job = rig.running("bronze", est_w=9_000, more=",zones=a", node_count=1)
    usage = rig.rounds.usage
    draws_by_nodes(rig, {"a1": 6_000}, 2_400)
    asyncio.run(usage._learn())
    rig.writer.flush(10)
    rig.crash()
    rig.rounds.usage.load(rig.store)
    draws_by_nodes(rig, {"a1": 6_000}, 1_900)
    asyncio.run(rig.rounds.usage._learn())
    rig.writer.flush(10)
    [profile] = rig.store.profiles(10)
    assert profile.detail["runs"] == 1
    assert rig.job(job).start_time is not None
    assert profile.detail["measured_s"] == pytest.approx(4_300, abs=50)


def test_what_cannot_be_read_is_left_out(rig: Metered, caplog: pytest.LogCaptureFixture) -> None:
    rig.store.replace_draws([StoredDraw("k", 1, {"sketch": 1}), StoredDraw("l", 1, {})])
    rig.rounds.usage.load(rig.store)
    assert len([record for record in caplog.records if "cannot be read" in record.getMessage()]) == 2


def told(rig: Metered, job: int) -> list[Decision]:
    """The job ends; what the audit log says of its runs."""
    rig.slurm.finish(job)
    rig.later(2, 2)
    return [line for line in rig.lines(RUN) if line.job == str(job)]
