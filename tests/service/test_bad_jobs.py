"""Words of users that must neither stop a round nor keep the hook waiting, nor get a bad job past us."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.errors import SlurmParseError
from slurm_power.core.lifecycle import State
from slurm_power.core.reasons import Reason
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.asking import Ask
from slurm_power.service.binding import Binder, Binding
from slurm_power.service.book import Entry
from slurm_power.service.modify import modify
from slurm_power.service.pending import Pending
from slurm_power.service.release import run_pass
from slurm_power.service.submit import submit
from slurm_power.service.world import expand, nodes_of
from tests.service.support import Lab, job


@pytest.mark.parametrize(
    "hostlist",
    [
        "@slurm:x",  # ClusterShell would run its configuration's command with x in it
        "@*",
        "n[1-2-3000000000]",
        "n[1-" + "9" * 40 + "]",
        "n[" + ",".join(map(str, range(1_000))) + "]m[" + ",".join(map(str, range(1_000))) + "]",
        "n[1-2",
        "n[2-1]",
        "n[1-9/0]",
        "n[]",
        "n[a-b]",
        "," * 10_000,
        "a," * 5_000 + "]",
    ],
)
def test_what_a_user_writes_for_a_hostlist_never_raises_and_names_nothing(hostlist: str) -> None:
    assert expand(hostlist) == ()


def test_hostlists_are_read_as_slurm_writes_them() -> None:
    assert expand("gpu[001-003,07]x[1-2],b") == (
        "gpu001x1",
        "gpu001x2",
        "gpu002x1",
        "gpu002x2",
        "gpu003x1",
        "gpu003x2",
        "gpu07x1",
        "gpu07x2",
        "b",
    )
    assert expand("n[0-10/5]") == ("n0", "n5", "n10")
    many = "n[" + ",".join(f"{10 * i}-{10 * i + 3}" for i in range(20)) + "]"
    assert len(expand(many)) == 80  # the ranges of one bracket add up, they do not multiply
    assert len(nodes_of(",".join(f"r{i * 7 % 997}n{i * 13 % 877}" for i in range(2_000)))) == 2_000


def test_a_hostlist_of_slurms_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SlurmParseError):
        nodes_of("n[1-")


def test_one_job_that_cannot_be_judged_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    poison = JobRecord(
        1, JobState.PENDING, 1001, partition="main", name="poison", comment="power:est=5kW", priority=100
    )
    sound = replace(poison, job_id=2, name="sound")
    judge = Pending.judge

    def fail_on_poison(self: Pending, entry: Entry, record: JobRecord, before: JobRecord | None) -> None:
        if record.name == "poison":
            raise RecursionError("too deep")
        judge(self, entry, record, before)

    def states() -> list[State]:
        return [entry.state for entry in sorted(lab.desk.book.entries.values(), key=lambda e: e.job_id or 0)]

    with monkeypatch.context() as patched:
        patched.setattr(Pending, "judge", fail_on_poison)
        lab.observe(poison, sound)
        lab.observe(poison, sound)
    assert states() == [State.FREE, State.WAITING]
    assert lab.desk.faults.by_key == {"job1": "RecursionError: too deep"}
    assert lab.desk.faults.count == 2
    lab.observe(poison, sound)  # tried again although Slurm shows nothing new of it
    assert states() == [State.WAITING, State.WAITING]
    assert not lab.desk.faults.by_key


def test_one_job_that_cannot_be_placed_does_not_stop_the_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    held = JobRecord(
        1,
        JobState.PENDING,
        1001,
        partition="main",
        name="poison",
        comment="power:est=5kW",
        admin_comment="power:id=t1,v=hold,hold=power",
    )
    lab.observe(held, replace(held, job_id=2, name="sound", admin_comment="power:id=t2,v=hold,hold=power"))
    bind = Binder.bind

    def fail_on_poison(self: Binder, ask: Ask, *more: Any, **named: Any) -> Binding | Reason:
        if ask.facts.name == "poison":
            raise ValueError("no such thing")
        return bind(self, ask, *more, **named)

    monkeypatch.setattr(Binder, "bind", fail_on_poison)
    plans = [plan for plan in run_pass(lab.desk) if plan is not None]
    assert [plan.target for plan in plans] == ["2"]
    assert lab.desk.faults.by_key == {"t1": "ValueError: no such thing"}


@pytest.mark.parametrize("change", [{"licenses": "pw_rack01:9000"}, {"features": "pw_rack01"}])
@pytest.mark.parametrize("admin_comment", ["power:id=t1,v=free", ""])
def test_our_names_are_not_given_to_jobs_that_are_none_of_our_business(
    change: dict[str, str], admin_comment: str
) -> None:
    lab = Lab()
    lab.observe(
        JobRecord(1, JobState.PENDING, 1001, partition="outside", priority=9, admin_comment=admin_comment)
    )
    rec = {"job_id": 1, "user_id": 1001, "priority": 9, "admin_comment": admin_comment}
    assert modify(lab.desk, 1001, change, rec).verdict == "deny"
    assert modify(lab.desk, 1001, {"licenses": "matlab:1"}, rec).verdict == "allow"


def test_an_expansion_is_refused_however_it_is_written() -> None:
    lab = Lab()
    assert submit(lab.desk, job(dependency="EXPAND:12")).verdict == "reject"


def test_a_job_over_very_many_zones_is_held_for_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab()
    monkeypatch.setattr("slurm_power.service.submit._MOST_PARTS", 2)
    reply = submit(lab.desk, job("power:est=5kW", min_nodes=3))
    assert reply.verdict == "hold"
    assert "a job of 3 nodes is placed by the next admission pass" in reply.message
    assert submit(lab.desk, job("power:est=5kW", min_nodes=2)).verdict == "admit"
