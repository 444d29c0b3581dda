"""Where the sandbox keeps its files: everything lies under one directory."""

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from slurm_power.sandbox.failure import SandboxError

LONGEST_DIR = 70
"""Characters; the path of a unix socket below it must stay under 108."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one sandbox."""

    root: Path

    @property
    def state_file(self) -> Path:
        """What was started: the file that `down` believes."""
        return self.root / "sandbox.json"

    @property
    def lock_file(self) -> Path:
        """Held while something is being started or ended."""
        return self.root / "lock"

    @property
    def etc(self) -> Path:
        """Slurm's configuration, the hook and the site file; readable by everybody."""
        return self.root / "etc"

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names."""
        return self.etc / "slurm.conf"

    @property
    def site_file(self) -> Path:
        """What SLURM_POWER_CONF names."""
        return self.etc / "slurm_power.yaml"

    @property
    def run(self) -> Path:
        """Sockets and pid files."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """One log a part."""
        return self.root / "log"

    @property
    def bin(self) -> Path:
        """Commands that go before those of the system."""
        return self.root / "bin"

    @property
    def data(self) -> Path:
        """MariaDB's tables."""
        return self.root / "mariadb"

    @property
    def save(self) -> Path:
        """The state that slurmctld saves."""
        return self.root / "save"

    @property
    def spool(self) -> Path:
        """What the slurmds keep, one directory a node."""
        return self.root / "spool"

    @property
    def power(self) -> Path:
        """The daemon's database."""
        return self.root / "power"

    @property
    def munge_key(self) -> Path:
        """The secret that all parts of this cluster share."""
        return self.root / "secret" / "munge.key"

    @property
    def munge_socket(self) -> Path:
        """Where munged listens."""
        return self.run / "munge.sock"

    @property
    def gpus(self) -> Path:
        """What stands for the devices of GPUs."""
        return self.root / "gpus"

    @property
    def chroot(self) -> Path:
        """Where the tree of another Slurm version is mounted."""
        return self.root / "root"

    @property
    def overlay(self) -> Path:
        """What is written into that tree."""
        return self.root / "overlay"

    def create(self) -> None:
        """Make the directory and its parts. Raises SandboxError where it is occupied or unfit."""
        if len(str(self.root)) > LONGEST_DIR:
            raise SandboxError(
                f"{self.root} is too long for the paths of unix sockets; give --dir at most {LONGEST_DIR} characters"
            )
        try:
            self.root.mkdir(mode=0o755, parents=True)
        except FileExistsError:
            self._check_empty()
        except OSError as error:
            raise SandboxError(f"cannot make {self.root}: {error.strerror}") from None
        self.root.chmod(0o755)
        for path in (self.etc, self.run, self.log, self.bin, self.spool):
            _mkdir(path, 0o755)
        for path in (self.data, self.save, self.power, self.munge_key.parent):
            _mkdir(path, 0o700)

    def check_open_to_all(self) -> None:
        """Raise SandboxError unless every user may pass through to the directory."""
        for parent in self.root.resolve().parents:
            if not parent.stat().st_mode & stat.S_IXOTH:
                raise SandboxError(
                    f"{parent} is closed to other users, so their jobs could not read {self.slurm_conf}; "
                    f"for example: --dir {default_dir()}"
                )

    def remove(self) -> None:
        """Delete the directory, unless something is still mounted in it (SandboxError)."""
        mounted = mounts_below(self.root)
        if mounted:
            raise SandboxError(f"not deleted, because something is still mounted there: {' '.join(mounted)}")
        shutil.rmtree(self.root)

    def _check_empty(self) -> None:
        found = self.root.lstat()
        if self.state_file.exists():
            raise SandboxError(
                f"there is a sandbox in {self.root} already; end it with: spower sandbox down --dir {self.root}"
            )
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or any(self.root.iterdir()):
            raise SandboxError(f"{self.root} is not an empty directory of yours; choose another with --dir")


def default_dir() -> Path:
    """Where a sandbox lies unless told: private to the user, and open to the users that root makes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.geteuid() != 0:
        return Path(runtime) / "slurm_power-sandbox"
    return Path("/tmp") / f"slurm_power-sandbox-{os.geteuid()}"


def mounts_below(root: Path) -> list[str]:
    """Mount points at or below a directory, deepest first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    own = [point for point in points if Path(point).is_relative_to(root.resolve())]
    return sorted(own, key=len, reverse=True)


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file that has its mode from the first byte on, whatever the umask."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w") as file:
        os.fchmod(handle, mode)
        file.write(text)


def _mkdir(path: Path, mode: int) -> None:
    path.mkdir()
    path.chmod(mode)
