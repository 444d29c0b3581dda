"""A notice ends at its instant, not at the next round."""

import asyncio
from collections.abc import Iterator

import pytest

from slurm_power.core.giving_way import Stage
from slurm_power.daemon import preemptions
from tests.service.preempt_rig import Rig


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(preemptions, "_FAR_S", 0.01)
    monkeypatch.setattr(preemptions, "_POLL_S", 0.001)
    made = Rig()
    yield made
    made.end()


async def reached(rig: Rig, count: int) -> bool:
    for _ in range(500):
        if len(rig.written()) == count:
            return True
        await asyncio.sleep(0.005)
    return False


def test_without_another_round(rig: Rig) -> None:
    first = rig.running("silver", est_w=20_000, more=",zones=a")
    second = rig.running("silver", est_w=20_000, more=",zones=b")

    async def story() -> None:
        rig.submit("gold", est_w=12_000)
        rig.clock.instant += 2
        await rig.rounds.round()
        rig.clock.instant += 100
        rig.submit("gold", est_w=12_000)
        await rig.rounds.round()
        assert rig.stages == [Stage.NOTICE, Stage.NOTICE]
        rounds = rig.rounds.health.rounds
        rig.clock.instant += 500
        await asyncio.sleep(0.1)
        assert rig.written() == []
        rig.clock.instant += 1
        assert await reached(rig, 1)
        rig.clock.instant += 99
        await asyncio.sleep(0.1)
        assert len(rig.written()) == 1
        rig.clock.instant += 1
        assert await reached(rig, 2)
        assert rig.rounds.health.rounds == rounds

    asyncio.run(story())
    assert sorted(rig.written()) == [str(first), str(second)]
