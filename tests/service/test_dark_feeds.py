"""A feed fails and returns: what its zones and the other feeds carry meanwhile, by arithmetic written out here."""

import asyncio
from collections.abc import Iterator
from fractions import Fraction

import pytest

from slurm_power.core.derate import Derate
from slurm_power.core.giving_way import LEAVE_S
from slurm_power.core.steps import finish
from slurm_power.core.topology import Tap, Topology
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import JobState, RequeueHold
from slurm_power.service import views
from slurm_power.service.hit import hit_rows
from tests.core.recount import differences
from tests.service.preempt_rig import Rig

SITE = """\
timezone: UTC
defaults: {margin: 0%, max_factor: 1, redundancy: REDUNDANCY}
feeds:
  ups-a: {side: A, limit: 60kW}
  ups-b: {side: B, limit: 60kW}
  pdu-a: {side: A, parent: ups-a, limit: 24kW}
  pdu-b: {side: B, parent: ups-b, limit: 24kW}
zones:
  a: {nodes: "a[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b]}
  b: {nodes: "b[1-4]", limit: 20kW, feeds: [pdu-a, pdu-b]}
partitions:
  main: {node_watts: 5kW}
"""


def site(redundancy: str) -> str:
    return SITE.replace("REDUNDANCY", redundancy)


def committed(rig: Rig) -> dict[str, int]:
    found = views.zones(rig.desk)
    return {row["name"]: row["committed_w"] for row in found["feeds"]}  # type: ignore[attr-defined]


def fail(rig: Rig, feed: str, start_s: int = 0, end_s: int = FOREVER) -> Derate:
    now = rig.desk.now()
    window = Window(now + start_s, end_s if end_s == FOREVER else now + end_s)
    one = Derate(f"dark-{feed}", feed, window, "tripped", now, 0, None, Fraction(100))
    asyncio.run(rig.rounds.derating.add(one))
    return one


def returns(rig: Rig, feed: str) -> None:
    asyncio.run(rig.rounds.derating.clear(feed, 0))


@pytest.fixture(params=["2N", "N"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    made = Rig(text=site(request.param))
    yield made
    made.end()


def test_side_a_of_a_2n_pair_fails_and_returns() -> None:
    """Either side is charged the whole all the time: 12 + 12 = 24 kW. Nothing has to change but that A carries none."""
    rig = Rig(text=site("2N"))
    jobs = [rig.running("bronze", est_w=12_000, more=f",zones={zone}") for zone in ("a", "b")]
    assert committed(rig) == {"ups-a": 24_000, "pdu-a": 24_000, "ups-b": 24_000, "pdu-b": 24_000}
    fail(rig, "ups-a")
    rig.later(2, 3)
    assert committed(rig) == {"ups-a": 0, "pdu-a": 0, "ups-b": 24_000, "pdu-b": 24_000}
    assert [rig.state(job) for job in jobs] == [JobState.RUNNING] * 2
    more = rig.submit("bronze", est_w=1_000)
    rig.later(2, 3)
    assert rig.state(more) is JobState.PENDING  # B is as full as it may be
    returns(rig, "ups-a")
    rig.later(2, 3)
    assert committed(rig) == {"ups-a": 24_000, "pdu-a": 24_000, "ups-b": 24_000, "pdu-b": 24_000}
    assert rig.state(more) is JobState.PENDING
    assert (rig.written(RequeueHold), differences(rig.desk.ledger)) == ([], [])
    rig.end()


def test_half_of_an_n_pair_fails_and_returns() -> None:
    """Each side carries half: 2 × 12 ÷ 2 + 8 ÷ 2 = 16 kW. Without A, B would carry 32 of its 24: 8 kW have to go."""
    rig = Rig(text=site("N"))
    gold = rig.running("gold", est_w=12_000, more=",zones=a")
    silver = rig.running("silver", est_w=12_000, more=",zones=b")
    bronze = rig.running("bronze", est_w=8_000, more=",zones=a")
    assert committed(rig) == {"ups-a": 16_000, "pdu-a": 16_000, "ups-b": 16_000, "pdu-b": 16_000}
    fail(rig, "pdu-a")
    assert committed(rig) == {"ups-a": 0, "pdu-a": 0, "ups-b": 32_000, "pdu-b": 32_000}
    rig.later(2, 4)
    assert rig.written(RequeueHold) == [str(bronze)]
    assert committed(rig) == {"ups-a": 0, "pdu-a": 0, "ups-b": 24_000, "pdu-b": 24_000}
    returns(rig, "pdu-a")
    rig.later(60, 4)
    assert [rig.state(job) for job in (gold, silver, bronze)] == [JobState.RUNNING] * 3
    assert committed(rig) == {"ups-a": 16_000, "pdu-a": 16_000, "ups-b": 16_000, "pdu-b": 16_000}
    assert differences(rig.desk.ledger) == []
    rig.end()


def test_what_the_other_feed_will_carry_under_n_is_planned_for() -> None:
    """From then on B carries all: 24 kW in both zones together. 14 + 10 fit; 2 kW more do if they end before."""
    rig = Rig(text=site("N"))
    gold = rig.running("gold", est_w=14_000, more=",zones=a")
    silver = rig.running("silver", est_w=12_000, more=",zones=b")
    fail(rig, "pdu-a", 3_600, 7_200)
    rig.later(2, 3)
    long, short = rig.submit("silver", est_w=2_000), rig.submit("silver", est_w=2_000, time_limit_s=1_800)
    rig.later(2, 3)
    assert [rig.state(job) for job in (long, short)] == [JobState.PENDING, JobState.RUNNING]
    rig.later(3_600 - 600 - LEAVE_S - 20)
    assert rig.signalled() == []
    rig.later(20)
    assert rig.signalled() == [str(silver)]  # 26 kW are too much for it
    rig.later(602, 2)
    assert rig.written(RequeueHold) == [str(silver)]
    rig.later(LEAVE_S)
    assert committed(rig) == {"ups-a": 0, "pdu-a": 0, "ups-b": 16_000, "pdu-b": 16_000}
    assert [rig.state(job) for job in (gold, long)] == [JobState.RUNNING] * 2
    assert rig.written(RequeueHold) == [str(silver)]
    assert differences(rig.desk.ledger) == []
    rig.end()


def test_both_fail(rig: Rig) -> None:
    """Nobody is admitted and nobody is refused for ever; what is restored takes the held jobs in again."""
    bronze = rig.running("bronze", est_w=5_000)
    fail(rig, "ups-a")
    fail(rig, "pdu-b")
    rig.later(2, 4)
    assert rig.written(RequeueHold) == [str(bronze)]
    job = rig.submit("bronze", est_w=5_000)
    unsaid = rig.submit("bronze", comment="")
    rig.later(2, 3)
    assert [rig.state(one) for one in (bronze, job, unsaid)] == [JobState.PENDING] * 3
    told = views.explain(rig.desk, str(job))
    assert told is not None
    assert told["verdict"] == "hold"
    entry = rig.desk.book.of_job(unsaid)
    assert entry is not None
    assert entry.ask is not None
    assert entry.ask.request.est_w > 0
    returns(rig, "pdu-b")
    rig.later(60, 4)
    assert [rig.state(one) for one in (bronze, job)] == [JobState.RUNNING] * 2


def test_it_holds_over_a_crash_and_a_reload(rig: Rig) -> None:
    rig.running("bronze", est_w=4_000)
    fail(rig, "pdu-a")
    rig.crash()
    rig.later(2, 2)
    assert rig.desk.dark == {"pdu-a"}
    assert committed(rig)["pdu-b"] == 4_000
    rig.reload("pdu-b: {side: B, parent: ups-b, limit: 24kW}", "pdu-b: {side: B, parent: ups-b, limit: 23kW}")
    rig.later(2)
    assert rig.desk.dark == {"pdu-a"}
    assert rig.desk.ledger.meters["pdu-b"].limit_w == 23_000
    assert committed(rig) == {"ups-a": 0, "pdu-a": 0, "ups-b": 4_000, "pdu-b": 4_000}
    assert differences(rig.desk.ledger) == []


def test_one_to_come_is_no_reason_to_start_nobody_under_2n() -> None:
    rig = Rig(text=site("2N"))
    fail(rig, "pdu-a", start_s=3_600, end_s=7_200)
    job = rig.running("bronze", est_w=10_000)  # its ten hours run over it
    rig.later(1_800, 3)
    assert rig.desk.dark == {"pdu-a"}
    assert rig.state(job) is JobState.RUNNING
    rig.later(3_600)
    assert rig.desk.dark == frozenset()
    rig.end()


def test_when_both_are_to_fail_nobody_is_started_who_would_not_end_before(rig: Rig) -> None:
    fail(rig, "ups-a", start_s=3_600, end_s=9_000)
    fail(rig, "ups-b", start_s=7_200, end_s=10_800)
    late = rig.submit("bronze", est_w=5_000)
    early = rig.submit("bronze", est_w=5_000, time_limit_s=7_000)
    rig.later(2, 3)
    assert [rig.state(late), rig.state(early)] == [JobState.PENDING, JobState.RUNNING]


def hit(rig: Rig, feed: str) -> tuple[list[object], object]:
    now = rig.desk.now()
    one = Derate("what-if", feed, Window(now), "maintenance", now, 0, None, Fraction(100))
    found = finish(hit_rows(rig.desk, one))
    return [row["job"] for row in found["jobs"]], found["left_w"]  # type: ignore[attr-defined]


def test_whom_maintenance_would_hit(rig: Rig) -> None:
    for zone in ("a", "b"):
        rig.running("gold", est_w=10_000, more=f",zones={zone}")
    bronze = rig.running("bronze", est_w=3_000, more=",zones=a")
    rig.running("gold", est_w=1_000, more=",zones=b")
    doubled = "2N" in rig.text
    before = differences(rig.desk.ledger)
    assert hit(rig, "pdu-a") == ([], 0)  # 24 kW are what B carries
    rig.reload("pdu-b: {side: B, parent: ups-b, limit: 24kW}", "pdu-b: {side: B, parent: ups-b, limit: 22kW}")
    if not doubled:
        assert hit(rig, "pdu-a") == ([str(bronze)], 0)
    fail(rig, "pdu-b")
    assert hit(rig, "pdu-a") == ([str(bronze)], 21_000)
    assert differences(rig.desk.ledger) == before == []


def test_the_topology_without_feeds() -> None:
    made = Rig(text=site("2N"))
    whole = made.site.topology
    made.end()
    left = whole.without({"ups-a"})
    assert left.taps["a"] == (Tap("pdu-b", 1, 1), Tap("ups-b", 1, 1))
    assert (left.zones["a"].limit_w, left.zones["a"].feeds) == (20_000, ("pdu-b",))
    assert left.zones_under["pdu-a"] == ()
    dead = whole.without({"ups-a", "pdu-b"}).zones["a"]
    assert (dead.limit_w, dead.feeds, dead.node_share_w) == (0, (), 5_000)
    assert isinstance(whole.without(()), Topology)
