"""Jobs that draw more than the max that they declared: told, charged, counted, and evicted where the site says so."""

from collections.abc import Iterator

import pytest

from slurm_power.core.showback import watt_hours
from slurm_power.ports import HoldKind, JobState, RequeueHold, Rule
from slurm_power.service import views
from slurm_power.service.metering import RUN
from slurm_power.service.preempt_lines import GAVE_WAY
from slurm_power.service.run_views import ended
from tests.service.test_job_draws import NODES, draws_by_nodes
from tests.service.test_measuring import Metered
from tests.service.watched import Watched


class Counted(Metered, Watched):
    """A rig whose nodes are measured, and whose outcomes are counted."""


@pytest.fixture
def rig() -> Iterator[Counted]:
    made = Counted(text=NODES)
    yield made
    made.end()


def above_its_max(rig: Metered) -> int:
    """A job that has drawn 8 kW for 700 s and is to draw 5 kW at most; it is reckoned with 4 kW."""
    job = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 8_000}, 700)
    return job


def used_ws(rig: Metered) -> int:
    """The usage of jobs that the database has."""
    rig.rounds.usage.flush()
    assert rig.writer.flush(10)
    return sum(row.jobs_ws for row in rig.store.usage())


def explained(rig: Metered, job: int) -> dict[str, object]:
    told = views.explain(rig.desk, str(job))
    assert told is not None
    return told


def over(rig: Metered, job: int) -> dict[str, object]:
    """The job ends, and is explained then."""
    rig.slurm.finish(job)
    rig.later(2, 2)
    told = ended(str(job), rig.lines(RUN), 1)
    assert told is not None
    return told


SLOW = NODES.replace("{type: slurm, every: 1s, stale: 20s}", "{type: slurm, every: 30s, stale: 120s}").replace(
    "timezone: UTC\n", "timezone: UTC\npreemption: {over_max: evict}\n"
)


def test_one_reading_proves_nothing_however_long_it_is_fresh() -> None:
    rig = Metered(text=SLOW)
    job = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 9_000}, 1)
    rig.later(1, 110)
    assert (rig.state(job), rig.lines("over-max")) == (JobState.RUNNING, [])
    rig.end()


def test_what_the_job_before_it_drew_is_nobody_elses() -> None:
    rig = Metered(text=SLOW)
    first = rig.running("bronze", est_w=8_000, more=",max=9kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 8_000}, 30)
    rig.slurm.finish(first)
    rig.later(2, 2)
    job = rig.running("bronze", est_w=2_000, more=",max=2kW,zones=a", node_count=1)
    assert rig.job(job).node_list == "a1"
    rig.later(1, 80)
    entry = rig.desk.book.of_job(job)
    assert entry is not None
    assert (rig.state(job), rig.desk.metering.drawn.get(entry.key)) == (JobState.RUNNING, None)
    rig.end()


def test_more_than_its_max_is_told_and_charged(rig: Metered) -> None:
    job = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 5_050}, 70)  # within what a sensor is off
    assert rig.lines("over-max") == []
    draws_by_nodes(rig, {"a1": 6_000}, 100)
    (line,) = rig.lines("over-max")
    assert (line.job, line.cause) == (str(job), "it draws 6kW, more than its max of 5kW")
    told = views.explain(rig.desk, str(job))
    assert told is not None
    assert told["preemption"] == "it draws 6kW, more than its max of 5kW"
    assert rig.state(job) is JobState.RUNNING
    rig.rounds.usage.end()
    assert rig.writer.flush(10)
    ran_s = rig.desk.now() - (rig.job(job).start_time or 0)
    charged_ws = sum(row.jobs_ws for row in rig.store.usage())
    assert charged_ws == pytest.approx(4_000 * ran_s + 2_000 * 40, rel=0.05)  # for what lasted longer than a minute
    draws_by_nodes(rig, {"a1": 4_000}, 10)
    assert views.explain(rig.desk, str(job))["preemption"] == ""  # type: ignore[index]


def test_more_than_its_max_is_evicted_where_the_site_says_so() -> None:
    rig = Metered(text=NODES + "preemption: {over_max: evict}\n")
    bronze = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    gold = rig.running("gold", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 6_000, "a2": 6_000}, 80)
    assert rig.written(RequeueHold) == [str(bronze)]
    assert rig.state(gold) is JobState.RUNNING  # its tier is never preempted
    rig.later(130, 3)
    entry = rig.desk.book.of_job(bronze)
    assert entry is not None
    assert (rig.state(bronze), entry.hold) == (JobState.PENDING, HoldKind.USER)
    assert {line.rule for line in rig.lines(GAVE_WAY)} == {Rule.OVER_MAX}
    rig.slurm.user_release(str(bronze))
    rig.later(2, 3)
    assert rig.state(bronze) is JobState.RUNNING
    rig.end()


def test_who_ran_before_a_restart_is_evicted_too() -> None:
    rig = Metered(text=NODES + "preemption: {over_max: evict}\n")
    bronze = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    rig.crash()
    rig.later(1)
    draws_by_nodes(rig, {"a1": 6_000}, 80)
    assert rig.written(RequeueHold) == [str(bronze)]
    rig.end()


def test_silver_has_its_notice_to_draw_less() -> None:
    rig = Metered(text=NODES + "preemption: {over_max: evict}\n")
    silver = rig.running("silver", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 6_000}, 80)
    assert rig.signalled() == [str(silver)]
    draws_by_nodes(rig, {"a1": 4_500}, 20)
    assert (rig.live, rig.state(silver)) == ([], JobState.RUNNING)
    rig.end()


def test_usage_and_what_the_owner_is_told_agree(rig: Counted) -> None:
    job = above_its_max(rig)
    used, told = used_ws(rig), explained(rig, job)
    share = told["share"]
    assert isinstance(share, dict)
    assert share["held_wh"] == watt_hours(used) == pytest.approx(1_493, abs=20)
    assert share["above_max_wh"] == pytest.approx(4_000 * 640 / 3_600, abs=10)
    assert share["costs"] == [{"currency": "EUR", "amount": f"{used / 3.6e6:.2f}"}]
    assert share["limit_wh"] == 40_000 + share["above_max_wh"]  # 4 kW for 10 h
    more = f"; 0.{share['above_max_wh']}kWh of its energy is charged for drawing above its max."
    assert str(told["sentence"]).endswith(more)
    told = over(rig, job)
    last, used = told["share"], used_ws(rig)
    assert isinstance(last, dict)
    assert (last["held_wh"], last["above_max_wh"]) == (watt_hours(used), share["above_max_wh"])
    assert last["costs"] == [{"currency": "EUR", "amount": f"{used / 3.6e6:.2f}"}]
    assert str(told["sentence"]).endswith(f"and cost {used / 3.6e6:.2f} EUR{more}")


def test_metrics_agree_with_usage(rig: Counted) -> None:
    job = above_its_max(rig)
    used = used_ws(rig)
    assert rig.value("jobs_above_max", "bronze") == 1
    assert rig.value("jobs_above_max", "gold") == 0
    assert rig.value("job_energy_joules_total", "bronze") == used
    assert rig.value("job_cost_total", "bronze", "EUR") == pytest.approx(used / 3.6e6)
    above = rig.value("job_above_max_joules_total", "bronze")
    assert above == pytest.approx(4_000 * 640, rel=0.01)
    assert rig.value("cost_per_hour", "bronze", "EUR") == pytest.approx(8)
    assert rig.value("running_watts", "bronze") == 4_000
    draws_by_nodes(rig, {"a1": 4_500}, 10)
    assert rig.value("jobs_above_max", "bronze") == 0
    assert rig.value("cost_per_hour", "bronze", "EUR") == pytest.approx(4)
    over(rig, job)
    assert rig.value("job_energy_joules_total", "bronze") == used_ws(rig)
    assert rig.value("job_above_max_joules_total", "bronze") == above


def test_a_job_within_its_max_is_charged_nothing_more(rig: Counted) -> None:
    job = rig.running("bronze", est_w=4_000, more=",max=5kW,zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 4_900}, 100)
    told = explained(rig, job)
    assert told["share"]["above_max_wh"] == 0  # type: ignore[index]
    assert "above its max" not in str(told["sentence"])
    assert rig.value("jobs_above_max", "bronze") == 0
    told = over(rig, job)
    assert told["share"]["above_max_wh"] == 0  # type: ignore[index]
    assert "above its max" not in str(told["sentence"])


def test_a_max_that_nobody_declared_is_no_promise(rig: Counted) -> None:
    job = rig.running("bronze", comment="power:zones=a", node_count=1)
    draws_by_nodes(rig, {"a1": 8_000}, 100)
    told = explained(rig, job)
    assert (told["max_w"], told["preemption"]) == (5_000, "")
    assert told["share"]["above_max_wh"] == 0  # type: ignore[index]
    assert rig.value("jobs_above_max", "bronze") == 0


def test_a_restart_neither_forgets_nor_doubles_what_is_charged(rig: Counted) -> None:
    job = above_its_max(rig)
    before = explained(rig, job)["share"]["above_max_wh"]  # type: ignore[index]
    rig.rounds.usage.end()
    rig.crash()
    rig.rounds.usage.load(rig.store)
    rig.rounds.usage.resume(rig.store)
    rig.later(1)
    assert explained(rig, job)["share"]["above_max_wh"] == before  # type: ignore[index]
    draws_by_nodes(rig, {"a1": 8_000}, 130)
    told = over(rig, job)
    share = told["share"]
    assert isinstance(share, dict)
    assert share["above_max_wh"] == pytest.approx(before + 4_000 * 70 / 3_600, abs=10)
    assert share["held_wh"] == watt_hours(used_ws(rig))


def test_a_crash_counts_nothing_twice(rig: Counted) -> None:
    """What was charged since it was last written down is not told; usage, which is written down more often, has it."""
    job = above_its_max(rig)
    used = used_ws(rig)
    rig.crash()
    rig.rounds.usage.load(rig.store)
    rig.rounds.usage.resume(rig.store)
    rig.later(1)
    share = explained(rig, job)["share"]
    assert isinstance(share, dict)
    assert share["held_wh"] <= watt_hours(used_ws(rig))
    assert used_ws(rig) <= used + 4_000 * 5
