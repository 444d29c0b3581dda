"""Every decision tells its cause, its rule and its numbers; and who may read which lines of the audit log."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.core.errors import UsageError
from slurm_power.core.reasons import Code
from slurm_power.ports import Decision, JobRecord, JobState, Outcome, Rule
from slurm_power.service.launch import end, launch
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit, withdraw
from tests.service.driver import Driver
from tests.service.support import START, Lab, job, site_of
from tests.service.test_launch import env, shown
from tests.service.test_mode import Machine
from tests.service.test_observe import running
from tests.service.test_privacy import ALICE, BOB, ROOT, Office
from tests.service.test_release import held, plans

OWN = {"est_w": 5_000, "max_w": 6_500}
"""The numbers of a job that asks for 5 kW."""


@pytest.fixture
def lab() -> Lab:
    return Lab()


def last(lab: Lab) -> tuple[str, str, str, dict[str, int]]:
    line = lab.journal.decisions[-1]
    return line.action, line.cause, line.rule, dict(line.numbers)


@pytest.mark.parametrize(
    ("mode", "comment", "expected"),
    [
        ("enforce", "power:est=5kW", ("admit", "submission", "admission", OWN)),
        ("observe", "power:est=5kW", ("would-admit", "submission", "admission", OWN)),
        ("enforce", "power:est=5kW,class=overnight", ("hold", "submission", "hours", OWN)),
        ("advise", "power:est=5kW,class=overnight", ("would-hold", "submission", "hours", OWN)),
        ("enforce", "power:est=", ("reject", "submission", "envelope", {})),
        ("observe", "power:est=", ("would-reject", "submission", "envelope", {})),
    ],
)
def test_submissions(mode: str, comment: str, expected: object) -> None:
    lab = Lab(site_of(mode=mode))
    submit(lab.desk, job(comment))
    assert last(lab) == expected


def test_a_submission_that_was_not_waited_for(lab: Lab) -> None:
    withdraw(lab.desk, submit(lab.desk, job()))
    assert last(lab) == ("unheard", "the hook had given up", "hook_timeout", OWN)


def test_the_gate_and_the_end(lab: Lab) -> None:
    shown(lab, 1)
    shown(lab, 2, "power:est=23kW,max=23kW,zones=rack01", qos="gold")
    launch(lab.desk, env(2, "n01"))
    assert last(lab)[:3] == ("launch", "start on its nodes", "launch_gate")
    launch(lab.desk, env(1, "n02"))
    assert last(lab) == ("deny", "start on its nodes", "launch_gate", OWN)
    end(lab.desk, env(2, "n01"))
    assert last(lab)[:3] == ("end", "epilog", "")


def test_what_runs_already(lab: Lab) -> None:
    lab.observe(running())
    assert last(lab) == ("found-running", "seen on nodes", "", OWN)
    lab.observe(running(), running(2, comment="power:est=24kW,max=24kW"))
    assert last(lab)[:3] == ("found-running-over", "seen on nodes", "over")
    (reason,) = lab.journal.decisions[-1].reasons
    assert (reason["subject"], reason["short_w"]) == ("rack03", 7_000)
    assert reason["text"] == "rack03 lacks 7kW for it"


def test_releases_and_what_slurm_refuses(lab: Lab) -> None:
    (plan,) = plans(lab, held(1))
    applied(lab.desk, plan, Outcome(0, "Invalid feature"))
    assert last(lab)[:3] == ("bind-failed", "Slurm refused", "binding")
    assert "Invalid feature" in str(lab.journal.decisions[-1].reasons[0]["text"])
    lab.wait(3_600)
    (plan,) = plans(lab, held(1), held(2, "power:est=80kW,max=80kW"))
    assert last(lab)[:3] == ("never", "admission pass", "zone_power")
    applied(lab.desk, plan, Outcome(len(plan.chain)))
    assert last(lab)[:3] == ("release", "admission pass", "admission")


def test_what_does_not_start_in_time(lab: Lab) -> None:
    record = shown(lab, 1)
    lab.clock.wait(301)
    lab.wait(301)
    lab.observe(record)
    (plan,) = [plan for plan in run_pass(lab.desk) if plan is not None]
    assert last(lab) == ("unbind", "not started after 300 s", "start_grace", OWN)
    applied(lab.desk, plan, Outcome(len(plan.chain)))
    assert last(lab) == ("hold", "free to start in Slurm", "hold", OWN)


def test_every_line_of_a_long_history_has_a_cause_and_a_known_rule() -> None:
    driver = Driver(3)
    for _ in range(300):
        driver.act()
    lines = driver.cluster.journal.decisions
    assert len({line.action for line in lines}) >= 6
    assert [line for line in lines if not line.cause] == []
    assert {line.rule for line in lines} <= {*Rule, *map(str, Code), ""}
    assert {line.action for line in lines if not line.rule} <= {"end", "found-running"}
    assert {reason["code"] for line in lines for reason in line.reasons} <= set(map(str, Code))


# -- the mode ------------------------------------------------------------------------------------------------------


def changes(machine: Machine) -> list[tuple[str, int | None, str]]:
    assert machine.daemon._writer.flush(10)
    found = machine.daemon._store.decisions(actions=["mode"])
    assert {(line.rule, line.job, line.token) for line in found} <= {("mode", "", "")}
    return [(line.mode, line.actor, line.cause) for line in found]


def test_who_changed_the_mode_is_recorded(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.write("enforce")
    machine.start()
    try:
        machine.ask(mode="observe")
        machine.ask()
        machine.reload()
        machine.write("advise")
        machine.reload()
        assert changes(machine) == [
            ("observe", ROOT, "spower mode: observe after enforce"),
            ("advise", None, "site file: advise after observe"),
        ]
    finally:
        machine.daemon.close()


# -- who may read what ---------------------------------------------------------------------------------------------


def lines(office: Office, peer: int, **asked: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = office.ask(peer, "audit", **asked)["lines"]
    return found


def seen(office: Office, peer: int, **asked: object) -> list[tuple[str, str]]:
    return [(line["action"], line["job"] or line["reservation"]) for line in lines(office, peer, **asked)]


def filled(office: Office) -> Office:
    """With a reservation of bob's account that alice has made, and one of nobody's."""
    common: dict[str, Any] = {"at": START, "action": "degrade", "mode": "enforce"}
    mine = Decision(uid=ALICE, account=f"of{BOB}", reservation="nightly", cause="unused", rule="grace", **common)
    office.writer.record([mine, Decision(uid=ROOT, reservation="spare", **common)])
    return office


@pytest.fixture
def private() -> Iterator[Office]:
    made = filled(Office("jobs"))
    yield made
    made.writer.close(10)


@pytest.fixture
def open_() -> Iterator[Office]:
    made = filled(Office())
    yield made
    made.writer.close(10)


JOBS = [("admit", "1"), ("hold", "2")]
NIGHTLY, SPARE = ("degrade", "nightly"), ("degrade", "spare")


def test_root_sees_every_line(private: Office, open_: Office) -> None:
    assert seen(private, ROOT) == seen(open_, ROOT) == [*JOBS, NIGHTLY, SPARE]


def test_users_see_jobs_and_no_reservation_but_their_own(private: Office, open_: Office) -> None:
    assert [seen(open_, uid) for uid in (ALICE, BOB)] == [[*JOBS, NIGHTLY], JOBS]
    assert [seen(private, uid) for uid in (ALICE, BOB, 4711)] == [[JOBS[0], NIGHTLY], [JOBS[1]], []]


def test_who_answers_for_an_account_sees_its_reservations(private: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = {BOB: frozenset({f"of{BOB}"})}
    monkeypatch.setattr(private.rounds.reservations, "accounts_of", lambda uid: owners.get(uid, frozenset()))
    assert seen(private, BOB) == [JOBS[1], NIGHTLY]
    assert seen(private, ALICE) == [JOBS[0], NIGHTLY]
    assert seen(private, 4711) == []


def test_no_request_widens_what_one_may_see(private: Office) -> None:
    for asked in ({"uid": ALICE}, {"job": "1"}, {"account": f"of{ALICE}"}, {"reservation": "spare"}, {"viewer": None}):
        assert set(seen(private, BOB, **asked)) <= {JOBS[1]}, asked
    assert seen(private, BOB, limit=1) == [JOBS[1]]


def test_lines_of_ones_own_name_nobody_elses_job(private: Office) -> None:
    private.keep_rack03()
    private.submit(BOB, "power:est=1kW,max=1kW,zones=rack03", time_limit=600)
    line = lines(private, BOB)[-1]
    assert line["rule"] == "queue"
    tokens = [entry.token for entry in private.lab.desk.book.entries.values() if entry.uid == ALICE]
    assert not [token for token in tokens if token in json.dumps(line)]
    assert [token for token in tokens if token in json.dumps(lines(private, ROOT))]


def test_a_report_is_of_jobs_alone(private: Office) -> None:
    assert private.ask(ROOT, "report")["counts"] == {"admit": 1, "hold": 1}
    assert private.ask(ALICE, "report")["counts"] == {"admit": 1}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"job": "1"}, [JOBS[0]]),
        ({"zone": "rack03"}, JOBS),
        ({"zone": "rack03", "actions": ["hold", "deny"]}, [JOBS[1]]),
        ({"account": f"of{BOB}"}, [JOBS[1], NIGHTLY]),
        ({"uid": ALICE}, [JOBS[0], NIGHTLY]),
        ({"reservation": "nightly"}, [NIGHTLY]),
        ({"since": START + 1}, []),
        ({"until": START}, []),
        ({"limit": 1}, [SPARE]),
        ({"actions": []}, [*JOBS, NIGHTLY, SPARE]),
    ],
)
def test_lines_are_asked_for_by_what_they_are_about(
    open_: Office, asked: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert seen(open_, ROOT, **asked) == expected


def test_the_parts_of_a_job_are_found_by_its_number(open_: Office) -> None:
    reply = open_.submit(ALICE, "power:est=1kW,max=1kW,zones=rack03", array_inx="0-3%1")
    parts = JobRecord(
        9,
        JobState.PENDING,
        ALICE,
        array_job_id=9,
        array_tasks="0-3",
        partition="main",
        comment="power:est=1kW,max=1kW,zones=rack03",
        priority=0 if reply.verdict == "hold" else 1_000,
        admin_comment=str(reply.fields["admin_comment"]),
        time_limit_s=3_600,
    )
    open_.records.append(parts)
    open_.lab.observe(*open_.records)
    assert seen(open_, ROOT, job="9") == [(reply.verdict, "9")]
    assert seen(open_, ROOT, job="9_[0-3]") == [(reply.verdict, "9")]
    assert seen(open_, ROOT, job="10") == []


def test_components_were_submissions_of_their_own(open_: Office) -> None:
    for job_id in (20, 21):
        open_.shown(job_id, ALICE, "power:est=1kW,max=1kW,zones=rack02")
    open_.records[2:] = [
        replace(record, het_job_id=20, het_offset=offset) for offset, record in enumerate(open_.records[2:])
    ]
    open_.lab.observe(*open_.records)
    assert seen(open_, ROOT, job="20") == [("admit", "20+0"), ("admit", "20+1")]
    assert seen(open_, ROOT, job="20+1") == [("admit", "20+1")]


def test_a_line_about_no_job_gets_no_jobs_name(open_: Office) -> None:
    open_.writer.record([Decision(START, "end", "enforce", job="813", uid=ALICE, account="a")])
    assert seen(open_, ROOT)[2:] == [NIGHTLY, SPARE, ("end", "813")]


def test_a_line_has_everything(open_: Office) -> None:
    (line,) = lines(open_, ROOT, job="1")
    assert line == {
        "at": "2027-01-15T08:00:00Z",
        "job": "1",
        "uid": ALICE,
        "account": f"of{ALICE}",
        "action": "admit",
        "mode": "enforce",
        "zones": ["rack03"],
        "reasons": [],
        "reservation": "",
        "actor": None,
        "cause": "submission",
        "rule": "admission",
        "numbers": {"est_w": 20_000, "max_w": 20_000},
    }


@pytest.mark.parametrize(
    "asked",
    [
        {"job": 1}, {"job": ""}, {"zone": None}, {"account": ["a"]}, {"reservation": {}}, {"uid": "alice"}, {"uid": -1},
        {"uid": 1 << 32}, {"uid": True}, {"actions": "hold"}, {"actions": [1]}, {"actions": ["a"] * 101},
        {"since": -1}, {"until": 1 << 70}, {"until": "now"}, {"limit": 0},
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(open_: Office, asked: dict[str, object]) -> None:
    async def one() -> str:
        return await open_.control(Peer(BOB, BOB, 1), {"op": "audit", **asked})

    with pytest.raises(UsageError, match=f'"{next(iter(asked))}" is a '):
        asyncio.run(one())


def test_nobody_gets_more_lines_than_a_report_has(open_: Office) -> None:
    line = Decision(0, "end", "enforce", job="7", token="t7", uid=BOB, account="a")
    open_.writer.record([replace(line, at=at) for at in range(2_100)])
    assert [len(lines(open_, uid, limit=90_000)) for uid in (BOB, ROOT)] == [2_000, 2_104]
    assert len(lines(open_, ROOT)) == 1_000
