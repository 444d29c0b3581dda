"""The Lua hook and the launch gate: where they were installed, and their copies beside the sandbox's slurm.conf."""

import sysconfig
from pathlib import Path

from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import write_file

SHARE = "share/slurm_power/lua"
"""Where a wheel puts the files, below its prefix."""


def lua_dir() -> Path:
    """The directory of the Lua files: in a checkout, else in the prefix. Raises SandboxError."""
    checkout = Path(__file__).resolve().parents[2] / "lua"
    prefixes = [sysconfig.get_path("data"), sysconfig.get_path("data", sysconfig.get_preferred_scheme("user"))]
    for found in (checkout, *(Path(prefix) / SHARE for prefix in prefixes)):
        if (found / "job_submit.lua").exists():
            return found
    raise SandboxError(f"job_submit.lua is neither in {checkout} nor below {prefixes[0]}/{SHARE}; install slurm-power")


def install_hook(target: Path) -> None:
    """Copy the hook and the gate; a file without a suffix is a script that slurmctld runs."""
    for source in sorted(lua_dir().iterdir()):
        if source.is_file():
            write_file(target / source.name, source.read_text(), 0o644 if source.suffix else 0o755)
