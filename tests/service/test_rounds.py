"""The daemon's loop goes on, whatever comes out of one round."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.policy import Mode
from slurm_power.daemon import reading, writing
from slurm_power.daemon.rounds import Pace, Rounds
from slurm_power.ports import Chain, JobRecord, JobState, LicenseRecord, Outcome
from tests.fakes.slurm import FakeSlurm
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm


@pytest.fixture
def lab() -> Lab:
    return Lab()


def rounds_until(lab: Lab, slurm: object, enough: Callable[[Rounds], bool]) -> Rounds:
    writer = StoreWriter(MemoryStore())
    pace = Pace(tick_s=0.0, gap_s=0.0)
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock, pace)  # type: ignore[arg-type]

    async def run() -> None:
        task = asyncio.create_task(rounds.run())
        async with asyncio.timeout(20):
            while not enough(rounds):
                assert not task.done()
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    writer.close(10)
    return rounds


@pytest.mark.parametrize("error", [ValueError("defect"), asyncio.CancelledError()])
def test_an_error_that_nobody_foresaw(
    lab: Lab, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = fake_slurm(lab.site)
    read, calls = slurm.jobs, 0

    def jobs(ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise error
        return read(ids)

    monkeypatch.setattr(slurm, "jobs", jobs)
    rounds = rounds_until(lab, slurm, lambda rounds: rounds.health.rounds >= 3)
    assert (rounds.health.failures, rounds.health.error) == (1, "internal error, see the log")


def test_a_slow_write_does_not_put_off_the_next_look(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs without a record, found at the start, are held: half an hour of writing is no reason to look away."""
    slurm = fake_slurm(lab.site)
    slurm.submit(uid=1001, comment="power:est=5kW", qos="bronze", time_limit_s=60)
    write = slurm.write

    def slowly(chains: Sequence[Chain]) -> Sequence[Outcome]:
        lab.clock.wait(1_800)
        return write(chains)

    monkeypatch.setattr(slurm, "write", slowly)
    rounds_until(lab, slurm, lambda rounds: rounds.health.rounds >= 3)
    [job] = slurm.all_jobs()
    assert (job.state, job.priority) == (JobState.PENDING, 1_000)


@pytest.fixture
def waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """Five held jobs that have to be released, two in a batch."""
    monkeypatch.setattr(writing, "_BATCH", 2)
    slurm = fake_slurm(lab.site)
    for number in range(5):
        slurm.submit(
            held=True, comment="power:est=10W", admin_comment=f"power:id=t{number},v=hold,hold=power", time_limit_s=600
        )
    return slurm


def test_batches_are_written_while_others_are_planned(
    lab: Lab, waiting: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is under way before the first has ended; the fake takes one at a time."""
    write, both, turn = waiting.write, threading.Barrier(2), threading.Lock()

    def together(chains: Sequence[Chain]) -> Sequence[Outcome]:
        if len(chains) == 2:
            both.wait(10)  # breaks if nobody else comes
        with turn:
            return write(chains)

    monkeypatch.setattr(waiting, "write", together)
    rounds = rounds_until(lab, waiting, lambda rounds: rounds.hand.writes >= 5)
    assert rounds.health.failures == 0
    assert all(job.priority for job in waiting.all_jobs())


def test_a_batch_that_fails_by_a_defect_takes_no_other_with_it(
    lab: Lab, waiting: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls, turn = waiting.write, 0, threading.Lock()

    def once_broken(chains: Sequence[Chain]) -> Sequence[Outcome]:
        nonlocal calls
        with turn:
            calls += 1
            if calls == 1:
                raise ValueError("defect")
            return write(chains)

    monkeypatch.setattr(waiting, "write", once_broken)
    rounds = rounds_until(lab, waiting, lambda rounds: rounds.health.rounds >= 3)
    assert rounds.health.failures == 1
    assert all(job.priority for job in waiting.all_jobs())


def test_who_asks_for_slurms_count_does_not_wait_for_a_slurmctld_that_is_away(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm, back, calls = fake_slurm(lab.site), threading.Event(), 0
    read = slurm.licenses

    def licenses() -> Sequence[LicenseRecord]:
        nonlocal calls
        calls += 1
        assert back.wait(20)
        return read()

    monkeypatch.setattr(slurm, "licenses", licenses)
    monkeypatch.setattr(reading, "_COUNT_S", 0.05)
    writer = StoreWriter(MemoryStore())
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    async def ask() -> None:
        one, other = await asyncio.gather(rounds.reader.licenses(), rounds.reader.licenses())
        assert (one, other) == ({}, {})
        assert calls == 1
        back.set()
        monkeypatch.setattr(reading, "_COUNT_S", 20)
        assert await rounds.reader.licenses() == {record.name: record for record in read()}

    asyncio.run(ask())
    writer.close(10)


def test_the_mode_changes_while_a_round_waits_for_slurm(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm, back = fake_slurm(lab.site), threading.Event()
    read = slurm.jobs

    def jobs(ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        assert back.wait(20)
        return read(ids)

    monkeypatch.setattr(slurm, "jobs", jobs)
    writer = StoreWriter(MemoryStore())
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    async def switch() -> None:
        waiting = asyncio.create_task(rounds.round())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await rounds.mode.set(Mode.OBSERVE, 0)
        assert lab.desk.mode is Mode.OBSERVE
        assert not waiting.done()
        freeing = asyncio.create_task(rounds.let_go())
        back.set()
        assert await freeing == 0
        assert waiting.done()
        await waiting

    asyncio.run(switch())
    writer.close(10)


def test_what_slurm_does_not_let_go_is_not_counted(
    lab: Lab, waiting: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = waiting.write, Outcome(0, "not now")

    def first_refused(chains: Sequence[Chain]) -> Sequence[Outcome]:
        targets = [chain[0].target for chain in chains]
        done = write([chain for chain in chains if chain[0].target != str(least)])
        return [refused, *done] if str(least) in targets else done

    least = min(job.job_id for job in waiting.all_jobs())
    monkeypatch.setattr(waiting, "write", first_refused)
    writer = StoreWriter(MemoryStore())
    rounds = Rounds(lab.desk, waiting, writer, lab.observer, lab.clock)

    async def switch() -> int:
        await rounds.look()
        await rounds.mode.set(Mode.OBSERVE, 0)
        return await rounds.let_go()

    assert asyncio.run(switch()) == len(waiting.all_jobs()) - 1
    writer.close(10)
