"""Queries to a real Prometheus server that scrapes a replay of real logs."""

import json
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity
from slurm_power.sandbox.free_ports import free_ports
from tests.adapters.store.servers import need
from tests.adapters.telemetry.hostile import Hostile
from tests.adapters.telemetry.queries import STALE_S, configured, read
from tests.adapters.telemetry.replay import RECORDED, Replay, logs

HISTORY = """
pdu_kilowatts{rack="rack01",pdu="a",outlet="total"} 9.25
pdu_kilowatts{rack="rack01",pdu="a",outlet="1"} 4.25
pdu_kilowatts{rack="rack01",pdu="a",outlet="2"} 5
pdu_kilowatts{rack="rack01",pdu="b",outlet="total"} 8.5
pdu_kilowatts{rack="rack02",pdu="a",outlet="total"} 3
phase_watts{rack="rack01",phase="L1"} 3000
phase_watts{rack="rack01",phase="L2"} 3100
phase_watts{rack="rack01",phase="L3"} 2900
phase_watts{rack="rack02",phase="L1"} 1000
mixed_watts{rack="rack01",phase="L1"} 3000
mixed_watts{rack="rack01"} 9000
server_watts{instance="gpu001.example.org:9290"} 2345
server_watts{instance="gpu002:9290"} 1800
inlet_celsius{rack="rack01",sensor="top"} 27.5
inlet_celsius{rack="rack01",sensor="broken"} NaN
inlet_celsius{rack="rack01",sensor="bottom"} 24
inlet_celsius{rack="rack02",sensor="broken"} NaN
breaker_closed{pdu="pdu-a1"} 1
breaker_closed{pdu="pdu-b1"} 0
odd_watts{rack="rack01"} NaN
odd_watts{rack="rack02"} +Inf
odd_watts{rack="rack03"} -5
odd_watts{rack="rack04"} 0
"""
"""One sample of each, measured just now."""


def watts(url: str, query: str, **keys: str) -> dict[str, float]:
    found = read(url, zone_watts=query, label="rack", **keys)
    assert {(one.kind, one.quantity, one.age_s) for one in found} <= {(Kind.ZONE, Quantity.POWER, 0.0)}
    assert len({one.element for one in found}) == len(found)
    return {one.element: one.value for one in found}


@pytest.fixture(scope="module", params=["recorded" if RECORDED else "made"])
def replay() -> Replay:
    first, second, third, fourth = logs(4)
    return Replay({"rack01": {"gpu001": first, "gpu002": second}, "rack02": {"gpu003": third, "gpu004": fourth}})


@pytest.fixture(scope="module")
def exporter(replay: Replay) -> Iterator[Hostile]:
    with Hostile(replay.shows) as server:
        yield server


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, exporter: Hostile) -> Iterator[str]:
    """The URL of a server that knows the history, and scrapes the exporter every second after its first five."""
    for program in ("prometheus", "promtool"):
        need(shutil.which(program), program)
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {"job_name": "replay", "static_configs": [{"targets": [exporter.url.removeprefix("http://")]}]}
                ],
            }
        )
    )
    remember(folder)
    url = f"127.0.0.1:{free_ports(1)[0]}"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={url}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait(lambda: ready(f"http://{url}/-/ready"), 20)
        yield f"http://{url}"
    finally:
        server.terminate()
        server.wait(20)


def remember(folder: Path) -> None:
    """Write the history, and one series that fell silent a minute ago."""
    now = time.time()
    lines = [f"{line} {now:.3f}" for line in HISTORY.strip().splitlines()]
    lines.append(f'silent_watts{{rack="rack01"}} 5000 {now - 60:.3f}')
    (folder / "history").write_text("\n".join([*lines, "# EOF", ""]))
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history", folder / "data"],
        check=True,
        capture_output=True,
        timeout=20,
    )


def ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.ConnectionError:
        return False


def wait(until: Callable[[], bool], most_s: float) -> None:
    end = time.monotonic() + most_s
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_power_by_zone(prometheus: str) -> None:
    query = 'sum by (rack) (pdu_kilowatts{outlet="total"})'
    assert watts(prometheus, query, scale="1000") == {"rack01": 17_750, "rack02": 3_000}
    assert watts(prometheus, "nothing_such") == {}


def test_inlets_and_phases(prometheus: str) -> None:
    of_inlets = read(
        prometheus, zone_watts='pdu_kilowatts{outlet="total"}', label="rack", inlet_label="pdu", scale="1000"
    )
    assert {(one.element, one.part): one.value for one in of_inlets} == {
        ("rack01", "a"): 9_250,
        ("rack01", "b"): 8_500,
        ("rack02", "a"): 3_000,
    }
    of_phases = read(prometheus, zone_watts="phase_watts", label="rack", phase_label="phase")
    assert {(one.element, one.phase): one.value for one in of_phases if one.element == "rack01"} == {
        ("rack01", "L1"): 3_000,
        ("rack01", "L2"): 3_100,
        ("rack01", "L3"): 2_900,
    }


def test_all_queries_at_once(prometheus: str) -> None:
    found = read(
        prometheus,
        zone_watts='sum by (rack) (pdu_kilowatts{outlet="total"}) * 1000',
        node_watts="server_watts",
        zone_celsius="inlet_celsius",
        feed_watts="sum by (pdu) (breaker_closed) * 1000",
        feed_breaker="breaker_closed",
        label="rack",
        feed_label="pdu",
        node_label="instance",
        scale="2",
    )
    assert [(one.kind, one.element, one.value) for one in found if one.quantity is Quantity.POWER] == [
        (Kind.ZONE, "rack01", 35_500),
        (Kind.ZONE, "rack02", 6_000),
        (Kind.FEED, "pdu-a1", 2_000),
        (Kind.FEED, "pdu-b1", 0),
        (Kind.NODE, "gpu001", 4_690),
        (Kind.NODE, "gpu002", 3_600),
    ]
    hottest = {one.element: one.value for one in found if one.quantity is Quantity.TEMPERATURE}
    assert hottest.pop("rack01") == 27.5
    assert math.isnan(hottest.pop("rack02"))
    assert hottest == {}
    breakers = [(one.element, one.value) for one in found if one.quantity is Quantity.BREAKER]
    assert breakers == [("pdu-a1", 1), ("pdu-b1", 0)]


def test_values_are_not_judged(prometheus: str) -> None:
    found = watts(prometheus, "odd_watts", scale="1000")
    assert math.isnan(found.pop("rack01"))
    assert found == {"rack02": math.inf, "rack03": -5_000, "rack04": 0}


def test_what_is_wrong_with_one_query_costs_no_other(prometheus: str) -> None:
    source = configured(
        prometheus, zone_watts="sum by (rack) (phase_watts)", zone_celsius="sum by (rack", node_watts="42", label="rack"
    )
    told = source.read()
    source.close()
    assert {one.element: one.value for one in told.readings} == {"rack01": 9_000, "rack02": 1_000}
    assert told.trouble.startswith(f"{prometheus}: node_watts: it gives a scalar")
    assert "; zone_celsius: bad_data: " in told.trouble


def test_what_comes_twice_costs_no_other(prometheus: str) -> None:
    source = configured(prometheus, zone_watts='pdu_kilowatts{pdu="a"}', label="rack")
    told = source.read()
    source.close()
    assert [(one.element, one.value) for one in told.readings] == [("rack02", 3)]
    assert told.trouble == f"{prometheus}: zone_watts: {TWICE}"


RACK = 'pdu_kilowatts{rack="rack01"}'
TWICE = (
    "several series for 'rack01', which differ in outlet; they are not summed, for a total and its outlets would count "
    'twice. Filter, for example {outlet="1"}, or aggregate, for example sum by (rack) (…)'
)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            {"zone_watts": 'pdu_kilowatts{pdu="a",rack="rack01"}'},
            f": zone_watts: {TWICE}",
        ),
        (
            {"zone_watts": RACK, "inlet_label": "pdu", "phase_label": "phase"},
            "or aggregate, for example sum by (rack, phase, pdu) (…)",
        ),
        ({"feed_breaker": f"{RACK} > bool 0", "feed_label": "rack"}, "for example min by (rack) (…)"),
        ({"node_watts": RACK, "node_label": "rack"}, ": node_watts: several series for 'rack01'"),
        (
            {"zone_watts": "mixed_watts", "phase_label": "phase"},
            ": zone_watts: of the series for 'rack01' some have the label 'phase' and some have not: a total and its "
            'phases would count twice; filter, for example {phase!=""}',
        ),
        (
            {"zone_watts": "sum(pdu_kilowatts)"},
            ": zone_watts: the series {} has no label 'rack' that names the zone; keep it in the query, for example "
            "sum by (rack) (…)",
        ),
        ({"feed_watts": "phase_watts"}, "has no label 'feed' that names the feed"),
        (
            {"zone_watts": "42"},
            ": zone_watts: it gives a scalar and not one value for each zone: it has no labels",
        ),
        ({"zone_watts": "'42'"}, ": zone_watts: it gives a string and not one value for each zone"),
        (
            {"feed_watts": "pdu_kilowatts[5m]"},
            ": feed_watts: it gives a matrix and not one value for each feed: leave out its range, such as [5m]",
        ),
        ({"zone_watts": "sum by (rack"}, ": zone_watts: bad_data: invalid parameter \"query\""),
        ({"zone_watts": "phase_watts * on(rack) mixed_watts"}, ": zone_watts: execution: "),
        ({"zone_celsius": "x{" + "y" * 900 + "}"}, ": zone_celsius: bad_data: "),
    ],
)
def test_what_is_wrong_with_a_query(prometheus: str, keys: dict[str, str], says: str) -> None:
    with pytest.raises(TelemetryError) as caught:
        read(prometheus, label="rack", **keys)
    assert str(caught.value).startswith(f"{prometheus}: ")
    assert says in str(caught.value)
    assert len(str(caught.value)) < 400


def test_how_far_it_looks_back(prometheus: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a server that is too old for `lookback_delta` does, the log says, once; a query can say it itself."""
    source = configured(prometheus, zone_watts="silent_watts", label="rack")
    assert (source.read().readings == []) == (caplog.text == "")
    source.read()
    assert caplog.text.count("unless it runs with --query.lookback-delta=2s") == len(caplog.records) <= 1
    source.close()
    assert watts(prometheus, f"last_over_time(silent_watts[{STALE_S}s])") == {}


def test_a_replay_of_real_nodes_and_its_end(prometheus: str, exporter: Hostile, replay: Replay) -> None:
    racks = "sum by (rack) (node_watts)"
    source = configured(prometheus, zone_watts=racks, node_watts="node_watts", label="rack", node_label="host")
    wait(lambda: bool(source.read().readings), 20)
    found = source.read().readings
    assert {one.element: one.value for one in found if one.kind is Kind.NODE} in replay.shown
    assert {one.element: one.value for one in found if one.kind is Kind.ZONE} in [
        {"rack01": one["gpu001"] + one["gpu002"], "rack02": one["gpu003"] + one["gpu004"]} for one in replay.shown
    ]
    with_times = f"sum by (rack) (last_over_time(gateway_watts[{STALE_S}s]))"
    assert watts(prometheus, with_times).keys() == {"rack01", "rack02"}
    exporter.close()
    wait(lambda: not source.read().readings, STALE_S + 2)
    wait(lambda: not watts(prometheus, with_times), STALE_S + 1)
    source.close()
