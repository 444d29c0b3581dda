"""The ledger: feeds under N and 2N, common ancestors, cooling, replacement, windows, bulk loading."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest

from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge, Claim, split_over
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import ZoneNodes, all_free
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.topology import Breaker, FeedKind, Side
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, SUM, TWO_N, N, claim, feed, ledger, pair, reservation, zone
from tests.core.recount import differences


def short(one: Ledger, new: Claim) -> Shortfall | None:
    return one.shortfall(new.charges, Asker(new.group, new.window))


def committed(one: Ledger) -> dict[str, int]:
    return {name: meter.committed_w for name, meter in one.meters.items()}


def test_it_tells_that_something_may_have_come_free() -> None:
    one = pair(34_500, rack1=TWO_N, rack2=TWO_N)
    one.load([claim("j1", "rack1", 17_000), claim("j2", "rack2", 8_000)])
    one.add(replace(claim("kept:j3", "rack1", 9_000), tentative=True, window=Window(NOW + 10, FOREVER)))
    one.close("rack2", "maintenance")
    assert one.freed == 0
    ways: list[Callable[[], object]] = [
        lambda: one.remove("kept:j3"),
        lambda: one.remove("j1"),
        lambda: one.replace("j2", claim("j2", "rack2", 7_000)),
        lambda: one.set_limit("a", 40_000),
        lambda: one.set_nodes("rack1", all_free(3)),
        lambda: one.close("rack2", None),
    ]
    for number, free in enumerate(ways, start=1):
        free()
        assert one.freed == number


class TestFeeds:
    def test_the_breaker_of_the_issue(self) -> None:
        # 415 V × 60 A × √3 × 1.0 × 80 % = 34,502.6 W
        assert Breaker(415, 60, 3, Fraction(1)).continuous_w() == 34_502

    def test_a_third_job_is_held_where_either_feed_must_carry_all(self) -> None:
        one = pair(34_500, rack1=TWO_N, rack2=TWO_N, rack3=TWO_N)
        one.load([claim("j1", "rack1", 17_000), claim("j2", "rack2", 17_000)])
        assert committed(one) == {"rack1": 17_000, "rack2": 17_000, "rack3": 0, "a": 34_000, "b": 34_000}
        assert one.meters["rack1"].headroom_w == one.meters["rack2"].headroom_w == 83_000
        assert short(one, claim("j3", "rack1", 5_000)) == Shortfall("a", 5_000, 500, burst=False)
        assert short(one, claim("j3", "rack2", 500)) is None

    def test_the_same_jobs_fit_where_the_feeds_share_the_load(self) -> None:
        one = pair(34_500, rack1=N, rack2=N)
        one.load([claim("j1", "rack1", 17_000), claim("j2", "rack2", 17_000)])
        assert committed(one) == {"rack1": 17_000, "rack2": 17_000, "a": 17_000, "b": 17_000}
        assert short(one, claim("j3", "rack1", 5_000)) is None
        assert short(one, claim("j3", "rack1", 35_001)) == Shortfall("a", 17_501, 17_500, burst=False)

    def test_an_odd_watt_is_rounded_up_on_both_feeds(self) -> None:
        one = pair(34_500, rack1=N)
        one.add(claim("j1", "rack1", 1_001))
        assert committed(one) == {"rack1": 1_001, "a": 501, "b": 501}

    def test_a_common_ancestor_carries_a_load_once(self) -> None:
        feeds = [
            feed("utility", 90_000),
            feed("a", 50_000, Side.A, "utility"),
            feed("b", 50_000, Side.B, "utility"),
        ]
        for redundancy, leaf_w in ((TWO_N, 20_000), (N, 10_000)):
            one = ledger([zone("rack1", feeds=("a", "b"), redundancy=redundancy)], feeds)
            one.add(claim("j1", "rack1", 20_000))
            assert committed(one) == {"rack1": 20_000, "utility": 20_000, "a": leaf_w, "b": leaf_w}

    def test_both_rules_hold_at_every_feed_up_the_path(self) -> None:
        feeds = [feed("ups", 30_000), feed("pdu", 40_000, parent="ups")]
        one = ledger([zone("rack1", feeds=("pdu",))], feeds)
        assert short(one, claim("j", "rack1", 31_000)) == Shortfall("ups", 31_000, 30_000, burst=False)
        assert short(one, claim("j", "rack1", 25_000, 32_000)) == Shortfall("ups", 32_000, 30_000, burst=True)
        assert short(one, claim("j", "rack1", 25_000, 30_000)) is None

    def test_a_margin_of_a_feed_counts(self) -> None:
        one = ledger([zone("rack1", feeds=("pdu",))], [feed("pdu", 40_000, margin=Fraction(1, 10))])
        assert short(one, claim("j", "rack1", 36_000, 40_000)) is None
        assert short(one, claim("j", "rack1", 36_001)) == Shortfall("pdu", 36_001, 36_000, burst=False)

    def test_a_cooling_loop_is_a_tree_of_its_own(self) -> None:
        feeds = [
            feed("a", 90_000, Side.A),
            feed("b", 90_000, Side.B),
            feed("cdu", 30_000, kind=FeedKind.COOLING),
        ]
        one = ledger([zone("rack1", feeds=("a", "b", "cdu"), redundancy=N)], feeds)
        one.add(claim("j1", "rack1", 20_000))
        assert committed(one) == {"rack1": 20_000, "a": 10_000, "b": 10_000, "cdu": 20_000}
        assert short(one, claim("j2", "rack1", 11_000)) == Shortfall("cdu", 11_000, 10_000, burst=False)

    def test_baselines_of_all_zones_weigh_on_their_feeds(self) -> None:
        zones = [
            zone(name, baseline_w=2_000, feeds=("a", "b"), redundancy=TWO_N) for name in ("rack1", "rack2")
        ]
        one = ledger(zones, [feed("a", 34_500, Side.A), feed("b", 34_500, Side.B)])
        assert committed(one) == {"rack1": 2_000, "rack2": 2_000, "a": 4_000, "b": 4_000}

    def test_one_job_bursts_as_one_where_its_zones_meet(self) -> None:
        one = ledger([zone("rack1", feeds=("ups",)), zone("rack2", feeds=("ups",))], [feed("ups", 30_000)])
        spread = claim("j", {"rack1": 5_000, "rack2": 5_000}, 5_000, 15_000)
        assert short(one, spread) is None
        one.add(spread)
        assert one.meters["ups"].burst_w == 20_000
        assert short(one, claim("k", "rack1", 1)) == Shortfall("ups", 20_001, 20_000, burst=True)

    def test_parts_placed_already_count_beside_a_further_one(self) -> None:
        one = ledger([zone("rack1", feeds=("ups",)), zone("rack2", feeds=("ups",))], [feed("ups", 30_000)])
        beside = one.loads([Charge("rack1", 1, 20_000, 20_000)])
        further = (Charge("rack2", 1, 11_000, 11_000),)
        assert one.shortfall(further, Asker("j", Window(NOW))) is None
        assert one.shortfall(further, Asker("j", Window(NOW)), beside=beside) is not None


class TestChanges:
    @pytest.fixture
    def one(self) -> Ledger:
        return ledger([zone("rack1"), zone("rack2")])

    def test_an_id_is_counted_once(self, one: Ledger) -> None:
        one.add(claim("j", "rack1", 1_000))
        with pytest.raises(ValueError, match="claim j is in the ledger"):
            one.add(claim("j", "rack2", 1_000))
        with pytest.raises(ValueError, match="claim j is in the ledger"):
            one.load([claim("k", "rack2", 1_000), claim("j", "rack2", 1_000)])
        assert committed(one) == {"rack1": 1_000, "rack2": 1_000}
        assert differences(one) == []

    def test_a_claim_in_a_zone_that_there_is_not_counts_nowhere(self, one: Ledger) -> None:
        with pytest.raises(KeyError):
            one.add(claim("j", {"rack1": 1_000, "rack9": 1_000}, 1_000))
        assert committed(one) == {"rack1": 0, "rack2": 0}
        assert differences(one) == []

    def test_a_replacement_that_fails_leaves_the_old_one(self, one: Ledger) -> None:
        one.add(claim("j", "rack1", 1_000))
        with pytest.raises(KeyError):
            one.replace("j", claim("j", "rack9", 1_000))
        assert committed(one)["rack1"] == 1_000
        assert differences(one) == []

    def test_two_charges_in_one_zone_add_up(self, one: Ledger) -> None:
        charges = (Charge("rack1", 1, 1_000, 1_500), Charge("rack1", 1, 2_000, 2_500))
        one.add(Claim("j", charges, Window(NOW), "g", share_milli=1_000))
        assert (one.meters["rack1"].committed_w, one.meters["rack1"].burst_w) == (3_000, 1_000)
        assert one.promised_milli("rack1") == 0 + 2_000
        one.remove("j")
        assert differences(one) == []
        assert committed(one)["rack1"] == 0

    def test_removing_what_is_not_there_says_so(self, one: Ledger) -> None:
        assert one.remove("nobody") is None

    def test_a_booking_becomes_a_fact_when_its_window_begins(self, one: Ledger) -> None:
        one.add(claim("later", "rack1", 1_000, start_h=1, hours=1))
        assert (list(one.claims), [c.id for c in one.bookings()]) == ([], ["later"])
        one.advance(NOW + 3_599)
        assert committed(one)["rack1"] == 0
        one.advance(NOW + 3_600)
        assert (list(one.claims), list(one.bookings()), committed(one)["rack1"]) == (["later"], [], 1_000)

    def test_a_shadow_never_becomes_one(self, one: Ledger) -> None:
        one.add(claim("shadow:j", "rack1", 90_000, start_h=1, hours=2, tentative=True))
        one.advance(NOW + 3_700)
        assert committed(one)["rack1"] == 0
        assert short(one, claim("k", "rack1", 20_000).at(Window(NOW + 3_700))) is not None
        assert one.remove("shadow:j") is not None
        assert differences(one) == []

    def test_time_never_runs_back(self, one: Ledger) -> None:
        one.advance(NOW + 10)
        one.advance(NOW)
        assert one.now == NOW + 10

    def test_a_large_load_is_the_same_as_one_by_one(self) -> None:
        zones = [zone(f"rack{k}", feeds=("a",)) for k in range(3)]
        many = [
            claim(f"j{k}", f"rack{k % 3}", 100 + k, 150 + k, hours=1 + k % 5, placed=k % 2 > 0)
            for k in range(60)
        ]
        slow, fast = ledger(zones, [feed("a", 10**6)]), ledger(zones, [feed("a", 10**6)])
        for one in many:
            slow.add(one)
        fast.load(iter(many))
        assert {n: m.numbers() for n, m in fast.meters.items()} == {
            n: m.numbers() for n, m in slow.meters.items()
        }
        assert differences(fast) == differences(slow) == []

    def test_validate_finds_what_does_not_add_up(self, one: Ledger) -> None:
        one.add(claim("j", "rack1", 1_000))
        one.meters["rack1"].committed_w += 1
        assert any(line.startswith("rack1: kept") for line in differences(one))

    def test_an_empty_floor_has_declared_limits_and_nodes_of_the_same_size(self, one: Ledger) -> None:
        one.set_limit("rack1", 10)
        one.close("rack2", "too hot")
        one.set_nodes("rack1", ZoneNodes(7, 1, 64, 4))
        one.add(claim("j", "rack1", 1_000))
        floor = one.empty()
        assert floor.meters["rack1"].limit_w == 100_000
        assert (floor.closed, floor.claims) == ({}, {})
        assert floor.nodes["rack1"] == ZoneNodes(8, 8, 64, 4)


class TestReservations:
    """Claims that keep watts for their owner: booked until their window begins, and live from then on."""

    @pytest.fixture
    def one(self) -> Ledger:
        one = ledger([zone("rack1", feeds=("ups",)), zone("rack2", feeds=("ups",))], [feed("ups", 160_000)])
        one.load(
            [
                reservation("a", "rack1", 60_000, start_h=24, hours=4),
                reservation("b", {"rack1": 30_000, "rack2": 50_000}, 1_000, 2_000, start_h=26, hours=1),
                reservation("c", "rack2", 90_000, start_h=25, hours=1),
            ]
        )
        return one

    @pytest.mark.parametrize(
        ("start_h", "hours", "zone", "most_w", "element"),
        [
            (0, 24, "rack1", 100_000, "rack1"),
            (0, 24.5, "rack1", 40_000, "rack1"),
            (24, 1, "rack2", 100_000, "rack2"),
            (25, 1, "rack2", 10_000, "rack2"),
            (25, 1, "rack1", 10_000, "ups"),
            (26, 1, "rack1", 9_000, "rack1"),  # 1,000 W of burst
            (26, 1, "rack2", 18_000, "ups"),
            (27, 9, "rack1", 40_000, "rack1"),
        ],
    )
    def test_they_stand_in_the_way_of_what_overlaps_them(
        self, one: Ledger, start_h: float, hours: float, zone: str, most_w: int, element: str
    ) -> None:
        found = short(one, claim("j", zone, most_w + 1, start_h=start_h, hours=hours))
        assert found is not None
        assert (found.element, found.asked_w - found.free_w) == (element, 1)
        assert short(one, claim("j", zone, most_w, start_h=start_h, hours=hours)) is None

    def test_the_instant_is_told(self, one: Ledger) -> None:
        found = one.shortfall((Charge("rack1", 0, 50_000, 50_000),), Asker("j", Window(NOW)))
        assert found is not None
        assert (found.free_w, found.at) == (10_000, NOW + 26 * 3_600)

    def test_they_begin_in_order_of_time(self, one: Ledger) -> None:
        one.advance(NOW + 25 * 3_600)
        assert (list(one.claims), [c.id for c in one.bookings()]) == (["res:a", "res:c"], ["res:b"])
        assert committed(one) == {"rack1": 60_000, "rack2": 90_000, "ups": 150_000}
        assert differences(one) == []
        one.advance(NOW + 30 * 3_600)
        assert list(one.claims) == ["res:a", "res:c", "res:b"]
        assert not any(meter.ahead for meter in one.meters.values())
        assert differences(one) == []

    def test_they_are_replaced_and_removed_before_they_begin(self, one: Ledger) -> None:
        one.replace("res:a", reservation("a", "rack1", 20_000, start_h=30, hours=4))
        assert one.remove("res:b") is not None
        one.advance(NOW + 24 * 3_600)
        assert not one.claims
        assert differences(one) == []
        assert short(one, claim("j", "rack1", 81_000)) == Shortfall("rack1", 81_000, 80_000, burst=False)

    def test_the_others_begin_when_a_later_one_is_gone(self, one: Ledger) -> None:
        one.remove("res:c")
        one.advance(NOW + 24 * 3_600)
        assert list(one.claims) == ["res:a"]
        one.advance(NOW + 26 * 3_600)
        assert list(one.claims) == ["res:a", "res:b"]

    def test_instead_of_itself_it_may_have_its_own_watts(self, one: Ledger) -> None:
        wider = reservation("a", "rack1", 70_000, start_h=24, hours=2)
        assert short(one, wider) == Shortfall("rack1", 70_000, 40_000, burst=False)
        assert one.shortfall_instead("res:a", wider) is None
        assert differences(one) == []

    def test_one_may_be_ignored(self, one: Ledger) -> None:
        asked = (Charge("rack1", 0, 69_000, 69_000),)
        assert one.shortfall(asked, Asker("j", Window(NOW), ignore="res:a")) is None
        assert one.shortfall(asked, Asker("j", Window(NOW), ignore="res:b")) is not None

    def test_nobody_bursts_together_with_a_reservation(self, one: Ledger) -> None:
        one.add(claim("j", "rack1", 1_000, 2_000, group="u/a", hours=1))
        with pytest.raises(ValueError, match="claim k: reservation res:b has the same correlation group"):
            one.add(claim("k", "rack1", 1_000, 2_000, group="res:b"))
        with pytest.raises(ValueError, match="reservation res:d: another claim has the same correlation group"):
            one.add(reservation("d", "rack1", 1_000, 2_000, start_h=9, hours=1, group="u/a"))
        one.add(claim("k", "rack1", 1_000, group="res:b", hours=1))  # without a burst it is all the same
        one.remove("res:b")
        one.add(claim("m", "rack1", 1_000, 2_000, group="res:b", hours=1))
        assert differences(one) == []

    def test_once_it_is_live_jobs_may_burst_together_with_it(self, one: Ledger) -> None:
        one.advance(NOW + 26 * 3_600)
        one.add(claim("k", "rack1", 1_000, 2_000, group="res:b"))
        one.replace("res:b", reservation("b", "rack1", 500, 900, start_h=26, hours=1))
        assert one.meters["rack1"].groups["res:b"] == 1_400
        assert differences(one) == []

    def test_validate_finds_a_timeline_that_does_not_add_up(self, one: Ledger) -> None:
        one.meters["rack1"].reserved.pop("res:a")
        assert any(line.startswith("rack1: kept") for line in differences(one))


class TestInstead:
    """`shortfall_instead`: what lowers an overage always passes, growth is a new question."""

    @pytest.fixture
    def over(self) -> Ledger:
        """rack1 carries 80 kW and has been cut to 50."""
        one = ledger([zone("rack1"), zone("rack2")])
        one.load([claim("j", "rack1", 30_000, 35_000, hours=4), claim("k", "rack1", 50_000, hours=4)])
        one.set_limit("rack1", 50_000)
        return one

    @pytest.mark.parametrize(
        ("new", "passes"),
        [
            (claim("j", "rack1", 20_000, 25_000, hours=4, group="j"), True),
            (
                claim("j", "rack1", 30_000, 35_000, hours=9, group="j"),
                True,
            ),  # longer, and nobody else is booked
            (claim("j", "rack1", 30_001, 35_000, hours=4, group="j"), False),
            (claim("j", "rack1", 29_000, 35_000, hours=4, group="j"), False),  # less est, but more burst
            (claim("j", "rack1", 20_000, 25_000, hours=4, group="k"), False),  # bursts with others now
            (claim("j", "rack2", 90_000, hours=4, group="j"), True),
        ],
    )
    def test_less_of_the_same_passes(self, over: Ledger, new: Claim, passes: bool) -> None:
        assert (over.shortfall_instead("j", new) is None) is passes
        assert differences(over) == []

    def test_a_longer_window_is_asked_about_where_others_are_booked(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("j", "rack1", 60_000, hours=2))
        one.add(claim("next", "rack1", 60_000, start_h=2, hours=2))
        longer = claim("j", "rack1", 60_000, hours=3, group="j")
        assert one.shortfall_instead("j", longer) == Shortfall("rack1", 60_000, 40_000, burst=False)
        assert one.shortfall_instead("j", longer, ignore="next") is None
        assert one.shortfall_instead("j", claim("j", "rack1", 50_000, hours=2, group="j")) is None

    def test_a_booking_gives_no_right_to_watts_now(self) -> None:
        one = ledger([zone("rack1")])
        one.add(claim("j", "rack1", 60_000, start_h=2, hours=2))
        one.add(claim("k", "rack1", 60_000, hours=1))
        assert one.shortfall_instead("j", claim("j", "rack1", 60_000, hours=2, group="j")) is not None

    def test_without_an_old_one_it_is_a_plain_question(self, over: Ledger) -> None:
        assert over.shortfall_instead(None, claim("n", "rack2", 100_000)) is None
        assert over.shortfall_instead("nobody", claim("n", "rack2", 100_001)) is not None


def test_burst_rule_sum_is_a_sum_on_every_element() -> None:
    one = ledger([zone("rack1", feeds=("a",))], [feed("a", 50_000)], rule=SUM)
    one.load([claim(f"j{k}", "rack1", 1_000, 5_000) for k in range(9)])
    assert (one.meters["rack1"].burst_w, one.meters["a"].burst_w) == (36_000, 36_000)


@pytest.mark.parametrize(
    ("zones", "est_w", "expected"),
    [
        ({"b": 1, "a": 1}, 1_001, [("a", 1, 501), ("b", 1, 501)]),
        ({"a": 3, "b": 1}, 1_000, [("a", 3, 750), ("b", 1, 250)]),
        ({"a": 2}, 999, [("a", 2, 999)]),
    ],
)
def test_a_job_over_zones_is_charged_by_its_nodes(
    zones: dict[str, int], est_w: int, expected: list[tuple[str, int, int]]
) -> None:
    assert [(c.zone, c.nodes, c.est_w) for c in split_over(zones, est_w, est_w)] == expected


def test_claims_of_an_array_shrink_by_whole_copies() -> None:
    three = Claim("j", (Charge("rack1", 6, 3_000, 3_900),), Window(NOW, FOREVER), "g", copies=3)
    two = three.with_copies(2)
    assert (two.copies, two.est_w, two.max_w, two.charges[0].nodes) == (2, 2_000, 2_600, 4)
