from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.topology import Breaker, Feed, FeedKind, Redundancy, Side, Tap, Topology, Zone, usable_w

WATTS = Fraction(1)
A, B = Side.A, Side.B
COOLING = FeedKind.COOLING
TWO_N, N = Redundancy.TWO_N, Redundancy.N


@pytest.mark.parametrize(
    ("breaker", "continuous_w"),
    [
        (Breaker(415, 60, 3, WATTS), 34_502),  # 43.1 kVA
        (Breaker(415, 100, 3, WATTS), 57_504),
        (Breaker(415, 32, 3, WATTS), 18_401),
        (Breaker(208, 60, 3, WATTS), 17_292),
        (Breaker(415, 100, 3), 54_628),  # the same at the default power factor of 0.95
        (Breaker(230, 32, 1, WATTS), 5_888),
        (Breaker(230, 16, 1), 2_796),  # 2796.8, rounded down
        (Breaker(1, 1, 3, Fraction(1, 1000)), 0),
    ],
)
def test_what_a_breaker_carries_continuously(breaker: Breaker, continuous_w: int) -> None:
    assert breaker.continuous_w() == continuous_w


@given(
    st.integers(1, 100_000),
    st.integers(1, 10_000),
    st.fractions(Fraction(1, 100), 1),
    st.sampled_from([1, 3]),
)
def test_a_breakers_watts_are_the_exact_value_rounded_down(
    volts: int, amps: int, factor: Fraction, phases: int
) -> None:
    watts = Breaker(volts, amps, phases, factor).continuous_w()
    exact_squared = (volts * amps * factor * Fraction(4, 5)) ** 2 * phases
    assert watts**2 <= exact_squared < (watts + 1) ** 2


@pytest.mark.parametrize(
    ("limit_w", "margin", "expected"),
    [
        (55_000, Fraction(15, 100), 46_750),
        (10, Fraction(1, 3), 6),
        (999, Fraction(0), 999),
        (0, Fraction(1, 2), 0),
    ],
)
def test_usable_is_rounded_down(limit_w: int, margin: Fraction, expected: int) -> None:
    assert usable_w(limit_w, margin) == expected


def zone(redundancy: Redundancy, *feeds: str, name: str = "z") -> Zone:
    return Zone(name, (f"{name}1",), 1_000, redundancy=redundancy, feeds=feeds)


def feed(
    name: str, side: Side | None = None, parent: str | None = None, kind: FeedKind = FeedKind.POWER
) -> Feed:
    return Feed(name, 1_000, side, parent, kind)


PAIR = (feed("a", A), feed("b", B))
TREE = (
    feed("grid"),
    feed("ups-a", A, "grid"),
    feed("ups-b", B, "grid"),
    feed("a1", A, "ups-a"),
    feed("a2", A, "ups-a"),
    feed("b1", B, "ups-b"),
)
LOOP = (
    feed("plant", kind=COOLING),
    feed("cdu1", None, "plant", COOLING),
    feed("cdu2", None, "plant", COOLING),
)

SHARES: list[tuple[str, tuple[Feed, ...], Zone, dict[str, tuple[int, int]]]] = [
    ("no feeds", PAIR, zone(N), {}),
    ("one feed", PAIR, zone(N, "a"), {"a": (1, 1)}),
    ("N splits over the sides", PAIR, zone(N, "a", "b"), {"a": (1, 2), "b": (1, 2)}),
    ("2N charges each side the whole", PAIR, zone(TWO_N, "a", "b"), {"a": (1, 1), "b": (1, 1)}),
    (
        "N adds up on the way up",
        TREE,
        zone(N, "a1", "a2", "b1"),
        {"a1": (1, 3), "a2": (1, 3), "b1": (1, 3), "ups-a": (2, 3), "ups-b": (1, 3), "grid": (1, 1)},
    ),
    (
        "2N splits within a side, and what both sides share carries the load once",
        TREE,
        zone(TWO_N, "a1", "a2", "b1"),
        {"a1": (1, 2), "a2": (1, 2), "b1": (1, 1), "ups-a": (1, 1), "ups-b": (1, 1), "grid": (1, 1)},
    ),
    (
        "2N on one side only is no more than the load",
        TREE,
        zone(TWO_N, "a1"),
        {"a1": (1, 1), "ups-a": (1, 1), "grid": (1, 1)},
    ),
    (
        "a cooling loop carries the whole load, beside the feeds",
        (*PAIR, *LOOP),
        zone(TWO_N, "a", "b", "cdu1"),
        {"a": (1, 1), "b": (1, 1), "cdu1": (1, 1), "plant": (1, 1)},
    ),
    (
        "two loops without sides share it, also under 2N",
        (*PAIR, *LOOP),
        zone(TWO_N, "a", "b", "cdu1", "cdu2"),
        {"a": (1, 1), "b": (1, 1), "cdu1": (1, 2), "cdu2": (1, 2), "plant": (1, 1)},
    ),
]


@pytest.mark.parametrize(
    ("feeds", "one", "shares"), [case[1:] for case in SHARES], ids=[case[0] for case in SHARES]
)
def test_shares(feeds: tuple[Feed, ...], one: Zone, shares: dict[str, tuple[int, int]]) -> None:
    expected = tuple(Tap(name, *share) for name, share in sorted(shares.items()))
    assert Topology([one], feeds).taps["z"] == expected


def test_zones_under_a_feed_and_zone_of_a_node() -> None:
    topology = Topology([zone(N, "a1", name="x"), zone(TWO_N, "a2", "b1", name="y")], TREE)
    assert topology.zones_under["grid"] == ("x", "y")
    assert topology.zones_under["ups-a"] == ("x", "y")
    assert topology.zones_under["a1"] == ("x",)
    assert topology.zones_under["b1"] == ("y",)
    assert topology.zone_of_node == {"x1": "x", "y1": "y"}


@pytest.mark.parametrize(
    ("first", "second", "fits"), [(60, 60, False), (60, 20, True), (40, 40, True), (60, 21, False)]
)
def test_a_pair_carries_together_what_one_side_can(first: int, second: int, fits: bool) -> None:
    """Loads in per cent of the rating of one side; each breaker carries 80 % of it."""
    breaker = Breaker(415, 100, 3, WATTS)
    rating_w = breaker.continuous_w() * 10 // 8
    feeds = [Feed("a", breaker.continuous_w(), A), Feed("b", breaker.continuous_w(), B)]
    topology = Topology([zone(TWO_N, "a", "b", name="x"), zone(TWO_N, "a", "b", name="y")], feeds)
    loads = {"x": rating_w * first // 100, "y": rating_w * second // 100}
    charged_w = topology.on_feeds_w(lambda zone: loads[zone.name])
    for name in ("a", "b"):
        assert (charged_w[name] <= topology.feeds[name].limit_w) is fits


SIDES = st.sampled_from([A, B])


@given(st.lists(SIDES, min_size=1, max_size=6), st.sampled_from([N, TWO_N]))
def test_each_side_carries_what_its_redundancy_says(sides: list[Side], redundancy: Redundancy) -> None:
    feeds = [feed(f"f{index}", side, f"ups-{side}") for index, side in enumerate(sides)]
    roots = [feed("grid"), feed("ups-A", A, "grid"), feed("ups-B", B, "grid")]
    topology = Topology([zone(redundancy, *(leaf.name for leaf in feeds))], [*roots, *feeds])
    share = {tap.feed: Fraction(tap.numerator, tap.denominator) for tap in topology.taps["z"]}
    assert share["grid"] == 1
    by_side = [sum(share[leaf.name] for leaf in feeds if leaf.side is side) for side in Side]
    assert [share.get(f"ups-{side}", 0) for side in Side] == by_side
    if redundancy is TWO_N and len(set(sides)) == 2:
        assert by_side == [1, 1]
    else:
        assert sum(by_side) == 1


@given(st.lists(SIDES, min_size=1, max_size=6), st.sampled_from([N, TWO_N]))
def test_what_flows_adds_up_to_the_load_and_is_never_more_than_what_is_charged(
    sides: list[Side], redundancy: Redundancy
) -> None:
    """Under 2N each side carries half while both are there; each is charged the whole, for the other may fail."""
    feeds = [feed(f"f{index}", side, f"ups-{side}") for index, side in enumerate(sides)]
    roots = [feed("grid"), feed("ups-A", A, "grid"), feed("ups-B", B, "grid")]
    topology = Topology([zone(redundancy, *(leaf.name for leaf in feeds))], [*roots, *feeds])
    flows = {name: topology.flows_under[name] for name in topology.feeds}
    part = {name: sum(Fraction(tap.numerator, tap.denominator) for _, tap in found) for name, found in flows.items()}
    assert part["grid"] == 1
    assert sum(part[leaf.name] for leaf in feeds) == 1
    assert all(part[name] <= topology.share("z", name) for name in topology.feeds)
    if redundancy is TWO_N and len(set(sides)) == 2:
        assert part["ups-A"] == part["ups-B"] == Fraction(1, 2)
