"""Medians, percentiles and a confidence interval, the same way in every benchmark."""

import random
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 3) -> dict[str, float]:
    """median, p99 and maximum, scaled (for example 1e3 for milliseconds)."""
    return {
        "median": round(median(values) * scale, digits),
        "p99": round(percentile(values, 0.99) * scale, digits),
        "max": round(max(values) * scale, digits),
    }


def over_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each figure that all runs have the median, of groups of figures too."""
    found: dict[str, Any] = {}
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        if len(values) == len(runs):
            found[name] = over_runs(values) if isinstance(values[0], Mapping) else median(values)
    return found


def ratio_interval(above: Sequence[float], below: Sequence[float], seed: int = 1) -> dict[str, float]:
    """Median of the ratios of pairs, with its 95 % interval by bootstrap (10,000 resamples of the pairs)."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    chance = random.Random(seed)
    medians = sorted(median(chance.choices(ratios, k=len(ratios))) for _ in range(10_000))
    return {
        "median": round(median(ratios), 4),
        "low": round(medians[250], 4),
        "high": round(medians[9_749], 4),
        "pairs": len(ratios),
    }
