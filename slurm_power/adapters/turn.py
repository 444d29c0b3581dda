"""Whose turn it is to act on Slurm and the database: the daemon's while it runs, else that of one command at a time.

A lock on `<hook.socket>.turn`, which ends with its holder however that ends. The file stays behind: to remove it would
let somebody lock a file that nobody else sees. In it stands the holder's name.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path

from slurm_power.core.errors import PowerError

_LOOK_S = 0.1
_LONGEST_NAME = 64


class TurnTaken(PowerError):
    """Somebody else has it; `holder` is his name, empty where he has not written it yet."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path}: it is the turn of {holder or 'somebody else'}")
        self.holder = holder


class Turn:
    """The turn of `holder` beside the hook's socket, from `with` to its end.

    Waits for up to `wait_s` while somebody else has it, but not where that is one of `never`, who keep it for long.
    `owner` (uid, gid) gets the file where it has to be made; None: this process's. Raises TurnTaken, PowerError.
    """

    def __init__(
        self,
        socket: Path,
        holder: str,
        *,
        wait_s: float = 0.0,
        never: tuple[str, ...] = (),
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._path = socket.with_name(f"{socket.name}.turn")
        self._holder = holder
        self._wait_s = wait_s
        self._never = never
        self._owner = owner
        self._lock = -1

    def __enter__(self) -> "Turn":
        try:
            self._lock = self._open()
        except OSError as error:
            raise PowerError(f"{self._path}: cannot be locked: {error.strerror or error}") from error
        try:
            self._take()
        except BaseException:  # also Ctrl-C: the descriptor must not leak
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._lock, 0)
        os.close(self._lock)

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        made = not self._path.exists()
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if made and self._owner is not None:
            os.fchown(lock, *self._owner)
        return lock

    def _take(self) -> None:
        until = time.monotonic() + self._wait_s
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            holder = os.pread(self._lock, _LONGEST_NAME, 0).decode(errors="replace")
            if holder in self._never or time.monotonic() >= until:
                raise TurnTaken(self._path, holder)
            time.sleep(_LOOK_S)
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, self._holder.encode(), 0)
