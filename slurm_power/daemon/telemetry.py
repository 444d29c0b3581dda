"""All that is measured and asked for from outside, put together: sources, the facility's signals, and the reflexes."""

import asyncio
from collections.abc import Callable

from slurm_power.adapters.telemetry.opening import open_source
from slurm_power.config import Site
from slurm_power.daemon.derating import Derating
from slurm_power.daemon.naming import names
from slurm_power.daemon.reflexes import Reflexes
from slurm_power.daemon.retrying import until_done
from slurm_power.daemon.sensors import Sensors
from slurm_power.daemon.signals import Signals
from slurm_power.daemon.sources import Sources
from slurm_power.ports import Slurm
from slurm_power.service.desk import Desk


class Telemetry:
    """Follows what the site file names. `soon` is called where somebody may have to give way."""

    def __init__(
        self, desk: Desk, derating: Derating, sensors: Sensors, slurm: Slurm, soon: Callable[[], None]
    ) -> None:
        self._desk = desk
        self._sensors = sensors
        self.reflexes = Reflexes(desk, derating)
        self.sources = Sources(desk, self.reflexes, sensors, lambda config: open_source(config, slurm), soon)
        self.signals = Signals(desk, derating, soon, self.sources.told)
        self.reflexes.restore(desk.site)
        self.sources.expect(desk.site)
        self._starting: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    def follow(self, site: Site) -> None:
        """By this site file from now on, in a running loop."""
        self._stop_starting()
        if site.telemetry and self._keeping is None:
            self._keeping = asyncio.create_task(self._sensors.run())
        if site.telemetry or self.reflexes.hold_anything:
            self._starting = asyncio.create_task(until_done(lambda: self.reflexes.follow(site)))
        self._desk.measured.troubles.keep([*names(site.telemetry or ()), *(one.place for one in site.telemetry or ())])
        self.sources.follow(site)
        self.signals.follow(site)

    def stop(self) -> None:
        """No more."""
        self._stop_starting()
        if self._keeping is not None:
            self._keeping.cancel()
            self._sensors.keep()
        self.signals.stop()
        self.sources.stop()

    def _stop_starting(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
