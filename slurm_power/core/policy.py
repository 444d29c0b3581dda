"""What a site decides: modes, tiers, classes of work, the burst rule. Plain data, no behaviour beyond look-ups."""

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from slurm_power.core.immutable import immutable


class Mode(StrEnum):
    """How far the daemon goes."""

    OBSERVE = "observe"
    ADVISE = "advise"
    ENFORCE = "enforce"


class Scope(StrEnum):
    """Whose work `enforce` acts on."""

    ALL = "all"
    RESERVED = "reserved"


class Native(StrEnum):
    """What Slurm itself counts the watts with."""

    LICENSES = "licenses"
    NONE = "none"


@immutable
class BurstRule:
    """How the bursts of different groups add up: `rss` min(Σb, z·√Σb²), or `sum` Σb. `z` is in thousandths."""

    rss: bool = True
    z_milli: int = 2_000


@immutable
class Tier:
    """A promise: the QOS that stands for it, and the notice before a preemption (None: never preempted)."""

    name: str
    qos: str
    notice_s: int | None
    rank: int
    """0 is the highest promise; the order of the site file."""
    accepts_cuts: bool = False
    """Whether its jobs may be started although a cut that is known of will end them."""


@immutable
class Hours:
    """Seconds of the local day in which work of a class may start; `end` before `start` runs over midnight."""

    start_s: int
    end_s: int

    def __str__(self) -> str:
        return "-".join(f"{second // 3_600:02d}:{second % 3_600 // 60:02d}" for second in (self.start_s, self.end_s))


@immutable
class WorkClass:
    """A preset chosen by `class=`: `max_w` and `hours` are limits, the rest are defaults that a flag overrides."""

    name: str
    tier: str | None = None
    max_delay_s: int | None = None
    hours: Hours | None = None
    est_w: int | None = None
    max_w: int | None = None
    headroom_w: int | None = None
    max_factor_milli: int | None = None


@immutable
class PartitionPolicy:
    """What the site says of a partition; `zones` None means those that hold the partition's nodes."""

    name: str
    zones: tuple[str, ...] | None = None
    node_w: int | None = None
    """Rated watts of a node: the envelope of last resort."""
    gpu_w: int | None = None
    """Board power of one GPU."""
    gpu_factor_milli: int = 1_000
    """Thousandths of board power that a busy GPU draws."""
    overhead_w: int = 0
    """What a node draws beside its GPUs."""


@immutable
class Policy:
    """All that a site decided, beside its topology."""

    mode: Mode = Mode.ENFORCE
    scope: Scope = Scope.ALL
    native: Native = Native.LICENSES
    burst: BurstRule = BurstRule()
    default_tier: str = "bronze"
    max_factor_milli: int = 1_300
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    classes: Mapping[str, WorkClass] = field(default_factory=dict)
    partitions: Mapping[str, PartitionPolicy] = field(default_factory=dict)
    token_ttl_s: int = 10
    """How long a claim made at submit counts before its job has been seen."""
    rumour_cap_w: int = 200_000
    """The most watts of unseen submissions that one user may have outstanding; past it the answer is hold."""
    start_grace_s: int = 300
    """How long a released job may wait for its nodes before it is held, unbound and placed anew."""
    gate_wait_s: int = 30
    """How long the launch gate waits before it denies a job that a denial would kill."""
