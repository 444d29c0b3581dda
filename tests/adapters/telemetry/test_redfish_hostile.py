"""Devices that have nothing to say, say nonsense or mean no good; trust; and servers of sushy-tools."""

import contextlib
import copy
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_power.adapters.telemetry.web import Answer, Web
from slurm_power.core.errors import TelemetryError
from slurm_power.sandbox.free_ports import free_ports
from tests.adapters.telemetry.hostile import (
    Behaviour,
    Certificate,
    Hostile,
    answers,
    asks_for,
    basic,
    bearer,
    certificate,
    cut_off,
    floods,
    hangs,
    redirects,
    refused,
    shows,
)
from tests.adapters.telemetry.redfish import (
    ASSETS,
    CELSIUS,
    CHASSIS,
    CLOSED,
    EQUIPMENT,
    MAINS,
    METRICS,
    PDU,
    POWER,
    ROOT,
    SENSOR,
    WATTS,
    V,
    changed,
    configured,
    entry,
    link,
    members,
    mockup,
    served,
    trouble,
)

HTPASSWD = "admin:$2b$04$TDUlT6lm3EJ1K/6uqWVPV.suMvjXQgjfZ8VMMWxG/18k84dMXHEse\n"
FAKE_CHASSIS = f"{V}/Chassis/15693887-7984-9484-3272-842188918912"


# -- devices that have nothing to say, or say nonsense ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "properties", "says"),
    [
        (METRICS, {"PowerWatts": {"Reading": None}}, "PowerWatts.Reading is missing or null"),
        (METRICS, {"PowerWatts": {}}, "PowerWatts.Reading is missing or null"),
        (METRICS, {"PowerWatts": None}, "PowerWatts.Reading is missing or null"),
        (METRICS, {"PowerWatts": ..., "EnergykWh": ...}, "PowerWatts.Reading is missing or null"),
        (METRICS, {"PowerWatts": ..., "EnergykWh": {"Reading": "9"}}, "EnergykWh.Reading is no number"),
        (METRICS, {"PowerWatts": {"Reading": "17250"}}, "PowerWatts.Reading is no number"),
        (METRICS, {"PowerWatts": {"Reading": True}}, "PowerWatts.Reading is no number"),
        (METRICS, {"PowerWatts": {"Reading": [1]}}, "PowerWatts.Reading is no number"),
        (METRICS, {"PowerWatts": {"Reading": 10**400}}, "PowerWatts.Reading is no number that is possible"),
        (METRICS, {"PowerWatts": 17_250}, "PowerWatts.Reading: what should hold it is no object"),
        (METRICS, {"TemperatureCelsius": {"Reading": "warm"}}, "TemperatureCelsius.Reading is no number"),
        (MAINS, {"BreakerState": "Ajar"}, "BreakerState is 'Ajar', and none of Normal, Tripped, Off"),
        (MAINS, {"BreakerState": ["Normal"]}, "BreakerState is '', and none of Normal, Tripped, Off"),
        (MAINS, {"PowerWatts": {"Reading": None}, "PolyPhasePowerWatts": {}}, "PowerWatts.Reading is missing or null"),
        (MAINS, {"PolyPhasePowerWatts": {"Line1ToNeutral": 7}}, "PolyPhasePowerWatts.Line1ToNeutral.Reading: what"),
        (MAINS, {"PowerWatts": ..., "PolyPhasePowerWatts": [1]}, "PowerWatts.Reading is missing or null"),
        (SENSOR, {"Reading": None}, "Reading is missing or null"),
        (SENSOR, {"Reading": "7"}, "Reading is no number"),
        (SENSOR, {"ReadingUnits": "A"}, "ReadingUnits is 'A', and neither W nor kW"),
        (SENSOR, {"ReadingUnits": "kW.h"}, "ReadingUnits is 'kW.h', and neither W nor kW"),
        (SENSOR, {"ReadingUnits": ...}, "ReadingUnits is '', and neither W nor kW"),
        (POWER, {"PowerControl": ...}, "PowerControl is missing or no list"),
        (POWER, {"PowerControl": {}}, "PowerControl is missing or no list"),
        (POWER, {"PowerControl": []}, "PowerControl is empty"),
        (POWER, {"PowerControl": [7, None]}, "PowerControl is empty"),
    ],
)
def test_what_is_not_told_is_not_zero(path: str, properties: dict[str, Any], says: str) -> None:
    device = "pdu" if path.startswith(EQUIPMENT) or path == SENSOR else "server"
    assert trouble(changed(device, path, **properties), path).startswith(f"{path}: {says}")


@pytest.mark.parametrize("watts", [None, ..., "300", {}])
def test_an_entry_without_watts(watts: object) -> None:
    found = trouble(changed("server", POWER, PowerControl=[entry(0, watts) if watts is not ... else {"MemberId": "0"}]))
    assert found.startswith(f"{POWER}#/PowerControl/0: PowerConsumedWatts is ")


# -- devices that mean no good ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to",
    [
        "http://192.0.2.1/redfish/v1/Chassis",
        "//192.0.2.1/redfish/v1/Chassis",
        "@192.0.2.1/redfish/v1/Chassis",
        ".192.0.2.1/redfish/v1/Chassis",
        "/etc/passwd",
        "/redfish",
        "/redfish/../etc/passwd",
        "/redfish/v1/%2e%2e/%2E%2E/etc/passwd",
        "/redfish/v1/Chassis?only",
        "/redfish/v1/Chassis#x",
        "/redfish/v1/Chas sis",
        "/redfish/v1/\r\nHost: elsewhere",
        "/redfish/v1/\u202egnp",
        "/redfish/v1/ä",
        "/redfish/" + "x" * 1_000,
        "",
    ],
)
def test_links_lead_nowhere_else(to: str) -> None:
    for documents in (changed("server", ROOT, Chassis=link(to)), changed("server", f"{V}/Chassis", Members=[link(to)])):
        told = trouble(documents)
        assert "which is no path of the device itself" in told
        assert told.isprintable()


@pytest.mark.parametrize("to", [7, None, {"@odata.id": None}, {"@odata.id": [1]}, {}, "/redfish/v1/Chassis/1"])
def test_links_that_are_none(to: object) -> None:
    assert "has a link that leads nowhere" in trouble(changed("server", f"{V}/Chassis", Members=[to]))


def test_links_in_a_circle() -> None:
    assert "lead in a circle" in trouble(changed("server", CHASSIS, Power=link(CHASSIS), EnvironmentMetrics=...))
    assert "lead in a circle" in trouble(changed("pdu", PDU, Metrics=link(ROOT), Mains=link(f"{PDU}/Mains")))
    documents = changed("server", CHASSIS, EnvironmentMetrics=link(CHASSIS), Power=...)
    assert "lead in a circle" in trouble(documents)


def test_links_without_end() -> None:
    with Hostile(lambda wire, question: shows(members(question.path + "/x"))(wire, question)) as server:
        with pytest.raises(TelemetryError, match="nothing tells power within 16 resources; name what"):
            configured(server.url).read()
        assert len(server.questions) == 16


@pytest.mark.parametrize(
    ("does", "says"),
    [
        (hangs, f"{METRICS}: no answer within 1 s"),
        (floods(100 << 20), f"{METRICS}: the answer is longer than "),
        (answers(b"<html>"), f"{METRICS}: the answer is no JSON"),
        (answers(b'{"a":' * 100_000), f"{METRICS}: the answer is no JSON"),
        (answers(b"[1]"), f"{METRICS}: the answer is no resource of Redfish's"),
        (answers(b'"x"'), f"{METRICS}: the answer is no resource of Redfish's"),
        (answers(b"null"), f"{METRICS}: the answer is no resource of Redfish's"),
        (cut_off, f"{METRICS}: cannot be reached: "),
        (answers(b"", 503), f"{METRICS}: answers 503 "),
        (redirects("http://192.0.2.1/redfish/v1/"), f"{METRICS}: answers 302 "),
    ],
)
def test_broken_answers(does: Behaviour, says: str) -> None:
    assert trouble(does, METRICS, timeout="1s").startswith(says)


def test_nobody_listens() -> None:
    with pytest.raises(TelemetryError, match="Connection refused"):
        configured(refused()).read()


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "0", PDU, ROOT, "#a.b.Power"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Reading", "@odata.id"]), inner),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(["pdu", "server"]))
def test_whatever_it_says_ends_in_readings_or_an_error_of_ours(data: st.DataObject, device: str) -> None:
    documents = copy.deepcopy(mockup(device))
    for _ in range(data.draw(st.integers(1, 3))):
        body = data.draw(st.sampled_from(list(documents.values())))
        while True:
            key = data.draw(st.sampled_from(sorted(body) if isinstance(body, dict) else range(len(body))))
            if not isinstance(body[key], dict | list) or not body[key] or data.draw(st.booleans()):
                break
            body = body[key]
        body[key] = data.draw(JUNK)

    def answer(web: Web, path: str) -> Answer:
        if path not in documents:
            raise TelemetryError("404")
        return Answer(json.dumps(documents[path]).encode(), {})

    resource = data.draw(st.sampled_from([None, *documents]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Web, "answer", answer)
        source = configured("http://127.0.0.1:9", resource=resource)
        for _ in range(2):
            with contextlib.suppress(TelemetryError):
                assert all(isinstance(one.value, int | float) for one in source.read().readings)


# -- trust, and servers of somebody else's ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return certificate(tmp_path_factory.mktemp("own"))


def secret(folder: Path, text: str) -> str:
    file = folder / "secret"
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


def test_credentials_and_tls(tmp_path: Path, own: Certificate) -> None:
    right, wrong = "user: power\npassword: 's3:cret'\n", "user: power\npassword: guess\n"
    with Hostile(asks_for(basic("power", "s3:cret"), served(mockup("pdu"))), tls=own) as server:
        keys = {"verify": str(own.file), "resource": METRICS}
        assert len(configured(server.url, credentials=secret(tmp_path, right), **keys).read().readings) == 2
        with pytest.raises(TelemetryError, match="answers 401"):
            configured(server.url, credentials=secret(tmp_path, wrong), **keys).read()
        with pytest.raises(TelemetryError, match="answers 401"):
            configured(server.url, **keys).read()
        asked = len(server.questions)
        with pytest.raises(TelemetryError, match=r"TLS: .*certificate") as caught:
            configured(server.url, credentials=secret(tmp_path, right)).read()
        assert len(server.questions) == asked
        assert "s3:cret" not in str(caught.value)
    with Hostile(asks_for(bearer("sesame"), served(mockup("server")))) as server:
        assert len(configured(server.url, credentials=secret(tmp_path, "token: sesame")).read().readings) == 1


def started(name: str, *arguments: str, own: Certificate, folder: Path) -> Iterator[str]:
    """The URL of a server of sushy-tools's, while it runs."""
    program = Path(sys.executable).parent / name  # a requirement of the tests, as pytest is
    port = str(free_ports(1)[0])
    tls = ["--ssl-certificate", str(own.file), "--ssl-key", str(own.key)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "-i", "127.0.0.1", "-p", port, *tls, *arguments], stdout=log, stderr=log)
    try:
        url = f"https://127.0.0.1:{port}"
        wait(url, own.file)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def wait(url: str, verify: Path) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            requests.get(url + ROOT, verify=str(verify), timeout=5)
            return
        except requests.ConnectionError:
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture
def static(tmp_path: Path, own: Certificate) -> Iterator[str]:
    yield from started("sushy-static", "--mockup-files", str(ASSETS / "pdu"), own=own, folder=tmp_path)


@pytest.fixture
def emulator(tmp_path: Path, own: Certificate) -> Iterator[str]:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    config = tmp_path / "emulator.conf"
    config.write_text(
        f"SUSHY_EMULATOR_AUTH_FILE = '{tmp_path}/htpasswd'\n"
        f"SUSHY_EMULATOR_STATE_DIR = '{tmp_path}'\n"
        "SUSHY_EMULATOR_FEATURE_SET = 'full'\n"
    )
    yield from started("sushy-emulator", "--fake", "--config", str(config), own=own, folder=tmp_path)


def test_a_mockup_that_sushy_serves(static: str, own: Certificate) -> None:
    source = configured(static, verify=str(own.file))
    for _ in range(2):
        assert [(one.quantity, one.value) for one in source.read().readings] == [WATTS, CELSIUS, CLOSED]


def test_an_emulated_server_that_measures_nothing(emulator: str, own: Certificate, tmp_path: Path) -> None:
    """It finds its way to the chassis, and says what that lacks."""
    right = secret(tmp_path, "user: admin\npassword: secret\n")
    with pytest.raises(TelemetryError, match=f"{FAKE_CHASSIS}: there is neither EnvironmentMetrics nor Power"):
        configured(emulator, verify=str(own.file), credentials=right).read()
    with pytest.raises(TelemetryError, match="TLS: "):
        configured(emulator, credentials=right).read()
    wrong = secret(tmp_path, "user: admin\npassword: guess\n")
    with pytest.raises(TelemetryError, match="answers 401 Unauthorized"):
        configured(emulator, verify=str(own.file), credentials=wrong).read()
