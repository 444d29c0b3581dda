"""The effective site as data for JSON and as YAML for people: limits resolved, defaults filled in, all sections."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo
from typing import Any

import yaml

from slurm_power.adapters.store.engine import place_of
from slurm_power.cli.section_view import section_data
from slurm_power.config import Site
from slurm_power.config.fields import fold_hostlist
from slurm_power.core.policy import PartitionPolicy, Tier, WorkClass
from slurm_power.core.showback import Tariff
from slurm_power.core.topology import Feed, Zone
from slurm_power.core.units import format_duration, format_watts

Data = dict[str, Any]


def effective(site: Site) -> Data:
    """What the daemon makes of the site file. Raises StoreError for a database that cannot be named."""
    policy, hook = site.policy, site.hook
    return {
        "schema": 1,
        "file": str(site.path),
        "mode": str(policy.mode),
        "enforce": str(policy.scope),
        "native": str(policy.native),
        "timezone": str(site.timezone),
        "defaults": {
            "tier": policy.default_tier,
            "max_factor": policy.max_factor_milli / 1_000,
            "burst": {"rule": "rss" if policy.burst.rss else "sum", "z": policy.burst.z_milli / 1_000},
            "start_grace_s": policy.start_grace_s,
        },
        "feeds": [_feed(feed) for feed in site.topology.feeds.values()],
        "zones": [_zone(zone) for zone in site.topology.zones.values()],
        "partitions": [_partition(partition) for partition in policy.partitions.values()],
        "tiers": [_tier(tier) for tier in policy.tiers.values()],
        "classes": [_class(work_class) for work_class in policy.classes.values()],
        "hook": {
            "socket": str(hook.socket),
            "control": str(hook.control),
            "timeout_ms": hook.timeout_ms,
            "gate_wait_s": policy.gate_wait_s,
            "token_ttl_s": policy.token_ttl_s,
            "rumour_cap_w": policy.rumour_cap_w,
        },
        "state": {"url": place_of(site.state_url), "keep_s": site.keep_s},
        "reservations": section_data(site.reservations),
        "preemption": section_data(site.preemption),
        "control": section_data(site.control),
        "balance": section_data(site.balance),
        "thermal": None if site.thermal is None else section_data(site.thermal),
        "telemetry": [section_data(source) for source in site.telemetry or ()],
        "metrics": None if site.metrics is None else section_data(site.metrics),
        "sla": {tier: section_data(promise) for tier, promise in (site.sla or {}).items()},
        "tariffs": [_tariff(tariff, site.timezone) for tariff in site.tariffs],
    }


def as_yaml(data: Mapping[str, Any]) -> str:
    """The same for people: named things under their names, watts in kW, durations as Slurm writes them."""
    return yaml.safe_dump(_readable(data), sort_keys=False, width=110)


def _feed(feed: Feed) -> Data:
    return {
        "name": feed.name,
        "kind": str(feed.kind),
        "side": str(feed.side) if feed.side else None,
        "parent": feed.parent,
        "limit_w": feed.limit_w,
        "margin": float(feed.margin),
        "usable_w": feed.usable_w,
    }


def _zone(zone: Zone) -> Data:
    return {
        "name": zone.name,
        "nodes": fold_hostlist(zone.nodes),
        "lane": str(zone.lane),
        "redundancy": str(zone.redundancy),
        "feeds": list(zone.feeds),
        "switch": zone.switch or None,
        "limit_w": zone.limit_w,
        "margin": float(zone.margin),
        "usable_w": zone.usable_w,
        "baseline_w": zone.baseline_w,
    }


def _partition(partition: PartitionPolicy) -> Data:
    return {
        "name": partition.name,
        "zones": None if partition.zones is None else fold_hostlist(partition.zones),
        "node_w": partition.node_w,
        "gpu_w": partition.gpu_w,
        "gpu_factor": partition.gpu_factor_milli / 1_000,
        "overhead_w": partition.overhead_w,
    }


def _tier(tier: Tier) -> Data:
    return {
        "name": tier.name,
        "qos": tier.qos,
        "notice_s": tier.notice_s,
        "planned_cuts": "accept" if tier.accepts_cuts else "avoid",
    }


def _tariff(tariff: Tariff, zone: tzinfo) -> Data:
    """The day is that of the site's own clock; null: from ever on."""
    return {
        "from": str(datetime.fromtimestamp(tariff.start, zone).date()) if tariff.start else None,
        "currency": tariff.currency,
        "kwh": float(tariff.kwh),
        "reserved_kwh": float(tariff.reserved_kwh),
        "tiers": {name: float(factor) for name, factor in tariff.tiers.items()},
        "checkpoints": float(tariff.yielding),
    }


def _class(work_class: WorkClass) -> Data:
    data = asdict(work_class)
    factor = data.pop("max_factor_milli")
    hours = work_class.hours
    return {
        **data,
        "hours": None if hours is None else str(hours),
        "max_factor": None if factor is None else factor / 1_000,
    }


def _readable(value: Any) -> Any:
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and "name" in item for item in value):
            return {item["name"]: _section({k: v for k, v in item.items() if k != "name"}) for item in value}
        return [_readable(item) for item in value]
    return _section(value) if isinstance(value, Mapping) else value


def _section(section: Mapping[str, Any]) -> Data:
    readable: Data = {}
    for key, value in section.items():
        if key == "notice_s":
            readable["notice"] = "never" if value is None else format_duration(value)
        elif value is None or key == "schema":
            continue
        elif key.endswith("_w"):
            readable[key.removesuffix("_w")] = format_watts(value)
        elif key.endswith("_ms"):
            readable[key.removesuffix("_ms")] = f"{value}ms"
        elif key.endswith("_s"):
            readable[key.removesuffix("_s")] = format_duration(value)
        elif key == "margin":
            readable[key] = f"{value * 100:g}%"
        else:
            readable[key] = _readable(value)
    return readable
