"""The facility's signals followed: what they ask for becomes derates, and ends with them.

Silence raises nothing: where a signal cannot be read, makes no sense or has not been written for long, what it asked
for last holds to its own end, and the log says so.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta, tzinfo

from slurm_power.adapters.telemetry.signal import open_signal
from slurm_power.config import Site
from slurm_power.config.telemetry import Signal
from slurm_power.core.derate import BREAKER, HEAT, Derate
from slurm_power.core.errors import PowerError, SignalError
from slurm_power.core.window import FOREVER, Window
from slurm_power.daemon.derating import Derating
from slurm_power.daemon.retrying import until_done
from slurm_power.ports import AskedCut, Facility, FacilitySignal, Reading
from slurm_power.service.desk import Desk

_log = logging.getLogger("slurm_power.signals")
Open = Callable[[Signal], Facility]


class Signals:
    """One task for each file or URL that the site names. `soon` is called where limits have changed."""

    def __init__(
        self,
        desk: Desk,
        derating: Derating,
        soon: Callable[[], None],
        measured: Callable[[str, Sequence[Reading]], Awaitable[str]],
        opens: Open = open_signal,
    ) -> None:
        """`measured` is given the readings that come along, by path or URL, and tells what of them makes no sense."""
        self._desk = desk
        self._derating = derating
        self._measured = measured
        self._soon = soon
        self._opens = opens
        self._tasks: list[asyncio.Task[None]] = []

    def follow(self, site: Site) -> None:
        """Those of this site file from now on, in a running loop. What others asked for ends."""
        self.stop()
        sources = [source for source in site.telemetry or () if isinstance(source, Signal)]
        named = {source.place for source in sources} | {HEAT, BREAKER}
        self._tasks = [asyncio.create_task(self._run(source)) for source in sources]
        self._tasks += [
            asyncio.create_task(self._end(source))
            for source in {one.source for one in self._desk.derates} - named - {""}
        ]

    def stop(self) -> None:
        """No more."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _run(self, source: Signal) -> None:
        facility = self._opens(source)
        while True:
            try:
                await self.look(source.place, facility, source.stale)
            except Exception:  # a defect of ours must not end the watch: the next look may heal it
                _log.exception("the facility's signal: internal error", extra={"source": source.place})
            await asyncio.sleep(source.every)

    async def _end(self, source: str) -> None:
        await until_done(lambda: self._derating.take(source, []))
        self._soon()

    async def look(self, path: str, facility: Facility, stale_s: int) -> None:
        """Read once, and act on it. Nothing that goes wrong ends the watch."""
        try:
            signal = await asyncio.to_thread(facility.read)
            before = list(self._desk.derates)
            await self._derating.take(path, self._wanted(path, signal))
            if before != list(self._desk.derates):
                self._soon()
            unfit = await self._measured(path, signal.readings)
            troubles = (self._late(signal, stale_s), self._unknown(signal), signal.trouble, unfit)
            self._say(path, "; ".join(filter(None, troubles)))
        except SignalError as error:
            self._say(path, str(error))
        except PowerError as error:
            self._say(path, f"what it asks for cannot be kept: {error}")

    def _wanted(self, path: str, signal: FacilitySignal) -> list[Derate]:
        """The derates that it asks for; one that is known already began when it was first seen."""
        now, known = self._desk.now(), {one.id: one for one in self._desk.derates}
        found: dict[str, Derate] = {}
        for cut in signal.cuts:
            for begins, end in _times(cut, now, self._desk.site.timezone):
                name = _id(path, cut, begins if cut.hours is not None else None)
                start = known[name].window.start if name in known else max(begins or now, now)
                if end > max(start, now):
                    window = Window(start, end)
                    found[name] = Derate(
                        id=name,
                        element=cut.element,
                        window=window,
                        reason=cut.reason,
                        created=now,
                        uid=None,
                        limit_w=cut.limit_w,
                        percent=cut.percent,
                        source=path,
                    )
        return list(found.values())

    def _late(self, signal: FacilitySignal, stale_s: int) -> str:
        late = self._desk.ledger.now - signal.written_at > stale_s
        return f"has not been written for more than {stale_s} s; what it asked for last holds" if late else ""

    def _unknown(self, signal: FacilitySignal) -> str:
        topology = self._desk.declared.topology
        names = {cut.element for cut in signal.cuts} - topology.zones.keys() - topology.feeds.keys()
        return f"there is no zone or feed {', '.join(sorted(names))}" if names else ""

    def _say(self, path: str, trouble: str) -> None:
        self._desk.measured.troubles.note(path, trouble, "the facility's signal", _log)


def _times(cut: AskedCut, now: int, zone: tzinfo) -> list[tuple[int | None, int]]:
    """(start, None: from when it is first seen; end) of each time that it holds: of daily hours those about now."""
    first, last = cut.start or 0, FOREVER if cut.end is None else cut.end
    if cut.hours is None:
        return [(cut.start, last)]
    today, found = datetime.fromtimestamp(now, zone).date(), list[tuple[int | None, int]]()
    for day in (today + timedelta(days=number) for number in (-1, 0, 1)):
        start = _instant(day, cut.hours.start_s, zone)
        over_midnight = cut.hours.end_s <= cut.hours.start_s
        end = _instant(day + timedelta(days=int(over_midnight)), cut.hours.end_s, zone)
        if max(start, first) < min(end, last):
            found.append((max(start, first), min(end, last)))
    return found


def _instant(day: date, second: int, zone: tzinfo) -> int:
    """So many seconds of a local day by its clock, also on days on which that is set."""
    midnight = datetime(day.year, day.month, day.day)
    return int((midnight + timedelta(seconds=second)).replace(tzinfo=zone).timestamp())


def _id(path: str, cut: AskedCut, start: int | None) -> str:
    """The same for the same cut, also after a restart; of one that comes each day another each day."""
    told = (path, cut) if start is None else (path, cut, start)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
