"""By how much zones and feeds hold too much, as it would be without some claims. The ledger is not touched.

For that a copy of their sums is enough: so it can be asked in steps, whatever the ledger does meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping

from slurm_power.core.level import Load
from slurm_power.core.meter import Meter
from slurm_power.core.offer import Candidate
from slurm_power.core.timeline import NOTHING, Sums
from slurm_power.core.topology import usable_w
from slurm_power.core.want import Lacks, over
from slurm_power.core.wiring import Loads


class ElementSums:
    """A meter's sums of what is live, as they were at one instant.

    With `limit_w` that is what it may carry, beside what is `reserved`; with `less_w` so much less than what is
    committed, whatever its limit is.
    """

    __slots__ = ("_combine", "bursts_sum_w", "committed_w", "groups", "limit_w", "rule", "squares", "usable_w")

    def __init__(
        self, meter: Meter, *, limit_w: int | None = None, less_w: int | None = None, reserved: Sums = NOTHING
    ) -> None:
        self.rule = meter.rule
        self.usable_w, self.limit_w = meter.usable_w, meter.limit_w
        if limit_w is not None:
            self.usable_w, self.limit_w = usable_w(limit_w, meter.margin), limit_w
        elif less_w is not None:
            self.usable_w, self.limit_w = meter.committed_w - less_w, meter.committed_w + meter.bursts_sum_w
        self.committed_w = meter.committed_w + reserved[0]
        self.bursts_sum_w = meter.bursts_sum_w + reserved[1]
        self.squares = meter.squares + reserved[2]
        self.groups = dict(meter.groups)
        self._combine = meter.combine

    @property
    def burst_w(self) -> int:
        """What may come on top of committed, in W."""
        return self._combine(self.bursts_sum_w, self.squares)

    @property
    def room_w(self) -> int:
        """How much more may come, in W; negative where it holds more than it may."""
        return min(self.usable_w, self.limit_w - self.burst_w) - self.committed_w

    def change(self, load: Load, group: str, sign: int) -> None:
        """Count what a claim puts here once more (1), or once less (-1)."""
        self.committed_w += sign * load.est_w
        if load.burst_w:
            before = self.groups[group]
            after = self.groups[group] = before + sign * load.burst_w
            self.bursts_sum_w += sign * load.burst_w
            self.squares += after * after - before * before


def sums_over(meters: Mapping[str, Meter], elements: Iterable[str]) -> dict[str, ElementSums]:
    """The sums of those among these zones and feeds that hold more than they may."""
    return {want.element: ElementSums(meters[want.element]) for want in over(meters, elements)}


class Excess:
    """Thinks victims away from these sums and back again, as a trial does on the ledger."""

    tries_at_once = 50

    def __init__(self, sums: Mapping[str, ElementSums], loads_of: Callable[[Candidate], Loads]) -> None:
        self._sums = sums
        self._loads_of = loads_of
        self._gone: dict[str, Candidate] = {}

    def lacks(self) -> Lacks:
        """What still passes usable or limit."""
        return over(self._sums, self._sums)

    def without(self, victims: Iterable[Candidate]) -> None:
        """Have just these out."""
        wanted = {victim.id: victim for victim in victims}
        for victim in [victim for name, victim in self._gone.items() if name not in wanted]:
            self.put_back(victim)
        for name, victim in wanted.items():
            if name not in self._gone:
                self.take_out(victim)

    def put_back(self, victim: Candidate) -> None:
        """Have one of them back."""
        del self._gone[victim.id]
        self._change(victim, 1)

    def take_out(self, victim: Candidate) -> None:
        """Have one more out."""
        self._gone[victim.id] = victim
        self._change(victim, -1)

    def _change(self, victim: Candidate, sign: int) -> None:
        loads, group = self._loads_of(victim), victim.claim.group
        for name, own in self._sums.items():
            load = loads.get(name)
            if load is not None:
                own.change(load, group, sign)
