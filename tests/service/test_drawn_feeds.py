"""What feeds and cooling loops draw, by the zones behind them, and zones by the feeds that are their own."""

from slurm_power.core.derate import WHOLE, Derate
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobState, Kind, Quantity, Reading, RequeueHold
from slurm_power.service.drawn import seen
from slurm_power.service.draws import Element
from slurm_power.service.measuring import take
from tests.service.test_drawn import LOOP
from tests.service.test_measuring import PAIR, Metered

OWN = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1, redundancy: 2N}
feeds:
  pdu-a: {side: A, limit: 20kW}
  pdu-b: {side: B, limit: 20kW}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b]}
  b: {nodes: "b[1-4]", limit: 20kW, redundancy: N}
partitions:
  main: {node_watts: 5kW}
control: {smoothing: 10s, ramp: 30s}
telemetry:
  - {type: snmp, host: pdu-a, credentials: /x, oid: "1.3", feed: pdu-a, every: 1s, stale: 20s}
  - {type: snmp, host: pdu-b, credentials: /x, oid: "1.3", feed: pdu-b, every: 1s, stale: 20s}
"""


def test_a_loop_without_a_sensor_draws_what_its_zones_do() -> None:
    rig = Metered(text=LOOP)
    jobs = [rig.running("bronze", est_w=8_000, more=f",zones={zone}") for zone in ("a", "b")]
    for _ in range(31):
        for number, zone in enumerate(("a", "b")):
            rig.says(10_000, zone=zone, source=number)
        rig.later(1)
    assert rig.numbers("loop")[:2] == (20_000, False)
    assert rig.written(RequeueHold) == []
    for _ in range(3):
        for number, zone in enumerate(("a", "b")):
            rig.says(18_000, zone=zone, source=number)
        rig.later(1)
    assert rig.numbers("loop")[4] == 6_000
    assert len(rig.written(RequeueHold)) == 1
    assert rig.written(RequeueHold)[0] in map(str, jobs)
    rig.end()


def test_the_reading_that_passes_the_limit_of_a_loop_is_acted_on_at_once() -> None:
    rig = Metered(text=LOOP)
    found = []
    for watts in (10_000, 18_000, 18_000):
        rig.later(1)
        found.append([rig.says(watts, zone=zone, source=number) for number, zone in enumerate(("a", "b"))])
    assert found == [[False, False], [False, False], [False, True]]
    rig.end()


def test_a_loop_whose_zones_were_looked_at_long_ago_draws_nobody_knows_what() -> None:
    rig = Metered(text=LOOP)
    for number, zone in enumerate(("a", "b")):
        rig.says(10_000, zone=zone, source=number)
    rig.later(1)
    assert rig.numbers("loop")[:2] == (20_000, False)
    rig.clock.instant += 3_600  # and no round comes, for Slurm is away
    rig.desk.now()
    assert rig.numbers("loop")[:2] == (None, True)
    rig.end()


def test_a_zone_of_which_an_inlet_is_late_is_not_left_out_of_its_loop() -> None:
    text = LOOP.replace(
        '{type: redfish, url: "http://rack-a", zone: a,', '{type: redfish, url: "http://left", zone: a, inlet: left,'
    ).replace('{type: snmp, host: pdu, credentials: /x, oid: "1.3", feed: pdu,', "RIGHT")
    rig = Metered(text=text.replace("RIGHT", '{type: redfish, url: "http://right", zone: a, inlet: right,'))

    def says(left: float | None, right: float, b: float) -> None:
        for number, (zone, inlet, watts) in enumerate((("a", "left", left), ("b", "", b), ("a", "right", right))):
            if watts is not None:
                take(rig.desk, rig.sources[number], [Reading(Kind.ZONE, zone, Quantity.POWER, watts, part=inlet)])
        rig.later(1)

    for _ in range(12):
        says(7_000, 7_000, 14_000)
    assert rig.numbers("loop")[4] == 0
    for _ in range(12):
        says(None, 18_000, 14_000)
    assert rig.numbers("loop")[4] == 2_000
    rig.end()


def test_how_zones_divide_what_they_draw_is_shown_and_sheds_nobody() -> None:
    """pdu has a sensor, pdu2 has none: half of the zone would be too much for it, and nobody knows what it carries."""
    rig = Metered(text=LOOP.replace("feeds: [pdu, loop]", "feeds: [pdu, pdu2, loop]").replace(
        "  pdu: {limit: 30kW}", "  pdu: {limit: 30kW}\n  pdu2: {limit: 9kW}"
    ))  # fmt: skip
    job = rig.running("bronze", est_w=16_000, more=",zones=a")
    for _ in range(40):
        rig.says(20_000)
        rig.says(13_000, zone="pdu", kind=Kind.FEED, source=2)
        rig.later(1)
    assert (rig.numbers("pdu2")[0], rig.numbers("pdu2")[4]) == (10_000, 0)
    assert rig.state(job) is JobState.RUNNING
    rig.end()


def test_what_a_reload_takes_off_the_floor_is_no_trouble() -> None:
    """Its source goes on telling of it."""
    rig = Metered(text=LOOP[: LOOP.index("telemetry:")] + """\
telemetry:
  - {type: file, path: /run/facility.json, every: 1s, stale: 20s}
""")  # fmt: skip

    def says() -> None:
        for kind, name in ((Kind.ZONE, "b"), (Kind.FEED, "pdu"), (Kind.FEED, "loop"), (Kind.NODE, "b1")):
            rig.says(5_000, zone=name, kind=kind)
        rig.later(6)

    says()
    text = rig.text
    floor = 'zones:\n  a: {nodes: "a[1-4]", limit: 20kW}\npartitions:\n'
    rig.reload(text[text.index("feeds:") : text.index("  main:")], floor)
    for _ in range(4):
        says()  # which ends in a round that finds no fault
    assert seen(rig.desk, Element(Kind.ZONE, "b")) is None
    rig.end()


def test_of_a_loop_of_which_one_zone_is_silent_the_rest_is_a_lower_bound() -> None:
    rig = Metered(text=LOOP.replace("limit: 30kW}\nzones", "limit: 15kW}\nzones"))
    job = rig.running("bronze", est_w=8_000, more=",zones=a")
    for _ in range(3):
        rig.says(18_000)
        rig.later(1)
    assert rig.numbers("loop")[4] == 3_000
    assert rig.written(RequeueHold) == [str(job)]
    rig.end()


def test_under_2n_each_side_carries_half_until_the_other_is_lost() -> None:
    """pdu-b has no sensor: of 16 + 16 kW it carries 16, and all once pdu-a is out."""
    rig = Metered(text=PAIR)

    def says(seconds: int) -> None:
        for _ in range(seconds):
            take(rig.desk, rig.sources[0], [Reading(Kind.ZONE, zone, Quantity.POWER, 16_000) for zone in ("a", "b")])
            rig.later(1)

    says(3)
    assert rig.numbers("pdu-b")[0] == 16_000
    assert rig.numbers("pdu-b")[4] == 0
    rig.desk.derates.replace([Derate("d", "pdu-a", Window(0, FOREVER), "work on it", 0, 0, percent=WHOLE)])
    rig.desk.follow_derates()
    says(3)
    assert (rig.numbers("pdu-b")[0], rig.numbers("pdu-b")[4]) == (32_000, 2_000)
    rig.end()


def test_a_feed_that_is_out_on_paper_and_carries_still_counts() -> None:
    rig = Metered(text=OWN)

    def says(seconds: int, *feeds: str) -> None:
        for _ in range(seconds):
            for number, feed in enumerate(("pdu-a", "pdu-b")):
                if feed in feeds:
                    rig.says(9_000, zone=feed, kind=Kind.FEED, source=number)
            rig.later(1)

    says(3, "pdu-a", "pdu-b")
    assert rig.numbers()[:4] == (18_000, False, 18_000, 2_000)
    rig.desk.derates.replace([Derate("d", "pdu-a", Window(0, FOREVER), "work on it", 0, 0, percent=WHOLE)])
    rig.desk.follow_derates()
    says(3, "pdu-a", "pdu-b")
    assert rig.numbers()[:4] == (18_000, False, 18_000, 2_000)
    job = rig.submit("gold", est_w=9_000, more=",zones=a")
    rig.later(1, 2)
    assert rig.state(job) is JobState.PENDING
    says(40, "pdu-b")  # its sensor is out as well: it carries nothing
    assert rig.numbers()[:2] == (9_000, False)
    rig.end()
