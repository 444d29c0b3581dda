"""A rack is lost under load: what ran and waited there goes on elsewhere, and nobody does anything by hand."""

import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.driver import Driver, wait_for
from tests.integration.test_derate import room

pytestmark = [pytest.mark.cluster, pytest.mark.long]

SITE = """\
defaults: {margin: 0%, max_factor: 1}
feeds:
  left:  {side: A, limit: 70kW}
  right: {side: B, limit: 70kW}
zones:
  a: {nodes: "a[1-4]", feeds: [left, right], redundancy: 2N, limit: 30kW, baseline: 1kW}
  b: {nodes: "b[1-4]", feeds: [left, right], redundancy: 2N, limit: 30kW, baseline: 1kW}
partitions:
  work: {zones: "a,b"}
tiers:
  gold:   {qos: gold, notice: never}
  silver: {qos: silver, notice: 4s}
  bronze: {qos: bronze, notice: 0s}
"""
SRESERVATION = (sys.executable, "-m", "slurm_power.cli.sreservation")
PAUSE_S = 0.3
"""200 jobs a minute."""


@contextmanager
def under_load(home: Driver, log: Path) -> Iterator[None]:
    """Short jobs one after the other, 200 a minute, until it is left."""
    stop = log.with_suffix(".stop")
    script = (
        f"while [ ! -e {stop} ]; do sbatch --parsable -o /dev/null --qos=bronze --comment=power:est=1500W "
        f"--wrap='sleep 1' >> {log} || echo lost >> {log}; sleep {PAUSE_S}; done"
    )
    log.touch()
    log.chmod(0o666)
    with home.cluster.background("sh", "-c", script, user="bob") as load:
        try:
            yield
        finally:
            stop.touch()
            load.communicate(timeout=30)


def test_a_whole_rack(home: Driver) -> None:
    signal = home.cluster.layout.root / "breakers.json"
    folder = Path(tempfile.mkdtemp(prefix="spw-load-"))
    folder.chmod(0o777)
    log = folder / "load.log"

    def breaker(zone: str, word: str) -> None:
        new = signal.with_suffix(".new")
        new.write_text(json.dumps({"readings": [{"element": zone, "breaker": word}]}))
        new.replace(signal)

    breaker("a", "closed")
    before = home.cluster.layout.site_file.read_text()
    source = {"type": "file", "path": str(signal), "every": "1s", "stale": "600s"}
    home.change_site(lambda data: data.update(telemetry=[source]))
    home.cluster.run(
        *SRESERVATION, "create", "spring", "--zones=any:a,b", "--watts=4kW", "--start=now", "--duration=1h",
        "--accounts=research", "--tier=gold",
    )  # fmt: skip
    try:
        (lost,) = _granted(home)
        kept = "b" if lost == "a" else "a"
        with under_load(home, log), home.watched():
            runs = [home.submit("--qos=silver", est_w=3_000) for _ in range(4)]
            home.running(*runs)
            there = [job for job in runs if home.cluster.job(job)["NodeList"].startswith(lost)]
            assert there
            time.sleep(10)
            since = time.monotonic()
            breaker(lost, "open")
            for number in range(1, 5):
                home.cluster.stop(f"{lost}{number}")
            wait_for(lambda: room(home, lost)["limit_w"] == 0, "the rack to be lost")
            wait_for(lambda: _granted(home) == [kept], "the reservation to move")
            print(f"limit and reservation {time.monotonic() - since:.1f} s after the loss")
            for job in there:
                home.cluster.wait(
                    lambda job=job: home.cluster.job(job),  # type: ignore[misc]
                    lambda seen: seen["Restarts"] != "0",
                    f"job {job} to be requeued",
                )
            home.running(*runs)
            assert all(home.cluster.job(job)["NodeList"].startswith(kept) for job in there)
            print(f"all runs elsewhere {time.monotonic() - since:.1f} s after the loss")
        (line,) = home.ask("audit", actions=["rehomed"])["lines"]
        assert "its breaker is open" in line["cause"]
        submitted = log.read_text().split()
        assert "lost" not in submitted
        assert len(submitted) > 100
        print(f"{len(submitted)} short jobs in {time.monotonic() - since + 10:.0f} s")
        _all_complete(home, [int(job) for job in submitted])
        breaker(lost, "closed")
        for number in range(1, 5):
            home.cluster.start(f"{lost}{number}")
        wait_for(lambda: room(home, lost)["limit_w"] == 30_000, "the rack to be back", 200)
        home.cluster.run(*SRESERVATION, "cancel", "spring")
        home.agree()
    finally:
        shutil.rmtree(folder)
        home.cluster.call(*SRESERVATION, "cancel", "spring")  # where the test has failed before that
        home.cluster.layout.site_file.write_text(before)
        home.change_site(lambda _: None)


def _granted(home: Driver) -> list[str]:
    (one,) = home.ask("reservations")["reservations"]
    return [grant["zone"] for grant in one["grants"]]


def _all_complete(home: Driver, ids: list[int]) -> None:
    """None is lost, and none hangs."""

    def left() -> Counter[str]:
        wanted = set(ids)
        return Counter(job["job_state"] for job in home.jobs() if job["job_id"] in wanted)

    home.cluster.wait(left, lambda states: set(states) <= {"COMPLETED"}, "all short jobs to complete")
