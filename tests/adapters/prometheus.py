"""A private Prometheus on loopback, and promtool."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slurm_power.sandbox.free_ports import free_ports
from tests.adapters.store.servers import need

ROOT = Path(__file__).parents[2]
RULES = ROOT / "etc" / "prometheus" / "slurm_power.rules.yml"
_START_S = 30


def promtool(*args: str, stdin: str = "") -> None:
    """Run it; what it complains of fails the test."""
    program = need(shutil.which("promtool"), "promtool")
    done = subprocess.run([program, *args], input=stdin, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> dict[str, float]:
        """What an expression gives now, by its labels."""
        found = self.get("query", query=expression)["result"]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}

    def get(self, what: str, **query: str) -> Any:
        """The data of an answer."""
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(address, timeout=5) as answer:
            return json.load(answer)["data"]

    def until(self, expression: str, wanted: float) -> None:
        """Wait until an expression has this value."""
        end, found = time.monotonic() + _START_S, {}
        while time.monotonic() < end:
            try:
                found = self.query(expression)
            except (urllib.error.URLError, ConnectionError):
                found = {}
            if list(found.values()) == [wanted]:
                return
            time.sleep(0.1)
        pytest.fail(f"{expression} is {found}, not {wanted}")


@contextmanager
def prometheus(target: str, directory: Path) -> Iterator[Prometheus]:
    """One that reads this target again and again, with our rules; ended with the block."""
    program = need(shutil.which("prometheus"), "prometheus")
    [port] = free_ports(1)
    config = directory / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}}\n"
        f"rule_files: [{RULES}]\n"
        f"scrape_configs: [{{job_name: slurm_power, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    log = directory / "prometheus.log"
    argv = [str(program), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*argv, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], stdout=sink, stderr=sink
        )
    try:
        yield Prometheus(port)
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(timeout=20)
