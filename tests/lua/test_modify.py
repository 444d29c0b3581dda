"""slurm_job_modify: what admission decided is changed with the daemon's consent alone."""

from pathlib import Path

import pytest

from tests.lua.support import FakeDaemon, Hook, reply

NO_VAL, NO_VAL16, INFINITE = 4294967294, 65534, 4294967295
DENIED = 2002

UNCHANGED: dict[str, object] = {
    "user_id": 1000, "priority": NO_VAL, "min_nodes": NO_VAL, "max_nodes": NO_VAL, "time_limit": NO_VAL,
    "num_tasks": NO_VAL, "shared": NO_VAL16, "requeue": NO_VAL16, "cpus_per_task": NO_VAL16, "contiguous": NO_VAL16,
    "nice": NO_VAL, "begin_time": 0, "end_time": 0, "bitflags": 0, "het_job_offset": 0,
}  # fmt: skip
RECORD: dict[str, object] = {
    "job_id": 812, "user_id": 1000, "job_state": 0, "priority": 0, "partition": "train", "array_task_id": NO_VAL,
    "admin_comment": "power:id=Zk3,v=hold,hold=power", "comment": "power:est=18kW", "time_limit": NO_VAL,
}  # fmt: skip

TOUCHING: list[dict[str, object]] = [
    {"priority": 0},
    {"priority": INFINITE},
    {"priority": 1000},
    {"licenses": ""},
    {"licenses": "matlab:1"},
    {"features": ""},
    {"prefer": "x"},
    {"req_nodes": "gpu001"},
    {"exc_nodes": ""},
    {"reservation": "maintenance"},
    {"partition": "eval"},
    {"account": "ops"},
    {"qos": ""},
    {"qos": "gold"},
    {"comment": "power:est=1W"},
    {"comment": ""},
    {"name": "other"},
    {"tres_per_node": "gres:"},
    {"tres_per_job": "gres:gpu:8"},
    {"cpus_per_tres": "gpu:4"},
    {"min_nodes": 2},
    {"max_nodes": 3},
    {"min_cpus": 64},
    {"num_tasks": 4},
    {"cpus_per_task": 8},
    {"ntasks_per_node": 2},
    {"time_limit": 600},
    {"time_limit": INFINITE},
    {"time_min": 5},
    {"end_time": 1_800_000_000},
    {"dependency": "expand:811"},
    {"dependency": ""},
    {"array_inx": "4"},
    {"shared": 0},
    {"requeue": 0},
    {"contiguous": 1},
    {"admin_comment": "power:id=x,v=admit"},
]
HARMLESS: list[dict[str, object]] = [
    {},
    {"nice": 10},
    {"begin_time": 1_800_000_000},
    {"mail_user": "me"},
    {"wckey": "w"},
    {"work_dir": "/tmp"},
    {"std_out": "x"},
    {"min_nodes": INFINITE},
]


@pytest.mark.parametrize("change", TOUCHING, ids=str)
@pytest.mark.parametrize(("verdict", "rc"), [("allow", 0), ("deny", DENIED)])
def test_a_change_of_what_was_decided_is_asked(
    hook: Hook, daemon: FakeDaemon, change: dict[str, object], verdict: str, rc: int
) -> None:
    daemon.says(reply(verdict=verdict, message="because"))
    result = hook.modify({**UNCHANGED, **change}, RECORD)
    assert (result.rc, result.told) == (rc, "because")
    record = {name: value for name, value in RECORD.items() if value != NO_VAL}
    assert daemon.requests == [{"v": 1, "op": "modify", "uid": 1000, "job": change, "rec": record}]


@pytest.mark.parametrize("change", TOUCHING, ids=str)
def test_without_an_answer_it_is_denied(hook: Hook, change: dict[str, object]) -> None:
    job = {**UNCHANGED, **change}
    result = hook.modify(job, RECORD)
    assert result.rc == DENIED
    assert "does not answer" in result.told
    assert result.job == job


@pytest.mark.parametrize("change", HARMLESS, ids=str)
def test_other_changes_are_not_asked(hook: Hook, daemon: FakeDaemon, change: dict[str, object]) -> None:
    daemon.says(reply(verdict="deny"))
    assert hook.modify({**UNCHANGED, **change}, RECORD).rc == 0
    assert daemon.connections == 0


@pytest.mark.parametrize("uid", [0, 990])
def test_root_and_slurm_user_go_through(hook: Hook, daemon: FakeDaemon, uid: int) -> None:
    daemon.says(reply(verdict="deny"))
    assert hook.modify({**UNCHANGED, "priority": INFINITE, "licenses": "pw_rack07:5"}, RECORD, uid=uid).rc == 0
    assert daemon.connections == 0


def test_rubbish_denies(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="admit"))
    assert hook.modify({**UNCHANGED, "priority": INFINITE}, RECORD).rc == DENIED


def test_a_slurm_without_names_for_errors(hook: Hook) -> None:
    result = hook.modify({**UNCHANGED, "priority": 0}, RECORD, without=["ESLURM_ACCESS_DENIED"])
    assert result.rc == -1


def test_a_daemon_that_only_watched_denies_nothing_by_its_absence(hook: Hook, socket_path: Path) -> None:
    socket_path.with_name(socket_path.name + ".mode").write_text("observe\n")
    assert hook.modify({**UNCHANGED, "priority": INFINITE}, RECORD).rc == 0
