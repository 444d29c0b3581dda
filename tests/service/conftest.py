"""How long random histories are. SLURM_POWER_LONG_TESTS=1 makes them many and long."""

import os

from hypothesis import HealthCheck, settings

LONG = bool(os.environ.get("SLURM_POWER_LONG_TESTS"))

HISTORIES = settings(
    max_examples=120 if LONG else 15,
    stateful_step_count=80 if LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
