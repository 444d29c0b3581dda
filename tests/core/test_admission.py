"""The decision and its explanation: not now against never, reasons, the earliest start, what would help."""

from dataclasses import replace

import pytest

from slurm_power.core.admission import Admit, Hold, PowerClass, Reject, Verdict, decide, power_class
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import ZoneNodes
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Cure, Help, Reason
from slurm_power.core.request import Request
from slurm_power.core.topology import FeedKind, Lane
from slurm_power.core.window import Window
from tests.core.floors import (
    BRONZE,
    GOLD,
    NOW,
    SILVER,
    TWO_N,
    N,
    claim,
    feed,
    ledger,
    pair,
    request,
    reservation,
    zone,
)

HOUR = 3_600
TIERS = (GOLD, SILVER, BRONZE)


def ask(one: Ledger, job: Request, ignore: str | None = None) -> Verdict:
    return decide(job, one, one.empty(), ignore=ignore, others=TIERS)


def held(one: Ledger, job: Request) -> Hold:
    verdict = ask(one, job)
    assert isinstance(verdict, Hold)
    return verdict


def helps(verdict: Verdict, cure: Cure) -> list[Help]:
    assert not isinstance(verdict, Admit)
    return [found for found in verdict.helps if found.cure is cure]


def racks(count: int = 2, **options: object) -> Ledger:
    return ledger([zone(f"rack{k}", **options) for k in range(1, count + 1)])  # type: ignore[arg-type]


class TestAdmit:
    def test_the_claim_is_the_request_on_its_zones_from_now_on(self) -> None:
        job = replace(request(10_000, 13_000, hours=2, tier=GOLD, group="7/x"), uid=7, account="lab")
        verdict = ask(racks(), job)
        assert isinstance(verdict, Admit)
        made = verdict.claim
        assert made.window == Window(NOW, NOW + 2 * HOUR)
        assert (made.id, made.group, made.tier, made.uid, made.account) == ("new", "7/x", "gold", 7, "lab")
        assert (made.est_w, made.max_w, made.placed, made.tentative) == (10_000, 13_000, False, False)

    @pytest.mark.parametrize(
        ("tier", "lane", "expected"),
        [
            (GOLD, Lane.HOT, PowerClass.RESERVED),
            (GOLD, Lane.MIXED, PowerClass.RESERVED),
            (SILVER, Lane.MIXED, PowerClass.SHARED),
            (SILVER, Lane.COLD, PowerClass.INTERRUPTIBLE),
            (BRONZE, Lane.HOT, PowerClass.INTERRUPTIBLE),
        ],
    )
    def test_what_it_runs_on(self, tier: Tier, lane: Lane, expected: PowerClass) -> None:
        verdict = ask(racks(1, lane=lane), request(tier=tier))
        assert isinstance(verdict, Admit)
        assert verdict.power_class is expected is power_class(tier, [lane])

    def test_the_case_of_the_issue(self) -> None:
        """2N, 34.5 kW a side: 17 + 17 kW fit, 5 kW more are held though both racks have room; under N they fit."""
        for redundancy, expected in ((TWO_N, Hold), (N, Admit)):
            one = pair(34_500, rack1=redundancy, rack2=redundancy)
            for number, rack in ((1, "rack1"), (2, "rack2")):
                verdict = ask(one, request(17_000, id=f"j{number}", zones=[rack]))
                assert isinstance(verdict, Admit)
                one.add(verdict.claim)
            third = ask(one, request(5_000, id="j3"))
            assert isinstance(third, expected)
            if isinstance(third, Hold):
                assert third.reasons == (Reason(Code.FEED_POWER, "a", 5_000, 500),)
                assert (
                    third.reasons[0].text == "feed a is short of power: asked 5kW, free 500W, short by 4.5kW"
                )


class TestNever:
    def test_more_than_any_zone_could_ever_give(self) -> None:
        verdict = ask(racks(), request(100_001))
        assert isinstance(verdict, Reject)
        assert verdict.reasons == (Reason(Code.ZONE_POWER, "rack1", 100_001, 100_000),)
        assert helps(verdict, Cure.FEWER_WATTS) == [Help(Cure.FEWER_WATTS, zone="rack1", watts=100_000)]
        assert helps(verdict, Cure.LATER) == []

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: one.load([claim("a", "rack1", 90_000), claim("b", "rack2", 90_000)]),
            lambda one: [one.set_limit(name, 10_000) for name in ("rack1", "rack2")],
            lambda one: [one.close(name, "too hot") for name in ("rack1", "rack2")],
            lambda one: [one.set_nodes(name, ZoneNodes(0, 0)) for name in ("rack1", "rack2")],
        ],
        ids=["full", "derated", "closed", "no node up"],
    )
    def test_what_an_empty_floor_could_take_is_held(self, change: object) -> None:
        one = racks()
        floor = one.empty()
        change(one)  # type: ignore[operator]
        verdict = decide(request(50_000), one, floor)
        assert isinstance(verdict, Hold)

    def test_nodes_too_many_or_too_large(self) -> None:
        one = racks(nodes=4)
        for name in ("rack1", "rack2"):
            one.set_nodes(name, ZoneNodes(4, 4, 64, 8))
        for job in (request(nodes=9, exclusive=True), request(gpus=16), request(copies=5, exclusive=True)):
            verdict = ask(one, job)
            assert isinstance(verdict, Reject)
            assert verdict.reasons[0].code is Code.NODES

    def test_a_headroom_floor_above_the_zone(self) -> None:
        verdict = ask(racks(baseline_w=5_000), request(headroom_w=95_001))
        assert isinstance(verdict, Reject)
        assert verdict.reasons == (Reason(Code.HEADROOM, "rack1", 95_001, 95_000),)

    def test_no_zone_at_all(self) -> None:
        verdict = ask(racks(), request(zones=["rack7"]))
        assert isinstance(verdict, Reject)
        assert verdict.reasons == (Reason(Code.NO_ZONE, detail="zones rack7"),)
        verdict = ask(racks(lane=Lane.COLD), request(tier=GOLD, pool=""))
        assert isinstance(verdict, Reject)
        assert verdict.reasons == (Reason(Code.NO_ZONE, detail="partition any, lanes hot, mixed"),)
        assert [found.tier for found in verdict.helps] == ["silver", "bronze"]

    def test_before_its_time_too(self) -> None:
        assert isinstance(ask(racks(), request(100_001, not_before=NOW + HOUR)), Reject)

    def test_a_split_that_placement_might_miss_is_not_denied_for_ever(self) -> None:
        one = ledger([zone("rack1", nodes=1), zone("rack2", nodes=1)], [])
        assert isinstance(ask(one, request(200_000, nodes=2, exclusive=True)), Admit)
        one.add(claim("a", "rack1", 1_000))
        assert isinstance(ask(one, request(200_000, nodes=2, exclusive=True)), Hold)


class TestReasons:
    @pytest.mark.parametrize(
        ("job", "reason"),
        [
            (request(50_000), Reason(Code.ZONE_POWER, "rack1", 50_000, 40_000)),
            (request(40_000, 40_001), Reason(Code.ZONE_BURST, "rack1", 40_001, 40_000)),
            (request(10_000, headroom_w=60_000), Reason(Code.HEADROOM, "rack1", 60_000, 40_000)),
            (request(10_000, nodes=9), Reason(Code.NODES, "rack1", detail="asked 9, free 8 of that shape")),
        ],
    )
    def test_a_zone(self, job: Request, reason: Reason) -> None:
        one = racks(1)
        floor = racks(2).empty()
        one.add(claim("a", "rack1", 60_000))
        verdict = decide(job, one, floor)
        assert isinstance(verdict, Hold)
        assert verdict.reasons == (reason,)

    @pytest.mark.parametrize(
        ("kind", "max_w", "code"),
        [
            (FeedKind.POWER, 20_000, Code.FEED_POWER),
            (FeedKind.COOLING, 20_000, Code.COOLING_POWER),
            (FeedKind.POWER, 45_000, Code.FEED_BURST),
            (FeedKind.COOLING, 45_000, Code.COOLING_BURST),
        ],
    )
    def test_a_feed_or_a_cooling_loop(self, kind: FeedKind, max_w: int, code: Code) -> None:
        one = ledger([zone("rack1", feeds=("up",))], [feed("up", 50_000, kind=kind)])
        one.add(claim("a", "rack1", 40_000 if max_w == 20_000 else 10_000))
        (reason,) = held(one, request(20_000, max_w)).reasons
        assert (reason.code, reason.subject) == (code, "up")

    def test_watts_go_before_nodes(self) -> None:
        one = racks(1)
        one.set_nodes("rack1", ZoneNodes(8, 0, 64, 8))
        one.add(claim("a", "rack1", 60_000))
        assert held(one, request(50_000)).reasons[0].code is Code.ZONE_POWER
        assert held(one, request(40_000)).reasons[0].code is Code.NODES

    def test_a_closed_zone_says_why(self) -> None:
        one = racks(1)
        one.close("rack1", "thermal state critical")
        assert held(one, request()).reasons == (
            Reason(Code.CLOSED, "rack1", detail="thermal state critical"),
        )

    def test_a_job_ahead_is_named(self) -> None:
        one = racks(1)
        one.add(claim("shadow:head", "rack1", 80_000, start_h=1, hours=1, tentative=True))
        assert held(one, request(30_000)).reasons == (Reason(Code.QUEUE, "rack1", detail="head"),)
        one.set_nodes("rack1", ZoneNodes(8, 0, 64, 8))
        assert held(one, request(10_000)).reasons[0].code is Code.NODES

    def test_too_early(self) -> None:
        verdict = held(racks(), request(not_before=NOW + HOUR))
        assert verdict.reasons[0].code is Code.NOT_ELIGIBLE
        assert verdict.earliest == NOW + HOUR


class TestHelps:
    def test_later_and_after_which_job(self) -> None:
        one = racks(1)
        one.load(
            [
                claim("812", "rack1", 50_000, hours=2),
                claim("813", "rack1", 30_000, hours=1),
                claim("9", "rack1", 10_000, hours=9),
            ]
        )
        verdict = held(one, request(60_000))
        assert verdict.earliest == NOW + 2 * HOUR
        (found,) = helps(verdict, Cure.LATER)
        assert found == Help(Cure.LATER, zone="rack1", at=NOW + 2 * HOUR, after_job="812")
        assert found.text == "fits rack1 at 2027-01-15T10:00:00Z when job 812 ends"

    def test_the_zone_where_it_fits_first(self) -> None:
        one = racks(2)
        one.load([claim("a", "rack1", 90_000, hours=3), claim("b", "rack2", 95_000, hours=1)])
        (found,) = helps(held(one, request(60_000)), Cure.LATER)
        assert (found.zone, found.at, found.after_job) == ("rack2", NOW + HOUR, "b")

    def test_a_feed_counts_for_when(self) -> None:
        one = ledger([zone("rack1", feeds=("up",)), zone("rack2", feeds=("up",))], [feed("up", 50_000)])
        one.load([claim("a", "rack1", 20_000, hours=1), claim("b", "rack2", 30_000, hours=5)])
        (found,) = helps(held(one, request(30_000)), Cure.LATER)
        assert (found.at, found.after_job) == (NOW + 5 * HOUR, "b")

    def test_nodes_count_for_when(self) -> None:
        one = racks(1, nodes=2)
        one.set_nodes("rack1", ZoneNodes(2, 0, 64, 8))
        one.load([claim(str(h), "rack1", 1_000, hours=h, share_milli=1_000) for h in (1, 2)])
        for nodes, hours in ((1, 1), (2, 2)):
            assert held(one, request(nodes=nodes, exclusive=True)).earliest == NOW + hours * HOUR

    def test_bookings_push_it_back(self) -> None:
        one = racks(1)
        one.add(claim("a", "rack1", 90_000, hours=1))
        one.add(claim("shadow:head", "rack1", 80_000, start_h=1, hours=2, tentative=True))
        assert held(one, request(60_000, hours=1)).earliest == NOW + 3 * HOUR

    def test_reservations_push_it_back_and_are_named(self) -> None:
        one = racks(1)
        one.load([reservation(f"r{day}", "rack1", 70_000, start_h=24 * day + 1, hours=22) for day in range(60)])
        verdict = held(one, request(60_000, hours=3))
        (reason,) = verdict.reasons
        assert (reason.code, reason.subject) == (Code.RESERVATION, "r0")
        assert (reason.asked_w, reason.free_w) == (60_000, 30_000)
        assert reason.text == "reservation r0: zone rack1 is kept for it then"
        assert verdict.earliest == NOW + (24 * 59 + 23) * HOUR
        assert held(one, request(60_000, hours=2)).earliest == NOW + 23 * HOUR
        assert isinstance(ask(one, request(60_000, hours=1)), Admit)

    def test_a_reservation_of_nodes_is_named(self) -> None:
        one = racks(1, nodes=4)
        one.add(reservation("r", "rack1", 1_000, start_h=1, hours=2, nodes=3))
        verdict = held(one, request(nodes=2, exclusive=True, hours=2))
        assert [(r.code, r.subject) for r in verdict.reasons] == [(Code.RESERVATION, "r")]
        assert verdict.earliest == NOW + 3 * HOUR

    def test_one_of_watts_alone_leaves_the_nodes_to_slurm(self) -> None:
        one = racks(1, nodes=4)
        one.load([reservation("r", "rack1", 1_000, start_h=1, hours=2), claim("a", "rack1", 1_000, share_milli=9_000)])
        assert isinstance(ask(one, request(hours=2)), Admit)

    def test_headroom_is_kept_at_the_start_around_reservations(self) -> None:
        one = racks(1)
        one.load([reservation("r", "rack1", 70_000, start_h=1, hours=2)])
        one.load([reservation("s", "rack1", 45_000, start_h=3, hours=2)])
        assert held(one, request(50_000, hours=1.5)).earliest == NOW + 3 * HOUR
        assert held(one, request(50_000, hours=1.5, headroom_w=60_000)).earliest == NOW + 5 * HOUR

    def test_no_time_beside_claims_without_end(self) -> None:
        one = racks(1)
        one.add(claim("a", "rack1", 90_000))
        verdict = held(one, request(60_000))
        assert (verdict.earliest, helps(verdict, Cure.LATER)) == (None, [])

    def test_a_claim_past_its_end_may_go_at_any_moment(self) -> None:
        one = racks(1)
        one.add(claim("a", "rack1", 90_000, start_h=-5, hours=1))
        assert held(one, request(60_000)).earliest == NOW + 1

    @pytest.mark.parametrize(
        ("est_w", "max_w", "fewer_w"),
        [(60_000, 60_000, 40_000), (80_000, 80_000, 40_000), (80_001, 80_001, None)],
    )
    def test_fewer_watts_if_at_least_half(self, est_w: int, max_w: int, fewer_w: int | None) -> None:
        one = racks(2)
        one.load([claim("a", "rack1", 60_000), claim("b", "rack2", 70_000)])
        found = helps(ask(one, request(est_w, max_w)), Cure.FEWER_WATTS)
        assert [(h.zone, h.watts) for h in found] == ([("rack1", fewer_w)] if fewer_w else [])

    def test_fewer_watts_truly_fit(self) -> None:
        one = racks(2)
        one.load([claim("a", "rack1", 50_000, 60_000), claim("b", "rack2", 55_000, group="new")])
        job = request(45_000, 67_500, group="a")
        (found,) = helps(held(one, job), Cure.FEWER_WATTS)
        assert found.watts is not None
        smaller = replace(job, est_w=found.watts, max_w=found.watts * 3 // 2)
        assert isinstance(ask(one, smaller), Admit)

    def test_another_tier_only_where_its_lane_has_room(self) -> None:
        one = ledger([zone("hot", lane=Lane.HOT), zone("cold", lane=Lane.COLD)])
        one.add(claim("a", "hot", 90_000))
        verdict = held(one, request(50_000, tier=GOLD))
        assert [h.tier for h in helps(verdict, Cure.OTHER_TIER)] == ["silver", "bronze"]
        assert helps(verdict, Cure.OTHER_TIER)[1].text == "fits cold now as bronze"
        one.add(claim("b", "cold", 90_000))
        assert helps(held(one, request(50_000, tier=GOLD)), Cure.OTHER_TIER) == []
        assert helps(held(one, request(50_000, tier=BRONZE)), Cure.OTHER_TIER) == []


class TestShadowed:
    def test_whom_the_shadow_does_not_concern(self) -> None:
        one = racks(1)
        one.add(claim("shadow:head", "rack1", 80_000, start_h=1, hours=1, tentative=True))
        job = request(30_000)
        assert isinstance(ask(one, job), Hold)
        assert isinstance(ask(one, job, "shadow:head"), Admit)
        assert isinstance(ask(one, request(30_000, hours=1)), Admit)
