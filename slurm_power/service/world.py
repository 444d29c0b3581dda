"""The floor as site file and Slurm show it together: partitions and their zones, nodes and their features."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

from slurm_power.config import Site
from slurm_power.core.constraint import LONGEST, suiting
from slurm_power.core.errors import SlurmParseError
from slurm_power.core.giving_way import AGAIN_S, LEAVE_S
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import NodeFree, ZoneNodes, all_free
from slurm_power.core.policy import Native, PartitionPolicy
from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.ports import JobRecord, NodeRecord, PartitionRecord
from slurm_power.service.law import NO_LAW, Law

_MOST_TEXTS = 1_000
"""Constraints that are remembered; of more the oldest is forgotten."""
_ONE_NAME = re.compile(r"[\w.-]+", re.ASCII)
# Read here and not by ClusterShell, which takes seconds for some lists that a user can write (two numbers a name),
# accepts spans without end, and resolves groups (`@name`) with the commands of its configuration.
_PART = re.compile(r"((?:[\w.-]|\[[\d,/-]*\])+)(?:,|$)", re.ASCII)
_PIECE = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_SPAN = re.compile(r"(\d{1,18})(?:-(\d{1,18})(?:/(\d{1,9}))?)?", re.ASCII)
_LONGEST = 16_384
_MOST_NAMES = 1 << 14
"""More names than a user will ever list, and few enough to unfold while slurmctld waits for the answer."""


def nodes_of(hostlist: str) -> tuple[str, ...]:
    """The nodes in a hostlist that Slurm itself has written. Raises SlurmParseError rather than miss one."""
    if _ONE_NAME.fullmatch(hostlist):
        return (hostlist,)
    try:
        return _unfold(hostlist)
    except ValueError as error:
        raise SlurmParseError(f"not a hostlist: {error}", output=hostlist) from None


def expand(hostlist: str) -> tuple[str, ...]:
    """The names in a hostlist that a user has written; empty where it cannot be read or names too many."""
    try:
        return _unfold(hostlist, _MOST_NAMES) if len(hostlist) <= _LONGEST else ()
    except ValueError:
        return ()


def _unfold(hostlist: str, most: int | None = None) -> tuple[str, ...]:
    """The names, each once, in order; bounded before anything is unfolded. Raises ValueError."""
    names: dict[str, None] = {}
    at = 0
    while at < len(hostlist):
        part = _PART.match(hostlist, at)
        if part is None:
            raise ValueError(f"cannot read '{hostlist[at : at + 80]}'")
        at = part.end()
        pieces = [
            _numbers(piece[1], most) if piece[1] is not None else (piece[2],) for piece in _PIECE.finditer(part[1])
        ]
        if most is not None and len(names) + prod(map(len, pieces)) > most:
            raise ValueError(f"more than {most} names")
        names.update(dict.fromkeys(map("".join, product(*pieces))))
    return tuple(names)


def _numbers(ranges: str, most: int | None) -> list[str]:
    """The numbers between two brackets, as wide as they are written."""
    numbers: list[str] = []
    for text in ranges.split(","):
        span = _SPAN.fullmatch(text)
        if span is None:
            raise ValueError(f"cannot read '{text[:80]}' as a range")
        first, last, step = int(span[1]), int(span[2] or span[1]), int(span[3] or 1)
        if last < first or not step or (most is not None and len(numbers) + last - first >= most):
            raise ValueError(f"'{text}' is no range, or too large a one")
        numbers.extend(str(number).zfill(len(span[1])) for number in range(first, last + 1, step))
    return numbers


@immutable
class Partition:
    """A partition with the zones that its jobs may be placed in, and the size of its nodes."""

    record: PartitionRecord
    policy: PartitionPolicy
    zones: frozenset[str]
    node_cpus: int
    node_gpus: int
    node_memory_mb: int
    """0 where Slurm shows none."""
    nodes: frozenset[str]
    most: Mapping[str, int]
    """Zone → its nodes, of the zones of which only a part is in the partition."""
    zone_node_w: int
    """What its widest zone could give each of its nodes, in W: the rating of a node of which nothing else is known."""

    @property
    def limit_s(self) -> int | None:
        """The time limit of a job that names none: the partition's default, else its maximum, else none."""
        return self.record.default_time_s if self.record.default_time_s is not None else self.record.max_time_s


class Suiting(NamedTuple):
    """Where a constraint can be satisfied."""

    zones: frozenset[str]
    """The zones with a node that would do."""
    fewer: Mapping[str, int]
    """Of those in which not all nodes would do, how many would."""


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
        self.sizes = {name: len(zone.nodes) for name, zone in site.topology.zones.items()}
        """Nodes of each zone."""
        self.partitions = {record.name: self._partition(record) for record in partitions}
        self.default_partition = next((record.name for record in partitions if record.default), "")
        self.learnt: Mapping[ProfileKey, Learnt] = {}
        """What profiles say of jobs that declare nothing. It goes on changing."""
        self.law: Law = NO_LAW
        """Who may be preempted, and how."""
        self._by_feature: dict[str, Suiting] = {}
        self._kinds: dict[str, dict[str, list[tuple[NodeRecord, int]]]] = {}

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

    def through_cuts_s(self, tier: str, qos: str, *, batch: bool, requeue: bool | None) -> int | None:
        """How long after its start a job of a tier that accepts planned cuts may meet one that ends it, at the soonest.

        It has run for a while then when it has to leave. None where the tier does not accept that, or Slurm lets nobody
        do it.
        """
        known = self.site.policy.tiers.get(tier)
        accepts = known is not None and known.accepts_cuts and self.law.may_end(qos, batch=batch, requeue=requeue)
        if known is None or not accepts:
            return None
        return max(self.site.preemption.min_run, known.notice_s or 0) + LEAVE_S + AGAIN_S

    def runs_through_s(self, record: JobRecord, tier: str, reservation: str) -> int | None:
        """The same of a job that Slurm shows; components, and jobs that draw on a reservation, never give way."""
        if reservation or record.het_job_id is not None:
            return None
        return self.through_cuts_s(tier, record.qos, batch=record.batch, requeue=record.requeue)

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

    def is_off(self, node: str) -> bool:
        """Whether Slurm has powered it down."""
        return node in self.nodes and self.nodes[node].off

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

    def zones_with(self, constraint: str) -> Suiting:
        """The zones whose nodes could satisfy a feature expression."""
        if len(constraint) > LONGEST:
            return Suiting(frozenset(self.site.topology.zones), {})
        found = self._by_feature.get(constraint)
        if found is None:
            if len(self._by_feature) >= _MOST_TEXTS:
                del self._by_feature[next(iter(self._by_feature))]
            found = self._by_feature[constraint] = self._suiting(constraint)
        return found

    def _suiting(self, constraint: str) -> Suiting:
        """Nodes that Slurm does not show might do."""
        counts = {}
        for name, zone in self.site.topology.zones.items():
            known = [frozenset(node.features) for node in self._known(zone.nodes)]
            counts[name] = suiting(constraint, known) + len(zone.nodes) - len(known)
        return Suiting(
            frozenset(name for name, count in counts.items() if count),
            {name: count for name, count in counts.items() if 0 < count < self.sizes[name]},
        )

    def kinds(self, partition: Partition) -> Mapping[str, Sequence[tuple[NodeRecord, int]]]:
        """For each zone of a partition one node of each kind, by memory and types of GPUs, and how many there are."""
        name = partition.record.name
        if name not in self._kinds:
            self._kinds[name] = {zone: self._kinds_in(zone, partition.nodes) for zone in partition.zones}
        return self._kinds[name]

    def _kinds_in(self, zone: str, among: Collection[str]) -> list[tuple[NodeRecord, int]]:
        kinds: dict[tuple[object, ...], tuple[NodeRecord, int]] = {}
        for node in self._known(name for name in self.site.topology.zones[zone].nodes if name in among):
            kind = node.memory_mb, node.gpu_types
            first, count = kinds.get(kind, (node, 0))
            kinds[kind] = first, count + 1
        return list(kinds.values())

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
            node_cpus=max((node.cpus for node in known), default=1),
            node_gpus=max((node.gpus for node in known), default=0),
            node_memory_mb=max((node.memory_mb for node in known), default=0),
            nodes=frozenset(names),
            most={zone: counts.get(zone, 0) for zone in zones if counts.get(zone, 0) < self.sizes[zone]},
            zone_node_w=max((self.site.topology.zones[zone].node_share_w for zone in zones), default=1),
        )


def _same_make(one: NodeRecord, other: NodeRecord) -> bool:
    """Whether nothing but the use of a node differs."""
    return _make(one) == _make(other)


def _make(node: NodeRecord) -> tuple[object, ...]:
    return node.cpus, node.gpus, node.features, node.memory_mb, node.gpu_types


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
