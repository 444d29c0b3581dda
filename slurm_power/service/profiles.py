"""Profiles of a desk: what runs that are alike have drawn, learnt as they end, and every hour of those that go on.

Only what was measured at nodes of a run's own teaches anything, and only where that is half of its life at least: half
of the hour for a run that goes on. A run shorter than a minute teaches nothing.
"""

import logging
from collections.abc import Iterable, Mapping

from slurm_power.core.accrual import Held
from slurm_power.core.profile import Learnt, Profile, ProfileKey
from slurm_power.core.sketch import Sketch
from slurm_power.ports import StoredProfile
from slurm_power.service.book import Entry
from slurm_power.service.job_draws import RunDraw

MOST = 10_000
"""Profiles that are kept in memory; of more, the one that was seen longest ago is forgotten."""
_SHORTEST_S = 60
_PIECE_S = 1_800
"""What is learnt of a run that goes on is so long at least."""
_NUMBERS = ("runs", "measured_s", "peak_w", "before_w", "halved_at")

_log = logging.getLogger("slurm_power.profiles")


class Profiles:
    """All that is known. `began` is the instant from which on runs are measured."""

    def __init__(self, began: int) -> None:
        self._began = began
        self._known: dict[ProfileKey, Profile] = {}
        """The last seen last."""
        self._changed: set[ProfileKey] = set()
        self.learnt: dict[ProfileKey, Learnt] = {}
        """What each says now. The mapping stays the same and goes on changing; what stands in it does not change."""

    def ended(self, entry: Entry, run: RunDraw, held: Held, now: int) -> None:
        """Its run is over."""
        since = run.learnt_at or held.since
        if now - since >= (0 if run.learnt_at else _SHORTEST_S):
            self._learn(entry, run, held, now - since, now)

    def goes_on(self, entry: Entry, run: RunDraw, held: Held, now: int) -> None:
        """Its run goes on; what comes from now on stands for itself."""
        since = run.learnt_at or max(held.since, self._began)
        if now < since:  # the clock has been set back
            run.new, run.learnt_at = Sketch(), now
        elif now - since >= _PIECE_S:
            self._learn(entry, run, held, now - since, now)
            run.new, run.learnt_at = Sketch(), now

    def _learn(self, entry: Entry, run: RunDraw, held: Held, seconds: int, now: int) -> None:
        nodes = sum(charge.nodes for charge in held.charges)
        key = _key_of(entry, nodes)
        if key is None or not nodes or not run.new.total or run.new.total * 2 < seconds:
            return
        profile = self._known.pop(key, None) or Profile(key)
        profile.learn(run.new, nodes, now, new_run=not run.taught)
        run.taught = True
        self._put(profile)
        self._changed.add(key)

    def _put(self, profile: Profile) -> None:
        self._known[profile.key] = profile
        self.learnt[profile.key] = profile.says()
        if len(self._known) > MOST:
            oldest = next(iter(self._known))
            del self._known[oldest], self.learnt[oldest]
            self._changed.discard(oldest)

    # -- the database ---------------------------------------------------------------------------------------------

    def take(self) -> list[StoredProfile]:
        """Those that have changed since the last time."""
        changed, self._changed = self._changed, set()
        return [_to_row(self._known[key]) for key in sorted(changed)]

    def load(self, rows: Iterable[StoredProfile]) -> None:
        """What the database has kept, the last seen last; rows that cannot be read are left out."""
        for row in rows:
            try:
                profile = _from_row(row)
            except (KeyError, TypeError, ValueError):
                _log.warning("the profile of %s in account %s cannot be read, and is made anew", row.name, row.account)
                continue
            self._known.pop(profile.key, None)
            self._put(profile)


def _key_of(entry: Entry, nodes: int) -> ProfileKey | None:
    """Which runs are like this one; None where it has no name."""
    record, ask = entry.record, entry.ask
    if record is None or not record.name:
        return None
    gpus = ask.request.ask.gpus if ask is not None else -(-record.gpus // max(nodes, 1))
    return ProfileKey(record.account, record.name, record.partition.partition(",")[0], gpus)


def _to_row(profile: Profile) -> StoredProfile:
    numbers = {name: getattr(profile, name) for name in _NUMBERS}
    return StoredProfile(*profile.key, profile.seen_at, {**numbers, "sketch": profile.sketch.stored()})


def _from_row(row: StoredProfile) -> Profile:
    """Raises KeyError, TypeError or ValueError for what is no profile."""
    sketch, numbers = row.detail["sketch"], [row.detail[name] for name in _NUMBERS]
    if not isinstance(sketch, Mapping) or not all(isinstance(number, int) for number in numbers):
        raise TypeError("no profile")
    profile = Profile(ProfileKey(row.account, row.name, row.partition, row.gpus), Sketch.read(sketch))
    for name, number in zip(_NUMBERS, numbers, strict=True):
        setattr(profile, name, number)
    profile.seen_at = row.seen_at
    return profile
