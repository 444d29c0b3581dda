"""What each run has drawn: percentiles over its life, from its nodes where these are measured, else from its zones.

A node that several jobs share, and a zone that is measured as a whole, are divided by what the jobs declared. That is
said of such a run (`whole`: no), for it tells more of the neighbours than of the job.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from slurm_power.core.sketch import Sketch
from slurm_power.core.usage import hour_of
from slurm_power.ports import StoredDraw

_NUMBERS = ("measured_s", "drawn_ws", "whole", "latest_w", "learnt_at", "taught")
_SAME_S = 60
"""A start is told to be so much earlier or later after a restart of ours. Slurm starts no run anew sooner than that."""

_log = logging.getLogger("slurm_power.job_draws")


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
    above_max_ws: dict[int, int] = field(default_factory=dict)
    """Hour → W × s that it is charged beside its est, since it drew more than its max."""

    def add(self, watts: int, seconds: int, *, whole: bool) -> None:
        """It has drawn so much for so long."""
        self.sketch.add(watts, seconds)
        if whole:
            self.new.add(watts, seconds)
        self.measured_s += seconds
        self.drawn_ws += watts * seconds
        self.whole = self.whole and whole
        self.latest_w = watts

    def charge(self, more_ws: int, now: int) -> None:
        """It is charged so much beside its est."""
        hour = hour_of(now)
        self.above_max_ws[hour] = self.above_max_ws.get(hour, 0) + more_ws

    @property
    def charged_ws(self) -> int:
        """What it is charged beside its est in all, in W × s."""
        return sum(self.above_max_ws.values())

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
            **({"above_max_ws": self.charged_ws} if self.above_max_ws else {}),
        }

    def stored(self) -> dict[str, object]:
        """As JSON; `read` is the way back."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        above_max = {str(hour): watt_seconds for hour, watt_seconds in self.above_max_ws.items()}
        return {**numbers, "sketch": self.sketch.stored(), "new": self.new.stored(), "above_max_ws": above_max}

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "RunDraw":
        """Out of `stored`. Raises KeyError, TypeError or ValueError for what is none."""
        sketch, new, above_max = found["sketch"], found["new"], found.get("above_max_ws", {})
        if not isinstance(sketch, Mapping) or not isinstance(new, Mapping) or not isinstance(above_max, Mapping):
            raise TypeError("no run")
        run = cls(Sketch.read(sketch), new=Sketch.read(new))
        run.above_max_ws = {int(hour): int(watt_seconds) for hour, watt_seconds in above_max.items()}
        for name in _NUMBERS:
            number = found[name]
            if not isinstance(number, int):
                raise TypeError("no run")
            setattr(run, name, number)
        return run


class JobDraws:
    """The runs on nodes, by the key of their claim."""

    def __init__(self) -> None:
        self._runs: dict[str, RunDraw] = {}
        self._before: dict[str, tuple[int, RunDraw]] = {}
        """Key → when its run began, and what that had drawn before a restart of ours."""

    def load(self, rows: Iterable[StoredDraw]) -> None:
        """What runs had drawn before a restart; rows that cannot be read are left out."""
        for row in rows:
            try:
                self._before[row.key] = row.since, RunDraw.read(row.detail)
            except (KeyError, TypeError, ValueError):
                _log.warning("what the run of %s has drawn cannot be read", row.key)

    def goes_on(self, key: str, since: int) -> None:
        """A run that began then is on its nodes; if it is that of before a restart, it has drawn what that had."""
        began, run = self._before.pop(key, (0, None))
        if run is not None and key not in self._runs and abs(began - since) <= _SAME_S:
            self._runs[key] = run

    def __iter__(self) -> Iterator[str]:
        """Their keys."""
        return iter(self._runs)

    def get(self, key: str) -> RunDraw | None:
        """What the run of that key has drawn."""
        return self._runs.get(key)

    def add(self, key: str, watts: int, seconds: int, *, whole: bool) -> None:
        """It has drawn so much for so long."""
        self._run(key).add(watts, seconds, whole=whole)

    def charge(self, key: str, more_ws: int, now: int) -> None:
        """It is charged so much beside its est, since it draws more than its max."""
        self._run(key).charge(more_ws, now)

    def take(self, key: str) -> RunDraw:
        """What the run has drawn, which is over."""
        return self._runs.pop(key, None) or RunDraw()

    def keep(self, keys: Mapping[str, object]) -> None:
        """Forget all others."""
        for key in [key for key in self._runs if key not in keys]:
            del self._runs[key]

    def _run(self, key: str) -> RunDraw:
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = RunDraw()
        return run
