"""The floor as site file and Slurm show it together: partitions and their zones, nodes and their features."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ClusterShell.NodeSet import NodeSet, NodeSetException

from slurm_power.config import Site
from slurm_power.core.constraint import could_satisfy
from slurm_power.core.errors import SlurmParseError
from slurm_power.core.nodes import NodeFree, ZoneNodes, all_free
from slurm_power.core.policy import Native, PartitionPolicy
from slurm_power.ports import NodeRecord, PartitionRecord

_ONE_NAME = re.compile(r"[\w.-]+")
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_LONGEST = 16_384
_MOST_NAMES = 1 << 14
"""Unfolding so many takes a fifth of what the hook waits for its answer."""


def nodes_of(hostlist: str) -> tuple[str, ...]:
    """The nodes in a hostlist that Slurm itself has written. Raises SlurmParseError rather than miss one."""
    if _ONE_NAME.fullmatch(hostlist):
        return (hostlist,)
    try:
        return tuple(NodeSet(hostlist)) if hostlist else ()
    except NodeSetException as error:
        raise SlurmParseError(f"not a hostlist: {error}", output=hostlist) from error


def expand(hostlist: str) -> tuple[str, ...]:
    """The names in a hostlist that a user has written; empty where it cannot be read or names too many.

    The size is bounded before anything is unfolded.
    """
    size = 1
    for first, last in _RANGE.findall(hostlist):
        size *= max(int(last) - int(first), 1)
    if not hostlist or len(hostlist) > _LONGEST or size > _MOST_NAMES:
        return ()
    try:
        return tuple(NodeSet(hostlist))
    except NodeSetException:
        return ()


def fold(names: Iterable[str]) -> str:
    """The hostlist of these names."""
    return str(NodeSet.fromlist(list(names)))


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition with the zones that its jobs may be placed in, and the size of its nodes."""

    record: PartitionRecord
    policy: PartitionPolicy
    zones: frozenset[str]
    outside: bool
    """Whether some of its nodes lie in no zone."""
    node_cpus: int
    node_gpus: int
    zone_node_w: int
    """What its widest zone could give each of its nodes, in W: the rating of a node of which nothing else is known."""

    @property
    def limit_s(self) -> int | None:
        """The time limit of a job that names none: the partition's default, else its maximum, else none."""
        return self.record.default_time_s if self.record.default_time_s is not None else self.record.max_time_s


class World:
    """Partitions, nodes and features. Made anew when these change; `renew` takes in what the nodes are doing."""

    def __init__(
        self,
        site: Site,
        nodes: Sequence[NodeRecord] = (),
        partitions: Sequence[PartitionRecord] = (),
        licenses: Collection[str] = (),
    ) -> None:
        self.site = site
        self.all_licenses = frozenset(licenses)
        self.licenses = self.all_licenses if site.policy.native is Native.LICENSES else frozenset()
        """Names of the licences that Slurm has, as far as the site wants them used."""
        self.nodes: Mapping[str, NodeRecord] = {node.name: node for node in nodes}
        self.partitions = {record.name: self._partition(record) for record in partitions}
        self.default_partition = next((record.name for record in partitions if record.default), "")
        self._by_feature: dict[str, frozenset[str]] = {}

    def renew(
        self, nodes: Sequence[NodeRecord], partitions: Sequence[PartitionRecord], licenses: Collection[str]
    ) -> bool:
        """Take in a newer reading. False, and nothing is taken in, if more than the nodes' use has changed."""
        same = (
            len(nodes) == len(self.nodes)
            and frozenset(licenses) == self.all_licenses
            and list(partitions) == [partition.record for partition in self.partitions.values()]
            and all(node.name in self.nodes and _same_make(node, self.nodes[node.name]) for node in nodes)
        )
        if same:
            self.nodes = {node.name: node for node in nodes}
        return same

    def features(self) -> frozenset[str]:
        """All features that all nodes of some zone have."""
        found: set[str] = set()
        for zone in self.site.topology.zones.values():
            sets = [frozenset(node.features) for node in self._known(zone.nodes)]
            found |= frozenset.intersection(*sets) if sets else frozenset()
        return frozenset(found)

    def pools(self) -> dict[str, tuple[str, ...]]:
        """For each partition the zones that its jobs choose from."""
        return {name: tuple(sorted(p.zones)) for name, p in self.partitions.items() if p.zones}

    def zone_nodes(self, zone: str) -> ZoneNodes:
        """What Slurm shows of a zone's nodes; all free where it shows none of them."""
        names = self.site.topology.zones[zone].nodes
        known = list(self._known(names))
        if not known:
            return all_free(len(names))
        return gather(known)

    def all_nodes(self, zone: str) -> ZoneNodes:
        """The zone's nodes as if all were up and idle: what could ever start there."""
        names = self.site.topology.zones[zone].nodes
        known = list(self._known(names))
        if not known:
            return all_free(len(names))
        return all_free(len(known), max(node.cpus for node in known), max(node.gpus for node in known))

    def zones_with(self, constraint: str) -> frozenset[str]:
        """The zones whose nodes could satisfy a feature expression."""
        found = self._by_feature.get(constraint)
        if found is None:
            found = frozenset(
                name
                for name, zone in self.site.topology.zones.items()
                if could_satisfy(constraint, [frozenset(n.features) for n in self._known(zone.nodes)])
            )
            self._by_feature[constraint] = found
        return found

    def zones_of(self, nodes: Iterable[str]) -> dict[str, int]:
        """How many of these nodes lie in each zone; nodes of no zone are left out."""
        counts: dict[str, int] = {}
        for node in nodes:
            zone = self.site.topology.zone_of_node.get(node)
            if zone is not None:
                counts[zone] = counts.get(zone, 0) + 1
        return counts

    def _known(self, names: Iterable[str]) -> Iterable[NodeRecord]:
        return (self.nodes[name] for name in names if name in self.nodes)

    def _partition(self, record: PartitionRecord) -> Partition:
        names = nodes_of(record.nodes)
        policy = self.site.policy.partitions.get(record.name, PartitionPolicy(record.name))
        counts = self.zones_of(names)
        zones = policy.zones if policy.zones is not None else tuple(sorted(counts))
        known = list(self._known(names))
        return Partition(
            record=record,
            policy=policy,
            zones=frozenset(zones),
            outside=sum(counts.values()) < len(names),
            node_cpus=max((node.cpus for node in known), default=1),
            node_gpus=max((node.gpus for node in known), default=0),
            zone_node_w=max((self.site.topology.zones[zone].node_share_w for zone in zones), default=1),
        )


def _same_make(one: NodeRecord, other: NodeRecord) -> bool:
    """Whether nothing but the use of a node differs."""
    return (one.cpus, one.gpus, one.features) == (other.cpus, other.gpus, other.features)


def gather(nodes: Iterable[NodeRecord]) -> ZoneNodes:
    """The nodes of one zone, in the shape that the ledger keeps."""
    up = [node for node in nodes if node.up]
    idle = [node for node in up if not node.cpus_alloc and not node.gpus_alloc]
    partly = tuple(
        NodeFree(node.cpus - node.cpus_alloc, node.gpus - node.gpus_alloc)
        for node in up
        if (node.cpus_alloc or node.gpus_alloc) and node.cpus > node.cpus_alloc
    )
    return ZoneNodes(
        up=len(up),
        idle=len(idle),
        cpus=max((node.cpus for node in up), default=1),
        gpus=max((node.gpus for node in up), default=0),
        partly=partly,
    )
