"""Metrics of the jobs that are there now: counts by state and tier, the queue, and what runs comes to.

No metric names a job or a user: everybody may read them.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from slurm_power.core.admission import Hold, Reject
from slurm_power.core.lifecycle import State
from slurm_power.core.service_level import cause_of
from slurm_power.core.showback import cost_of, in_force
from slurm_power.core.steps import Steps
from slurm_power.core.usage import HOUR_S, Usage
from slurm_power.ports.metrics import Metric
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.metric_forms import GAUGE, many

NO_TIER = "none"
"""In the place of the tier of a job that has none: power is none of its business, or it cannot be read."""
_UNJUDGED = "unjudged"
"""In the place of a reason, before the first pass that looks at the job."""
_AT_ONCE = 200


@dataclass(slots=True)
class _Counts:
    """What the jobs come to, by tier, and by state or reason beside it."""

    short: frozenset[str]
    """Zones that hold or draw more than they may, or hang on a feed that does."""
    max_delay_s: Mapping[str, int]
    jobs: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting_w: Counter[str] = field(default_factory=Counter)
    running_w: Counter[str] = field(default_factory=Counter)
    yielding_w: Counter[str] = field(default_factory=Counter)
    above_jobs: Counter[str] = field(default_factory=Counter)
    above_w: Counter[str] = field(default_factory=Counter)
    """What those draw beyond est who draw more than their max."""
    short_jobs: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    longest_s: dict[str, int] = field(default_factory=dict)


def job_metrics(desk: Desk) -> Steps[list[Metric]]:
    """All of the jobs that are there now."""
    delays = {tier: level.max_delay for tier, level in (desk.site.sla or {}).items()}
    short = yield from short_zones(desk)
    counts = _Counts(short, delays)
    for number, entry in enumerate(list(desk.book.entries.values())):
        if number % _AT_ONCE == 0:
            yield
        _count(desk, counts, entry)
    return _told(desk, counts)


def tier_of(desk: Desk, entry: Entry) -> str:
    """The tier of a job."""
    if entry.ask is not None:
        return entry.ask.request.tier.name
    claim = desk.ledger.claims.get(entry.key)
    return claim.tier if claim is not None and claim.tier else NO_TIER


def short_zones(desk: Desk) -> Steps[frozenset[str]]:
    """The zones that hold or draw more than they may, and those below such feeds."""
    found: set[str] = set()
    for number, (name, meter) in enumerate(list(desk.ledger.meters.items())):
        if number % _AT_ONCE == 0:
            yield
        over = meter.headroom_w < 0 or meter.committed_w + meter.burst_w > meter.limit_w
        if over or name in desk.measured.breaches:
            found.update(desk.site.topology.zones_under.get(name, (name,)))
    return frozenset(found)


def _count(desk: Desk, counts: _Counts, entry: Entry) -> None:
    tier = tier_of(desk, entry)
    counts.jobs[entry.state, tier] += 1
    if entry.state is State.WAITING:
        _count_waiting(desk, counts, entry, tier)
        return
    claim = desk.ledger.claims.get(entry.key)
    if claim is None:
        return
    counts.short_jobs[tier] += any(charge.zone in counts.short for charge in claim.charges)
    if entry.state is State.RUNNING:
        counts.running_w[tier] += claim.est_w
        held = desk.metering.accrual.held(entry.key)
        counts.yielding_w[tier] += claim.est_w if held is not None and held.yields else 0
        above = desk.measured.above.lasting(entry.key)
        if above is not None:
            counts.above_jobs[tier] += 1
            counts.above_w[tier] += max(above.watts - claim.est_w, 0)


def _count_waiting(desk: Desk, counts: _Counts, entry: Entry, tier: str) -> None:
    verdict = entry.verdict
    code = verdict.reasons[0].code if isinstance(verdict, (Hold, Reject)) and verdict.reasons else None
    counts.waiting[tier, code or _UNJUDGED] += 1
    if entry.ask is None:
        return
    counts.waiting_w[tier] += entry.ask.request.est_w
    if cause_of(entry.state, code) is None:
        return  # its class, its user or its reservation has it wait
    eligible = entry.record.eligible_time if entry.record is not None else None
    since = max(entry.ask.submitted, entry.ask.request.not_before, eligible or 0)
    waited_s = max(desk.ledger.now - since, 0)
    counts.longest_s[tier] = max(counts.longest_s.get(tier, 0), waited_s)
    counts.late[tier] += waited_s > counts.max_delay_s.get(tier, waited_s)


def _told(desk: Desk, counts: _Counts) -> list[Metric]:
    tiers = [tier.name for tier in desk.tiers]
    jobs = {(str(state), tier): counts.jobs[state, tier] for state in State for tier in (*tiers, NO_TIER)}
    waiting = {(tier, str(code)): number for (tier, code), number in counts.waiting.items()}
    meaning = "Jobs, tasks of arrays and pending rests of arrays that the daemon knows."
    found = [many("jobs", GAUGE, meaning, ("state", "tier"), jobs.items())]
    meaning = "Jobs in our queue, by the first reason that stands in the way."
    found.append(many("waiting_jobs", GAUGE, meaning, ("tier", "reason"), waiting.items()))
    for name, meaning, values in (
        ("waiting_watts", "What the jobs in our queue ask for (est).", counts.waiting_w),
        ("running_watts", "What jobs on nodes are reckoned with (est).", counts.running_w),
        (
            "jobs_short_of_headroom",
            "Jobs that are admitted or run where a zone or feed holds or draws more than it may.",
            counts.short_jobs,
        ),
        (
            "jobs_above_max",
            "Jobs that have drawn more than the max that they declared for a minute, and still do.",
            counts.above_jobs,
        ),
        (
            "head_wait_seconds",
            "How long the job in our queue that has waited longest has been eligible.",
            counts.longest_s,
        ),
        ("late_jobs", "Jobs in our queue for longer than the `max_delay` of their tier.", counts.late),
    ):
        found.append(many(name, GAUGE, meaning, ("tier",), (((tier,), values.get(tier, 0)) for tier in tiers)))
    return [*found, _cost_per_hour(desk, counts)]


def _cost_per_hour(desk: Desk, counts: _Counts) -> Metric:
    """What jobs on nodes cost by the tariff in force, for an hour as it is now."""
    tariff = in_force(desk.site.tariffs, desk.ledger.now)
    costs: dict[tuple[str, str], float] = {}
    for tier in (tier.name for tier in desk.tiers):
        if tariff is None:
            break
        jobs_ws = (counts.running_w[tier] + counts.above_w[tier]) * HOUR_S
        yielding_ws = counts.yielding_w[tier] * HOUR_S
        usage = Usage("", "", 0, tier, 0, jobs_ws=jobs_ws, yielding_ws=yielding_ws)
        costs[tier, tariff.currency] = float(cost_of(usage, tariff))
    meaning = "What jobs on nodes cost in an hour as they are now, by the tariff in force."
    return many("cost_per_hour", GAUGE, meaning, ("tier", "currency"), costs.items())
