"""Forms that most metrics have. Their names begin with `slurm_power_`, their samples are in order of the labels."""

from collections.abc import Iterable, Mapping

from slurm_power.core.histogram import Distribution
from slurm_power.ports.metrics import Metric, MetricKind, Sample

_HEAD = "slurm_power_"
GAUGE, COUNTER = MetricKind.GAUGE, MetricKind.COUNTER
Values = Iterable[tuple[tuple[str, ...], float]]


def one(name: str, kind: MetricKind, meaning: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(_HEAD + name, kind, meaning, (), [((), float(value))])


def many(name: str, kind: MetricKind, meaning: str, labels: tuple[str, ...], values: Values) -> Metric:
    """A metric with labels."""
    samples: list[Sample] = [(key, float(value)) for key, value in values]
    return Metric(_HEAD + name, kind, meaning, labels, sorted(samples, key=lambda sample: sample[0]))


def counted(name: str, meaning: str, label: str, values: Mapping[str, int], always: Iterable[str] = ()) -> Metric:
    """Counters by one label. `always` are there from the start: of one that comes later its first step is not seen."""
    whole = {**dict.fromkeys(map(str, always), 0), **values}
    return many(name, COUNTER, meaning, (label,), (((key,), value) for key, value in whole.items()))


def histograms(name: str, meaning: str, label: str, found: Mapping[str, Distribution]) -> Metric:
    """Distributions by one label."""
    samples: list[Sample] = [((key,), distribution) for key, distribution in sorted(found.items())]
    return Metric(_HEAD + name, MetricKind.HISTOGRAM, meaning, (label,), samples)
