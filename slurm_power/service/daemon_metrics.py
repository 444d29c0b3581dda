"""Metrics of the daemon itself: rounds, the database, Slurm's answers, the hook's; and what is in force."""

from collections import Counter
from collections.abc import Iterable

from slurm_power.core.giving_way import LIVE, Trigger
from slurm_power.core.policy import Mode
from slurm_power.ports.metrics import Metric
from slurm_power.service.desk import Desk
from slurm_power.service.metric_forms import COUNTER, GAUGE, histograms, many, one
from slurm_power.service.pulse import Pulse


def daemon_metrics(desk: Desk, pulse: Pulse) -> list[Metric]:
    """All of the daemon, of what is in force, and of the derates and preemptions that there are now."""
    return [*_of_desk(desk), *_of_tiers(desk), *_of_pulse(pulse), *_of_others(pulse)]


def _of_desk(desk: Desk) -> Iterable[Metric]:
    modes = (((str(mode),), float(mode is desk.mode)) for mode in Mode)
    yield many("mode", GAUGE, "1 for the mode that is in force, 0 for the others.", ("mode",), modes)
    major, minor, patch = desk.version
    version = f"{major}.{minor:02d}.{patch}"
    yield many("slurm_info", GAUGE, "The Slurm that is scheduled for.", ("version",), [((version,), 1)])
    yield one("claims", GAUGE, "Live claims in the ledger, those of reservations included.", len(desk.ledger.claims))
    yield one("faults_total", COUNTER, "Faults with single jobs that nobody foresaw; see the log.", desk.faults.count)
    yield one("faulty_jobs", GAUGE, "Jobs that cannot be judged by such a fault now.", len(desk.faults.by_key))
    now = desk.ledger.now
    derates = Counter("active" if one.window.start <= now else "planned" for one in desk.derates)
    states = (((state,), derates[state]) for state in ("active", "planned"))
    yield many("derates", GAUGE, "Derates that hold now, and those to come.", ("state",), states)
    going = Counter((str(each.trigger), str(each.stage)) for each in desk.preempting)
    every = ((str(trigger), str(stage)) for trigger in Trigger for stage in LIVE)
    yield many(
        "preemptions", GAUGE, "Preemptions under way.", ("trigger", "stage"), ((key, going[key]) for key in every)
    )
    giving = Counter(victim.tier for each in desk.preempting for victim in each.victims)
    yield many(
        "preemption_victims", GAUGE, "Jobs that are giving way, or have been told that they will.", ("tier",),
        (((tier.name,), giving[tier.name]) for tier in desk.tiers),
    )  # fmt: skip


def _of_tiers(desk: Desk) -> Iterable[Metric]:
    tiers, levels = [tier.name for tier in desk.tiers], desk.site.sla or {}
    delays = [((tier,), float(levels[tier].max_delay)) for tier in tiers if tier in levels]
    budgets = [((tier,), float(levels[tier].error_budget)) for tier in tiers if tier in levels]
    yield many("sla_max_delay_seconds", GAUGE, "The longest placement delay that a tier promises.", ("tier",), delays)
    yield many("sla_error_budget_ratio", GAUGE, "Part of a tier's runs that may miss it.", ("tier",), budgets)


def _of_pulse(pulse: Pulse) -> Iterable[Metric]:
    yield many("build_info", GAUGE, "The daemon's version.", ("version",), [((pulse.version,), 1)])
    yield one("rounds_total", COUNTER, "Good rounds: Slurm was read, jobs were judged.", pulse.rounds)
    yield one("round_failures_total", COUNTER, "Rounds that failed.", pulse.failures)
    meaning = "When the last good round ended; 0 before the first."
    yield one("round_last_success_timestamp_seconds", GAUGE, meaning, pulse.last_good)
    yield one("slurm_jobs", GAUGE, "Jobs that Slurm has shown, ended ones included.", pulse.jobs)
    yield one("slurm_writes_total", COUNTER, "Changes of jobs that were written to Slurm.", pulse.writes)
    yield one("store_waiting_rows", GAUGE, "What is not written to the database yet.", pulse.store_waiting)
    yield one("store_failures_total", COUNTER, "Attempts to write to the database that failed.", pulse.store_failures)
    yield one("store_lost_rows_total", COUNTER, "What was never written to the database.", pulse.store_lost)
    yield one("store_failing", GAUGE, "1 if the last attempt to write to the database failed.", pulse.store_failing)
    miscounts = (((name,), by_w) for name, by_w in pulse.miscounts.items())
    yield many(
        "license_miscount_watts", GAUGE, "By how much Slurm counts more than its jobs hold, or less (negative).",
        ("license",), miscounts,
    )  # fmt: skip


def _of_others(pulse: Pulse) -> Iterable[Metric]:
    """Whom the daemon asks, and who asks it."""
    yield histograms("hook_duration_seconds", "How long answers to slurmctld's hook and gate took.", "op", pulse.hook)
    durations = {name: command.durations for name, command in pulse.commands.items()}
    yield histograms("slurm_command_duration_seconds", "How long Slurm's commands took.", "command", durations)
    failures = []
    for name, command in pulse.commands.items():
        failures += [((name, "failed"), command.failed - command.late), ((name, "timeout"), command.late)]
    yield many(
        "slurm_command_failures_total", COUNTER, "Slurm's commands that failed.", ("command", "cause"), failures
    )
    up = (((source.name, source.type), source.up) for source in pulse.sources)
    meaning = "1 if a source of telemetry could be read, and made sense, when it was last asked."
    yield many("source_up", GAUGE, meaning, ("source", "type"), up)
    drift = (((kind,), number) for kind, number in (pulse.drift or {}).items())
    yield many("drift", GAUGE, "Findings of reconciliation that are left for somebody to mend.", ("kind",), drift)
