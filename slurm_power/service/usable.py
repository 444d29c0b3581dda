"""How many of each zone's nodes would do for a job: of its partition, not excluded, with its memory, GPUs, features.

What Slurm would refuse for ever must not be admitted; which of these nodes are free is not looked at here.
"""

from collections.abc import Mapping, Sequence

from slurm_power.core.binding import strip_ours
from slurm_power.core.immutable import immutable
from slurm_power.core.nodes import NodeAsk
from slurm_power.ports import NodeRecord
from slurm_power.service.facts import JobFacts
from slurm_power.service.world import Partition, World, expand


@immutable
class Need:
    """What a job asks of each of its nodes that the ledger does not count."""

    memory_mb: int = 0
    gpu_types: tuple[tuple[str, int], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.memory_mb or self.gpu_types)

    def suits(self, node: NodeRecord | None) -> bool:
        """Whether a node has it; yes where Slurm does not show the node, or its memory."""
        if node is None:
            return True
        has = {name.lower(): count for name, count in node.gpu_types}
        return (not node.memory_mb or node.memory_mb >= self.memory_mb) and all(
            has.get(name.lower(), 0) >= count for name, count in self.gpu_types
        )


_NOTHING = Need()


def need_of(facts: JobFacts, ask: NodeAsk) -> Need:
    """What every node of the job has to have, at least; of a job on one node, all that it asks for."""
    cpus = max(facts.cpus_per_task, ask.cpus if ask.nodes == 1 else 1)
    gpus = max(facts.gpus_per_node, facts.gpus_per_task, ask.gpus if ask.nodes == 1 else 1)
    by_gpu_mb = facts.memory_per_gpu_mb * gpus if facts.memory_per_gpu_mb else 0
    return Need(max(facts.memory_mb, facts.memory_per_cpu_mb * cpus, by_gpu_mb), facts.gpu_types)


def usable(
    facts: JobFacts, ask: NodeAsk, partitions: Sequence[Partition], zones: frozenset[str] | None, world: World
) -> Mapping[str, int]:
    """Zone → nodes, of the zones in which fewer nodes would do than there are; empty for most jobs, and at once.

    `zones` are those that the job may go to, None for all of its partition's. A job over several zones has to find all
    its nodes in one partition: of several partitions the one counts with the most nodes.
    """
    most = _by_nodes(facts, ask, partitions, zones, world)
    constraint = strip_ours(facts.features)
    if not constraint or ask.nodes == 1:
        return most
    # Only where there are fewer than the job takes: else the list would be as long as the floor for every such job.
    fewer = {zone: count for zone, count in world.zones_with(constraint).fewer.items() if count < ask.nodes}
    return {**most, **{zone: min(count, most.get(zone, count)) for zone, count in fewer.items()}} if fewer else most


def _by_nodes(
    facts: JobFacts, ask: NodeAsk, partitions: Sequence[Partition], zones: frozenset[str] | None, world: World
) -> Mapping[str, int]:
    """The same by all but features; a node that has these need not be one that has those."""
    need = need_of(facts, ask) if facts.memory_asked or facts.gpu_types else _NOTHING
    excluded = dict.fromkeys(expand(facts.excluded_nodes)) if facts.excluded_nodes else {}
    if len(partitions) == 1:
        return _in_partition(partitions[0], need, excluded, world)
    if not need and not excluded and ask.nodes == 1:
        return {}
    return _in_any(ask, partitions, need, excluded, zones, world)


def _in_any(
    ask: NodeAsk,
    partitions: Sequence[Partition],
    need: Need,
    excluded: Mapping[str, None],
    zones: frozenset[str] | None,
    world: World,
) -> Mapping[str, int]:
    sizes = world.sizes
    counts: list[dict[str, int]] = []
    for partition in partitions:
        of_zone = _in_partition(partition, need, excluded, world)
        allowed = partition.zones if zones is None else partition.zones & zones
        counts.append({zone: of_zone.get(zone, sizes[zone]) for zone in allowed})
    totals = [sum(of_zones.values()) for of_zones in counts]
    best = dict(counts[totals.index(max(totals))])
    for other in counts:
        for zone, count in other.items():
            best[zone] = best.get(zone, 0) if ask.spreads else max(best.get(zone, 0), count)
    return {zone: count for zone, count in best.items() if count < sizes[zone]}


def _in_partition(partition: Partition, need: Need, excluded: Mapping[str, None], world: World) -> Mapping[str, int]:
    if not need and not excluded:
        return partition.most
    most = dict(partition.most)
    if need:
        for zone, kinds in world.kinds(partition).items():
            suiting = sum(count for node, count in kinds if need.suits(node))
            if suiting < world.sizes[zone]:
                most[zone] = suiting
    for zone in world.zones_of(excluded):
        most[zone] = sum(
            node in partition.nodes and node not in excluded and need.suits(world.nodes.get(node))
            for node in world.site.topology.zones[zone].nodes
        )
    return most
