"""For what jobs wait, from the submission to the start, and which of their runs miss their service level."""

from dataclasses import replace

import pytest

from slurm_power.ports import Decision, HoldKind, JobRecord, JobState
from slurm_power.service.launch import launch
from slurm_power.service.observe import Observer
from slurm_power.service.submit import submit
from tests.service.metered import PRICED
from tests.service.support import START, Lab, job, site_of


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

    def start(self) -> None:
        env = {"SLURM_JOB_ID": str(self.job_id), "SLURM_JOB_NODELIST": "n01", "SLURM_JOB_UID": "1001"}
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
