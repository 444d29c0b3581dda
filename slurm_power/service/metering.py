"""What jobs and reservations come to, as it happens: watt-seconds, scores, and runs judged by their service level.

Told by the book of every change of a job's state, and by the reservations of each of theirs. Only jobs on nodes count:
what was admitted and has not started draws nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from slurm_power.config import Site
from slurm_power.core.accrual import Accrual, Held
from slurm_power.core.admission import Hold, Reject
from slurm_power.core.claim import Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.lifecycle import State
from slurm_power.core.overage import Overages
from slurm_power.core.reservation import OPEN, Owner, Reservation, WhenShort
from slurm_power.core.score import Standings, tenants
from slurm_power.core.service_level import Miss, Promise, Run, cause_of, judge
from slurm_power.core.steps import Steps
from slurm_power.core.usage import Share, Usage
from slurm_power.core.want import Aspect, Want, over
from slurm_power.core.window import FOREVER, Window
from slurm_power.ports import Decision, Rule
from slurm_power.service.book import Entry, Journal
from slurm_power.service.costs import total_of
from slurm_power.service.envelopes import envelope_of
from slurm_power.service.job_draws import JobDraws, RunDraw
from slurm_power.service.profiles import Profiles

RUN = "run"
"""The action of a line about a run that is over: what it declared, drew and cost."""
MISSED = "sla"
"""The action of a line of the audit log about a run that missed its service level."""
_AT_ONCE = 500
"""Zones and feeds that are looked at before others get their turn."""
_FOUND_S = 60
"""A job that was submitted so long before we first saw it has waited while we were away."""


@dataclass(slots=True)
class _Life:
    """How a job has fared since its last run. One that was on nodes when it was found has none before that ends."""

    since: int
    """When it came to stand as it does."""
    state: State = State.FREE
    waited_s: dict[Miss, int] | None = None
    """By what it has waited for; None where it has not."""
    preempted: bool = False

    def wait(self, cause: Miss | None, seconds: int) -> None:
        """It has waited for that so long; None where that does not count."""
        if cause is not None and seconds > 0:
            waited_s = self.waited_s = self.waited_s or {}
            waited_s[cause] = waited_s.get(cause, 0) + seconds


class Metering:
    """Usage of what is on the desk. `now` of each call is the ledger's."""

    def __init__(self, site: Site, journal: Journal, now: int) -> None:
        self.accrual = Accrual(now)
        self.drawn = JobDraws()
        self.profiles = Profiles(now)
        self._standings = Standings()
        self._site = site
        self._journal = journal
        self._overages = Overages()
        self._lives: dict[str, _Life] = {}
        self._accuracies: dict[str, float] = {}
        """As of when usage was last taken: the queue asks for each job."""
        self._tenants: dict[str, tuple[str, ...]] = {}
        """Id of a reservation → under which names its use counts."""

    def resume(self, through: int) -> None:
        """Go on from the instant up to which usage was written down; before anything else is told."""
        self.accrual = Accrual(min(through, self.accrual.through))

    def change_site(self, site: Site) -> None:
        """Another site file."""
        self._site = site
        self._overages.only({*site.topology.zones, *site.topology.feeds})

    def look(self, ledger: Ledger) -> Steps[None]:
        """Note which zones and feeds have more committed than they may now; what nobody looks at is not known."""
        names, found = list(ledger.meters), set[Want]()
        for start in range(0, len(names), _AT_ONCE):
            found.update(over(ledger.meters, names[start : start + _AT_ONCE]))
            yield
        self._overages.tell(found, ledger.now)

    # -- jobs ---------------------------------------------------------------------------------------------------

    def moved(self, entry: Entry, claim: Claim | None, now: int) -> None:
        """A job is new, or has come to another state or claim."""
        runs, held = entry.state is State.RUNNING, self.accrual.held(entry.key)
        if held is None:
            self._waited(entry, now)
        elif not runs:
            self._ended(entry, held, now)
            self._lives[entry.key] = _Life(now, entry.state)
        if runs and claim is not None:
            self.drawn.goes_on(entry.key, claim.window.start)
            self.accrual.start(entry.key, self.holding(entry, claim), now)

    def dropped(self, entry: Entry, now: int) -> None:
        """A job is gone."""
        held = self.accrual.held(entry.key)
        if held is not None:
            self._ended(entry, held, now)
        self._lives.pop(entry.key, None)

    def ended_with(self, entry: Entry, word: str) -> None:
        """How it ended costs the same."""

    def draws_more(self, entry: Entry, watts: int, seconds: int, now: int) -> None:
        """A run has drawn so much for so long, and more than its max: what is beyond its est is charged as well."""
        held = self.accrual.held(entry.key)
        if held is not None and watts > held.est_w:
            more_ws = (watts - held.est_w) * seconds
            self.accrual.note(held.share, now, jobs_ws=more_ws)
            self.drawn.charge(entry.key, more_ws, now)

    def preempted(self, key: str) -> None:
        """The running job of that key is being preempted: where it was promised not to be, its run misses that."""
        life = self._lives.setdefault(key, _Life(self.accrual.through, State.RUNNING))
        life.preempted = True

    def stayed(self, key: str) -> None:
        """It was to be preempted, and has not left its nodes."""
        life = self._lives.get(key)
        if life is not None:
            life.preempted = False

    def _waited(self, entry: Entry, now: int) -> None:
        life, alone = self._lives.get(entry.key), entry.key == entry.token
        if life is None:
            if alone and entry.state is State.RUNNING:
                return  # it was found on its nodes
            life = self._born(entry, now)
        before, life.state = life.state, entry.state
        since, life.since = life.since, now
        if before is State.FREE and entry.state is not State.WAITING:
            return  # it is new, and waits for nothing
        verdict, ask = entry.verdict, entry.ask
        code = verdict.reasons[0].code if isinstance(verdict, (Hold, Reject)) and verdict.reasons else None
        life.wait(cause_of(before, code), now - since)
        if before is State.FREE and entry.state is State.WAITING and ask is not None and alone:
            eligible = max(ask.submitted, ask.request.not_before)
            if entry.created - eligible >= _FOUND_S:
                life.wait(Miss.POWER, since - eligible)

    def _born(self, entry: Entry, now: int) -> _Life:
        """The life of a job of which nothing was known; a task of an array has waited with the rest of it."""
        life = self._lives[entry.key] = _Life(now)
        rest = self._lives.get(entry.token) if entry.key != entry.token else None
        if rest is not None:
            life.waited_s = dict(rest.waited_s) if rest.waited_s else None
            life.wait(cause_of(rest.state, None), now - rest.since)
        return life

    def _ended(self, entry: Entry, held: Held, now: int) -> None:
        self.accrual.stop(entry.key, now)
        ran_s, asked_s, drawn = max(now - held.since, 0), limit_s(entry), self.drawn.take(entry.key)
        off_ws = held.est_w * abs(asked_s - ran_s) if asked_s is not None else 0
        off_ws += abs(held.est_w - (drawn.forecast_w(ran_s) or held.est_w)) * ran_s
        missed = self._misses(entry, held, now)
        self._tell(entry, held, drawn, now)
        sums = {"ended_ws": held.est_w * ran_s, "off_ws": off_ws, "runs": 1, "missed": int(missed)}
        self.accrual.note(held.share, now, **sums)

    def _misses(self, entry: Entry, held: Held, now: int) -> bool:
        """Whether the run has missed its service level; a miss is written down with its cause."""
        tier, level = self._site.policy.tiers.get(held.share.tier), (self._site.sla or {}).get(held.share.tier)
        if tier is None or level is None:
            return False
        run, promise = self._run(entry, held, now), level.promise(gives_way=tier.notice_s is not None)
        miss = judge(run, promise)
        if miss is None:
            return False
        rule = f"{Rule.SERVICE_LEVEL}.{tier.name}"
        self._record(entry, held, now, action=MISSED, cause=miss, rule=rule, numbers=_numbers(run, promise))
        return True

    def _tell(self, entry: Entry, held: Held, drawn: RunDraw, now: int) -> None:
        """For its owner: what a run declared, drew and cost."""
        total = total_of(held, now, self._site.tariffs, drawn.above_max_ws)
        self.profiles.ended(entry, drawn, held, now)
        numbers = {
            "est_w": held.est_w,
            "max_w": sum(charge.max_w for charge in held.charges),
            "run_s": max(now - held.since, 0),
            "held_ws": total.jobs_ws,
            **drawn.numbers(),
        }
        numbers |= {f"cost_milli_{currency}": round(cost * 1_000) for currency, cost in total.costs.items()}
        self._record(entry, held, now, action=RUN, cause=held.share.tier, rule=Rule.METERING, numbers=numbers)

    def _record(
        self, entry: Entry, held: Held, now: int, *, action: str, cause: str, rule: str, numbers: Mapping[str, int]
    ) -> None:
        """A line of the audit log about a run that is over."""
        self._journal.record(
            Decision(
                at=now,
                job=entry.name,
                token=entry.token,
                uid=held.share.uid,
                account=held.share.account,
                action=action,
                mode=self._site.policy.mode,
                zones=tuple(charge.zone for charge in held.charges),
                cause=cause,
                rule=rule,
                numbers=numbers,
            )
        )

    def _run(self, entry: Entry, held: Held, now: int) -> Run:
        """How the run that ends now has fared; of the wait of one that was found on its nodes nothing is known."""
        life, asked_s = self._lives.get(entry.key), limit_s(entry)
        return Run(
            (life.waited_s if life is not None else None) or {},
            max(now - held.since, 0),
            FOREVER if asked_s is None else asked_s,
            life is not None and life.preempted,
            self._short_s(held, Aspect.PACKING, now),
            self._short_s(held, Aspect.BURST, now),
        )

    def _short_s(self, held: Held, aspect: Aspect, now: int) -> int:
        """How long a zone or feed that carries the job was over while it did, in s; by the floor as it is now."""
        taps = self._site.topology.taps
        zones = [charge.zone for charge in held.charges]
        feeds = [tap.feed for zone in zones for tap in taps.get(zone, ())]
        return self._overages.seconds({Want(name, aspect) for name in (*zones, *feeds)}, held.since, now)

    def holding(self, entry: Entry, claim: Claim) -> Held:
        """What a job holds on nodes with this claim."""
        within = claim.within
        share = Share(within.rpartition(":")[2] if within else "", claim.account, claim.uid, claim.tier)
        tier = self._site.policy.tiers.get(claim.tier)
        yields = tier is not None and tier.notice_s is not None and _checkpoints(entry)
        return Held(share, claim.charges, claim.window.start, within, yields)

    # -- reservations -------------------------------------------------------------------------------------------

    def reserved(self, one: Reservation, now: int) -> None:
        """A reservation has changed."""
        self._tenants[one.id] = tenants(one.terms.owner)
        if one.state not in OPEN:
            self.accrual.close(one.claim_id, now)
            return
        share = Share(one.id, ",".join(one.terms.owner.accounts), one.created_by, one.terms.tier)
        granted = {grant.zone: grant.watts_w for grant in one.grants}
        window = one.terms.window
        if one.terms.policy is WhenShort.PREEMPT:  # it began when its watts came free
            window = Window(min(max(window.start, one.since), window.end - 1), window.end)
        self.accrual.open(one.claim_id, share, granted, window, now)

    # -- standings ----------------------------------------------------------------------------------------------

    def take(self, now: int) -> list[Usage]:
        """The usage since the last time; scores count it from here on."""
        rows = self.accrual.take(now)
        self.recall(rows)
        return rows

    def recall(self, rows: Sequence[Usage], owners: Mapping[str, Owner] | None = None) -> None:
        """Count usage in the scores; `owners` of reservations that may be over, by id."""
        for one_id, owner in (owners or {}).items():
            self._tenants.setdefault(one_id, tenants(owner))
        self._accuracies.clear()
        for row in rows:
            self._standings.add(self._tenants.get(row.reservation, ()), row.account, row)

    def forget(self, now: int) -> None:
        """Drop what is too old to count."""
        self._standings.forget(now, self._half_life_s)

    def score(self, owner: Owner, now: int) -> Fraction | None:
        """How much of what the owner has reserved was used; None where he has reserved nothing."""
        return self._standings.score(tenants(owner), now, self._half_life_s)

    def accuracy(self, account: str, now: int) -> float:
        """How well the account forecasts, 0 to 1."""
        known = self._accuracies.get(account)
        if known is None:
            known = self._accuracies[account] = self._standings.accuracy(account, now, self._half_life_s)
        return known

    @property
    def _half_life_s(self) -> int:
        return self._site.reservations.score.half_life


def _numbers(run: Run, promise: Promise) -> dict[str, int]:
    """What a miss was judged by, in s; what the tier was not promised is left out."""
    numbers = {"delay_s": run.delay_s, "max_delay_s": promise.max_delay_s}
    numbers |= {f"{cause}_s": seconds for cause, seconds in sorted(run.waited_s.items())}
    if promise.max_shortfall_s < FOREVER:
        numbers |= {"shortfall_s": run.shortfall_s, "max_shortfall_s": promise.max_shortfall_s}
    if promise.max_burst_shortfall_s < FOREVER:
        numbers |= {"burst_shortfall_s": run.burst_shortfall_s, "max_burst_shortfall_s": promise.max_burst_shortfall_s}
    if 0 < promise.min_run_s < FOREVER:
        numbers |= {"run_s": run.ran_s, "min_run_s": promise.min_run_s}
    return numbers


def limit_s(entry: Entry) -> int | None:
    """The time limit that a job asked for, in s."""
    if entry.record is not None:
        return entry.record.time_limit_s
    return entry.ask.request.time_limit_s if entry.ask is not None else None


def _checkpoints(entry: Entry) -> bool:
    """Whether its comment says how often it checkpoints."""
    envelope = envelope_of(entry, "ckpt")
    return envelope is not None and envelope.ckpt_s is not None
