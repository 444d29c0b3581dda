"""A daemon that hung answers submissions whose hook has given up: the jobs came in held by the hook alone."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.daemon.hook import HookHandler
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm, job

WHOLE = "power:est=20kW,max=20kW,zones=rack03"
HELD_BY_THE_HOOK = JobRecord(
    1,
    JobState.PENDING,
    1001,
    partition="main",
    comment=WHOLE,
    qos="bronze",
    time_limit_s=3_600,
    reason="JobHeldUser",
    admin_comment="power:id=lua-1,v=hold,hold=power",
)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def admitted(lab: Lab) -> list[str]:
    lab.observe(HELD_BY_THE_HOOK)
    return [plan.target for plan in run_pass(lab.desk) if plan is not None]


def handler(lab: Lab) -> HookHandler:
    writer = StoreWriter(MemoryStore())
    writer.close(1)
    return HookHandler(lab.desk, Rounds(lab.desk, fake_slurm(lab.site), writer, lab.observer, lab.clock), str)


def ask(hook: HookHandler, request: Mapping[str, Any]) -> str:
    """What is answered at once."""

    async def exchange() -> str:
        return str(hook(Peer(0, 0, 1), request))

    return asyncio.run(exchange())


def submission(**fields: Any) -> Mapping[str, Any]:
    return {"v": 1, "op": "submit", "uid": 1001, "job": job(WHOLE, **fields)}


def test_its_claim_is_taken_back_at_once(lab: Lab) -> None:
    hook = handler(lab)
    assert "verdict=admit" in ask(hook, submission())
    assert lab.committed("rack03") == 20_000
    hook.unheard()
    assert (lab.committed("rack03"), lab.desk.book.rumours.left_w(1001, 40_000, lab.clock.monotonic())) == (0, None)
    assert lab.journal.decisions[-1].action == "unheard"
    assert admitted(lab) == ["1"]
    assert lab.committed("rack03") == 20_000


@pytest.mark.parametrize("fields", [{"priority": 0}, {"dependency": "afterok:7"}, {"partition": "new"}])
def test_what_it_would_hold_leaves_nothing_either(lab: Lab, fields: dict[str, Any]) -> None:
    hook = handler(lab)
    ask(hook, submission(**fields))
    hook.unheard()
    assert not lab.desk.book.entries
    assert not lab.journal.jobs


def test_what_was_answered_before_stays(lab: Lab) -> None:
    hook = handler(lab)
    ask(hook, submission())
    ask(hook, {"v": 1, "op": "modify", "uid": 1001, "job": {}, "rec": {}})
    hook.unheard()
    assert lab.committed("rack03") == 20_000


def test_a_job_that_slurm_has_shown_stays(lab: Lab) -> None:
    """Slurm had the answer after all."""
    hook = handler(lab)
    ask(hook, submission())
    [entry] = lab.desk.book.entries.values()
    lab.desk.book.know(entry, HELD_BY_THE_HOOK)
    hook.unheard()
    assert lab.desk.book.entries


def test_where_the_peer_went_unseen_it_counts_no_longer_than_any_rumour(lab: Lab) -> None:
    submit(lab.desk, job(WHOLE))
    assert admitted(lab) == []
    lab.wait(9)
    assert admitted(lab) == []
    lab.wait(1)
    assert admitted(lab) == ["1"]
    assert lab.committed("rack03") == 20_000
