"""A count of Slurm's that is not what its jobs hold is told, and nothing that only seems so for a moment."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.binding import our_licences
from slurm_power.core.errors import SlurmError
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import JobRecord, JobState, LicenseRecord
from slurm_power.service.recount import Recount
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm

RUNS = JobRecord(1, JobState.RUNNING, 1001, licenses="matlab:2,pw_rack01:5000,pw_pdu:5000", node_list="n01")
RACK = LicenseRecord("pw_rack01", total=20_000, used=5_000)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("", {}),
        ("(null)", {}),
        ("matlab:2", {}),
        ("pw_a:5000,matlab:2,pw_b-1:7", {"pw_a": 5_000, "pw_b-1": 7}),
        ("pw_a", {"pw_a": 1}),
        ("pw_a:\u00b2", {"pw_a": 1}),  # a digit to Python, and no number
    ],
)
def test_what_a_job_holds_of_ours(text: str, ours: dict[str, int]) -> None:
    assert our_licences(text) == ours


@pytest.mark.parametrize("state", ["RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED"])
def test_what_is_on_nodes_holds_its_licences(state: str) -> None:
    recount = Recount()
    waits = replace(RUNS, job_id=2, state=JobState.PENDING)
    for _ in range(5):
        assert not recount.take([replace(RUNS, state=JobState(state)), waits], [RACK, LicenseRecord("matlab", 9, 7)])
    assert recount.found == {}


@pytest.mark.parametrize(("used", "by_w"), [(0, -5_000), (9_000, 4_000)])
def test_a_difference_that_stands_is_told_once_and_taken_back_when_it_is_gone(used: int, by_w: int) -> None:
    recount = Recount()
    wrong = replace(RACK, used=used)
    assert [recount.take([RUNS], [wrong]) for _ in range(5)] == [False, False, True, False, False]
    assert recount.found == {"pw_rack01": by_w}
    assert recount.take([RUNS], [RACK])
    assert recount.found == {}


def test_one_that_changes_from_reading_to_reading_is_not_told() -> None:
    recount = Recount()
    for used in (0, 9_000, 0, 9_000, 9_000):
        assert not recount.take([RUNS], [replace(RACK, used=used)])


def test_rounds_compare_and_go_on_where_licences_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    slurm = fake_slurm(lab.site)
    writer = StoreWriter(MemoryStore())
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    def fails() -> Sequence[LicenseRecord]:
        raise SlurmError("no answer", ("scontrol",))

    for read in (lambda: [RACK], fails, lambda: [RACK], lambda: [RACK]):
        monkeypatch.setattr(slurm, "licenses", read)
        asyncio.run(rounds.round())
        lab.wait(30)
    writer.close(10)
    assert rounds.reader.miscounts == {"pw_rack01": 5_000}
