"""The sources of telemetry polled: one task each, in threads of their own, so that one that hangs keeps up no other.

What goes wrong is told once, and grows stale by itself. A source that fails is asked less and less often, for whoever
waits for time-outs all the time has no time for those that answer.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

from slurm_power.config import Site
from slurm_power.config.telemetry import Signal, TelemetrySource
from slurm_power.core.errors import PowerError, StoreError
from slurm_power.daemon.naming import expected, names
from slurm_power.daemon.reflexes import Reflexes
from slurm_power.daemon.sensors import Sensors
from slurm_power.ports import Reading, Telemetry
from slurm_power.service.desk import Desk
from slurm_power.service.drawn import on_floor
from slurm_power.service.draws import Feeler
from slurm_power.service.measuring import take

_log = logging.getLogger("slurm_power.telemetry")

Open = Callable[[TelemetrySource], Telemetry]
_THREADS = 64
_SLOWER, _SLOWEST_S = 8, 60
"""A source that fails is asked up to so many times less often, or after so long."""
_LOT = 100
"""Readings that are taken in before others get their turn."""


class Sources:
    """Polls the sources that the site file names. `soon` is called where more is drawn than may be."""

    def __init__(
        self, desk: Desk, reflexes: Reflexes, sensors: Sensors, opens: Open, soon: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._reflexes = reflexes
        self._sensors = sensors
        self._opens = opens
        self._soon = soon
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="telemetry")
        self._tasks: list[asyncio.Task[None]] = []
        self._stale_s: Mapping[str, int] = {}
        self._signals: Mapping[str, str] = {}
        """Path or URL of a signal of the facility's → its name as a source."""

    def expect(self, site: Site) -> Mapping[str, TelemetrySource]:
        """What these are to tell of is not known from now on until they do. The sources, by name."""
        named = names(site.telemetry or ())
        feelers = [self._feeler(name, source, site) for name, source in named.items()]
        self._desk.measured.draws.follow(feelers, site.control, self._desk.now())
        self._signals = {source.place: name for name, source in named.items() if isinstance(source, Signal)}
        self._stale_s = {name: source.stale for name, source in named.items()}
        return named

    def _feeler(self, name: str, source: TelemetrySource, site: Site) -> Feeler:
        heard = self._sensors.of(name).items()
        known = {one: told for one, told in heard if on_floor(site.topology, one.element)}
        return Feeler(name, source.stale, source.every, expected(source, site), known)

    def follow(self, site: Site) -> None:
        """Those of this site file from now on, in a running loop."""
        for task in self._tasks:
            task.cancel()
        polled = {name: source for name, source in self.expect(site).items() if not isinstance(source, Signal)}
        self._tasks = [
            asyncio.create_task(self._run(name, source, number / len(polled)))
            for number, (name, source) in enumerate(polled.items())
        ]

    def stop(self) -> None:
        """No more; threads that wait for an answer end with its time-out."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, name: str, config: TelemetrySource, part: float) -> None:
        """Poll one source for ever. The first look of each comes at another part of the pause, so that they spread."""
        try:
            source = self._opens(config)
        except Exception as error:  # nothing that one source does may go unnoticed, or hinder others
            self._say(name, f"cannot be opened: {error}")
            _log.exception("telemetry: cannot be opened", extra={"source": name})
            return
        try:
            await self._poll(name, config, source, part)
        finally:
            source.close()

    async def _poll(self, name: str, config: TelemetrySource, source: Telemetry, part: float) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        await asyncio.sleep(min(part * config.every, 1.0))
        while True:
            begun = loop.time()
            try:
                told, trouble = await loop.run_in_executor(self._threads, _read, source)
                await self._take(name, told)
                self._say(name, "; ".join(filter(None, (trouble, self._reflexes.unfit(name)))))
                failures = 0
            except StoreError as error:
                self._say(name, f"what it says cannot be kept: {error}")
            except PowerError as error:
                failures += 1
                self._say(name, str(error))
            except Exception:  # a defect of ours must not end the watch: the next look may heal it
                failures += 1
                self._say(name, "internal error, see the log")
                _log.exception("telemetry: internal error", extra={"source": name})
            slower_s = min(config.every * min(2**failures, _SLOWER), max(_SLOWEST_S, config.every))
            await asyncio.sleep(max((slower_s if failures else config.every) - (loop.time() - begun), 0.05))

    async def _take(self, name: str, told: Iterable[list[Reading]]) -> None:
        """Take in what a source has said, a few at a time; what passes a limit is dealt with at once.

        Raises StoreError.
        """
        for lot in told:
            if take(self._desk, name, lot):
                self._soon()
            await asyncio.sleep(0)
            if await self._reflexes.take(name, self._stale_s.get(name, 0), lot):
                self._soon()

    async def told(self, place: str, readings: Iterable[Reading]) -> str:
        """Take in what came along with a signal of the facility's; what of it makes no sense. Raises StoreError."""
        if place not in self._signals:
            return ""
        await self._take(self._signals[place], lots(readings))
        return self._reflexes.unfit(self._signals[place])

    def _say(self, name: str, trouble: str) -> None:
        self._desk.measured.troubles.note(name, trouble, "telemetry", _log)


def _read(source: Telemetry) -> tuple[list[list[Reading]], str]:
    """What it tells, and the trouble with the rest. Raises TelemetryError.

    In a thread of its own, for to put thousands in order takes a while.
    """
    told = source.read()
    return list(lots(told.readings)), told.trouble


def lots(readings: Iterable[Reading]) -> Iterator[list[Reading]]:
    """The readings a few at a time; those of one element together, for phases count together."""
    lot: list[Reading] = []
    ordered = sorted(readings, key=lambda one: (one.kind, one.element))
    for _, of_element in groupby(ordered, key=lambda one: (one.kind, one.element)):
        lot += of_element
        if len(lot) >= _LOT:
            yield lot
            lot = []
    if lot:
        yield lot
