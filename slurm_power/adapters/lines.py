"""The words of docs/protocol.md: replies to the hook and the gate, replies to commands, and the hook's secret."""

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

from slurm_power.core.errors import PowerError

LIMIT_BYTES = 1 << 20
"""The longest request line that a server reads unless told otherwise."""
NO_ANSWER = "verdict=none"
"""What the hook and the gate are told where there is no answer. It has no key, so that they do as if nobody was there;
but a question that has been heard is not asked again.
"""
_UNCHANGED = " !\"#$'()*+,/:;<=>?@[\\]^`{|}"
"""Besides letters and digits: all that is printable but for `%` and `&`."""
_PLAIN = re.compile(r"[ -$'-~]*")
"""The same, at the speed of a regular expression: most replies are all plain."""


def encode_reply(
    key: str,
    verdict: str,
    message: str = "",
    set_fields: Mapping[str, str | int] | None = None,
    *,
    seconds: int | None = None,
) -> str:
    """A reply to the hook or the gate: `key=…&verdict=…`, without the end of line.

    `set_fields`: fields of job_desc by name; texts go out as `set.<field>`, numbers as `n.<field>`.
    `seconds`: after which the gate asks again (with the verdict `wait`).
    """
    parts = [f"key={_quote(key)}", f"verdict={_quote(verdict)}"]
    if message:
        parts.append(f"message={_quote(message)}")
    if seconds is not None:
        parts.append(f"seconds={seconds}")
    for name, value in (set_fields or {}).items():
        parts.append(f"set.{name}={_quote(value)}" if isinstance(value, str) else f"n.{name}={value}")
    return "&".join(parts)


def _quote(text: str) -> str:
    """UTF-8, percent-encoded where it is not plain; bytes of a request that were not UTF-8 go back as they came."""
    if text.isascii() and _PLAIN.fullmatch(text):
        return text
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = text.encode("utf-8", "replace")
    return quote_from_bytes(data, safe=_UNCHANGED)


def result_pieces(result: Mapping[str, object]) -> Iterator[str]:
    """The reply to a command that succeeded, in pieces, of which each is made quickly: rows of a long list one by one.

    A single call of json.dumps lets no other thread run until it has ended. Raises TypeError or ValueError for what
    JSON cannot say.
    """
    yield '{"ok":true,"result":{'
    for number, (name, value) in enumerate(result.items()):
        yield f"{',' if number else ''}{_json(name)}:"
        if isinstance(value, list):
            for row, item in enumerate(value):
                yield f"{',' if row else '['}{_json(item)}"
            yield "]" if value else "[]"
        else:
            yield _json(value)
    yield "}}"


def _json(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def encode_error(error: Exception) -> str:
    """The reply to a command that failed; an error that is not ours is told without its insides."""
    if isinstance(error, PowerError):
        told, code = str(error), error.exit_code
    else:
        told, code = f"internal error ({type(error).__name__}); the daemon's log has the details", PowerError.exit_code
    return json.dumps({"ok": False, "error": told, "exit_code": code}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class HookKey:
    """The secret with which each reply to the hook begins, made anew at each start of the daemon."""

    path: Path
    value: str

    @classmethod
    def create(cls, socket_path: Path, owner: tuple[int, int] | None = None) -> "HookKey":
        """Make a new one in `<socket_path>.key`, readable by `owner` (uid, gid; None: this process) alone.

        Call it between `LineServer.bind`, which makes sure that no other daemon runs, and `LineServer.start`.
        Raises PowerError.
        """
        path = socket_path.with_name(socket_path.name + ".key")
        value = secrets.token_hex(16)
        replace_file(path, value + "\n", 0o600, owner)
        return cls(path, value)


def replace_file(path: Path, content: str, mode: int, owner: tuple[int, int] | None = None) -> None:
    """Write a small file so that a reader sees the old content or the new, whole. Raises PowerError."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 -- a descriptor and not a path
                file.write(content)
                if owner is not None:
                    os.fchown(descriptor, *owner)
                os.fchmod(descriptor, mode)
            draft.replace(path)
        except BaseException:  # also Ctrl-C: whatever it was, no draft is left behind
            draft.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise PowerError(f"{path}: cannot be written: {error.strerror}") from error
