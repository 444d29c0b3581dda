"""Closed months as rows, and back. Fractions are written as `n/d`, so that they come back exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any

from sqlalchemy import RowMapping

from slurm_power.core.showback import Month, Priced, Tariff
from slurm_power.core.usage import Usage
from slurm_power.core.window import Window


def month_row(month: Month) -> dict[str, Any]:
    """A closed month as it is stored."""
    return {
        "name": month.name,
        "start_at": month.window.start,
        "end_at": month.window.end,
        "tariffs": [_tariff_json(one) for one in month.tariffs],
        "totals": [
            {**asdict(one.usage), "currency": one.currency, "cost": str(one.cost)} for one in month.rows
        ],
    }


def to_month(row: RowMapping) -> Month:
    """A closed month out of its row."""
    tariffs: Sequence[Mapping[str, Any]] = row["tariffs"]
    totals: Sequence[Mapping[str, Any]] = row["totals"]
    return Month(
        name=row["name"],
        window=Window(row["start_at"], row["end_at"]),
        tariffs=tuple(_to_tariff(one) for one in tariffs),
        rows=tuple(_to_priced(one) for one in totals),
    )


def _to_priced(total: Mapping[str, Any]) -> Priced:
    usage = {name: value for name, value in total.items() if name not in ("currency", "cost")}
    return Priced(Usage(**usage), total["currency"], Fraction(total["cost"]))


def _tariff_json(tariff: Tariff) -> dict[str, Any]:
    return {
        "start": tariff.start,
        "currency": tariff.currency,
        "kwh": str(tariff.kwh),
        "reserved_kwh": str(tariff.reserved_kwh),
        "tiers": {tier: str(factor) for tier, factor in tariff.tiers.items()},
        "yielding": str(tariff.yielding),
    }


def _to_tariff(stored: Mapping[str, Any]) -> Tariff:
    return Tariff(
        start=stored["start"],
        currency=stored["currency"],
        kwh=Fraction(stored["kwh"]),
        reserved_kwh=Fraction(stored["reserved_kwh"]),
        tiers={tier: Fraction(factor) for tier, factor in stored["tiers"].items()},
        yielding=Fraction(stored["yielding"]),
    )
