"""Usage in the daemon: written down every minute and at the end, recalled at the start, closed by the month.

So are profiles, which also learn from the runs that go on, every hour.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from slurm_power.adapters.store import StoreWriter
from slurm_power.config import Site
from slurm_power.core.errors import StoreError
from slurm_power.core.reservation import Owner
from slurm_power.core.score import DAY_S, FORGOTTEN
from slurm_power.core.showback import Month, closed, month_at
from slurm_power.core.usage import HOUR_S, Usage
from slurm_power.core.window import Window
from slurm_power.daemon.turns import in_turns
from slurm_power.ports import USAGE_THROUGH, Decision, Rule, Store, StoredDraw
from slurm_power.service.desk import Desk
from slurm_power.service.profiles import MOST
from slurm_power.service.reservation_rows import from_row
from slurm_power.service.usage_views import by_day

_log = logging.getLogger("slurm_power.metering")

GAP = "usage-gap"
"""The action of a line of the audit log about time in which nobody metered."""
_EVERY_S = 60.0
_GAP_S = 180
"""Away for so long, jobs may have come and gone unseen."""
_DRAWN_S = 600.0
"""How often what the runs that go on have drawn is written down."""
_CLOSE_AFTER_S = DAY_S
"""So long after its end a month is closed."""
_PIECE = 24
"""Hours of usage that are deleted at a time."""


class UsageKeeper:
    """Brings what the desk meters into the database."""

    def __init__(self, desk: Desk, writer: StoreWriter) -> None:
        self._desk = desk
        self._writer = writer
        self.months: Sequence[Month] = ()
        """The closed months."""
        self._written_at = float("-inf")
        self._tidied_at = float("-inf")
        self._tidying: asyncio.Task[None] | None = None
        self._drawn_at = float("-inf")
        self._keeping: asyncio.Task[None] | None = None

    def load(self, store: Store) -> None:
        """What was learnt of jobs' draw, and what runs had drawn, before anything is decided. Raises StoreError."""
        self._desk.metering.profiles.load(store.profiles(MOST))
        self._desk.metering.drawn.load(store.draws())

    def resume(self, store: Store) -> None:
        """Go on from where usage was written down last, before anything else is taken in. Raises StoreError.

        What has run since then and still runs is counted from there on, as are reservations; jobs that came and went
        meanwhile are not known, and the audit log says so.
        """
        self.months = store.months()
        text, now = store.setting(USAGE_THROUGH), self._desk.ledger.now
        if text is None:
            return
        through = int(text)
        self._desk.metering.resume(through)
        if now - through >= _GAP_S:
            self._desk.journal.record(
                Decision(
                    at=now,
                    action=GAP,
                    mode=self._desk.mode,
                    cause="the daemon was away; jobs that came and went meanwhile are not known",
                    rule=Rule.METERING,
                    numbers={"from_s": through, "away_s": now - through},
                )
            )

    async def recall(self) -> None:
        """Read what the scores go by, a day at a time, the newest first; they are as good as what has been read."""
        desk, end = self._desk, self._desk.metering.accrual.through + 1
        oldest = max(desk.ledger.now - FORGOTTEN * desk.site.reservations.score.half_life, 0)
        try:
            desk.metering.recall((), await asyncio.to_thread(self._writer.read, _owners))
            for start in range(end - DAY_S, oldest - DAY_S, -DAY_S):
                day = Window(max(start, 0), start + DAY_S)
                desk.metering.recall(await asyncio.to_thread(self._writer.read, _usage_of(day)))
        except StoreError as error:
            _log.warning("earlier usage cannot be read, scores go without it: %s", error)

    def step(self, monotonic: float) -> None:
        """Write down what has come to be, if it is time; never blocks. After reservations had their turn."""
        if monotonic - self._written_at < _EVERY_S:
            return
        self._written_at = monotonic
        self.flush()
        if monotonic - self._drawn_at >= _DRAWN_S and (self._keeping is None or self._keeping.done()):
            self._drawn_at = monotonic
            self._keeping = asyncio.create_task(self._keep_draws())
        if monotonic - self._tidied_at >= HOUR_S and (self._tidying is None or self._tidying.done()):
            self._tidied_at = monotonic
            self._tidying = asyncio.create_task(self.tidy())

    def flush(self) -> None:
        """Write down all that has come to be."""
        now = self._desk.ledger.now
        if now > self._desk.metering.accrual.through:
            rows = self._desk.metering.take(now)
            self._writer.put(lambda store: store.add_usage(rows, now))
        if learnt := self._desk.metering.profiles.take():
            self._writer.put(lambda store: store.save_profiles(learnt))

    def end(self) -> None:
        """The daemon ends: write down the rest; what is being tidied up goes on at the next start."""
        self._desk.now()
        self.flush()
        rows = [row for row in map(self._draw_of, self._desk.metering.drawn) if row is not None]
        self._writer.put(lambda store: store.replace_draws(rows))
        for task in (self._tidying, self._keeping):
            if task is not None:
                task.cancel()

    async def _keep_draws(self) -> None:
        """Write down what the runs that go on have drawn so far: after a crash it is known up to here.

        With it what profiles have learnt of that, so that they do not learn it twice.
        """
        rows: list[StoredDraw] = []
        async for key in in_turns(list(self._desk.metering.drawn)):
            row = self._draw_of(key)
            if row is not None:
                rows.append(row)
        learnt = self._desk.metering.profiles.take()

        def save(store: Store) -> None:
            store.save_profiles(learnt)
            store.replace_draws(rows)

        self._writer.put(save)

    def _draw_of(self, key: str) -> StoredDraw | None:
        metering = self._desk.metering
        run, held = metering.drawn.get(key), metering.accrual.held(key)
        return StoredDraw(key, held.since, run.stored()) if run is not None and held is not None else None

    # -- once an hour -------------------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Close the months that are over, then delete what of them is older than the site keeps it."""
        now, site = self._desk.ledger.now, self._desk.site
        self._desk.metering.forget(now)
        await self._learn()
        try:
            await self._writer.written()
            for month in await asyncio.to_thread(self._writer.read, _to_close(now, site)):
                await self._writer.durable(_closing(month))
            self.months = await asyncio.to_thread(self._writer.read, lambda store: store.months())
            before = min(now - site.keep_s, max((month.window.end for month in self.months), default=0))
            while await self._writer.durable(lambda store: store.prune_usage(before, _PIECE)) == _PIECE:
                pass
        except StoreError as error:
            _log.warning("usage is not tidied up: %s", error)

    async def _learn(self) -> None:
        """Profiles learn from the runs that go on."""
        desk, metering = self._desk, self._desk.metering
        async for key in in_turns(list(metering.drawn)):
            entry, run, held = desk.book.get(key), metering.drawn.get(key), metering.accrual.held(key)
            if entry is not None and run is not None and held is not None:
                metering.profiles.goes_on(entry, run, held, desk.ledger.now)
        await self._keep_draws()


def _owners(store: Store) -> Mapping[str, Owner]:
    return {row.id: from_row(row).terms.owner for row in store.reservations(live_only=False)}


def _usage_of(window: Window) -> Callable[[Store], Sequence[Usage]]:
    return lambda store: store.usage(since=window.start, until=window.end)


def _closing(month: Month) -> Callable[[Store], bool]:
    return lambda store: store.close_month(month)


def _to_close(now: int, site: Site) -> Callable[[Store], list[Month]]:
    """Reads the months that are over and not closed, the oldest first: back to one that is, or to what is kept."""

    def read(store: Store) -> list[Month]:
        known = {month.name for month in store.months()}
        found: list[Month] = []
        _, window = month_at(now - _CLOSE_AFTER_S, site.timezone)
        while window.start > max(now - site.keep_s, 0):
            name, window = month_at(window.start - 1, site.timezone)
            if name in known:
                break
            month = closed(name, window, by_day(store, window), site.tariffs)
            if month.rows or not found:
                found.append(month)
        return found[::-1]

    return read

