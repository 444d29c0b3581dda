"""A reload of the site file that cuts what zones and feeds may carry: who gives way, when, and when nobody does."""

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from unittest.mock import Mock

import pytest

from slurm_power.config import load_site
from slurm_power.core.giving_way import Stage
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.core.preemption import shed
from slurm_power.ports import JobState
from slurm_power.service import shedding, views
from tests.service.conftest import LONG
from tests.service.preempt_rig import SITE, Rig

A = 'a: {nodes: "a[1-4]", limit: 20kW'
FED = SITE.replace("zones:", "feeds:\n  ups: {limit: 40kW}\nzones:").replace("20kW}", "20kW, feeds: [ups]}")


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


@pytest.fixture
def fed() -> Iterator[Rig]:
    """The same zones under one feed."""
    made = Rig(text=FED)
    yield made
    made.end()


def cut(rig: Rig, to: str) -> None:
    """What zone a may carry, from 20 kW."""
    rig.reload(A, A.replace("20kW", to))


def back(rig: Rig, was: str, to: str = "20kW") -> None:
    rig.reload(A.replace("20kW", was), A.replace("20kW", to))


def runs(rig: Rig, *jobs: int) -> list[bool]:
    return [rig.state(job) is JobState.RUNNING for job in jobs]


def quiet(rig: Rig) -> bool:
    """Whether nobody is made to give way, however long one waits."""
    rig.later(2, 3)
    rig.later(700, 2)
    return (rig.live, rig.written(), rig.signalled()) == ([], [], [])


# -- who and when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running_w", [12_000, 16_000])
def test_nobody_goes_for_who_has_not_started(rig: Rig, running_w: int) -> None:
    """The launch gate turns that one away. Where what runs is too much by itself, that much goes, and no more."""
    small, large = (rig.running("bronze", est_w=watts, more=",zones=a") for watts in (2_000, running_w - 2_000))
    starts = rig.submit("bronze", est_w=20_000 - running_w, more=",zones=a")
    rig.later(2)
    (entry,) = (entry for entry in rig.desk.book.entries.values() if entry.job_id == starts)
    assert entry.state is State.ADMITTED
    cut(rig, "15kW")
    rig.round()
    assert rig.written() == ([] if running_w == 12_000 else [str(small)])
    assert runs(rig, large) == [True]


def test_the_least_watts_of_the_lowest_tier(rig: Rig) -> None:
    small, large, silver = (
        rig.running(qos, est_w=watts, more=",zones=a")
        for qos, watts in (("bronze", 3_000), ("bronze", 5_000), ("silver", 9_000))
    )
    other = rig.running("bronze", est_w=20_000, more=",zones=b")
    cut(rig, "13kW")
    rig.later(2)
    assert rig.written() == [str(large)]
    rig.later(1, 3)
    assert rig.live == []
    assert runs(rig, small, silver, other) == [True, True, True]
    assert rig.desk.ledger.meters["a"].headroom_w == 1_000
    (line,) = rig.lines("preempt")
    assert (line.rule, line.job) == ("over_limit", str(large))
    assert "a holds more than its limit lets it" in str(line.reasons[0])


def test_a_larger_margin_is_a_cut_too(rig: Rig) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    rig.reload("margin: 0%", "margin: 15%")
    rig.later(2)
    assert rig.written() == [str(bronze)]


@pytest.fixture
def paired() -> Iterator[Rig]:
    """The same zones on two sides, each of which carries half of them."""
    text = SITE.replace("zones:", "feeds:\n  left: {limit: 15kW, side: A}\n  right: {limit: 15kW, side: B}\nzones:")
    made = Rig(text=text.replace("20kW}", "20kW, feeds: [left, right]}"))
    yield made
    made.end()


def test_a_higher_baseline_is_a_cut_too(rig: Rig) -> None:
    bronze = rig.running("bronze", est_w=18_000, more=",zones=a")
    rig.reload("limit: 20kW}", "limit: 20kW, baseline: 3kW}")
    rig.later(2)
    assert rig.written() == [str(bronze)]


def test_a_side_that_has_to_carry_the_whole_from_now_on_is_cut(paired: Rig) -> None:
    """And under N again it is not."""
    small, large = (paired.running("silver", est_w=watts, more=",zones=a") for watts in (4_000, 13_000))
    paired.reload("feeds: [left, right]}", "feeds: [left, right], redundancy: 2N}")
    paired.later(2)
    assert (paired.stages, paired.signalled()) == ([Stage.NOTICE], [str(small)])
    paired.reload(", redundancy: 2N}", "}")
    paired.later(700, 2)
    assert (paired.live, runs(paired, small, large)) == ([], [True, True])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  b: {nodes", "  c: {nodes"),
        ("partitions:", '  c: {nodes: "c[1-4]", limit: 20kW, feeds: [ups]}\npartitions:'),
        ("timezone: UTC", "timezone: Europe/Berlin"),
    ],
)
def test_a_zone_that_is_new_or_has_another_name_cuts_nothing(fed: Rig, old: str, new: str) -> None:
    """The feed above is over by facts, and stays so."""
    for zone in "ab":
        fed.running("bronze", est_w=18_000, more=f",zones={zone}")
    fed.text = fed.text.replace("ups: {limit: 40kW}", "ups: {limit: 30kW}")
    fed.site = load_site(text=fed.text)
    fed.crash()
    fed.later(2)
    assert fed.desk.ledger.meters["ups"].headroom_w == -6_000
    fed.reload(old, new)
    assert quiet(fed)


def test_a_zone_that_a_feed_carries_from_now_on_cuts_it(fed: Rig) -> None:
    """The feed has room for either zone, and not for both."""
    fed.reload(", feeds: [ups]}", "}")
    large = fed.running("bronze", est_w=18_000, more=",zones=a")
    small = fed.running("bronze", est_w=9_000, more=",zones=b")
    fed.reload("ups: {limit: 40kW}", "ups: {limit: 20kW}")
    fed.reload("limit: 20kW}\n  b", "limit: 20kW, feeds: [ups]}\n  b")
    fed.later(2)
    assert fed.written() == []
    fed.reload('b: {nodes: "b[1-4]", limit: 20kW', 'b: {nodes: "b[1-4]", limit: 20kW, feeds: [ups]')
    fed.later(2)
    assert (fed.written(), runs(fed, large)) == ([str(small)], [True])


def test_a_feed_that_is_cut_takes_of_all_zones_under_it(fed: Rig) -> None:
    large = fed.running("bronze", est_w=18_000, more=",zones=a")
    small = fed.running("bronze", est_w=9_000, more=",zones=b")
    silver = fed.running("silver", est_w=9_000, more=",zones=b")
    fed.reload("ups: {limit: 40kW}", "ups: {limit: 30kW}")
    fed.later(2)
    assert fed.written() == [str(small)]
    fed.later(1, 3)
    assert runs(fed, large, silver) == [True, True]


def test_silver_has_its_notice_to_the_second_and_bronze_does_not_stay_for_it(rig: Rig) -> None:
    bronze, silver, gold = (
        rig.running(qos, est_w=watts, more=",zones=a")
        for qos, watts in (("bronze", 5_000), ("silver", 6_000), ("gold", 9_000))
    )
    cut(rig, "10kW")
    rig.later(2)
    told_at = rig.clock.instant
    assert rig.written() == [str(bronze)]
    assert (rig.stages, rig.signalled()) == ([Stage.STRIKING, Stage.NOTICE], [str(silver)])
    rig.later(200, 3)
    assert rig.clock.instant == told_at + 600
    assert rig.written() == [str(bronze)]
    rig.later(1)
    assert rig.written() == [str(bronze), str(silver)]
    rig.later(1, 3)
    assert (rig.live, runs(rig, gold)) == ([], [True])


def test_nobody_is_let_in_meanwhile(rig: Rig) -> None:
    rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    waits = rig.submit("bronze", est_w=1_000, more=",zones=a")
    rig.later(2, 3)
    assert (rig.stages, rig.state(waits)) == ([Stage.NOTICE], JobState.PENDING)


def test_neither_the_young_nor_more_than_a_few_an_hour_are_spared() -> None:
    rig = Rig(text=SITE + "preemption: {per_hour: 1, min_run: 1h}\n")
    jobs = [rig.running("bronze", est_w=9_000, more=",zones=a") for _ in range(2)]
    cut(rig, "5kW")
    rig.later(2)
    assert rig.written() == [str(job) for job in jobs]
    rig.end()


# -- when nobody does ------------------------------------------------------------------------------------------------


def test_what_is_over_by_facts_is_left_alone(rig: Rig) -> None:
    """One zone is over by what Slurm runs there; the other one is cut, and holds no more than it may."""
    rig.running("bronze", est_w=18_000, more=",zones=a")
    rig.running("bronze", est_w=9_000, more=",zones=b")
    rig.desk.ledger.set_limit("a", 15_000)
    rig.reload('b: {nodes: "b[1-4]", limit: 20kW', 'b: {nodes: "b[1-4]", limit: 10kW')
    rig.desk.ledger.set_limit("a", 15_000)
    rig.later(2)
    rig.desk.ledger.set_limit("b", 7_000)
    assert quiet(rig)


def test_a_zone_beside_the_one_that_is_cut(fed: Rig) -> None:
    """The feed above both is over too, and was not cut."""
    fed.running("bronze", est_w=18_000, more=",zones=a")
    other = fed.running("bronze", est_w=20_000, more=",zones=b")
    fed.desk.ledger.set_limit("ups", 10_000)
    cut(fed, "15kW")
    fed.desk.ledger.set_limit("ups", 10_000)
    fed.later(2, 3)
    assert (len(fed.written()), runs(fed, other)) == (1, [True])


def test_over_since_the_start_of_the_daemon(rig: Rig) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a")
    rig.site = load_site(text=rig.text.replace(A, A.replace("20kW", "15kW")))
    rig.crash()
    rig.later(2)
    assert rig.desk.ledger.meters["a"].headroom_w == -3_000
    assert quiet(rig)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ADVISE])
def test_a_mode_that_does_not_act(rig: Rig, mode: Mode) -> None:
    rig.running("bronze", est_w=18_000, more=",zones=a")
    asyncio.run(rig.rounds.mode.set(mode, 0))
    cut(rig, "15kW")
    rig.later(2, 3)
    asyncio.run(rig.rounds.mode.set(Mode.ENFORCE, 0))
    assert quiet(rig)


def test_a_reload_that_switches_from_observe_to_enforce() -> None:
    rig = Rig(text="mode: observe\n" + SITE)
    rig.running("bronze", est_w=18_000)
    zone = rig.job(1).node_list[0]
    line = f'{zone}: {{nodes: "{zone}[1-4]", limit: '
    rig.text = rig.text.replace("mode: observe", "mode: enforce")
    rig.reload(f"{line}20kW", f"{line}15kW")
    assert rig.desk.mode is Mode.ENFORCE
    assert rig.desk.ledger.meters[zone].headroom_w == -3_000
    assert quiet(rig)
    rig.end()


def test_the_key_that_switches_it_off(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    rig.later(2)
    assert rig.stages == [Stage.NOTICE]
    rig.reload("timezone: UTC\n", "timezone: UTC\npreemption: {after_cut: wait}\n")
    rig.later(2)
    assert (rig.live, rig.lines("preemption-called_off")[0].cause) == ([], "the cut is no more")
    back(rig, "15kW", "10kW")
    rig.later(700, 2)
    assert (rig.live, rig.written(), runs(rig, silver)) == ([], [], [True])


def test_nobody_may_be_preempted(
    rig: Rig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told once, not tried in each round, and the zone shows what it lacks."""
    rig.running("gold", est_w=18_000, more=",zones=a")
    tries = Mock(wraps=shed)
    monkeypatch.setattr(shedding, "shed", tries)
    cut(rig, "15kW")
    with caplog.at_level(logging.WARNING):
        rig.later(1, 30)
    assert tries.call_count == 3
    told = [record for record in caplog.records if "nobody may preempt" in record.message]
    assert [getattr(record, "elements", None) for record in told] == [["a"]]
    assert quiet(rig)
    assert views.zones(rig.desk)["zones"][0]["headroom_w"] == -3_000  # type: ignore[index]


# -- another one, and back -------------------------------------------------------------------------------------------


def test_a_second_cut_while_the_first_is_under_way(rig: Rig) -> None:
    """Those who go already count as gone: just whom it takes on top is chosen, and at once."""
    jobs = [rig.running("silver", est_w=watts, more=",zones=a") for watts in (4_000, 6_000, 9_000)]
    cut(rig, "15kW")
    rig.later(2)
    assert rig.signalled() == [str(jobs[0])]
    back(rig, "15kW", "9kW")
    rig.later(100)
    assert rig.signalled() == [str(jobs[0]), str(jobs[1])]
    rig.later(501)
    assert rig.written() == [str(jobs[0])]
    rig.later(101)
    assert rig.written() == [str(jobs[0]), str(jobs[1])]
    rig.later(2, 3)
    assert (rig.live, runs(rig, jobs[2])) == ([], [True])


def test_a_cut_of_the_feed_above_while_the_first_is_under_way(fed: Rig) -> None:
    silver = fed.running("silver", est_w=18_000, more=",zones=a")
    other = fed.running("silver", est_w=18_000, more=",zones=b")
    cut(fed, "15kW")
    fed.later(2)
    fed.reload("ups: {limit: 40kW}", "ups: {limit: 20kW}")
    fed.later(2, 2)
    assert (len(fed.live), fed.signalled()) == (1, [str(silver)])
    fed.later(602, 2)
    assert (fed.written(), runs(fed, other)) == ([str(silver)], [True])


def test_raised_again_it_is_called_off(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    rig.later(1)
    assert rig.stages == [Stage.NOTICE]
    back(rig, "15kW")
    rig.later(1)
    assert rig.live == []
    rig.later(700)
    assert runs(rig, silver) == [True]


def test_raised_to_what_it_was_it_is_over_by_facts_again(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "17kW")
    rig.reload("17kW", "16kW")
    rig.desk.ledger.set_limit("a", 16_000)
    rig.later(1)
    assert rig.stages == [Stage.NOTICE]
    back(rig, "16kW")
    rig.desk.ledger.set_limit("a", 17_000)
    rig.later(1)
    assert rig.lines("preemption-called_off")[0].cause == "the cut is no more"
    rig.later(700)
    assert (rig.live, runs(rig, silver)) == ([], [True])


def test_raised_in_part_fewer_have_to_go(rig: Rig) -> None:
    jobs = [rig.running("silver", est_w=watts, more=",zones=a") for watts in (5_000, 6_000, 9_000)]
    cut(rig, "9kW")
    rig.later(2)
    assert rig.signalled() == [str(job) for job in jobs[:2]]
    back(rig, "9kW", "15kW")
    rig.later(300, 2)
    rig.later(2)
    assert rig.written() == [str(jobs[0])]
    rig.later(700, 2)
    assert (rig.live, runs(rig, *jobs[1:])) == ([], [True, True])


def test_after_a_restart_what_is_under_way_goes_on(rig: Rig) -> None:
    silver = rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    rig.later(2)
    rig.crash()
    rig.later(300)
    assert (rig.stages, rig.signalled()) == ([Stage.NOTICE], [str(silver)])
    rig.later(301)
    rig.later(2, 3)
    assert (rig.live, rig.written()) == ([], [str(silver)])


def test_what_a_mode_in_between_has_called_off_is_not_begun_anew(rig: Rig) -> None:
    rig.running("silver", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    rig.later(2)
    for mode in (Mode.OBSERVE, Mode.ENFORCE):
        asyncio.run(rig.rounds.mode.set(mode, 0))
    rig.later(2)
    assert rig.lines("preemption-called_off")[0].cause == "the cut is no more"
    rig.later(700, 2)
    assert (rig.live, rig.written()) == ([], [])


def test_what_was_put_off_while_the_clock_was_ahead(rig: Rig) -> None:
    """Nobody could be preempted then; it is not waited for an hour until that is looked at again."""
    rig.running("gold", est_w=12_000, more=",zones=a")
    with rig.ahead():
        cut(rig, "10kW")
        rig.round()
    rig.later(2)
    cuts, ledger = rig.desk.preempting.cuts, rig.desk.ledger
    assert (cuts.due(ledger, ledger.now + 9), cuts.due(ledger, ledger.now + 10)) == ([], ["a"])


def test_a_switch_back_to_preempting_waits_for_nothing_that_was_put_off(rig: Rig) -> None:
    rig.running("gold", est_w=12_000, more=",zones=a")
    cut(rig, "10kW")
    rig.later(2)
    for after in ("wait", "preempt"):
        rig.reload("timezone: UTC\n", f"timezone: UTC\npreemption: {{after_cut: {after}}}\n")
        rig.text = rig.text.replace(f"preemption: {{after_cut: {after}}}\n", "")
    back(rig, "10kW", "9kW")
    assert rig.desk.preempting.cuts.due(rig.desk.ledger, rig.clock.instant) == ["a"]


def test_victims_who_will_not_leave(rig: Rig) -> None:
    """It has failed, and victims are looked for again five minutes later."""
    rig.slurm.completing_s = 3_000
    rig.running("bronze", est_w=18_000, more=",zones=a")
    cut(rig, "15kW")
    rig.later(2)
    rig.later(601)
    assert (rig.live, len(rig.lines("preemption-failed"))) == ([], 1)
    cuts, ledger = rig.desk.preempting.cuts, rig.desk.ledger
    assert (cuts.due(ledger, ledger.now + 299), cuts.due(ledger, ledger.now + 300)) == ([], ["a"])


# -- any cut ---------------------------------------------------------------------------------------------------------


def least(jobs: Mapping[int, tuple[str, int]], most_w: int) -> tuple[int, int, int, int]:
    """(watts, jobs) of silver and of bronze that go at least: silver only as far as all of bronze does not do."""
    may_go = [job for job, (qos, _) in jobs.items() if qos != "gold"]
    most_w = max(most_w, sum(watts for qos, watts in jobs.values() if qos == "gold"))
    sets = (some for size in range(len(may_go) + 1) for some in combinations(may_go, size))
    total = sum(watts for _, watts in jobs.values())
    return min(cost(jobs, some) for some in sets if total - sum(jobs[job][1] for job in some) <= most_w)


def cost(jobs: Mapping[int, tuple[str, int]], gone: Iterable[int]) -> tuple[int, int, int, int]:
    silver, bronze = ([jobs[job][1] for job in gone if jobs[job][0] == qos] for qos in ("silver", "bronze"))
    return sum(silver), len(silver), sum(bronze), len(bronze)


@pytest.mark.parametrize("seed", range(24 if LONG else 6))
def test_any_cut(rig: Rig, seed: int) -> None:
    rng, jobs = random.Random(seed), dict[int, tuple[str, int]]()
    for _ in range(4):
        qos, watts = rng.choice(("gold", "silver", "bronze", "bronze")), rng.randint(1, 5) * 1_000
        jobs[rig.running(qos, est_w=watts, more=",zones=a")] = qos, watts
    most = rng.randint(1, sum(watts for _, watts in jobs.values()) // 1_000 - 1)
    cut(rig, f"{most}kW")
    rig.later(2, 3)
    rig.later(602)
    rig.later(2, 3)
    gone = [job for job in jobs if not runs(rig, job)[0]]
    assert sorted(rig.written()) == sorted(str(job) for job in gone)
    assert cost(jobs, gone) == least(jobs, most * 1_000)
    assert rig.live == []
