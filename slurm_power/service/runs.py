"""How jobs have fared since the daemon started, by tier: waits, runs, results, and what they held on nodes.

Told by the book, after its metering, of every change of a job's state. What is billed is metered by `metering.py`; this
is the same as it happens, for whoever watches.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from slurm_power.core.claim import Claim
from slurm_power.core.histogram import Histogram
from slurm_power.core.immutable import immutable
from slurm_power.core.lifecycle import State
from slurm_power.core.showback import Tariff, cost_of, in_force
from slurm_power.core.usage import Usage
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.job_metrics import NO_TIER, tier_of

_M, _H, _D = 60, 3_600, 86_400
DELAYS_S = (10, 30, _M, 2 * _M, 5 * _M, 10 * _M, 30 * _M, _H, 2 * _H, 6 * _H, 12 * _H, _D, 2 * _D, 7 * _D)
"""Ranges of the time from submit to start."""
TURNAROUNDS_S = (_M, 5 * _M, 15 * _M, _H, 2 * _H, 4 * _H, 8 * _H, 12 * _H, _D, 2 * _D, 4 * _D, 7 * _D, 14 * _D, 30 * _D)
"""Ranges of the time from submit to finish."""
UNKNOWN = "unknown"
"""The result of a job that finished, where Slurm's word for it is not known."""
_LINGER_S = 5
"""So long a job that is gone may come back under another key: it was bound anew."""


@immutable
class Part:
    """What one job holds on nodes."""

    tier: str
    nodes: int
    gpus: int
    est_w: int
    yields: bool
    """Whether it may be preempted, and checkpoints."""


@dataclass(slots=True)
class Held:
    """What the jobs of one tier hold on nodes now, and what that has come to: W and s, and W × s."""

    jobs: int = 0
    nodes: int = 0
    gpus: int = 0
    est_w: int = 0
    yielding_w: int = 0
    run_s: int = 0
    node_s: int = 0
    gpu_s: int = 0
    energy_ws: int = 0
    above_max_ws: int = 0
    """Of that, what is charged beside est, since jobs drew more than their max."""
    unpriced_ws: int = 0
    unpriced_yielding_ws: int = 0

    def run(self, seconds: int) -> None:
        """So much time has passed."""
        self.run_s += self.jobs * seconds
        self.node_s += self.nodes * seconds
        self.gpu_s += self.gpus * seconds
        self.energy_ws += self.est_w * seconds
        self.unpriced_ws += self.est_w * seconds
        self.unpriced_yielding_ws += self.yielding_w * seconds

    def draw_more(self, more_ws: int) -> None:
        """A job is charged so much beside its est."""
        self.energy_ws += more_ws
        self.above_max_ws += more_ws
        self.unpriced_ws += more_ws

    def change(self, part: Part, sign: int) -> None:
        """A job holds this from now on, or no more."""
        self.jobs += sign
        self.nodes += sign * part.nodes
        self.gpus += sign * part.gpus
        self.est_w += sign * part.est_w
        self.yielding_w += sign * part.est_w if part.yields else 0


@dataclass(slots=True)
class _Life:
    """How far a job has come."""

    tier: str
    submitted: int
    started: bool
    """Whether it has ever been on nodes."""


@immutable
class _Gone:
    """A job that is gone from its nodes, and from Slurm."""

    life: _Life
    at: int
    result: str


class Runs:
    """Counts for a desk. `now` of each call is the ledger's."""

    def __init__(self, desk: Desk) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()
        """Runs, by tier and how: `finished` or `requeued`."""
        self.finished: Counter[tuple[str, str]] = Counter()
        """Jobs, by tier and result."""
        self.costs: dict[tuple[str, str], float] = {}
        """By tier and currency."""
        self.held: dict[str, Held] = {}
        """By tier."""
        self.delays: dict[str, Histogram] = {}
        """Submit to start in s, by tier."""
        self.turnarounds: dict[str, Histogram] = {}
        """Submit to finish in s, by tier."""
        self._desk = desk
        self._since = desk.ledger.now
        """Whoever started before that was counted by the daemon that was there then."""
        self._at = self._since
        self._lives: dict[str, _Life] = {}
        self._parts: dict[str, Part] = {}
        """Key of a job on nodes → what it holds."""
        self._gone: dict[int, _Gone] = {}
        self._results: dict[int, str] = {}

    # -- told by the book -----------------------------------------------------------------------------------------

    def moved(self, entry: Entry, claim: Claim | None, now: int) -> None:
        """A job is new, or has come to another state or claim."""
        life = self._life(entry, claim.tier if claim is not None else "", now)
        if entry.state is State.RUNNING and claim is not None:
            self._hold(entry.key, self._part(entry, claim), now)
            self._start(life, claim.window.start)
        elif entry.key in self._parts:
            if entry.state is State.FREE:  # it is on nodes still, and its zone is gone
                self._hold(entry.key, replace(self._parts[entry.key], est_w=0), now)
            else:
                self._hold(entry.key, None, now)
                self.ended[life.tier, "requeued"] += 1

    def dropped(self, entry: Entry, now: int) -> None:
        """A job is gone."""
        life = self._lives.pop(entry.key, None)
        result = self._results.pop(entry.job_id or 0, UNKNOWN)
        if life is not None and entry.key in self._parts and entry.job_id is not None:
            self._gone[entry.job_id] = _Gone(life, now, result)
        self._hold(entry.key, None, now)
        self._finish(now)

    def ended_with(self, entry: Entry, word: str) -> None:
        """Slurm shows that a job has ended, and its word for how; told before it is dropped."""
        if entry.job_id is not None:
            self._results[entry.job_id] = word.lower()

    def draws_more(self, entry: Entry, watts: int, seconds: int, now: int) -> None:
        """A run has drawn so much for so long, and more than its max: what is beyond its est counts as well."""
        self._run(now)
        part = self._parts.get(entry.key)
        if part is not None and watts > part.est_w:
            self.held[part.tier].draw_more((watts - part.est_w) * seconds)

    def settle(self, now: int) -> None:
        """Count until now, and price it by the tariff in force."""
        self._finish(now)
        self._run(now)
        tariff = in_force(self._desk.site.tariffs, self._at)
        for tier, held in self.held.items():
            if tariff is not None:
                self._price(tier, held, tariff)
            held.unpriced_ws = held.unpriced_yielding_ws = 0

    # -- inside ---------------------------------------------------------------------------------------------------

    def _life(self, entry: Entry, tier: str, now: int) -> _Life:
        """How far it has come; `tier` as its claim has it, if it has one."""
        life = self._lives.get(entry.key)
        tier = tier or tier_of(self._desk, entry)
        if life is None:
            life = self._lives[entry.key] = self._born(entry, tier, now)
        elif tier != NO_TIER:
            life.tier = tier
        return life

    def _born(self, entry: Entry, tier: str, now: int) -> _Life:
        """The life of a job that is new, or goes on under another key."""
        record, ask = entry.record, entry.ask
        gone = self._gone.pop(record.job_id, None) if record is not None and self._gone else None
        if gone is not None:
            return gone.life
        submitted = ask.submitted if ask is not None else record.submit_time if record is not None else now
        return _Life(tier, submitted or now, started=record is not None and record.restarts > 0)

    def _start(self, life: _Life, start: int) -> None:
        """Its first run has begun; one that was running before the daemon was there has been counted by then."""
        if not life.started and start >= self._since:
            _in(self.delays, life.tier, DELAYS_S).observe(max(start - life.submitted, 0))
        life.started = True

    def _finish(self, now: int) -> None:
        """Count those that will not come back any more; the first to go stand first."""
        while self._gone:
            job_id, gone = next(iter(self._gone.items()))
            if now - gone.at < _LINGER_S:
                return
            del self._gone[job_id]
            life = gone.life
            self.ended[life.tier, "finished"] += 1
            self.finished[life.tier, gone.result] += 1
            _in(self.turnarounds, life.tier, TURNAROUNDS_S).observe(max(gone.at - life.submitted, 0))

    def _part(self, entry: Entry, claim: Claim) -> Part:
        held = self._desk.metering.accrual.held(entry.key)
        charges = claim.charges
        nodes = charges[0].nodes if len(charges) == 1 else sum(charge.nodes for charge in charges)
        gpus = entry.record.gpus if entry.record is not None else 0
        est_w = charges[0].est_w if len(charges) == 1 else claim.est_w
        return Part(claim.tier or NO_TIER, nodes, gpus, est_w, held is not None and held.yields)

    def _hold(self, key: str, part: Part | None, now: int) -> None:
        """A job holds this from now on; None: nothing."""
        before = self._parts.get(key)
        if before == part:
            return
        self._run(now)
        if before is not None:
            self.held.setdefault(before.tier, Held()).change(before, -1)
            del self._parts[key]
        if part is not None:
            self.held.setdefault(part.tier, Held()).change(part, 1)
            self._parts[key] = part

    def _run(self, now: int) -> None:
        """Time that goes back stands still."""
        seconds, self._at = max(now - self._at, 0), max(now, self._at)
        if seconds:
            for held in self.held.values():
                held.run(seconds)

    def _price(self, tier: str, held: Held, tariff: Tariff) -> None:
        sums = {"jobs_ws": held.unpriced_ws, "yielding_ws": held.unpriced_yielding_ws}
        cost = cost_of(Usage("", "", 0, tier, 0, **sums), tariff)
        key = (tier, tariff.currency)
        self.costs[key] = self.costs.get(key, 0.0) + float(cost)


def _in(found: dict[str, Histogram], tier: str, bounds: Sequence[float]) -> Histogram:
    histogram = found.get(tier)
    if histogram is None:
        histogram = found[tier] = Histogram(bounds)
    return histogram
