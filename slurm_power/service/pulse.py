"""What the daemon knows of itself beside its desk: rounds, the database, Slurm's answers, sources. For metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import field

from slurm_power.core.histogram import Distribution
from slurm_power.core.immutable import immutable
from slurm_power.ports import LicenseRecord


@immutable
class Commands:
    """How one of Slurm's commands has fared since the start."""

    failed: int
    late: int
    """Of these, how often it did not end in time."""
    durations: Distribution
    """In s, of those that failed too."""


@immutable
class Source:
    """One source of telemetry."""

    name: str
    """Without credentials: everybody may read it."""
    type: str
    up: bool
    """Whether it could be read, and made sense, when it was last asked."""


@immutable
class Pulse:
    """As it is now; counters run since the start. What nobody knows stays empty."""

    version: str = ""
    rounds: int = 0
    failures: int = 0
    """Rounds that failed."""
    last_good: int = 0
    """The instant at which the last good round ended; 0: there was none yet."""
    jobs: int = 0
    """Jobs that Slurm has shown, ended ones included."""
    writes: int = 0
    store_waiting: int = 0
    store_failures: int = 0
    store_lost: int = 0
    store_failing: bool = False
    licenses: Sequence[LicenseRecord] = ()
    """As Slurm last counted them."""
    miscounts: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Licence → by how many W Slurm counts more than its jobs hold, or less."""
    hook: Mapping[str, Distribution] = field(default_factory=dict, hash=False)
    """Question of the hook or the gate → how long the answers took, in s."""
    commands: Mapping[str, Commands] = field(default_factory=dict, hash=False)
    """Slurm's command → how it has fared."""
    sources: Sequence[Source] = ()
    breakers: Mapping[str, bool] = field(default_factory=dict, hash=False)
    """Zone or feed → whether its breaker is open, where a source tells."""
    heat: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Zone → how many steps of heat it has gone up, where a source tells its temperature."""
    drift: Mapping[str, int] | None = None
    """Kind of a finding of reconciliation → how many are left for somebody to mend; None: it is not known."""
