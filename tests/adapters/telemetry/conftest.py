"""Simulated PDUs for whoever asks them by SNMP; what telemetry logs, whoever logs it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_power.adapters.telemetry.snmp import SnmpSource
from slurm_power.config.telemetry import Snmp
from tests.adapters.telemetry.pdus import DEVICES, Opens, options_of_users
from tests.adapters.telemetry.simulated import Simulator


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(tmp_path_factory.mktemp("snmp"), DEVICES, options_of_users()) as simulator:
        yield simulator


@pytest.fixture
def opens(simulator: Simulator, tmp_path: Path) -> Opens:
    """A source: `community` is the device, `secrets` the whole file, `timeout_s` shorter than a site file has it."""

    def make(
        *, community: str = "public", secrets: str = "", port: int = 0, timeout_s: float = 1.0, **keys: object
    ) -> SnmpSource:
        path = tmp_path / ("credentials" if secrets else f"credentials-{community}")
        path.touch(0o600)
        path.write_text(secrets or f"community: {community}\n")
        config = Snmp.model_validate(
            {
                "type": "snmp",
                "host": f"127.0.0.1:{port or simulator.port}",
                "version": "2c" if "community" in path.read_text() else "3",
                "credentials": str(path),
                "every": "5s",
                "stale": "30s",
                **({"zone": "rack01"} if not keys.keys() & {"zone", "feed", "node"} else {}),
                **keys,
            }
        )
        return SnmpSource(config.model_copy(update={"timeout": timeout_s}))

    return make


@pytest.fixture(autouse=True)
def _what_the_log_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "slurm_power.telemetry")
