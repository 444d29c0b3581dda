"""A report calls a submission by its job's id once that is known."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.journal import StoreJournal
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.launch import launch
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm, job


class Log:
    """A daemon with its audit log."""

    def __init__(self) -> None:
        self.writer = StoreWriter(MemoryStore())
        self.lab = Lab()
        self.lab.desk.journal = self.lab.desk.book.journal = StoreJournal(self.writer)
        rounds = Rounds(
            self.lab.desk, fake_slurm(self.lab.site), self.writer, self.lab.observer, self.lab.clock
        )
        self.control = ControlHandler(self.lab.desk, rounds, self.writer, frozenset({0}), lambda: None)

    def submit(self, comment: str, **fields: object) -> JobRecord:
        """The job as Slurm will show it."""
        reply = submit(self.lab.desk, job(comment, **fields))
        return JobRecord(
            1,
            JobState.PENDING,
            1001,
            name="train",
            partition="main",
            comment=comment,
            priority=0 if reply.verdict == "hold" else 1_000,
            admin_comment=str(reply.fields.get("admin_comment", "")),
            time_limit_s=3_600,
        )

    def report(self, **request: object) -> dict[str, Any]:
        async def one() -> str:
            return await self.control(Peer(0, 0, 1), {"op": "report", **request})

        found: dict[str, Any] = json.loads(asyncio.run(one()))["result"]
        return found

    def said(self) -> list[tuple[str, str]]:
        return [(line["job"], line["action"]) for line in self.report()["decisions"]]


@pytest.fixture
def log() -> Iterator[Log]:
    made = Log()
    yield made
    made.writer.close(10)


def test_a_job_that_slurm_shows(log: Log) -> None:
    record = log.submit("power:est=5kW")
    assert log.said() == [("tok1", "admit")]
    log.lab.observe(replace(record, job_id=812))
    assert log.said() == [("812", "admit")]


def test_a_job_that_is_gone_is_called_as_later_lines_call_it(log: Log) -> None:
    record = replace(log.submit("power:est=5kW,max=5kW,zones=rack03"), job_id=812)
    log.lab.observe(record)
    env = {"SLURM_JOB_ID": "812", "SLURM_JOB_NODELIST": "n07"}
    assert launch(log.lab.desk, env).verdict == "allow"
    log.lab.wait(60)
    log.lab.observe()
    assert log.lab.desk.book.get("tok1") is None
    assert log.said() == [("812", "admit"), ("812", "launch")]


def test_a_submission_that_never_became_a_job_keeps_its_token(log: Log) -> None:
    log.submit("power:est=80kW")
    log.submit("power:est=5kW")
    log.lab.wait(60)
    log.lab.observe()
    assert log.said() == [("tok1", "reject"), ("tok2", "admit")]


def test_an_array_is_called_as_the_array(log: Log) -> None:
    record = log.submit("power:est=1kW,max=1kW,zones=rack03", array_inx="1-3")
    rest = replace(record, job_id=812, array_job_id=812, array_tasks="2-3")
    task = replace(
        record, job_id=813, array_job_id=812, array_task_id=1, state=JobState.RUNNING, node_list="n07"
    )
    log.lab.observe(rest, task)
    assert log.said()[0] == ("812", "admit")
    assert ("812_1", "found-running") in log.said()
    log.lab.wait(60)
    log.lab.observe()
    assert log.said()[0] == ("812", "admit")


def test_counts_do_not_change(log: Log) -> None:
    record = log.submit("power:est=5kW")
    before = log.report()["counts"]
    log.lab.observe(replace(record, job_id=812))
    assert log.report()["counts"] == before == {"admit": 1}
