"""Nodes as late binding needs them: how many of a zone's nodes could start a job of a given shape now.

This is an estimate that errs towards "yes" where we know too little (memory, cores per socket): Slurm itself decides.
Watts are not held for a job that evidently cannot start.
"""

from dataclasses import dataclass

from slurm_power.core.claim import WHOLE_NODE

MOST_IDLE = 32


@dataclass(frozen=True, slots=True)
class NodeAsk:
    """What a job asks of each of its nodes; `exclusive` wants it whole.

    `copies` tasks of an array each ask for `nodes`; copies may share a node, the nodes of one copy may not.
    """

    nodes: int = 1
    copies: int = 1
    cpus: int = 1
    gpus: int = 0
    exclusive: bool = False

    @property
    def total(self) -> int:
        """Nodes, or parts of nodes, of all copies."""
        return self.nodes * self.copies


@dataclass(frozen=True, slots=True)
class NodeFree:
    """What is free on one node that is up and partly used."""

    cpus: int
    gpus: int


@dataclass(frozen=True, slots=True)
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
    def free_class(self) -> int:
        """0: nothing free; 1: only parts of nodes; 1 + n: n whole nodes idle (up to MOST_IDLE are told apart)."""
        return 1 + min(self.idle, MOST_IDLE) if self.idle else int(bool(self.partly))

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
        share = self.share_milli(ask)
        if share == WHOLE_NODE:
            return max(0, self.idle - -(-promised_milli // WHOLE_NODE))
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


def all_free(count: int, cpus: int = 1 << 20, gpus: int = 1 << 10) -> ZoneNodes:
    """A zone of idle nodes; without sizes, of nodes so large that every job fits (nothing is known yet)."""
    return ZoneNodes(up=count, idle=count, cpus=cpus, gpus=gpus)
