"""Metrics of what has become of jobs and reservations."""

from collections.abc import Iterable, Iterator, Mapping

from slurm_power.core.giving_way import Trigger
from slurm_power.core.histogram import Histogram
from slurm_power.core.service_level import Miss
from slurm_power.ports.metrics import Metric
from slurm_power.service.desk import Desk
from slurm_power.service.metric_forms import COUNTER, counted, histograms, many
from slurm_power.service.outcomes import FAILED, OVER, Outcomes
from slurm_power.service.runs import DELAYS_S, TURNAROUNDS_S, UNKNOWN, Held, Runs

_VERDICTS = ("admit", "hold", "reject", "would-admit", "would-hold", "would-reject")
_ACTIONS = ("launch", "deny", "found-running", "found-running-over", "unheard")


def outcome_metrics(desk: Desk, outcomes: Outcomes, runs: Runs) -> list[Metric]:
    """All of what has been counted since the start."""
    tiers = [tier.name for tier in desk.tiers]
    return [*_of_outcomes(tiers, outcomes), *_of_runs(tiers, runs), *_of_usage(tiers, runs)]


def _of_outcomes(tiers: list[str], sums: Outcomes) -> Iterator[Metric]:
    yield counted("decisions_total", "Lines of the audit log, by action.", "action", sums.decisions, _ACTIONS)
    meaning = "Submissions, by what was decided on them at once."
    yield counted("submissions_total", meaning, "verdict", sums.submissions, _VERDICTS)
    meaning = "Jobs that had their place and did not start: denied at the gate, refused by Slurm, not started in time."
    yield _by_two("failed_launches_total", meaning, "cause", sums.failed_launches, tiers, FAILED.values())
    meaning = "Jobs that were taken off their nodes, by what for: a job, a reservation, a cut, or too much draw."
    yield _by_two("preempted_jobs_total", meaning, "trigger", sums.preempted, tiers, Trigger)
    meaning = "Jobs that were taken off their nodes since a breaker was about to trip."
    yield counted("emergency_interventions_total", meaning, "tier", sums.emergencies, tiers)
    meaning = "Runs that missed the service level of their tier, by what made them."
    yield _by_two("sla_missed_total", meaning, "cause", sums.missed, tiers, Miss)
    meaning = "Reservations that are over, by how they ended: all that there ever were."
    yield counted("reservations_ended_total", meaning, "outcome", sums.reservations, OVER)


def _of_runs(tiers: list[str], runs: Runs) -> Iterator[Metric]:
    meaning = "Runs that ended: the job finished, or went back into the queue."
    yield _by_two("runs_ended_total", meaning, "how", runs.ended, tiers, ("finished", "requeued"))
    meaning = "Jobs that finished, by Slurm's word for how (`unknown` where that was not seen)."
    yield _by_two("jobs_finished_total", meaning, "result", runs.finished, tiers, (UNKNOWN,))
    meaning = "Time from submit to the first start."
    yield _histograms("queue_delay_seconds", meaning, runs.delays, tiers, DELAYS_S)
    meaning = "Time from submit to finish."
    yield _histograms("turnaround_seconds", meaning, runs.turnarounds, tiers, TURNAROUNDS_S)


def _of_usage(tiers: list[str], runs: Runs) -> Iterator[Metric]:
    held = {**{tier: Held() for tier in tiers}, **runs.held}
    for name, meaning, values in (
        (
            "job_energy_joules",
            "Energy of jobs on nodes: est × time, and what they draw beyond est while they draw more than their max.",
            {t: h.energy_ws for t, h in held.items()},
        ),
        (
            "job_above_max_joules",
            "Of that, what jobs drew beyond est while they drew more than their max.",
            {t: h.above_max_ws for t, h in held.items()},
        ),
        ("job_run_seconds", "Time that jobs were on nodes.", {t: h.run_s for t, h in held.items()}),
        ("job_node_seconds", "The same × their nodes.", {t: h.node_s for t, h in held.items()}),
        ("job_gpu_seconds", "The same × their GPUs.", {t: h.gpu_s for t, h in held.items()}),
    ):
        yield counted(f"{name}_total", meaning, "tier", values)
    meaning = "What jobs on nodes have cost by the tariff in force."
    yield many("job_cost_total", COUNTER, meaning, ("tier", "currency"), runs.costs.items())


def _by_two(
    name: str,
    meaning: str,
    label: str,
    values: Mapping[tuple[str, str], int],
    tiers: Iterable[str],
    always: Iterable[str],
) -> Metric:
    """Counters by tier and one label more; those that may come are there from the start."""
    words = [str(word) for word in always]
    whole = {(tier, word): 0 for tier in tiers for word in words}
    whole |= {(tier, str(word)): number for (tier, word), number in values.items()}
    return many(name, COUNTER, meaning, ("tier", label), whole.items())


def _histograms(
    name: str, meaning: str, found: Mapping[str, Histogram], tiers: Iterable[str], bounds: tuple[int, ...]
) -> Metric:
    whole = {**{tier: Histogram(bounds) for tier in tiers}, **found}
    return histograms(name, meaning, "tier", {tier: histogram.read() for tier, histogram in whole.items()})
