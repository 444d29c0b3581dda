"""The clock is ahead for one moment, as when a time server is wrong, and then right again."""

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.window import FOREVER
from slurm_power.ports import JobRecord, JobState, Outcome
from slurm_power.service.launch import launch
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit
from tests.core.recount import differences
from tests.service.support import START, Lab, job

COMMENT = "power:est=20kW,max=20kW,zones=rack01"
YEARS = 9 * 365 * 86_400


@pytest.fixture
def lab() -> Lab:
    return Lab()


def ahead(lab: Lab, seconds: int, what: Callable[[], object]) -> None:
    """Do something while the clock, and not monotonic time, is ahead."""
    lab.clock.instant += seconds
    lab.clock.wait(-seconds)
    try:
        lab.desk.now()
        what()
    finally:
        lab.clock.instant -= seconds
        lab.clock.wait(seconds)


def shown(lab: Lab, job_id: int = 5, comment: str = COMMENT, **fields: object) -> JobRecord:
    reply = submit(lab.desk, job(comment, **fields))
    assert reply.verdict in ("admit", "hold")
    held = reply.verdict == "hold"
    return JobRecord(
        job_id,
        JobState.PENDING,
        1001,
        user="alice",
        partition="main",
        name="train",
        reason="JobHeldUser" if held else "Resources",
        priority=0 if held else 100,
        comment=comment,
        submit_time=START,
        eligible_time=None if held else START,
        time_limit_s=3_600,
        admin_comment=str(reply.fields["admin_comment"]),
    )


def plans(lab: Lab) -> list[Plan]:
    return [plan for plan in run_pass(lab.desk) if plan is not None]


def nothing() -> None:
    pass


def test_the_ledger_goes_back_to_the_true_time_and_says_so(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    ahead(lab, YEARS, nothing)
    with caplog.at_level(logging.WARNING):
        lab.observe()
        lab.observe()
    assert lab.desk.ledger.now == START
    assert [record.message for record in caplog.records].count(
        "the clock was ahead, the ledger goes back to its time"
    ) == 1


def test_a_little_back_is_waited_for(lab: Lab) -> None:
    ahead(lab, 60, nothing)
    ledger = lab.desk.ledger
    lab.observe()
    assert lab.desk.ledger is ledger
    assert ledger.now == START + 60


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_rumour_goes_in_its_time(lab: Lab, when: str) -> None:
    def rumour() -> None:
        assert submit(lab.desk, job(COMMENT)).verdict == "admit"

    if when == "before":
        rumour()
    ahead(lab, YEARS, rumour if when == "during" else nothing)
    if when == "after":
        rumour()
    lab.observe()
    assert lab.committed("rack01") == 20_000
    lab.wait(11)
    lab.observe()
    assert lab.committed("rack01") == 0


def test_a_clock_that_leaps_ahead_does_not_end_a_rumour(lab: Lab) -> None:
    submit(lab.desk, job(COMMENT))
    ahead(lab, YEARS, lab.observe)
    assert lab.committed("rack01") == 20_000


def test_nor_does_it_put_off_what_has_just_been_released(lab: Lab) -> None:
    record = shown(lab)
    lab.observe(record)

    def round_of_it() -> None:
        lab.observe(record)
        assert plans(lab) == []

    ahead(lab, YEARS, round_of_it)
    found = lab.desk.book.of_job(5)
    assert found is not None
    assert found.hold is None


@pytest.mark.parametrize("when", ["during", "after"])
def test_what_does_not_start_in_time_is_found(lab: Lab, when: str) -> None:
    records: list[JobRecord] = []

    def admit() -> None:
        records.append(shown(lab))
        lab.observe(*records)

    ahead(lab, YEARS, admit if when == "during" else nothing)
    if when == "after":
        admit()
    lab.observe(*records)
    assert plans(lab) == []
    lab.wait(301)
    lab.observe(*records)
    assert [plan.action for plan in plans(lab)] == ["hold"]


def test_a_begin_time_that_seemed_to_have_come_is_waited_for(lab: Lab) -> None:
    record = shown(lab, begin_time=START + 80_000)
    lab.observe(record)
    ahead(lab, YEARS, lambda: lab.observe(record))
    lab.observe(record)
    assert plans(lab) == []
    found = lab.desk.book.of_job(5)
    assert found is not None
    assert found.state is State.PARKED


def test_a_new_one_is_held_for_its_begin_time(lab: Lab) -> None:
    ahead(lab, YEARS, nothing)
    lab.observe()
    assert submit(lab.desk, job(COMMENT, begin_time=START + 80_000)).verdict == "hold"


@pytest.mark.parametrize("seconds", [3_600, YEARS])
def test_nothing_is_admitted_by_it(lab: Lab, seconds: int) -> None:
    """Claims made before, while and after the clock was wrong all count, and count from now."""
    record = shown(lab)
    lab.observe(record)
    second: list[JobRecord] = []

    def meanwhile() -> None:
        gate = {"SLURM_JOB_ID": "5", "SLURM_JOB_NODELIST": "n01", "SLURM_JOB_RESTART_COUNT": "0"}
        assert launch(lab.desk, gate).verdict == "allow"
        second.append(shown(lab, 6, "power:est=20kW,max=20kW,zones=rack02"))

    ahead(lab, seconds, meanwhile)
    lab.observe(replace(record, state=JobState.CONFIGURING, node_list="n01"), *second)
    for zone in ("rack01", "rack02"):
        assert lab.committed(zone) == 20_000
        assert submit(lab.desk, job(f"power:est=20kW,max=20kW,zones={zone}")).verdict == "hold"
    assert differences(lab.desk.ledger) == []
    assert all(claim.window.start <= START for claim in lab.desk.ledger.claims.values())
    assert all(claim.window.end in (START + 3_600, FOREVER) for claim in lab.desk.ledger.claims.values())


def test_a_shadow_is_booked_anew(lab: Lab) -> None:
    runs = shown(lab)
    lab.observe(runs)
    waits = shown(lab, 6)
    lab.observe(runs, waits)
    ahead(lab, YEARS, lambda: plans(lab))
    lab.observe(runs, waits)
    assert list(lab.desk.ledger.bookings()) == []
    plans(lab)
    assert [booked.window.start for booked in lab.desk.ledger.bookings()] == [START + 3_600]


def test_a_refusal_is_tried_again(lab: Lab) -> None:
    runs = shown(lab)
    lab.observe(runs)
    waits = shown(lab, 6)
    lab.observe(runs, waits)

    def refused() -> None:
        lab.observe(waits)
        (plan,) = plans(lab)
        applied(lab.desk, plan, Outcome(0, "no"))

    ahead(lab, YEARS, refused)
    lab.observe(waits)
    assert [plan.action for plan in plans(lab)] == ["bind"]
