"""Watts over time, added up by the hour: nothing is sampled, and no second is lost or counted twice.

Watts of jobs on nodes and of open reservations are held as rates, and a rate is added up whenever it changes. What has
been taken out is final: a job or a window of which it is learnt later counts from there on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.usage import HOUR_S, Share, Usage, hour_of
from slurm_power.core.window import Window


@immutable
class Held:
    """What a job holds while it is on nodes. `within` is the id of the reservation's claim that it draws on."""

    share: Share
    charges: tuple[Charge, ...]
    since: int = 0
    """When it came onto them."""
    within: str = ""
    yields: bool = False
    """Whether it may be preempted, and checkpoints."""

    @property
    def est_w(self) -> int:
        """Σ est over the zones, in W."""
        charges = self.charges
        return charges[0].est_w if len(charges) == 1 else sum([charge.est_w for charge in charges])


@dataclass(slots=True)
class _Rate:
    """Σ est of the jobs of one share, in W, added up until `at`; and what the share has come to."""

    at: int
    sums: dict[int, dict[str, int]] = field(default_factory=dict)
    """Hour → name → number."""
    jobs: int = 0
    jobs_w: int = 0
    yielding_w: int = 0


@dataclass(slots=True)
class _Open:
    """A reservation whose window is open, in W by zone, added up until `at`."""

    share: Share
    granted_w: Mapping[str, int]
    window: Window
    at: int

    def used_w(self, drawn_w: Mapping[str, int]) -> int:
        """Of what it was granted, how much jobs use: what they use beyond that in a zone is not its."""
        return sum(min(watts, drawn_w.get(zone, 0)) for zone, watts in self.granted_w.items())


@dataclass(slots=True)
class Accrual:
    """Usage since `through`, the instant up to which it has been taken out. Time that goes back stands still."""

    through: int
    _now: int = field(init=False)
    _jobs: dict[str, Held] = field(default_factory=dict)
    _rates: dict[Share, _Rate] = field(default_factory=dict)
    _open: dict[str, _Open] = field(default_factory=dict)
    _drawn_w: dict[str, dict[str, int]] = field(default_factory=dict)
    """Id of a reservation's claim → zone → Σ est of the jobs on nodes that draw on it, in W."""

    def __post_init__(self) -> None:
        self._now = self.through

    # -- jobs ---------------------------------------------------------------------------------------------------

    def start(self, job: str, held: Held, now: int) -> None:
        """A job is on nodes; one that is known already holds this from now on."""
        before = self._jobs.get(job)
        if before == held:
            return
        now = self._tell(now)
        if before is not None:
            self.stop(job, now)
        since = max(held.since, self.through) if before is None else now
        self._change(held, min(since, now), now, 1)
        self._jobs[job] = held

    def stop(self, job: str, now: int) -> None:
        """It has left its nodes; nothing where it is not known."""
        held = self._jobs.pop(job, None)
        if held is not None:
            now = self._tell(now)
            self._change(held, now, now, -1)

    def held(self, job: str) -> Held | None:
        """What a job holds; None where it is not known."""
        return self._jobs.get(job)

    def note(self, share: Share, now: int, **sums: int) -> None:
        """Add numbers that belong to an instant."""
        now = self._tell(now)
        _put(self._rate(share, now), hour_of(now), sums)

    # -- reservations -------------------------------------------------------------------------------------------

    def open(self, claim_id: str, share: Share, granted_w: Mapping[str, int], window: Window, now: int) -> None:
        """A reservation's window is open, and this has been granted to it, in W by zone.

        One that is known already is so from now on. What jobs used of it before it was known is not counted.
        """
        now = self._tell(now)
        self._settle(claim_id, now)
        if claim_id not in self._open:
            since, end = max(window.start, self.through), min(now, window.end)
            _add(self._rate(share, now), since, end, reserved_ws=sum(granted_w.values()))
        self._open[claim_id] = _Open(share, dict(granted_w), window, now)

    def close(self, claim_id: str, now: int) -> None:
        """It is open no more; nothing where it is not known."""
        self._settle(claim_id, self._tell(now))
        self._open.pop(claim_id, None)

    # -- what it came to ----------------------------------------------------------------------------------------

    def take(self, now: int) -> list[Usage]:
        """What has been added up since the last time, by hour and share; it is taken out, and final."""
        now = self._tell(now)
        for claim_id in self._open:
            self._settle(claim_id, now)
        self.through = now
        rows = []
        for share, rate in self._rates.items():
            _run(rate, now)
            for hour, found in rate.sums.items():
                rows.append(Usage(share.reservation, share.account, share.uid, share.tier, hour, **found))
            rate.sums = {}
        self._rates = {share: rate for share, rate in self._rates.items() if rate.jobs}
        return sorted(rows, key=lambda row: (row.hour, row.reservation, row.account, row.uid, row.tier))

    # -- inside -------------------------------------------------------------------------------------------------

    def _tell(self, now: int) -> int:
        self._now = now if now > self._now else self._now
        return self._now

    def _rate(self, share: Share, now: int) -> _Rate:
        rate = self._rates.get(share)
        if rate is None:
            rate = self._rates[share] = _Rate(now)
        return rate

    def _change(self, held: Held, since: int, now: int, sign: int) -> None:
        """A job holds watts since then, or no more."""
        rate, est_w = self._rate(held.share, now), held.est_w
        yielding_w = est_w if held.yields else 0
        _run(rate, now)
        if since < now:
            _add(rate, since, now, jobs_ws=est_w, yielding_ws=yielding_w)
        rate.jobs += sign
        rate.jobs_w += sign * est_w
        rate.yielding_w += sign * yielding_w
        if held.within:
            self._change_draw(held, since, now, sign)

    def _change_draw(self, held: Held, since: int, now: int, sign: int) -> None:
        """A job draws on its reservation, or no more; since then, if the reservation was open."""
        self._settle(held.within, now)
        drawn = self._drawn_w.setdefault(held.within, {})
        opened = self._open.get(held.within)
        before_w = opened.used_w(drawn) if opened is not None else 0
        for charge in held.charges:
            drawn[charge.zone] = drawn.get(charge.zone, 0) + sign * charge.est_w
        if opened is not None:
            more_w = opened.used_w(drawn) - before_w
            start, end = max(since, opened.window.start), min(now, opened.window.end)
            _add(self._rate(opened.share, now), start, end, used_ws=more_w)
        if not any(drawn.values()):
            del self._drawn_w[held.within]

    def _settle(self, claim_id: str, now: int) -> None:
        """Add up a reservation until now, or until its end."""
        opened = self._open.get(claim_id)
        if opened is None:
            return
        end = min(now, opened.window.end)
        used_w = opened.used_w(self._drawn_w.get(claim_id, {}))
        granted_w, rate = sum(opened.granted_w.values()), self._rate(opened.share, now)
        _add(rate, opened.at, end, reserved_ws=granted_w, used_ws=used_w)
        opened.at = now


def _run(rate: _Rate, now: int) -> None:
    """Add up the rate until now."""
    if rate.at < now:
        _add(rate, rate.at, now, jobs_ws=rate.jobs_w, yielding_ws=rate.yielding_w)
        rate.at = now


def _add(rate: _Rate, start: int, end: int, **watts: int) -> None:
    """So many W from start to end, hour by hour."""
    while start < end:
        hour = hour_of(start)
        stop = min(hour + HOUR_S, end)
        _put(rate, hour, {name: each * (stop - start) for name, each in watts.items() if each})
        start = stop


def _put(rate: _Rate, hour: int, sums: Mapping[str, int]) -> None:
    if sums:
        found = rate.sums.setdefault(hour, {})
        for name, number in sums.items():
            found[name] = found.get(name, 0) + number
