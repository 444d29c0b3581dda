"""Usage from jobs and reservations as they come and go, over restarts, months and prices; numbers by hand."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from slurm_power.core.errors import UsageError
from slurm_power.core.reservation import Owner, Reservation, ReservationState, Terms
from slurm_power.core.usage import HOUR_S, Usage
from slurm_power.core.window import Window
from slurm_power.daemon.metering import GAP
from slurm_power.ports import USAGE_THROUGH, PrivilegeRecord
from slurm_power.service.reserving import Answer, offer
from slurm_power.service.submit import submit
from tests.service.metered import PRICED, Metered
from tests.service.support import START, FakeClock, job

DAY = 86_400


@pytest.fixture
def metered() -> Iterator[Metered]:
    with Metered().open() as found:
        yield found


def total(found: Metered) -> tuple[int, int, int]:
    """Σ reserved, used and jobs in watt-seconds, as the database has them."""
    found.keeper.flush()
    assert found.writer.flush(10)
    rows = found.store.usage()
    return sum(row.reserved_ws for row in rows), sum(row.used_ws for row in rows), sum(row.jobs_ws for row in rows)


def test_a_job_counts_while_it_is_on_nodes(metered: Metered) -> None:
    metered.pass_(100)
    metered.run("1", 5_000)
    metered.pass_(50)
    assert total(metered) == (0, 0, 250_000)
    metered.pass_(50)
    metered.end("1")
    metered.pass_(1_000)
    assert total(metered) == (0, 0, 500_000)


def test_a_reservation_counts_while_its_window_is_open_used_or_not(metered: Metered) -> None:
    one = metered.reserve("spring", "rack01", 10_000, 3_600, grace_s=600)
    metered.run("1", 4_000, within=one)
    metered.pass_(300)
    metered.end("1")
    metered.pass_(1_000)
    degraded = metered.desk.reserved.get("spring")
    assert degraded is not None
    assert degraded.state is ReservationState.DEGRADED
    metered.pass_(5_000)
    assert total(metered) == (36_000_000, 1_200_000, 1_200_000)


def test_an_approved_one_counts_from_its_start_to_the_second(metered: Metered) -> None:
    window = Window(START + 100, START + 200)
    metered.reserve("spring", "rack01", 10_000, 0, window=window, state=ReservationState.APPROVED)
    metered.pass_(150)
    metered.pass_(500)
    assert total(metered) == (1_000_000, 0, 0)


def test_a_cancelled_one_counts_no_more(metered: Metered) -> None:
    one = metered.reserve("spring", "rack01", 10_000, 3_600)
    metered.pass_(60)
    metered.put(replace(one, state=ReservationState.CANCELLED))
    metered.pass_(60)
    assert total(metered) == (600_000, 0, 0)


def test_watts_of_a_job_that_is_admitted_and_does_not_start_are_not_used(metered: Metered) -> None:
    assert submit(metered.desk, job("power:est=5kW")).verdict == "admit"
    metered.pass_(60)
    assert total(metered) == (0, 0, 0)


# -- restarts ----------------------------------------------------------------------------------------------------------


def again(before: Metered, seconds: int) -> Metered:
    """The daemon comes back after so long, without a word at its end."""
    before.writer.close(10)
    return Metered(store=before.store, clock=FakeClock(before.clock.instant + seconds))


@pytest.mark.parametrize("written", [True, False])
def test_after_a_crash_what_still_runs_is_counted_on_and_nothing_twice(written: bool) -> None:
    before = Metered()
    one = before.reserve("spring", "rack01", 10_000, 36_000)
    before.run("1", 4_000, within=one, limit_s=36_000)
    before.pass_(60)
    before.keeper.flush()
    before.pass_(40)
    if written:
        before.keeper.flush()
    with again(before, 100).open() as after:
        after.run("1", 4_000, within=one, limit_s=36_000, start=START)
        after.pass_(100)
        assert total(after) == (10_000 * 300, 4_000 * 300, 4_000 * 300)


def test_time_in_which_nobody_metered_is_told() -> None:
    before = Metered()
    before.pass_(60)
    before.keeper.flush()
    with again(before, 1_000).open() as after:
        [line] = after.journal.decisions
        assert (line.action, line.rule) == (GAP, "metering")
        assert line.numbers == {"from_s": START + 60, "away_s": 1_000}
        after.store.record([line])
        assert after.ask("usage", since=START, until=after.clock.instant)["unknown"] == [
            {"from": "2027-01-15T08:01:00Z", "until": "2027-01-15T08:17:40Z"}
        ]


def test_a_restart_is_no_gap() -> None:
    before = Metered()
    before.pass_(60)
    before.keeper.flush()
    with again(before, 100).open() as after:
        assert after.journal.decisions == []


def test_scores_are_recalled(metered: Metered) -> None:
    window = Window(START - 50 * DAY, START - 49 * DAY)
    over = Reservation("old", Terms("old", Owner(("ops",)), ("rack01",), 1, window), ReservationState.EXPIRED, 0, 0, 7)
    metered.put(over)
    rows = [
        Usage("old", "ops", 7, "gold", START - days * DAY, reserved_ws=100, used_ws=25, runs=1, ended_ws=10, off_ws=30)
        for days in (0, 100)
    ]
    metered.store.add_usage(rows, START)
    assert metered.desk.metering.accuracy("ops", START) == 0.5
    asyncio.run(metered.keeper.recall())
    assert metered.desk.metering.score(Owner(("ops",)), START) == Fraction(1, 4)
    assert metered.desk.metering.accuracy("ops", START) == 0.25


# -- months ------------------------------------------------------------------------------------------------------------


def usage(at: int, **sums: int) -> Usage:
    return Usage("", "research", 1_001, "gold", at - at % HOUR_S, **sums)


def test_a_closed_month_does_not_change(metered: Metered) -> None:
    """Neither with the tariff, nor when its hours are pruned; nor does a part of it while those are kept."""
    day: dict[str, Any] = {"since": START, "until": START + DAY}
    month: dict[str, Any] = {"since": START - 14 * DAY - 8 * HOUR_S, "until": START + 17 * DAY - 8 * HOUR_S}
    metered.store.add_usage([usage(START, jobs_ws=3_600_000_000)], START)
    metered.clock.instant = START + 20 * DAY
    metered.desk.now()
    asyncio.run(metered.keeper.tidy())
    assert [one.name for one in metered.keeper.months] == ["2027-01"]
    before = metered.rows(**month)
    assert before["research"]["costs"] == [{"currency": "EUR", "amount": "300.00"}]

    dearer = Metered(PRICED.replace("kwh: 0.20", "kwh: 0.99"), metered.store, metered.clock)
    assert [dearer.rows(**period) for period in (month, day)] == [before, before]
    dearer.clock.instant = START + 500 * DAY
    dearer.desk.now()
    asyncio.run(dearer.keeper.tidy())
    assert dearer.store.usage() == []
    assert dearer.rows(**month) == before
    dearer.writer.close(10)


def test_a_month_is_closed_a_day_after_its_end_and_once(metered: Metered) -> None:
    metered.store.add_usage([usage(START, jobs_ws=1)], START)
    both = ["2026-12", "2027-01"]
    for days, names in ((16, ["2026-12"]), (17.5, ["2026-12"]), (18, both), (40, both)):
        metered.clock.instant = START + int(days * DAY)
        metered.desk.now()
        asyncio.run(metered.keeper.tidy())
        assert [one.name for one in metered.keeper.months] == names


def test_months_that_nobody_closed_are_closed_together(metered: Metered) -> None:
    metered.store.add_usage([usage(START + days * DAY, jobs_ws=1) for days in (0, 70)], START + 70 * DAY)
    metered.clock.instant = START + 130 * DAY
    metered.desk.now()
    asyncio.run(metered.keeper.tidy())
    assert [one.name for one in metered.keeper.months] == ["2027-01", "2027-03", "2027-04"]


def test_hours_of_a_month_that_is_open_are_kept(metered: Metered) -> None:
    short = Metered(PRICED.replace("hook:", "state: {keep: 1d}\nhook:"), metered.store, metered.clock)
    short.store.add_usage([usage(START, jobs_ws=1), usage(START - 20 * DAY, jobs_ws=1)], START)
    short.clock.instant = START + 5 * DAY
    short.desk.now()
    asyncio.run(short.keeper.tidy())
    assert [row.hour for row in short.store.usage()] == [START - 20 * DAY, START]
    short.writer.close(10)


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared() -> Iterator[Metered]:
    """A day of two accounts: research has reserved 10 kW for 10 h and runs 5 kW in it; ops runs 2 kW outside."""
    people = (
        PrivilegeRecord("61001", accounts=("research",)),
        PrivilegeRecord("61002", accounts=("ops",)),
        PrivilegeRecord("61003", accounts=("research",)),
        PrivilegeRecord("61004", coordinates=("ops",)),
    )
    with Metered(privileges=people).open() as found:
        one = found.reserve("spring", "rack01", 10_000, 36_000)
        found.run("1", 5_000, within=one, uid=61_001, limit_s=18_000)
        found.run("2", 2_000, "rack03", account="ops", tier="bronze", uid=61_002, limit_s=36_000)
        found.run("3", 2_000, "rack03", account="ops", tier="bronze", uid=61_002, comment="power:est=2kW,ckpt=30m")
        for _ in range(10):
            found.pass_(3_600)
            if found.desk.ledger.now == START + 18_000:
                found.end("1")
        found.end("2")
        found.end("3")
        yield found


def test_by_account(shared: Metered) -> None:
    rows = shared.rows()
    numbers = ("reserved_wh", "used_wh", "jobs_wh", "use", "honoured", "runs", "accuracy", "score", "ceiling")
    assert [rows["research"][name] for name in numbers] == [100_000, 25_000, 25_000, 0.25, 1.0, 1, 1.0, 0.25, 0.24]
    # asked: 20 kWh and 2 kWh; held: 20 kWh each, so that 18 kWh of 40 kWh are off
    assert [rows["ops"][name] for name in numbers] == [0, 0, 40_000, None, None, 2, 0.69, None, 0.6]
    # 1.5 × (25 × 0.20 + 75 × 0.05); 0.5 × (20 + 20 × 0.8) × 0.20
    assert rows["research"]["costs"] == [{"currency": "EUR", "amount": "13.13"}]
    assert rows["ops"]["costs"] == [{"currency": "EUR", "amount": "3.60"}]


@pytest.mark.parametrize(
    ("by", "jobs_wh"),
    [
        ("user", {"7": 0, "61001": 25_000, "61002": 40_000}),
        ("reservation", {"spring": 25_000, "": 40_000}),
        ("tier", {"gold": 25_000, "bronze": 40_000}),
    ],
)
def test_by_other_things(shared: Metered, by: str, jobs_wh: dict[str, int]) -> None:
    assert {name: row["jobs_wh"] for name, row in shared.rows(by).items()} == jobs_wh


def test_a_part_of_the_day(shared: Metered) -> None:
    rows = shared.rows(since=START + 4 * HOUR_S + 5, until=START + 6 * HOUR_S)
    assert (rows["research"]["reserved_wh"], rows["research"]["jobs_wh"]) == (20_000, 5_000)


@pytest.mark.parametrize(
    ("uid", "private", "names"),
    [
        (0, True, {"7", "61001", "61002"}),
        (61_001, False, {"7", "61001"}),
        (61_001, True, {"7", "61001"}),
        (61_002, True, {"61002"}),
        (61_003, False, {"7", "61001"}),
        (61_003, True, {"7"}),
        (61_004, True, {"61002"}),
        (61_005, False, set()),
    ],
)
def test_who_sees_whose(shared: Metered, uid: int, private: bool, names: set[str]) -> None:
    shared.desk.private_jobs = private
    assert {row["name"] for row in shared.ask("usage", uid, by="user")["rows"]} == names


@pytest.mark.parametrize(
    "wrong", [{"by": "colour"}, {"since": START + 99 * DAY}, {"since": 5, "until": 5}, {"since": "x"}]
)
def test_questions_that_make_no_sense(metered: Metered, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        metered.ask("usage", **wrong)


def test_a_reservation_that_was_missed_was_not_honoured(metered: Metered) -> None:
    one = metered.reserve("spring", "rack01", 10_000, 4 * HOUR_S)
    metered.pass_(HOUR_S)
    now = metered.desk.ledger.now
    metered.put(replace(one, state=ReservationState.MISSED, since=now))
    metered.pass_(3 * HOUR_S)
    assert metered.rows("reservation")["spring"]["honoured"] == 0.25


def test_service_levels(metered: Metered) -> None:
    for number in range(3):
        metered.run(str(number + 1), 1_000)
    metered.run("4", 1_000, tier="bronze")
    metered.pass_(60)
    for key in ("2", "4"):
        metered.desk.metering.preempted(key)
    for number in range(4):
        metered.end(str(number + 1))
    assert submit(metered.desk, job("power:est=2kW")).verdict == "admit"
    assert metered.writer.flush(10)
    metered.store.record(metered.journal.decisions)
    tiers = {row["tier"]: row for row in metered.ask("levels")["tiers"]}
    assert list(tiers) == ["gold", "silver", "bronze"]
    assert tiers["gold"] == {
        "tier": "gold", "max_delay_s": 1_800, "max_shortfall_s": None, "max_burst_shortfall_s": None, "min_run_s": None,
        "error_budget": 0.5, "runs": 3, "missed": 1, "missed_part": 0.3333, "kept": True, "causes": {"preempted": 1},
    }  # fmt: skip
    assert (tiers["bronze"]["runs"], tiers["bronze"]["missed"]) == (1, 0)
    assert (tiers["silver"]["max_delay_s"], tiers["silver"]["kept"], tiers["bronze"]["kept"]) == (None, None, True)


# -- a month -----------------------------------------------------------------------------------------------------------


def test_a_hoarders_ceiling_falls_and_a_good_forecasters_rises() -> None:
    """A month in which ops keeps 10 kW a day and uses 1 kW, and research uses nearly all of its 10 kW; before it each
    had used half of what it reserved.
    """
    with Metered().open() as found:
        for days in range(30, 0, -1):
            half = Usage("old", "", 7, "gold", START - days * DAY, reserved_ws=360_000_000, used_ws=180_000_000)
            found.desk.metering.recall([half], {"old": Owner(("ops", "research"))})
        asked = {name: Terms("more", Owner((name,)), ("rack02",), 0, Window(0)) for name in ("ops", "research")}
        before = found.rows()
        assert before == {}
        early = {name: found.desk.metering.score(terms.owner, found.desk.now()) for name, terms in asked.items()}
        assert early == {"ops": Fraction(1, 2), "research": Fraction(1, 2)}
        assert _most_w(found, "ops") == _most_w(found, "research") == int(27_000 * 0.6 * 0.5)

        for day in range(30):
            _a_day(found, day)
        rows_now = found.rows()
        ops, research = rows_now["ops"], rows_now["research"]
        assert (ops["use"], research["use"]) == (0.1, 0.95)
        assert (ops["accuracy"], research["accuracy"]) == (0.143, 1.0)
        assert (ops["score"], ops["ceiling"]) == (pytest.approx(0.234, abs=0.002), 0.24)
        assert (research["score"], research["ceiling"]) == (pytest.approx(0.8, abs=0.01), pytest.approx(0.48, abs=0.01))
        assert _most_w(found, "ops") == int(27_000 * 0.24)
        assert _most_w(found, "research") == int(27_000 * Fraction(6, 10) * Fraction(str(research["score"])))
        accuracy = {name: found.desk.metering.accuracy(name, found.desk.now()) for name in asked}
        assert accuracy["research"] > 0.5 > accuracy["ops"]


def _a_day(found: Metered, day: int) -> None:
    """Both reserve 10 kW for 10 h; ops runs 1 kW in it and asks for 70 h, research 9.5 kW and asks for the 10 h."""
    hoarded = found.reserve(f"h{day}", "rack01", 10_000, 36_000, accounts=("ops",), grace_s=36_000)
    used = found.reserve(f"u{day}", "rack02", 10_000, 36_000, accounts=("research",))
    found.run(f"{day}1", 1_000, within=hoarded, account="ops", limit_s=70 * 3_600)
    found.run(f"{day}2", 9_500, "rack02", within=used, limit_s=36_000)
    found.pass_(36_000)
    found.end(f"{day}1")
    found.end(f"{day}2")
    found.pass_(DAY - 36_000)
    found.keeper.flush()


def _most_w(found: Metered, account: str) -> int:
    """The most that an account is offered in a zone that nobody uses."""
    now = found.desk.now()
    least, most = 0, 27_000
    while least < most:
        middle = (least + most + 1) // 2
        terms = Terms("more", Owner((account,)), ("rack01",), middle, Window(now + DAY, now + DAY + 3_600))
        if offer(found.desk, terms).answer is Answer.FITS:
            least = middle
        else:
            most = middle - 1
    return least


def test_usage_through_is_written_with_the_rows(metered: Metered) -> None:
    async def steps() -> None:
        metered.lab.wait(60)
        metered.keeper.step(0.0)
        metered.lab.wait(30)
        metered.keeper.step(30.0)

    asyncio.run(steps())
    assert metered.writer.flush(10)
    assert metered.store.setting(USAGE_THROUGH) == str(START + 60)
    metered.clock.instant += 5
    metered.keeper.end()
    assert metered.writer.flush(10)
    assert metered.store.setting(USAGE_THROUGH) == str(START + 95)
