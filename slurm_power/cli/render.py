"""`spower render`: what Slurm's own configuration has to say for a site file. Nothing is written."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from shlex import join

import click

from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.cli.options import json_option, site_file_argument
from slurm_power.cli.output import json_text
from slurm_power.config import load_site
from slurm_power.core.binding import PREFIX
from slurm_power.ports import LicenseRecord, NodeRecord
from slurm_power.render import LUA_DIR, sacctmgr_commands, slurm_fragment

Version = tuple[int, int, int]
_OLDEST: Version = (22, 5, 8)
_VERSION = re.compile(r"(\d{2})\.0?(\d{1,2})(?:\.(\d{1,3}))?")


def _version(_context: click.Context, _option: click.Parameter, value: str | None) -> Version | None:
    if value is None:
        return None
    match = _VERSION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"'{value}' is not a version of Slurm; write 24.11.5")
    return int(match[1]), int(match[2]), int(match[3] or 0)


@click.group("render", short_help="Slurm's own configuration for the site file.")
def render() -> None:
    """Print what Slurm's own configuration needs for the site file; nothing is changed."""


@render.command("slurm")
@site_file_argument
@click.option(
    "--slurm", "running", is_flag=True, help="Ask the running Slurm for its version, features and licences."
)
@click.option(
    "--slurm-version", "version", callback=_version, metavar="VERSION", help="Slurm's version: 24.11.5."
)
@click.option(
    "--lua-dir",
    type=click.Path(path_type=PurePosixPath),
    default=LUA_DIR,
    show_default=True,
    help="Where the hook and the launch gate are installed.",
)
@json_option
def slurm(
    file: Path | None, running: bool, version: Version | None, lua_dir: PurePosixPath, as_json: bool
) -> None:
    """Print lines for slurm.conf, each explained; as comments the sacctmgr commands for the tiers' QOS."""
    site = load_site(file)
    nodes: Sequence[NodeRecord] = ()
    licences = ""
    if running:
        slurm_now = SlurmCommands(Runner(read_only=True))
        version = version or slurm_now.version()
        nodes = slurm_now.nodes()
        licences = own_licences(slurm_now.licenses())
    fragment = slurm_fragment(
        site, version=version or _OLDEST, lua_dir=lua_dir, nodes=nodes, licences=licences
    )
    commands = sacctmgr_commands(site)
    if as_json:
        data = {"schema": 1, "slurm_conf": fragment, "sacctmgr": [list(argv) for argv in commands]}
        click.echo(json_text(data), nl=False)
        return
    click.echo(fragment)
    click.echo("# The tiers' QOS, for accounting; `spower render sacctmgr` prints these commands alone.")
    for argv in commands:
        click.echo(f"# {join(argv)}")


@render.command("sacctmgr")
@site_file_argument
@json_option
def sacctmgr(file: Path | None, as_json: bool) -> None:
    """Print the commands that make the tiers' QOS, for a shell."""
    commands = sacctmgr_commands(load_site(file))
    if as_json:
        click.echo(json_text({"schema": 1, "sacctmgr": [list(argv) for argv in commands]}), nl=False)
        return
    for argv in commands:
        click.echo(join(argv))


def own_licences(records: Sequence[LicenseRecord]) -> str:
    """The site's own licences as slurm.conf lists them: not ours, not remote ones, no layers."""
    own = [record for record in records if not record.name.startswith(PREFIX)]
    return ",".join(f"{record.name}:{record.total}" for record in own if not set("@(") & set(record.name))
