"""How well accounts use what they reserve, and how well they forecast; what they may reserve follows from the first.

    score    = Σ watt-hours used ÷ Σ watt-hours reserved
    accuracy = 1 ÷ (1 + error), error = Σ off ÷ Σ held over the runs that have ended

Held is est × the time that a run took. What was asked is off by est × what its time limit was off by, and where the run
was measured on nodes of its own also by what est was off its 95th percentile × the time that it took. In both an amount
counts half as much for each half-life that it is old, by the day.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from slurm_power.core.reservation import Owner
from slurm_power.core.usage import Usage

DAY_S = 86_400
FORGOTTEN = 8
"""After so many half-lives an amount counts no more; it would count less than 1 part in 256."""
UNKNOWN_ACCURACY = 0.5
"""Of an account of which no run has ended."""
_MILLI = 1_000


@dataclass(slots=True)
class _Day:
    reserved_ws: int = 0
    used_ws: int = 0
    ended_ws: int = 0
    off_ws: int = 0


def tenants(owner: Owner) -> tuple[str, ...]:
    """Under which names the use of a reservation counts: its accounts, or where it has none its users."""
    return owner.accounts or tuple(f"u.{user}" for user in owner.users)


@dataclass(slots=True)
class Standings:
    """The use of each tenant by the day."""

    _days: dict[str, dict[int, _Day]] = field(default_factory=dict)

    def add(self, owners: Iterable[str], account: str, usage: Usage) -> None:
        """Count what was reserved and used for the reservation's owners, and the runs that ended for their account."""
        if usage.reserved_ws:
            for name in owners:
                day = self._day(name, usage.hour)
                day.reserved_ws += usage.reserved_ws
                day.used_ws += usage.used_ws
        if usage.runs:
            day = self._day(account, usage.hour)
            day.ended_ws += usage.ended_ws
            day.off_ws += usage.off_ws

    def score(self, names: Sequence[str], now: int, half_life_s: int) -> Fraction | None:
        """0 to 1, in thousandths; None where none of them has reserved anything."""
        used = reserved = 0.0
        for weight, day in self._weighted(names, now, half_life_s):
            used += weight * day.used_ws
            reserved += weight * day.reserved_ws
        return Fraction(min(int(used / reserved * _MILLI), _MILLI), _MILLI) if reserved else None

    def accuracy(self, name: str, now: int, half_life_s: int) -> float:
        """0 to 1, in thousandths."""
        ended = off = 0.0
        for weight, day in self._weighted((name,), now, half_life_s):
            ended += weight * day.ended_ws
            off += weight * day.off_ws
        return int(ended / (ended + off) * _MILLI) / _MILLI if ended else UNKNOWN_ACCURACY

    def forget(self, now: int, half_life_s: int) -> None:
        """Drop what counts no more."""
        oldest = (now - FORGOTTEN * half_life_s) // DAY_S
        for name, days in list(self._days.items()):
            kept = {day: amounts for day, amounts in days.items() if day >= oldest}
            if kept:
                self._days[name] = kept
            else:
                del self._days[name]

    def _day(self, name: str, hour: int) -> _Day:
        return self._days.setdefault(name, {}).setdefault(hour // DAY_S, _Day())

    def _weighted(self, names: Sequence[str], now: int, half_life_s: int) -> Iterable[tuple[float, _Day]]:
        """Each day's amounts with their weight, the oldest first: sums of floats are the same in one order only."""
        today = now // DAY_S
        for name in sorted(set(names)):
            for day in sorted(self._days.get(name, ())):
                yield 0.5 ** (max(today - day, 0) * DAY_S / half_life_s), self._days[name][day]


def ceiling(max_share: Fraction, score: Fraction | None, floor: Fraction) -> Fraction:
    """The part of a zone's usable watts that an owner may reserve; all of it without a score."""
    return max_share if score is None else max_share * max(score, floor)
