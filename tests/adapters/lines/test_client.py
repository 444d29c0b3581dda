"""The client, against servers of every kind and none."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slurm_power.adapters.lines_client import ask
from slurm_power.core.errors import DaemonUnreachable, PowerError, UsageError
from tests.adapters.lines.peers import LONG_S


@pytest.mark.parametrize(
    ("answer", "expected", "told"),
    [
        (b"", DaemonUnreachable, "without an answer"),
        (b'{"ok":true,"result":{}}', DaemonUnreachable, "without an answer"),
        (b"rubbish\n", PowerError, "no JSON"),
        (b'{"ok":true,"result":3}\n', PowerError, "another version"),
        (b'{"ok":false,"error":5}\n', PowerError, "another version"),
        (b"[]\n", PowerError, "another version"),
        (b'{"ok":false,"error":"no","exit_code":2}\n', UsageError, "^no$"),
        (b'{"ok":false,"error":"no","exit_code":77}\n', PowerError, "^no$"),
        (b'{"ok":false,"error":"no"}\n', PowerError, "^no$"),
    ],
)
def test_odd_answers(path: Path, answer: bytes, expected: type[PowerError], told: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener, ThreadPoolExecutor(1) as pool:
        listener.bind(str(path))
        listener.listen()

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        replied = pool.submit(reply)
        with pytest.raises(expected, match=told):
            ask(path, {}, LONG_S)
        replied.result(LONG_S)


def test_nobody_there(path: Path) -> None:
    with pytest.raises(DaemonUnreachable, match="no such socket; is slurm-powerd running"):
        ask(path, {}, LONG_S)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        with pytest.raises(DaemonUnreachable, match="nobody listens"):
            ask(path, {}, LONG_S)
        dead.listen(0)
        with pytest.raises(DaemonUnreachable, match=r"no answer within 0\.05 s"):
            ask(path, {}, 0.05)
        with pytest.raises(DaemonUnreachable):  # its queue is full now
            ask(path, {}, 0.05)
