"""The end of the demo: the racks at their fullest, the run once more by Slurm's accounting, and the judgement."""

import time

from slurm_power.adapters.slurm import Runner
from slurm_power.config import Site
from slurm_power.core.units import format_watts
from slurm_power.demo.history import Run, instants, read_runs
from slurm_power.demo.reckoning import reckon
from slurm_power.demo.stage import Stage, plain_table
from slurm_power.demo.watch import Known, Peak, Watch, breaches

_ACCOUNTING_S = 15.0


def judge(stage: Stage, site: Site, watch: Watch, runner: Runner, known: Known) -> bool:
    """Show the tables and whether any instant passed a budget; True if none did and all went as told."""
    findings = watch.findings
    runs = _runs(runner)
    if runs is None:
        findings.blame(["Slurm's accounting does not know the end of every job"])
    replayed = list(instants(runs or (), known))
    for together in replayed:
        findings.blame(breaches(watch.budgets, reckon(site.topology, site.policy.burst, together)))
    if not findings.compared or not replayed:
        findings.blame(["nothing was compared"])
    stage.chapter("The racks at their fullest")
    _show_peaks(stage, site, watch)
    stage.tell(
        f"{findings.samples} instants sampled (Slurm's licence count compared at {findings.compared} of them), and all "
        f"{len(replayed)} instants of Slurm's accounting at which one of {len(runs or ())} jobs and tasks started."
    )
    for fault in findings.faults:
        stage.tell(f"FAULT: {fault}", "bold red")
    if not findings.faults:
        stage.tell("No budget was passed at any of them, and no job ran that was not admitted.", "bold green")
    return not findings.faults


def _runs(runner: Runner) -> list[Run] | None:
    """What ran; slurmdbd hears of an end a moment later."""
    end = time.monotonic() + _ACCOUNTING_S
    while (runs := read_runs(runner)) is None and time.monotonic() < end:
        time.sleep(0.5)
    return runs


def _show_peaks(stage: Stage, site: Site, watch: Watch) -> None:
    """Limits as planned; the most that was committed, that ran, and that Slurm counted."""
    for title, names in (("RACK", site.topology.zones), ("FEED", site.topology.feeds)):
        table = plain_table(title, "LIMIT", "USABLE", "BASELINE", "COMMITTED", "RUNNING", "SLURM", "HEADROOM LEFT")
        for name in sorted(names):
            budget, peak = watch.budgets[name], watch.findings.peaks.get(name, Peak())
            limits = (budget.limit_w, budget.usable_w, budget.baseline_w, peak.committed_w, peak.running_w)
            counted = format_watts(peak.counted_w) if _is_counted(watch, name) else "-"
            left = format_watts(budget.usable_w - peak.committed_w)
            table.add_row(name, *map(format_watts, limits), counted, left)
        stage.table(table)
    stage.tell("COMMITTED: the daemon's ledger, with the baseline. RUNNING: what this demo adds up of running jobs.")
    stage.tell("SLURM: licences in use, by slurmctld's own count. RUNNING and SLURM are without the baseline.")


def _is_counted(watch: Watch, name: str) -> bool:
    rows = (*watch.zones.get("zones", ()), *watch.zones.get("feeds", ()))
    return any(row["name"] == name and row["license"] is not None for row in rows)
