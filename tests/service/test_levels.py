"""For what jobs wait, from the submission to the start, and which of their runs miss their service level."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.lifecycle import Event
from slurm_power.core.steps import finish
from slurm_power.core.usage import Usage
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Decision, HoldKind, JobRecord, JobState
from slurm_power.service.launch import launch
from slurm_power.service.observe import Observer
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.metered import PRICED, Metered
from tests.service.support import START, Lab, fake_slurm, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab(site_of(PRICED.replace("gold: {max_delay: 30m", "gold: {max_delay: 10m")))


class Job:
    """A gold job for rack01, told of by hook, poll and gate."""

    def __init__(self, lab: Lab, job_id: int, comment: str = "power:est=20kW,max=20kW,zones=rack01") -> None:
        self.lab, self.job_id = lab, job_id
        self.held = submit(lab.desk, job(comment, qos="gold")).verdict == "hold"
        token = next(reversed(lab.desk.book.entries.values())).token
        self.record = JobRecord(
            job_id,
            JobState.PENDING,
            1_001,
            "alice",
            "research",
            "gold",
            "main",
            "train",
            priority=0 if self.held else 1_000,
            time_limit_s=3_600,
            submit_time=lab.clock.instant,
            comment=comment,
            admin_comment=f"power:id={token},v=hold" if self.held else "",
        )
        self.entry = lab.desk.book.entries[token]

    def start(self, restarts: int = 0) -> None:
        env = {"SLURM_JOB_ID": str(self.job_id), "SLURM_JOB_NODELIST": "n01", "SLURM_JOB_UID": "1001"}
        env["SLURM_JOB_RESTART_COUNT"] = str(restarts)
        self.lab.desk.book.know(self.entry, self.record)
        assert launch(self.lab.desk, env).verdict == "allow"

    def end(self) -> None:
        self.lab.desk.now()
        self.lab.desk.book.drop(self.entry)


def misses(lab: Lab) -> list[Decision]:
    return [line for line in lab.journal.decisions if line.action == "sla"]


def test_a_run_that_starts_in_time_is_no_miss(lab: Lab) -> None:
    one = Job(lab, 1)
    lab.wait(600)
    one.start()
    lab.wait(60)
    one.end()
    assert misses(lab) == []
    [row] = lab.desk.metering.take(lab.desk.now())
    assert (row.runs, row.missed, row.ended_ws, row.off_ws) == (1, 0, 20_000 * 60, 20_000 * 3_540)


@pytest.mark.parametrize(
    ("drawn_w", "measured_s", "whole", "more_ws"),
    [(12_000, 60, True, 8_000 * 60), (12_000, 29, True, 0), (12_000, 60, False, 0), (20_000, 60, True, 0)],
)
def test_a_forecast_is_off_by_what_it_drew_too(
    lab: Lab, drawn_w: int, measured_s: int, whole: bool, more_ws: int
) -> None:
    one = Job(lab, 1)
    one.start()
    lab.desk.metering.drawn.add(one.entry.key, drawn_w, measured_s, whole=whole)
    lab.wait(60)
    one.end()
    [row] = lab.desk.metering.take(lab.desk.now())
    assert row.off_ws - 20_000 * 3_540 == pytest.approx(more_ws, rel=0.02)


def test_a_placed_job_that_slurm_starts_late(lab: Lab) -> None:
    one = Job(lab, 1)
    lab.wait(700)
    one.start()
    one.end()
    [line] = misses(lab)
    assert (line.job, line.uid, line.account) == ("1", 1_001, "research")
    assert (line.cause, line.rule) == ("scheduler", "sla.gold")
    assert line.numbers == {"delay_s": 700, "max_delay_s": 600, "scheduler_s": 700}
    assert line.zones == ("rack01",)


def test_each_run_is_judged_by_its_own_wait(lab: Lab) -> None:
    one = Job(lab, 1)
    lab.wait(700)
    one.start()
    lab.desk.book.move(one.entry, Event.REQUEUE)
    lab.wait(10)
    one.start(restarts=1)
    one.end()
    assert [line.numbers["delay_s"] for line in misses(lab)] == [700]
    assert sum(row.runs for row in lab.desk.metering.take(lab.desk.now())) == 2


def test_of_equals_those_of_the_better_forecaster_go_first(lab: Lab) -> None:
    records = [
        JobRecord(
            number, JobState.PENDING, 1_001, "alice", account, "gold", "main", "train", submit_time=START - 10,
            comment="power:est=20kW,max=20kW,zones=rack01", time_limit_s=3_600, priority=0, batch=True,
            admin_comment=f"power:id=t{number},v=hold",
        )
        for number, account in ((1, "careless"), (2, "careful"))
    ]  # fmt: skip
    runs = [
        Usage("", account, 1_001, "gold", START - 3_600, runs=1, ended_ws=100, off_ws=off_ws)
        for account, off_ws in (("careless", 900), ("careful", 0))
    ]
    lab.desk.metering.recall(runs)
    lab.observer = Observer(lab.desk, {"t1": HoldKind.POWER, "t2": HoldKind.POWER})
    lab.observe(*records)
    lab.observe(*records)
    assert [plan.target for plan in run_pass(lab.desk) if plan is not None] == ["2"]


def test_a_job_that_was_short_of_watts(lab: Lab) -> None:
    first, second = Job(lab, 1), Job(lab, 2)
    assert (first.held, second.held) == (False, True)
    first.start()
    lab.wait(500)
    first.end()
    lab.wait(200)
    second.start()
    second.end()
    [line] = misses(lab)
    assert (line.job, line.cause, line.numbers["power_s"]) == ("2", "power", 700)


def test_a_job_that_its_user_holds_does_not_wait_for_us(lab: Lab) -> None:
    submit(lab.desk, job("power:est=20kW,zones=rack01", qos="gold", priority=0))
    [entry] = lab.desk.book.entries.values()
    lab.wait(7_000)
    record = JobRecord(3, JobState.RUNNING, 1_001, node_list="n01", start_time=lab.clock.instant, time_limit_s=60)
    lab.desk.book.know(entry, replace(record, qos="gold"))
    assert launch(lab.desk, {"SLURM_JOB_ID": "3", "SLURM_JOB_NODELIST": "n01"}).verdict == "allow"
    lab.desk.book.drop(entry)
    assert misses(lab) == []
    assert sum(row.runs for row in lab.desk.metering.take(lab.desk.now())) == 1


def test_a_job_that_waited_while_we_were_away_has_waited(lab: Lab) -> None:
    record = JobRecord(
        4, JobState.PENDING, 1_001, "alice", "research", "gold", "main", "train", submit_time=START - 5_000,
        comment="power:est=20kW,max=20kW,zones=rack01", time_limit_s=3_600, priority=0,
        admin_comment="power:id=old,v=hold",
    )  # fmt: skip
    lab.observer = Observer(lab.desk, {"old": HoldKind.POWER})
    lab.observe(record)
    entry = lab.desk.book.of_job(4)
    assert entry is not None
    assert launch(lab.desk, {"SLURM_JOB_ID": "4", "SLURM_JOB_NODELIST": "n01"}).verdict == "allow"
    lab.desk.book.drop(entry)
    assert [line.numbers["power_s"] for line in misses(lab)] == [5_000]


# -- what a run was promised while it runs ---------------------------------------------------------------------------

PROMISED = PRICED.replace(
    "sla: {gold: {max_delay: 30m,", "sla: {gold: {max_delay: 30m, max_shortfall: 5m, max_burst_shortfall: 10m,"
).replace("bronze: {max_delay: 1h,", "bronze: {max_delay: 1h, min_run: 30m,")
ZONE = 'rack01: {nodes: "n[01-03]", feeds: [pdu-a1, pdu-b1, loop], redundancy: 2N, limit: 30kW'
CUT = PROMISED.replace(ZONE, ZONE.replace("30kW", "20kW"))
"""20 kW, of which 18 kW are usable."""
FEED = "pdu-b1: {side: B, parent: ups-b, limit: 46kW}"
CUT_FEED = PROMISED.replace(FEED, FEED.replace("46kW", "35kW"))
"""More than either zone below it may carry, less than both hold."""


@pytest.fixture
def metered() -> Iterator[Metered]:
    with Metered(PROMISED).open() as found:
        yield found


def rounds(metered: Metered, seconds: int) -> None:
    """Time passes, with a round of the daemon now and at its end."""
    for pause_s in (0, seconds):
        metered.lab.wait(pause_s)
        finish(metered.desk.metering.look(metered.desk.ledger))


def under(metered: Metered, text: str, seconds: int) -> None:
    """The site file has other limits for a while."""
    metered.desk.change_site(site_of(text))
    rounds(metered, seconds)
    metered.desk.change_site(site_of(PROMISED))
    rounds(metered, 0)


@pytest.mark.parametrize("text", [CUT, CUT_FEED])
def test_a_run_whose_zone_or_feed_holds_more_than_usable_for_too_long(metered: Metered, text: str) -> None:
    metered.run("1", 18_000)
    metered.run("2", 2_000, zone="rack03")
    metered.run("3", 18_000, zone="rack02", tier="silver")
    rounds(metered, 60)
    under(metered, text, 200)
    rounds(metered, 60)
    under(metered, text, 101)
    rounds(metered, 60)
    metered.end("1")
    metered.end("2")
    [line] = misses(metered.lab)
    assert (line.job, line.cause, line.rule, line.zones) == ("1", "watts", "sla.gold", ("rack01",))
    assert (line.numbers["shortfall_s"], line.numbers["max_shortfall_s"]) == (301, 300)
    assert sum(row.missed for row in metered.desk.metering.take(metered.desk.now())) == 1


def test_no_longer_than_was_promised(metered: Metered) -> None:
    metered.run("1", 18_000)
    under(metered, CUT, 300)
    metered.end("1")
    assert misses(metered.lab) == []


def test_only_what_was_short_while_it_ran_counts(metered: Metered) -> None:
    """From its start on, and until its end, though the limit has not been raised again."""
    metered.run("1", 18_000)
    metered.desk.change_site(site_of(CUT))
    rounds(metered, 200)
    metered.run("2", 500)
    rounds(metered, 300)
    metered.end("2")
    metered.lab.wait(50)
    metered.end("1")
    [line] = misses(metered.lab)
    assert (line.job, line.numbers["shortfall_s"]) == ("1", 550)


def test_bursts_that_are_not_backed(metered: Metered) -> None:
    """16 kW of 18 kW usable are committed with the baseline, and 6 kW on top are more than the limit."""
    entry = metered.run("1", 15_000)
    claim = metered.desk.ledger.claims["1"]
    [charge] = claim.charges
    bursty = replace(claim, charges=(replace(charge, max_w=charge.est_w + 6_000),))
    metered.desk.book.move(entry, Event.LAUNCH, bursty)
    under(metered, CUT, 601)
    metered.end("1")
    [line] = misses(metered.lab)
    assert line.cause == "burst"
    assert (line.numbers["burst_shortfall_s"], line.numbers["max_burst_shortfall_s"]) == (601, 600)
    assert line.numbers["shortfall_s"] == 0


def test_a_run_that_is_a_fact_beyond_the_limit_is_short_of_its_watts_too() -> None:
    text = PRICED.replace("bronze: {max_delay: 1h,", "bronze: {max_delay: 1h, max_shortfall: 0s,")
    with Metered(text).open() as found:
        found.run("1", 40_000, tier="bronze")
        rounds(found, 1)
        found.end("1")
        [line] = misses(found.lab)
    assert line.cause == "watts"
    assert line.numbers == {"delay_s": 0, "max_delay_s": 3_600, "shortfall_s": 1, "max_shortfall_s": 0}


def test_a_run_that_gives_way_before_it_has_run_so_long(metered: Metered) -> None:
    for key in ("1", "2", "3"):
        metered.run(key, 1_000, tier="bronze", limit_s=600 if key == "3" else 3_600)
    metered.lab.wait(1_799)
    for key in ("1", "2", "3"):
        metered.desk.metering.preempted(key)
    metered.end("1")
    metered.end("3")
    metered.lab.wait(1)
    metered.end("2")
    [line] = misses(metered.lab)
    assert (line.job, line.cause) == ("1", "preempted")
    assert line.numbers == {"delay_s": 0, "max_delay_s": 3_600, "run_s": 1_799, "min_run_s": 1_800}


def test_a_tier_without_these_promises_is_not_judged_by_them() -> None:
    with Metered().open() as metered:
        metered.run("1", 40_000)
        rounds(metered, 10_000)
        metered.end("1")
        assert misses(metered.lab) == []


def test_the_daemon_looks_in_each_round() -> None:
    lab = Lab(site_of(PROMISED))
    slurm, writer = fake_slurm(lab.site), StoreWriter(MemoryStore())
    running = slurm.submit(uid=1_001, comment="power:est=40kW", qos="gold", time_limit_s=3_600)
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    async def some() -> None:
        slurm.schedule()
        await rounds.round()
        lab.wait(301)
        slurm.finish(running.job_id)
        slurm.tick(lab.clock.instant)
        await rounds.round()

    asyncio.run(some())
    writer.close(10)
    assert [line.numbers["shortfall_s"] for line in misses(lab)] == [301]
