"""A small plain file, read whole, whatever somebody has put in its place."""

import os
import stat
from pathlib import Path

from slurm_power.core.errors import TelemetryError
from slurm_power.core.immutable import immutable


@immutable
class PlainFile:
    """What was in it."""

    text: bytes
    mode: int
    written_at: float


def read_plain(path: Path, most_bytes: int) -> PlainFile:
    """All of it; does not wait, as a pipe would have it. Raises TelemetryError, which names the path."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise TelemetryError(f"{path}: is no plain file")
            text = file.read(most_bytes + 1)
    except OSError as error:
        raise TelemetryError(f"{path}: cannot be read: {error.strerror}") from None
    if len(text) > most_bytes:
        raise TelemetryError(f"{path}: is longer than {most_bytes} bytes")
    return PlainFile(text, about.st_mode, about.st_mtime)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
