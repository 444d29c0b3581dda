"""On a real terminal: colours, its width, and drawing in place."""

import os
import pty
import re
import struct
import subprocess
import sys
from fcntl import ioctl
from signal import SIGINT
from termios import TIOCSWINSZ

import pytest

from tests.cli.conftest import Scene

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(scene: Scene, width: int, *args: str, until: str = "", **env: str) -> str:
    """What a terminal of that width receives; with `until`, Ctrl-C comes once that has been seen twice."""
    master, slave = pty.openpty()
    ioctl(slave, TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    clean = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
    }
    argv = [sys.executable, "-m", "slurm_power.cli.spower", *args, "--socket", str(scene.stage.socket)]
    with subprocess.Popen(argv, stdout=slave, env={**clean, "TERM": "xterm-256color", **env}) as process:
        os.close(slave)
        received = b""
        interrupted = False
        while True:
            try:
                chunk = os.read(master, 1 << 16)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            received += chunk
            if until and not interrupted and received.count(until.encode()) >= 2:
                process.send_signal(SIGINT)
                interrupted = True
    os.close(master)
    assert process.returncode == 0
    return received.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    return _ESCAPE.sub("", text)


@pytest.mark.parametrize("width", [20, 79, 200])
def test_numbers_and_names_are_never_cut(scene: Scene, width: int) -> None:
    text = plain(on_terminal(scene, width, "zones"))
    header, row = text.splitlines()[:2]
    assert " ".join(header.split()) == "ZONE LANE LIMIT USABLE BASELINE COMMITTED RESERVED SLURM HEADROOM BURST JOBS"
    assert " ".join(row.split()) == "rack01 hot 30kW 27kW 1kW 19.5kW 0W 18.5kW 7.5kW 1.5kW 1"


def test_sentences_are_broken_to_fit_a_narrow_terminal(scene: Scene) -> None:
    text = plain(on_terminal(scene, 80, "explain", scene.jobs["waits"]))
    table = text[text.index("REASON") :].splitlines()
    assert max(len(line.rstrip()) for line in table) <= 80
    assert len(table) > 6
    assert "zone_power  rack01    24kW  7.5kW  16.5kW  zone rack01 is" in text


def test_headers_are_bold_and_nothing_is_framed(scene: Scene) -> None:
    text = on_terminal(scene, 120, "zones")
    assert text.startswith("\x1b[1m")
    assert not re.search(r"[│┃─━┏┗╭╰+]", text)


def test_no_color_is_respected(scene: Scene) -> None:
    assert "\x1b[31" not in on_terminal(scene, 120, "zones", NO_COLOR="1")


def test_a_repeated_look_draws_in_place(scene: Scene) -> None:
    text = on_terminal(scene, 120, "zones", "-i", "0.1", until="ZONE")
    assert text.count("\x1b[H\x1b[2J") >= 2
