"""What each run has drawn: percentiles over its life, from its nodes where these are measured, else from its zones.

A node that several jobs share, and a zone that is measured as a whole, are divided by what the jobs declared. That is
said of such a run (`whole`: no), for it tells more of the neighbours than of the job.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from slurm_power.core.sketch import Sketch


@dataclass(slots=True)
class RunDraw:
    """What one run has drawn so far. `measured_s` of its life are known."""

    sketch: Sketch = field(default_factory=Sketch)
    measured_s: int = 0
    drawn_ws: int = 0
    whole: bool = True
    """Whether every value came from nodes of its own."""
    latest_w: int = 0
    new: Sketch = field(default_factory=Sketch)
    """Of that, what came from nodes of its own and no profile has learnt yet."""
    learnt_at: int = 0
    """The instant up to which a profile has looked at it; 0: not yet."""
    taught: bool = False
    """Whether a profile counts it."""

    def add(self, watts: int, seconds: int, *, whole: bool) -> None:
        """It has drawn so much for so long."""
        self.sketch.add(watts, seconds)
        if whole:
            self.new.add(watts, seconds)
        self.measured_s += seconds
        self.drawn_ws += watts * seconds
        self.whole = self.whole and whole
        self.latest_w = watts

    def forecast_w(self, ran_s: int) -> int | None:
        """What its est should have been, in W: the 95th percentile, where most of a run on its own nodes is known."""
        known = self.whole and self.measured_s and 2 * self.measured_s >= ran_s
        return self.sketch.percentile(95) if known else None

    def numbers(self) -> dict[str, int]:
        """For the audit log; empty where nothing was measured."""
        if not self.measured_s:
            return {}
        return {
            "p50_w": self.sketch.percentile(50) or 0,
            "p95_w": self.sketch.percentile(95) or 0,
            "peak_w": self.sketch.peak_w,
            "drawn_ws": self.drawn_ws,
            "measured_s": self.measured_s,
            "whole": int(self.whole),
        }


class JobDraws:
    """The runs on nodes, by the key of their claim."""

    def __init__(self) -> None:
        self._runs: dict[str, RunDraw] = {}

    def __iter__(self) -> Iterator[str]:
        """Their keys."""
        return iter(self._runs)

    def get(self, key: str) -> RunDraw | None:
        """What the run of that key has drawn."""
        return self._runs.get(key)

    def add(self, key: str, watts: int, seconds: int, *, whole: bool) -> None:
        """It has drawn so much for so long."""
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = RunDraw()
        run.add(watts, seconds, whole=whole)

    def take(self, key: str) -> RunDraw:
        """What the run has drawn, which is over."""
        return self._runs.pop(key, None) or RunDraw()

    def keep(self, keys: Mapping[str, object]) -> None:
        """Forget all others."""
        for key in [key for key in self._runs if key not in keys]:
            del self._runs[key]
