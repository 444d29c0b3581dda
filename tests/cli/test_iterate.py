"""-i: looked at again and again; time is the test's."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from slurm_power.adapters.lines_server import Peer
from slurm_power.cli import output
from tests.cli.conftest import run
from tests.cli.stage import serving, short_directory
from tests.fakes.replies import encode_result

Sleep = Callable[[float], None]


class Daemon:
    """Answers `jobs` with one more job each time; what is in `failures` it refuses."""

    def __init__(self, *failures: int) -> None:
        self.asked = 0
        self.failures = failures

    def __call__(self, _: Peer, __: Mapping[str, Any]) -> str:
        self.asked += 1
        if self.asked in self.failures:
            raise RuntimeError("out of order")
        rows = [
            {"job": str(number), "state": "waiting", "zones": [], "est_w": 5_000}
            for number in range(self.asked)
        ]
        return encode_result({"schema": 1, "jobs": rows})


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept; the third time Ctrl-C is pressed."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    class Time:
        pass

    fake = Time()
    fake.sleep = sleep  # type: ignore[attr-defined]
    fake.time = time.time  # type: ignore[attr-defined]
    monkeypatch.setattr(output, "time", fake)
    return slept


def iterate(daemon: Daemon, *args: str) -> tuple[int, str]:
    with short_directory() as directory, serving(directory / "s", daemon):
        result = run("jobs", "-i", "7", *args, "--socket", str(directory / "s"))
    return result.exit_code, result.output


def test_each_look_has_its_time_and_its_header(naps: list[float]) -> None:
    code, text = iterate(Daemon(), "-o", "job,est")
    assert code == 0
    assert naps == [7, 7, 7]
    found = text.splitlines()
    assert found.count("JOB  EST") == 3
    assert sum(line.endswith(" 2026") or line[-4:].isdecimal() for line in found) == 3
    assert [line for line in found if line.startswith("2")] == ["2    5kW"]
    assert "\x1b" not in text


def test_parsable_output_has_one_header(naps: list[float]) -> None:
    _, text = iterate(Daemon(), "-P", "-o", "job,est")
    assert text.splitlines()[:-1] == ["JOB|EST_W", "0|5000", "0|5000", "1|5000", "0|5000", "1|5000", "2|5000"]


def test_json_is_one_document_a_line(naps: list[float]) -> None:
    _, text = iterate(Daemon(), "--json")
    documents = [json.loads(line) for line in text.splitlines() if line]
    assert [len(document["jobs"]) for document in documents] == [1, 2, 3]


def test_a_daemon_that_is_away_for_a_while_is_asked_again(naps: list[float]) -> None:
    daemon = Daemon(2)
    code, text = iterate(daemon, "-hP", "-o", "job")
    assert code == 0
    assert daemon.asked == 3
    assert [line for line in text.splitlines() if line.isdecimal()] == ["0", "0", "1", "2"]
    assert "internal error (RuntimeError)" in text


def test_a_daemon_that_is_not_there_at_first_is_an_error(naps: list[float]) -> None:
    code, text = iterate(Daemon(1))
    assert code == 1
    assert text.startswith("spower: internal error")
    assert naps == []
