"""What the fake does with reservations beyond the contract: time, other administrators, faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.ports import (
    CreateReservation,
    DeleteReservation,
    JobState,
    Outcome,
    PrivilegeRecord,
    Release,
    RequeueHold,
    Signal,
    Suspend,
    UpdateReservation,
)
from tests.fakes.slurm import FakeSlurm, Refusal, make_nodes

START = 1_800_000_000
HOUR = 3_600
PEOPLE = (PrivilegeRecord("alice", accounts=("research",)), PrivilegeRecord("bob", accounts=("ops",)))


def fake() -> FakeSlurm:
    return FakeSlurm(make_nodes("n[1-3]"), licenses={"w": 100, "v": 10}, privileges=PEOPLE, now=START)


def window(name: str = "pw_a", start: int = START, end: int = START + HOUR, count: int = 40) -> CreateReservation:
    return CreateReservation(name, start, end, users=("alice",), licenses={"w": count})


def reserved(slurm: FakeSlurm) -> int:
    return next(found.reserved for found in slurm.licenses() if found.name == "w")


def test_another_administrators_refused_update_empties_the_count_and_not_what_is_shown() -> None:
    slurm = fake()
    slurm.write([(window(),)])
    with pytest.raises(Refusal, match="Invalid user id"):
        slurm.admin_updates(UpdateReservation("pw_a", users=("nosuch",)))
    assert reserved(slurm) == 0
    assert slurm.reservations()[0].licenses == {"w": 40}
    outsider = slurm.submit(licenses="w:100", time_limit_s=60)
    slurm.tick(START + 1)
    assert slurm.job(outsider.job_id).state is JobState.RUNNING
    assert slurm.write([(UpdateReservation("pw_a", {"w": 40}),)]) == [Outcome(1)]
    assert reserved(slurm) == 40


def test_a_refused_update_may_be_left_unmended() -> None:
    slurm = fake()
    slurm.write([(window(),)])
    slurm.faults.unmended = 1
    (outcome,) = slurm.write([(UpdateReservation("pw_a", users=("nosuch",)),)])
    assert (outcome.done, "count for nothing" in outcome.error, reserved(slurm)) == (0, True, 0)


def test_one_that_is_over_goes_once_no_job_runs_in_it_and_holds_those_that_wait() -> None:
    slurm = fake()
    slurm.write([(window(end=START + 100),)])
    runs = slurm.submit(reservation="pw_a", account="research")
    waits = slurm.submit(reservation="pw_a", account="research", begin=START + HOUR)
    slurm.tick(START + 1)
    slurm.tick(START + 101)
    assert slurm.job(runs.job_id).state is JobState.RUNNING
    assert (slurm.reservations()[0].active, reserved(slurm)) == (False, 0)
    slurm.finish(runs.job_id)
    slurm.tick(START + 102)
    job = slurm.job(waits.job_id)
    assert list(slurm.reservations()) == []
    assert (job.held, job.reservation, job.reason) == (True, "", "Reservation pw_a was deleted")


def test_a_window_begins_in_its_time() -> None:
    slurm = fake()
    slurm.write([(window(start=START + 50),)])
    job = slurm.submit(reservation="pw_a", account="research")
    slurm.tick(START + 49)
    assert (reserved(slurm), slurm.job(job.job_id).reason) == (0, "Reservation")
    slurm.tick(START + 50)
    assert (reserved(slurm), slurm.job(job.job_id).state) == (40, JobState.RUNNING)


def test_reserved_nodes_are_kept_from_others_and_are_all_that_the_owner_gets() -> None:
    slurm = fake()
    command = CreateReservation("pw_n", START + 60, START + HOUR, accounts=("research",), nodes="n1")
    assert slurm.write([(command,)]) == [Outcome(1)]
    short, long = slurm.submit(time_limit_s=60, node_count=3), slurm.submit(time_limit_s=61, node_count=3)
    slurm.tick(START)
    assert slurm.job(short.job_id).state is JobState.RUNNING
    slurm.finish(short.job_id)
    owner = slurm.submit(reservation="pw_n", account="research")
    slurm.tick(START + 60)
    assert (slurm.job(long.job_id).reason, slurm.job(owner.job_id).node_list) == ("Resources", "n1")


def test_signals_are_kept_and_reach_batch_jobs_that_run() -> None:
    slurm = fake()
    job = slurm.submit()
    slurm.tick(START + 1)
    held = slurm.submit(held=True)
    outcomes = slurm.write([(Signal(str(job.job_id), "USR1"),), (Signal(str(held.job_id), "USR1"),)])
    assert [outcome.done for outcome in outcomes] == [1, 0]
    assert slurm.signals == [Signal(str(job.job_id), "USR1")]


WHAT = st.sampled_from(["create", "update", "end", "bad", "delete"])


@given(st.lists(st.tuples(WHAT, st.sampled_from("abc"), st.integers(0, 120))))
def test_what_is_counted_is_what_was_last_accepted(history: list[tuple[str, str, int]]) -> None:
    slurm = fake()
    counts: dict[str, int] = {}
    for what, letter, count in history:
        name = f"pw_{letter}"
        match what:
            case "create":
                (outcome,) = slurm.write([(window(name, count=count),)])
                assert outcome.done == (name not in counts and sum(counts.values()) + count <= 100)
                if outcome.done:
                    counts[name] = count
            case "update":
                (outcome,) = slurm.write([(UpdateReservation(name, {"w": count}),)])
                assert outcome.done == (name in counts and count <= 100)
                if outcome.done:
                    counts[name] = count
            case "end" | "bad":
                users = ("nosuch",) if what == "bad" else None
                slurm.write([(UpdateReservation(name, users=users, end=START + 2 * HOUR),)])
            case "delete":
                (outcome,) = slurm.write([(DeleteReservation(name),)])
                assert outcome.done == (name in counts)
                counts.pop(name, None)
        assert reserved(slurm) == sum(counts.values())
        assert {r.name: r.licenses["w"] for r in slurm.reservations()} == counts


def test_a_suspended_job_is_requeued_like_any_other() -> None:
    slurm = fake()
    job = slurm.submit()
    slurm.tick(START + 1)
    target = str(job.job_id)
    assert slurm.write([(Suspend(target), RequeueHold(target), Release(target))]) == [Outcome(3)]
