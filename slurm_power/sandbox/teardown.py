"""`down`: everything that the state file names is ended, and nothing else."""

import os
import time

from slurm_power.sandbox import process, users
from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.parts import MARK
from slurm_power.sandbox.process import Process
from slurm_power.sandbox.state import State
from slurm_power.sandbox.tree import unmount_all

ORDER = (("slurm-powerd",), ("slurmctld",), ("slurmdbd",), ("mariadbd", "munged"))
"""Each round ends before the next begins, so that nobody loses what it writes to; nodes end in the second."""
SWEEPS_S = 20.0


def take_down(state: State) -> None:
    """End a sandbox and delete its directory. Raises SandboxError, and keeps the directory, if something resists."""
    layout = Layout(state.root)
    nodes = tuple(part.name for part in state.parts.values() if part.node)
    for index, names in enumerate(ORDER):
        _end(state, names + nodes if index == 1 else names)
        if index == 1:
            _sweep(state)
    unmount_all(layout)
    layout.remove()
    if os.geteuid() == 0:
        users.release(state.root)


def _end(state: State, names: tuple[str, ...]) -> None:
    parts = [state.parts[name] for name in names if name in state.parts]
    left = process.end([part.process for part in parts if part.process is not None])
    if left:
        pids = " ".join(str(found.pid) for found in left)
        raise SandboxError(f"these processes of the sandbox do not end: {pids}")


def _sweep(state: State) -> None:
    """End what the slurmds left: slurmstepds, which outlive them, and the processes of jobs."""
    deadline = time.monotonic() + SWEEPS_S
    while left := _leftovers(state):
        if time.monotonic() > deadline:
            raise SandboxError(f"processes of jobs do not end: {' '.join(str(found.pid) for found in left)}")
        process.end(left, patience_s=1.0)


def _leftovers(state: State) -> list[Process]:
    """What our parts started, by our mark; slurmstepds, which wipe it; jobs, by Slurm's variables; all in our tree."""
    kept = {part.process for part in state.parts.values()}
    found = {
        *process.with_environment({MARK: str(state.root)}),
        *process.working_below(state.root, "slurmstepd"),
        *process.with_environment({"SLURM_CLUSTER_NAME": state.cluster, "SLURMD_NODENAME": None}),
        *process.rooted_below(state.root),
    }
    return [one for one in found if one not in kept]
