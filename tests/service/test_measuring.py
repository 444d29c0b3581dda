"""What racks draw beside what was promised: who is kept out for it, who has to go, and what silence does."""

import logging
from collections.abc import Iterator

import pytest

from slurm_power.daemon.naming import expected, names
from slurm_power.ports import JobState, Kind, Quantity, Reading, RequeueHold
from slurm_power.service import views
from slurm_power.service.draws import Element, Feeler
from slurm_power.service.measured_views import element_row
from slurm_power.service.measuring import take
from tests.core.recount import differences
from tests.service.preempt_rig import SITE, Rig

METERED = SITE + """\
control: {smoothing: 10s, ramp: 30s, dwell: 60s}
telemetry:
  - {type: redfish, url: "http://pdu-a", zone: a, every: 1s, stale: 20s}
"""


class Metered(Rig):
    """A rig whose zones are measured."""

    def start(self) -> None:
        super().start()
        site = self.site
        named = names(site.telemetry or ())
        feelers = [Feeler(name, one.stale, one.every, expected(one, site)) for name, one in named.items()]
        self.desk.measured.draws.follow(feelers, site.control)
        self.sources = [feeler.name for feeler in feelers]
        self.desk.measured.heard.update(site.topology.zones)  # it has been up for a while

    def says(self, watts: float, *, zone: str = "a", kind: Kind = Kind.ZONE, source: int = 0) -> bool:
        reading = Reading(kind, zone, Quantity.POWER, watts)
        return take(self.desk, self.sources[source], [reading])

    def draws(self, watts: float, seconds: int = 1, zone: str = "a", kind: Kind = Kind.ZONE) -> None:
        """It draws so much for so long; a reading and a look each second."""
        for _ in range(seconds):
            self.says(watts, zone=zone, kind=kind)
            self.later(1)

    def row(self, name: str = "a") -> dict[str, object]:
        found = views.zones(self.desk)
        rows = [*found["zones"], *found["feeds"]]  # type: ignore[misc]
        return next(row for row in rows if row["name"] == name)

    def numbers(self, name: str = "a") -> tuple[object, ...]:
        row = self.row(name)
        return tuple(row[key] for key in ("measured_w", "stale", "stray_w", "headroom_w", "over_w"))


def reason(rig: Rig, job: int, *keys: str) -> tuple[object, ...]:
    """The one thing that stands in a job's way."""
    told = views.explain(rig.desk, str(job))
    assert told is not None
    reasons = told["reasons"]
    assert isinstance(reasons, list)
    [found] = reasons
    return tuple(found[key] for key in keys)


@pytest.fixture
def rig() -> Iterator[Metered]:
    made = Metered(text=METERED)
    yield made
    made.end()


def test_what_is_drawn_beyond_what_was_promised_counts_at_once(rig: Metered) -> None:
    rig.running(est_w=5_000, more=",zones=a")
    rig.draws(5_000, 31)
    assert rig.numbers() == (5_000, False, 0, 15_000, 0)
    rig.says(11_000)
    assert rig.row()["stray_w"] == 6_000  # the latest reading, before any round
    job = rig.submit(est_w=10_000, more=",zones=a")
    rig.later(1)
    assert rig.state(job) is JobState.PENDING
    assert reason(rig, job, "code", "free_w", "short_w") == ("stray", 9_000, 1_000)
    assert "a draws 6kW more than its jobs asked for" in str(reason(rig, job, "text"))
    rig.draws(5_000, 11)
    rig.later(2, 2)
    assert rig.state(job) is JobState.RUNNING


def test_a_job_that_has_just_started_draws_little_and_hides_nothing(rig: Metered) -> None:
    """6 kW that nobody promised are there; a young job's est does not make them vanish before it draws."""
    rig.draws(6_000, 3)
    assert rig.row()["stray_w"] == 6_000
    rig.running(est_w=5_000, more=",zones=a")
    rig.draws(6_000, 3)
    assert rig.row()["stray_w"] == 6_000
    rig.draws(11_000, 11)
    assert rig.row()["stray_w"] == 6_000
    rig.draws(5_000, 31)
    assert rig.row()["stray_w"] == 0


def test_a_job_that_draws_its_est_at_once_is_not_counted_twice(rig: Metered) -> None:
    rig.running(est_w=5_000, more=",zones=a")
    rig.draws(5_000, 3)
    assert rig.row()["stray_w"] == 0


def test_what_a_zone_has_drawn_of_late_is_known_by_percentiles(rig: Metered) -> None:
    zone = Element(Kind.ZONE, "a")
    assert element_row(rig.desk, zone, ())["p95_w"] is None
    rig.draws(5_000, 60)
    rig.draws(9_000, 5)
    rig.later(30)  # silence adds nothing
    row = element_row(rig.desk, zone, ())
    assert row["p50_w"] == pytest.approx(5_000, rel=0.03)
    assert row["p95_w"] == pytest.approx(9_000, rel=0.03)
    assert row["peak_w"] == 9_000
    assert rig.desk.measured.history[zone].whole().total == pytest.approx(65, abs=6)


def test_silence_counts_max_and_sheds_nothing() -> None:
    rig = Metered(text=METERED.replace("max_factor: 1}", "max_factor: 2}"))
    first = rig.running("bronze", est_w=8_000, more=",max=12kW,zones=a")
    rig.draws(8_000, 2)
    assert rig.numbers()[:3] == (8_000, False, 0)
    rig.later(21)
    assert rig.numbers()[:2] == (None, True)
    job = rig.submit(est_w=6_000, more=",max=9kW,zones=a")  # 8 + 6 are less than 20, 12 + 9 are more
    rig.later(1, 5)
    assert (rig.state(job), rig.live) == (JobState.PENDING, [])
    assert reason(rig, job, "code", "asked_w", "free_w") == ("blind", 9_000, 8_000)
    smaller = rig.submit(est_w=6_000, more=",max=8kW,zones=a")
    rig.later(1, 3)
    assert rig.state(smaller) is JobState.RUNNING  # what is safe goes on
    rig.says(8_000)
    rig.later(1, 3)
    assert rig.numbers()[:2] == (8_000, False)
    assert rig.state(first) is JobState.RUNNING
    rig.end()


def test_a_zone_is_blind_from_the_start_until_something_is_known() -> None:
    rig = Metered(text=METERED)
    rig.later(1)
    assert rig.numbers()[:2] == (None, True)
    assert rig.row("b")["stale"] is None  # nobody measures it, and its rules are as ever
    rig.end()


@pytest.mark.parametrize("watts", [float("nan"), -1.0, 0.0, 6.0, 1e9])
def test_a_sensor_that_talks_nonsense_is_as_good_as_silent(rig: Metered, watts: float) -> None:
    job = rig.running("bronze", est_w=5_000, more=",zones=a")
    rig.draws(5_000, 31)
    rig.draws(watts, 22)
    assert rig.numbers()[:2] == (None, True)
    assert rig.state(job) is JobState.RUNNING
    [doubt] = filter(None, rig.desk.measured.draws.doubts(rig.desk.now()))
    assert doubt.element == Element(Kind.ZONE, "a")
    assert "old" in doubt.text
    assert differences(rig.desk.ledger) == []


def test_two_readings_in_a_row_above_the_limit_and_the_least_has_to_go(rig: Metered) -> None:
    bronze = [rig.running("bronze", est_w=5_000, more=",zones=a") for _ in range(2)]
    gold = rig.running("gold", est_w=5_000, more=",zones=a")
    rig.draws(15_000, 31)
    rig.says(23_000)
    rig.later(1)
    assert (rig.live, rig.numbers()[4]) == ([], 0)  # one reading may be a spike
    assert rig.says(23_000)
    assert rig.row()["over_w"] == 0  # it is told with the next look
    rig.later(1)
    assert len(rig.written(RequeueHold)) == 1  # 3 kW too much: one job of 5 kW
    rig.draws(18_000, 12)
    assert rig.row()["over_w"] == 0
    states = [rig.state(job) for job in bronze]
    assert states.count(JobState.RUNNING) == 1
    assert rig.state(gold) is JobState.RUNNING
    [line] = rig.lines("preempt")
    assert (line.rule, line.cause) == ("over_limit", "after 0 s of notice")
    assert "a draws more than its limit lets it" in str(line.reasons)


def test_readings_that_follow_slowly_have_nobody_else_go(rig: Metered) -> None:
    for _ in range(3):
        rig.running("bronze", est_w=5_000, more=",zones=a")
    rig.draws(15_000, 31)
    rig.draws(23_000, 20)
    assert len(rig.written(RequeueHold)) == 1
    rig.draws(27_000, 3)  # 4 kW come on top: they are not waited for
    assert len(rig.written(RequeueHold)) == 2
    rig.draws(18_000, 80)
    assert len(rig.written(RequeueHold)) == 2


def test_who_gave_way_does_not_come_back_while_it_is_too_much(rig: Metered) -> None:
    """The limit is as it was; only the draw tells that there is no room."""
    job = rig.running("bronze", est_w=5_000, more=",zones=a")
    rig.draws(5_000, 31)
    rig.draws(24_000, 4)
    rig.draws(19_000, 300)
    assert rig.state(job) is JobState.PENDING
    assert len(rig.written(RequeueHold)) == 1
    rig.draws(14_000, 140)
    assert rig.state(job) is JobState.RUNNING


def test_silver_has_its_notice_and_is_let_be_when_the_draw_falls(rig: Metered) -> None:
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(24_000, 3)
    assert (rig.signalled(), rig.written(RequeueHold)) == ([str(silver)], [])
    assert rig.row()["over_w"] == 4_000
    rig.draws(10_000, 12)
    assert (rig.live, rig.state(silver)) == ([], JobState.RUNNING)
    [line] = rig.lines("preemption-called_off")
    assert line.cause == "no more is drawn than may be"


def test_silver_goes_at_its_notice_if_it_does_not(rig: Metered) -> None:
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(24_000, 620)
    assert rig.written(RequeueHold) == [str(silver)]


EMERGENCY = METERED.replace("a[1-4]\", limit: 20kW", 'a[1-4]", limit: 20kW, breaker: {volts: 400, amps: 40}').replace(
    "timezone: UTC\n", "timezone: UTC\npreemption: {emergency: [bronze, silver]}\n"
)
"""The breaker carries 26.3 kW, and 21 kW for ever."""


def test_between_the_limit_and_what_the_breaker_carries_notice_is_kept() -> None:
    rig = Metered(text=EMERGENCY)
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(26_000, 30)
    assert (rig.signalled(), rig.written(RequeueHold)) == ([str(silver)], [])
    rig.draws(26_400, 2)  # the breaker is about to trip: its notice ends here
    assert rig.written(RequeueHold) == [str(silver)]
    rig.end()


def test_in_an_emergency_tiers_go_in_the_order_that_is_configured() -> None:
    rig = Metered(text=EMERGENCY)
    bronze = rig.running("bronze", est_w=5_000, more=",zones=a")
    silver = rig.running("silver", est_w=5_000, more=",zones=a")
    gold = rig.running("gold", est_w=5_000, more=",zones=a")
    rig.draws(15_000, 31)
    rig.draws(28_000, 3)  # 8 kW too much: bronze alone does not do
    assert sorted(rig.written(RequeueHold)) == sorted(map(str, (bronze, silver)))
    rig.draws(28_000, 70)
    assert rig.state(gold) is JobState.RUNNING
    rig.end()


def test_gold_goes_only_where_it_is_named() -> None:
    rig = Metered(text=EMERGENCY.replace("[bronze, silver]", "[bronze, gold]"))
    gold = rig.running("gold", est_w=9_000, more=",zones=a")
    rig.draws(9_000, 31)
    rig.draws(28_000, 3)
    assert rig.written(RequeueHold) == [str(gold)]
    rig.end()


def test_without_an_emergency_order_notice_is_kept_whatever_is_drawn(
    rig: Metered, caplog: pytest.LogCaptureFixture
) -> None:
    rig.running("silver", est_w=10_000, more=",zones=a")
    rig.running("gold", est_w=5_000, more=",zones=a")
    rig.draws(15_000, 31)
    with caplog.at_level(logging.WARNING):
        rig.draws(39_000, 5)
    assert rig.written(RequeueHold) == []
    assert [record for record in caplog.records if "more is drawn than may be" in record.message]
    assert rig.row()["over_w"] == 19_000


@pytest.mark.parametrize("mode", ["observe", "advise"])
def test_nobody_goes_in_other_modes(mode: str) -> None:
    rig = Metered(text=METERED.replace("timezone: UTC\n", f"timezone: UTC\nmode: {mode}\n"))
    rig.running("bronze", est_w=5_000, more=",zones=a")
    rig.draws(24_000, 40)
    assert (rig.live, rig.row()["over_w"]) == ([], 4_000)
    rig.end()


def test_a_derate_and_the_draw_have_not_twice_as_many_go(rig: Metered) -> None:
    """A limit is cut below what is held and what is drawn: both say the same, and each victim counts for both."""
    for _ in range(4):
        rig.running("bronze", est_w=5_000, more=",zones=a")
    rig.draws(20_000, 31)
    rig.reload('a[1-4]", limit: 20kW', 'a[1-4]", limit: 14kW')
    rig.draws(20_000, 2)
    assert len(rig.written(RequeueHold)) == 2
    rig.draws(20_000, 5)
    rig.draws(10_000, 80)
    assert len(rig.written(RequeueHold)) == 2
    rig.draws(10_000, 60)
    assert differences(rig.desk.ledger) == []


PAIR = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1, redundancy: 2N}
feeds:
  pdu-a: {side: A, limit: 30kW}
  pdu-b: {side: B, limit: 30kW}
  loop: {kind: cooling, limit: 30kW}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b, loop]}
  b: {nodes: "b[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b, loop]}
partitions:
  main: {node_watts: 5kW}
control: {smoothing: 10s, ramp: 30s}
telemetry:
  - {type: redfish, url: "http://rack-a", zone: a, every: 1s, stale: 20s}
  - {type: snmp, host: pdu-a, credentials: /x, oid: "1.3", feed: pdu-a, every: 1s, stale: 20s}
  - {type: snmp, host: cdu, credentials: /x, oid: "1.3", feed: loop, every: 1s, stale: 20s}
"""


def test_feeds_are_charged_the_strays_of_their_zones_whole_under_2n() -> None:
    rig = Metered(text=PAIR)
    rig.says(6_000)
    rig.says(3_000, zone="pdu-a", kind=Kind.FEED, source=1)
    rig.says(6_000, zone="loop", kind=Kind.FEED, source=2)
    rig.later(1)
    assert {name: rig.row(name)["stray_w"] for name in ("a", "pdu-a", "pdu-b", "loop")} == {
        "a": 6_000, "pdu-a": 6_000, "pdu-b": 6_000, "loop": 6_000,
    }  # fmt: skip
    assert {name: rig.row(name)["stale"] for name in ("a", "b", "pdu-a", "pdu-b")} == {
        "a": False, "b": None, "pdu-a": False, "pdu-b": None,
    }  # fmt: skip
    rig.end()


def test_a_cooling_loop_that_carries_too_much_heat_is_shed() -> None:
    rig = Metered(text=PAIR)
    jobs = [rig.running("bronze", est_w=8_000, more=f",zones={zone}") for zone in ("a", "b")]
    for _ in range(3):
        rig.says(8_000)
        rig.says(8_000, zone="pdu-a", kind=Kind.FEED, source=1)
        rig.says(32_000, zone="loop", kind=Kind.FEED, source=2)
        rig.later(1)
    assert len(rig.written(RequeueHold)) == 1
    assert rig.written(RequeueHold)[0] in map(str, jobs)
    rig.end()


def test_the_books_hold_whatever_is_measured(rig: Metered) -> None:
    """Strays, blindness and a reload: rooms are those of a fresh count."""
    for watts in (5_000, 25_000, 1.0, 7_000, 13_000):
        rig.draws(watts, 3)
        assert differences(rig.desk.ledger) == []
    rig.reload('a[1-4]", limit: 20kW', 'a[1-4]", limit: 24kW')
    assert differences(rig.desk.ledger) == []
    assert rig.row()["stray_w"] == 13_000


def test_after_a_start_nobody_is_admitted_before_the_sensors_were_heard(rig: Metered) -> None:
    rig.desk.measured.heard.clear()
    job = rig.submit("gold", est_w=5_000, more=",zones=a")
    elsewhere = rig.submit("gold", est_w=5_000, more=",zones=b")
    rig.later(2, 3)
    assert [rig.state(job), rig.state(elsewhere)] == [JobState.PENDING, JobState.RUNNING]
    assert reason(rig, job, "code") == ("closed",)
    rig.says(1_000)
    rig.later(2, 2)
    assert rig.state(job) is JobState.RUNNING
    assert rig.row()["thermal"] == "normal"


def test_sensors_that_are_never_heard_keep_nobody_out_for_ever(rig: Metered) -> None:
    rig.desk.measured.heard.clear()
    job = rig.submit("gold", est_w=5_000, more=",zones=a")
    rig.later(2, 2)
    assert rig.state(job) is JobState.PENDING
    rig.later(20, 2)
    assert (rig.state(job), rig.row()["stale"]) == (JobState.RUNNING, True)


def test_silver_is_noticed_again_at_once_after_it_was_called_off(rig: Metered) -> None:
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(24_000, 3)
    rig.draws(10_000, 12)
    assert rig.live == []
    rig.draws(24_000, 3)
    assert rig.signalled() == [str(silver)] * 2


def test_silence_calls_nobody_off(rig: Metered) -> None:
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(24_000, 3)
    rig.later(30, 5)
    assert len(rig.live) == 1
    rig.later(300, 2)
    assert rig.written(RequeueHold) == [str(silver)]


@pytest.mark.parametrize("heard", [False, True])
def test_a_restart_calls_nobody_off_before_anything_is_heard(heard: bool) -> None:
    rig = Metered(text=METERED)
    silver = rig.running("silver", est_w=10_000, more=",zones=a")
    rig.draws(10_000, 31)
    rig.draws(24_000, 5)
    assert rig.signalled() == [str(silver)]
    rig.crash()
    rig.later(1, 3)
    assert rig.stages == ["notice"]
    if heard:
        rig.draws(12_000, 12)
        assert rig.live == []
    else:
        rig.later(60, 11)
        assert rig.written(RequeueHold) == [str(silver)]
    rig.end()


def test_one_reading_alone_sheds_nobody_however_slowly_it_is_polled(rig: Metered) -> None:
    rig.running("bronze", est_w=5_000, more=",zones=a")
    for _ in range(6):
        rig.says(5_000)
        rig.later(15)
    rig.says(30_000)
    rig.later(1)
    assert (rig.live, rig.row()["over_w"]) == ([], 0)
    rig.later(14)
    rig.says(30_000)
    rig.later(1)
    assert len(rig.written(RequeueHold)) == 1


def test_in_an_emergency_only_those_hurry_whom_it_concerns() -> None:
    """One preemption has a victim in each zone; the breaker of zone a is about to trip, that of zone b is not."""
    text = EMERGENCY.replace("[bronze, silver]", "[silver]").replace("control:", "control:", 1)
    rig = Metered(text=text)
    there, elsewhere = (rig.running("silver", est_w=12_000, more=f",zones={zone}") for zone in ("a", "b"))
    rig.draws(12_000, 31)
    for zone, limit in (("a[1-4]", "limit: 20kW, breaker"), ("b[1-4]", "limit: 20kW")):
        rig.reload(f'{zone}", {limit}', f'{zone}", {limit.replace("20kW", "10kW")}')
    rig.draws(12_000, 3)
    assert sorted(rig.signalled()) == sorted(map(str, (there, elsewhere)))
    rig.draws(27_000, 2)
    assert rig.written(RequeueHold) == [str(there)]
    assert rig.state(elsewhere) is JobState.RUNNING
    rig.draws(5_000, 620)
    assert rig.written(RequeueHold) == [str(there), str(elsewhere)]
    rig.end()


INLETS = METERED.replace(
    '  - {type: redfish, url: "http://pdu-a", zone: a, every: 1s, stale: 20s}\n',
    "".join(
        f'  - {{type: redfish, url: "http://{inlet}", zone: a, inlet: {inlet}, every: 1s, stale: 20s}}\n'
        for inlet in ("left", "right")
    ),
)


def test_one_inlet_carries_all_when_the_other_trips() -> None:
    """Nobody is shed for what one carried before and the other carries now, and the zone is not blind."""
    rig = Metered(text=INLETS)
    job = rig.running("bronze", est_w=15_000, more=",zones=a")

    def says(left: float, right: float, seconds: int) -> None:
        for _ in range(seconds):
            for number, (inlet, watts) in enumerate((("left", left), ("right", right))):
                take(rig.desk, rig.sources[number], [Reading(Kind.ZONE, "a", Quantity.POWER, watts, part=inlet)])
            rig.later(1)

    says(7_500, 7_500, 31)
    assert rig.numbers()[:2] == (15_000, False)
    says(0, 15_000, 40)
    assert (rig.numbers()[:2], rig.state(job)) == ((15_000, False), JobState.RUNNING)
    says(0, 25_000, 3)
    assert rig.written(RequeueHold) == [str(job)]
    says(0, 0, 30)
    assert rig.numbers()[:2] == (None, True)
    rig.end()


def test_a_counter_with_a_wrong_clock_is_left_out(rig: Metered) -> None:
    def counts(joules: float, age_s: float = 0) -> None:
        take(rig.desk, rig.sources[0], [Reading(Kind.ZONE, "a", Quantity.ENERGY, joules, age_s)])
        rig.later(1)

    for number in range(3):
        counts(5_000.0 * number)
    counts(20_000, age_s=-86_400)
    counts(20_000)
    assert rig.numbers()[:2] == (5_000, False)
