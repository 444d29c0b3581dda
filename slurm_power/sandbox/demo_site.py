"""The site that a sandbox has unless it is given one: racks in pairs, each pair on an A and a B feed.

Odd pairs are 2N: their two racks share feeds either of which carries barely more than one full rack. Even pairs are N.
"""

from typing import Any

from slurm_power.sandbox.failure import SandboxError

LANES = ("hot", "mixed", "mixed", "cold")
NODE_WATTS = "10200W"
GPU_WATTS = "700W"
RACK_KW = 55
BASELINE = "2kW"
BREAKER = {"volts": 415, "amps": 100, "phases": 3}
Data = dict[str, Any]


def demo_site(racks: int, nodes_per_rack: int) -> Data:
    """A site file as data. Raises SandboxError for a number that makes no cluster."""
    if not 1 <= racks <= 99 or not 1 <= nodes_per_rack <= 99:
        raise SandboxError("a sandbox has 1 to 99 racks of 1 to 99 nodes; for example: --racks 4 --nodes-per-rack 4")
    names = [f"rack{number:02d}" for number in range(1, racks + 1)]
    zones = {name: _zone(index, nodes_per_rack) for index, name in enumerate(names)}
    evaluation = names[racks // 2 :]
    rating = {"node_watts": NODE_WATTS, "gpu_watts": GPU_WATTS}
    return {
        "mode": "enforce",
        "enforce": "all",
        "native": "licenses",
        "defaults": {"margin": "15%", "redundancy": "N", "burst": {"rule": "rss", "z": 2}, "tier": "bronze"},
        "feeds": _feeds(racks),
        "zones": zones,
        "partitions": {
            "train": {"zones": ",".join(names), **rating},
            "eval": {"zones": ",".join(evaluation), **rating},
        },
        "tiers": {
            "gold": {"qos": "gold", "notice": "never"},
            "silver": {"qos": "silver", "notice": "10m"},
            "bronze": {"qos": "bronze", "notice": "0s"},
        },
        "classes": {
            "training": {"tier": "silver", "max_delay": "12h"},
            "interactive": {"tier": "silver", "max_delay": "5m", "max": "20kW"},
            "overnight": {"tier": "bronze", "hours": "20:00-06:00"},
            "urgent": {"tier": "gold", "max_delay": "30m"},
        },
    }


def _zone(index: int, nodes: int) -> Data:
    pair = index // 2
    first, last = index * nodes + 1, (index + 1) * nodes
    zone: Data = {
        "nodes": f"gpu[{first:03d}-{last:03d}]" if nodes > 1 else f"gpu{first:03d}",
        "feeds": [f"pdu-a{pair + 1}", f"pdu-b{pair + 1}"],
        "redundancy": "2N" if pair % 2 == 0 else "N",
        "limit": f"{RACK_KW}kW",
        "baseline": BASELINE,
        "lane": LANES[index % len(LANES)],
    }
    if index % len(LANES) == 0:
        zone["cooling"] = "60kW"
    return zone


def _feeds(racks: int) -> Data:
    feeds: Data = {}
    for side in "AB":
        # one side alone carries the 2N pairs whole and half of the others
        feeds[f"ups-{side.lower()}"] = {"side": side, "limit": f"{RACK_KW * racks}kW"}
    for pair in range(1, (racks + 1) // 2 + 1):
        for side in "AB":
            name = f"pdu-{side.lower()}{pair}"
            feeds[name] = {"side": side, "parent": f"ups-{side.lower()}", "breaker": dict(BREAKER)}
    return feeds
