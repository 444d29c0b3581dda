"""Jobs in reservations: what they draw, what is kept beside them, and what nobody else may have."""

from collections import Counter
from dataclasses import replace
from math import ceil, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core.admission import Admit, Hold, PowerClass, decide
from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.kept import drawing
from slurm_power.core.ledger import Ledger
from slurm_power.core.policy import BurstRule
from slurm_power.core.reasons import Code
from slurm_power.core.request import Request
from slurm_power.core.window import FOREVER, Window
from slurm_power.core.within import Within
from tests.core.floors import NOW, RSS, SUM, TWO_N, claim, feed, ledger, pair, request, zone
from tests.core.recount import differences

HOUR = 3_600


def kept(zones: dict[str, int], *, burst_w: int = 0, hours: float = 8, name: str = "res:spring") -> Claim:
    charges = tuple(Charge(zone, 0, watts, watts + burst_w) for zone, watts in zones.items())
    return Claim(name, charges, Window(NOW, NOW + round(hours * HOUR)), name, share_milli=0, reserves=True)


def ask(one: Ledger, full: Claim, wanted: Request) -> Admit | Hold:
    left = {c.zone: c.est_w - one.drawn_w(full.id).get(c.zone, 0) for c in full.charges}
    return Within(wanted, full.id, left, one, one.empty()).decide()


def admitted(one: Ledger, full: Claim, wanted: Request) -> Claim:
    verdict = ask(one, full, wanted)
    assert isinstance(verdict, Admit), verdict
    one.add(verdict.claim)
    assert not differences(one)
    return verdict.claim


def admitted_claim(one: Ledger, claim_id: str, wanted: Request) -> Claim:
    verdict = Within(wanted, claim_id, {"a": 20_000}, one, one.empty()).decide()
    assert isinstance(verdict, Admit), verdict
    return verdict.claim


def committed(one: Ledger) -> dict[str, int]:
    return {name: meter.committed_w for name, meter in one.meters.items()}


class TestKept:
    def test_what_is_kept_is_committed_and_follows_the_jobs_within(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000})
        one.keep(full)
        assert committed(one) == {"a": 40_000}
        job = admitted(one, full, request(30_000, id="j1", hours=1))
        assert committed(one) == {"a": 40_000}
        assert one.drawn_w(full.id) == {"a": 30_000}
        one.remove(job.id)
        assert committed(one) == {"a": 40_000}
        one.unkeep(full.id)
        assert committed(one) == {"a": 0}
        assert not differences(one)

    def test_an_outsider_gets_what_is_left_and_no_watt_more(self) -> None:
        one = ledger([zone("a", 50_000)])
        one.keep(kept({"a": 40_000}))
        assert isinstance(decide(request(10_001), one, one.empty()), Hold)
        assert isinstance(decide(request(10_000), one, one.empty()), Admit)

    def test_what_a_job_will_give_back_before_the_end_is_not_promised_to_others(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000}, hours=8)
        one.keep(full)
        admitted(one, full, request(40_000, id="j1", hours=1))
        later = Window(NOW + 2 * HOUR, NOW + 3 * HOUR)
        assert one.shortfall((Charge("a", 1, 10_001, 10_001),), Asker("x", later)) is not None
        assert one.shortfall((Charge("a", 1, 10_000, 10_000),), Asker("x", later)) is None
        after = Window(NOW + 8 * HOUR, NOW + 9 * HOUR)
        assert one.shortfall((Charge("a", 1, 50_000, 50_000),), Asker("x", after)) is None

    def test_a_job_that_outlasts_the_reservation_has_to_fit_beside_others_then(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000}, hours=2)
        one.keep(full)
        one.add(claim("soon", "a", 20_000, start_h=2, hours=2, placed=False))
        assert isinstance(ask(one, full, request(40_000, hours=2)), Admit)
        assert isinstance(ask(one, full, request(40_000, hours=3)), Hold)
        assert isinstance(ask(one, full, request(30_000, hours=3)), Admit)

    def test_what_it_keeps_anew_takes_the_place_of_what_it_kept(self) -> None:
        one = ledger([zone("a", 50_000), zone("b", 50_000)])
        full = kept({"a": 40_000})
        one.keep(full)
        admitted(one, full, request(30_000, id="j1"))
        one.keep(kept({"a": 20_000, "b": 5_000}))
        assert committed(one) == {"a": 30_000, "b": 5_000}
        assert not differences(one)

    def test_one_that_keeps_nothing_for_a_while_keeps_what_its_jobs_do_not_hold_once_it_does_again(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000}, hours=8)
        one.keep(full)
        one.unkeep(full.id)
        one.add(replace(claim("j1", "a", 30_000, hours=1), within=full.id))
        assert committed(one) == {"a": 30_000}
        assert one.drawn_w(full.id) == {"a": 30_000}
        one.keep(full)
        assert committed(one) == {"a": 40_000}
        later = Window(NOW + 2 * HOUR, NOW + 3 * HOUR)
        assert one.shortfall((Charge("a", 1, 10_001, 10_001),), Asker("x", later)) is not None
        assert not differences(one)

    def test_one_in_a_zone_that_there_is_not_is_refused_whole(self) -> None:
        one = ledger([zone("a", 50_000)])
        with pytest.raises(KeyError):
            one.keep(kept({"a": 1_000, "nowhere": 1_000}))
        assert committed(one) == {"a": 0}
        assert not differences(one)

    def test_one_that_begins_later_is_booked_and_becomes_live(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000}).at(Window(NOW + HOUR, NOW + 2 * HOUR))
        one.keep(full)
        assert committed(one) == {"a": 0}
        assert isinstance(decide(request(20_000, hours=2), one, one.empty()), Hold)
        assert isinstance(decide(request(20_000, hours=1), one, one.empty()), Admit)
        one.advance(NOW + HOUR)
        assert committed(one) == {"a": 40_000}
        admitted(one, full, request(40_000, id="j1"))
        assert committed(one) == {"a": 40_000}

    def test_feeds_carry_both_once(self) -> None:
        one = pair(34_500, rack1=TWO_N, rack2=TWO_N)
        full = kept({"rack1": 15_000, "rack2": 15_000})
        one.keep(full)
        assert committed(one) == {"rack1": 15_000, "rack2": 15_000, "a": 30_000, "b": 30_000}
        admitted(one, full, request(15_000, id="j1"))
        assert committed(one) == {"rack1": 15_000, "rack2": 15_000, "a": 30_000, "b": 30_000}

    def test_a_copy_that_starts_by_itself_draws_no_more_than_before(self) -> None:
        one = ledger([zone("a", 50_000)])
        full = kept({"a": 40_000})
        one.keep(full)
        array = admitted(one, full, request(30_000, id="j1", copies=3))
        one.replace("j1", array.with_copies(2))
        one.add(replace(array.with_copies(1), id="j1.0"))
        assert committed(one) == {"a": 40_000}
        assert one.drawn_w(full.id) == {"a": 30_000}


class TestNodes:
    def test_nodes_are_kept_less_those_that_its_jobs_have(self) -> None:
        one = ledger([zone("a", 90_000, nodes=4)])
        one.keep(replace(kept({"a": 20_000}), charges=(Charge("a", 3, 20_000, 20_000),), share_milli=1_000))
        outsider = request(1_000, nodes=2, exclusive=True)
        assert isinstance(decide(outsider, one, one.empty()), Hold)
        assert isinstance(decide(request(1_000, nodes=1, exclusive=True), one, one.empty()), Admit)
        one.add(admitted_claim(one, "res:spring", request(10_000, id="j1", nodes=2, exclusive=True)))
        assert one.promised_milli("a") == 3_000
        assert isinstance(decide(outsider, one, one.empty()), Hold)

    def test_a_job_within_may_have_them(self) -> None:
        one = ledger([zone("a", 90_000, nodes=4)])
        full = replace(kept({"a": 20_000}), charges=(Charge("a", 4, 20_000, 20_000),), share_milli=1_000)
        one.keep(full)
        job = admitted(one, full, request(20_000, id="j1", nodes=4, exclusive=True))
        assert one.promised_milli("a") == 4_000
        one.remove(job.id)
        assert one.promised_milli("a") == 4_000


class TestDecision:
    def test_a_job_goes_where_least_is_left_for_it(self) -> None:
        one = ledger([zone("a", 50_000), zone("b", 50_000)])
        full = kept({"a": 40_000, "b": 20_000})
        one.keep(full)
        first = admitted(one, full, request(15_000, id="j1"))
        assert [charge.zone for charge in first.charges] == ["b"]
        second = admitted(one, full, request(15_000, id="j2"))
        assert [charge.zone for charge in second.charges] == ["a"]

    def test_no_more_than_is_left_though_the_zone_has_room(self) -> None:
        one = ledger([zone("a", 90_000)])
        full = kept({"a": 40_000})
        one.keep(full)
        verdict = ask(one, full, request(40_001, id="j1"))
        assert isinstance(verdict, Hold)
        assert [(r.code, r.asked_w, r.free_w) for r in verdict.reasons] == [(Code.RESERVED_POWER, 40_001, 40_000)]

    def test_its_own_zones_count_too(self) -> None:
        one = ledger([zone("a", 90_000), zone("b", 90_000)])
        full = kept({"a": 40_000, "b": 30_000})
        one.keep(full)
        verdict = ask(one, full, request(10_000, zones={"a"}))
        assert isinstance(verdict, Admit)
        assert [charge.zone for charge in verdict.claim.charges] == ["a"]
        assert verdict.power_class is PowerClass.RESERVED
        assert isinstance(ask(one, full, request(10_000, excluded={"a", "b"})), Hold)

    def test_over_several_zones_each_gives_its_part(self) -> None:
        one = ledger([zone("a", 50_000, nodes=2), zone("b", 50_000, nodes=2)])
        full = kept({"a": 20_000, "b": 20_000})
        one.keep(full)
        job = admitted(one, full, request(40_000, id="j1", nodes=4, exclusive=True))
        assert {charge.zone: charge.est_w for charge in job.charges} == {"a": 20_000, "b": 20_000}
        assert committed(one) == {"a": 20_000, "b": 20_000}

    def test_over_several_zones_none_gives_more_than_it_has(self) -> None:
        one = ledger([zone("a", 50_000, nodes=2), zone("b", 50_000, nodes=2)])
        full = kept({"a": 30_000, "b": 15_000})
        one.keep(full)
        assert isinstance(ask(one, full, request(40_000, id="j1", nodes=4, exclusive=True)), Hold)
        assert committed(one) == {"a": 30_000, "b": 15_000}

    def test_bursts_beyond_the_allowance_need_room_of_everybody(self) -> None:
        for burst_w, free_w, fits in ((0, 0, False), (5_000, 0, True), (0, 5_000, True), (2_000, 2_999, False)):
            one = ledger([zone("a", 40_000 + burst_w + free_w)], rule=SUM)
            full = kept({"a": 40_000}, burst_w=burst_w)
            one.keep(full)
            assert isinstance(ask(one, full, request(40_000, 45_000)), Admit) is fits, (burst_w, free_w)

    def test_the_burst_that_others_count_on_does_not_shrink_while_a_job_uses_the_allowance(self) -> None:
        one = ledger([zone("a", 90_000)])
        one.load([claim(f"j{number}", "a", 1_000, 7_000) for number in range(6)])
        full = kept({"a": 20_000}, burst_w=12_000)
        one.keep(full)
        before = one.meters["a"].burst_w
        admitted(one, full, request(10_000, 16_000, id="within"))
        assert one.meters["a"].burst_w == before

    def test_the_question_leaves_the_ledger_as_it_is(self) -> None:
        one = ledger([zone("a", 50_000), zone("b", 50_000)], [feed("f", 60_000)])
        full = kept({"a": 40_000, "b": 20_000}, burst_w=1_000)
        one.keep(full)
        before = {name: meter.numbers() for name, meter in one.meters.items()}
        for watts in (1_000, 30_000, 90_000):
            ask(one, full, request(watts, id="j1", nodes=2))
        assert {name: meter.numbers() for name, meter in one.meters.items()} == before
        assert not differences(one)


STEP = st.tuples(
    st.sampled_from(["outside", "within", "end", "book", "later"]),
    st.sampled_from([3_000, 8_000, 15_000, 20_000]),
    st.sampled_from([0, 2_000, 5_000]),
    st.sampled_from([1, 2, 6, 12]),
    st.integers(0, 8),
)
"""Few values, so that histories come close to the budget and meet at the same instants."""


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(STEP, min_size=2, max_size=15),
    granted=st.sampled_from([10_000, 20_000, 28_000]),
    burst_w=st.sampled_from([0, 3_000, 6_000]),
    rule=st.sampled_from([RSS, SUM]),
)
def test_nothing_that_is_planned_passes_a_budget_at_any_instant(
    steps: list[tuple[str, int, int, int, int]], granted: int, burst_w: int, rule: BurstRule
) -> None:
    """What is kept comes back whenever a job ends, at its limit or before: nobody may have been let in meanwhile."""
    one = ledger([zone("a", 36_000)], rule=rule)
    full = kept({"a": granted}, burst_w=burst_w, hours=8)
    if one.shortfall(full.charges, Asker(full.group, full.window)) is not None:
        return
    one.keep(full)
    jobs: dict[str, tuple[Claim, int]] = {}
    for number, (what, est_w, more_w, hours, start_h) in enumerate(steps):
        name = f"j{number}"
        wanted = request(est_w, est_w + more_w, id=name, hours=hours)
        if what == "end" and jobs:
            gone = sorted(jobs)[start_h % len(jobs)]
            one.remove(gone)
            del jobs[gone]
        elif what == "later":
            for gone in [name for name, (_, end) in jobs.items() if end <= one.now + start_h * 600]:
                one.remove(gone)
                del jobs[gone]
            one.advance(one.now + start_h * 600)
            for gone in [key for key, (_, end) in jobs.items() if end <= one.now]:
                one.remove(gone)  # at its limit: what is booked from then on counts on that
                del jobs[gone]
        elif what == "book":
            booking = claim(name, "a", est_w, est_w + more_w, start_h=1 + start_h, hours=hours, placed=False)
            if booking.window.start > one.now and one.shortfall(booking.charges, Asker(name, booking.window)) is None:
                one.add(booking)
                jobs[name] = booking, booking.window.end
        elif what in ("within", "outside"):
            inside = what == "within" and one.now < full.window.end
            verdict = ask(one, full, wanted) if inside else decide(wanted, one, one.empty())
            if isinstance(verdict, Admit):
                one.add(verdict.claim)
                jobs[name] = verdict.claim, one.now + hours * HOUR
        assert not differences(one)
        _check(one, full, jobs, rule)


def _check(one: Ledger, full: Claim, jobs: dict[str, tuple[Claim, int]], rule: BurstRule) -> None:
    """At every instant to come: the jobs that may still run then, and what the reservation keeps beside them."""
    ends = {end for _, end in jobs.values()} | {job.window.start for job, _ in jobs.values()}
    for instant in sorted({one.now, *(i for i in ends if i >= one.now), full.window.end}):
        running = [job for job, end in jobs.values() if job.window.start <= instant < end]
        within = [job for job in running if job.within]
        bursts = Counter({full.group: sum(job.max_w - job.est_w for job in within)})
        for job in running:
            if not job.within:
                bursts[job.group] += job.max_w - job.est_w
        est_w = sum(job.est_w for job in running)
        if instant < full.window.end:
            est_w += max(full.est_w - sum(job.est_w for job in within), 0)
            bursts[full.group] = max(bursts[full.group], full.max_w - full.est_w)
        burst_w = sum(bursts.values())
        if rule.rss:
            burst_w = min(burst_w, ceil(2 * sqrt(sum(b * b for b in bursts.values()))))
        assert est_w + burst_w <= 36_000, (instant - NOW, est_w, bursts)


def test_a_claim_within_lasts_as_long_as_the_reservation() -> None:
    full = kept({"a": 1_000}, hours=2)
    assert drawing(claim("j", "a", 500, hours=1), full).window == Window(NOW, NOW + 2 * HOUR)
    assert drawing(claim("j", "a", 500), full).window == Window(NOW, FOREVER)


def test_over_several_zones_each_takes_the_nodes_that_its_watts_are_enough_for() -> None:
    """By nodes alone it would go three and one, and the three ask for more than is kept in any zone."""
    one = ledger([zone("a", 50_000, nodes=3), zone("b", 50_000, nodes=3), zone("c", 50_000, nodes=3)])
    full = kept({"a": 10_000, "b": 10_000, "c": 3_999})
    one.keep(full)
    job = admitted(one, full, request(16_000, id="j1", nodes=4, exclusive=True))
    assert {charge.zone: (charge.nodes, charge.est_w) for charge in job.charges} == {"a": (2, 8_000), "b": (2, 8_000)}
    assert committed(one) == {"a": 10_000, "b": 10_000, "c": 3_999}
