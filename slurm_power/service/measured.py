"""What is known of the draw of everything: what the sources say, what it is put beside, and what passes a limit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slurm_power.config.control import Control
from slurm_power.core.gauge import Draw
from slurm_power.core.rolling import Rolling
from slurm_power.service.above import AboveMax
from slurm_power.service.draws import Draws, Element
from slurm_power.service.overdrawn import Breach, Overdrawn
from slurm_power.service.troubles import Troubles

_LEAST = 50
"""No less than a fiftieth is drawn of what has been running for a while."""
CRITICAL = "its inlet is critically warm"
"""Why a zone admits nothing."""


@dataclass(slots=True)
class Expected:
    """What jobs on nodes are reckoned with, in W by zone: all of them, and those that have run for a while."""

    all_w: dict[str, int] = field(default_factory=dict)
    settled_w: dict[str, int] = field(default_factory=dict)

    def least_w(self, zone: str) -> int:
        """Nobody believes that a zone draws less."""
        return self.settled_w.get(zone, 0) // _LEAST


class Measured:
    """State of a desk; holds no rule."""

    def __init__(self, control: Control, since: float) -> None:
        self.draws = Draws(control)
        self.expected = Expected()
        self.overdrawn = Overdrawn()
        self.above = AboveMax()
        self.troubles = Troubles()
        """Of sources by name, and of the facility's signals by path or URL."""
        self.heard: set[str] = set()
        """Zones of which anything has been known since the start."""
        self.since = since
        """The monotonic time of the start."""
        self.history: dict[Element, Rolling] = {}
        """What each element has drawn of late."""
        self.noted_at = 0
        """When that was last added to."""
        self.jobs_at = 0
        """When the draw of jobs was last looked at."""
        self.zones: dict[str, Draw | None] = {}
        """What each zone drew when it was last looked at."""
        self.on_nodes_w: Mapping[str, int] = {}
        """Node that is measured → Σ est of the jobs on it, when they were last looked at."""
        self.breaches: Mapping[str, Breach] = {}
        """Zones and feeds that draw more than they may, in every mode."""

    def not_later_than(self, now: int) -> None:
        """The clock has been set back."""
        self.jobs_at, self.noted_at = min(self.jobs_at, now), min(self.noted_at, now)
        self.draws.not_later_than(now)
        self.overdrawn.forget()
