"""What usage costs, by tariffs that have a date, and months that are closed.

    cost = factor of the tier × (kWh of jobs × price + kWh reserved and not used × price of those)

where kWh of jobs that may be preempted and checkpoint count by a factor of their own. Costs are exact fractions, and
are rounded once, where they are shown: half a cent is rounded up. An hour is priced by the tariff that is in force at
its beginning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from slurm_power.core.immutable import immutable
from slurm_power.core.usage import SUMS, Share, Usage
from slurm_power.core.window import Window

KWH_WS = 3_600_000
_CENTS = Decimal("0.01")


@immutable
class Tariff:
    """Prices from an instant on; those of a kWh are in the currency, the others are factors."""

    start: int
    currency: str
    kwh: Fraction
    reserved_kwh: Fraction = Fraction(0)
    tiers: Mapping[str, Fraction] = field(default_factory=dict, hash=False)
    """Factor on both prices, by tier; 1 where a tier is not named."""
    yielding: Fraction = Fraction(1)
    """Factor on the kWh of jobs that may be preempted and checkpoint."""


@immutable
class Priced:
    """Usage with its cost; without a tariff the currency is empty and the cost 0."""

    usage: Usage
    currency: str = ""
    cost: Fraction = Fraction(0)


@immutable
class Month:
    """A closed month: its totals, and the tariffs by which any part of it is still priced."""

    name: str
    """`2026-04`."""
    window: Window
    tariffs: tuple[Tariff, ...]
    rows: tuple[Priced, ...]
    """By share; their hour is the month's beginning."""


@immutable
class Stretch:
    """A part of a period whose hours are to be read and priced."""

    window: Window
    tariffs: tuple[Tariff, ...]


def in_force(tariffs: Sequence[Tariff], at: int) -> Tariff | None:
    """The tariff at an instant: of those that have begun the youngest."""
    return max((one for one in tariffs if one.start <= at), key=lambda one: one.start, default=None)


def cost_of(usage: Usage, tariff: Tariff) -> Fraction:
    """What it costs, exactly."""
    jobs_ws = usage.jobs_ws - usage.yielding_ws + usage.yielding_ws * tariff.yielding
    unused_ws = max(usage.reserved_ws - usage.used_ws, 0)
    factor = tariff.tiers.get(usage.tier, Fraction(1))
    return factor * (jobs_ws * tariff.kwh + unused_ws * tariff.reserved_kwh) / KWH_WS


def priced(rows: Iterable[Usage], tariffs: Sequence[Tariff]) -> Iterator[Priced]:
    """Each row with its cost."""
    known: dict[int, Tariff | None] = {}
    for row in rows:
        if row.hour not in known:
            known[row.hour] = in_force(tariffs, row.hour)
        tariff = known[row.hour]
        yield Priced(row) if tariff is None else Priced(row, tariff.currency, cost_of(row, tariff))


@dataclass(slots=True)
class Total:
    """A sum of usage and its costs, by currency."""

    reserved_ws: int = 0
    used_ws: int = 0
    jobs_ws: int = 0
    yielding_ws: int = 0
    ended_ws: int = 0
    off_ws: int = 0
    runs: int = 0
    missed: int = 0
    costs: dict[str, Fraction] = field(default_factory=dict)

    @property
    def use(self) -> float | None:
        """Used ÷ reserved, to three digits; None where nothing was reserved."""
        return round(self.used_ws / self.reserved_ws, 3) if self.reserved_ws else None

    @property
    def accuracy(self) -> float | None:
        """Of the runs that ended, as `core.score` has it but without decay; None where none has."""
        return round(self.ended_ws / (self.ended_ws + self.off_ws), 3) if self.ended_ws else None

    def add(self, one: Priced) -> None:
        """Add one row."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(one.usage, name))
        if one.currency:
            self.costs[one.currency] = self.costs.get(one.currency, Fraction(0)) + one.cost


def closed(name: str, window: Window, rows: Iterable[Usage], tariffs: Sequence[Tariff]) -> Month:
    """The month as it is from now on."""
    totals: dict[tuple[Share, str], tuple[Usage, Fraction]] = {}
    for one in priced(rows, tariffs):
        key = (one.usage.share, one.currency)
        before, cost = totals.get(key, (_nothing(one.usage.share, window.start), Fraction(0)))
        sums = {field: getattr(before, field) + getattr(one.usage, field) for field in SUMS}
        totals[key] = (replace(before, **sums), cost + one.cost)
    found = (Priced(usage, currency, cost) for (_, currency), (usage, cost) in totals.items())
    ordered = sorted(found, key=lambda one: (_key(one.usage.share), one.currency))
    in_it = [one for one in tariffs if one.start < window.end]
    return Month(name, window, tuple(in_it), tuple(ordered))


def _nothing(share: Share, hour: int) -> Usage:
    return Usage(share.reservation, share.account, share.uid, share.tier, hour)


def _key(share: Share) -> tuple[str, str, int, str]:
    return share.reservation, share.account, share.uid, share.tier


def pieces(period: Window, months: Sequence[Month], tariffs: Sequence[Tariff]) -> Iterator[Month | Stretch]:
    """What a period is made of, in order of time: closed months that lie within it whole, and stretches to be priced.

    A part of a closed month goes by the tariffs that it was closed with, so that it changes no more than the whole.
    """
    at = period.start
    for month in sorted(months, key=lambda one: one.window.start):
        start, end = max(month.window.start, at), min(month.window.end, period.end)
        if start >= end:
            continue
        if at < start:
            yield Stretch(Window(at, start), tuple(tariffs))
        whole = start == month.window.start and end == month.window.end
        yield month if whole else Stretch(Window(start, end), month.tariffs)
        at = end
    if at < period.end:
        yield Stretch(Window(at, period.end), tuple(tariffs))


def month_at(at: int, zone: tzinfo) -> tuple[str, Window]:
    """The name and the window of the calendar month of an instant, on the site's clock."""
    local = datetime.fromtimestamp(at, zone)
    first = datetime(local.year, local.month, 1, tzinfo=zone)
    later = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    following = datetime(*later, 1, tzinfo=zone)
    return f"{local:%Y-%m}", Window(int(first.timestamp()), int(following.timestamp()))


def rounded(cost: Fraction) -> str:
    """A cost for people, with two digits; half a cent is rounded up."""
    milli = cost.numerator * 10_000 // cost.denominator  # below a half stays below it
    exact = Decimal(milli) / 10_000
    return str(exact.quantize(_CENTS, rounding=ROUND_HALF_UP))


def watt_hours(watt_seconds: int) -> int:
    """Whole watt-hours, half of one rounded up."""
    return (watt_seconds + 1_800) // 3_600
