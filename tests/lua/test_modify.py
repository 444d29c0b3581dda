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
    {"nice": 2147483658},
    {"shared": 0},
    {"requeue": 0},
    {"contiguous": 1},
    {"admin_comment": "power:id=x,v=admit"},
]
HARMLESS: list[dict[str, object]] = [
    {},
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


def release(
    at: float, priority: int = INFINITE, array: int = 0, het: int = 0, address: str = "0x1"
) -> dict[str, object]:
    record = {**RECORD, "array_job_id": array, "het_job_id": het}
    return {"job": {**UNCHANGED, "priority": priority}, "rec": record, "uid": 1000, "at": at, "address": address}


STAYS_HELD = reply(verdict="allow", message="your hold is lifted", n_priority=0)


def test_a_release_that_leaves_the_job_held(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(STAYS_HELD)
    result = hook.run(release(0))[0]
    assert (result.rc, result.job["priority"], result.told) == (0, NO_VAL, "your hold is lifted")


@pytest.mark.parametrize(("array", "het"), [(812, 0), (0, 812)])
def test_each_record_of_one_release_is_asked_as_a_release(
    hook: Hook, daemon: FakeDaemon, array: int, het: int
) -> None:
    daemon.says(STAYS_HELD, STAYS_HELD, reply(verdict="allow"))
    # Slurm hands the same description over for each record, with what the hook has written into it
    calls = [release(at, priority, array, het) for at, priority in ((0, INFINITE), (0.1, NO_VAL), (0.2, NO_VAL))]
    results = hook.run(*calls, clock=True)
    assert [request["job"]["priority"] for request in daemon.requests] == [INFINITE] * 3
    assert [result.job["priority"] for result in results] == [NO_VAL, NO_VAL, INFINITE]


@pytest.mark.parametrize(
    "other",
    [
        release(0.1, NO_VAL, address="0x2", array=812),
        release(0.1, NO_VAL, array=813),
        release(1.5, NO_VAL, array=812),
        release(-3, NO_VAL, array=812),
    ],
)
def test_another_change_is_no_release(hook: Hook, daemon: FakeDaemon, other: dict[str, object]) -> None:
    daemon.says(STAYS_HELD)
    hook.run(release(0, array=812), other, clock=True)
    assert len(daemon.requests) == 1


def test_a_hold_that_is_allowed_stays_a_hold(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(STAYS_HELD)
    assert hook.run(release(0, 0))[0].job["priority"] == 0


def test_an_allowed_change_may_be_amended(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="allow", set_features="a&pw_rack07"))
    result = hook.modify({**UNCHANGED, "features": "a"}, RECORD)
    assert (result.rc, result.job["features"]) == (0, "a&pw_rack07")


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
