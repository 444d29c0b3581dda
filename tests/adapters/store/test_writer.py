"""The writer thread: order, batches, durability, and a database that fails."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from slurm_power.adapters.store import StoreWriter, open_store
from slurm_power.core.errors import StoreError
from slurm_power.ports import Decision
from tests.adapters.store.faulty import LONG_S, Faulty, stall
from tests.adapters.store.samples import intent, job, line


@pytest.fixture
def store() -> Faulty:
    return Faulty()


@pytest.fixture
def make(store: Faulty) -> Iterator[Callable[..., StoreWriter]]:
    """Makes writers over `store` that retry at once, and ends them."""
    made: list[StoreWriter] = []

    def new(**options: float) -> StoreWriter:
        made.append(StoreWriter(store, **{"retry_s": 0.005, "retry_max_s": 0.01, **options}))  # type: ignore[arg-type]
        return made[-1]

    yield new
    store.fail = None
    store.go.set()
    for writer in made:
        writer.close(LONG_S)


def test_all_is_written_and_in_order(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    writer.save_jobs([job("a")])
    writer.record([line(1)])
    writer.put(lambda each: each.set_setting("mode", "observe"))
    writer.put(lambda each: each.set_setting("mode", "enforce"))
    writer.drop_jobs(["a"])
    writer.save_jobs([job("b")])
    assert writer.flush(LONG_S)
    assert [each.token for each in store.jobs()] == ["b"]
    assert store.setting("mode") == "enforce"
    assert list(store.decisions()) == [line(1)]
    assert writer.health().waiting == 0
    assert writer.health().error == ""


def test_adjacent_saves_are_one_batch_and_the_last_wins(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    for watts in range(50):
        writer.save_jobs([job("a", est_w=watts)])
        writer.record([line(watts, job_id=str(watts))])
    writer.save_jobs([job("b"), job("c")])
    writer.drop_jobs(["c"])
    assert writer.health().waiting == 1 + 3 + 50
    store.go.set()
    assert writer.flush(LONG_S)
    assert store.calls == ["set first=1", "save a,b", "drop c", "record " + ",".join(map(str, range(50)))]
    assert store.jobs()[0].est_w == 49


def test_an_operation_parts_the_batches(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    writer.save_jobs([job("a")])
    opened = writer.submit_and_wait(lambda each: each.open_intents([intent("812")]))
    writer.save_jobs([job("b")])
    store.go.set()
    assert [each.id for each in opened.result(LONG_S)] == [1]
    assert writer.flush(LONG_S)
    assert store.calls[1:] == ["save a", "intents 812", "save b"]


def test_putting_does_not_wait_for_a_database_that_stands_still(
    store: Faulty, make: Callable[..., StoreWriter]
) -> None:
    writer = make()
    stall(writer, store)
    writer.save_jobs([job("a")])
    writer.record([line(1)])
    assert not writer.flush(0.01)
    assert [each.token for each in store.jobs()] == []
    store.go.set()
    assert writer.flush(LONG_S)


def test_a_large_backlog_is_written_in_pieces(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    jobs = [job(f"t{number:04}") for number in range(1_300)]
    writer.save_jobs(jobs)
    store.go.set()
    assert writer.flush(LONG_S)
    assert [len(call.split(",")) for call in store.calls[1:]] == [500, 500, 300]
    assert list(store.jobs()) == jobs


def test_a_failing_database_is_tried_again(
    store: Faulty, make: Callable[..., StoreWriter], caplog: pytest.LogCaptureFixture
) -> None:
    writer = make()
    store.fail = StoreError("disk full")
    writer.save_jobs([job("a")])
    writer.put(lambda each: each.set_setting("mode", "observe"))
    store.await_attempts(3)
    health = writer.health()
    assert (health.error, health.waiting) == ("disk full", 2)
    assert health.failures >= 2
    assert not writer.flush(0.01)
    store.fail = None
    assert writer.flush(LONG_S)
    assert ([each.token for each in store.jobs()], store.setting("mode")) == (["a"], "observe")
    assert writer.health().error == ""
    # One line when it fails and not one for every try.
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "state database: cannot write, will try again: disk full"
    ]


def test_what_was_saved_meanwhile_goes_over_what_failed(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    store.fail = StoreError("disk full")
    writer.save_jobs([job("a", est_w=1), job("b")])
    writer.record([line(1)])
    store.await_attempts(2)
    writer.save_jobs([job("a", est_w=2)])
    writer.drop_jobs(["b"])
    writer.record([line(2)])
    store.fail = None
    assert writer.flush(LONG_S)
    assert list(store.jobs()) == [job("a", est_w=2)]
    assert list(store.decisions()) == [line(1), line(2)]
    assert writer.health().waiting == 0


def test_what_is_saved_during_a_failing_write_goes_over_it(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    store.go.clear()
    writer.save_jobs([job("a", est_w=1), job("b"), job("c")])
    writer.record([line(1, action="hold")])
    assert store.entered.wait(LONG_S)
    writer.save_jobs([job("a", est_w=2)])
    writer.drop_jobs(["b"])
    writer.record([line(1, action="release")])
    store.fail = StoreError("disk full")
    store.go.set()
    store.await_attempts(1)
    store.fail = None
    assert writer.flush(LONG_S)
    assert list(store.jobs()) == [job("a", est_w=2), job("c")]
    assert [each.action for each in store.decisions()] == ["hold", "release"]
    assert writer.health().waiting == 0


def test_after_a_bad_row_the_pieces_grow_again(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    store.refused = {"0000"}
    stall(writer, store)
    writer.save_jobs([job(f"{number:04}") for number in range(1_000)])
    store.go.set()
    assert writer.flush(LONG_S)
    assert len(store.jobs()) == 999
    assert len(store.calls) < 30


def test_what_was_written_is_not_written_twice(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    class LinesFail(Faulty):
        failed = 0

        def record(self, decisions: Sequence[Decision]) -> None:
            if self.failed < 3:
                self.failed += 1
                raise StoreError("connection lost")
            super().record(decisions)

    other = LinesFail()
    writer = StoreWriter(other, retry_s=0.001)
    stall(writer, other)
    writer.save_jobs([job("a")])
    writer.record([line(1), line(2)])
    other.go.set()
    assert writer.flush(LONG_S)
    assert writer.close(LONG_S)
    assert other.calls == ["set first=1", "save a", "record 812,812"]


def test_who_waits_for_durability_hears_of_the_failure_at_once(
    store: Faulty, make: Callable[..., StoreWriter]
) -> None:
    writer = make()
    store.fail = StoreError("disk full")
    ahead = writer.submit_and_wait(lambda each: each.open_intents([intent("1")]))
    with pytest.raises(StoreError, match="disk full"):
        ahead.result(LONG_S)
    writer.save_jobs([job("a")])
    behind = writer.submit_and_wait(lambda each: each.open_intents([intent("2")]))
    with pytest.raises(StoreError, match="disk full"):
        behind.result(LONG_S)
    assert writer.health().error == "disk full"
    store.fail = None
    assert writer.flush(LONG_S)
    again = writer.submit_and_wait(lambda each: each.open_intents([intent("3")]))
    assert [each.target for each in again.result(LONG_S)] == ["3"]
    assert [each.target for each in store.pending_intents()] == ["3"]


def test_one_bad_row_does_not_keep_the_others_from_the_disk(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    store.refused = {"bad", "813"}
    stall(writer, store)
    writer.save_jobs([job("a"), job("b"), job("bad"), job("c")])
    writer.record([line(1), line(2, job_id="813"), line(3)])
    store.go.set()
    assert writer.flush(LONG_S)
    assert [each.token for each in store.jobs()] == ["a", "b", "c"]
    assert [each.at for each in store.decisions()] == [1, 3]
    health = writer.health()
    assert (health.given_up, health.waiting, health.error) == (2, 0, "")


def test_a_fault_in_an_operation_does_not_end_the_thread(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    def broken(_store: object) -> object:
        raise RuntimeError("a bug")

    writer = make()
    writer.put(broken)
    future = writer.submit_and_wait(broken)
    with pytest.raises(RuntimeError, match="a bug"):
        future.result(LONG_S)
    store.bug = KeyError("another")
    writer.save_jobs([job("a")])
    assert writer.flush(LONG_S)
    store.bug = None
    writer.save_jobs([job("b")])
    assert writer.flush(LONG_S)
    assert [each.token for each in store.jobs()] == ["b"]
    assert writer.health().given_up == 2


def test_the_queue_is_bounded_and_audit_lines_go_first(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make(limit=10)
    stall(writer, store)
    writer.record([line(number) for number in range(8)])
    writer.save_jobs([job(f"t{number}") for number in range(6)])
    assert writer.health().waiting == 10
    assert writer.health().given_up == 5
    late = writer.submit_and_wait(lambda each: each.open_intents([intent("1")]))
    with pytest.raises(StoreError, match="behind"):
        late.result(0)
    writer.put(lambda each: each.set_setting("late", "1"))
    writer.save_jobs([job(f"u{number}") for number in range(8)])
    assert writer.health().waiting == 10
    store.go.set()
    assert writer.flush(LONG_S)
    assert list(store.decisions()) == []
    assert [each.token for each in store.jobs()] == ["t5", *(f"u{number}" for number in range(8))]
    assert store.setting("late") is None
    assert writer.health().waiting == 0


def test_close_writes_what_waits(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    writer.save_jobs([job("a")])
    store.go.set()
    assert writer.close(LONG_S)
    assert [each.token for each in store.jobs()] == ["a"]
    writer.save_jobs([job("late")])
    assert writer.health().given_up == 1
    with pytest.raises(StoreError):
        writer.submit_and_wait(lambda each: each.jobs()).result(0)


def test_close_gives_up_on_a_failing_database(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make(retry_s=LONG_S)
    store.fail = StoreError("disk full")
    writer.save_jobs([job("a")])
    store.await_attempts(1)
    assert not writer.close(LONG_S)


def test_close_fails_the_futures_behind_a_write_that_hangs(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    future = writer.submit_and_wait(lambda each: each.open_intents([intent("1")]))
    assert not writer.close(0.01)
    with pytest.raises(StoreError, match="closed"):
        future.result(0)
    store.go.set()


def test_a_cancelled_operation_is_not_run(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()
    stall(writer, store)
    future = writer.submit_and_wait(lambda each: each.set_setting("cancelled", "1"))
    assert future.cancel()
    store.go.set()
    assert writer.flush(LONG_S)
    assert store.setting("cancelled") is None
    assert writer.health().waiting == 0


def test_asyncio_can_wait_for_it(store: Faulty, make: Callable[..., StoreWriter]) -> None:
    writer = make()

    async def act() -> list[str]:
        opened = await asyncio.wrap_future(writer.submit_and_wait(lambda each: each.open_intents([intent("7")])))
        return [each.target for each in opened]

    assert asyncio.run(act()) == ["7"]


def test_several_threads_over_a_real_database(url: str) -> None:
    store = open_store(url)
    writer = StoreWriter(store)

    def work(name: int) -> None:
        for number in range(50):
            writer.save_jobs([job(f"{name}-{number}")])
            writer.record([line(number, job_id=str(name))])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.close(LONG_S)
    assert len(store.jobs()) == 200
    for name in range(4):
        assert [each.at for each in store.decisions(job=str(name))] == list(range(50))
    store.close()


# -- rows are gathered for one commit ------------------------------------------------------------------------------


@pytest.fixture
def gathering(make: Callable[..., StoreWriter]) -> StoreWriter:
    """Gathers for longer than anybody here waits: what is written was written because somebody wanted it."""
    return make(gather_s=1.5 * LONG_S)


def test_rows_put_one_by_one_are_one_write(store: Faulty, gathering: StoreWriter) -> None:
    for number in range(3):
        gathering.record([line(number, job_id=str(number))])
        assert not store.entered.wait(0.05)  # time in which a thread that does not gather would have begun
    assert gathering.health().waiting == 3
    assert gathering.flush(LONG_S)
    assert store.calls == ["record 0,1,2"]


def test_after_a_flush_rows_are_gathered_again(store: Faulty, gathering: StoreWriter) -> None:
    gathering.record([line(1)])
    assert gathering.flush(LONG_S)
    store.entered.clear()
    for number in (2, 3):
        gathering.record([line(number, job_id=str(number))])
        assert not store.entered.wait(0.05)
    assert gathering.flush(LONG_S)
    assert store.calls == ["record 812", "record 2,3"]


def test_who_holds_a_job_is_written_at_once(store: Faulty, gathering: StoreWriter) -> None:
    """A crash in that moment would make his own hold one of ours, to be lifted when watts are free."""
    gathering.record([line(1)])
    gathering.save_jobs([job("a")])
    store.await_attempts(2)
    gathering.drop_jobs(["a"])
    store.await_attempts(1)
    assert gathering.flush(LONG_S)
    assert store.calls == ["save a", "record 812", "drop a"]


def test_an_operation_behind_rows_does_not_wait_for_more_of_them(store: Faulty, gathering: StoreWriter) -> None:
    gathering.record([line(1)])
    gathering.save_jobs([job("a")])
    opened = gathering.submit_and_wait(lambda each: each.open_intents([intent("813")]))
    assert [each.target for each in opened.result(LONG_S)] == ["813"]
    assert store.calls == ["save a", "record 812", "intents 813"]


def test_nor_does_an_operation_between_rows(store: Faulty, gathering: StoreWriter) -> None:
    stall(gathering, store)
    gathering.record([line(1)])
    opened = gathering.submit_and_wait(lambda each: each.open_intents([intent("813")]))
    gathering.save_jobs([job("a")])
    store.go.set()
    assert [each.target for each in opened.result(LONG_S)] == ["813"]
    assert store.calls[:3] == ["set first=1", "record 812", "intents 813"]
    assert gathering.flush(LONG_S)
    assert store.calls[3:] == ["save a"]


def test_close_does_not_wait_for_more_rows(store: Faulty, gathering: StoreWriter) -> None:
    gathering.record([line(1)])
    assert not store.entered.wait(0.05)
    assert gathering.close(LONG_S)
    assert store.calls == ["record 812"]
