"""The arithmetic of one element: packing, burst, margins, ends, bookings."""

from fractions import Fraction
from itertools import pairwise
from math import ceil, isqrt, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.asker import Asker
from slurm_power.core.level import Booking, Load
from slurm_power.core.meter import Meter
from slurm_power.core.policy import BurstRule
from slurm_power.core.walk import levels
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, RSS, SUM

HOUR = 3_600
NOW_ON = Window(NOW)


def meter(limit_w: int = 100_000, *, margin: str = "0", baseline_w: int = 0, rule: BurstRule = RSS) -> Meter:
    return Meter("rack", limit_w, Fraction(margin), baseline_w, rule)


def live(
    one: Meter, est_w: int, burst_w: int = 0, group: str = "", end: int = FOREVER, milli: int = 0
) -> None:
    one.add([(est_w, burst_w, milli, group, end, None)])


def book(
    one: Meter, name: str, start_h: int, end_h: int, est_w: int, burst_w: int = 0, group: str = ""
) -> None:
    window = Window(NOW + start_h * HOUR, NOW + end_h * HOUR)
    one.book(name, Booking(window, group or name, Load(est_w, burst_w, 1_000)))


class TestPacking:
    @pytest.mark.parametrize(
        ("limit_w", "margin", "usable_w"),
        [(100_000, "0.15", 85_000), (99_999, "0.15", 84_999), (7, "1/3", 4), (0, "0.15", 0), (100, "0", 100)],
    )
    def test_usable_is_rounded_down(self, limit_w: int, margin: str, usable_w: int) -> None:
        assert meter(limit_w, margin=margin).usable_w == usable_w

    def test_the_baseline_counts_once(self) -> None:
        one = meter(10_000, baseline_w=2_000)
        live(one, 3_000)
        live(one, 1_000)
        assert (one.committed_w, one.claimed_w, one.headroom_w) == (6_000, 4_000, 4_000)

    def test_up_to_usable_and_not_a_watt_more(self) -> None:
        one = meter(margin="0.15")
        live(one, 80_000)
        assert one.fits(5_000, 0, "a")
        assert not one.fits(5_001, 0, "a")

    def test_headroom_turns_negative_after_a_cut_and_room_with_it(self) -> None:
        one = meter()
        live(one, 60_000)
        one.set_limit(50_000)
        assert (one.headroom_w, one.room_w) == (-10_000, -10_000)
        assert not one.fits(1, 0, "a")

    def test_what_is_removed_leaves_no_trace(self) -> None:
        one, fresh = meter(), meter()
        live(one, 5_000, 900, "u/a", NOW + 50, 500)
        live(one, 7_000, 100, "u/a", NOW + 70)
        one.remove((7_000, 100, 0, "u/a", NOW + 70, None))
        one.remove((5_000, 900, 500, "u/a", NOW + 50, None))
        assert one.numbers() == fresh.numbers()


class TestBurst:
    @pytest.mark.parametrize(
        ("bursts", "rule", "expected_w"),
        [
            ({}, RSS, 0),
            ({"a": 1_000}, RSS, 1_000),  # 2·√b² is more than Σ b
            ({"a": 1_000, "b": 1_000, "c": 1_000, "d": 1_000}, RSS, 4_000),
            (dict.fromkeys("abcdefghi", 1_000), RSS, 6_000),  # 2·√9 instead of 9
            (dict.fromkeys("abcdefghi", 1_000), SUM, 9_000),
            (dict.fromkeys("abcde", 1_000), RSS, 4_473),  # ⌈2·√5 · 1,000⌉ = ⌈4,472.13…⌉
            (dict.fromkeys("abcdefghi", 1_000), BurstRule(z_milli=3_000), 9_000),
            (dict.fromkeys("abcdefghi", 1_000), BurstRule(z_milli=1_500), 4_500),
        ],
    )
    def test_root_of_squares_or_sum_over_groups(
        self, bursts: dict[str, int], rule: BurstRule, expected_w: int
    ) -> None:
        one = meter(rule=rule)
        for group, burst_w in bursts.items():
            live(one, 10, burst_w, group)
        assert one.burst_w == expected_w

    def test_one_group_bursts_together(self) -> None:
        apart, together = meter(), meter()
        for k in range(9):
            live(apart, 10, 1_000, f"u/{k}")
            live(together, 10, 1_000, "u/a")
        assert (apart.burst_w, together.burst_w) == (6_000, 9_000)

    def test_bursts_are_held_against_the_limit_and_not_against_usable(self) -> None:
        one = meter(margin="0.15")
        assert one.fits(85_000, 15_000, "a")
        assert not one.fits(85_000, 15_001, "a")

    def test_a_claim_without_burst_still_needs_room_for_those_of_others(self) -> None:
        one = meter()
        live(one, 10_000, 50_000, "a")
        assert one.room_w == 40_000
        assert one.fits(40_000, 0, "b")
        assert not one.fits(40_001, 0, "b")

    def test_a_claim_bursts_together_with_its_group(self) -> None:
        one = meter()
        for k in range(9):
            live(one, 1_000, 9_000, f"u/{k}")
        # free are 91 kW: alone 2·√(9·9² + 27²) = 76.4 kW come on top, with u/0 2·√(8·9² + 36²) = 88.2 kW
        assert one.fits(10_000, 27_000, "new")
        assert not one.fits(10_000, 27_000, "u/0")

    @given(
        bursts=st.lists(st.tuples(st.sampled_from("aabcdefghijkl"), st.integers(0, 20_000)), max_size=20),
        est_w=st.integers(0, 60_000),
        burst_w=st.integers(0, 30_000),
        rule=st.sampled_from([RSS, SUM, BurstRule(z_milli=1_234)]),
    )
    def test_fits_is_the_rule_in_exact_numbers(
        self, bursts: list[tuple[str, int]], est_w: int, burst_w: int, rule: BurstRule
    ) -> None:
        one = meter(rule=rule)
        groups: dict[str, int] = {}
        for group, watts in bursts:
            live(one, 0, watts, group)
            groups[group] = groups.get(group, 0) + watts
        groups["a"] = groups.get("a", 0) + burst_w
        total, squares = sum(groups.values()), sum(b * b for b in groups.values())
        free_w = 100_000 - est_w
        by_root = rule.z_milli**2 * squares <= (free_w * 1_000) ** 2
        assert one.fits(est_w, burst_w, "a") == (total <= free_w or (rule.rss and by_root))

    @given(
        others=st.lists(st.integers(0, 20_000), max_size=6),
        est_w=st.integers(1, 100_000),
        milli=st.sampled_from([0, 100, 300, 1_000, 3_000]),
        rule=st.sampled_from([RSS, SUM]),
    )
    def test_room_for_a_bursting_claim_is_never_too_small_and_hardly_too_large(
        self, others: list[int], est_w: int, milli: int, rule: BurstRule
    ) -> None:
        one = meter(rule=rule)
        for k, burst_w in enumerate(others):
            live(one, 3_000, burst_w, f"o{k}")
        burst_w = ceil(est_w * milli / 1_000)
        room_w = one.room_for(milli)
        if one.fits(est_w, burst_w, "new"):
            assert est_w <= room_w
        elif est_w <= room_w:
            smaller = est_w - 3
            assert smaller < 1 or one.fits(smaller, smaller * milli // 1_000, "new")


class TestLater:
    """What is there at later instants: claims end, bookings come and go."""

    def lacks(
        self, one: Meter, est_w: int, window: Window, burst_w: int = 0, ignore: str | None = None
    ) -> int:
        lack = one.lack(est_w, burst_w, Asker("new", window, ignore), NOW)
        return 0 if lack is None else lack[0] - lack[1]

    def test_a_claim_counts_to_the_end_of_its_window_rounded_up_to_a_minute(self) -> None:
        one = meter()
        live(one, 70_000, end=NOW + 61)
        assert self.lacks(one, 40_000, Window(NOW + 119)) == 10_000
        assert self.lacks(one, 40_000, Window(NOW + 120)) == 0

    def test_a_claim_past_its_end_counts_now_and_is_not_planned_with(self) -> None:
        one = meter()
        live(one, 70_000, end=NOW - HOUR)
        assert self.lacks(one, 40_000, NOW_ON) == 10_000
        assert self.lacks(one, 40_000, Window(NOW + 1)) == 0

    @pytest.mark.parametrize(
        ("start_h", "end_h", "lacks_w"),
        [
            (0, 1, 0),  # ends as the booking begins: windows are half-open
            (0, 2, 30_000),
            (1, 2, 30_000),
            (2, 3, 30_000),
            (3, 4, 0),  # begins as the booking ends
            (0, 9, 30_000),
        ],
    )
    def test_a_booking_counts_in_its_window_only(self, start_h: int, end_h: int, lacks_w: int) -> None:
        one = meter()
        book(one, "b", 1, 3, 60_000)
        assert self.lacks(one, 70_000, Window(NOW + start_h * HOUR, NOW + end_h * HOUR)) == lacks_w

    def test_ends_come_before_starts_at_one_instant(self) -> None:
        one = meter()
        book(one, "first", 1, 2, 60_000)
        book(one, "second", 2, 3, 60_000)
        assert self.lacks(one, 40_000, Window(NOW, NOW + 9 * HOUR)) == 0

    def test_a_booking_may_be_ignored(self) -> None:
        one = meter()
        book(one, "b", 1, 3, 60_000)
        book(one, "c", 1, 3, 20_000)
        assert self.lacks(one, 70_000, NOW_ON, ignore="b") == 0
        assert self.lacks(one, 81_000, NOW_ON, ignore="b") == 1_000

    def test_live_claims_that_end_before_a_booking_make_room_for_it(self) -> None:
        one = meter()
        live(one, 50_000, end=NOW + HOUR)
        book(one, "b", 1, 3, 60_000)
        assert self.lacks(one, 40_000, NOW_ON) == 0
        assert self.lacks(one, 51_000, NOW_ON) == 11_000

    def test_bookings_bring_their_bursts(self) -> None:
        one = meter()
        book(one, "b", 1, 3, 40_000, 30_000)
        assert self.lacks(one, 30_000, NOW_ON) == 0
        assert self.lacks(one, 30_000, NOW_ON, burst_w=1_000) == 1_000

    def test_bursts_end_with_their_claims(self) -> None:
        one = meter()
        live(one, 1_000, 90_000, "a", NOW + HOUR)
        assert self.lacks(one, 20_000, NOW_ON) == 11_000
        assert self.lacks(one, 20_000, Window(NOW + HOUR)) == 0
        assert one.free_from(20_000, 0, "new", 0, NOW) == NOW + HOUR

    def test_two_claims_of_one_group_leave_no_burst_when_both_have_ended(self) -> None:
        one = meter()
        live(one, 1_000, 40_000, "a", NOW + HOUR)
        live(one, 1_000, 40_000, "a", NOW + 2 * HOUR)
        assert one.free_from(90_000, 10_000, "new", 0, NOW) == NOW + 2 * HOUR

    @pytest.mark.parametrize(
        ("est_w", "floor_w", "at_h"),
        [(10_000, 0, 0), (10_001, 0, 1), (40_000, 0, 1), (40_001, 0, 2), (90_000, 0, 2), (10_000, 50_000, 2)],
    )
    def test_the_first_end_that_frees_enough(self, est_w: int, floor_w: int, at_h: int) -> None:
        one = meter()
        live(one, 30_000, end=NOW + HOUR)
        live(one, 60_000, end=NOW + 2 * HOUR)
        assert one.free_from(est_w, 0, "new", floor_w, NOW) == NOW + at_h * HOUR

    def test_never_beside_what_never_ends(self) -> None:
        one = meter()
        live(one, 30_000)
        live(one, 60_000, end=NOW + HOUR)
        assert one.free_from(70_000, 0, "new", 0, NOW) == NOW + HOUR
        assert one.free_from(70_001, 0, "new", 0, NOW) is None

    @pytest.mark.parametrize(("most_milli", "at"), [(2_500, 0), (2_000, HOUR), (500, 2 * HOUR)])
    def test_nodes_come_free_as_claims_end(self, most_milli: int, at: int) -> None:
        one = meter()
        live(one, 10, end=NOW + HOUR, milli=1_000)
        live(one, 10, end=NOW + 2 * HOUR, milli=1_000)
        live(one, 10, milli=500)
        assert one.nodes_from(most_milli, NOW) == NOW + at
        assert one.nodes_from(400, NOW) is None

    @given(
        ends=st.lists(
            st.tuples(st.integers(1, 30), st.integers(0, 40_000), st.sampled_from("ab")), max_size=6
        ),
        est_w=st.integers(1, 100_000),
    )
    def test_bursts_ahead_are_never_taken_for_less_than_they_will_be(
        self, ends: list[tuple[int, int, str]], est_w: int
    ) -> None:
        one = meter(500_000)
        for minutes, burst_w, group in ends:
            live(one, 2_000, burst_w, group, NOW + 60 * minutes)
        for minute in range(32):
            left = [(b, g) for m, b, g in ends if m > minute or minute == 0]
            groups = {g: sum(b for b, of in left if of == g) for _, g in left}
            squares = sum(b * b for b in groups.values())
            burst_w = min(sum(groups.values()), ceil(2 * sqrt(squares) - 1e-6))
            level = next(levels(one, Window(NOW + 60 * minute), NOW))
            assert level.committed_w == 2_000 * len(left)
            assert level.bursts_w == sum(groups.values())
            assert min(level.bursts_w, isqrt(4 * level.squares) + 1) >= burst_w
        instants = [one.free_from(watts, 0, "new", 0, NOW) for watts in range(1, 500_001, 50_000)]
        known = [at for at in instants if at is not None]
        assert all(one_at <= next_at for one_at, next_at in pairwise(known))
