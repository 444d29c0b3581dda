"""`spower sandbox`: a private, real Slurm cluster on this machine."""

import os
from pathlib import Path
from typing import Any

import click

from slurm_power.cli.options import json_option
from slurm_power.cli.output import json_text
from slurm_power.sandbox import build, cluster
from slurm_power.sandbox.layout import default_dir

_DIR = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_dir,
    help="Where it lies, and its files; a private directory unless given.",
)
_NAME = click.argument("name")
ONE_USER = (
    "Not root: every part and every job runs as {user}, who may use every tier. What needs several users "
    "(who may use which tier, fair share between accounts, limits a user) cannot be shown."
)


def _absolute(path: Path) -> Path:
    """Without symbolic links, so that the daemons and the kernel name it as we do."""
    return path.resolve()


def _names(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    return tuple(name for name in value.split(",") if name)


@click.group("sandbox")
def sandbox() -> None:
    """A private, real Slurm cluster on this machine, from the installed Slurm packages.

    Many nodes on 127.0.0.1, accounting, accounts, QOS and preemption, the hook and slurm-powerd; everything lies under
    one directory, and `down` ends exactly what `up` started. Nothing of the system's Slurm is read or changed.
    """


@sandbox.command("up")
@_DIR
@click.option(
    "--site",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A site file: nodes, partitions and tiers are those that it names.",
)
@click.option("--racks", type=click.IntRange(1, 99), default=4, show_default=True, help="Racks, without --site.")
@click.option(
    "--nodes-per-rack", type=click.IntRange(1, 99), default=4, show_default=True, help="Nodes a rack, without --site."
)
@click.option("--gpus", type=click.IntRange(0, 64), default=8, show_default=True, help="GPUs a node.")
@click.option(
    "--slurm-root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The root of a Debian tree with another Slurm version; only for root.",
)
@click.option(
    "--users", default="alice,bob,carol", show_default=True, callback=_names, help="Users; as root, made if missing."
)
@click.option("--no-daemon", is_flag=True, help="Slurm alone: without slurm-powerd, its hook and its launch gate.")
def up(
    *,
    root: Path,
    site: Path | None,
    racks: int,
    nodes_per_rack: int,
    gpus: int,
    slurm_root: Path | None,
    users: tuple[str, ...],
    no_daemon: bool,
) -> None:
    """Start a cluster; takes about ten seconds."""
    options = build.Options(
        root=_absolute(root),
        site=None if site is None else _absolute(site),
        racks=racks,
        nodes_per_rack=nodes_per_rack,
        gpus=gpus,
        slurm_root=None if slurm_root is None else _absolute(slurm_root),
        users=users,
        daemon=not no_daemon,
    )
    state = build.up(options)
    nodes = sum(part.node for part in state.parts.values())
    click.echo(f"Slurm {state.slurm_version} with {nodes} nodes is up in {state.root}")
    for user in state.users:
        click.echo(f"  {user.name}: account {user.account}, QOS {', '.join(user.qos)}")
    if os.geteuid() != 0:
        click.echo(ONE_USER.format(user=state.users[0].name))
    place = "" if state.root == default_dir() else f" --dir {state.root}"
    click.echo(f'To use it:  eval "$(spower sandbox env{place})"')
    click.echo(f"To end it:  spower sandbox down{place}")


@sandbox.command("down")
@_DIR
def down(root: Path) -> None:
    """End the cluster, remove what it made, and delete its directory."""
    cluster.down(_absolute(root))


@sandbox.command("status")
@_DIR
@json_option
def status(root: Path, as_json: bool) -> None:
    """Show what runs, and where the logs are."""
    found = cluster.status(_absolute(root))
    click.echo(json_text(found) if as_json else "".join(f"{line}\n" for line in _as_text(found)), nl=False)


@sandbox.command("env")
@_DIR
def env(root: Path) -> None:
    """Print what a shell needs: eval "$(spower sandbox env)"."""
    click.echo(cluster.environment(_absolute(root)))


@sandbox.command("stop")
@_NAME
@_DIR
def stop(name: str, root: Path) -> None:
    """End one part: munged, mariadbd, slurmdbd, slurmctld, slurm-powerd, or a node's slurmd by the node's name."""
    cluster.stop(_absolute(root), name)


@sandbox.command("start")
@_NAME
@_DIR
def start(name: str, root: Path) -> None:
    """Start one part again."""
    cluster.start(_absolute(root), name)


def _as_text(found: dict[str, Any]) -> list[str]:
    names = ("dir", "slurm_version", "slurm_conf", "site")
    lines = [f"{name.replace('_', ' '):<14}{found[name]}" for name in names]
    lines.append(f"{'users':<14}{', '.join(user['name'] for user in found['users'])}")
    pids, logs = found["pids"], found["logs"]
    single = [(name, pid, logs[name]) for name, pid in pids.items() if name != "slurmd"]
    nodes = [(name, pid, logs["slurmd"][name]) for name, pid in pids["slurmd"].items()]
    lines.append("")
    lines += [f"{name:<14}{pid or 'not running':<13}{log}" for name, pid, log in single + nodes]
    return lines
