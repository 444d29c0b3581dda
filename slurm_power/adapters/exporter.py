"""Metrics served over HTTP, for Prometheus: `/metrics` and `/-/healthy`.

Everybody who reaches the address may read them. So readers can cost only so much: few connections at a time, and
metrics that are a moment old are given out again.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

import uvicorn
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from slurm_power.config.exporter import shown
from slurm_power.core.errors import ConfigError
from slurm_power.core.histogram import Distribution
from slurm_power.ports.metrics import Metric, MetricKind

_log = logging.getLogger("slurm_power.exporter")

Collect = Callable[[], Awaitable[Sequence[Metric]]]
TEXT = "text/plain; version=0.0.4; charset=utf-8"
FRESH_S = 1.0
"""So long metrics are given out again."""
_CONNECTIONS = 32
"""At a time; one more ends the oldest, so that nobody can keep the others out, or use up our file descriptors."""
_STOP_S = 1
_BACKLOG = 64


class Exporter:
    """Serves what `collect` tells, on one address. Taken with `bind`, served from `start` on."""

    def __init__(self, address: tuple[str, int], collect: Collect) -> None:
        self.address = address
        self._collect = collect
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._text = b""
        self._made_at = float("-inf")

    def bind(self, place: str = "the site file") -> None:
        """Take the address; nobody is answered yet. Raises ConfigError that names `place` where it cannot be taken."""
        host, port = self.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        found = socket.socket(family, socket.SOCK_STREAM)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host, port))
            found.listen(_BACKLOG)  # who asks from here on waits until it is served
        except OSError as error:
            found.close()
            problem = f"{shown(self.address)} cannot be listened on: {error.strerror}"
            raise ConfigError(problem, place, key="metrics.listen", expected="a free address of this machine") from None
        self._socket = found

    def start(self) -> None:
        """Serve from now on, in the running loop."""
        if self._socket is None:
            raise ValueError("the address has not been taken yet")
        routes = [Route("/metrics", self._metrics), Route("/-/healthy", _healthy)]
        config = uvicorn.Config(
            Starlette(routes=routes),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_STOP_S,
            backlog=_BACKLOG,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket]))

    async def stop(self) -> None:
        """No more, and the address is free."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=3 * _STOP_S)
            self._serving.cancel()
            self._server = self._serving = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def text(self) -> bytes:
        """All metrics, as Prometheus reads them; all who ask within a moment get the same."""
        async with self._turn:
            if monotonic() - self._made_at >= FRESH_S:
                metrics = await self._collect()
                # In a thread: it takes a while, and touches nothing but what was made for it.
                self._text = await asyncio.to_thread(self._written, metrics)
                self._made_at = monotonic()
            return self._text

    def _written(self, metrics: Sequence[Metric]) -> bytes:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Given(metrics))
        return generate_latest(registry) + generate_latest(self._registry)

    async def _metrics(self, _: Request) -> Response:
        try:
            return Response(await self.text(), media_type=TEXT)
        except Exception:  # whatever it is, the daemon goes on, and `up` is 0 for whoever asks
            _log.exception("metrics cannot be told")
            return Response("internal error, see the log\n", 500, media_type="text/plain")


async def _healthy(_: Request) -> Response:
    return Response("slurm-powerd is healthy\n", media_type="text/plain")


class _Given(Collector):
    """Hands out metrics that have been made before."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Family]:
        """In their order."""
        return map(_family, self._metrics)


def _family(metric: Metric) -> Family:
    if metric.kind is MetricKind.HISTOGRAM:
        return _histogram(metric)
    found: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is MetricKind.COUNTER:
        found = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    else:
        found = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.samples:
        if not isinstance(value, Distribution):
            found.add_metric(labels, value)
    return found


def _histogram(metric: Metric) -> HistogramMetricFamily:
    found = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in metric.samples:
        if isinstance(value, Distribution):
            found.add_metric(labels, list(_buckets(value)), value.total)
    return found


def _buckets(distribution: Distribution) -> Iterator[tuple[str, float]]:
    """How many values are no larger than each bound."""
    below = 0
    for bound, count in zip((*distribution.bounds, float("inf")), distribution.counts, strict=True):
        below += count
        yield "+Inf" if bound == float("inf") else f"{bound:g}", below


class _Server(uvicorn.Server):
    """One that leaves signals to the daemon."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """HTTP, with a bound on how many are connected."""

    since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """One more; the oldest goes where there are too many."""
        super().connection_made(transport)
        self.since = monotonic()
        if len(self.connections) > _CONNECTIONS:
            oldest = min(self.connections, key=lambda one: getattr(one, "since", 0.0))
            oldest.transport.abort()
