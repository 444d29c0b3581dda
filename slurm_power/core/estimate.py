"""The envelope of a job that declares none: GPUs × board power, else the share of its nodes' rating. Never zero.

Before either goes what was learnt of runs like it (`core/profile.py`).
"""

from enum import StrEnum

from slurm_power.core.claim import WHOLE_NODE
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import PartitionPolicy
from slurm_power.core.units import ceil_share


class EstFrom(StrEnum):
    """Where a job's est comes from."""

    DECLARED = "declared"
    CLASS = "class"
    PROFILE = "profile"
    BOARDS = "boards"
    """GPUs × board power."""
    RATING = "rating"
    """What its nodes are rated at."""


def default_from(policy: PartitionPolicy, ask: NodeAsk) -> EstFrom:
    """What `default_est_w` goes by."""
    return EstFrom.BOARDS if policy.gpu_w and ask.gpus else EstFrom.RATING


def default_est_w(policy: PartitionPolicy, ask: NodeAsk, share_milli: int, zone_node_w: int) -> int:
    """Watts of one copy of a job (one task of an array).

    GPUs × board power × factor + node overhead where the site says what a board draws; else the partition's node
    rating by the share of the node that the job takes; else `zone_node_w`, what the zone could give each of its nodes.
    """
    if policy.gpu_w and ask.gpus:
        boards_w = ceil_share(ask.gpus * ask.nodes * policy.gpu_w, policy.gpu_factor_milli, 1_000)
        return max(1, boards_w + policy.overhead_w * ask.nodes)
    rating = policy.node_w if policy.node_w is not None else zone_node_w
    return max(1, ceil_share(rating * ask.nodes, share_milli, WHOLE_NODE))
