"""The launch gate as a real process, started as slurmctld starts it: a bare environment, the exit status decides."""

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_power.core.record import AdmissionRecord, Charge, Standing
from tests.lua.support import KEY, LUA_DIR, FakeDaemon, lua_literal, reply

ENV = {
    "SLURM_JOB_ID": "812",
    "SLURM_JOB_NODELIST": "gpu[001-002]",
    "SLURM_JOB_RESTART_COUNT": "0",
    "SLURM_SCRIPT_CONTEXT": "prolog_slurmctld",
    "PWD": "/",
}
ZONES = {"rack01": "gpu001 gpu002", "rack02": "gpu003 gpu004", "rack03": "r1n1 r1n2 r2n1 r2n2"}
NODES = "".join(f"{node} {zone}\n" for zone, nodes in ZONES.items() for node in nodes.split())
ADMITTED = AdmissionRecord("Zk3", Standing.ADMIT, "gold", (Charge("rack01", 2, 18_500, 24_000),)).encode()


class Gate:
    """The gate in a directory of its own, with a squeue that prints what a test says."""

    def __init__(self, directory: Path, socket: Path) -> None:
        self.directory = directory
        self.socket = socket
        for name in ("power_prolog", "power_epilog", "power_gate.lua", "slurm_power_wire.lua"):
            shutil.copy(LUA_DIR / name, directory)
        self.rows = directory / "rows"
        squeue = directory / "squeue"
        asked, rows = quote(f"{directory}/asked"), quote(str(self.rows))
        squeue.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$SLURM_CONF" "$@" > {asked}\n'
            f'case "$*" in *RUNNING*) cat {rows}-on-nodes ;; *) cat {rows} ;; esac\n'
        )
        squeue.chmod(0o755)
        self.configure()
        self.nodes(NODES)

    def configure(self, **more: object) -> None:
        values = {"socket": str(self.socket), "squeue": str(self.directory / "squeue"), "gate_timeout_ms": 5000, **more}
        (self.directory / "slurm_power_hook.lua").write_text(f"return {lua_literal(values)}")

    def nodes(self, text: str) -> None:
        self.socket.with_name(self.socket.name + ".nodes").write_text(text)

    def queue(self, *rows: tuple[str, str, str, str], on_nodes: bool = False) -> None:
        """What squeue prints, of all jobs or of those on nodes: job id, het job id, licences, admin comment."""
        file = self.rows.with_name("rows-on-nodes") if on_nodes else self.rows
        file.write_text("".join("\x1f".join(row) + "\x1f\n" for row in rows))

    def run(self, script: str = "power_prolog", env: Mapping[str, str | None] | None = None) -> tuple[int, str]:
        merged = {name: value for name, value in {**ENV, **(env or {})}.items() if value is not None}
        done = subprocess.run(
            [self.directory / script], env=merged, capture_output=True, timeout=60, check=False, cwd="/"
        )
        return done.returncode, done.stderr.decode(errors="replace")

    def launches(self, **env: str | None) -> bool:
        status, told = self.run(env=env)
        assert status in {0, 1}
        assert bool(told) == bool(status)
        return status == 0


@pytest.fixture
def gate(tmp_path: Path, socket_path: Path) -> Gate:
    directory = tmp_path / "it's here"
    directory.mkdir()
    return Gate(directory, socket_path)


@pytest.mark.parametrize(("verdict", "status"), [("allow", 0), ("deny", 1)])
def test_the_daemon_decides(gate: Gate, daemon: FakeDaemon, verdict: str, status: int) -> None:
    daemon.says(reply(verdict=verdict, message="short by 4 kW"))
    assert gate.run()[0] == status
    expected = {name: value for name, value in ENV.items() if name.startswith("SLURM_")}
    assert daemon.requests == [{"v": 1, "op": "prolog", "env": expected}]


def test_the_environment_cannot_be_forged(gate: Gate, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="allow"))
    comment = 'x\nSLURM_JOB_ID=1\n","op":"y\udcff'
    # what a user names comes first and has SPANK_ before it
    env = {"SPANK_A": "SLURM_JOB_ID=1", "SPANK_B": "\nSLURM_JOB_NODELIST=x", **ENV, "SLURM_JOB_COMMENT": comment}
    done = subprocess.run([gate.directory / "power_prolog"], env=env, timeout=60, check=False)
    assert done.returncode == 0
    sent = daemon.requests[0]["env"]
    assert sent == {
        **{name: value for name, value in ENV.items() if name.startswith("SLURM_")},
        "SLURM_JOB_COMMENT": comment.replace("\udcff", "\ufffd"),
    }


def test_it_waits_when_told_to(gate: Gate, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="wait", seconds=1), reply(verdict="allow"))
    assert gate.launches()
    assert len(daemon.requests) == 2


def test_it_keeps_no_connection_while_it_waits(gate: Gate, daemon: FakeDaemon) -> None:
    """Many gates that wait would else fill the daemon's socket."""
    ended: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(reply(verdict="allow" if ended else "wait", seconds=2))
        connection.settimeout(10)
        ended.append(connection.recv(1))

    daemon.behaviour = behave
    assert gate.launches()
    assert ended[0] == b""


@pytest.mark.parametrize("seconds", ["1", "100000000", "-5", "x", "nan", ""])
def test_it_does_not_wait_for_ever(gate: Gate, daemon: FakeDaemon, seconds: str) -> None:
    gate.configure(gate_wait_s=0)
    daemon.says(reply(verdict="wait", seconds=seconds))
    assert not gate.launches()
    assert len(daemon.requests) == 1


def test_the_epilog_tells_and_denies_nothing(gate: Gate, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="allow"))
    assert gate.run("power_epilog", {"SLURM_JOB_EXIT_CODE": "0"})[0] == 0
    assert daemon.requests[0]["op"] == "epilog"
    assert daemon.requests[0]["env"]["SLURM_JOB_EXIT_CODE"] == "0"


def test_the_epilog_does_without_a_daemon(gate: Gate) -> None:
    assert gate.run("power_epilog") == (0, "")
    assert not (gate.directory / "asked").exists()


@pytest.mark.parametrize("answer", [b"", b"rubbish\n", reply(key="f" * 32, verdict="allow"), b"key=" + KEY.encode()])
def test_rubbish_is_no_answer(gate: Gate, daemon: FakeDaemon, answer: bytes) -> None:
    daemon.says(answer)
    gate.queue(("812", "0", "(null)", ""))
    assert not gate.launches()
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    assert gate.launches()


def test_a_daemon_that_hangs_is_no_answer(gate: Gate, daemon: FakeDaemon) -> None:
    daemon.hangs()
    gate.configure(gate_timeout_ms=100)
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    assert gate.launches()


def test_what_squeue_is_asked(gate: Gate) -> None:
    gate.configure(slurm_conf="/etc/it's/slurm.conf")
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    assert gate.launches()
    fields = "JobId:0\x1f,HetJobId:0\x1f,licenses:0\x1f,admin_comment:0\x1f"
    asked = ["/etc/it's/slurm.conf", "-h", "-a", "-t", "all", "-j", "812", "-O", fields]
    assert (gate.directory / "asked").read_text().splitlines() == "\n".join(asked).splitlines()


@pytest.mark.parametrize(
    ("licenses", "comment", "launches"),
    [
        ("pw_rack01:18500", ADMITTED, True),
        ("pw_rack01:18500", f"site note;{ADMITTED};more", True),
        ("pw_rack01:18500", f"site\n{ADMITTED}\nmore", True),
        ("matlab:2,pw_rack01:20000,pw_pdu:1", ADMITTED, True),
        ("pw_rack01:10000;pw_rack01:8500", ADMITTED, True),
        ("pw_rack01=18500", ADMITTED, True),
        ("pw_rack01:18499", ADMITTED, False),
        ("pw_rack01", ADMITTED, False),
        ("pw_rack01:18500|matlab:1", ADMITTED, False),
        ("pw_rack01@elsewhere:18500", ADMITTED, False),
        ("pw_rack010:18500", ADMITTED, False),
        ("xpw_rack01:18500", ADMITTED, False),
        ("(null)", ADMITTED, False),
        ("", ADMITTED, False),
        ("pw_rack01:18500", "", False),
        ("pw_rack01:18500", "(null)", False),
        ("pw_rack01:18500", ADMITTED.replace("v=admit", "v=hold"), False),
        ("pw_rack01:18500", ADMITTED.replace("v=admit,", ""), False),
        ("pw_rack01:18500", ADMITTED.replace("/18500", ""), False),
        ("pw_rack01:18500", ADMITTED.replace("power:", "xpower:"), False),
        ("pw_rack02:18500", ADMITTED.replace("rack01", "rack02"), False),
        ("pw_rack01:18500", "power:id=Zk3,v=free", False),
        ("pw_rack01:18500", "power:id=Zk3,v=admit", False),
    ],
)
def test_without_the_daemon_the_record_decides(gate: Gate, licenses: str, comment: str, launches: bool) -> None:
    gate.queue(("812", "0", licenses, comment))
    assert gate.launches() is launches


def test_a_site_without_licences(gate: Gate) -> None:
    gate.configure(licenses=False)
    gate.queue(("812", "0", "", ADMITTED))
    assert gate.launches()


TASK = {"SLURM_JOB_ID": "813", "SLURM_ARRAY_JOB_ID": "812", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.mark.parametrize(
    ("beside", "launches"), [((), True), (("814",), False), (("812",), False), (("811", "815"), False)]
)
def test_without_licences_tasks_of_an_array_start_one_at_a_time(
    gate: Gate, beside: tuple[str, ...], launches: bool
) -> None:
    """They all carry the record of one claim, and their user may have raised the throttle that it was counted by."""
    gate.configure(licenses=False)
    gate.queue(("813", "0", "", ADMITTED), ("812", "0", "", ADMITTED))
    gate.queue(*((job, "0", "", ADMITTED) for job in ("813", *beside)), on_nodes=True)
    assert gate.launches(**TASK) is launches


def test_without_licences_what_runs_of_an_array_must_be_known(gate: Gate) -> None:
    gate.configure(licenses=False)
    gate.queue(("813", "0", "", ADMITTED))
    assert not gate.launches(**TASK)
    gate.queue(on_nodes=True)
    assert not gate.launches(**TASK)


def test_where_licences_count_tasks_start_side_by_side(gate: Gate) -> None:
    gate.queue(("813", "0", "pw_rack01:18500", ADMITTED))
    gate.queue(("813", "0", "", ADMITTED), ("814", "0", "", ADMITTED), on_nodes=True)
    assert gate.launches(**TASK)


def test_tasks_outside_all_zones_start_side_by_side(gate: Gate) -> None:
    gate.configure(licenses=False)
    gate.queue(("813", "0", "", "power:id=a,v=free"))
    assert gate.launches(**TASK, SLURM_JOB_NODELIST="login1")


def two_zones(first: int, second: int) -> str:
    charges = (Charge("rack01", first, 9_000, 9_000), Charge("rack02", second, 9_000, 9_000))
    return AdmissionRecord("Zk3", Standing.ADMIT, "gold", charges).encode()


@pytest.mark.parametrize(
    ("nodes", "comment", "launches"),
    [
        ("gpu001", ADMITTED, True),
        ("gpu[001-003]", ADMITTED, False),
        ("gpu[001,003]", ADMITTED, False),
        ("gpu001,elsewhere", ADMITTED, False),
        ("gpu1", ADMITTED, False),
        ("gpu[002-003]", two_zones(1, 1), True),
        ("gpu[001-003]", two_zones(2, 1), True),
        ("gpu[001-003]", two_zones(1, 2), False),
        ("gpu[001-002]", ADMITTED.replace("rack01/2", "rack01/1"), False),
        ("gpu[001-002]", ADMITTED.replace("rack01/2", "rack01/1").replace(",zones", ",n=any,zones"), True),
        ("gpu[001-002]", ADMITTED.replace("rack01/2", "rack01/1").replace(",zones", ",n=2,zones"), False),
        ("gpu[001-003]", two_zones(1, 2).replace(",zones", ",n=any,zones"), False),
        ("r[1-2]n[1-2]", AdmissionRecord("a", Standing.ADMIT, "", (Charge("rack03", 4, 1, 1),)).encode(), True),
        ("r[1-3]n[1-2]", AdmissionRecord("a", Standing.ADMIT, "", (Charge("rack03", 4, 1, 1),)).encode(), False),
        ("login[1-2]", "power:id=a,v=free", True),
        ("login1,gpu003", "power:id=a,v=free", False),
        ("gpu[002-001]", ADMITTED, False),
        ("gpu[", ADMITTED, False),
        ("gpu[001-002", ADMITTED, False),
        ("gpu]001[", ADMITTED, False),
        ("", ADMITTED, False),
        (None, ADMITTED, False),
    ],
)
def test_the_nodes_must_be_those_of_the_record(gate: Gate, nodes: str | None, comment: str, launches: bool) -> None:
    gate.queue(("812", "0", "pw_rack01:18500,pw_rack02:9000,pw_rack03:9", comment))
    assert gate.launches(SLURM_JOB_NODELIST=nodes) is launches


def test_a_used_record_does_not_open_a_second_start(gate: Gate) -> None:
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    assert not gate.launches(SLURM_JOB_RESTART_COUNT="1")
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED.replace("v=admit", "v=admit,r=1")))
    assert gate.launches(SLURM_JOB_RESTART_COUNT="1")
    assert not gate.launches(SLURM_JOB_RESTART_COUNT="0")


def test_of_an_array_the_task_itself_counts(gate: Gate) -> None:
    held = "power:id=b,v=hold,hold=power"
    gate.queue(("813", "0", "pw_rack01:18500", ADMITTED), ("812", "0", "(null)", held))
    assert not gate.launches()
    assert gate.launches(SLURM_JOB_ID="813", SLURM_ARRAY_JOB_ID="812", SLURM_ARRAY_TASK_ID="1")
    assert not gate.launches(SLURM_JOB_ID="81")


@pytest.mark.parametrize(("watts", "launches"), [(30_000, True), (29_999, False)])
@pytest.mark.parametrize(("job", "nodes"), [("812", "gpu001"), ("813", "gpu002")])
def test_the_leader_of_a_het_job_carries_all_licences(
    gate: Gate, job: str, nodes: str, watts: int, launches: bool
) -> None:
    records = [
        AdmissionRecord(token, Standing.ADMIT, "", (Charge("rack01", 1, est, est),)).encode()
        for token, est in (("a", 10_000), ("b", 20_000))
    ]
    gate.queue(("812", "812", f"pw_rack01:{watts}", records[0]), ("813", "812", "(null)", records[1]))
    assert gate.launches(SLURM_JOB_ID=job, SLURM_HET_JOB_ID="812", SLURM_JOB_NODELIST=nodes) is launches


@pytest.mark.parametrize("rows", ["", "rubbish", "\x1f\x1f\x1f\x1f", "812\x1f0\x1fpw_rack01:18500\x1f"])
def test_a_queue_that_cannot_be_read_denies(gate: Gate, rows: str) -> None:
    gate.rows.write_text(rows)
    assert not gate.launches()


def test_no_squeue_denies(gate: Gate) -> None:
    gate.configure(squeue="/nonexistent/squeue")
    assert not gate.launches()


@pytest.mark.parametrize("job_id", ["", "812;touch x", "$(touch x)", "-1", None])
def test_a_job_id_that_is_none_denies(gate: Gate, job_id: str | None) -> None:
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    assert not gate.launches(SLURM_JOB_ID=job_id)
    assert not (gate.directory / "asked").exists()


def test_no_map_of_nodes_denies(gate: Gate) -> None:
    gate.queue(("812", "0", "pw_rack01:18500", ADMITTED))
    gate.socket.with_name(gate.socket.name + ".nodes").unlink()
    assert not gate.launches()


@pytest.mark.parametrize(("mode", "launches"), [("observe", True), ("advise", True), ("enforce", False)])
def test_a_daemon_that_only_watched_denies_nothing_by_its_absence(gate: Gate, mode: str, launches: bool) -> None:
    gate.socket.with_name(gate.socket.name + ".mode").write_text(mode)
    gate.queue(("812", "0", "(null)", ""))
    assert gate.launches() is launches


@pytest.mark.parametrize("content", ["syntax error(", "error('x')", "return 5", "return {socket = 5}"])
def test_broken_settings_deny(gate: Gate, daemon: FakeDaemon, content: str) -> None:
    daemon.says(reply(verdict="allow"))
    (gate.directory / "slurm_power_hook.lua").write_text(content)
    assert not gate.launches()


@pytest.mark.parametrize("name", ["power_gate.lua", "slurm_power_wire.lua"])
@pytest.mark.parametrize(
    "content", ["syntax error(", "error('x')", "os.execute('kill -9 $PPID')", "os.execute('kill -TERM $PPID')"]
)
def test_a_gate_that_dies_denies(gate: Gate, daemon: FakeDaemon, name: str, content: str) -> None:
    daemon.says(reply(verdict="allow"))
    (gate.directory / name).write_text(content)
    assert gate.run()[0] == 1


def test_variables_of_lua_are_not_for_others_to_set(gate: Gate, daemon: FakeDaemon) -> None:
    daemon.says(reply(verdict="deny"))
    assert not gate.launches(LUA_INIT="os.exit(0)", LUA_PATH="/nonexistent/?.lua", LUA_CPATH="/nonexistent/?.so")


def test_settings_named_in_the_environment(gate: Gate, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.says(reply(verdict="allow"))
    other = tmp_path / "other.lua"
    other.write_text(f"return {lua_literal({'socket': str(daemon.path)})}")
    (gate.directory / "slurm_power_hook.lua").write_text("error('not this one')")
    assert gate.launches(SLURM_POWER_HOOK=str(other))


names = st.text("ab1.-_", min_size=1, max_size=3)
numbers = st.integers(0, 120)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, numbers, numbers, st.integers(1, 4)), min_size=1, max_size=3))
def test_every_folded_list_of_nodes_is_unfolded(gate: Gate, parts: list[tuple[str, int, int, int]]) -> None:
    folded, unfolded = [], set()
    for prefix, one, other, digits in parts:
        low, high = sorted((one, other))
        # as Slurm writes them: both ends of a range have the same width, or none is padded
        width = digits if digits >= len(str(high)) else 0
        folded.append(f"{prefix}[{low:0{width}d}-{high:0{width}d}]")
        unfolded |= {f"{prefix}{n:0{width}d}" for n in range(low, high + 1)}
    charge = Charge("z", len(unfolded), 1, 1)
    gate.queue(("812", "0", "pw_z:1", AdmissionRecord("a", Standing.ADMIT, "", (charge,)).encode()))
    gate.nodes("".join(f"{node} z\n" for node in unfolded))
    assert gate.launches(SLURM_JOB_NODELIST=",".join(folded))
    missing = max(unfolded)
    gate.nodes("".join(f"{node} z\n" for node in unfolded - {missing}))
    assert not gate.launches(SLURM_JOB_NODELIST=",".join(folded))
