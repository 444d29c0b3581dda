"""What is measured beside what is committed: strays and blindness, checked by the arithmetic of the rules."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.asker import Asker
from slurm_power.core.level import Booking, Load
from slurm_power.core.meter import Meter
from slurm_power.core.walk import STRAY_S
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, RSS, SUM

Claims = list[tuple[int, int]]
claims = st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, 8_000)), max_size=5)


def meter(jobs: Claims, *, margin: str = "0.15", rule: object = RSS) -> Meter:
    one = Meter("rack", 100_000, Fraction(margin), 2_000, RSS if rule is RSS else SUM)
    one.add([(est_w, burst_w, 0, f"g{n}", NOW + 7_200, None) for n, (est_w, burst_w) in enumerate(jobs)])
    return one


def test_it_counts_for_whoever_is_to_come_and_nobody_is_over_for_it() -> None:
    one = meter([(10_000, 0)], margin="0")
    one.set_stray(5_000, blind=False)
    assert (one.headroom_w, one.room_w, one.committed_w, one.usable_w) == (83_000, 83_000, 12_000, 100_000)
    assert one.fits(83_000, 0, "x")
    assert not one.fits(83_001, 0, "x")
    one.set_stray(0, blind=False)
    assert one.room_w == 88_000


def test_what_is_stray_is_a_part_of_the_bursts() -> None:
    """10 kW with 4 kW of burst, of which 3 kW are drawn: no more than 14 kW has to be reckoned with."""
    one = meter([(10_000, 4_000)], margin="0")
    one.set_stray(3_000, blind=False)
    assert one.fits(84_000, 0, "x")
    assert not one.fits(84_001, 0, "x")
    one.set_stray(6_000, blind=False)  # more than it said that it could burst
    assert one.fits(82_000, 0, "x")
    assert not one.fits(82_001, 0, "x")


def test_blind_max_counts_as_est() -> None:
    one = meter([(10_000, 4_000), (20_000, 6_000)], margin="0.15")
    one.set_stray(0, blind=True)
    assert one.room_w == 85_000 - 2_000 - 14_000 - 26_000
    assert one.fits(40_000, 3_000, "x")
    assert not one.fits(40_000, 3_001, "x")


def test_of_what_begins_long_after_it_says_nothing() -> None:
    one = meter([], margin="0")
    one.set_stray(60_000, blind=True)
    near, far = Window(NOW + STRAY_S, NOW + 9_000), Window(NOW + STRAY_S + 1, NOW + 9_000)
    assert one.lack(50_000, 10_000, Asker("x", near), NOW) is not None
    assert one.lack(50_000, 10_000, Asker("x", far), NOW) is None
    assert one.least_room(far, NOW)[0] == 98_000
    assert one.missing(98_000, 0, Asker("x", far), NOW) == (0, 0)


def test_the_first_instant_at_which_it_says_nothing_any_more() -> None:
    one = meter([(30_000, 0)], margin="0")
    one.set_stray(60_000, blind=False)
    assert one.free_from(8_000, 0, "x", 0, NOW) == NOW
    assert one.free_from(50_000, 0, "x", 0, NOW) == NOW + STRAY_S
    assert one.free_from(80_000, 0, "x", 0, NOW) == NOW + 7_200
    assert one.free_from(99_000, 0, "x", 0, NOW) is None


@given(
    claims, st.integers(0, 60_000), st.booleans(), st.integers(1, 60_000), st.integers(0, 20_000), st.booleans(),
    st.sampled_from([RSS, SUM]),
)  # fmt: skip
def test_by_arithmetic(
    jobs: Claims, stray_w: int, blind: bool, est_w: int, burst_w: int, booked: bool, rule: object
) -> None:
    """Quick and slow ways say the same, and both what the rules say."""
    one = meter(jobs, rule=rule)
    one.set_stray(stray_w, blind=blind)
    if booked:
        one.book("later", Booking(Window(NOW + 3_600, NOW + 3_700), "later", Load(1, 0, 0)))
    window = Window(NOW, NOW + 600)
    committed_w, bursts_w = one.committed_w, [burst for _, burst in jobs]
    packed_w = committed_w + stray_w + est_w + (sum(bursts_w) + burst_w if blind else 0)
    before_w = one.combine(sum(bursts_w), sum(b * b for b in bursts_w))
    with_w = one.combine(sum(bursts_w) + burst_w, sum(b * b for b in (*bursts_w, burst_w)))
    top_w = committed_w + est_w + with_w + max(stray_w - before_w, 0)
    fits = packed_w <= one.usable_w and top_w <= one.limit_w
    assert one.fits(est_w, burst_w, "new") == fits
    assert (one.lack(est_w, burst_w, Asker("new", window), NOW) is None) == fits
    assert (max(one.missing(est_w, burst_w, Asker("new", window), NOW)) <= 0) == fits
    assert (list(one.blocked(est_w, burst_w, "new", window, NOW)) == []) == fits
    assert (one.free_from(est_w, burst_w, "new", 0, NOW) == NOW) == fits
    if fits:
        assert est_w <= one.room_for(burst_w * 1_000 // est_w)


@given(claims, st.integers(0, 60_000), st.booleans())
def test_it_never_lets_more_in(jobs: Claims, stray_w: int, blind: bool) -> None:
    clear, watched = meter(jobs), meter(jobs)
    watched.set_stray(stray_w, blind=blind)
    assert watched.room_w <= clear.room_w
    assert all(watched.room_for(milli) <= clear.room_for(milli) for milli in (0, 300, 1_000))
    assert watched.least_room(Window(NOW, FOREVER), NOW)[0] <= clear.least_room(Window(NOW, FOREVER), NOW)[0]


@pytest.mark.parametrize("limit_w", [50_000, 120_000])
def test_it_stays_when_the_limit_changes(limit_w: int) -> None:
    one = meter([], margin="0")
    one.set_stray(5_000, blind=True)
    one.set_limit(limit_w)
    assert (one.headroom_w, one.blind) == (limit_w - 7_000, True)
