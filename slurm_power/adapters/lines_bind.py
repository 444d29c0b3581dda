"""A unix socket at a path: one daemon at a time, never another's path, the right mode before anybody can connect."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

from slurm_power.core.errors import PowerError


class BoundSocket:
    """A socket bound to `path`, not yet listening; holds `<path>.lock` until it is closed."""

    def __init__(self, path: Path, mode: int, owner: tuple[int, int] | None) -> None:
        """Bind. `owner` (uid, gid) gets the socket and a directory that has to be made; None: this process's.

        Raises PowerError: another daemon is there, or the path cannot be used.
        """
        self.path = path
        try:
            _make_directory(path.parent, owner)
            self._lock = _take_lock(path)
            try:
                _clear(path)
                self.socket = _bind(path, mode, owner)
            except BaseException:  # also Ctrl-C: the lock must not outlive the attempt
                os.close(self._lock)
                raise
        except OSError as error:
            raise PowerError(
                f"{path}: cannot make the socket: {error.strerror or error}; its directory must belong to the user "
                "that the daemon runs as (SlurmUser)"
            ) from error
        self._identity = _identity(path)

    def close(self) -> None:
        """Close it and remove the path, if it is still ours."""
        self.socket.close()
        with contextlib.suppress(OSError):
            if _identity(self.path) == self._identity:
                self.path.unlink()
        os.close(self._lock)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _make_directory(directory: Path, owner: tuple[int, int] | None) -> None:
    if directory.is_dir():
        return
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o755)  # mkdir's own mode would go through the umask
    if owner is not None:
        os.chown(directory, *owner)


def _take_lock(path: Path) -> int:
    """The lock of this path. Two daemons that start at once would else both find the socket stale.

    The lock's file stays behind: to remove it would let a third one lock a file that nobody else sees.
    """
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise _another(path) from error
    return lock


def _clear(path: Path) -> None:
    """Remove a socket on which nobody listens any more."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise PowerError(f"{path}: is there already and is no socket; remove it or name another path")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        refusal = probe.connect_ex(os.fspath(path))
    if refusal != errno.ECONNREFUSED:
        raise _another(path)
    path.unlink()


def _another(path: Path) -> PowerError:
    return PowerError(f"{path}: another daemon answers there; stop it first (systemctl stop slurm-powerd)")


def _bind(path: Path, mode: int, owner: tuple[int, int] | None) -> socket.socket:
    """Nobody can connect before listen(), so mode and owner are right before the first one does."""
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.setblocking(False)
        bound.bind(os.fspath(path))
        path.chmod(mode)
        if owner is not None:
            os.chown(path, *owner)
    except BaseException:  # also Ctrl-C: the descriptor must not leak
        bound.close()
        raise
    return bound
