"""No submission has to wait until an index of ten thousand zones is made: they are all there before."""

import pytest

from slurm_power.core import ledger as ledger_module
from slurm_power.core.capacity import BURSTS_MILLI
from slurm_power.service.submit import submit
from tests.service.support import SITE, Lab, job, site_of


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
