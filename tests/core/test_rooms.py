"""The index of zones by room, against a plain sort."""

from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.nodes import FreeClass
from slurm_power.core.rooms import RoomIndex, Search, Section
from slurm_power.core.topology import Lane

NAMES = [f"rack{k}" for k in range(8)]
LANES = {name: list(Lane)[k % 3] for k, name in enumerate(NAMES)}
SECTIONS: dict[str, tuple[Section, ...]] = {
    name: (Section(""), Section("", k % 2), *([Section("part")] if k < 5 else []))
    for k, name in enumerate(NAMES)
}
ROOMS = st.integers(-50, 50)
CLASSES = st.builds(FreeClass, st.integers(-2, 3), st.integers(0, 2), st.integers(0, 2))
SEARCHES = st.builds(
    Search,
    st.sampled_from(
        [[Section("")], [Section("part")], [Section("", 0)], [Section("", 1), Section("", 0)], [Section("x")]]
    ),
    st.sampled_from([(Lane.HOT,), (Lane.COLD, Lane.MIXED), tuple(Lane)]),
    CLASSES,
)


@given(
    puts=st.lists(st.tuples(st.sampled_from(NAMES), ROOMS, CLASSES), max_size=40),
    search=SEARCHES,
    need_w=ROOMS,
)
def test_both_orders_are_those_of_a_plain_sort(
    puts: list[tuple[str, int, FreeClass]], search: Search, need_w: int
) -> None:
    index = RoomIndex(SECTIONS, LANES)
    filed: dict[str, tuple[int, FreeClass]] = {}
    for zone, room_w, free in puts:
        index.put(zone, room_w, free)
        filed[zone] = (room_w, free)
    expected = [
        (zone, room_w)
        for zone, (room_w, free) in filed.items()
        if room_w >= need_w
        and LANES[zone] in search.lanes
        and free.covers(search.free)
        and any(section in SECTIONS[zone] for section in search.sections)
    ]
    assert list(index.tightest_first(search, need_w)) == sorted(expected, key=lambda pair: (pair[1], pair[0]))
    assert list(index.roomiest_first(search, need_w)) == sorted(
        expected, key=lambda pair: (-pair[1], pair[0])
    )
    assert index.filed() == filed


@given(
    first=st.dictionaries(st.sampled_from(NAMES), st.tuples(ROOMS, CLASSES)),
    later=st.lists(st.tuples(st.sampled_from(NAMES), ROOMS, CLASSES), max_size=10),
)
def test_filled_at_once_it_is_as_filed_one_by_one(
    first: dict[str, tuple[int, FreeClass]], later: list[tuple[str, int, FreeClass]]
) -> None:
    index, other = RoomIndex(SECTIONS, LANES), RoomIndex(SECTIONS, LANES)
    index.fill(first)
    for zone, (room_w, free) in first.items():
        other.put(zone, room_w, free)
    for zone, room_w, free in later:
        index.put(zone, room_w, free)
        other.put(zone, room_w, free)
    everything = Search([Section(""), Section("part")], tuple(Lane), FreeClass(-2, 0, 0))
    assert index.filed() == other.filed()
    assert list(index.tightest_first(everything, -50)) == list(other.tightest_first(everything, -50))
