"""A grid event of three hours, asked for by the facility's file: planned for, kept to, and over."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slurm_power.ports import JobState
from tests.service.preempt_rig import SITE, Rig
from tests.service.test_signals import Grid

HOUR = 3_600
STEP_S = 20
ACCEPTING = SITE.replace("bronze, notice: 0s", "bronze, notice: 0s, planned_cuts: accept")


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    rig = Rig(text=ACCEPTING)
    yield Grid(tmp_path / "signal.json", rig)
    rig.end()


def ask(grid: Grid, start: int, end: int) -> None:
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (start, end)]
    grid.write({"element": "a", "percent": 25, "reason": "grid event 17", "start": times[0], "end": times[1]})


def run(grid: Grid, until: int) -> int:
    """The daemon follows the file until then; the most that zone a held beyond what it may carry, in W."""
    most_w, rig = 0, grid.rig
    while rig.clock.instant < until:
        rig.later(min(STEP_S, until - rig.clock.instant))
        if (rig.clock.instant // STEP_S) % 3 == 0:
            grid.look()
        meter = rig.desk.ledger.meters["a"]
        most_w = max(most_w, meter.committed_w + meter.burst_w - meter.limit_w)
    return most_w


def submit(rig: Rig, qos: str, est_w: int, hours: int, **fields: object) -> int:
    job = rig.submit(qos, est_w=est_w, more=",zones=a", time_limit_s=hours * HOUR, **fields)
    rig.later(2, 3)
    return job


def test_three_hours_of_a_quarter_less(grid: Grid) -> None:
    """Asked for two hours ahead. Gold and silver run through it, bronze works up to it and comes back by itself."""
    rig = grid.rig
    start = rig.clock.instant + 2 * HOUR
    end = start + 3 * HOUR
    ask(grid, start, end)
    grid.look()
    gold, silver, bronze = (submit(rig, *job, 8) for job in (("gold", 8_000), ("silver", 7_000), ("bronze", 5_000)))
    assert [rig.state(job) for job in (gold, silver, bronze)] == [JobState.RUNNING] * 3

    assert run(grid, start - 70) == 0
    assert rig.state(bronze) is JobState.RUNNING
    assert run(grid, start) == 0
    assert rig.state(bronze) is JobState.PENDING
    assert (grid.limit_w, rig.desk.ledger.meters["a"].committed_w) == (15_000, 15_000)
    assert run(grid, end - 1) == 0
    assert [rig.state(job) for job in (gold, silver, bronze)] == [JobState.RUNNING, JobState.RUNNING, JobState.PENDING]

    assert run(grid, end + 300) == 0
    assert grid.limit_w == 20_000
    assert rig.state(bronze) is JobState.RUNNING
    assert [rig.slurm.job(job).restarts for job in (gold, silver, bronze)] == [0, 0, 1]


def test_nobody_is_started_whom_it_would_end_unless_his_tier_accepts_that(grid: Grid) -> None:
    rig = grid.rig
    start = rig.clock.instant + 2 * HOUR
    ask(grid, start, start + 3 * HOUR)
    grid.look()
    submit(rig, "gold", 12_000, 8)
    waits, short = submit(rig, "silver", 4_000, 8), submit(rig, "silver", 4_000, 1)
    assert [rig.state(job) for job in (waits, short)] == [JobState.PENDING, JobState.RUNNING]
    bronze = submit(rig, "bronze", 4_000, 8)
    assert rig.state(bronze) is JobState.RUNNING
    assert run(grid, start + 3 * HOUR - 1) == 0
    assert rig.slurm.job(waits).restarts == 0
    assert run(grid, start + 3 * HOUR + 300) == 0
    assert rig.state(waits) is JobState.RUNNING


def test_it_is_put_off_and_called_off(grid: Grid) -> None:
    rig = grid.rig
    start = rig.clock.instant + HOUR
    ask(grid, start, start + 3 * HOUR)
    grid.look()
    gold, bronze = submit(rig, "gold", 13_000, 8), submit(rig, "bronze", 7_000, 8)
    ask(grid, start + HOUR, start + 4 * HOUR)
    assert run(grid, start + HOUR // 2) == 0
    assert (grid.limit_w, rig.state(bronze)) == (20_000, JobState.RUNNING)
    grid.write()
    assert run(grid, start + 5 * HOUR) == 0
    assert [rig.state(job) for job in (gold, bronze)] == [JobState.RUNNING] * 2
    assert rig.lines("preempt") == []
