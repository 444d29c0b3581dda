"""What has become of submissions, launches, promises and reservations since the daemon started, by tier.

Told of every line of the audit log as it is recorded. Counters begin at 0 with the daemon, but for reservations: all
that there ever were are in the database.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from slurm_power.core.giving_way import Preemption, Trigger, Victim
from slurm_power.core.reservation import LIVE, ReservationState
from slurm_power.ports import Decision, Rule, StoredJob, StoredReservation
from slurm_power.service.book import Journal
from slurm_power.service.desk import Desk
from slurm_power.service.job_metrics import NO_TIER, tier_of
from slurm_power.service.metering import MISSED
from slurm_power.service.preempt_lines import GAVE_WAY
from slurm_power.service.release import UNBIND
from slurm_power.service.shedding import zones_of

OVER = tuple(state for state in ReservationState if state not in LIVE)
"""States in which a reservation is over."""
SUBMITTED = "submission"
"""The cause of a line about a submission."""
FAILED = {"deny": "gate", "bind-failed": "slurm", UNBIND: "late"}
"""Action → why a job that had its place did not start: denied at the gate, refused by Slurm, not started in time."""
UNKNOWN = "unknown"


@dataclass(slots=True)
class Outcomes:
    """The counters, and the desk that they are about."""

    desk: Desk
    decisions: Counter[str] = field(default_factory=Counter)
    """By action."""
    submissions: Counter[str] = field(default_factory=Counter)
    """By verdict."""
    failed_launches: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By tier and cause."""
    preempted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By tier and trigger."""
    emergencies: Counter[str] = field(default_factory=Counter)
    """By tier."""
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Runs that missed their service level, by tier and cause."""
    reservations: Counter[str] = field(default_factory=Counter)
    """Those that are over, by state."""

    def resume(self, rows: Iterable[StoredReservation]) -> None:
        """Reservations that were over before the start count as well."""
        self.reservations.update(row.state for row in rows if not row.live)

    def recorded(self, line: Decision) -> None:
        """A line has been recorded."""
        self.decisions[line.action] += 1
        if line.cause == SUBMITTED:
            self.submissions[line.action] += 1
        elif line.action in FAILED:
            if line.action != UNBIND or line.rule == Rule.START_GRACE:
                self.failed_launches[self._tier(line), FAILED[line.action]] += 1
        elif line.action == GAVE_WAY:
            self._gave_way(line)
        elif line.action == MISSED:
            self.missed[line.rule.partition(".")[2], line.cause] += 1
        elif line.reservation and not line.job and line.action in OVER:
            self.reservations[line.action] += 1

    def _tier(self, line: Decision) -> str:
        book = self.desk.book
        array, _, task = line.job.partition("_")
        entry = book.of_task(int(array), int(task)) if array.isdigit() and task.isdigit() else None
        entry = entry or book.get(line.token)
        return tier_of(self.desk, entry) if entry is not None else NO_TIER

    def _gave_way(self, line: Decision) -> None:
        """A job is about to be taken off its nodes; both it and what it gives way to are there still."""
        one, victim = self._victim(line)
        if one is None or victim is None:
            tier = str(line.reasons[0].get("subject", NO_TIER)) if line.reasons else NO_TIER
            self.preempted[tier, UNKNOWN] += 1
            return
        self.preempted[victim.tier, one.trigger] += 1
        if one.trigger is Trigger.DRAW and self._trips(victim):
            self.emergencies[victim.tier] += 1

    def _victim(self, line: Decision) -> tuple[Preemption | None, Victim | None]:
        for one in self.desk.preempting:
            for victim in one.victims:
                if (victim.token, victim.job) == (line.token, line.job):
                    return one, victim
        return None, None

    def _trips(self, victim: Victim) -> bool:
        """Whether a breaker is about to trip where the victim runs."""
        zones = zones_of(self.desk, self.desk.measured.overdrawn.emergencies())
        claim = self.desk.ledger.claims.get(victim.key)
        return claim is not None and any(charge.zone in zones for charge in claim.charges)


class TellingJournal:
    """A journal that passes everything on, and tells of each line; at first there is nobody to tell."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.outcomes: Outcomes | None = None

    def save(self, job: StoredJob) -> None:
        """Keep what is promised about a job."""
        self._journal.save(job)

    def drop(self, token: str) -> None:
        """Forget a job."""
        self._journal.drop(token)

    def record(self, decision: Decision) -> None:
        """Append a line to the audit log."""
        self._journal.record(decision)
        if self.outcomes is not None:
            self.outcomes.recorded(decision)
