"""What a round leaves others of the event loop: it takes seconds, and the hook is to be answered at once meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from slurm_power.core.steps import Steps, into
from slurm_power.ports import Clock
from slurm_power.service.desk import Desk

_BREATH_S = 0.0005
"""After so long, at the end of the step that a round is in, the hook gets a chance to be answered."""

T = TypeVar("T")


class Breath:
    """Lets others have their turn between the steps of a round."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def in_steps(self, steps: Steps[T]) -> T:
        """What they return, with a turn for everybody else whenever they have taken long enough."""
        found: list[T] = []
        async for _ in self.between(into(found, steps)):
            pass
        return found[0]

    async def between(self, items: Iterable[T]) -> AsyncIterator[T]:
        """The items, with a turn for everybody else whenever they have taken long enough."""
        since = self._clock.monotonic()
        for item in items:
            yield item
            if self._clock.monotonic() - since >= _BREATH_S:
                await self.give_way()
                since = self._clock.monotonic()
        await self.give_way()

    async def give_way(self) -> None:
        """Let others have their turn, with the rooms measured that have changed, so that no submission has to."""
        for _ in self._desk.make_rooms():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
