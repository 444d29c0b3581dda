"""Intents stay open until it is known what became of them, and a new daemon learns from those that are."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import SlurmError
from slurm_power.core.lifecycle import State
from slurm_power.daemon.journal import StoreJournal, remembered
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import HoldKind, JobState
from slurm_power.service.desk import Desk
from slurm_power.service.observe import Observer
from tests.fakes.slurm import Faults
from tests.fakes.store import MemoryStore
from tests.service.support import FakeClock, fake_slurm, site_of


@dataclass
class Site:
    """A Slurm and a database that outlive the daemon."""

    store: MemoryStore = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.config = site_of()
        self.slurm = fake_slurm(self.config)
        self.start()

    def start(self) -> None:
        self.writer = StoreWriter(self.store)
        self.desk = Desk(self.config, self.clock, StoreJournal(self.writer))
        observer = Observer(self.desk, remembered(self.store))
        self.rounds = Rounds(self.desk, self.slurm, self.writer, observer, self.clock)

    def round(self) -> None:
        asyncio.run(self.rounds.round())
        assert self.writer.flush(10)

    def open_intents(self) -> list[str]:
        return [intent.target for intent in self.store.pending_intents()]

    def submit(self) -> None:
        self.slurm.submit(
            held=True,
            comment="power:est=5kW",
            admin_comment="power:id=t1,v=hold,hold=power",
            time_limit_s=600,
            partition="main",
        )


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.writer.close(10)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_job_whose_release_a_crash_cut_off_is_released_after_all(
    site: Site, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    site.submit()
    write = site.slurm.write

    def die(chains: list[tuple[object, ...]]) -> None:
        write([chain[:cut] for chain in chains])  # type: ignore[misc]
        raise SystemError

    with monkeypatch.context() as patched:
        patched.setattr(site.slurm, "write", die)
        with pytest.raises(SystemError):
            site.round()
    site.writer.close(10)
    assert site.open_intents() == ["1"]
    site.start()
    site.round()
    job = site.slurm.job(1)
    assert (job.state, bool(job.priority)) == (JobState.PENDING, True)
    entry = site.desk.book.of_job(1)
    assert entry is not None
    assert (entry.state, entry.hold) == (State.ADMITTED, None)


@pytest.mark.parametrize("faults", [Faults(lost_write=1.0), Faults(lost_answer=1.0)])
def test_what_is_unsure_stays_open_until_slurm_is_read(site: Site, faults: Faults) -> None:
    site.submit()
    site.slurm.faults = faults
    site.round()
    assert site.open_intents() == ["1"]
    site.slurm.faults = Faults(failed_read=1.0)
    with pytest.raises(SlurmError):
        site.round()
    assert site.open_intents() == ["1"]
    assert remembered(site.store)["t1"] is HoldKind.POWER
    site.slurm.faults = Faults()
    site.clock.instant += 1
    site.round()
    site.round()
    assert site.open_intents() == []
    assert site.slurm.job(1).priority > 0
