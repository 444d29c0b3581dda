"""A submission to a partition that was created since Slurm's partitions were last read."""

import asyncio
from typing import Any

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.lifecycle import State
from slurm_power.core.record import Standing, find_record
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import HoldKind, JobState, PartitionRecord
from slurm_power.service.desk import Reply
from slurm_power.service.submit import submit
from tests.fakes.slurm import FakeSlurm
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm, job, site_of

COMMENT = "power:est=5kW,zones=rack03"


def told(lab: Lab, **fields: object) -> Reply:
    return submit(lab.desk, job(COMMENT, partition="new", **fields))


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize(("priority", "hold"), [(None, HoldKind.POWER), (0, HoldKind.USER)])
def test_it_is_held_until_slurm_has_been_asked(lab: Lab, priority: int | None, hold: HoldKind) -> None:
    reply = told(lab, priority=priority, prefer="fast", admin_comment="x=1")
    assert reply.verdict == "hold"
    assert "has not seen partition new yet" in reply.message
    record = find_record(str(reply.fields["admin_comment"]))
    assert record is not None
    assert (record.standing, record.hold, reply.fields["prefer"]) == (Standing.HOLD, hold, "")
    assert lab.desk.lost_partition


def test_in_the_next_round_it_is_admitted(lab: Lab) -> None:
    slurm = fake_slurm(lab.site)
    writer = StoreWriter(MemoryStore())
    rounds = Rounds(lab.desk, slurm, writer, lab.observer, lab.clock)

    async def two_rounds() -> None:
        await rounds.round()
        create(slurm)
        reply = told(lab)
        fields: dict[str, Any] = {name: value for name, value in reply.fields.items() if name != "priority"}
        slurm.submit(
            held=True, uid=1001, comment=COMMENT, partition="new", qos="bronze", time_limit_s=60, **fields
        )
        await rounds.round()

    asyncio.run(two_rounds())
    [record] = slurm.all_jobs()
    assert (record.state, record.priority, record.features) == (JobState.PENDING, 1_000, "pw_rack03")
    assert not lab.desk.lost_partition
    writer.close(10)


def create(slurm: FakeSlurm) -> None:
    """`scontrol create partition`."""
    slurm.set_partition(PartitionRecord("new", "n[07-09]", max_time_s=86_400))


def test_one_that_never_comes_leaves_nothing(lab: Lab) -> None:
    """Slurm has refused the submission itself."""
    told(lab)
    lab.wait(11)
    lab.observe()
    assert not lab.desk.book.entries


def test_a_scrontab_job_goes_in(lab: Lab) -> None:
    """Nobody could ever let it go; the gate decides."""
    reply = told(lab, cron_job=True, het_job_offset=0)
    assert (reply.verdict, "priority" in reply.fields) == ("admit", False)


@pytest.mark.parametrize("change", [{"mode": "observe"}, {"enforce": "reserved"}])
def test_out_of_scope_it_goes_in_untouched(change: dict[str, str]) -> None:
    lab = Lab(site_of(**change))
    assert told(lab).verdict == "pass"
    assert lab.desk.lost_partition


def test_of_several_the_known_ones_count(lab: Lab) -> None:
    reply = submit(lab.desk, job(COMMENT, partition="new,main"))
    assert (reply.verdict, reply.fields["features"]) == ("admit", "pw_rack03")


def test_when_it_becomes_known_it_is_looked_at_although_slurm_shows_nothing_new(lab: Lab) -> None:
    slurm = fake_slurm(lab.site)
    reply = told(lab)
    fields: dict[str, Any] = {name: value for name, value in reply.fields.items() if name != "priority"}
    record = slurm.submit(held=True, uid=1001, comment=COMMENT, partition="new", qos="bronze", **fields)
    lab.observe(record)
    create(slurm)
    lab.desk.survey(slurm.nodes(), slurm.partitions(), [found.name for found in slurm.licenses()])
    lab.observe(record)
    entry = lab.desk.book.of_job(record.job_id)
    assert entry is not None
    assert entry.state is State.WAITING
