"""slurm_job_submit: the answer is carried out exactly; without one the job is held and marked."""

import re
import socket
from pathlib import Path

import pytest

from slurm_power.core.record import Standing, find_record
from tests.lua.support import KEY, FakeDaemon, Hook, Result, reply

NO_VAL, NO_VAL16, NO_VAL64, INFINITE = 4294967294, 65534, 1.8446744073709552e19, 4294967295

PLAIN: dict[str, object] = {
    "user_id": 1000, "comment": "power:est=18kW", "script": "#!/bin/sh\n", "name": "train", "priority": NO_VAL,
    "min_nodes": NO_VAL, "time_limit": INFINITE, "min_cpus": NO_VAL16, "shared": NO_VAL16, "requeue": NO_VAL16,
    "cpus_per_task": NO_VAL16, "pn_min_memory": NO_VAL64, "begin_time": 0, "het_job_offset": NO_VAL, "cron_job": False,
    "bitflags": 0x1E000000, "nice": NO_VAL,
}  # fmt: skip
"""What slurmctld hands over for `sbatch --comment=power:est=18kW -t 0 -c65534`, more or less."""


def assert_held(result: Result, holder: str = "power") -> None:
    assert result.rc == 0
    assert result.job["priority"] == 0
    record = find_record(result.job["admin_comment"])
    assert record is not None
    assert record.standing is Standing.HOLD
    assert record.hold == holder
    assert re.fullmatch(r"lua-\w+", record.token)
    assert result.told == "held: slurm_power does not answer; it will be admitted when it does"


def test_the_question(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="pass"))
    hook.submit(PLAIN)
    assert daemon.requests == [
        {
            "v": 1,
            "op": "submit",
            "uid": 1000,
            "job": {
                "user_id": 1000, "comment": "power:est=18kW", "name": "train", "time_limit": INFINITE,
                "min_cpus": NO_VAL16, "bitflags": 0x1E000000, "cron_job": False, "batch": True,
            },
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "batch"),
    [
        ({"script": "#!/bin/sh"}, True),
        ({"het_job_offset": NO_VAL}, False),
        ({"script": "#!/bin/sh", "het_job_offset": 0}, True),
        ({"het_job_offset": 0}, False),
        ({"het_job_offset": 1, "environment": {"SLURM_SUBMIT_DIR": "/home"}}, True),
        ({"het_job_offset": 1, "environment": {}}, False),
    ],
)
def test_batch_or_not(hook: Hook, daemon: FakeDaemon, fields: dict[str, object], batch: bool) -> None:
    daemon.says(reply(verdict="pass"))
    hook.submit(fields)
    assert daemon.requests[0]["job"]["batch"] is batch


def test_admit(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(
        reply(
            verdict="admit",
            set_licenses="pw_rack07:18500",
            set_features="(a&b)",
            set_admin_comment="power:id=Zk3,v=admit",
            n_nice=5,
            message="admitted to rack07\nfree now: 12 kW, 100%s",
        )
    )
    result = hook.submit(PLAIN)
    assert result.rc == 0
    changed = {name: value for name, value in result.job.items() if PLAIN.get(name) != value}
    assert changed == {
        "licenses": "pw_rack07:18500", "features": "(a&b)", "admin_comment": "power:id=Zk3,v=admit", "nice": 5,
    }  # fmt: skip
    assert result.told == "admitted to rack07\nfree now: 12 kW, 100%s"


def test_hold(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="hold", set_admin_comment="power:id=Zk3,v=hold,hold=power", message="held: 4 kW short"))
    result = hook.submit(PLAIN)
    assert (result.rc, result.job["priority"], result.told) == (0, 0, "held: 4 kW short")
    assert result.job["admin_comment"] == "power:id=Zk3,v=hold,hold=power"


def test_reject_sets_nothing(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="reject", message="never fits", set_licenses="x"))
    result = hook.submit(PLAIN)
    assert (result.rc, result.told) == (-1, "never fits")
    assert "licenses" not in result.job


def test_pass_changes_nothing(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="pass", set_licenses="x"))
    result = hook.submit(PLAIN)
    assert (result.rc, result.told, result.job) == (0, "", PLAIN)


def test_root_passes_the_same_way(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="reject", message="no"))
    assert hook.submit(PLAIN, uid=0).rc == -1
    assert daemon.requests[0]["uid"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n",
        b"rubbish\n",
        b"\x00\xff\xfe\n",
        b"verdict=admit\n",
        b"verdict=admit&key=" + KEY.encode() + b"\n",
        reply(key="f" * 32, verdict="admit"),
        reply(key="", verdict="admit"),
        reply(key=KEY[:-1], verdict="admit"),
        reply(verdict="admit")[:-1],
        reply(verdict="ADMIT"),
        reply(verdict="allow"),
        reply(),
        reply(verdict="admit")[:-1] + b"&verdict=reject\n",
        reply(verdict="admit")[:-1] + b"&set.features=%zz\n",
        b"key=" + KEY.encode() + b"&verdict=admit&message=" + b"x" * 70_000 + b"\n",
        b"x" * 3_000_000,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_rubbish_holds(hook: Hook, daemon: FakeDaemon, answer: bytes) -> None:
    daemon.says(answer)
    result = hook.submit(PLAIN)
    assert_held(result)
    assert "licenses" not in result.job


def test_the_longest_answer_that_is_read(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="reject", message="x" * 60_000))
    assert hook.submit(PLAIN).told == "x" * 60_000


def test_an_answer_in_pieces(hook: Hook, daemon: FakeDaemon) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        for byte in reply(verdict="reject", message="slowly"):
            connection.sendall(bytes([byte]))

    daemon.behaviour = behave
    assert hook.submit(PLAIN).told == "slowly"


def test_a_broken_field_holds(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="admit", set_licenses="pw_rack07:1", set_features="a"))
    assert_held(hook.run({"job": PLAIN, "uid": 1000, "broken": "features"})[0])


def test_a_number_that_is_none_holds(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="admit", n_priority="much"))
    assert_held(hook.submit(PLAIN))


def test_closed_at_once_holds(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.closes_at_once()
    assert_held(hook.submit(PLAIN))


def test_no_socket_holds(hook: Hook) -> None:
    assert_held(hook.submit(PLAIN))


def test_a_socket_that_nobody_serves_holds(hook: Hook, socket_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(socket_path))
    listener.close()
    assert_held(hook.submit(PLAIN))


def test_a_path_that_is_no_socket_holds(hook: Hook, socket_path: Path) -> None:
    socket_path.write_text("")
    assert_held(hook.submit(PLAIN))


def test_a_path_too_long_for_a_socket_holds(hook: Hook) -> None:
    assert_held(hook.submit(PLAIN, settings={"socket": "/tmp/" + "x" * 200}))


@pytest.mark.parametrize("content", [None, "", "short\n"])
def test_no_proper_key_file_holds(hook: Hook, daemon: FakeDaemon, content: str | None) -> None:
    key_file = daemon.path.with_name(daemon.path.name + ".key")
    key_file.unlink()
    if content is not None:
        key_file.write_text(content)
    daemon.says(reply(key=(content or "").strip(), verdict="admit"))
    assert_held(hook.submit(PLAIN))


def test_a_new_key_counts_at_once(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.path.with_name(daemon.path.name + ".key").write_text("fedcba9876543210")
    daemon.says(reply(key="fedcba9876543210", verdict="reject", message="new key"))
    assert hook.submit(PLAIN).told == "new key"


@pytest.mark.parametrize("behaviour", ["hangs", "trickles"])
def test_a_daemon_that_does_not_finish_holds(hook: Hook, daemon: FakeDaemon, behaviour: str) -> None:
    getattr(daemon, behaviour)()
    assert_held(hook.submit(PLAIN, settings={"timeout_ms": 100}))


def test_a_daemon_that_accepts_nothing_holds(hook: Hook, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path))
        listener.listen(0)
        call = {"job": PLAIN, "uid": 1000}
        for result in hook.run(call, call, call, settings={"timeout_ms": 50}):
            assert_held(result)


def test_a_request_that_nobody_could_mean_is_not_sent(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="admit"))
    assert_held(hook.submit({**PLAIN, "comment": "x" * 300_000}))
    assert daemon.connections == 0


def test_a_hold_of_the_user_is_remembered(hook: Hook) -> None:
    assert_held(hook.submit({**PLAIN, "priority": 0}), "both")


def test_tokens_differ(hook: Hook) -> None:
    calls = [{"job": PLAIN, "uid": 1000}] * 20
    assert len({result.job["admin_comment"] for result in hook.run(*calls)}) == 20


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("site note", "site note;"),
        ("power:id=me,v=admit,zones=rack07/1/1/1", ""),
        ("a;power:id=me,v=admit;b", "a;;b;"),
        ("power:id=1;power:id=2 power:id=3", ""),
        ("a\npower:id=me,v=admit\nb", "a\n\nb;"),
        ("my-power:id=x", "my-power:id=x;"),
    ],
)
def test_an_admin_comment_keeps_all_but_records(hook: Hook, given: str, kept: str) -> None:
    result = hook.submit({**PLAIN, "admin_comment": given})
    assert_held(result)
    assert re.sub(r"power:id=lua-\w+,v=hold,hold=power$", "", result.job["admin_comment"]) == kept


@pytest.mark.parametrize(
    "fields",
    [
        {"licenses": "pw_rack07:5"},
        {"licenses": "matlab:1,pw_rack07"},
        {"licenses": "matlab:1;pw_rack07:3"},
        {"licenses": "matlab|pw_rack07"},
        {"features": "h100&pw_rack07"},
        {"features": "[(h100&pw_a)*2&b*1]"},
        {"features": "!pw_rack07"},
        {"batch_features": "pw_rack07"},
        {"prefer": "pw_rack07"},
        {"tres_per_task": "cpu:2,license/pw_rack07:3"},
        {"dependency": "expand:812"},
        {"dependency": "afterok:5,Expand:812"},
    ],
)
def test_what_would_undermine_the_hold_is_refused(hook: Hook, fields: dict[str, object]) -> None:
    result = hook.submit({**PLAIN, **fields})
    assert result.rc == -1
    assert result.told
    assert "admin_comment" not in result.job


@pytest.mark.parametrize(
    "fields", [{"licenses": "matlab:2,xpw_1"}, {"features": "h100&my_pw_x"}, {"dependency": "afterok:1"}]
)
def test_what_only_looks_like_ours_is_held(hook: Hook, fields: dict[str, object]) -> None:
    assert_held(hook.submit({**PLAIN, **fields}))


def test_a_scrontab_job_is_refused_for_it_could_never_be_released(hook: Hook) -> None:
    result = hook.submit({**PLAIN, "cron_job": True})
    assert result.rc == -1
    assert "scrontab" in result.told


@pytest.mark.parametrize(("mode", "enforced"), [("observe", False), ("advise", False), ("enforce", True), ("", True)])
def test_a_daemon_that_only_watched_holds_nothing_by_its_absence(
    hook: Hook, socket_path: Path, mode: str, enforced: bool
) -> None:
    socket_path.with_name(socket_path.name + ".mode").write_text(mode + "\n")
    result = hook.submit(PLAIN)
    assert (result.job == PLAIN) is not enforced
    assert result.rc == 0


def test_after_three_time_outs_nobody_waits_until_it_has_rested(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.hangs()
    times = [0, 1, 2, 2.1, 6.9, 7.1, 7.2, 30, 31]
    results = hook.run(
        *({"job": PLAIN, "uid": 1000, "at": at} for at in times), settings={"timeout_ms": 40}, clock=True
    )
    for result in results:
        assert_held(result)
    asked = [at for at, result in zip(times, results, strict=True) if "not asked" not in result.log]
    assert asked == [0, 1, 2, 7.1, 30, 31]


def test_time_outs_far_apart_do_not_add_up(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.hangs()
    calls = [{"job": PLAIN, "uid": 1000, "at": at} for at in (0, 6, 12, 12.1)]
    results = hook.run(*calls, settings={"timeout_ms": 40}, clock=True)
    assert not any("not asked" in result.log for result in results)


def test_a_clock_set_back_does_not_prolong_the_rest(hook: Hook, daemon: FakeDaemon) -> None:
    daemon.hangs()
    calls = [{"job": PLAIN, "uid": 1000, "at": at} for at in (1000, 1001, 1002, 1002, 500)]
    results = hook.run(*calls, settings={"timeout_ms": 40}, clock=True)
    assert ["not asked" in result.log for result in results] == [False, False, False, True, False]


def test_an_answer_clears_the_time_outs(hook: Hook, daemon: FakeDaemon) -> None:
    def behave(connection: socket.socket) -> None:
        if daemon.connections == 3:
            connection.recv(65536)
            connection.sendall(reply(verdict="pass"))
        else:
            daemon.release.wait(60)

    daemon.behaviour = behave
    calls = [{"job": PLAIN, "uid": 1000, "at": at} for at in (0, 1, 2, 3, 4, 4.1)]
    results = hook.run(*calls, settings={"timeout_ms": 300}, clock=True)
    assert not any("not asked" in result.log for result in results)


def test_refusals_that_come_at_once_are_asked_again(hook: Hook) -> None:
    calls = [{"job": PLAIN, "uid": 1000, "at": at} for at in (0, 0, 0, 0, 0)]
    assert not any("not asked" in result.log for result in hook.run(*calls, clock=True))
