"""Held jobs: their order, the shadow of the first, and that nobody starves behind it."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest

from slurm_power.core.admission import Admit, decide
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import ZoneNodes
from slurm_power.core.queue import SHADOW, Waiting, earliest, rank, shadow
from slurm_power.core.request import Request
from slurm_power.core.topology import Side
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import BRONZE, GOLD, NOW, SILVER, TWO_N, claim, feed, ledger, request, zone
from tests.core.recount import differences

HOUR = 3_600


def waiting(id: str, **options: object) -> Waiting:
    job = replace(request(id=id), tier=options.pop("tier", SILVER), time_limit_s=options.pop("limit_s", None))  # type: ignore[arg-type]
    return Waiting(job, **{"submitted": NOW, **options})  # type: ignore[arg-type]


class TestOrder:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (waiting("b", tier=GOLD, submitted=NOW + 9), waiting("a", tier=SILVER, deadline=NOW)),
            (waiting("b", tier=SILVER), waiting("a", tier=BRONZE)),
            (waiting("b", deadline=NOW + HOUR), waiting("a", deadline=NOW + 2 * HOUR)),
            (waiting("b", deadline=NOW + 2 * HOUR, limit_s=2 * HOUR), waiting("a", deadline=NOW + HOUR)),
            (waiting("b", max_delay_s=60), waiting("a", deadline=NOW + HOUR, fair_share=1.0)),
            (waiting("b", max_delay_s=60, submitted=NOW - 30), waiting("a", max_delay_s=60)),
            (waiting("b", deadline=NOW + HOUR), waiting("a")),
            (waiting("b", fair_share=0.6), waiting("a", fair_share=0.5, accuracy=1.0)),
            (waiting("b", accuracy=0.6, submitted=NOW + 9), waiting("a", accuracy=0.5)),
            (waiting("b", submitted=NOW - 1, job_id=9), waiting("a", submitted=NOW, job_id=1)),
            (waiting("b", job_id=1), waiting("a", job_id=2)),
            (waiting("a", job_id=1), waiting("b", job_id=1)),
        ],
        ids=[
            "tier",
            "tier again",
            "slack to the deadline",
            "slack counts the run time",
            "the tighter of both",
            "tolerated delay runs from submission",
            "no deadline last",
            "fair share",
            "accuracy",
            "age",
            "job id",
            "id",
        ],
    )
    def test_who_goes_first(self, first: Waiting, second: Waiting) -> None:
        assert rank(first, NOW) < rank(second, NOW)


class TestShadow:
    def test_it_lies_where_and_when_the_head_could_start(self) -> None:
        one = ledger([zone("rack1"), zone("rack2")])
        one.load([claim("a", "rack1", 80_000, hours=3), claim("b", "rack2", 80_000, hours=2)])
        made = shadow(request(60_000, 70_000, hours=4, group="u/x"), one)
        assert made is not None
        assert (made.id, made.tentative, made.group) == (SHADOW + "new", True, "u/x")
        assert made.window == Window(NOW + 2 * HOUR, NOW + 6 * HOUR)
        assert [(c.zone, c.est_w, c.max_w) for c in made.charges] == [("rack2", 60_000, 70_000)]

    def test_none_where_no_start_can_be_told(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("a", "rack1", 80_000))
        assert shadow(request(60_000), one) is None

    def test_not_before_the_job_may_start_at_all(self) -> None:
        made = shadow(request(not_before=NOW + HOUR), ledger([zone("rack1")]))
        assert made is not None
        assert made.window == Window(NOW + HOUR, FOREVER)

    def test_a_job_that_bursts_are_in_the_way_of_has_one_too(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("a", "rack1", 1_000, 90_000, hours=1))
        made = shadow(request(20_000), one)
        assert made is not None
        assert made.window.start == NOW + HOUR

    def test_a_headroom_floor_is_waited_for(self) -> None:
        one = ledger([zone("rack1")])
        one.load([claim("a", "rack1", 30_000, hours=1), claim("b", "rack1", 30_000, hours=2)])
        made = shadow(request(1_000, headroom_w=80_000), one)
        assert made is not None
        assert made.window.start == NOW + 2 * HOUR

    def test_over_several_zones(self) -> None:
        one = ledger([zone("rack1", nodes=2), zone("rack2", nodes=2)])
        for name in ("rack1", "rack2"):
            one.set_nodes(name, ZoneNodes(2, 0, 64, 8))
        one.load(
            [
                claim("a", "rack1", 90_000, hours=1, nodes=2, share_milli=1_000),
                claim("b", "rack2", 90_000, hours=3, nodes=2, share_milli=1_000),
            ]
        )
        made = shadow(request(40_000, nodes=4, exclusive=True, hours=1), one)
        assert made is not None
        assert made.window == Window(NOW + 3 * HOUR, NOW + 4 * HOUR)
        assert [(c.zone, c.nodes) for c in made.charges] == [("rack1", 2), ("rack2", 2)]

    def test_where_the_last_shadow_lay_is_looked_at_again(self) -> None:
        """150 zones have more room today, but nobody knows when: the start must not recede to never."""
        one = ledger([zone(f"rack{k:03d}") for k in range(151)])
        for k in range(150):
            one.add(claim(f"j{k}", f"rack{k:03d}", 50_000))
        one.add(claim("last", "rack150", 90_000, hours=1))
        assert earliest(request(60_000), one) is None
        start = earliest(request(60_000), one, keep=["rack150", "a zone that is gone"])
        assert start is not None
        assert (start.at, start.placement.charges[0].zone) == (NOW + HOUR, "rack150")


class TestOvertaking:
    @pytest.mark.parametrize(
        ("job", "passes"),
        [
            (request(20_000, hours=1), True),  # gone when the head starts
            (request(20_000, hours=1.1), False),
            (request(10_000, hours=9), True),  # fits beside the head
            (request(10_001, hours=9), False),
            (request(20_000), False),
        ],
    )
    def test_only_whom_the_head_need_not_wait_for(self, job: Request, passes: bool) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("a", "rack1", 80_000, hours=1))
        made = shadow(request(90_000, id="head", hours=2), one)
        assert made is not None
        one.add(made)
        assert isinstance(decide(job, one, one.empty()), Admit) is passes

    def test_nor_on_nodes(self) -> None:
        one = ledger([zone("rack1", nodes=4)])
        one.set_nodes("rack1", ZoneNodes(4, 2, 64, 8))
        one.add(claim("a", "rack1", 1_000, hours=1, nodes=2, share_milli=1_000))
        made = shadow(request(3_000, id="head", nodes=3, exclusive=True, hours=2), one)
        assert made is not None
        one.add(made)
        for nodes, hours, passes in ((1, 9, True), (2, 9, False), (2, 1, True)):
            verdict = decide(request(nodes=nodes, hours=hours, exclusive=True), one, one.empty())
            assert isinstance(verdict, Admit) is passes

    @pytest.mark.parametrize("seed", range(6))
    def test_a_large_job_starts_when_it_was_first_told_to_whatever_comes_after_it(self, seed: int) -> None:
        """A stream of small jobs of the same tier on full racks and feeds: the first estimate is never missed."""
        chance = random.Random(seed)
        feeds = [feed("a", 250_000, Side.A), feed("b", 250_000, Side.B)]
        one = ledger([zone(f"rack{k}", redundancy=TWO_N, feeds=("a", "b")) for k in range(3)], feeds)
        floor = one.empty()
        head = request(85_000, 95_000, id="head", hours=3)
        told: list[int] = []
        for minute in range(0, 40 * 60, 10):
            one.advance(NOW + minute * 60)
            for done in [c.id for c in one.claims.values() if c.window.end <= one.now]:
                one.remove(done)
            if minute >= 120:
                if isinstance(decide(head, one, floor), Admit):
                    break
                cast(one, head, told)
            for number in range(4):
                small = stream_job(chance, f"s{minute}-{number}")
                verdict = decide(small, one, floor)
                if isinstance(verdict, Admit):
                    one.add(verdict.claim)
            drop(one)
        else:
            pytest.fail("the large job never started")
        assert one.now <= told[0] + 600
        assert all(later <= sooner for sooner, later in pairwise(told))
        assert differences(one) == []


def stream_job(chance: random.Random, name: str) -> Request:
    est_w = chance.randrange(2_000, 20_000)
    return request(
        est_w, est_w * chance.choice((10, 12, 15)) // 10, id=name, hours=chance.choice((0.5, 1, 2, 5))
    )


def cast(one: Ledger, head: Request, told: list[int]) -> None:
    made = shadow(head, one)
    assert made is not None
    one.add(made)
    told.append(made.window.start)


def drop(one: Ledger) -> None:
    for booked in [c.id for c in one.bookings() if c.tentative]:
        one.remove(booked)
