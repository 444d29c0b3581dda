"""Placement: lanes by tier, fewest zones, best fit, bursty jobs, ties, nodes, arrays, windows ahead."""

from fractions import Fraction
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core import capacity
from slurm_power.core.admission import Hold, Reject, decide
from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeFree, ZoneNodes
from slurm_power.core.placement import Placement, Placer
from slurm_power.core.policy import Tier
from slurm_power.core.request import Request
from slurm_power.core.steps import finish
from slurm_power.core.topology import Lane, Side
from slurm_power.core.window import Window
from tests.core.floors import BRONZE, GOLD, NOW, SILVER, TWO_N, claim, feed, ledger, request, zone

HOT, COLD, MIXED = Lane.HOT, Lane.COLD, Lane.MIXED


def place(one: Ledger, job: Request, hours_ahead: float = 0) -> Placement | None:
    return Placer(job, one, job.window(NOW + round(hours_ahead * 3_600))).place()


def zones_of(one: Ledger, job: Request) -> dict[str, int]:
    """Zone → nodes; empty where there is no place."""
    placement = place(one, job)
    return {} if placement is None else {charge.zone: charge.nodes for charge in placement.charges}


def where(one: Ledger, job: Request) -> str:
    return "+".join(zones_of(one, job))


def filled(**watts: int) -> Ledger:
    """Zones of 100 kW in the mixed lane with so much committed."""
    one = ledger([zone(name) for name in watts])
    one.load([claim(f"in-{name}", name, w) for name, w in watts.items() if w])
    return one


class TestLanes:
    @pytest.mark.parametrize(
        ("tier", "order"),
        [(GOLD, [HOT, MIXED]), (BRONZE, [COLD, MIXED, HOT]), (SILVER, [MIXED, HOT, COLD])],
    )
    def test_the_lane_that_fits_the_tier_goes_first(self, tier: Tier, order: list[Lane]) -> None:
        one = ledger([zone(lane, lane=lane) for lane in Lane])
        for lane in order:
            assert where(one, request(tier=tier)) == lane
            one.close(lane, "closed")
        assert where(one, request(tier=tier)) == ""

    def test_a_lane_goes_before_the_number_of_zones_and_that_before_fit(self) -> None:
        one = ledger(
            [zone("hot1", nodes=2, lane=HOT), zone("hot2", nodes=2, lane=HOT), zone("mixed", nodes=4)]
        )
        job = request(4_000, tier=GOLD, nodes=4, exclusive=True)
        assert zones_of(one, job) == {"hot1": 2, "hot2": 2}
        assert zones_of(one, request(4_000, nodes=4, exclusive=True)) == {"mixed": 4}


class TestFit:
    def test_the_least_room_that_is_left(self) -> None:
        one = filled(rack1=10_000, rack2=70_000, rack3=40_000)
        assert where(one, request(5_000)) == "rack2"
        assert where(one, request(40_000)) == "rack3"
        assert where(one, request(70_000)) == "rack1"
        assert where(one, request(90_001)) == ""

    def test_a_zone_that_it_fills_to_the_watt_is_the_best(self) -> None:
        assert where(filled(rack1=50_000, rack2=49_999), request(50_000)) == "rack1"

    def test_a_margin_is_never_touched(self) -> None:
        one = ledger([zone("rack1", margin=Fraction(15, 100))])
        assert where(one, request(85_000)) == "rack1"
        assert where(one, request(85_001)) == ""

    @pytest.mark.parametrize(("max_w", "chosen"), [(13_000, "rack2"), (13_001, "rack1"), (20_000, "rack1")])
    def test_bursty_jobs_prefer_ample_headroom(self, max_w: int, chosen: str) -> None:
        assert where(filled(rack1=10_000, rack2=60_000), request(10_000, max_w)) == chosen

    @pytest.mark.parametrize(("max_w", "chosen"), [(1_000, "rack1"), (1_240, "rack3"), (1_100, "rack2")])
    def test_equals_are_told_apart_by_how_their_jobs_burst(self, max_w: int, chosen: str) -> None:
        one = ledger([zone(f"rack{k}", margin=Fraction(15, 100)) for k in (1, 2, 3)])
        one.load(
            [
                claim("flat", "rack1", 30_000),
                claim("wavy", "rack2", 30_000, 33_000),
                claim("spiky", "rack3", 30_000, 37_500),
            ]
        )
        assert where(one, request(1_000, max_w)) == chosen

    def test_a_full_feed_makes_a_zone_tight_and_the_fuller_zone_below_it_goes_first(self) -> None:
        one = ledger(
            [zone("rack1", feeds=("pdu",)), zone("rack2", feeds=("pdu",)), zone("rack3")],
            [feed("pdu", 60_000)],
        )
        one.load([claim("a", "rack2", 20_000), claim("c", "rack3", 50_000)])
        assert where(one, request(10_000)) == "rack2"  # 40 kW left of the feed, 80 of the rack
        assert where(one, request(45_000)) == "rack3"

    def test_a_bursty_job_prefers_the_emptier_zone_below_a_full_feed(self) -> None:
        one = ledger([zone("rack1", feeds=("pdu",)), zone("rack2", feeds=("pdu",))], [feed("pdu", 60_000)])
        one.add(claim("a", "rack1", 20_000))
        assert where(one, request(10_000, 14_000)) == "rack2"
        assert where(one, request(10_000, 13_000)) == "rack1"

    def test_the_last_tie_falls_by_name(self) -> None:
        assert where(ledger([zone("rack2"), zone("rack10"), zone("rack1")]), request()) == "rack1"

    def test_a_headroom_floor_is_held_before_placement(self) -> None:
        one = filled(rack1=50_000, rack2=49_999)
        assert where(one, request(10_000, headroom_w=50_000)) == "rack1"
        assert where(one, request(10_000, headroom_w=50_001)) == "rack2"
        assert where(one, request(10_000, headroom_w=50_002)) == ""

    def test_cold_floors_and_derates_count(self) -> None:
        one = filled(rack1=50_000)
        one.set_limit("rack1", 55_000)
        assert where(one, request(5_000)) == "rack1"
        assert where(one, request(5_001)) == ""


class TestWishes:
    @pytest.fixture
    def one(self) -> Ledger:
        return ledger([zone(f"rack{k}") for k in range(40)], pools={"few": ("rack7", "rack9"), "none": ()})

    @pytest.mark.parametrize(
        ("job", "chosen"),
        [
            (request(zones=["rack3"]), "rack3"),
            (request(zones=["rack3", "rack2"]), "rack2"),
            (request(zones=[f"rack{k}" for k in range(20, 40)]), "rack20"),
            (request(zones=["nowhere"]), ""),
            (request(zones=[]), ""),
            (request(excluded=["rack0", "rack1"]), "rack10"),
            (request(zones=["rack3", "rack2"], excluded=["rack2"]), "rack3"),
            (request(pool="few"), "rack7"),
            (request(pool="few", zones=["rack9", "rack1"]), "rack9"),
            (request(pool="none"), ""),
            (request(pool="a partition that is gone"), ""),
        ],
    )
    def test_zones_asked_for_and_excluded_and_the_partition(
        self, one: Ledger, job: Request, chosen: str
    ) -> None:
        assert where(one, job) == chosen

    def test_a_closed_zone_admits_nothing(self, one: Ledger) -> None:
        one.close("rack0", "thermal state critical")
        assert where(one, request()) == "rack1"
        one.close("rack0", None)
        assert where(one, request()) == "rack0"


class TestSeveralZones:
    def test_fewest_zones_by_the_largest_parts(self) -> None:
        one = ledger([zone("rack1", nodes=2), zone("rack2", nodes=4), zone("rack3", nodes=3)])
        assert zones_of(one, request(7_000, nodes=7, exclusive=True)) == {"rack2": 4, "rack3": 3}
        assert zones_of(one, request(9_000, nodes=9, exclusive=True)) == {"rack1": 2, "rack2": 4, "rack3": 3}
        assert zones_of(one, request(10_000, nodes=10, exclusive=True)) == {}

    def test_each_zone_is_charged_by_its_nodes(self) -> None:
        one = ledger([zone("rack1", nodes=2), zone("rack2", nodes=1)])
        placement = place(one, request(10_000, 13_000, nodes=3, exclusive=True))
        assert placement is not None
        assert [(c.zone, c.est_w, c.max_w) for c in placement.charges] == [
            ("rack1", 6_667, 8_667),
            ("rack2", 3_334, 4_334),
        ]

    def test_watts_may_be_what_splits_it(self) -> None:
        one = filled(rack1=60_000, rack2=60_000)
        assert zones_of(one, request(60_000, nodes=6)) == {"rack1": 4, "rack2": 2}

    def test_a_single_node_is_never_split(self) -> None:
        assert where(filled(rack1=60_000, rack2=60_000), request(60_000)) == ""

    def test_among_equals_a_switch_in_use_goes_first(self) -> None:
        one = ledger(
            [
                zone("rack1", nodes=2, switch="leaf1"),
                zone("rack2", nodes=2, switch="leaf2"),
                zone("rack3", nodes=2, switch="leaf1"),
            ]
        )
        assert zones_of(one, request(4_000, nodes=4, exclusive=True)) == {"rack1": 2, "rack3": 2}

    def test_parts_share_the_feed_above_them(self) -> None:
        feeds = [feed("ups", 50_000), feed("other", 50_000)]
        zones = [zone("rack1", nodes=4, feeds=("ups",)), zone("rack2", nodes=4, feeds=("ups",))]
        one = ledger([*zones, zone("rack3", nodes=2, feeds=("other",))], feeds)
        assert zones_of(one, request(60_000, nodes=6, exclusive=True)) == {"rack1": 4, "rack3": 2}
        assert zones_of(one, request(80_000, nodes=8, exclusive=True)) == {}

    def test_a_feed_too_full_for_a_large_part_may_carry_a_small_one(self) -> None:
        feeds = [feed("small", 15_000), feed("large", 100_000)]
        zones = [zone("rack1", nodes=4, feeds=("large",)), zone("rack2", nodes=4, feeds=("small",))]
        for narrow in (64, 0):
            with patch.object(capacity, "_NARROW", narrow):
                one = ledger(zones, feeds)
            assert zones_of(one, request(50_000, nodes=5, exclusive=True)) == {"rack1": 4, "rack2": 1}


class TestWideFeeds:
    """Feeds above many zones are not part of rooms; a full one must neither be passed nor hide what is free."""

    def bays(self, count: int = 70) -> Ledger:
        zones = [zone(f"l{k:03d}", feeds=("left",)) for k in range(count)]
        zones += [zone(f"r{k:03d}", feeds=("right",)) for k in range(count)]
        one = ledger(zones, [feed("left", 50_000), feed("right", 60_000)])
        assert one.plan.wide_feeds == {"left", "right"}
        return one

    def test_zones_under_a_full_one_are_passed_over(self) -> None:
        one = self.bays()
        one.add(claim("a", "l000", 45_000))
        assert where(one, request(5_000)) == "l000"
        assert where(one, request(6_000)) == "r000"
        assert where(one, request(61_000)) == ""

    def test_each_bay_by_what_it_is_charged(self) -> None:
        zones = [zone(f"d{k:03d}", feeds=("a", "b"), redundancy=TWO_N) for k in range(70)]
        zones += [zone(f"s{k:03d}", feeds=("a", "b")) for k in range(70)]
        one = ledger(zones, [feed("a", 30_000, Side.A), feed("b", 30_000, Side.B)])
        assert where(one, request(30_000)) == "d000"
        assert where(one, request(40_000)) == "s000"

    def test_a_zone_under_none_of_them_is_found_when_they_are_full(self) -> None:
        zones = [zone(f"l{k:03d}", feeds=("left",)) for k in range(70)]
        one = ledger([*zones, zone("r000")], [feed("left", 50_000)])
        one.add(claim("a", "l000", 45_000))
        assert where(one, request(6_000)) == "r000"
        assert zones_of(one, request(6_000, nodes=2, exclusive=True)) == {"r000": 2}

    def test_with_zones_named_too(self) -> None:
        one = self.bays()
        one.add(claim("a", "l000", 45_000))
        assert where(one, request(6_000, zones=["l001", "r069"])) == "r069"
        assert where(one, request(6_000, zones=["l001"])) == ""


class TestNodes:
    def test_watts_without_a_free_node_are_stranded(self) -> None:
        one = ledger([zone("rack1"), zone("rack2")])
        one.set_nodes("rack1", ZoneNodes(up=8, idle=0, cpus=64, gpus=8))
        assert where(one, request()) == "rack2"
        one.set_nodes("rack2", ZoneNodes(up=8, idle=1, cpus=64, gpus=8))
        assert where(one, request(nodes=2, exclusive=True)) == ""
        assert where(one, request(nodes=1, exclusive=True)) == "rack2"

    def test_nodes_promised_to_others_are_not_free(self) -> None:
        one = ledger([zone("rack1")])
        one.set_nodes("rack1", ZoneNodes(up=2, idle=2, cpus=64, gpus=8))
        one.add(claim("a", "rack1", 1_000, share_milli=1_000, placed=False))
        assert where(one, request(nodes=2, exclusive=True)) == ""
        assert where(one, request(exclusive=True)) == "rack1"
        one.replace("a", claim("a", "rack1", 1_000, share_milli=1_000, placed=True))
        assert where(one, request(nodes=2, exclusive=True)) == "rack1"

    def test_the_share_of_a_node_goes_with_the_placement(self) -> None:
        one = ledger([zone("rack1")])
        one.set_nodes("rack1", ZoneNodes(up=8, idle=8, cpus=64, gpus=8))
        for job, share in (
            (request(gpus=2), 250),
            (request(cpus=32, gpus=2), 500),
            (request(exclusive=True), 1_000),
        ):
            placement = place(one, job)
            assert placement is not None
            assert placement.share_milli == share

    def test_an_array_is_placed_whole_in_one_zone(self) -> None:
        one = ledger([zone("rack1", nodes=2), zone("rack2", nodes=4)])
        for name, count in (("rack1", 2), ("rack2", 4)):
            one.set_nodes(name, ZoneNodes(up=count, idle=count, cpus=64, gpus=8))
        assert zones_of(one, request(8_000, copies=8, gpus=2)) == {"rack1": 8}  # four tasks share a node
        assert zones_of(one, request(16_000, copies=16, gpus=2)) == {"rack2": 16}
        assert zones_of(one, request(17_000, copies=17, gpus=2)) == {}

    def test_parts_of_nodes(self) -> None:
        one = ledger([zone("rack1"), zone("rack2")])
        one.set_nodes("rack1", ZoneNodes(8, 0, 64, 8, (NodeFree(64, 1), NodeFree(2, 8))))
        one.set_nodes("rack2", ZoneNodes(8, 0, 64, 8, (NodeFree(16, 2),)))
        assert where(one, request(cpus=16, gpus=2)) == "rack2"
        assert where(one, request(cpus=2, gpus=8)) == "rack1"
        assert where(one, request(cpus=16, gpus=4)) == ""


class TestAhead:
    """A window that begins later: watts and nodes are those that will be free."""

    def test_claims_that_will_have_ended_do_not_count(self) -> None:
        one = ledger([zone("rack1")])
        one.set_nodes("rack1", ZoneNodes(up=2, idle=0, cpus=64, gpus=8))
        one.load(
            [
                claim("a", "rack1", 60_000, hours=1, share_milli=1_000),
                claim("b", "rack1", 30_000, hours=3, share_milli=1_000),
            ]
        )
        job = request(60_000, exclusive=True)
        assert [place(one, job, h) is not None for h in (0, 0.9, 1, 2)] == [False, False, True, True]
        assert [place(one, request(60_000, nodes=2, exclusive=True), h) is not None for h in (2, 3)] == [
            False,
            True,
        ]

    def test_a_headroom_floor_is_that_of_the_start(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("a", "rack1", 60_000, hours=1))
        job = request(10_000, headroom_w=50_000)
        assert (place(one, job), place(one, job, 1) is not None) == (None, True)

    def test_bookings_stand_in_the_way_of_whom_they_overlap(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("shadow:head", "rack1", 80_000, start_h=1, hours=1, tentative=True))
        long, brief = request(30_000, hours=2), request(30_000, hours=1)
        assert place(one, long) is None
        assert place(one, brief) is not None
        assert Placer(long, one, long.window(NOW), "shadow:head").place() is not None

    def test_bookings_of_nodes_too(self) -> None:
        one = ledger([zone("rack1", nodes=2)])
        one.add(
            claim(
                "shadow:head", "rack1", 1_000, start_h=1, hours=1, nodes=2, share_milli=1_000, tentative=True
            )
        )
        assert place(one, request(hours=2, exclusive=True)) is None
        assert place(one, request(hours=1, exclusive=True)) is not None
        assert place(one, request(hours=2, exclusive=True), 2) is not None


def test_the_first_place_will_do_where_only_the_answer_counts() -> None:
    one = ledger([zone("rack1"), zone("rack2")])
    job = request()
    assert Placer(job, one, Window(NOW), any_will_do=True).place() is not None
    assert Placer(request(200_000), one, Window(NOW), any_will_do=True).place() is None


@given(
    before=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 9_000)), max_size=5),
    est_w=st.integers(1, 60_000),
    part=st.sampled_from([0, 1, 3, 10]),
    sides=st.integers(1, 3),
)
def test_a_zone_that_could_carry_a_job_is_never_left_out_for_lack_of_room(
    before: list[tuple[int, int]], est_w: int, part: int, sides: int
) -> None:
    """Rooms are a bound from above, to the watt, also where a feed carries a third of a load and both are rounded."""
    names = [f"f{k}" for k in range(sides)]
    one = ledger([zone("rack1", feeds=names)], [feed(name, 20_011) for name in names])
    one.load([claim(f"j{k}", "rack1", e, e + b) for k, (e, b) in enumerate(before)])
    job = request(est_w, est_w + est_w * part // 10)
    new = (Charge("rack1", 1, job.est_w, job.max_w),)
    if one.shortfall(new, Asker("new", Window(NOW))) is None:
        assert one.rooms_for(job.est_w, job.max_w).room_w("rack1") >= est_w
        assert where(one, job) == "rack1"
    else:
        assert where(one, job) == ""


@pytest.mark.parametrize("sides", [1, 2, 3])
def test_rounding_of_split_loads_costs_no_room(sides: int) -> None:
    names = [f"f{k}" for k in range(sides)]
    for limit_w in range(1_000, 1_080):
        one = ledger([zone("rack1", feeds=names)], [feed(name, limit_w) for name in names])
        one.load([claim(f"j{k}", "rack1", 37, 37 + 10 * k) for k in range(9)])
        for est_w in range(400 * sides, 1_000 * sides):
            charge = Charge("rack1", 1, est_w, est_w + -(-est_w * 3 // 10))
            if one.shortfall((charge,), Asker("new", Window(NOW))) is not None:
                break
            assert one.rooms_for(charge.est_w, charge.max_w).room_w("rack1") >= est_w


def test_a_split_that_no_zone_nor_feed_rules_out_may_exist() -> None:
    """Taking the largest parts first fails here: the middle rack hangs on both feeds."""
    feeds = [feed("f1", 20_000, Side.A), feed("f2", 20_000, Side.B)]
    zones = [
        zone("middle", 50_000, nodes=2, feeds=("f1", "f2"), redundancy=TWO_N),
        zone("one", 100_000, nodes=2, feeds=("f1",)),
        zone("two", 100_000, nodes=2, feeds=("f2",)),
    ]
    one = ledger(zones, feeds)
    for watts, may in ((40_000, True), (44_000, False)):
        job = request(watts, nodes=4, exclusive=True)
        assert Placer(job, one, Window(NOW)).place() is None
        assert finish(Placer(job, one, Window(NOW)).spreading()) is may
        assert isinstance(decide(job, one, one.empty()), Hold if may else Reject)
