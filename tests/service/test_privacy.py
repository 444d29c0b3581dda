"""PrivateData=jobs: whose jobs a user may learn of over the control socket, and by what sbatch says."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import SlurmError, UsageError
from slurm_power.daemon.control import ControlHandler
from slurm_power.daemon.journal import StoreJournal
from slurm_power.daemon.rounds import Pace, Rounds
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.desk import Reply
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from tests.fakes.store import MemoryStore
from tests.service.support import Lab, fake_slurm, job

ROOT, ALICE, BOB = 0, 1001, 1002


class Office:
    """A daemon whose Slurm has PrivateData set; alice has rack03, and bob waits for it."""

    def __init__(self, *private: str) -> None:
        self.store = MemoryStore()
        self.records: list[JobRecord] = []
        self.writer = StoreWriter(self.store)
        self.lab = Lab()
        self.lab.desk.journal = self.lab.desk.book.journal = StoreJournal(self.writer)
        self.slurm = fake_slurm(self.lab.site)
        self.slurm.private = frozenset(private)
        pace = Pace(partitions_s=0.0)
        self.rounds = Rounds(
            self.lab.desk, self.slurm, self.writer, self.lab.observer, self.lab.clock, pace
        )
        self.control = ControlHandler(self.lab.desk, self.rounds, self.writer, frozenset({ROOT}), lambda: None)
        self.round()
        self.shown(1, ALICE, "power:est=20kW,max=20kW,zones=rack03")
        self.shown(2, BOB, "power:est=5kW,max=5kW,zones=rack03")

    def round(self) -> None:
        asyncio.run(self.rounds.round())

    def submit(self, uid: int, comment: str, **fields: object) -> Reply:
        return submit(self.lab.desk, job(comment, user_id=uid, account=f"of{uid}", **fields))

    def shown(self, job_id: int, uid: int, comment: str, **fields: object) -> None:
        reply = self.submit(uid, comment, **fields)
        held = reply.verdict == "hold"
        record = JobRecord(
            job_id,
            JobState.PENDING,
            uid,
            name="train",
            partition="main",
            comment=comment,
            priority=0 if held else 1_000,
            admin_comment=str(reply.fields["admin_comment"]),
            time_limit_s=3_600,
        )
        self.records.append(record)
        self.lab.observe(*self.records)

    def ask(self, peer: int, op: str, **request: object) -> dict[str, Any]:
        async def one() -> str:
            return await self.control(Peer(peer, peer, 1), {"op": op, **request})

        found: dict[str, Any] = json.loads(asyncio.run(one()))["result"]
        return found

    def jobs(self, peer: int, **request: object) -> list[str]:
        return [row["job"] for row in self.ask(peer, "jobs", **request)["jobs"]]

    def keep_rack03(self) -> None:
        """Alice's next job is the head of the queue, and rack03 is kept for it."""
        self.shown(3, ALICE, "power:est=22kW,max=22kW,zones=rack03", qos="silver")
        list(run_pass(self.lab.desk))


@pytest.fixture
def private() -> Iterator[Office]:
    made = Office("jobs", "usage")
    yield made
    made.writer.close(10)


@pytest.fixture
def open_() -> Iterator[Office]:
    made = Office("accounts", "users")
    yield made
    made.writer.close(10)


def test_without_it_everybody_sees_all(open_: Office) -> None:
    for uid in (ROOT, ALICE, BOB, 4711):
        assert open_.jobs(uid) == ["1", "2"]
        assert {line["uid"] for line in open_.ask(uid, "report")["decisions"]} == {ALICE, BOB}
    assert open_.jobs(BOB, uid=ALICE) == ["1"]
    assert open_.ask(ALICE, "explain", job="2")["job"] == "2"
    assert any(cure["after_job"] == "1" for cure in open_.ask(BOB, "explain", job="2")["helps"])


def test_a_user_sees_his_own_jobs_and_root_sees_all(private: Office) -> None:
    assert [private.jobs(uid) for uid in (ROOT, ALICE, BOB, 4711)] == [["1", "2"], ["1"], ["2"], []]
    assert private.jobs(ROOT, uid=BOB) == ["2"]
    assert private.jobs(BOB, uid=BOB) == ["2"]


def test_who_asks_is_what_the_kernel_says_and_not_the_request(private: Office) -> None:
    assert private.jobs(BOB, uid=ALICE) == []
    assert private.jobs(BOB, uid=ROOT, user_id=ROOT) == []


def test_anothers_job_is_as_unknown_as_none(private: Office) -> None:
    told = []
    for name in ("1", "4711"):
        with pytest.raises(UsageError) as error:
            private.ask(BOB, "explain", job=name)
        told.append(str(error.value).replace(name, "N"))
    assert told[0] == told[1]
    token = private.lab.desk.book.by_job[1]
    with pytest.raises(UsageError):
        private.ask(BOB, "explain", job=token)
    assert private.ask(ROOT, "explain", job="1")["job"] == "1"


def test_what_explains_ones_own_job_names_nobody_elses(private: Office) -> None:
    found = private.ask(BOB, "explain", job="2")
    later = next(cure for cure in found["helps"] if cure["cure"] == "later")
    assert (later["after_job"], "job 1" in json.dumps(found)) == ("", False)
    assert later["at"] == found["earliest_start"] is not None
    assert "when job 1 ends" in private.ask(ROOT, "explain", job="2")["sentence"]
    found = private.ask(BOB, "check", job={"comment": "power:est=5kW,max=5kW,zones=rack03"})
    assert "job 1" not in json.dumps(found)


def test_what_is_kept_for_anothers_job_does_not_name_it(private: Office) -> None:
    private.keep_rack03()
    wanted = {"comment": "power:est=1kW,max=1kW,zones=rack03", "time_limit": 600}
    found = {uid: private.ask(uid, "check", job=wanted) for uid in (ROOT, ALICE, BOB)}
    why = {uid: answer["reasons"][0] for uid, answer in found.items()}
    assert {reason["code"] for reason in why.values()} == {"queue"}
    kept = "zone rack03 is kept for a job that waits longer: "
    assert {uid: reason["text"] for uid, reason in why.items()} == {
        ROOT: f"{kept}3", ALICE: f"{kept}3", BOB: f"{kept}another user's",
    }  # fmt: skip
    assert f"{kept}another user's" in found[BOB]["sentence"]
    assert f"{kept}another user's" in private.submit(BOB, str(wanted["comment"]), time_limit=600).message


def test_sbatch_names_nobody_elses_job(private: Office, open_: Office) -> None:
    comment = "power:est=5kW,max=5kW,zones=rack03"
    assert "when job 1 ends" in open_.submit(BOB, comment).message
    told = private.submit(BOB, comment).message
    assert "would help: fits rack03 at " in told
    assert "when job" not in told
    assert "when job 1 ends" in private.submit(ALICE, comment).message


def test_a_report_is_of_ones_own_jobs_as_many_as_asked_for(private: Office) -> None:
    for _ in range(5):
        private.submit(ALICE, "power:est=")
    for uid, lines in ((ALICE, 6), (BOB, 1), (4711, 0), (ROOT, 7)):
        found = private.ask(uid, "report")
        assert len(found["decisions"]) == lines
        assert sum(found["counts"].values()) == lines
        assert uid == ROOT or {line["uid"] for line in found["decisions"]} <= {uid}
    assert len(private.ask(BOB, "report", limit=1)["decisions"]) == 1


def test_a_report_of_old_lines_names_nobody_elses_job(private: Office) -> None:
    private.keep_rack03()
    private.submit(BOB, "power:est=1kW,max=1kW,zones=rack03", time_limit=600)
    (line,) = private.ask(BOB, "report", limit=1)["decisions"]
    assert [reason["code"] for reason in line["reasons"]] == ["queue"]
    tokens = [entry.token for entry in private.lab.desk.book.entries.values() if entry.uid == ALICE]
    assert [token for token in tokens if token in json.dumps(private.ask(ROOT, "report"))]
    assert not [token for token in tokens if token in json.dumps(line)]


def test_sums_stay_in_sight(private: Office, open_: Office) -> None:
    assert private.ask(BOB, "zones") == private.ask(ROOT, "zones")
    seen = {zone["name"]: zone["committed_w"] for zone in private.ask(BOB, "zones")["zones"]}
    assert seen == {zone["name"]: zone["committed_w"] for zone in open_.ask(BOB, "zones")["zones"]}


def test_a_check_is_by_who_asks(private: Office) -> None:
    """Whose submissions are outstanding is nobody else's affair."""
    private.lab.desk.book.rumours.put(ALICE, 40_000)
    wanted = {"comment": "power:est=1kW,max=1kW,zones=rack02", "user_id": ALICE}
    assert private.ask(BOB, "check", job=wanted)["verdict"] == "admit"
    assert private.ask(ROOT, "check", job=wanted)["reasons"][0]["code"] == "rumours"


def test_health_names_jobs_to_those_who_may_see_them(private: Office) -> None:
    private.lab.desk.faults.by_key["tok1"] = "ValueError: of alice"
    assert private.ask(BOB, "health")["faulty_jobs"] == {}
    assert private.ask(ROOT, "health")["faulty_jobs"] == {"tok1": "ValueError: of alice"}


def test_it_may_change_and_while_it_cannot_be_read_it_stays(
    open_: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> frozenset[str]:
        raise SlurmError("no answer", ("scontrol",), 1, "")

    open_.slurm.private = frozenset({"jobs"})
    open_.round()
    assert open_.lab.desk.private_jobs
    with monkeypatch.context() as patched:
        patched.setattr(open_.slurm, "private_data", fails)
        open_.round()
        assert open_.lab.desk.private_jobs
        fresh = Rounds(open_.lab.desk, open_.slurm, open_.writer, open_.lab.observer, open_.lab.clock)
        asyncio.run(fresh.round())
        assert open_.lab.desk.private_jobs  # not known yet: as if it were set
    open_.slurm.private = frozenset()
    open_.round()
    assert not open_.lab.desk.private_jobs
