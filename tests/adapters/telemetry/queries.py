"""Queries to a server that speaks Prometheus's protocol, or does as if."""

from collections.abc import Sequence

from slurm_power.adapters.telemetry.prometheus import PrometheusSource
from slurm_power.config.telemetry import Prometheus
from slurm_power.ports import Reading

STALE_S = 2


def configured(url: str, **keys: str) -> PrometheusSource:
    config = {"type": "prometheus", "url": url, "every": "1s", "stale": f"{STALE_S}s", "timeout": "1s", **keys}
    return PrometheusSource(Prometheus.model_validate(config))


def read(url: str, **keys: str) -> Sequence[Reading]:
    source = configured(url, **keys)
    try:
        return source.read().readings
    finally:
        source.close()
