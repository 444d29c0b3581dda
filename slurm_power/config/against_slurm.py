"""Whether Slurm is set up as the site file has it: nodes, partitions, features, licences."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slurm_power.config.fields import expand_hostlist_or_nothing, fold_hostlist
from slurm_power.config.site import Site
from slurm_power.core.binding import PREFIX, feature_of, licence_plan
from slurm_power.core.policy import Native
from slurm_power.core.topology import Zone
from slurm_power.ports import LicenseRecord, NodeRecord, PartitionRecord

_AT_ONCE = 500
"""Zones or nodes that are looked at before others get their turn."""


class Severity(StrEnum):
    """`error`: admission would bind jobs to what Slurm does not have; `warning`: likely not meant."""

    ERROR = "error"
    WARNING = "warning"


class Aspect(StrEnum):
    """What of Slurm a difference is in."""

    NODES = "nodes"
    FEATURE = "feature"
    PARTITION = "partition"
    LICENCE = "licence"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between the site file and Slurm."""

    severity: Severity
    text: str
    aspect: Aspect | None = None
    """None: in the site file alone."""
    subject: str = ""
    """The zone, feature, partition or licence."""


def check_against_slurm(
    site: Site,
    nodes: Sequence[NodeRecord],
    partitions: Sequence[PartitionRecord],
    licenses: Sequence[LicenseRecord],
) -> tuple[Finding, ...]:
    """All differences that matter, zones first, in the order of the site file."""
    by_name = {node.name: node for node in nodes}
    nodes_of = {record.name: expand_hostlist_or_nothing(record.nodes) for record in partitions}
    return tuple(one for one in differences(site, by_name, nodes_of, licenses) if one is not None)


def differences(
    site: Site,
    nodes: Mapping[str, NodeRecord],
    partitions: Mapping[str, Collection[str]],
    licenses: Sequence[LicenseRecord],
) -> Iterator[Finding | None]:
    """The same, given nodes and the partitions' nodes by name; None where others may be answered."""
    for number, zone in enumerate(site.topology.zones.values()):
        if number % _AT_ONCE == 0:
            yield None
        yield from _zone(zone, nodes)
    yield from _strays(site, nodes.values())
    yield None
    yield from _partitions(site, partitions)
    yield None
    yield from _licences(site, licenses)


def _zone(zone: Zone, nodes: Mapping[str, NodeRecord]) -> Iterator[Finding]:
    feature = feature_of(zone.name)
    unknown = [name for name in zone.nodes if name not in nodes]
    if unknown:
        yield _error(f"zone {zone.name}: Slurm does not have {_nodes(unknown)}", Aspect.NODES, zone.name)
    bare = [name for name in zone.nodes if name in nodes and feature not in nodes[name].features]
    if bare:
        yield _error(
            f"zone {zone.name}: {_nodes(bare)} without Feature={feature} on the NodeName line of slurm.conf",
            Aspect.FEATURE,
            zone.name,
        )


def _strays(site: Site, nodes: Iterable[NodeRecord]) -> Iterator[Finding | None]:
    """Nodes with the feature of a zone that they are not in: jobs bound to that zone could start there."""
    strays: dict[str, list[str]] = {}
    for number, node in enumerate(nodes):
        if number % _AT_ONCE == 0:
            yield None
        zone = site.topology.zone_of_node.get(node.name)
        for feature in node.features:
            if feature.startswith(PREFIX) and (zone is None or feature != feature_of(zone)):
                strays.setdefault(feature, []).append(node.name)
    for feature, names in sorted(strays.items()):
        where = "which the site file does not have in that zone"
        yield _error(f"Feature={feature} on {_nodes(names)}, {where}", Aspect.FEATURE, feature)


def _partitions(site: Site, known: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    for name in site.policy.partitions:
        if name not in known:
            yield _error(f"partition {name}: Slurm does not have it", Aspect.PARTITION, name)
    for partition, names in known.items():
        outside = [name for name in names if name not in site.topology.zone_of_node]
        if outside and len(outside) == len(names):
            yield _warning(
                f"partition {partition}: none of its nodes lies in a zone, so its jobs are not counted",
                Aspect.PARTITION,
                partition,
            )
        elif outside:
            yield _warning(
                f"partition {partition}: {_nodes(outside)} in no zone; watts drawn there are not counted",
                Aspect.PARTITION,
                partition,
            )
        yield from _unreachable(site, partition, names)


def _unreachable(site: Site, partition: str, nodes: Iterable[str]) -> Iterator[Finding]:
    """Zones that the site file gives a partition, and that hold none of its nodes."""
    policy = site.policy.partitions.get(partition)
    if policy is None or policy.zones is None:
        return
    held = {site.topology.zone_of_node.get(node) for node in nodes}
    empty = [zone for zone in policy.zones if zone not in held]
    if empty:
        text = f"partition {partition}: no node of it lies in {fold_hostlist(empty)}"
        yield _warning(text, Aspect.PARTITION, partition)


def _licences(site: Site, records: Sequence[LicenseRecord]) -> Iterator[Finding]:
    plan = licence_plan(site.topology).counts if site.policy.native is Native.LICENSES else {}
    totals = {record.name: record.total for record in records}
    for name, count in plan.items():
        if name not in totals:
            yield _error(
                f"licence {name}: Slurm does not have it; Licenses= in slurm.conf needs {name}:{count}",
                Aspect.LICENCE,
                name,
            )
        elif totals[name] != count:
            text = f"licence {name}: Slurm counts {totals[name]}, the site file means {count}"
            yield _warning(text, Aspect.LICENCE, name)
    for name in sorted(totals):
        if name.startswith(PREFIX) and name not in plan:
            yield _warning(f"licence {name}: no zone or feed of the site file needs it", Aspect.LICENCE, name)


def _nodes(names: list[str]) -> str:
    return f"node{'s' if len(names) > 1 else ''} {fold_hostlist(names)}"


def _error(text: str, aspect: Aspect, subject: str) -> Finding:
    return Finding(Severity.ERROR, text, aspect, subject)


def _warning(text: str, aspect: Aspect, subject: str) -> Finding:
    return Finding(Severity.WARNING, text, aspect, subject)
