"""Everything that the daemon knows as metrics, for Prometheus. Names no user, no job and no reservation.

Made in steps: with 500 zones, 1,000 feeds and 10,000 jobs it takes 80 ms, and no step more than 1.5 ms.
"""

from slurm_power.core.steps import Steps
from slurm_power.ports.metrics import Metric
from slurm_power.service.daemon_metrics import daemon_metrics
from slurm_power.service.desk import Desk
from slurm_power.service.floor_metrics import floor_metrics
from slurm_power.service.job_metrics import job_metrics
from slurm_power.service.outcome_metrics import outcome_metrics
from slurm_power.service.outcomes import Outcomes
from slurm_power.service.pulse import Pulse
from slurm_power.service.reservation_metrics import reservation_metrics
from slurm_power.service.runs import Runs


def metrics(desk: Desk, outcomes: Outcomes, runs: Runs, pulse: Pulse) -> Steps[list[Metric]]:
    """All of them, each once; one of which nothing is known is there without values."""
    runs.settle(desk.now())
    found = yield from floor_metrics(desk, pulse)
    found += yield from job_metrics(desk)
    found += yield from reservation_metrics(desk)
    yield
    found += daemon_metrics(desk, pulse)
    yield
    return found + outcome_metrics(desk, outcomes, runs)
