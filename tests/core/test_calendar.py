"""Questions about reservations: where, how much, and what else, held against the oracle and against every instant."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.core.ask import AllOf, AnyOf, Ask, Charges, charges_of
from slurm_power.core.calendar import Alternative, Calendar, Free, Kind
from slurm_power.core.claim import RESERVATION, Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.topology import Side, Topology
from slurm_power.core.window import Window
from tests.core.floors import NOW, TWO_N, claim, feed, ledger, reservation, zone
from tests.core.oracle import excess, touched
from tests.core.recount import differences
from tests.core.test_properties import RULES, topologies

HOUR = 3_600
GROUP = f"{RESERVATION}new"


def hours(start_h: float, end_h: float) -> Window:
    return Window(NOW + round(start_h * HOUR), NOW + round(end_h * HOUR))


def charged(charges: Charges | None) -> dict[str, int] | None:
    return None if charges is None else {charge.zone: charge.est_w for charge in charges}


@pytest.fixture
def three() -> Ledger:
    """Racks of 100, 80 and 60 kW under two feeds of 150 kW; a and b are reserved for a while, c has a job."""
    zones = [
        zone(name, limit_w, feeds=("a", "b"), redundancy=TWO_N)
        for name, limit_w in (("rack1", 100_000), ("rack2", 80_000), ("rack3", 60_000))
    ]
    one = ledger(zones, [feed("a", 150_000, Side.A), feed("b", 150_000, Side.B)])
    one.load(
        [
            reservation("x", "rack1", 70_000, start_h=10, hours=10),
            reservation("y", "rack2", 50_000, start_h=15, hours=10),
            claim("job", "rack3", 20_000, hours=5),
        ]
    )
    return one


class TestFree:
    @pytest.mark.parametrize(
        ("name", "window", "free"),
        [
            ("rack1", hours(0, 5), Free(100_000, "rack1", NOW)),
            ("rack1", hours(0, 11), Free(30_000, "rack1", NOW + 10 * HOUR)),
            ("rack1", hours(20, 30), Free(100_000, "rack1", NOW + 20 * HOUR)),
            ("rack3", hours(0, 1), Free(40_000, "rack3", NOW)),
            ("rack3", hours(5, 10), Free(60_000, "rack3", NOW + 5 * HOUR)),
            ("rack3", hours(5, 16), Free(30_000, "a", NOW + 15 * HOUR)),  # 150 − 70 − 50
        ],
    )
    def test_the_most_constant_watts_and_what_bounds_them(
        self, three: Ledger, name: str, window: Window, free: Free
    ) -> None:
        assert Calendar(three, GROUP).free(name, window) == free

    def test_never_less_than_nothing(self, three: Ledger) -> None:
        three.set_limit("rack1", 50_000)
        assert Calendar(three, GROUP).free("rack1", hours(12, 13)) == Free(0, "rack1", NOW + 12 * HOUR)

    def test_a_reservation_that_is_to_be_replaced_does_not_count(self, three: Ledger) -> None:
        assert Calendar(three, GROUP, ignore="res:x").free("rack1", hours(12, 13)).watts == 100_000

    def test_a_zone_that_there_is_not(self, three: Ledger) -> None:
        with pytest.raises(KeyError):
            Calendar(three, GROUP).free("rack9", hours(0, 1))


class TestPlace:
    @pytest.mark.parametrize(
        ("ask", "cap_w", "placed"),
        [
            (AllOf((("rack1", 30_000), ("rack3", 10_000))), {}, None),  # 130 kW of 150 are taken on the feeds
            (AllOf((("rack1", 20_000), ("rack3", 10_000))), {}, {"rack1": 20_000, "rack3": 10_000}),
            (AllOf((("rack1", 20_000),)), {"rack1": 19_999}, None),
            (AnyOf(("rack1", "rack2", "rack3"), 30_000), {}, {"rack1": 30_000}),  # all the same: by name
            (AnyOf(("rack3", "rack2"), 30_000), {"rack2": 20_000}, {"rack3": 30_000}),
            (AnyOf(("rack1", "rack2", "rack3"), 31_000, most_zones=3), {}, None),
            (AnyOf((), 1), {}, None),
        ],
    )
    def test_beside_reservations(
        self, three: Ledger, ask: Ask, cap_w: dict[str, int], placed: dict[str, int] | None
    ) -> None:
        assert charged(Calendar(three, GROUP, cap_w=cap_w).place(ask, hours(15, 20))) == placed

    @pytest.mark.parametrize(
        ("watts", "most_zones", "placed"),
        [
            (50_000, 1, {"rack3": 50_000}),  # least is left over
            (70_000, 1, {"rack2": 70_000}),
            (101_000, 1, None),
            (101_000, 3, {"rack1": 100_000, "rack3": 1_000}),  # few, and of the last part least is left over
            (150_000, 3, {"rack1": 100_000, "rack3": 50_000}),
            (151_000, 3, None),  # the feeds
        ],
    )
    def test_one_zone_if_one_will_do_and_few_if_not(
        self, three: Ledger, watts: int, most_zones: int, placed: dict[str, int] | None
    ) -> None:
        ask = AnyOf(("rack1", "rack2", "rack3"), watts, most_zones=most_zones)
        assert charged(Calendar(three, GROUP).place(ask, hours(40, 50))) == placed

    def test_a_burst_needs_its_room_too(self, three: Ledger) -> None:
        calendar, zones = Calendar(three, GROUP), ("rack2", "rack3")
        assert charged(calendar.place(AnyOf(zones, 50_000, 10_000), hours(40, 50))) == {"rack3": 50_000}
        assert charged(calendar.place(AnyOf(zones, 50_000, 10_001), hours(40, 50))) == {"rack2": 50_000}
        placed = calendar.place(AnyOf(zones, 100_000, 20_000, 2), hours(40, 50))
        assert placed == (Charge("rack2", 0, 66_666, 80_000), Charge("rack3", 0, 33_334, 40_001))

    def test_part_of_it(self, three: Ledger) -> None:
        calendar, window = Calendar(three, GROUP), hours(15, 20)
        both = AllOf((("rack1", 40_000), ("rack3", 20_000)))
        assert charged(calendar.partial(both, window)) == {"rack1": 20_000, "rack3": 10_000}
        assert charged(calendar.partial(both, window, 30_000)) == {"rack1": 20_000, "rack3": 10_000}
        assert calendar.partial(both, window, 30_001) is None
        assert charged(calendar.partial(AnyOf(("rack1", "rack3"), 90_000), window)) == {"rack1": 30_000}
        assert charged(calendar.partial(AnyOf(("rack3",), 5_000), window, 5_000)) == {"rack3": 5_000}


class TestAlternatives:
    def found(self, three: Ledger, ask: Ask, window: Window, others: Iterable[str] = ()) -> dict[Kind, Alternative]:
        return {one.kind: one for one in Calendar(three, GROUP).alternatives(ask, window, tuple(others))}

    def test_each_kind(self, three: Ledger) -> None:
        found = self.found(three, AllOf((("rack1", 50_000),)), hours(12, 14), ["rack1", "rack2", "rack3"])
        assert {kind: (one.zones, one.watts, one.window) for kind, one in found.items()} == {
            Kind.EARLIER: (("rack1",), 50_000, hours(8, 10)),
            Kind.LATER: (("rack1",), 50_000, hours(20, 22)),
            Kind.LESS: (("rack1",), 30_000, hours(12, 14)),
            Kind.ELSEWHERE: (("rack3",), 50_000, hours(12, 14)),
        }

    def test_never_before_now(self, three: Ledger) -> None:
        assert Kind.EARLIER in self.found(three, AllOf((("rack1", 50_000),)), hours(9, 19))
        assert Kind.EARLIER not in self.found(three, AllOf((("rack1", 50_000),)), hours(9, 19.001))

    def test_of_any_zones_the_nearest_in_one_of_them(self, three: Ledger) -> None:
        ask = AnyOf(("rack1", "rack2"), 60_000)
        found = self.found(three, ask, hours(16, 18))
        assert (found[Kind.EARLIER].zones, found[Kind.EARLIER].window) == (("rack2",), hours(13, 15))
        assert (found[Kind.LATER].zones, found[Kind.LATER].window) == (("rack1",), hours(20, 22))

    def test_over_several_zones_an_even_split(self, three: Ledger) -> None:
        found = self.found(three, AnyOf(("rack1", "rack2"), 150_000, most_zones=2), hours(16, 18))
        assert found[Kind.LATER].charges == (Charge("rack1", 0, 75_000, 75_000), Charge("rack2", 0, 75_000, 75_000))
        assert found[Kind.LATER].window == hours(25, 27)

    def test_nothing_helps_what_no_rack_carries(self, three: Ledger) -> None:
        found = self.found(three, AllOf((("rack3", 70_000),)), hours(30, 31), ["rack3"])
        assert list(found) == [Kind.LESS]


@st.composite
def crowded(draw: st.DrawFn) -> tuple[Ledger, Topology]:
    """A small floor with jobs that run and reservations in minutes to come; all begins and ends at whole minutes."""
    topology = draw(topologies())
    one = Ledger(topology, None, draw(RULES), NOW)
    names = sorted(topology.zones)
    for number in range(draw(st.integers(0, 8))):
        est_w, burst_w = draw(st.integers(1, 3_000)), draw(st.sampled_from([0, 0, 500]))
        name, reserves = draw(st.sampled_from(names)), draw(st.booleans())
        start = NOW + 60 * draw(st.integers(1, 12)) if reserves else NOW
        window = Window(start, start + 60 * draw(st.integers(1, 6)))
        group = f"{RESERVATION}{number}"
        one.add(Claim(group, (Charge(name, 0, est_w, est_w + burst_w),), window, group, reserves=reserves))
    return one, topology


def fits(one: Ledger, topology: Topology, charges: Charges, window: Window) -> bool:
    new = Claim(GROUP, charges, window, GROUP)
    limits = {name: meter.limit_w for name, meter in one.meters.items()}
    every = [*one.claims.values(), *one.bookings(), replace(new, tentative=window.start > NOW)]
    return not excess(topology, one.rule, limits, every, window, NOW, touched(topology, charges))


MINUTES = st.integers(0, 12)


@settings(deadline=None, max_examples=60)
@given(floor=crowded(), data=st.data(), start=MINUTES, length=st.integers(1, 6), watts=st.integers(1, 4_000))
def test_answers_are_right_by_the_oracle(
    floor: tuple[Ledger, Topology], data: st.DataObject, start: int, length: int, watts: int
) -> None:
    one, topology = floor
    names = sorted(topology.zones)
    name = data.draw(st.sampled_from(names))
    burst_w = data.draw(st.sampled_from([0, 0, 300]))
    window = Window(NOW + 60 * start, NOW + 60 * (start + length))
    calendar = Calendar(one, GROUP)

    def fit(watts: int, at: Window, where: str = name, top_w: int = 0) -> bool:
        return fits(one, topology, (Charge(where, 0, watts, watts + top_w),), at)

    free = calendar.free(name, window)
    assert free.watts == 0 or fit(free.watts, window)
    assert not fit(free.watts + 1, window)
    ask = AllOf(((name, watts),), burst_w)
    assert (calendar.place(ask, window) is not None) == fit(watts, window, top_w=burst_w)
    part = calendar.partial(ask, window)
    most_w = part[0].est_w if part else 0
    assert not part or fits(one, topology, part, window)
    assert most_w == watts or not fits(one, topology, charges_of([(name, most_w + 1)], ask), window)
    if calendar.place(ask, window) is None:
        found = {a.kind: a for a in calendar.alternatives(ask, window)}
        length_s = 60 * length

        def at(start: int) -> Window:
            return Window(start, start + length_s)

        before = [s for s in range(NOW, window.start, 60) if fit(watts, at(s), top_w=burst_w)]
        assert (found[Kind.EARLIER].window if Kind.EARLIER in found else None) == (at(before[-1]) if before else None)
        after = [s for s in range(window.start, NOW + 60 * 31, 60) if fit(watts, at(s), top_w=burst_w)]
        assert (found[Kind.LATER].window if Kind.LATER in found else None) == (at(after[0]) if after else None)
    any_of = AnyOf(tuple(names), watts, burst_w, data.draw(st.integers(1, 3)))
    placed = calendar.place(any_of, window)
    one_zone = [n for n in names if fit(watts, window, n, burst_w)]
    if placed is None:
        assert not one_zone
        placed = calendar.partial(any_of, window) or ()
        alone = max(calendar.free(n, window).watts for n in names)
        assert burst_w or sum(c.est_w for c in placed) >= min(alone, watts - 1)
    else:
        assert sum(c.est_w for c in placed) == watts
        assert len(placed) <= any_of.most_zones
        assert len(placed) == 1 or not one_zone
    assert fits(one, topology, placed, window) or not placed
    for alternative in calendar.alternatives(any_of, window):
        assert fits(one, topology, alternative.charges, alternative.window)
    assert differences(one) == []
