"""Work that leaves crowded zones for where measured headroom is."""

from collections.abc import Iterator

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.ports import JobState, Rule
from tests.core.recount import differences
from tests.service.preempt_rig import LATER, SITE
from tests.service.test_measuring import Metered

BALANCED = SITE + """\
control: {smoothing: 10s, ramp: 30s, dwell: 60s}
balance: {moves: 2, above: 90%}
telemetry:
  - {type: redfish, url: "http://pdu-a", zone: a, every: 1s, stale: 20s}
  - {type: redfish, url: "http://pdu-b", zone: b, every: 1s, stale: 20s}
"""
CROWDED_W = 18_500


class Balanced(Metered):
    """Both zones are measured."""

    def passes(self, seconds: int, a_w: float = CROWDED_W, b_w: float = 500) -> None:
        """So long zone a draws so much, and zone b so much."""
        for second in range(seconds):  # a sensor that never moves is not believed
            self.says(a_w + 40 * (second % 7), zone="a", source=self.number("a"))
            self.says(b_w + 40 * (second % 7), zone="b", source=self.number("b"))
            self.later(1)

    def number(self, zone: str) -> int:
        return next(number for number, name in enumerate(self.sources) if f"pdu-{zone}" in name)

    def zone(self, job: int) -> str:
        return self.job(job).node_list[:1]


@pytest.fixture
def rig() -> Iterator[Balanced]:
    made = Balanced(text=BALANCED)
    yield made
    made.end()


def crowd(rig: Balanced) -> list[int]:
    """Silver and two bronze jobs in zone a, which asked for 15 kW and are about to draw more."""
    jobs = [rig.running("silver", est_w=8_000), rig.running(est_w=3_000), rig.running(est_w=4_000)]
    assert [rig.zone(job) for job in jobs] == ["a"] * 3
    return jobs


def test_who_loses_least_moves_to_where_there_is_room(rig: Balanced) -> None:
    silver, older, younger = crowd(rig)
    rig.passes(60)
    assert rig.written() == []
    rig.passes(12)
    assert rig.written() == [str(younger)]
    rig.passes(LATER + 5, 15_000, 500)
    assert [rig.zone(job) for job in (silver, older, younger)] == ["a", "a", "b"]
    assert (rig.written(), rig.live) == ([str(younger)], [])
    [line] = rig.lines("preempt")
    assert (line.rule, line.job) == (Rule.BALANCE, str(younger))
    assert "its zone draws more than its jobs asked for, and there is room in b" in str(line.reasons)
    assert differences(rig.desk.ledger) == []


def test_his_place_is_kept_for_him(rig: Balanced) -> None:
    """Whoever is submitted while he is away does not get it, nor does he go back to where he came from."""
    *_, younger = crowd(rig)
    rig.passes(72)
    others = [rig.submit("silver", est_w=9_000, more=",zones=b") for _ in range(2)]
    rig.passes(LATER + 5, 12_000, 500)
    assert rig.zone(younger) == "b"
    assert sorted(str(rig.state(job)) for job in others) == [JobState.PENDING, JobState.RUNNING]


@pytest.mark.parametrize(
    ("old", "new", "a_w", "b_w"),
    [
        ("balance: {moves: 2, above: 90%}", "balance: {above: 90%}", CROWDED_W, 500),
        ("moves: 2", "moves: 2", 17_700, 500),
        ("moves: 2", "moves: 2", CROWDED_W, 14_500),  # 4 kW more would crowd it
        ('\n  - {type: redfish, url: "http://pdu-b", zone: b, every: 1s, stale: 20s}', "", CROWDED_W, 500),
        ("notice: 0s", "notice: 1s", CROWDED_W, 500),
        ("main: {node_watts", "main: {zones: a, node_watts", CROWDED_W, 500),
    ],
    ids=["not wanted", "not crowded", "no room elsewhere", "nobody knows", "nobody interruptible", "nowhere to go"],
)
def test_nobody_is_moved(old: str, new: str, a_w: float, b_w: float) -> None:
    text = BALANCED.replace(old, new)
    assert text != BALANCED or old == new
    rig = Balanced(text=text)
    crowd(rig)
    if "pdu-b" in text:
        rig.passes(130, a_w, b_w)
    else:
        rig.draws(a_w, 130)
    assert rig.written() == []
    rig.end()


def test_no_more_than_so_many_within_an_hour_over_a_crash_too() -> None:
    rig = Balanced(text=BALANCED.replace("moves: 2", "moves: 1"))
    *_, older, younger = crowd(rig)
    rig.passes(300)
    rig.crash()
    rig.passes(600)
    assert rig.written() == [str(younger)]
    rig.passes(3_600)
    assert rig.written() == [str(younger), str(older)]
    rig.end()


def test_who_changes_his_mind_on_the_way_goes_where_he_wants(rig: Balanced) -> None:
    *_, younger = crowd(rig)
    rig.slurm.completing_s = 20
    rig.passes(66)
    rig.clock.instant += 25
    rig.slurm.tick(rig.clock.instant)  # it has left its nodes, and we have not looked yet
    assert (rig.state(younger), len(rig.live)) == (JobState.PENDING, 1)
    rig.slurm.user_update(str(younger), comment="power:est=4000W,zones=a")
    entry = rig.desk.book.of_job(younger)
    assert entry is not None
    entry.dirty = True  # as the hook does
    rig.passes(LATER + 60, 11_000, 500)
    assert (rig.zone(younger), rig.live) == ("a", [])


def test_nobody_is_moved_past_the_hours_of_his_class() -> None:
    """It is eight o'clock; who may start until 8:01 would not start again today."""
    rig = Balanced(text=BALANCED + 'classes:\n  night: {tier: bronze, hours: "07:59-08:01"}\n')
    rig.running("silver", est_w=8_000)
    rig.running("silver", est_w=3_000)
    job = rig.running(est_w=4_000, more=",class=night")
    rig.passes(160)
    assert (rig.written(), rig.state(job)) == ([], JobState.RUNNING)
    rig.end()


def test_who_may_be_the_cause_is_not_moved_to_and_fro() -> None:
    """Only racks are measured: it asked for 3 kW, and is what draws 10.6; wherever it went would be crowded next."""
    rig = Balanced(text=BALANCED.replace("moves: 2", "moves: 100"))
    rig.running("silver", est_w=8_000)
    rig.running(est_w=3_000)
    rig.passes(200, 18_600, 8_000)
    assert rig.written() == []
    rig.end()


def test_what_it_has_drawn_counts_where_it_goes(rig: Balanced) -> None:
    """It asked for 4 kW and draws more than 9: b has room for the one, by what is measured, and not for the other."""
    rig.running("silver", est_w=8_000, more=",zones=a")
    bronze = rig.running(est_w=4_000, more=",max=12kW")
    rig.passes(130, CROWDED_W, 11_000)
    drawn = rig.desk.metering.drawn.get(rig.desk.book.of_job(bronze).key)  # type: ignore[union-attr]
    assert drawn is not None
    assert (drawn.sketch.percentile(95) or 0) > 6_000
    assert rig.written() == []


def test_who_is_to_start_there_and_cannot_is_placed_anew(rig: Balanced) -> None:
    rig.running("silver", est_w=12_000)
    rig.slurm._reserved["pw_a"] = 20_000  # what Slurm keeps it back by, for whatever reason
    waiting = rig.submit("silver", est_w=6_000)
    rig.later(2, 2)
    assert (rig.state(waiting), rig.desk.book.of_job(waiting).state) == (JobState.PENDING, State.ADMITTED)  # type: ignore[union-attr]
    rig.passes(75, CROWDED_W, 11_000)  # what is stray in a is none of its doing
    assert (rig.state(waiting), rig.zone(waiting)) == (JobState.RUNNING, "b")
    [line] = rig.lines("unbind")
    assert (line.rule, line.cause) == (Rule.BALANCE, "another zone has room")
    assert "a draws 6.7kW more than its jobs asked for" in str(line.reasons)


def test_who_could_start_there_stays(rig: Balanced) -> None:
    rig.running("silver", est_w=12_000)
    rig.slurm._reserved["pw_a"] = 20_000
    waiting = rig.submit("silver", est_w=1_000)
    rig.later(2, 2)
    rig.passes(75)
    assert rig.lines("unbind") == []
    rig.slurm._reserved["pw_a"] = 0
    rig.passes(3)
    assert rig.zone(waiting) == "a"
