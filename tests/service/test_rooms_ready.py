"""No submission has to wait until an index of ten thousand zones is made or brought up to date."""

import asyncio

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core import ledger as ledger_module
from slurm_power.core.capacity import BURSTS_MILLI, Rooms
from slurm_power.core.ledger import Ledger
from slurm_power.daemon.rounds import Rounds
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.support import SITE, Lab, fake_slurm, job, site_of


@pytest.fixture
def lab() -> Lab:
    found = Lab()
    found.observe()
    return found


def submit_all(lab: Lab) -> None:
    """Of each burst class one that fits, and one that would not even on an empty floor."""
    for milli in BURSTS_MILLI:
        assert submit(lab.desk, job(f"power:est=1000,max={1_000 + milli}")).verdict == "admit"
        assert submit(lab.desk, job(f"power:est=900kW,max={900 * (1_000 + milli)}")).verdict == "reject"


def make_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("rooms are made in the middle of a submission")

    monkeypatch.setattr(ledger_module, "Rooms", refuse)


def test_after_the_first_snapshot(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    make_no_more(monkeypatch)
    submit_all(lab)


def test_after_another_site_file(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.desk.change_site(site_of(SITE.replace("limit: 25kW", "limit: 26kW")))
    make_no_more(monkeypatch)
    submit_all(lab)


def test_after_the_clock_was_set_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.clock.instant += 86_400
    lab.desk.now()
    lab.clock.instant -= 86_400
    lab.desk.mend_clock()
    make_no_more(monkeypatch)
    submit_all(lab)


@pytest.mark.parametrize("submitted", [False, True])
def test_what_a_round_or_a_submission_has_changed_is_measured_right_after_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, *, submitted: bool
) -> None:
    writer = StoreWriter(MemoryStore())
    slurm = fake_slurm(lab.site)
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    async def change() -> None:
        if submitted:
            submit(lab.desk, job())
            rounds.measure_soon()
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        else:
            slurm.submit(uid=1001, comment="power:est=5kW", qos="bronze", time_limit_s=60)
            for _ in range(2):  # held by the first round, admitted by the second
                await rounds.round()

    asyncio.run(change())
    writer.close(10)
    assert lab.desk.ledger.claims
    measured: list[str] = []
    monkeypatch.setattr(Rooms, "_measure", lambda _, zone: measured.append(zone))
    look_at_all(lab.desk.ledger)
    assert not measured
    lab.desk.ledger.close("rack01", "another test")
    look_at_all(lab.desk.ledger)
    assert measured == ["rack01"] * len(BURSTS_MILLI)


def look_at_all(ledger: Ledger) -> None:
    """As submissions of every burst class would."""
    for milli in BURSTS_MILLI:
        ledger.rooms_for(1_000, 1_000 + milli)
