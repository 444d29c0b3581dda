"""slurm-powerd with a ledger that is full from the start: `python -m tests.benchmarks.loaded_daemon CLAIMS`.

The claims lie in zones of the site file whose nodes Slurm does not have; they share feeds with those that it has.
"""

import asyncio
import random
import sys

from slurm_power.adapters.slurm import Runner
from slurm_power.adapters.store import open_store
from slurm_power.config import load_site
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.steps import finish
from slurm_power.core.window import Window
from slurm_power.daemon.logs import set_up
from slurm_power.daemon.main import Daemon, slurm_user

LOAD = "load"


def claims(zones: list[str], count: int, now: int) -> list[Claim]:
    """Claims of mixed size, spread evenly, that run for hours yet."""
    chance = random.Random(7)
    made = []
    for number in range(count):
        est_w = chance.choice((700, 1_400, 2_800, 5_600))
        charge = Charge(zones[number % len(zones)], 1, est_w, est_w * chance.choice((105, 115, 130)) // 100)
        window = Window(now - 60, now + chance.randrange(7_200, 86_400))
        made.append(Claim(f"{LOAD}{number}", (charge,), window, f"{number % 500}/{number % 20}", placed=True))
    return made


class LoadedDaemon(Daemon):
    """The real daemon, with claims added before it serves."""

    def __init__(self, count: int) -> None:
        runner = Runner()
        site = load_site()
        super().__init__(site, open_store(site.state_url), runner, slurm_user(runner))
        self._count = count

    async def first_round(self, ended: asyncio.Event) -> bool:
        """The first round, then the load."""
        if not await super().first_round(ended):
            return False
        desk = self.desk
        zones = sorted(name for name in desk.site.topology.zones if name.startswith(LOAD))
        desk.ledger.load(claims(zones, self._count, desk.now()))
        finish(desk.make_rooms())
        return True


def main() -> None:
    """Serve until told to end."""
    set_up("warning")
    daemon = LoadedDaemon(int(sys.argv[1]))
    try:
        asyncio.run(daemon.run())
    finally:
        daemon.close()


if __name__ == "__main__":
    main()
