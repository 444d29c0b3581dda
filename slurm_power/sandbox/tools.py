"""The programs that a sandbox is made of: found on this machine, or in the tree of another Slurm version."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurm_power.sandbox.failure import SandboxError

PACKAGES = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmctld": "slurmctld",
    "slurmdbd": "slurmdbd",
    "slurmd": "slurmd",
    "sacctmgr": "slurm-client",
    "scontrol": "slurm-client",
    "sinfo": "slurm-client",
}
"""Program → the Debian package that has it."""

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True)
class Tools:
    """Slurm's programs; `tree` is where another version's root is mounted (None: those of this machine)."""

    tree: Path | None = None

    def argv(self, name: str, *args: str) -> tuple[str, ...]:
        """How one of Slurm's programs is run. Raises SandboxError if it is not there."""
        if self.tree is None:
            return (program(name), *args)
        return (program("chroot"), str(self.tree), name, *args)

    def version(self, env: Mapping[str, str]) -> tuple[int, int, int]:
        """Slurm's version, for example (22, 5, 8)."""
        said = run(self.argv("slurmctld", "-V"), env)
        found = _VERSION.search(said)
        if found is None:
            raise SandboxError(f"slurmctld -V says '{said.strip()}', which is no version")
        return int(found[1]), int(found[2]), int(found[3] or 0)


def search_path() -> str:
    """Where programs are looked for: the caller's PATH, then the usual places (`sbin` is not on every PATH)."""
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    given = os.environ.get("PATH")
    return f"{given}:{usual}" if given else usual


def program(name: str) -> str:
    """The path of a program. Raises SandboxError with the package that has it."""
    found = shutil.which(name, path=search_path())
    if found is None:
        package = PACKAGES.get(name, name)
        raise SandboxError(f"{name} is not installed (Debian's package {package}); scripts/install-deps installs all")
    return found


def check_programs(own_slurm: bool) -> None:
    """Raise SandboxError if a program is missing; Slurm's need not be here if another tree has them."""
    needed = PACKAGES if own_slurm else ("munged", "mariadbd", "mariadb-install-db")
    missing = sorted({PACKAGES[name] for name in needed if shutil.which(name, path=search_path()) is None})
    if missing:
        raise SandboxError(
            f"not installed: Debian's packages {' '.join(missing)}; scripts/install-deps installs all that is needed"
        )


def run(argv: Sequence[str], env: Mapping[str, str], timeout_s: float = 60.0) -> str:
    """What a program printed. Raises SandboxError if it fails or takes too long."""
    try:
        done = subprocess.run(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SandboxError(f"{' '.join(argv)}: did not end within {timeout_s:.0f} s") from None
    except OSError as error:
        raise SandboxError(f"{' '.join(argv)}: {error.strerror}") from None
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip()[-2_000:]
        raise SandboxError(f"{' '.join(argv)}: ended with {done.returncode}: {said}")
    return done.stdout
