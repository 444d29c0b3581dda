"""spower check --at: the same decision, on the floor as it will be."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.derate import Derate
from slurm_power.core.errors import UsageError
from slurm_power.core.window import Window
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.core.recount import differences
from tests.fakes.store import MemoryStore
from tests.service.support import SITE, START, Lab, fake_slurm, floor_nodes, job, site_of

HOUR = 3_600


class Desk:
    """A daemon that is asked; rack03 has 22 kW for jobs."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.writer = StoreWriter(MemoryStore())
        self.records: list[JobRecord] = []
        rounds = Rounds(self.lab.desk, fake_slurm(self.lab.site), self.writer, self.lab.observer, self.lab.clock)
        self.control = ControlHandler(self.lab.desk, rounds, self.writer, frozenset({0}), lambda: None)

    def shown(self, comment: str, state: JobState = JobState.PENDING, **fields: object) -> None:
        """A job of an hour that Slurm shows."""
        reply = submit(self.lab.desk, job(comment, **fields))
        record = JobRecord(
            len(self.records) + 1,
            state,
            1001,
            name="train",
            partition="main",
            comment=comment,
            priority=0 if reply.verdict == "hold" else 1_000,
            admin_comment=str(reply.fields["admin_comment"]),
            time_limit_s=HOUR,
        )
        self.records.append(record)
        self.lab.observe(*self.records)

    def check(self, comment: str, at: object = None, **fields: object) -> dict[str, Any]:
        request = {"op": "check", "at": at, "job": {"comment": comment, "time_limit": 60, **fields}}

        async def one() -> str:
            return await self.control(Peer(1001, 1, 1), request)

        found: dict[str, Any] = json.loads(asyncio.run(one()))["result"]
        return found

    def verdicts(self, comment: str, *after_s: int, **fields: object) -> list[str]:
        return [self.check(comment, START + seconds, **fields)["verdict"] for seconds in after_s]


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.writer.close(10)


def test_claims_count_until_their_windows_end(desk: Desk) -> None:
    desk.shown("power:est=20kW,max=20kW,zones=rack03")
    wanted = "power:est=5kW,max=5kW,zones=rack03"
    assert desk.verdicts(wanted, 0, 1, HOUR - 1, HOUR, 5 * HOUR) == ["hold", "hold", "hold", "admit", "admit"]
    found = desk.check(wanted, START + HOUR)
    assert (found["at"], found["zones"]) == ("2027-01-15T09:00:00Z", ["rack03"])
    assert found["sentence"].startswith("Such a job fits at 2027-01-15T09:00:00Z in rack03 with 5kW")
    assert "until its time limit ends" in found["counted"]
    found = desk.check(wanted, START + 60)
    assert found["sentence"].startswith(
        "Such a job would wait at 2027-01-15T08:01:00Z because zone rack03 is short of power: asked 5kW, free 2kW"
    )
    assert found["earliest_start"] == "2027-01-15T09:00:00Z"


def test_nodes_count_until_then_too(desk: Desk) -> None:
    """Another job has all but one node of rack03."""
    nodes = floor_nodes(desk.lab.site)
    desk.lab.survey([replace(node, cpus_alloc=32) if node.name in ("n07", "n08") else node for node in nodes])
    runs = JobRecord(
        9,
        JobState.RUNNING,
        1002,
        name="other",
        partition="main",
        comment="power:est=2kW,max=2kW",
        node_list="n[07-08]",
        node_count=2,
        cpus=64,
        exclusive=True,
        time_limit_s=HOUR,
        start_time=START,
        end_time=START + HOUR,
    )
    desk.records.append(runs)
    desk.lab.observe(*desk.records)
    wanted = "power:est=2kW,max=2kW,zones=rack03"
    found = desk.verdicts(wanted, 60, HOUR - 1, HOUR, min_nodes=2, shared=0)
    assert found == ["hold", "hold", "admit"]


def test_the_head_of_the_queue_counts_from_its_foreseen_start_on(desk: Desk) -> None:
    desk.shown("power:est=20kW,max=20kW,zones=rack03")
    desk.shown("power:est=22kW,max=22kW,zones=rack03")
    list(run_pass(desk.lab.desk))
    assert desk.lab.desk.shadow.head is not None
    wanted = "power:est=1kW,max=1kW,zones=rack03"
    assert desk.verdicts(wanted, HOUR - 600, HOUR, 2 * HOUR - 1, 2 * HOUR) == ["hold", "hold", "hold", "admit"]
    assert desk.verdicts(wanted, HOUR - 600, time_limit=10) == ["admit"]
    assert differences(desk.lab.desk.ledger) == []


def test_nothing_is_claimed_or_changed(desk: Desk) -> None:
    desk.shown("power:est=20kW,max=20kW,zones=rack03")
    before = dict(desk.lab.desk.ledger.claims)
    desk.check("power:est=5kW,max=5kW,zones=rack03", START + HOUR)
    assert (desk.lab.desk.ledger.claims, desk.lab.desk.ledger.now) == (before, START)
    assert len(desk.lab.desk.book.entries) == 1


@pytest.mark.parametrize(
    ("comment", "after_s", "verdict", "words"),
    [
        ("power:est=80kW", HOUR, "reject", "Such a job could never run because"),
        ("power:est=?", HOUR, "reject", "could never run because est"),
        ("power:est=1kW,class=overnight", HOUR, "hold", "class overnight may start only during 20:00-06:00"),
        ("power:est=1kW,class=overnight", 12 * HOUR, "admit", "Such a job fits at 2027-01-15T20:00:00Z"),
    ],
)
def test_verdicts_of_other_kinds(desk: Desk, comment: str, after_s: int, verdict: str, words: str) -> None:
    found = desk.check(comment, START + after_s)
    assert found["verdict"] == verdict
    assert words in found["sentence"]


def test_a_job_outside_all_zones(desk: Desk) -> None:
    found = desk.check("power:est=1kW", START + HOUR, partition="outside")
    assert (found["verdict"], found["at"]) == ("admit", "2027-01-15T09:00:00Z")


def test_hours_begin_again_after_a_time_outside_them(desk: Desk) -> None:
    found = desk.check("power:est=1kW,class=overnight", START + 24 * HOUR)
    assert (found["verdict"], found["earliest_start"]) == ("hold", "2027-01-16T20:00:00Z")


def test_a_deadline_is_judged_from_the_later_start(desk: Desk) -> None:
    comment = "power:est=1kW,deadline=now+2hours"
    assert desk.check(comment, START + HOUR)["advice"] == ""
    assert desk.check(comment, START + HOUR + 1)["advice"] == (
        "the time limit ends after the deadline, if the job starts then"
    )


def test_an_array_that_does_not_fit_together(desk: Desk) -> None:
    found = desk.check("power:est=10kW,max=10kW,zones=rack03", START + HOUR, array_inx="1-3")
    assert [reason["code"] for reason in found["reasons"]] == ["array"]


def test_limits_are_what_derates_leave_of_them_then(desk: Desk) -> None:
    wanted = "power:est=5kW,max=5kW,zones=rack03"
    window = Window(START + 2 * HOUR, START + 3 * HOUR)
    desk.lab.desk.derates.replace([Derate("d", "rack03", window, "grid event", START, 0, 4_000)])
    desk.lab.desk.follow_derates()
    assert desk.verdicts(wanted, 0, HOUR, 2 * HOUR, 3 * HOUR) == ["admit", "admit", "hold", "admit"]
    early = desk.check(wanted, START + HOUR + 1)  # it would go on into it
    assert (early["verdict"], early["reasons"][0]["code"]) == ("hold", "derate")
    desk.lab.clock.instant = START + 2 * HOUR
    desk.lab.desk.follow_derates()
    assert desk.check(wanted, START + 3 * HOUR)["verdict"] == "admit"


def test_closed_zones_are_as_they_are_now(desk: Desk) -> None:
    desk.lab.desk.ledger.close("rack03", "too hot")
    found = desk.check("power:est=5kW,max=5kW,zones=rack03", START + HOUR)
    assert (found["verdict"], found["reasons"][0]["code"]) == ("hold", "closed")


def test_another_tier_would_fit_then_and_not_now(desk: Desk) -> None:
    desk.lab.desk.change_site(site_of(SITE.replace("lane: mixed", "lane: cold")))
    desk.shown("power:est=26kW,max=26kW,zones=rack01", qos="gold")
    found = desk.check("power:est=10kW,max=10kW", START + 60, qos="gold")
    texts = [cure["text"] for cure in found["helps"] if cure["cure"] == "other_tier"]
    assert texts
    assert all(" then as " in text for text in texts)


@pytest.mark.parametrize("at", ["soon", 1.5, True, START - 60, -1, 1 << 60, [], {}])
def test_what_is_no_instant_to_come(desk: Desk, at: object) -> None:
    with pytest.raises(UsageError, match=f'"at" is an instant from now on, in seconds since 1970: {START + HOUR}'):
        desk.check("power:est=5kW", at)


def test_now_is_now(desk: Desk) -> None:
    for at in (None, START, START - 5):
        found = desk.check("power:est=5kW,max=5kW", at)
        assert (found["at"], found["counted"]) == (None, "")
        assert found["sentence"].startswith("Such a job fits now in ")
