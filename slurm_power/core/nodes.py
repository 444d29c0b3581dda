"""Nodes as late binding needs them: how many of a zone's nodes could start a job of a given shape now.

This is an estimate that errs towards "yes" where we know too little (memory, cores per socket): Slurm itself decides.
Watts are not held for a job that evidently cannot start.
"""

from typing import NamedTuple

from slurm_power.core.claim import WHOLE_NODE
from slurm_power.core.immutable import immutable

_MOST_IDLE = 32


@immutable
class NodeAsk:
    """What a job asks of each of its nodes; `exclusive` wants it whole.

    `copies` tasks of an array each ask for `nodes`; copies may share a node, the nodes of one copy may not.
    """

    nodes: int = 1
    copies: int = 1
    cpus: int = 1
    gpus: int = 0
    exclusive: bool = False
    together: bool = False
    """All nodes in one zone: its constraint, or GPUs that it asks for as a whole, go with no binding to several."""
    most: tuple[tuple[str, int], ...] = ()
    """(zone, nodes): no more than so many of a zone's nodes would do, for reasons that the ledger does not see."""

    @property
    def spreads(self) -> bool:
        """Whether it may be given nodes of several zones."""
        return self.nodes > 1 and self.copies == 1 and not self.together

    @property
    def total(self) -> int:
        """Nodes, or parts of nodes, of all copies."""
        return self.nodes * self.copies


@immutable
class NodeFree:
    """What is free on one node that is up and partly used."""

    cpus: int
    gpus: int


@immutable
class ZoneNodes:
    """A zone's nodes as Slurm last showed them.

    `cpus` and `gpus` are the size of its largest node; `partly` its nodes that are up and neither idle nor full.
    """

    up: int
    idle: int
    cpus: int = 1
    gpus: int = 0
    partly: tuple[NodeFree, ...] = ()

    @property
    def free_milli(self) -> int:
        """Thousandths of nodes that are free, at most: of a node partly used, what it has more of."""
        free = self.idle * WHOLE_NODE
        for node in self.partly:
            by_gpus = -(-node.gpus * WHOLE_NODE // self.gpus) if self.gpus else 0
            free += max(-(-node.cpus * WHOLE_NODE // max(self.cpus, 1)), by_gpus)
        return free

    def share_milli(self, ask: NodeAsk) -> int:
        """The thousandths of a node that each node of the job takes, at least 1."""
        if ask.exclusive:
            return WHOLE_NODE
        by_cpus = -(-ask.cpus * WHOLE_NODE // max(self.cpus, 1))
        by_gpus = -(-ask.gpus * WHOLE_NODE // self.gpus) if self.gpus and ask.gpus else 0
        return max(1, min(max(by_cpus, by_gpus), WHOLE_NODE))

    def could_start(self, ask: NodeAsk, promised_milli: int) -> int:
        """How many nodes (or parts) of a job's shape could start now, beside claims promised but not yet on nodes."""
        if ask.cpus > self.cpus or ask.gpus > self.gpus:
            return 0
        if ask.exclusive:
            return max(0, self.idle - -(-promised_milli // WHOLE_NODE))
        share = self.share_milli(ask)
        fitting = self.idle + sum(free.cpus >= ask.cpus and free.gpus >= ask.gpus for free in self.partly)
        parts = self.idle * (WHOLE_NODE // share) + sum(self._parts(free, ask) for free in self.partly)
        free = max(0, parts - -(-promised_milli // share))
        if ask.copies > 1:
            return free if fitting >= ask.nodes else 0
        return min(fitting, free)

    @staticmethod
    def _parts(free: NodeFree, ask: NodeAsk) -> int:
        by_cpus = free.cpus // max(ask.cpus, 1)
        return min(by_cpus, free.gpus // ask.gpus) if ask.gpus else by_cpus


class FreeClass(NamedTuple):
    """How much is free in a zone, coarsely: whole nodes, and the GPUs and CPUs of its freest node.

    CPUs are told apart by powers of two, whole nodes up to 32. A zone of too low a class cannot start a job; one of a
    class high enough may still not.
    """

    idle: int
    gpus: int
    cpus: int

    def covers(self, need: "FreeClass") -> bool:
        """Whether at least as much is free as `need` says."""
        return self.idle >= need.idle and self.gpus >= need.gpus and self.cpus >= need.cpus


CLOSED = FreeClass(-2, 0, 0)
"""The class of zones that admit nothing; asking for this class finds every zone."""
FULL = FreeClass(-1, 0, 0)
"""The class of zones without a free part of a node; asking for this class finds every zone that is not closed."""


def class_of(nodes: ZoneNodes, promised_milli: int) -> FreeClass:
    """The class of a zone, beside claims that are promised but not yet on nodes."""
    if promised_milli >= nodes.free_milli:
        return FULL
    idle = nodes.idle - -(-promised_milli // WHOLE_NODE)
    gpus = max((free.gpus for free in nodes.partly), default=0)
    cpus = max((free.cpus for free in nodes.partly), default=0)
    if nodes.idle:
        taken = int(idle <= 0)  # of each idle node something is promised
        gpus, cpus = max(gpus, nodes.gpus - taken), max(cpus, nodes.cpus - taken)
    return FreeClass(min(max(idle, 0), _MOST_IDLE), gpus, cpus.bit_length())


def class_for(ask: NodeAsk, nodes: int) -> FreeClass:
    """The least class of a zone that could start so many of a job's nodes."""
    return FreeClass(min(nodes, _MOST_IDLE) if ask.exclusive else 0, ask.gpus, ask.cpus.bit_length())


def all_free(count: int, cpus: int = 1 << 20, gpus: int = 1 << 10) -> ZoneNodes:
    """A zone of idle nodes; without sizes, of nodes so large that every job fits (nothing is known yet)."""
    return ZoneNodes(up=count, idle=count, cpus=cpus, gpus=gpus)
