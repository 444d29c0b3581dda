"""Metrics: what the daemon knows in numbers, for whoever shows it to others."""

from collections.abc import Sequence
from enum import StrEnum

from slurm_power.core.histogram import Distribution
from slurm_power.core.immutable import immutable


class MetricKind(StrEnum):
    """What a metric's values do."""

    GAUGE = "gauge"
    """They rise and fall."""
    COUNTER = "counter"
    """They rise from the start of the daemon on; the name ends in `_total`."""
    HISTOGRAM = "histogram"
    """They are distributions, counted up from the start of the daemon on."""


Sample = tuple[tuple[str, ...], float | Distribution]
"""The values of the metric's labels, and its own."""


@immutable
class Metric:
    """One metric with all its values. Its name ends in its base unit: watts, seconds, joules."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    samples: Sequence[Sample] = ()
    """None where nothing is known: a metric that is there but for its values."""
