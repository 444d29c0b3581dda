"""One exchange with the daemon, for the commands."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from slurm_power.adapters.lines import LIMIT_BYTES
from slurm_power.core.errors import DaemonUnreachable, PowerError, UsageError

_CHUNK = 1 << 18
_REPLY_BYTES = 1 << 28
_START = "is slurm-powerd running? (systemctl status slurm-powerd)"


def ask(path: Path | str, request: Mapping[str, object], timeout_s: float) -> Mapping[str, Any]:
    """The `result` of the daemon's answer to one request on its control socket.

    `timeout_s` bounds the whole exchange. Raises DaemonUnreachable if nobody answers in time; UsageError or PowerError
    with the daemon's words if it refuses; PowerError if its answer cannot be read.
    """
    line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
    if len(line) > LIMIT_BYTES:
        raise UsageError(f"the request has {len(line)} bytes; the daemon reads at most {LIMIT_BYTES}")
    return _result(str(path), _exchange(str(path), line, timeout_s))


def _exchange(path: str, line: bytes, timeout_s: float) -> bytes:
    """Send a line, return all that comes back."""
    end = monotonic() + timeout_s
    received = bytearray()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(path)
            _send(connection, line)
            while not received.endswith(b"\n"):
                left = end - monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left)
                chunk = connection.recv(_CHUNK)
                if not chunk:
                    break
                received += chunk
                if len(received) > _REPLY_BYTES:
                    raise PowerError(f"{path}: the answer is longer than {_REPLY_BYTES} bytes")
    except TimeoutError as error:
        raise DaemonUnreachable(f"{path}: no answer within {timeout_s:g} s; {_START}") from error
    except BlockingIOError as error:
        raise DaemonUnreachable(f"{path}: the daemon has more callers than it can take; try again") from error
    except FileNotFoundError as error:
        raise DaemonUnreachable(f"{path}: there is no such socket; {_START}") from error
    except ConnectionRefusedError as error:
        raise DaemonUnreachable(f"{path}: nobody listens on this socket; {_START}") from error
    except PermissionError as error:
        raise DaemonUnreachable(f"{path}: this user may not connect to it") from error
    except OSError as error:
        raise DaemonUnreachable(f"{path}: {error.strerror or error}; {_START}") from error
    return bytes(received)


def _send(connection: socket.socket, line: bytes) -> None:
    """A daemon that refuses before it has read all closes its end; its words are still to be read."""
    try:
        connection.sendall(line)
    except (BrokenPipeError, ConnectionResetError):
        return


def _result(path: str, received: bytes) -> Mapping[str, Any]:
    if not received.endswith(b"\n"):
        raise DaemonUnreachable(f"{path}: the connection ended without an answer; see the daemon's log")
    try:
        reply = json.loads(received)
    except (ValueError, RecursionError) as error:
        raise PowerError(f"{path}: the answer is no JSON: {error}") from error
    if isinstance(reply, dict) and reply.get("ok") is True and isinstance(reply.get("result"), dict):
        result: dict[str, Any] = reply["result"]
        return result
    if isinstance(reply, dict) and reply.get("ok") is False and isinstance(reply.get("error"), str):
        raise _REFUSALS.get(reply.get("exit_code"), PowerError)(reply["error"])
    raise PowerError(f"{path}: the answer has neither a result nor an error; is it of another version?")


_REFUSALS: Mapping[object, type[PowerError]] = {
    UsageError.exit_code: UsageError,
    DaemonUnreachable.exit_code: DaemonUnreachable,
}
