from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.binding import (
    MAX_REQUEST,
    Licence,
    asks_for_ours,
    bind_features,
    feature_asks_for_ours,
    foreign_licences,
    licence_plan,
    licence_request,
    strip_ours,
    tres_asks_for_ours,
)
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.topology import Feed, FeedKind, Redundancy, Side, Topology, Zone
from slurm_power.core.units import MAX_WATTS
from slurm_power.core.window import Window
from tests.fakes.slurm_targets import parse_licences


def zone(
    name: str, limit_w: int, *feeds: str, baseline_w: int = 0, redundancy: Redundancy = Redundancy.N
) -> Zone:
    return Zone(
        name,
        (f"{name}-1", f"{name}-2"),
        limit_w,
        baseline_w,
        Fraction(1, 10),
        feeds=feeds,
        redundancy=redundancy,
    )


def racks(*, pdu_w: int = 15_000, ups_w: int = 100_000) -> Topology:
    """Two racks of 9 kW usable, 8 kW without their baselines, under 2N."""
    feeds = [
        Feed("ups-a", ups_w, Side.A),
        Feed("pdu-a1", pdu_w, Side.A, "ups-a"),
        Feed("pdu-b1", pdu_w, Side.B, margin=Fraction(1, 10)),
        Feed("cdu", 50_000, kind=FeedKind.COOLING),
    ]
    names = ("pdu-a1", "pdu-b1", "cdu")
    return Topology(
        [
            zone(name, 10_000, *names, baseline_w=1_000, redundancy=Redundancy.TWO_N)
            for name in ("rack01", "rack02")
        ],
        feeds,
    )


def charge(zone_name: str, est_w: int, nodes: int = 1, max_w: int | None = None) -> Charge:
    return Charge(zone_name, nodes, est_w, max_w or est_w)


def test_a_licence_for_each_zone_and_for_feeds_that_can_be_passed() -> None:
    assert licence_plan(racks()).licences == (
        Licence("pw_rack01", "rack01", 8_000),
        Licence("pw_rack02", "rack02", 8_000),
        Licence("pw_pdu-a1", "pdu-a1", 13_000),
        Licence("pw_pdu-b1", "pdu-b1", 11_500),
    )


@pytest.mark.parametrize(("pdu_w", "counted"), [(17_999, True), (18_000, False)])
def test_a_feed_is_counted_only_where_its_zones_can_pass_it(pdu_w: int, counted: bool) -> None:
    assert ("pw_pdu-a1" in licence_plan(racks(pdu_w=pdu_w)).counts) is counted


def test_shares_of_a_split_load_are_rounded_up() -> None:
    topology = Topology(
        [zone("x", 1_000, "a", "b", "c", baseline_w=100)],
        [Feed(name, 290 if name == "a" else 300) for name in "abc"],
    )
    plan = licence_plan(topology)
    assert plan.counts == {"pw_x": 800, "pw_a": 290 - 34}
    assert licence_request([charge("x", 100)], plan) == "pw_x:100,pw_a:34"


def test_a_request_names_zones_then_feeds() -> None:
    plan = licence_plan(racks())
    assert licence_request([charge("rack01", 5_000)], plan) == "pw_rack01:5000,pw_pdu-a1:5000,pw_pdu-b1:5000"
    both = [charge("rack02", 2_000), charge("rack01", 1_000)]
    assert licence_request(both, plan) == "pw_rack01:1000,pw_rack02:2000,pw_pdu-a1:3000,pw_pdu-b1:3000"
    assert licence_request([], plan) == ""


def test_the_users_own_licences_stay() -> None:
    plan = licence_plan(Topology([zone("x", 1_000)]))
    assert licence_request([charge("x", 5)], plan, "matlab:2,ansys@db") == "matlab:2,ansys@db,pw_x:5"
    assert licence_request([], plan, "matlab:2") == "matlab:2"
    assert licence_request([], plan, "a:1|b:1") == "a:1|b:1"
    assert licence_request([charge("x", 5)], plan, "a:1|b:1") is None


def test_a_request_that_slurm_could_not_take() -> None:
    names = [f"{'r' * 20}{index:02d}" for index in range(40)]
    plan = licence_plan(Topology([zone(name, 10_000) for name in names]))
    fitting = next(
        count
        for count in range(40, 0, -1)
        if licence_request([charge(n, 1_000) for n in names[:count]], plan)
    )
    text = licence_request([charge(name, 1_000) for name in names[:fitting]], plan)
    assert text is not None
    assert MAX_REQUEST - 31 < len(text) <= MAX_REQUEST
    assert licence_request([charge(name, 1_000) for name in names[: fitting + 1]], plan) is None
    assert licence_request([charge(names[0], 1)], plan, "x" * MAX_REQUEST) is None
    assert licence_request([charge(names[0], MAX_WATTS)], plan) is not None
    assert licence_request([charge(names[0], MAX_WATTS + 1)], plan) is None


@st.composite
def floors(draw: st.DrawFn) -> Topology:
    feeds = [
        Feed(
            f"f{index}",
            draw(st.integers(500, 3_000)),
            draw(st.sampled_from(list(Side))),
            draw(st.sampled_from(["up", None])),
        )
        for index in range(4)
    ]
    zones = [
        zone(
            f"z{index}",
            draw(st.integers(200, 2_000)),
            *draw(st.lists(st.sampled_from([feed.name for feed in feeds]), unique=True)),
            baseline_w=draw(st.integers(0, 100)),
            redundancy=draw(st.sampled_from(list(Redundancy))),
        )
        for index in range(4)
    ]
    return Topology(zones, [Feed("up", draw(st.integers(800, 6_000))), *feeds])


@given(
    floors(),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 900)), max_size=4, unique_by=lambda pair: pair[0]),
)
def test_licences_charge_what_the_ledger_commits(topology: Topology, parts: list[tuple[int, int]]) -> None:
    plan = licence_plan(topology)
    charges = tuple(charge(f"z{index}", est_w) for index, est_w in parts)
    ledger = Ledger(topology)
    before = {name: meter.committed_w for name, meter in ledger.meters.items()}
    ledger.add(Claim("job", charges, Window(0), "g"))
    asked = parse_licences(licence_request(charges, plan) or "")
    for licence in plan.licences:
        meter = ledger.meters[licence.element]
        assert asked.get(licence.name, 0) == meter.committed_w - before[licence.element]
        assert licence.count == max(meter.usable_w - before[licence.element], 0)


@given(floors())
def test_zones_without_a_licence_above_them_cannot_pass_a_feed(topology: Topology) -> None:
    """Every zone filled to its own licence with one job stays within each feed that has none."""
    plan = licence_plan(topology)
    ledger = Ledger(topology)
    for name in topology.zones:
        ledger.add(Claim(name, (charge(name, plan.counts[f"pw_{name}"]),), Window(0), name))
    for name in topology.feeds:
        if f"pw_{name}" not in plan.counts:
            # a zone's baseline and its jobs are rounded up apart: at most a watt a zone
            assert ledger.meters[name].committed_w <= ledger.meters[name].usable_w + len(
                topology.zones_under[name]
            )


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("", ""),
        ("(null)", ""),
        ("pw_a:5", ""),
        ("matlab:2;pw_a:5,x(n1,n2):1", "matlab:2,x(n1,n2):1"),
        ("a|b:2", "a|b:2"),
        ("xpw_a:1", "xpw_a:1"),
    ],
)
def test_foreign_licences(text: str, own: str) -> None:
    assert foreign_licences(text) == own


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("matlab:1", False),
        ("xpw_a:1", False),
        ("PW_a", False),
        ("pw_a", True),
        ("x;pw_a=1", True),
        ("x|pw_a:1", True),
        (" pw_a(n1):1", True),
    ],
)
def test_who_asks_for_a_licence_of_ours(text: str, ours: bool) -> None:
    assert asks_for_ours(text) is ours


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("gres:gpu=1", False),
        ("license/matlab=1", False),
        ("gres:gpu=1,license/pw_a=1", True),
        ("license:pw_a", True),
        ("License/pw_a=2", True),
        ("cpu=1,gres/pw_a=1", False),
    ],
)
def test_who_asks_for_a_licence_of_ours_by_tres(text: str, ours: bool) -> None:
    assert tres_asks_for_ours(text) is ours


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("", False),
        ("h100&[a*2&b]", False),
        ("xpw_a", False),
        ("h100|pw_a", True),
        ("[(x&pw_a)*2]", True),
        ("pw_", True),
    ],
)
def test_who_asks_for_a_feature_of_ours(text: str, ours: bool) -> None:
    assert feature_asks_for_ours(text) is ours


ONE = [charge("a", 1, nodes=2)]
TWO = [charge("a", 1, nodes=2), charge("b-1.x", 1, nodes=1)]

BINDINGS: list[tuple[str, Sequence[Charge], str | None]] = [
    ("", ONE, "pw_a"),
    ("h100", ONE, "h100&pw_a"),
    ("h100,ib", ONE, "h100&ib&pw_a"),
    ("x|y", ONE, "(x|y)&pw_a"),
    ("(x|y)", ONE, "(x|y)&pw_a"),
    ("(x|y)&z", ONE, "(x|y)&z&pw_a"),
    ("z|(x&y)", ONE, "z|(x&y)&pw_a"),  # from left to right, as Slurm reads it: (z|(x&y))&pw_a
    ("[x|y]", ONE, "pw_a&[x|y]"),
    ("z&[x|y]", ONE, "pw_a&z&[x|y]"),
    ("[x*1&y*2]", ONE, "[(x&pw_a)*1&(y&pw_a)*2]"),
    ("z&[(w&x)*1&y*2]", ONE, "z&[(w&x&pw_a)*1&(y&pw_a)*2]"),
    ("x*2", ONE, None),
    ("x*2&y", ONE, None),
    ("[(x|y)*2]", ONE, None),
    ("[x*1|y*2]", ONE, None),
    ("((x))", ONE, None),
    ("x&", ONE, None),
    ("&x", ONE, None),
    ("x y", ONE, None),
    ("x|", ONE, None),
    ("", TWO, "[pw_a*2&pw_b-1.x*1]"),
    ("h100", TWO, "[(h100&pw_a)*2&(h100&pw_b-1.x)*1]"),
    ("x|y", TWO, "[(x|y&pw_a)*2&(x|y&pw_b-1.x)*1]"),
    ("(x|y)&z", TWO, None),
    ("[x|y]", TWO, None),
    ("[x*1&y*2]", TWO, None),
    ("", [], ""),
    ("x,y", [], "x&y"),
    ("", [*ONE, charge("a", 1, nodes=3)], "pw_a"),
    ("h100&pw_old", TWO, "[(h100&pw_a)*2&(h100&pw_b-1.x)*1]"),
    ("(null)", ONE, "pw_a"),
    ("x|pw_a|y", ONE, None),
]


@pytest.mark.parametrize(("user", "charges", "bound"), BINDINGS)
def test_bind_features(user: str, charges: Sequence[Charge], bound: str | None) -> None:
    assert bind_features(user, charges) == bound


NAMES = st.sampled_from(["h100", "a", "b-2", "c.d", "ib_x"])
ANDS = st.lists(NAMES, min_size=1, max_size=3).map("&".join)
CHAINS = st.lists(st.tuples(NAMES, st.sampled_from("&|,")), min_size=1, max_size=4).map(
    lambda parts: "".join(name + operator for name, operator in parts)[:-1]
)
TERMS = st.tuples(
    st.one_of(NAMES, st.lists(NAMES, min_size=2, max_size=3).map(lambda n: f"({'&'.join(n)})")),
    st.integers(1, 99),
)
COUNTED = st.lists(TERMS.map(lambda term: f"{term[0]}*{term[1]}"), min_size=1, max_size=3).map("&".join)
CONSTRAINTS = st.one_of(
    st.just(""),
    CHAINS,
    CHAINS.map(lambda chain: f"({chain})"),
    st.tuples(CHAINS, CHAINS, st.sampled_from("&|")).map(lambda p: f"{p[0]}{p[2]}({p[1]})"),
    st.tuples(CHAINS, CHAINS, st.sampled_from("&|")).map(lambda p: f"({p[0]}){p[2]}{p[1]}"),
    st.lists(NAMES, min_size=1, max_size=3).map(lambda names: f"[{'|'.join(names)}]"),
    st.tuples(ANDS, st.lists(NAMES, min_size=2, max_size=3)).map(lambda p: f"{p[0]}&[{'|'.join(p[1])}]"),
    COUNTED.map(lambda terms: f"[{terms}]"),
    st.tuples(ANDS, COUNTED).map(lambda p: f"{p[0]}&[{p[1]}]"),
)
CHARGES = st.lists(
    st.tuples(st.sampled_from(["r1", "r-2", "r.3", "R1"]), st.integers(1, 40)),
    max_size=3,
    unique_by=lambda pair: pair[0],
).map(lambda pairs: [charge(name, 1, nodes) for name, nodes in pairs])


@given(CONSTRAINTS, CHARGES, CHARGES)
def test_what_was_bound_can_be_unbound_and_bound_anew(
    user: str, charges: list[Charge], later: list[Charge]
) -> None:
    bound = bind_features(user, charges)
    if bound is None:
        assert len(charges) > 1  # the user's constraint alone, or in one zone, can always be said
        return
    assert feature_asks_for_ours(bound) is bool(charges)
    own = strip_ours(bound)
    assert own == strip_ours(user)
    assert own == strip_ours(own)
    assert bind_features(bound, later) == bind_features(user, later)


# -- Slurm's own reading, to check that a bound expression means both ---------------------------------------------


def reads(expression: str, node: frozenset[str]) -> bool:
    """Whether Slurm takes a node for an expression without brackets: strictly from left to right."""
    value, operator, position = True, "&", 0
    while position < len(expression):
        if expression[position] == "(":
            end = expression.index(")", position)
            holds, position = reads(expression[position + 1 : end], node), end + 1
        else:
            end = next(
                (i for i in range(position, len(expression)) if expression[i] in "&|"), len(expression)
            )
            holds, position = expression[position:end] in node, end
        value = (value and holds) if operator == "&" else (value or holds)
        operator, position = expression[position : position + 1], position + 1
    return value


NODES = st.frozensets(st.sampled_from(["h100", "a", "b-2", "c.d", "ib_x", "pw_r1", "pw_r-2"]))
FLAT = st.one_of(
    CHAINS,
    st.tuples(CHAINS, CHAINS, st.sampled_from("&|")).map(lambda p: f"({p[0]}){p[2]}{p[1]}"),
    st.tuples(CHAINS, CHAINS, st.sampled_from("&|")).map(lambda p: f"{p[0]}{p[2]}({p[1]})"),
)


@given(FLAT, NODES)
def test_in_one_zone_a_node_has_to_satisfy_both(user: str, node: frozenset[str]) -> None:
    bound = bind_features(user, [charge("r1", 1)])
    assert bound is not None
    meant = reads(user.replace(",", "&"), node)
    assert reads(bound, node) is (meant and "pw_r1" in node)
    assert reads(strip_ours(bound), node) is meant


@given(CHAINS, NODES)
def test_in_several_zones_each_term_says_both(user: str, node: frozenset[str]) -> None:
    bound = bind_features(user, [charge("r1", 1, 3), charge("r-2", 1, 4)])
    assert bound is not None
    terms = bound.removeprefix("[").removesuffix("]").split("&(")
    for term, zone_name, nodes in zip(terms, ("r1", "r-2"), (3, 4), strict=True):
        inside, _, count = term.removeprefix("(").partition(")*")
        assert int(count) == nodes
        assert reads(inside, node) is (reads(user.replace(",", "&"), node) and f"pw_{zone_name}" in node)
