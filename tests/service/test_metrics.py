"""What Prometheus is told: the same numbers as people are, and what has become of jobs and reservations."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest

from slurm_power.core.derate import Derate
from slurm_power.core.giving_way import Means, Preemption, Stage, Trigger, Victim
from slurm_power.core.histogram import Histogram
from slurm_power.core.reservation import Grant, Owner, Reservation, ReservationState, Terms
from slurm_power.core.steps import into
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import Decision, JobState, LicenseRecord
from slurm_power.ports.metrics import MetricKind
from slurm_power.service import views
from slurm_power.service.metrics import metrics
from slurm_power.service.overdrawn import Breach
from slurm_power.service.preempt_lines import GAVE_WAY, of_victim
from slurm_power.service.pulse import Pulse, Source
from slurm_power.service.reservation_rows import to_row
from slurm_power.service.submit import submit
from tests.service.support import START, job
from tests.service.watched import PRICED, Watched

LABELS = {
    "action", "cause", "command", "currency", "feed", "how", "kind", "lane", "license", "mode", "op", "outcome",
    "parent", "reason", "redundancy", "result", "side", "source", "stage", "state", "tier", "trigger", "type",
    "verdict", "version", "zone",
}  # fmt: skip
"""None of them names a job, a user, an account or a reservation."""
HOUR = 3_600


@pytest.fixture
def rig() -> Iterator[Watched]:
    made = Watched(text=PRICED)
    made.round()
    yield made
    made.end()


def test_names_and_labels_are_as_prometheus_wants_them(rig: Watched) -> None:
    rig.running("gold")
    for name, metric in rig.metrics().items():
        assert re.fullmatch(r"[a-z][a-z_]*[a-z]", name)
        assert (metric.kind is MetricKind.COUNTER) == name.endswith("_total"), name
        assert set(metric.labels) <= LABELS, name
        assert metric.help.endswith(".")
        assert all(len(key) == len(metric.labels) for key, _ in metric.samples), name
        assert len({key for key, _ in metric.samples}) == len(metric.samples), name


def test_zones_and_feeds_are_told_as_spower_zones_tells_them(rig: Watched) -> None:
    rig.running("gold", est_w=8_000, more=",max=9kW,zones=a")
    counted = [LicenseRecord("pw_a", 20_000, 8_000)]
    shown = views.zones(rig.desk, {record.name: record for record in counted})
    rows = {row["name"]: row for row in [*shown["zones"], *shown["feeds"]]}  # type: ignore[misc]
    found = rig.metrics(Pulse(licenses=counted))
    for what, names in (("zone", ["a", "b"]), ("feed", ["pdu"])):
        for number in ("limit", "usable", "baseline", "committed", "burst", "headroom", "room", "stray"):
            values = dict(found[f"{what}_{number}_watts"].samples)
            assert values == {(name,): rows[name][f"{number}_w"] for name in names}
    assert dict(found["zone_committed_watts"].samples)["a",] == 8_000
    assert dict(found["zone_license_used_watts"].samples) == {("a",): 8_000}
    assert dict(found["zone_jobs"].samples) == {("a",): 1, ("b",): 0}
    assert dict(found["zone_info"].samples) == {("a", "mixed", "N"): 1, ("b", "mixed", "N"): 1}
    assert dict(found["feed_info"].samples) == {("pdu", "A", "power", ""): 1}


def test_what_is_not_measured_is_left_out(rig: Watched) -> None:
    found = rig.metrics()
    for name in ("zone_measured_watts", "zone_telemetry_stale", "zone_disagreement_watts", "feed_breaker_open"):
        assert found[name].samples == []
    pulse = Pulse(breakers={"pdu": True, "a": False}, heat={"b": 2, "gone": 1})
    assert rig.values("feed_breaker_open", pulse) == {("pdu",): 1}
    assert rig.values("zone_breaker_open", pulse) == {("a",): 0}
    assert rig.values("zone_heat_steps", pulse) == {("b",): 2}


def test_jobs_by_state_and_tier_and_what_keeps_them(rig: Watched) -> None:
    rig.running("gold", est_w=20_000, more=",zones=a", node_count=4)
    rig.submit("gold", est_w=6_000, more=",zones=a")
    rig.later(2, 2)
    assert rig.value("jobs", "running", "gold") == 1
    assert rig.value("jobs", "waiting", "gold") == 1
    assert rig.values("waiting_jobs") == {("gold", "zone_power"): 1}
    assert rig.values("waiting_watts") == {("gold",): 6_000, ("silver",): 0, ("bronze",): 0}
    assert rig.value("running_watts", "gold") == 20_000
    assert rig.values("cost_per_hour") == {
        ("gold", "EUR"): pytest.approx(6.0), ("silver", "EUR"): 0, ("bronze", "EUR"): 0,
    }  # fmt: skip


def test_how_long_the_first_waits_and_who_waits_longer_than_promised(rig: Watched) -> None:
    rig.running("gold", est_w=20_000, more=",zones=a", node_count=4)
    rig.submit("bronze", est_w=6_000, more=",zones=a")
    rig.later(2, 2)
    assert (rig.value("head_wait_seconds", "bronze"), rig.value("late_jobs", "bronze")) == (4, 0)
    rig.later(597)
    assert (rig.value("head_wait_seconds", "bronze"), rig.value("late_jobs", "bronze")) == (601, 1)
    assert rig.values("sla_max_delay_seconds") == {("gold",): 1_800, ("bronze",): 600}
    assert rig.value("head_wait_seconds", "gold") == 0


def test_jobs_where_more_is_held_than_may_be(rig: Watched) -> None:
    rig.running("gold", est_w=10_000, more=",zones=a")
    rig.running("bronze", est_w=5_000, more=",zones=b")
    assert rig.value("jobs_short_of_headroom", "gold") == 0
    window = Window(rig.desk.now(), FOREVER)
    asyncio.run(rig.rounds.derating.add(Derate("d", "a", window, "hot", window.start, 0, 8_000)))
    assert rig.values("jobs_short_of_headroom") == {("gold",): 1, ("silver",): 0, ("bronze",): 0}
    assert rig.value("zone_derated_watts", "a") == 12_000
    assert rig.value("zone_headroom_watts", "a") == -2_000
    assert rig.values("zone_cut") == {("a",): 1, ("b",): 0}
    assert rig.values("derates") == {("active",): 1, ("planned",): 0}


def test_what_is_too_much_after_a_reload_is_told_until_those_with_notice_have_left(rig: Watched) -> None:
    """Nothing is taken off what the site file declares: that it was cut is all that tells it from other reasons."""
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.reload('"a[1-4]", limit: 20kW', '"a[1-4]", limit: 8kW')
    rig.later(2, 2)
    rig.later(300)
    assert rig.state(silver) is JobState.RUNNING
    assert rig.value("zone_committed_watts", "a") - rig.value("zone_usable_watts", "a") == 2_000
    assert (rig.value("zone_cut", "a"), rig.value("zone_derated_watts", "a")) == (1, 0)
    rig.later(300, 2)
    assert rig.state(silver) is JobState.PENDING
    assert (rig.value("zone_cut", "a"), rig.value("zone_committed_watts", "a")) == (0, 0)


# -- outcomes --------------------------------------------------------------------------------------------------------


def test_submissions_are_counted_by_verdict(rig: Watched) -> None:
    for comment in ("power:est=5kW", "power:est=6kW", "power:est=90kW"):
        submit(rig.desk, job(comment, partition="main", qos="gold"))
    assert rig.value("submissions_total", "admit") == 2
    assert rig.value("submissions_total", "reject") == 1
    assert rig.value("submissions_total", "hold") == 0


def test_launches_that_fail_are_counted_by_tier(rig: Watched) -> None:
    """Admitted to zone b, and Slurm has chosen nodes in zone a, which can carry the one and not the other."""
    rig.running("gold", est_w=18_000, more=",zones=a")
    for est_w, verdict in ((2_000, "allow"), (9_000, "deny")):
        job_id = rig.submit("silver", est_w=est_w, more=",zones=b")
        rig.later(0)
        assert rig.gate(rig.job(job_id), "a3") == verdict
    assert rig.value("failed_launches_total", "silver", "gate") == 1
    assert rig.value("failed_launches_total", "gold", "gate") == 0
    assert rig.value("decisions_total", "launch") == 1


def test_waits_runs_energy_and_cost(rig: Watched) -> None:
    """A job of 10 kW and two nodes waits for 4 s, and runs for an hour."""
    job_id = rig.running("gold", est_w=10_000, node_count=2, gpus=8)
    started = rig.job(job_id).start_time
    assert started is not None
    assert rig.distribution("queue_delay_seconds", "gold") == (1, started - START)
    rig.later(HOUR)
    rig.slurm.finish(job_id)
    rig.later(0)
    for name, value in (("energy_joules", 10_000), ("run_seconds", 1), ("node_seconds", 2), ("gpu_seconds", 8)):
        ran_s = rig.value(f"job_{name}_total", "gold") / value
        assert HOUR <= ran_s <= HOUR + 4, name
    assert rig.value("job_cost_total", "gold", "EUR") == pytest.approx(10 * 0.20 * 1.5, rel=0.01)
    assert rig.values("runs_ended_total")["gold", "finished"] == 0  # it may come back under another key
    rig.later(10)
    assert rig.values("runs_ended_total")["gold", "finished"] == 1
    assert rig.values("jobs_finished_total")["gold", "completed"] == 1
    ends, total = rig.distribution("turnaround_seconds", "gold")
    assert (ends, HOUR <= total <= HOUR + 10) == (1, True)
    rig.later(HOUR)
    assert rig.value("job_run_seconds_total", "gold") <= HOUR + 4


def test_how_a_job_ended_is_counted_where_it_was_told(rig: Watched) -> None:
    job_id = rig.running("gold")
    rig.slurm.finish(job_id)
    rig.later(2)
    rig.later(10)
    assert rig.values("jobs_finished_total")["gold", "completed"] == 1


def test_who_has_to_go_comes_back_and_has_not_finished(rig: Watched) -> None:
    """A gold job takes a bronze one's place; the bronze one waits once, and is counted once more when it is through."""
    bronze = rig.running("bronze", est_w=20_000, more=",zones=a", node_count=4)
    gold = rig.running("gold", est_w=20_000, more=",zones=a", node_count=4)
    assert rig.value("preempted_jobs_total", "bronze", "job") == 1
    assert rig.values("emergency_interventions_total") == {("gold",): 0, ("silver",): 0, ("bronze",): 0}
    assert rig.values("runs_ended_total")["bronze", "requeued"] == 1
    rig.slurm.finish(gold)
    rig.later(130, 4)
    assert rig.state(bronze) is JobState.RUNNING
    assert rig.distribution("queue_delay_seconds", "bronze")[0] == 1
    rig.slurm.finish(bronze)
    rig.later(20, 2)
    assert rig.values("runs_ended_total")["bronze", "finished"] == 1
    assert rig.distribution("turnaround_seconds", "bronze")[1] >= 4 * 130


def test_a_job_that_was_bound_anew_has_not_finished(rig: Watched) -> None:
    job_id = rig.running("gold")
    entry = rig.desk.book.of_job(job_id)
    assert entry is not None
    assert entry.record is not None
    claim = rig.desk.ledger.claims[entry.key]
    rig.desk.book.drop(entry)
    again = replace(entry, key="anew", token="anew")
    rig.desk.book.add(again, replace(claim, id="anew"))
    rig.desk.book.know(again, entry.record)
    rig.clock.instant += 10
    assert rig.values("runs_ended_total")["gold", "finished"] == 0
    rig.desk.book.drop(again)
    rig.clock.instant += 10
    assert rig.values("runs_ended_total")["gold", "finished"] == 1


def test_after_a_restart_what_runs_is_not_counted_as_started_again(rig: Watched) -> None:
    job_id = rig.running("gold", est_w=10_000)
    rig.crash()
    rig.later(60, 2)
    assert rig.value("jobs", "running", "gold") == 1
    assert rig.distribution("queue_delay_seconds", "gold") == (0, 0)
    assert rig.value("job_run_seconds_total", "gold") >= 60
    rig.slurm.finish(job_id)
    rig.later(10, 2)
    assert rig.distribution("turnaround_seconds", "gold")[1] >= 120


def test_a_reload_goes_on_counting(rig: Watched) -> None:
    rig.running("gold", est_w=10_000)
    rig.reload("b: {nodes", "c: {nodes: c1, limit: 5kW}\n  b: {nodes")
    rig.later(HOUR)
    assert rig.value("job_run_seconds_total", "gold") >= HOUR
    assert set(rig.values("zone_limit_watts")) == {("a",), ("b",), ("c",)}


def test_emergencies_are_counted(rig: Watched) -> None:
    """A breaker is about to trip in the zone of one who has to go, and in no other's."""
    running = [(zone, rig.running("bronze", est_w=5_000, more=f",zones={zone}")) for zone in ("a", "b")]
    for zone, job_id in running:
        entry = rig.desk.book.of_job(job_id)
        assert entry is not None
        victim = Victim(
            entry.key, entry.name, entry.name, job_id, entry.token, 1000, "research", 0, "bronze", 5_000, 0, 0,
            Means.REQUEUE,
        )  # fmt: skip
        one = Preemption(f"p{zone}", Trigger.DRAW, "a,b", "", Stage.PLANNED, rig.desk.now(), (victim,))
        rig.desk.preempting.put(one)
        rig.desk.measured.overdrawn.find({"a": Breach(1_000, emergency=True), "b": Breach(1_000)})
        of_victim(rig.desk, one, victim, GAVE_WAY, "now")
        assert rig.value("emergency_interventions_total", "bronze") == 1, zone
    assert rig.value("preempted_jobs_total", "bronze", "draw") == 2
    assert rig.value("preemptions", "draw", "planned") == 2
    assert rig.value("preemption_victims", "bronze") == 2


def test_missed_service_levels_are_counted(rig: Watched) -> None:
    line = Decision(START, "sla", "enforce", job="1", uid=1000, cause="power", rule="sla.gold")
    rig.outcomes.recorded(line)
    assert rig.value("sla_missed_total", "gold", "power") == 1
    assert rig.value("sla_missed_total", "bronze", "power") == 0


def test_lines_about_jobs_that_are_gone_are_counted_all_the_same(rig: Watched) -> None:
    for action in ("deny", GAVE_WAY):
        rig.outcomes.recorded(Decision(START, action, "enforce", job="5", token="t", uid=1000))
    assert rig.value("failed_launches_total", "none", "gate") == 1
    assert rig.value("preempted_jobs_total", "none", "unknown") == 1


# -- reservations ----------------------------------------------------------------------------------------------------


def reservation(rig: Watched, name: str, **changes: object) -> Reservation:
    now = rig.desk.now()
    terms = Terms(name, Owner(("research",)), ("a",), 6_000, Window(now, now + HOUR), tier="gold")
    one = Reservation(f"id-{name}", terms, ReservationState.ACTIVE, now, now, 7, grants=(Grant("a", 6_000),))
    return replace(one, **changes)  # type: ignore[arg-type]


def test_reservations_by_state_and_what_is_used_of_them(rig: Watched) -> None:
    rig.desk.reserved.put(reservation(rig, "spring"))
    assert rig.value("reservations", "active", "gold") == 1
    assert rig.values("reservation_granted_watts") == {("a", "gold"): 6_000}
    assert rig.values("reservation_used_watts") == {("a", "gold"): 0}
    assert rig.value("zone_reserved_watts", "a") == 6_000
    assert rig.value("reservations_late") == 0
    rig.later(HOUR + 1)
    assert rig.values("reservation_granted_watts") == {}
    ended = {outcome for (outcome,), number in rig.values("reservations_ended_total").items() if number}
    assert ended == {"expired"} or ended == {"released"}


def test_those_that_were_over_before_the_start_count_too(rig: Watched) -> None:
    past = [reservation(rig, f"r{state}", state=state) for state in ReservationState]
    rig.store.save_reservations([to_row(one) for one in past if not one.live])
    rig.crash()
    assert rig.value("reservations_ended_total", "missed") == 1
    assert sum(rig.values("reservations_ended_total").values()) == 5


# -- the daemon itself -----------------------------------------------------------------------------------------------


def test_what_the_daemon_says_of_itself(rig: Watched) -> None:
    answers = Histogram((0.1, 1))
    for seconds in (0.05, 0.1, 0.5, 7):
        answers.observe(seconds)
    pulse = Pulse(
        version="1.2.3",
        rounds=5,
        last_good=START,
        store_failing=True,
        hook={"submit": answers.read()},
        sources=[Source("pdu-a1", "redfish", up=False)],
        miscounts={"pw_a": -500},
        drift={"zone-nodes": 2},
    )
    assert answers.read().counts == (2, 1, 1)
    assert rig.values("build_info", pulse) == {("1.2.3",): 1}
    assert rig.values("rounds_total", pulse) == {(): 5}
    assert rig.values("store_failing", pulse) == {(): 1}
    assert rig.values("source_up", pulse) == {("pdu-a1", "redfish"): 0}
    assert rig.values("license_miscount_watts", pulse) == {("pw_a",): -500}
    assert rig.values("drift", pulse) == {("zone-nodes",): 2}
    assert rig.values("mode") == {("observe",): 0, ("advise",): 0, ("enforce",): 1}
    assert rig.values("slurm_info") == {("24.11.5",): 1}


def test_whatever_happens_between_two_steps(rig: Watched) -> None:
    """Jobs end and zones go while it is being told."""
    jobs = [rig.running("bronze", est_w=1_000, exclusive=False, cpus=1) for _ in range(3)]
    total = sum(1 for _ in into([], metrics(rig.desk, rig.outcomes, rig.runs, Pulse())))
    for stop in range(0, total, 5):
        for number, _ in enumerate(into([], metrics(rig.desk, rig.outcomes, rig.runs, Pulse()))):
            if number == stop and jobs:
                entry = rig.desk.book.of_job(jobs.pop())
                assert entry is not None
                rig.desk.book.drop(entry)
            elif number == stop:
                old, new = ("b: {nodes", "c: {nodes") if "  b: {nodes" in rig.text else ("c: {nodes", "b: {nodes")
                rig.reload(old, new)


def test_a_tariff_prices_what_comes_after_it() -> None:
    text = PRICED.replace("tariff: {", "tariff: {from: 2027-01-15, ")
    rig = Watched(text=text)
    rig.round()
    assert rig.desk.site.tariffs[0].kwh == Fraction(1, 5)
    rig.running("silver", est_w=10_000)
    rig.later(HOUR)
    assert rig.values("job_cost_total") == {("silver", "EUR"): pytest.approx(2.0, rel=0.01)}
    rig.end()
