"""The site file of a sandbox: the site's own, or the demo's, with sockets and state inside the sandbox."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from slurm_power.config import Site, load_site
from slurm_power.config.document import read_document
from slurm_power.config.problems import Problems
from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.slurm_conf import Partition

_OF_THE_FLOOR = ("telemetry", "metrics")
ONLY_PARTITION = "batch"
"""Where the site file names no partition."""


def write_site(layout: Layout, data: dict[str, Any]) -> Site:
    """Write the sandbox's site file and read it back. Raises ConfigError for what a site file must not be."""
    private = {
        **data,
        "hook": {
            **(data.get("hook") or {}),
            "socket": str(layout.run / "hook.sock"),
            "control": str(layout.run / "control.sock"),
        },
        "state": {**(data.get("state") or {}), "url": f"sqlite:///{layout.power / 'state.db'}"},
    }
    write_file(layout.site_file, yaml.safe_dump(private, sort_keys=False))
    return load_site(layout.site_file)


def read_site(path: Path) -> dict[str, Any]:
    """A site's own file as data, every value as it is written there. Raises ConfigError.

    Without what is tied to the real floor: its sensors do not measure the sandbox's jobs, and its address for metrics
    is the real daemon's.
    """
    load_site(path)
    found = read_document(path.read_text(), Problems(str(path)))
    return {name: section for name, section in found.items() if name not in _OF_THE_FLOOR}


def node_names(site: Site) -> list[str]:
    """All nodes, zone by zone."""
    return [node for zone in site.topology.zones.values() for node in zone.nodes]


def partitions(site: Site) -> tuple[Partition, ...]:
    """The site's partitions with the nodes of their zones; one for all nodes where none is named."""
    everywhere: Sequence[str] = tuple(site.topology.zones)
    found = [
        Partition(
            name,
            tuple(node for zone in policy.zones or everywhere for node in site.topology.zones[zone].nodes),
        )
        for name, policy in site.policy.partitions.items()
    ]
    return tuple(found) or (Partition(ONLY_PARTITION, tuple(node_names(site))),)
