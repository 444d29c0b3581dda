"""What a run declared, drew and cost: while it lasts, and by the audit log when it is over."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from slurm_power.core.showback import rounded, watt_hours
from slurm_power.core.units import format_duration, format_energy, format_watts
from slurm_power.ports import Decision
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk

Row = dict[str, object]
_COST = "cost_milli_"


def drawn_row(desk: Desk, entry: Entry) -> Row | None:
    """What a job has drawn so far; None where nothing is known."""
    run = desk.metering.drawn.get(entry.key)
    return _drawn({**run.numbers(), "latest_w": run.latest_w}) if run is not None else None


def charged_more(desk: Desk, entry: Entry) -> str:
    """The end of a sentence: what a job is charged so far since it drew more than its max; empty for nothing."""
    run = desk.metering.drawn.get(entry.key)
    return _charged_more(run.charged_ws) if run is not None else ""


def ended(name: str, lines: Sequence[Decision], schema: int) -> Row | None:
    """`spower explain` of a job that is gone, by the lines about its runs; None where there is none."""
    if not lines:
        return None
    last = lines[-1]
    numbers, drawn = last.numbers, _drawn(last.numbers)
    costs: list[Row] = [
        {"currency": key.removeprefix(_COST), "amount": rounded(Fraction(milli, 1_000))}
        for key, milli in sorted(numbers.items())
        if key.startswith(_COST)
    ]
    return {
        "schema": schema,
        "job": last.job,
        "job_id": int(last.job) if last.job.isdigit() else None,
        "state": "ended",
        "verdict": "admit",
        "tier": last.cause,
        "power_class": None,
        "zones": list(last.zones),
        "est_w": numbers["est_w"],
        "max_w": numbers["max_w"],
        "est_from": None,
        "reasons": [],
        "earliest_start": None,
        "helps": [],
        "note": "",
        "share": {
            "held_wh": watt_hours(numbers["held_ws"]),
            "above_max_wh": watt_hours(numbers.get("above_max_ws", 0)),
            "costs": costs,
            "limit_wh": None,
            "limit_costs": [],
        },
        "drawn": drawn,
        "preemption": "",
        "sentence": _sentence(name, len(lines), numbers, drawn, costs),
    }


def _drawn(numbers: Mapping[str, int]) -> Row | None:
    if "measured_s" not in numbers:
        return None
    return {
        "p50_w": numbers["p50_w"],
        "p95_w": numbers["p95_w"],
        "peak_w": numbers["peak_w"],
        "latest_w": numbers.get("latest_w"),
        "drawn_wh": watt_hours(numbers["drawn_ws"]),
        "measured_s": numbers["measured_s"],
        "whole": bool(numbers["whole"]),
    }


def _sentence(name: str, runs: int, numbers: Mapping[str, int], drawn: Row | None, costs: Sequence[Row]) -> str:
    declared = f"declared {format_watts(numbers['est_w'])} (at most {format_watts(numbers['max_w'])})"
    cost = ", and cost " + " and ".join(f"{one['amount']} {one['currency']}" for one in costs) if costs else ""
    more = _charged_more(numbers.get("above_max_ws", 0))
    times = f" in the last of {runs} runs" if runs > 1 else ""
    return (
        f"Job {name} has ended; it {declared}, ran for {format_duration(numbers['run_s'])}{times}, "
        f"{_told(drawn, numbers['run_s'])}{cost}{more}."
    )


def _charged_more(watt_seconds: int) -> str:
    """What a run is charged since it drew more than its max, in words; empty for nothing."""
    if not watt_seconds:
        return ""
    return f"; {format_energy(watt_hours(watt_seconds))} of its energy is charged for drawing above its max"


def _told(drawn: Row | None, run_s: int) -> str:
    """In words what was measured of it."""
    if drawn is None:
        return "and nothing is known of what it drew"
    p50, p95, peak = (format_watts(int(str(drawn[key]))) for key in ("p50_w", "p95_w", "peak_w"))
    measured_s = int(str(drawn["measured_s"]))
    part = "" if measured_s * 10 >= run_s * 9 else f" in the {format_duration(measured_s)} that were measured"
    how = "" if drawn["whole"] else ", as its part of what it shared"
    return f"drew {p50} in the median, {p95} at the 95th percentile and {peak} at its peak{part}{how}"
