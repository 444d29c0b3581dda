"""Metrics of zones and feeds: the numbers of `spower zones`, and what follows from them."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from slurm_power.core.steps import Steps
from slurm_power.ports import Kind, LicenseRecord
from slurm_power.ports.metrics import Metric, MetricKind
from slurm_power.service import views
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import disagree, drawn
from slurm_power.service.draws import Element
from slurm_power.service.metric_forms import GAUGE, many
from slurm_power.service.pulse import Pulse

Row = views.Row
_Make = Callable[[Desk, str, Mapping[str, LicenseRecord]], Row]
_AT_ONCE = 5
"""Zones and feeds whose rows are made before others get their turn."""
_NUMBERS = (
    ("limit_watts", "limit_w", "What it may carry now: the least of declared, breaker and cooling, less derates."),
    ("derated_watts", "derated_w", "What is taken off what the site file lets it carry."),
    ("usable_watts", "usable_w", "What may be planned: the limit less the margin."),
    ("baseline_watts", "baseline_w", "What it draws without jobs."),
    ("committed_watts", "committed_w", "Baseline, est of all claims of jobs, and what reservations keep unused."),
    ("burst_watts", "burst_w", "What may come on top of what is committed."),
    ("headroom_watts", "headroom_w", "Usable less committed and stray; below 0 after a cut."),
    ("room_watts", "room_w", "The most est that one more job without burst could have by this element alone."),
    ("measured_watts", "measured_w", "What it draws as measured, smoothed; nothing where no fresh reading is known."),
    ("stray_watts", "stray_w", "What it draws beyond what its jobs on nodes asked for."),
    ("overdraw_watts", "over_w", "By how much the measured draw passes the limit; 0 where it does not."),
    ("telemetry_stale", "stale", "1 where nothing fresh is known of its draw; nothing where it is not measured."),
    ("disagreement_watts", "apart_w", "By how much two sources differ, if by more than the site allows; else 0."),
    ("license_total_watts", "license_total", "Total of its licence as slurmctld counts it."),
    ("license_used_watts", "license_used", "Used of its licence as slurmctld counts it."),
    ("cut", "cut", "1 where a derate or a reload has cut it, and it has held more than it may since."),
)
"""Suffix, key of the row, meaning."""
_OF_ZONES = (
    ("reserved_watts", "reserved_w", "What reservations keep now and their jobs do not use."),
    ("jobs", "jobs", "Claims of jobs: admitted, starting or on nodes."),
    ("nodes_up", "nodes_up", "Nodes on which Slurm would start a job once they are free."),
    ("nodes_idle", "nodes_idle", "Of these, the ones that are free."),
    ("thermal_critical", "critical", "1 where its thermal state is critical: it admits nothing."),
)
_ZONE_INFO = ("name", "lane", "redundancy")
_FEED_INFO = ("name", "side", "kind", "parent")


def floor_metrics(desk: Desk, pulse: Pulse) -> Steps[list[Metric]]:
    """All of zones and feeds, by what Slurm was last seen to count."""
    counted = {record.name: record for record in pulse.licenses}
    zones = yield from _rows(desk, Kind.ZONE, views.zone_row, sorted(desk.site.topology.zones), counted)
    feeds = yield from _rows(desk, Kind.FEED, views.feed_row, sorted(desk.site.topology.feeds), counted)
    found: list[Metric] = []
    for metric in _all(zones, feeds, pulse):
        yield
        found.append(metric)
    return found


def _rows(
    desk: Desk, kind: Kind, make: _Make, names: Sequence[str], counted: Mapping[str, LicenseRecord]
) -> Steps[list[Row]]:
    """The rows, of what is there still: another site file may come into force between two of them."""
    found = []
    for number, name in enumerate(names):
        if number % _AT_ONCE == 0:
            yield
        if name in desk.ledger.meters:
            row = make(desk, name, counted)
            found.append({**row, **_beside(desk, Element(kind, name)), "critical": row.get("thermal") == "critical"})
    return found


def _beside(desk: Desk, element: Element) -> Row:
    """What does not stand in its row."""
    name, draws, draw = element.name, desk.measured.draws, drawn(desk, element)
    declared_w = desk.site.topology.declared_w(name) or 0
    differ = disagree(desk, element)
    apart_w = differ[1] - differ[0] if differ is not None else 0
    return {
        "measured_w": draw.smooth_w if draw is not None else None,
        "derated_w": max(declared_w - desk.ledger.meters[name].limit_w, 0),
        "cut": name in desk.preempting.cuts,
        "apart_w": apart_w if draws.measured(element) else None,
    }


def _all(zones: Sequence[Row], feeds: Sequence[Row], pulse: Pulse) -> Iterator[Metric]:
    for what, rows, numbers in (("zone", zones, _NUMBERS + _OF_ZONES), ("feed", feeds, _NUMBERS)):
        for suffix, key, meaning in numbers:
            yield _of(what, suffix, meaning, rows, key)
        names = [str(row["name"]) for row in rows if row["name"] in pulse.breakers]
        breakers = (((name,), pulse.breakers[name]) for name in names)
        meaning = "1: its breaker is open; nothing where no source tells."
        yield many(f"{what}_breaker_open", GAUGE, meaning, (what,), breakers)
    heat = (((str(row["name"]),), pulse.heat[str(row["name"])]) for row in zones if row["name"] in pulse.heat)
    meaning = "Steps of `thermal` that heat has taken off its limit; nothing where no source tells its temperature."
    yield many("zone_heat_steps", GAUGE, meaning, ("zone",), heat)
    yield _info("zone", zones, _ZONE_INFO)
    yield _info("feed", feeds, _FEED_INFO)


def _of(what: str, suffix: str, meaning: str, rows: Sequence[Row], key: str) -> Metric:
    """One number of each row, where it is known; the rows are in order of name."""
    known = ((str(row["name"]), row[key]) for row in rows)
    samples = [((name,), float(value)) for name, value in known if isinstance(value, (int, float))]
    return Metric(f"slurm_power_{what}_{suffix}", MetricKind.GAUGE, meaning, (what,), samples)


def _info(what: str, rows: Sequence[Row], keys: Sequence[str]) -> Metric:
    values = ((tuple(str(row[key] or "") for key in keys), 1.0) for row in rows)
    return many(f"{what}_info", GAUGE, f"What the site file says of a {what}.", (what, *keys[1:]), values)
