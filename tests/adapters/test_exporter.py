"""Metrics over HTTP: a real Prometheus reads them, and nobody can use up the daemon by asking for them."""

import asyncio
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from slurm_power.adapters import exporter as module
from slurm_power.adapters.exporter import Exporter
from slurm_power.config.exporter import shown
from slurm_power.core.errors import ConfigError
from slurm_power.core.histogram import Distribution
from slurm_power.ports.metrics import Metric, MetricKind
from slurm_power.sandbox.free_ports import free_ports
from slurm_power.service.pulse import Commands, Pulse, Source
from tests.adapters.prometheus import prometheus, promtool
from tests.service.watched import PRICED, Watched

DURATIONS = Distribution((0.1, 1.0), (2, 1, 3), 12.5)
PULSE = Pulse(
    version="1.2.3",
    rounds=7,
    last_good=1_800_000_000,
    hook={"submit": DURATIONS},
    commands={"squeue": Commands(2, 1, DURATIONS)},
    sources=[Source('a "name" with \\ and \n in it', "file", up=True)],
    breakers={"pdu": False},
)


@pytest.fixture(scope="module")
def metrics() -> Iterator[Sequence[Metric]]:
    """Of a small floor on which a job runs."""
    rig = Watched(text=PRICED)
    rig.round()
    rig.running("gold", est_w=8_000, more=",zones=a")
    yield list(rig.metrics(PULSE).values())
    rig.end()


class Told:
    """Metrics that are handed out, and how often that was asked for."""

    def __init__(self, metrics: Sequence[Metric] = ()) -> None:
        self.metrics = metrics
        self.asked = 0

    async def __call__(self) -> Sequence[Metric]:
        self.asked += 1
        return self.metrics


@asynccontextmanager
async def served(told: Told, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """An exporter at a free port; its address."""
    [port] = free_ports(1)
    exporter = Exporter((host, port), told)
    exporter.bind()
    exporter.start()
    try:
        yield shown((host, port))
    finally:
        await exporter.stop()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((host, port))


async def get(address: str, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    """The status of an answer, and what it says."""

    def ask() -> tuple[int, str]:
        request = urllib.request.Request(f"http://{address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


def test_prometheus_reads_it_and_our_rules(metrics: Sequence[Metric], tmp_path: Path) -> None:
    async def story() -> None:
        async with served(Told(metrics)) as address:
            await asyncio.to_thread(read, address)

    def read(address: str) -> None:
        with prometheus(address, tmp_path) as server:
            server.until('up{job="slurm_power"}', 1)
            server.until('slurm_power_zone_committed_watts{zone="a"}', 8_000)
            server.until("slurm_power:zones_committed_watts:sum", 8_000)
            assert list(server.query("slurm_power_hook_duration_seconds_count").values()) == [6]
            assert list(server.query('slurm_power_hook_duration_seconds_bucket{le="1"}').values()) == [3]
            assert list(server.query("process_resident_memory_bytes").values()) > [10_000_000]
            assert "name" in next(iter(server.query("slurm_power_source_up")))
            rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
            assert len(rules) > 20
            assert [rule for rule in rules if rule["health"] == "err"] == []

    asyncio.run(story())


def test_promtool_has_nothing_to_complain_of(metrics: Sequence[Metric]) -> None:
    text = asyncio.run(Exporter(("127.0.0.1", 1), Told(metrics)).text()).decode()
    promtool("check", "metrics", stdin=text)
    assert 'slurm_power_zone_limit_watts{zone="a"} 20000.0\n' in text
    assert 'slurm_power_slurm_command_failures_total{cause="timeout",command="squeue"} 1.0\n' in text
    assert 'slurm_power_hook_duration_seconds_bucket{le="+Inf",op="submit"} 6.0\n' in text


def test_what_is_there_and_what_is_not() -> None:
    async def story() -> None:
        async with served(Told([Metric("slurm_power_one", MetricKind.GAUGE, "One.", (), [((), 1.0)])])) as address:
            status, text = await get(address)
            assert (status, "slurm_power_one 1.0\n" in text, "process_cpu_seconds_total" in text) == (200, True, True)
            assert "python_info" not in text
            assert await get(address, "/-/healthy") == (200, "slurm-powerd is healthy\n")
            assert (await get(address, "/"))[0] == 404
            assert (await get(address, method="POST"))[0] == 405

    asyncio.run(story())


def test_also_by_ipv6() -> None:
    async def story() -> None:
        async with served(Told(), "::1") as address:
            assert (await get(address, "/-/healthy"))[0] == 200

    asyncio.run(story())


def test_whoever_asks_within_a_moment_gets_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        told = Told()
        async with served(told) as address:
            await asyncio.gather(*(get(address) for _ in range(5)))
            assert told.asked == 1
            monkeypatch.setattr(module, "FRESH_S", 0.0)
            await get(address)
            assert told.asked == 2

    asyncio.run(story())


def test_a_fault_is_an_answer_of_its_own_and_the_next_may_be_well(monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty(Told):
        async def __call__(self) -> Sequence[Metric]:
            if await super().__call__() == () and self.asked == 1:
                raise ValueError("of our own making")
            return ()

    async def story() -> None:
        async with served(Faulty()) as address:
            assert await get(address) == (500, "internal error, see the log\n")
            assert (await get(address))[0] == 200

    asyncio.run(story())


def test_who_connects_and_says_nothing_keeps_nobody_out() -> None:
    async def story() -> None:
        async with served(Told()) as address:
            host, _, port = address.rpartition(":")
            silent = [await asyncio.open_connection(host, int(port)) for _ in range(60)]
            assert (await get(address))[0] == 200
            ended = await asyncio.wait_for(asyncio.gather(*(one.read() for one, _ in silent[:28])), 5)
            assert ended == [b""] * 28
            for _, writer in silent:
                writer.close()

    asyncio.run(story())


def test_signals_stay_the_daemons() -> None:
    async def story() -> None:
        before = signal.getsignal(signal.SIGTERM)
        async with served(Told()) as address:
            await get(address, "/-/healthy")
            assert signal.getsignal(signal.SIGTERM) is before

    asyncio.run(story())


def test_an_address_that_is_taken_or_not_ours() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = taken.getsockname()
        with pytest.raises(ConfigError) as caught:
            Exporter(address, Told()).bind("/etc/slurm/site.yaml")
    assert str(caught.value) == (
        f"/etc/slurm/site.yaml: metrics.listen: 127.0.0.1:{address[1]} cannot be listened on: Address already in use; "
        "expected a free address of this machine"
    )
    with pytest.raises(ConfigError, match="Cannot assign requested address"):
        Exporter(("192.0.2.1", 9_777), Told()).bind()
