"""Another Slurm version beside the system's: a Debian tree, mounted under the sandbox and entered with chroot.

The tree itself stays as it was: an overlay takes what is written. Every mount is private before anything is mounted
below it, so that nothing reaches, or is later unmounted from, the machine's own mounts.
"""

import shutil
from pathlib import Path

from slurm_power.sandbox import users
from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout, mounts_below
from slurm_power.sandbox.parts import clean_environment
from slurm_power.sandbox.tools import program, run

SHARED = ("/proc", "/dev", "/dev/pts", "/tmp", "/home", "/root")
KNOWN = ("passwd", "group", "hosts", "hostname", "localtime")
"""Files of /etc that must say inside what they say outside."""


def mount_tree(layout: Layout, tree: Path) -> None:
    """Mount a Slurm version's root for this sandbox. Raises SandboxError."""
    if not (tree / "usr/sbin/slurmctld").exists() and not (tree / "etc/alternatives/slurmctld").is_symlink():
        raise SandboxError(f"there is no /usr/sbin/slurmctld in {tree}; --slurm-root wants the root of a Debian tree")
    layout.chroot.mkdir()
    layout.overlay.mkdir(mode=0o700)
    _mount(layout, layout.overlay, "-t", "tmpfs", "-o", "mode=755", "tmpfs")
    upper, work = layout.overlay / "upper", layout.overlay / "work"
    upper.mkdir()
    work.mkdir()
    options = f"lowerdir={tree.resolve()},upperdir={upper},workdir={work}"
    _mount(layout, layout.chroot, "-t", "overlay", "-o", options, "overlay")
    for name in KNOWN:
        source, target = Path("/etc") / name, layout.chroot / "etc" / name
        if source.exists():
            target.unlink(missing_ok=True)  # a symbolic link would lead out of the tree
            shutil.copyfile(source, target)
    for path in (*map(Path, SHARED), users.HOME, layout.root):
        if path.is_dir():
            target = layout.chroot / path.relative_to("/")
            target.mkdir(parents=True, exist_ok=True)
            if target.resolve() != target:
                raise SandboxError(f"{tree}{path} is a symbolic link; the tree needs a directory there")
            _mount(layout, target, "--bind", str(path))


def unmount_all(layout: Layout) -> None:
    """Unmount whatever is mounted below the sandbox. Raises SandboxError if something is busy."""
    for point in mounts_below(layout.root):
        run((program("umount"), point), clean_environment(layout.root))


def _mount(layout: Layout, target: Path, *how: str) -> None:
    env = clean_environment(layout.root)
    run((program("mount"), *how, str(target)), env)
    run((program("mount"), "--make-private", str(target)), env)
