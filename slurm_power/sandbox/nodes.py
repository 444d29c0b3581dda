"""slurmctld, and a slurmd for every node."""

from collections.abc import Mapping

from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.slurm_conf import Node
from slurm_power.sandbox.tools import Tools


def slurmctld(layout: Layout, tools: Tools, env: Mapping[str, str], port: int) -> Part:
    """How the controller is started. The path of its configuration is absolute: else it finds no job_submit.lua."""
    argv = tools.argv("slurmctld", "-D", "-f", str(layout.slurm_conf))
    log = layout.log / "slurmctld.log"
    return Part("slurmctld", argv, str(log), str(log.with_suffix(".out")), env, str(layout.run), port=port)


def slurmd(layout: Layout, tools: Tools, env: Mapping[str, str], node: Node) -> Part:
    """How a node's daemon is started."""
    argv = tools.argv("slurmd", "-D", "-N", node.name, "-f", str(layout.slurm_conf))
    log = layout.log / f"slurmd-{node.name}.log"
    output = str(log.with_suffix(".out"))
    return Part(node.name, argv, str(log), output, env, str(layout.run), port=node.port, node=True)
