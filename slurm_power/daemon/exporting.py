"""The exporter in the daemon: at the address that the site file names, with all that the daemon knows."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

from slurm_power import __version__
from slurm_power.adapters.exporter import Exporter
from slurm_power.adapters.lines_server import Peer
from slurm_power.adapters.slurm.counted import CountedCommands
from slurm_power.adapters.store import StoreWriter
from slurm_power.config import Site
from slurm_power.config.exporter import shown
from slurm_power.config.telemetry import TelemetrySource
from slurm_power.core.errors import ConfigError
from slurm_power.core.histogram import Histogram
from slurm_power.daemon.naming import names
from slurm_power.daemon.rounds import Rounds
from slurm_power.daemon.telemetry import Telemetry
from slurm_power.daemon.turns import in_steps
from slurm_power.ports import Store
from slurm_power.ports.metrics import Metric
from slurm_power.service.desk import Desk
from slurm_power.service.metrics import metrics
from slurm_power.service.outcomes import Outcomes, TellingJournal
from slurm_power.service.pulse import Commands, Pulse, Source
from slurm_power.service.runs import Runs

_log = logging.getLogger("slurm_power.exporter")
_BREATH_S = 0.0005
"""After so long the hook gets a chance to be answered."""
_ANSWERS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_PATH = re.compile(r"[/?#]")
_OPS = ("submit", "modify", "prolog", "epilog")

Answer = Callable[[Peer, Mapping[str, Any]], str | Awaitable[str]]


class Exporting:
    """Serves metrics of a desk, or does not, as the site file says."""

    def __init__(
        self,
        desk: Desk,
        journal: TellingJournal,
        rounds: Rounds,
        writer: StoreWriter,
        telemetry: Telemetry,
        commands: CountedCommands,
    ) -> None:
        self.runs = Runs(desk)
        desk.watches.add(self.runs)
        self.outcomes = journal.outcomes = Outcomes(desk)
        self._desk = desk
        self._rounds = rounds
        self._writer = writer
        self._telemetry = telemetry
        self._commands = commands
        self._answers = {op: Histogram(_ANSWERS_S) for op in _OPS}
        self._exporter: Exporter | None = None
        self._turn = asyncio.Lock()
        self._moving: asyncio.Task[None] | None = None

    def load(self, store: Store) -> None:
        """At a start: how the reservations of the past have ended. Raises StoreError."""
        self.outcomes.resume(store.reservations(live_only=False))

    def timed(self, handler: Answer) -> Answer:
        """The same handler, with what its answers take counted by question."""

        def answer(peer: Peer, request: Mapping[str, Any]) -> str | Awaitable[str]:
            begun = monotonic()
            found = handler(peer, request)
            if isinstance(found, str):
                self._answered(request, begun)
                return found
            return later(found, request, begun)

        async def later(found: Awaitable[str], request: Mapping[str, Any], begun: float) -> str:
            told = await found
            self._answered(request, begun)
            return told

        return answer

    def _answered(self, request: Mapping[str, Any], begun: float) -> None:
        answers = self._answers.get(str(request.get("op")))
        if answers is not None:
            answers.observe(monotonic() - begun)

    # -- where it is served -----------------------------------------------------------------------------------------

    def start(self, site: Site) -> None:
        """Serve where the site file says, in the running loop. Raises ConfigError where that address is not free."""
        if site.metrics is not None:
            self._exporter = self._open(site.metrics.listen, site)

    def follow(self, site: Site) -> None:
        """Another site file: serve where it says. Where that cannot be, go on as before; the log says so."""
        if self._wanted(site) != self._present():
            self._moving = asyncio.create_task(self._move(site))

    async def stop(self) -> None:
        """No more."""
        async with self._turn:
            exporter, self._exporter = self._exporter, None
            if exporter is not None:
                await exporter.stop()

    def _open(self, address: tuple[str, int], site: Site) -> Exporter:
        exporter = Exporter(address, self.collect)
        exporter.bind(str(site.path))
        exporter.start()
        _log.info("metrics are served", extra={"address": shown(address)})
        return exporter

    async def _move(self, site: Site) -> None:
        async with self._turn:
            wanted, present = self._wanted(site), self._present()
            if wanted == present:
                return
            if self._exporter is not None:  # first, for both may want the same port
                await self._exporter.stop()
                self._exporter = None
            for address in (wanted, present) if wanted is not None else ():
                try:
                    self._exporter = self._open(address, site) if address is not None else None
                    return
                except ConfigError as error:
                    _log.error("metrics stay where they were: %s", error)

    @staticmethod
    def _wanted(site: Site) -> tuple[str, int] | None:
        return site.metrics.listen if site.metrics is not None else None

    def _present(self) -> tuple[str, int] | None:
        return self._exporter.address if self._exporter is not None else None

    # -- what is served ---------------------------------------------------------------------------------------------

    async def collect(self) -> list[Metric]:
        """All metrics as of now, with a turn for everybody else whenever that has taken long enough."""
        return await in_steps(metrics(self._desk, self.outcomes, self.runs, self._pulse()), at_least_s=_BREATH_S)

    def _pulse(self) -> Pulse:
        health, store, reflexes = self._rounds.health, self._writer.health(), self._telemetry.reflexes
        commands = self._commands.counts().items()
        return Pulse(
            version=__version__,
            rounds=health.rounds,
            failures=health.failures,
            last_good=health.last_good,
            jobs=health.jobs,
            writes=self._rounds.hand.writes,
            store_waiting=store.waiting,
            store_failures=store.failures,
            store_lost=store.given_up,
            store_failing=store.error != "",
            licenses=self._rounds.reservations.shown()[1],
            miscounts=self._rounds.reader.miscounts,
            hook={op: answers.read() for op, answers in self._answers.items()},
            commands={name: Commands(failed, late, durations) for name, (failed, late, durations) in commands},
            drift=self._rounds.drift,
            sources=sources(self._desk.site, self._desk.measured.troubles.there),
            breakers=reflexes.breakers,
            heat={name: state.level for name, state in reflexes.zones.items()},
        )


def sources(site: Site, troubles: Mapping[str, str]) -> list[Source]:
    """The sources of telemetry that the site file names, and whether each can be read."""
    found: dict[str, Source] = {}
    for name, source in names(site.telemetry or ()).items():
        label = base = _label(source)
        number = 1
        while label in found:
            number += 1
            label = f"{base} #{number}"
        found[label] = Source(label, source.type, up=name not in troubles and source.place not in troubles)
    return list(found.values())


def _label(source: TelemetrySource) -> str:
    """Where a source reads and what, without credentials, paths and queries of a URL: everybody may read it."""
    scheme, found, rest = source.place.partition("://")
    host = _PATH.split(rest, maxsplit=1)[0].rpartition("@")[2]
    place = f"{scheme}://{host}" if found else source.place
    elements = (getattr(source, what, None) for what in ("zone", "feed", "node", "inlet"))
    return " ".join([place, *(element for element in elements if element is not None)])
