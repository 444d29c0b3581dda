"""The sections `tariff` and `sla` of the site file."""

from datetime import datetime, tzinfo
from typing import Any

from pydantic import Field

from slurm_power.config.fields import Day, Decimal, Name, Seconds, SecondsOrZero, Share, Text
from slurm_power.config.section import Section, key
from slurm_power.core.service_level import Promise
from slurm_power.core.showback import Tariff as Prices
from slurm_power.core.window import FOREVER


class Sla(Section):
    """What a tier's runs are judged against."""

    max_delay: Seconds = Field(description="the longest placement delay: from eligible to start")
    error_budget: Share = Field(description="part of the runs that may miss it")
    max_shortfall: SecondsOrZero | None = key(
        None, "how long in all a zone or feed that carries a run may have more committed than usable"
    )
    max_burst_shortfall: SecondsOrZero | None = key(
        None, "how long in all a zone or feed that carries a run may have more committed, with bursts, than its limit"
    )
    min_run: Seconds | None = key(None, "how long a run lasts before it may be preempted")

    def promise(self, *, gives_way: bool) -> Promise:
        """What a run of the tier is judged against; `gives_way`: whether the tier may be preempted at all."""
        return Promise(
            self.max_delay,
            FOREVER if self.max_shortfall is None else self.max_shortfall,
            FOREVER if self.max_burst_shortfall is None else self.max_burst_shortfall,
            (self.min_run or 0) if gives_way else FOREVER,
        )


class Tariff(Section):
    """Prices for showback: one tariff, or a list of them, each from a day on."""

    begin: Day | None = Field(
        default=None,
        alias="from",
        description="the day from which it holds, `2026-01-01` on the site's clock; without it from ever on",
    )
    currency: Text = Field(description="code of the currency, such as EUR")
    kwh: Decimal = Field(description="price of a kWh that jobs hold")
    reserved_kwh: Decimal = key("0", "price of a kWh reserved and not used")
    tiers: dict[Name, Decimal] = key({}, "factor on both prices, by tier; 1 where a tier is not named")
    checkpoints: Decimal = key("1", "factor on the kWh of jobs that may be preempted and say `ckpt=`")

    def prices(self, zone: tzinfo) -> Prices:
        """The tariff as it counts; its day begins at midnight of that time zone."""
        day = self.begin
        start = 0 if day is None else int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
        return Prices(max(start, 0), self.currency, self.kwh, self.reserved_kwh, self.tiers, self.checkpoints)


def listed(value: Any) -> Any:
    """A single tariff as a list of one."""
    return [value] if isinstance(value, dict) else value
