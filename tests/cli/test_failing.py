"""Whatever goes wrong ends in one message and an exit code, never in a traceback."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.core.errors import PowerError, StoreError, UsageError
from tests.cli.conftest import Scene, run
from tests.cli.stage import serving, short_directory
from tests.fakes.replies import encode_result

ASKING = [
    ["zones"],
    ["jobs"],
    ["explain", "812"],
    ["check", "--comment", "power:est=5kW"],
    ["report"],
    ["audit"],
    ["health"],
    ["mode"],
    ["mode", "observe"],
]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as found:
        yield found


@pytest.mark.parametrize("command", ASKING)
def test_nobody_there(directory: Path, command: list[str]) -> None:
    result = run(*command, "--socket", str(directory / "none.sock"))
    assert result.exit_code == 5
    assert result.output == (
        f"spower: {directory}/none.sock: there is no such socket; is slurm-powerd running? "
        "(systemctl status slurm-powerd)\n"
    )


@contextmanager
def listening(path: Path, answer: bytes | None) -> Iterator[str]:
    """A socket that gives these bytes to each caller; None: nothing, ever."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                kept.append(caller)
                if answer is not None:
                    caller.recv(1 << 16)
                    caller.sendall(answer)
                    caller.close()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield str(path)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for caller in kept:
            caller.close()


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (b"", 5, "the connection ended without an answer"),
        (b"what?\n", 1, "the answer is no JSON"),
        (b"{}\n", 1, "the answer has neither a result nor an error"),
        (
            b'{"ok":false,"error":"the ledger is upside down","exit_code":1}\n',
            1,
            "spower: the ledger is upside down\n",
        ),
        (b'{"ok":false,"error":"no such job","exit_code":2}\n', 2, "spower: no such job\n"),
        (None, 5, "no answer within 0.2 s"),
    ],
)
def test_a_daemon_that_answers_oddly(directory: Path, answer: bytes | None, code: int, told: str) -> None:
    with listening(directory / "s", answer) as path:
        result = run("zones", "--socket", path, "--timeout", "0.2")
    assert result.exit_code == code
    assert told in result.output


@pytest.mark.parametrize(("result", "schema"), [("{}", "None"), ('{"schema":2,"zones":[]}', "2")])
def test_an_answer_of_another_version_is_told_as_one(directory: Path, result: str, schema: str) -> None:
    with listening(directory / "s", b'{"ok":true,"result":' + result.encode() + b"}\n") as path:
        found = run("zones", "--socket", path)
    assert found.exit_code == 1
    told = f"its answers are of schema {schema}, this command knows 1"
    assert found.output == f"spower: the daemon is of another version: {told}\n"


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("no"), 2), (StoreError("no"), 1), (PowerError("no"), 1)]
)
def test_the_daemons_own_refusals_keep_their_exit_code(directory: Path, error: PowerError, code: int) -> None:
    def refuse(_: Peer, __: Mapping[str, Any]) -> str:
        raise error

    with serving(directory / "s", refuse):
        result = run("jobs", "--socket", str(directory / "s"))
    assert (result.exit_code, result.output) == (code, "spower: no\n")


def test_a_request_carries_the_protocols_version(directory: Path) -> None:
    asked: list[Mapping[str, Any]] = []

    def answer(_: Peer, request: Mapping[str, Any]) -> str:
        asked.append(request)
        return encode_result({"schema": 1, "jobs": []})

    with serving(directory / "s", answer):
        run("jobs", "-u", "7", "--socket", str(directory / "s"))
    assert asked == [{"v": 1, "op": "jobs", "uid": 7}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Usage: spower"),
        (["zonse"], "No such command 'zonse'"),
        (["explain"], "Missing argument 'JOB'"),
        (["zones", "-o", "nmae"], "there is no column 'nmae'; there are name, kind, lane"),
        (["zones", "-o", ""], "there is no column ''"),
        (["zones", "--json", "-P"], "--json has every field; leave -P and -o out"),
        (["zones", "--json", "-o", "name"], "--json has every field; leave -P and -o out"),
        (["zones", "-i", "0"], "Invalid value for '-i'"),
        (["zones", "-i", "soon"], "Invalid value for '-i'"),
        (["zones", "--timeout", "0"], "Invalid value for '--timeout'"),
        (["report", "--limit", "0"], "Invalid value for '-n'"),
        (["audit", "-n", "0"], "Invalid value for '-n'"),
        (["audit", "--until", "someday"], "'someday' is not a time"),
        (["audit", "--json-lines", "--json"], "--json-lines has every field; leave --json, -P and -o out"),
        (["audit", "--json-lines", "-o", "job"], "--json-lines has every field"),
        (["audit", "-u", "nobody-of-that-name"], "there is no user 'nobody-of-that-name'"),
        (["config", "chekc"], "No such command 'chekc'"),
        (["render", "slurm", "--slurm-version", "new"], "'new' is not a version of Slurm; write 24.11.5"),
    ],
)
def test_words_that_are_off(words: list[str], told: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert told in result.output


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    text = run("--help").output
    for name in (
        "zones",
        "jobs",
        "explain",
        "check",
        "report",
        "audit",
        "health",
        "mode",
        "config",
        "render",
        "sandbox",
    ):
        assert f"\n  {name} " in text
    assert "  3  check: fits later\n" in text
    assert "  5  the daemon cannot be reached\n" in text


@pytest.mark.parametrize("name", ["zones", "jobs", "explain", "check", "report", "audit", "health", "mode"])
def test_every_command_has_slurms_habits(name: str) -> None:
    text = run(name, "--help").output
    for option in ("-h, --noheader", "-o, --format", "--json", "-P, --parsable2", "--socket", "--help"):
        assert option in text


def command(scene: Scene, *args: str) -> list[str]:
    return [sys.executable, "-m", "slurm_power.cli.spower", *args, "--socket", str(scene.stage.socket)]


def test_a_reader_that_has_seen_enough(scene: Scene) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(scene, "zones"), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_disk_that_is_full(scene: Scene) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(scene, "zones"), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"spower: cannot write: No space left on device\n")


def test_a_locale_without_our_letters(scene: Scene) -> None:
    done = subprocess.run(
        command(scene, "zones", "--help"),
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"USABLE     what of that may be planned: limit" in done.stdout


def test_ctrl_c_ends_a_repeated_look_cleanly(scene: Scene) -> None:
    with subprocess.Popen(
        command(scene, "zones", "-i", "0.1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = 0
        while seen < 2:
            seen += process.stdout.readline().startswith("ZONE")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "\n")


def test_ctrl_c_while_waiting_for_an_answer(directory: Path) -> None:
    with listening(directory / "s", None) as path:
        argv = [sys.executable, "-c", _ASK_AND_INTERRUPT, "zones", "--socket", path]
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


_ASK_AND_INTERRUPT = """
import os, signal, threading
from slurm_power.cli import link
from slurm_power.cli.spower import main
asked = link.ask
def ask(*args):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    return asked(*args)
link.ask = ask
main()
"""
