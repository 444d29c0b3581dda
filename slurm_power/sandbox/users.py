"""Users of this machine that a sandbox needs, made as root and removed with the last sandbox that uses them.

What was made is written down for the whole machine, because two sandboxes may share a user.
"""

import fcntl
import json
import os
import pwd
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.parts import clean_environment
from slurm_power.sandbox.tools import program, run

HOME = Path("/var/lib/slurm_power-sandbox")
"""Holds the homes of the users that were made, and the list of them."""
LOCK = Path("/run/slurm_power-sandbox.lock")
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

Uses = dict[str, list[str]]
"""User that was made → directories of the sandboxes that use it."""


def me() -> str:
    """The user that this process runs as; not as root, everything in a sandbox runs as this one."""
    return pwd.getpwuid(os.geteuid()).pw_name


def check_names(names: Sequence[str]) -> None:
    """Raises SandboxError for a name that is no user name, or that is there twice."""
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise SandboxError(f"'{name}' is not a user name; for example: --users alice,bob,carol")
    if len(set(names)) != len(names):
        raise SandboxError("a user is named twice; for example: --users alice,bob,carol")


def acquire(names: Sequence[str], root: Path) -> None:
    """Make the users that are not there, and keep those that an earlier sandbox made from being removed."""
    with _registry() as uses:
        for name in names:
            made = name in uses
            if _exists(name) and not made:
                continue
            uses[name] = sorted({*uses.get(name, []), str(root)})
            _save(uses)
            if not _exists(name):
                _make(name)


def release(root: Path) -> None:
    """Remove the users that were made and that no other sandbox uses; does nothing if there are none."""
    if not (HOME / "users.json").exists():
        return
    with _registry() as uses:
        for name in list(uses):
            uses[name] = [used for used in uses[name] if used != str(root) and Layout(Path(used)).state_file.exists()]
            if not uses[name]:
                _remove(name)
                del uses[name]
            _save(uses)
        _tidy()


def _make(name: str) -> None:
    home = HOME / "home" / name
    home.parent.mkdir(mode=0o755, exist_ok=True)
    comment = "slurm_power sandbox"
    argv = (program("useradd"), "--create-home", "--home-dir", str(home), "--shell", "/bin/bash", "--comment", comment)
    run((*argv, "--user-group", name), clean_environment(HOME))


def _remove(name: str) -> None:
    if _exists(name):
        # --force: a shell of that user that is still open somewhere must not keep the user
        run((program("userdel"), "--force", name), clean_environment(HOME))
    shutil.rmtree(HOME / "home" / name, ignore_errors=True)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@contextmanager
def _registry() -> Iterator[Uses]:
    handle = os.open(LOCK, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        HOME.mkdir(mode=0o755, exist_ok=True)
        file = HOME / "users.json"
        yield json.loads(file.read_text()) if file.exists() else {}
    finally:
        os.close(handle)


def _save(uses: Uses) -> None:
    file = HOME / "users.json"
    if uses:
        write_file(file, json.dumps(uses, indent=1) + "\n")
    else:
        file.unlink(missing_ok=True)


def _tidy() -> None:
    """Leave no empty directory behind, and none that somebody else put something into."""
    for path in (HOME / "home", HOME):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
