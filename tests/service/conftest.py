"""What tests of services share, and how long random histories are (many and long: SLURM_POWER_LONG_TESTS=1)."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.service.bureau import Bureau

LONG = bool(os.environ.get("SLURM_POWER_LONG_TESTS"))

HISTORIES = settings(
    max_examples=120 if LONG else 15,
    stateful_step_count=80 if LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def bureau(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bureau]:
    """A daemon with people who have rights, on the site of most tests."""
    found = Bureau(monkeypatch)
    yield found
    found.close()
