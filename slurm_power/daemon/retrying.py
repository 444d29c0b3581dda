"""What has to be done, tried again until the database lets it be."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from slurm_power.core.errors import StoreError

_log = logging.getLogger("slurm_power.retrying")
_AGAIN_S = 5.0


async def until_done(step: Callable[[], Awaitable[object]]) -> None:
    """Do it, and again each few seconds as long as the database fails."""
    while True:
        try:
            await step()
        except StoreError as error:
            _log.error("tried again in %.0f s: %s", _AGAIN_S, error)
            await asyncio.sleep(_AGAIN_S)
        else:
            return
