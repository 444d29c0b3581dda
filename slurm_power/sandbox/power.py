"""slurm_power in the sandbox: the daemon, the hook with its settings, and what slurm.conf says of watts."""

import os
import sys
from collections.abc import Mapping

from slurm_power.config import Site
from slurm_power.core.policy import Native
from slurm_power.render import licences_line, slurm_fragment
from slurm_power.sandbox.hook import install_hook
from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.tools import Tools

_SETTINGS = """\
return {{
  socket = "{socket}",
  timeout_ms = {timeout_ms},
  slurm_uid = {uid},
  gate_wait_s = {gate_wait_s},
  squeue = "{squeue}",
  slurm_conf = "{slurm_conf}",
  licenses = {licenses},
}}
"""


def power_lines(layout: Layout, site: Site, tools: Tools, version: tuple[int, int, int], *, daemon: bool) -> str:
    """What slurm.conf has to say of watts, with the hook and the gate installed beside it.

    Without the daemon the licences alone: the hook would hold every job for ever.
    """
    if not daemon:
        return licences_line(site)
    install_hook(layout.etc)
    settings = _SETTINGS.format(
        socket=site.hook.socket,
        timeout_ms=site.hook.timeout_ms,
        uid=os.geteuid(),
        gate_wait_s=site.policy.gate_wait_s,
        squeue="/usr/bin/squeue" if tools.tree else tools.argv("squeue")[0],
        slurm_conf=layout.slurm_conf,
        licenses="true" if site.policy.native is Native.LICENSES else "false",
    )
    write_file(layout.etc / "slurm_power_hook.lua", settings)
    return slurm_fragment(site, version=version, lua_dir=layout.etc)


def powerd(layout: Layout, env: Mapping[str, str], site: Site) -> Part:
    """How the daemon is started; it uses the commands in the sandbox's `bin` before the machine's."""
    path = f"{layout.bin}:{env['PATH']}"
    log = str(layout.log / "slurm-powerd.log")
    argv = (sys.executable, "-m", "slurm_power.daemon")
    return Part("slurm-powerd", argv, log, log, {**env, "PATH": path}, str(layout.run), socket=str(site.hook.control))
