"""Long random histories by seed, and the same history twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.conftest import LONG
from tests.service.driver import Driver

_SEEDS = range(300) if LONG else range(16)
_STEPS = 400 if LONG else 150
_ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("seed", _SEEDS)
def test_budgets_ledger_and_holds_through_a_long_history(seed: int) -> None:
    driver = Driver(seed)
    for _ in range(_STEPS):
        driver.act()
        driver.cluster.check()
    driver.cluster.calm()
    driver.cluster.check_exact()
    driver.cluster.drain()
    driver.cluster.calm()
    driver.cluster.check_exact()


def test_a_history_repeats_itself_in_another_process() -> None:
    """Sets are walked in another order there; decisions and commands must not follow it."""

    def told(hash_seed: int) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.service.tell", "7", "200"],
            cwd=_ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(_ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    first = told(1)
    assert first.count("\n") > 50
    assert told(2) == first
