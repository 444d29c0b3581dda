"""What is known of the draw of runs that are alike, and what a job like them is to ask for.

Runs are alike that have account, job name, partition and GPUs a node in common. What is learnt are watts of one node,
so that a job on 2 and on 8 nodes has one profile: a run counts as the mean of its nodes.

**Few samples.** n counts runs, and 8 hours of a run as one more, so that a service that never ends is known after a
day. Below 3, or 5 minutes in all, nothing is asked for by a profile. From there on

    est = p95 × (1 + 0.5 ÷ √n)        max = peak × (1 + 0.5 ÷ √n)

Source: a quantile of n samples is off by √(p(1−p) ÷ n) ÷ f (H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed.,
2003, chapter 10). For p = 0.95 of a normal spread σ that is 2.1 σ ÷ √n, and 3.5 σ ÷ √n where it is to suffice 19 times
in 20; σ = 15 % of the percentile, the usual margin of a zone, makes it 0.5 ÷ √n. The peak of n runs is passed by the
next with a chance of 1 ÷ (n + 1) (S. S. Wilks, Annals of Mathematical Statistics 12, 1941), and is given the same.

**Age.** Once a week, where more than a week was measured, all weights are halved: what is a week old counts half then,
and the peak is that of the last one to two weeks. Runs that are few and short keep all that is known of them.
"""

from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import NamedTuple

from slurm_power.core.immutable import immutable
from slurm_power.core.sketch import Sketch
from slurm_power.core.units import MAX_WATTS, ceil_share

_SAMPLE_S = 8 * 3_600
_LEAST, _LEAST_S = 3, 300
"""Samples, and seconds measured, below which a profile is not used."""
_MARGIN_MILLI = 500
_WEEK_S = 7 * 86_400


class ProfileKey(NamedTuple):
    """Which runs are alike. A tuple, for it is looked up with each submission."""

    account: str
    name: str
    partition: str
    gpus: int
    """GPUs of each node."""


@immutable
class Learnt:
    """What a profile says of one node, in W."""

    runs: int
    measured_s: int
    p50_w: int
    p95_w: int
    peak_w: int
    est_w: int | None
    """None while too little is known: then it is not used."""
    max_w: int | None
    seen_at: int

    def asked_w(self, nodes: int, est_w: int, max_w: int, *, whole: bool = True) -> tuple[int, int] | None:
        """est and max of a job on so many nodes, which without a profile would be `est_w` and `max_w`.

        What is added for few samples goes no further than that, as long as what was measured does not: a job that is
        better known must not find less room. One that takes a part of its nodes (not `whole`) never asks for more: it
        was measured where it happened to be alone, with all that an idle node draws.
        """
        if self.est_w is None or self.max_w is None:
            return None
        found = []
        for asked, measured, otherwise in (
            (self.est_w * nodes, self.p95_w * nodes, est_w),
            (self.max_w * nodes, self.peak_w * nodes, max_w),
        ):
            bounded = measured <= otherwise or not whole
            found.append(min(asked, otherwise if bounded else MAX_WATTS))
        return found[0], max(found)


@dataclass(slots=True)
class Profile:
    """The draw of one node in runs that are alike: each value weighs the seconds that it lasted."""

    key: ProfileKey
    sketch: Sketch = field(default_factory=Sketch)
    runs: int = 0
    measured_s: int = 0
    """In all; this is never halved."""
    peak_w: int = 0
    """Since weights were last halved."""
    before_w: int = 0
    """The peak of the time before that."""
    halved_at: int = 0
    seen_at: int = 0

    def learn(self, drawn: Sketch, nodes: int, now: int, *, new_run: bool) -> None:
        """Take in what a run on so many nodes has drawn as a whole; `new_run` unless it has been counted before."""
        self._age(now)
        one = drawn.over(max(nodes, 1))
        self.sketch.merge(one)
        self.peak_w = max(self.peak_w, one.peak_w)
        self.measured_s += drawn.total
        self.runs += int(new_run)
        self.seen_at = now

    def _age(self, now: int) -> None:
        if not self.halved_at or now < self.halved_at:
            self.halved_at = now  # it is new, or the clock has been set back
        if self.sketch.total > _WEEK_S and now - self.halved_at >= _WEEK_S:
            self.before_w, self.peak_w, self.halved_at = self.peak_w, 0, now
            self.sketch = self.sketch.halved(self.before_w)

    def says(self) -> Learnt:
        """As of now."""
        p95_w, peak_w = self.sketch.percentile(95) or 0, max(self.peak_w, self.before_w)
        samples = self.runs + self.measured_s // _SAMPLE_S
        known = samples >= _LEAST and self.measured_s >= _LEAST_S
        factor_milli = 1_000 + ceil(_MARGIN_MILLI / sqrt(max(samples, 1)))
        est_w = max(ceil_share(p95_w, factor_milli, 1_000), 1)
        return Learnt(
            runs=self.runs,
            measured_s=self.measured_s,
            p50_w=self.sketch.percentile(50) or 0,
            p95_w=p95_w,
            peak_w=peak_w,
            est_w=est_w if known else None,
            max_w=max(ceil_share(peak_w, factor_milli, 1_000), est_w) if known else None,
            seen_at=self.seen_at,
        )
