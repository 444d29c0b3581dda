"""The exporter of a daemon: where the site file says, also after a reload, and never at the cost of the daemon."""

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.slurm.counted import CountedCommands
from slurm_power.config import Site, load_site
from slurm_power.config.exporter import Metrics
from slurm_power.core.errors import ConfigError
from slurm_power.daemon.exporting import Exporting, sources
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.telemetry import Telemetry
from slurm_power.sandbox.free_ports import free_ports
from slurm_power.service.outcomes import TellingJournal
from tests.adapters.slurm.replay import Replay
from tests.service.watched import PRICED, Watched

PEER = Peer(0, 0, 0)


@pytest.fixture
def rig() -> Iterator[Watched]:
    made = Watched(text=PRICED)
    made.round()
    yield made
    made.end()


def exporting(rig: Watched) -> Exporting:
    telemetry = Telemetry(rig.desk, rig.rounds.derating, Sensors(rig.desk, rig.writer), rig.slurm, rig.rounds.soon)
    journal = TellingJournal(rig.desk.journal)
    made = Exporting(rig.desk, journal, rig.rounds, rig.writer, telemetry, CountedCommands(Replay([])))
    made.load(rig.store)
    return made


def at(rig: Watched, port: int | None) -> Site:
    """The site with metrics at that port."""
    listen = None if port is None else Metrics.model_validate({"listen": f"127.0.0.1:{port}"})
    return replace(rig.site, metrics=listen)


async def read(port: int) -> str:
    def ask() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    try:
        return await asyncio.to_thread(ask)
    except (urllib.error.URLError, ConnectionError):
        return ""


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await done():
            await asyncio.sleep(0.02)


def test_it_is_served_where_the_site_file_says_and_moves_with_it(rig: Watched) -> None:
    first, second = free_ports(2)

    async def story() -> None:
        one = exporting(rig)
        one.start(at(rig, first))
        text = await read(first)
        assert 'slurm_power_build_info{version="' in text
        assert "slurm_power_rounds_total 1.0" in text
        assert 'slurm_power_zone_limit_watts{zone="a"} 20000.0' in text
        one.follow(at(rig, second))
        await until(lambda: has(second))
        assert await read(first) == ""
        one.follow(at(rig, None))
        await until(lambda: has_not(second))
        one.follow(at(rig, first))
        await until(lambda: has(first))
        await one.stop()
        assert await read(first) == ""

    async def has(port: int) -> bool:
        return await read(port) != ""

    async def has_not(port: int) -> bool:
        return await read(port) == ""

    asyncio.run(story())


def test_an_address_that_is_taken_ends_a_start_and_not_a_reload(
    rig: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    [first] = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = taken.getsockname()[1]

        async def story() -> None:
            one = exporting(rig)
            with pytest.raises(ConfigError, match="Address already in use"):
                one.start(at(rig, other))
            one.start(at(rig, first))
            one.follow(at(rig, other))
            await until(told)
            assert await read(first)
            await one.stop()

        async def told() -> bool:
            return "metrics stay where they were" in caplog.text and await read(first) != ""

        asyncio.run(story())


def test_answers_are_timed_by_question(rig: Watched) -> None:
    def handler(_: Peer, request: Mapping[str, Any]) -> str | Awaitable[str]:
        return later() if request["op"] == "prolog" else "at once"

    async def later() -> str:
        await asyncio.sleep(0.03)
        return "later"

    async def story() -> None:
        one = exporting(rig)
        timed = one.timed(handler)
        assert timed(PEER, {"op": "submit"}) == "at once"
        assert timed(PEER, {"op": "nonsense"}) == "at once"
        waited = timed(PEER, {"op": "prolog"})
        assert not isinstance(waited, str)
        assert await waited == "later"
        [found] = [metric for metric in await one.collect() if metric.name == "slurm_power_hook_duration_seconds"]
        answers = {key[0]: value for key, value in found.samples}
        assert {op: sum(one.counts) for op, one in answers.items()} == {  # type: ignore[union-attr]
            "submit": 1, "modify": 0, "prolog": 1, "epilog": 0,
        }  # fmt: skip
        assert answers["prolog"].total >= 0.03  # type: ignore[union-attr]

    asyncio.run(story())


def test_sources_are_named_without_their_secrets() -> None:
    text = PRICED + """\
telemetry:
  - {type: redfish, url: "https://root:calvin@pdu-a/redfish?token=x", zone: a, every: 1s, stale: 20s}
  - {type: redfish, url: "https://root:calvin@pdu-a/redfish", zone: a, every: 1s, stale: 20s}
  - {type: snmp, host: pdu-b, credentials: /x, oid: 1.2.3, feed: pdu, inlet: left, version: 2c, every: 1s, stale: 20s}
  - {type: file, path: /run/facility/signal.json, every: 5s, stale: 60s}
"""
    site = load_site(text=text)
    found = sources(site, {"snmp pdu-b pdu left": "no answer", "/run/facility/signal.json": "is old"})
    assert [(one.name, one.type, one.up) for one in found] == [
        ("https://pdu-a a", "redfish", True),
        ("https://pdu-a a #2", "redfish", True),
        ("pdu-b pdu left", "snmp", False),
        ("/run/facility/signal.json", "file", False),
    ]
