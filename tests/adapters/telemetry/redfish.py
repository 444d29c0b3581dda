"""Devices that speak Redfish: documents in the form of DMTF's mockups, changed as a test wants, and their server."""

import copy
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.telemetry.redfish import RedfishSource
from slurm_power.config.telemetry import Redfish
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Quantity, Reading
from tests.adapters.telemetry.hostile import Behaviour, Hostile, routes, shows

ASSETS = Path(__file__).parents[2] / "assets" / "redfish"
V = "/redfish/v1"
ROOT = f"{V}/"
EQUIPMENT = f"{V}/PowerEquipment"
PDU = f"{EQUIPMENT}/RackPDUs/1"
METRICS, MAINS, BRANCH, OUTLET = f"{PDU}/Metrics", f"{PDU}/Mains/AC1", f"{PDU}/Branches/A", f"{PDU}/Outlets/A1"
SENSOR = f"{V}/Chassis/PDU/Sensors/Power"
CHASSIS = f"{V}/Chassis/1"
ENVIRONMENT, POWER = f"{CHASSIS}/EnvironmentMetrics", f"{CHASSIS}/Power"
WATTS, CELSIUS, CLOSED = (Quantity.POWER, 17_250.0), (Quantity.TEMPERATURE, 26.5), (Quantity.BREAKER, 1.0)

Documents = dict[str, Any]
Said = list[tuple[Quantity, float]]


@functools.cache
def mockup(name: str) -> Documents:
    """What a device says, by path."""
    folder = ASSETS / name
    found = {}
    for file in folder.rglob("index.json"):
        path = file.parent.relative_to(folder).as_posix()
        found[ROOT if path == "." else f"{V}/{path}"] = json.loads(file.read_text())
    return found


def changed(name: str, path: str, **properties: Any) -> Documents:
    """The same with properties of one resource replaced; `...` takes one out."""
    documents = copy.deepcopy(mockup(name))
    body = documents.setdefault(path, {})
    body.update(properties)
    documents[path] = {key: value for key, value in body.items() if value is not ...}
    return documents


def served(documents: Mapping[str, Any]) -> Behaviour:
    return routes({path: shows(body) for path, body in documents.items()})


def configured(url: str, **keys: Any) -> RedfishSource:
    element = {} if keys.keys() & {"zone", "feed", "node"} else {"feed": "pdu-a1"}
    config = {"type": "redfish", "url": url, "every": "5s", "stale": "30s", "timeout": "2s", **element, **keys}
    return RedfishSource(Redfish.model_validate(config))


def read(does: Behaviour | Documents, resource: str | None = None, **keys: Any) -> Sequence[Reading]:
    with Hostile(does if callable(does) else served(does)) as server:
        source = configured(server.url, resource=resource, **keys)
        try:
            return source.read().readings
        finally:
            source.close()


def said(does: Behaviour | Documents, resource: str | None = None) -> Said:
    return [(one.quantity, one.value) for one in read(does, resource)]


def trouble(does: Behaviour | Documents, resource: str | None = None, **keys: Any) -> str:
    """What a reading ends with, soon enough, after the URL of the device."""
    begun = time.monotonic()
    with Hostile(does if callable(does) else served(does)) as server:
        with pytest.raises(TelemetryError) as caught:
            configured(server.url, resource=resource, **keys).read()
        url = server.url
    assert time.monotonic() - begun < 3
    assert str(caught.value).startswith(url)
    assert len(str(caught.value)) < 700
    return str(caught.value).removeprefix(url)


def lines(**watts: float | None) -> dict[str, Any]:
    return {name: {"Reading": value} for name, value in watts.items()}


def entry(number: int, watts: object, **more: object) -> dict[str, Any]:
    return {"MemberId": str(number), "Name": f"P{number}", "PowerConsumedWatts": watts, **more}


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def members(*paths: str) -> dict[str, Any]:
    kind = "#PowerDistributionCollection.PowerDistributionCollection"
    return {"@odata.type": kind, "Members": [link(path) for path in paths]}
