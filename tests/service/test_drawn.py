"""What is drawn, put together from what is heard of parts: phases, inlets, nodes, zones behind a feed."""

import random
from collections.abc import Iterator, Mapping
from math import inf, nan

import pytest

from slurm_power.core.steps import finish
from slurm_power.ports import JobState, Kind, Quantity, Reading, RequeueHold
from slurm_power.service.drawn import disagree, seen
from slurm_power.service.draws import Element
from slurm_power.service.measured_views import doubts_of
from slurm_power.service.measuring import take
from tests.core.recount import differences
from tests.service.preempt_rig import SITE
from tests.service.test_measuring import INLETS, METERED, PAIR, Metered

A = Element(Kind.ZONE, "a")
NODES = SITE + """\
control: {smoothing: 10s, ramp: 30s, stuck: 60s}
telemetry:
  - {type: slurm, every: 1s, stale: 20s}
  - {type: redfish, url: "http://rack-a", zone: b, every: 1s, stale: 20s}
"""
LOOP = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1}
feeds:
  pdu: {limit: 30kW}
  loop: {kind: cooling, limit: 30kW}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [pdu, loop]}
  b: {nodes: "b[1-4]", limit: 20kW, feeds: [loop]}
partitions:
  main: {node_watts: 5kW}
control: {smoothing: 10s, ramp: 30s, stuck: 60s}
telemetry:
  - {type: redfish, url: "http://rack-a", zone: a, every: 1s, stale: 20s}
  - {type: redfish, url: "http://rack-b", zone: b, every: 1s, stale: 20s}
  - {type: snmp, host: pdu, credentials: /x, oid: "1.3", feed: pdu, every: 1s, stale: 20s}
"""


@pytest.fixture
def rig() -> Iterator[Metered]:
    made = Metered(text=METERED)
    yield made
    made.end()


def phases(rig: Metered, seconds: int = 1, **watts: float) -> None:
    for _ in range(seconds):
        readings = [Reading(Kind.ZONE, "a", Quantity.POWER, value, phase=name) for name, value in watts.items()]
        take(rig.desk, rig.sources[0], readings)
        rig.later(1)


def nodes(rig: Metered, seconds: int = 1, **watts: float) -> None:
    for _ in range(seconds):
        take(rig.desk, rig.sources[0], [Reading(Kind.NODE, node, Quantity.POWER, w) for node, w in watts.items()])
        rig.later(1)


def told(rig: Metered, element: Element = A) -> list[str]:
    return [doubt.text for doubt in finish(doubts_of(rig.desk)).get(element, ())]


# -- phases and counters ---------------------------------------------------------------------------------------------


def test_the_fullest_phase_counts_threefold(rig: Metered) -> None:
    phases(rig, L1=3_000, L2=3_000, L3=6_000)
    assert rig.numbers()[:3] == (18_000, False, 18_000)


def test_a_phase_that_is_missing_makes_it_silent_and_not_less(rig: Metered) -> None:
    phases(rig, L1=4_000, L2=4_000, L3=4_000)
    phases(rig, 10, L1=4_000, L2=4_000)
    assert rig.numbers()[:3] == (12_000, False, 12_000)
    assert told(rig) == ["lacks phase L3"]
    phases(rig, 15, L1=4_000)
    assert rig.numbers()[:3] == (None, True, 12_000)
    assert "lacks phase L2, L3" in told(rig)[0]
    phases(rig, L1=2_000, L2=2_000, L3=2_000)
    assert (rig.numbers()[:3], told(rig)) == ((6_000, False, 6_000), [])


def test_what_has_one_phase_alone_is_no_third(rig: Metered) -> None:
    phases(rig, L1=4_000)
    assert rig.numbers()[:2] == (4_000, False)


def test_phases_of_other_names(rig: Metered) -> None:
    phases(rig, **{"1": 4_000, "2": 4_000, "3": 4_000})
    phases(rig, L1=3_000, L2=3_000, L3=3_000)
    assert (rig.numbers()[1], told(rig)) == (False, [])


def counts(rig: Metered, joules: float, age_s: float = 0) -> None:
    take(rig.desk, rig.sources[0], [Reading(Kind.ZONE, "a", Quantity.ENERGY, joules, age_s)])


def test_a_counter_that_is_reset_is_no_negative_power(rig: Metered) -> None:
    for number in range(4):
        counts(rig, 1_000_000 + 5_000 * number)
        rig.later(1)
    counts(rig, 100)
    rig.later(1)
    assert (rig.numbers()[:2], told(rig)) == ((5_000, False), [])
    counts(rig, 6_100)
    rig.later(1)
    assert rig.row()["measured_w"] == 5_250  # the mean of three of 5 kW and one of 6 kW


def test_a_counter_after_a_silence_begins_anew(rig: Metered) -> None:
    """The mean over an hour of silence says nothing of now."""
    for number in range(4):
        counts(rig, 5_000 * number)
        rig.later(1)
    rig.later(3_600)
    counts(rig, 36_000_000)
    rig.later(1)
    assert rig.numbers()[:2] == (None, True)
    counts(rig, 36_030_000)
    rig.later(1)
    assert rig.numbers()[:2] == (30_000, False)


def test_a_counter_in_coarse_steps_stands_still_between_them(rig: Metered) -> None:
    for second in range(60):
        counts(rig, second // 15 * 75_000)
        rig.later(1)
    assert rig.numbers()[:2] == (5_000, False)


# -- a part that is silent -------------------------------------------------------------------------------------------


def inlets(rig: Metered, watts: Mapping[str, float], seconds: int = 1) -> None:
    for _ in range(seconds):
        for number, inlet in enumerate(("left", "right")):
            if inlet in watts:
                take(rig.desk, rig.sources[number], [Reading(A.kind, "a", Quantity.POWER, watts[inlet], part=inlet)])
        rig.later(1)


def test_an_inlet_that_is_too_much_alone_is_shed_for_while_the_other_is_silent() -> None:
    """A PDU that loses its input loses its management card: the other carries all then.

    For a moment that counts twice for whoever is to be admitted, and until it is heard again; nobody is shed for it.
    """
    rig = Metered(text=INLETS)
    job = rig.running("bronze", est_w=15_000, more=",zones=a")
    inlets(rig, {"left": 7_500, "right": 7_500}, 31)
    inlets(rig, {"right": 15_000}, 30)
    assert rig.numbers() == (15_000, True, 7_500, -2_500, 0)
    assert rig.state(job) is JobState.RUNNING
    assert rig.desk.ledger.meters["a"].blind
    inlets(rig, {"right": 26_000}, 3)
    assert (rig.numbers()[4], rig.written(RequeueHold)) == (6_000, [str(job)])
    rig.end()


def test_an_inlet_that_misses_a_beat_now_and_then_calls_nobody_off() -> None:
    rig = Metered(text=INLETS)
    silver = rig.running("silver", est_w=15_000, more=",zones=a")
    inlets(rig, {"left": 7_500, "right": 7_500}, 31)
    for second in range(640):
        told = {"left": 13_000.0, "right": 13_000.0}
        if second % 30 in (10, 11):
            del told["right" if second % 60 < 30 else "left"]
        inlets(rig, told)
        if 3 < second < 590:
            assert (rig.stages, rig.row()["stale"]) == (["notice"], False), second
    assert rig.written(RequeueHold) == [str(silver)]
    rig.end()


def test_nodes_that_are_heard_are_a_lower_bound_for_all() -> None:
    rig = Metered(text=NODES)
    job = rig.running("bronze", est_w=16_000, more=",zones=a")
    nodes(rig, 31, a1=4_000, a2=4_000, a3=4_000, a4=4_000)
    assert rig.numbers()[:2] == (16_000, False)
    nodes(rig, 25, a1=4_000, a2=4_000, a3=4_000)
    assert rig.numbers()[:2] == (12_000, True)
    assert rig.state(job) is JobState.RUNNING
    nodes(rig, 3, a1=9_000, a2=9_000, a3=9_000)
    assert (rig.numbers()[4], rig.written(RequeueHold)) == (7_000, [str(job)])
    rig.end()


def test_where_a_part_of_the_nodes_is_measured_its_stray_counts() -> None:
    rig = Metered(text=NODES)
    nodes(rig, 2, a1=9_000)
    assert rig.numbers() == (9_000, None, 9_000, 11_000, 0)
    nodes(rig, 25)
    assert rig.numbers() == (None, None, 0, 20_000, 0)
    rig.end()


def test_half_of_the_sensors_are_silent() -> None:
    """The zones that are heard go on; the others count max, and nobody is let in beyond that."""
    rig = Metered(text=LOOP)
    rig.draws(5_000)
    rig.says(5_000, zone="b", source=1)
    for _ in range(25):
        rig.says(5_000)
        rig.later(1)
    assert {name: rig.row(name)["stale"] for name in ("a", "b", "pdu", "loop")} == {
        "a": False, "b": True, "pdu": False, "loop": True,
    }  # fmt: skip
    large = rig.submit("bronze", est_w=8_000, more=",max=21kW,zones=b")
    there = rig.submit("bronze", est_w=8_000, more=",zones=a")
    rig.later(2, 2)
    assert (rig.state(large), rig.state(there)) == (JobState.PENDING, JobState.RUNNING)
    rig.end()


def test_a_node_that_slurm_has_powered_down_may_be_silent_or_draw_nothing() -> None:
    rig = Metered(text=NODES)
    nodes(rig, 2, a1=4_000, a2=4_000, a3=4_000, a4=300)
    rig.slurm.power_down("a4")
    nodes(rig, 31, a1=4_000, a2=4_000, a3=4_000)
    assert rig.numbers()[:2] == (12_000, False)
    nodes(rig, 31, a1=4_000, a2=4_000, a3=4_000, a4=0)
    assert (rig.numbers()[:2], told(rig, Element(Kind.NODE, "a4"))) == ((12_000, False), [])
    rig.end()


# -- what is not believed, and what differs --------------------------------------------------------------------------


def test_kw_for_w_on_a_feed_of_which_all_is_known_to_flow_there() -> None:
    rig = Metered(text=LOOP)
    rig.running("bronze", est_w=16_000, more=",zones=a")
    for _ in range(32):
        rig.says(16_000)
        rig.says(16_000, zone="pdu", kind=Kind.FEED, source=2)
        rig.later(1)
    rig.says(16, zone="pdu", kind=Kind.FEED, source=2)
    assert "where at least 320 W is drawn (is the unit kW?)" in told(rig, Element(Kind.FEED, "pdu"))[0]
    rig.end()


def test_a_feed_that_is_stuck_while_work_came() -> None:
    rig = Metered(text=LOOP)
    for second in range(150):
        rig.says(2_000, zone="pdu", kind=Kind.FEED, source=2)
        if second == 40:
            rig.running("bronze", est_w=16_000, more=",zones=a")
        rig.later(1)
    assert "while 16kW of work came or went" in told(rig, Element(Kind.FEED, "pdu"))[0]
    rig.end()


def test_a_side_that_stands_by_carries_nothing_and_is_believed() -> None:
    rig = Metered(text=PAIR)
    rig.running("bronze", est_w=16_000, more=",zones=a")
    for _ in range(100):
        rig.says(16_000)
        rig.says(12, zone="pdu-a", kind=Kind.FEED, source=1)
        rig.later(1)
    assert told(rig, Element(Kind.FEED, "pdu-a")) == []
    rig.end()


def test_kw_for_w_on_nodes() -> None:
    rig = Metered(text=NODES)
    job = rig.running("bronze", est_w=16_000, more=",zones=a", node_count=4)
    nodes(rig, 40, a1=4_000, a2=4_000, a3=4_000, a4=4_000)
    nodes(rig, 30, a1=4, a2=4, a3=4, a4=4)
    assert "where at least 8 W is drawn (is the unit kW?)" in told(rig, Element(Kind.NODE, "a1"))[0]
    assert rig.numbers()[:2] == (None, True)
    run = rig.desk.metering.drawn.get(rig.desk.book.of_job(job).key)  # type: ignore[union-attr]
    assert run is not None
    assert run.numbers()["p50_w"] > 10_000
    rig.end()


def test_kw_for_w_on_nodes_of_which_nobody_knows_the_jobs() -> None:
    """A job that shares nodes in ways that nobody knows: the zone says it."""
    rig = Metered(text=NODES)
    rig.running("bronze", est_w=16_000, more=",zones=a", node_count=1)
    nodes(rig, 40, a1=4_000, a2=4_000, a3=4_000, a4=4_000)
    nodes(rig, 30, a1=33, a2=4, a3=4, a4=4)
    assert told(rig) == ["is not believed: 45 W, where at least 320 W is drawn (is the unit kW?)"]
    assert rig.numbers()[:2] == (None, True)
    rig.end()


def test_a_zone_and_its_nodes_disagree_where_the_zone_says_less() -> None:
    rig = Metered(text=NODES.replace("zone: b", "zone: a"))
    rig.running("bronze", est_w=16_000, more=",zones=a")

    def says(zone_w: float, node_w: float) -> tuple[int, int] | None:
        for _ in range(15):
            rig.says(zone_w, source=1)
            nodes(rig, a1=node_w, a2=node_w, a3=node_w, a4=node_w)
        return disagree(rig.desk, A)

    assert says(18_000, 4_000) is None  # switches and fans
    assert says(5_000, 4_000) == (5_000, 16_000)
    assert rig.row()["measured_w"] == 16_000
    rig.end()


def test_what_the_nodes_draw_is_not_all_while_the_zones_own_sensor_is_silent() -> None:
    rig = Metered(text=NODES.replace("zone: b", "zone: a"))

    def says(seconds: int, *, own: bool) -> None:
        for _ in range(seconds):
            if own:
                rig.says(16_000, source=1)
            nodes(rig, a1=3_000, a2=3_000, a3=3_000, a4=3_000)

    says(12, own=True)
    assert rig.numbers()[:4] == (16_000, False, 16_000, 4_000)
    says(40, own=False)
    assert rig.numbers()[:4] == (12_000, False, 16_000, 4_000)
    says(12, own=True)
    assert rig.numbers()[:4] == (16_000, False, 16_000, 4_000)
    rig.end()


def test_a_zone_and_the_feeds_that_are_its_own_disagree() -> None:
    rig = Metered(text=LOOP)
    for _ in range(3):
        rig.says(10_000)
        rig.says(6_000, zone="pdu", kind=Kind.FEED, source=2)
        rig.later(1)
    assert disagree(rig.desk, A) == (6_000, 10_000)
    assert rig.row()["measured_w"] == 10_000
    rig.end()


def test_readings_of_one_measurement_are_one_however_the_clock_runs(rig: Metered) -> None:
    """Read each second with the age of then, a little off: one spike is not two readings in a row."""
    job = rig.running("bronze", est_w=15_000, more=",zones=a")
    rig.draws(15_000, 31)
    for second in range(15):
        reading = Reading(Kind.ZONE, "a", Quantity.POWER, 30_000, age_s=second + second % 3 / 10 - 0.2)
        take(rig.desk, rig.sources[0], [reading])
        rig.later(1)
    assert rig.numbers()[4] == 0
    assert rig.state(job) is JobState.RUNNING


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_heard_nobody_is_let_in_beyond_what_is_drawn(seed: int) -> None:
    """Sensors that are silent, half silent, wrong in any way: what is drawn at least is off the headroom at once."""
    chance = random.Random(seed)
    rig = Metered(text=(LOOP, INLETS, NODES, PAIR)[seed % 4])
    topology, sources = rig.site.topology, len(rig.sources)
    names = [(Kind.ZONE, n) for n in topology.zones] + [(Kind.FEED, n) for n in topology.feeds]
    names += [(Kind.NODE, n) for n in topology.zone_of_node]
    odd = (nan, inf, -5.0, 0.0, 16.0, 1e9)
    for _ in range(150):
        if chance.random() < 0.15:
            tier = chance.choice(("gold", "silver", "bronze"))
            rig.submit(tier, est_w=chance.randrange(1_000, 12_000), time_limit_s=90)
        for source in range(sources):
            if chance.random() < 0.3:
                continue
            told = [
                Reading(
                    *chance.choice(names),
                    chance.choice((Quantity.POWER, Quantity.POWER, Quantity.ENERGY)),
                    chance.choice(odd) if chance.random() < 0.2 else chance.uniform(100, 25_000),
                    chance.choice((0, 0, 0, 1.5, 30, -3_600)),
                    chance.choice(("", "left", "right")),
                    chance.choice(("", "", "L1", "L2", "L3")),
                )
                for _ in range(chance.randrange(6))
            ]
            take(rig.desk, rig.sources[source], told)
            for zone in topology.zones:
                draw, meter = seen(rig.desk, Element(Kind.ZONE, zone)), rig.desk.ledger.meters[zone]
                assert draw is None or meter.committed_w + meter.stray_w >= draw.high_w
        rig.later(chance.choice((1, 1, 1, 25)))
    assert differences(rig.desk.ledger) == []
    rig.end()
