"""Commands in the sandbox's `bin`, which `spower sandbox env` puts first on the PATH."""

import shutil
import sys
from pathlib import Path
from shlex import quote

from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.tools import search_path

CLIENTS = (
    "sacct",
    "sacctmgr",
    "salloc",
    "sattach",
    "sbatch",
    "sbcast",
    "scancel",
    "scontrol",
    "sdiag",
    "sinfo",
    "sprio",
    "squeue",
    "sreport",
    "srun",
    "sshare",
    "sstat",
    "strigger",
)
OWN = {"spower": "slurm_power.cli.spower", "sreservation": "slurm_power.cli.sreservation"}

# sudo cleans the environment and uses a PATH of its own; both would lead to the machine's Slurm
_SUDO = """\
#!/bin/sh
set -- --preserve-env={kept} "$@"
found=
count=$#
while [ "$count" -gt 0 ]; do
    word=$1
    shift
    if [ -z "$found" ] && [ -x {bin}/"$word" ]; then
        word={bin}/$word
        found=yes
    fi
    set -- "$@" "$word"
    count=$((count - 1))
done
exec {sudo} "$@"
"""

# a job runs inside the tree already, where its root is an empty directory; only root may chroot, and others do it
# inside a user namespace of their own
_CLIENT = """\
#!/bin/sh
[ -e {tree}/bin/sh ] || exec /usr/bin/{name} "$@"
enter='cd "$0" 2>/dev/null || cd /; exec "$@"'
export SLURM_CONF={conf}
if [ "$(id -u)" -eq 0 ]; then
    exec chroot {tree} /bin/sh -c "$enter" "$PWD" /usr/bin/{name} "$@"
fi
exec unshare --map-current-user --root={tree} /bin/sh -c "$enter" "$PWD" /usr/bin/{name} "$@"
"""

_OWN = """\
#!/bin/sh
exec {python} -m {module} "$@"
"""


def write_wrappers(layout: Layout, tree: bool) -> None:
    """Write our own commands, a sudo that keeps the sandbox's variables, and with `tree` Slurm's client commands."""
    for name, module in OWN.items():
        _script(layout.bin / name, _OWN.format(python=quote(sys.executable), module=module))
    sudo = shutil.which("sudo", path=search_path())
    if sudo is not None:
        kept = ",".join(variables(layout))
        _script(layout.bin / "sudo", _SUDO.format(kept=kept, bin=quote(str(layout.bin)), sudo=quote(sudo)))
    if tree:
        for name in CLIENTS:
            filled = _CLIENT.format(conf=quote(str(layout.slurm_conf)), tree=quote(str(layout.chroot)), name=name)
            _script(layout.bin / name, filled)


def variables(layout: Layout) -> dict[str, str]:
    """What a command needs to know to talk to this cluster."""
    return {"SLURM_CONF": str(layout.slurm_conf), "SLURM_POWER_CONF": str(layout.site_file)}


def _script(path: Path, text: str) -> None:
    write_file(path, text, 0o755)
