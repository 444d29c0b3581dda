"""A sandbox that runs: its status, its variables, and its parts ended and started one by one."""

from pathlib import Path
from shlex import quote
from typing import Any

from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.state import State, StateFile, load, locked
from slurm_power.sandbox.teardown import take_down
from slurm_power.sandbox.wrappers import variables


def down(root: Path) -> None:
    """End the sandbox in a directory and delete it. Raises SandboxError."""
    state = load(root)
    with locked(Layout(root)):
        take_down(state)


def stop(root: Path, name: str) -> None:
    """End one part. Raises SandboxError if it is unknown or does not run."""
    with locked(Layout(root)):
        state = load(root)
        part = _part(state, name)
        if not part.alive:
            raise SandboxError(f"{name} does not run; start it with: spower sandbox start {name}")
        StateFile(state).add(part.stop())


def start(root: Path, name: str) -> None:
    """Start one part again and wait until it listens. Raises SandboxError if it is unknown or runs already."""
    with locked(Layout(root)):
        state = load(root)
        part = _part(state, name)
        if part.alive:
            raise SandboxError(f"{name} runs already")
        StateFile(state).start(part).wait_ready()


def status(root: Path) -> dict[str, Any]:
    """What there is, as data for JSON; the pid of a part that does not run is None."""
    state = load(root)
    layout = Layout(root)
    single = {name: part for name, part in state.parts.items() if not part.node}
    nodes = {name: part for name, part in state.parts.items() if part.node}
    return {
        "schema": 1,
        "dir": str(state.root),
        "complete": state.complete,
        "cluster": state.cluster,
        "slurm_conf": str(layout.slurm_conf),
        "slurm_power_conf": str(layout.site_file),
        "slurm_version": state.slurm_version,
        "slurm_root": state.slurm_root,
        "site": state.site,
        "users": [user.as_json() for user in state.users],
        "pids": {**_pids(single), "slurmd": _pids(nodes)},
        "logs": {**_logs(single), "slurmd": _logs(nodes)},
    }


def environment(root: Path) -> str:
    """Lines for a shell's eval. Raises SandboxError where there is no sandbox."""
    layout = Layout(load(root).root)
    lines = [f"export {name}={quote(value)}" for name, value in variables(layout).items()]
    return "\n".join([*lines, f'export PATH={quote(str(layout.bin))}:"$PATH"'])


def _part(state: State, name: str) -> Part:
    if name not in state.parts:
        raise SandboxError(f"the sandbox has no '{name}'; it has {', '.join(state.parts)}")
    return state.parts[name]


def _pids(parts: dict[str, Part]) -> dict[str, int | None]:
    return {name: part.process.pid if part.process and part.alive else None for name, part in parts.items()}


def _logs(parts: dict[str, Part]) -> dict[str, str]:
    return {name: part.log for name, part in parts.items()}
