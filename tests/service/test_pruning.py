"""What is too old leaves the database in small pieces, beside the decisions and never before them."""

import asyncio
from collections.abc import Iterator

import pytest

from slurm_power.adapters.store import StoreWriter
from slurm_power.core.errors import StoreError
from slurm_power.daemon.rounds import Rounds
from slurm_power.ports import Decision, Intent
from tests.fakes.store import MemoryStore
from tests.service.support import SITE, START, Lab, fake_slurm, site_of

DAY = 86_400
NOW = START + 3_600
"""The clock has run true for an hour."""


class Counting(MemoryStore):
    """Notes how much was deleted at a time; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[int] = []
        self.fails = False

    def prune(self, *, decisions: int, intents: int, limit: int, profiles: int = 0) -> int:
        if self.fails:
            raise StoreError("disk full")
        self.pieces.append(super().prune(decisions=decisions, intents=intents, limit=limit, profiles=profiles))
        return self.pieces[-1]


class Keeper:
    """A daemon's rounds over a store."""

    def __init__(self) -> None:
        self.store = Counting()
        self.lab = Lab(site_of(SITE + "state: {keep: 30d}\n"))
        self.writer = StoreWriter(self.store, retry_s=0.001)
        slurm = fake_slurm(self.lab.site)
        self.rounds = Rounds(self.lab.desk, slurm, self.writer, self.lab.observer, self.lab.clock)

    def decided(self, at: int, count: int = 1) -> None:
        self.store.record([Decision(at, "admit", "enforce", job="7", token="t7", uid=1001, account="a")] * count)

    def round(self) -> None:
        asyncio.run(self.rounds.round())
        assert self.writer.flush(10)

    def left(self) -> list[int]:
        return [line.at - NOW for line in self.store.decisions(limit=10_000)]


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    made = Keeper()
    made.round()
    made.lab.wait(3_600)
    yield made
    made.writer.close(10)


def test_what_is_older_than_the_site_keeps_goes(keeper: Keeper) -> None:
    for days in (31, 30, 29, 0):
        keeper.decided(NOW - days * DAY)
    keeper.decided(NOW - 30 * DAY - 1)
    keeper.round()
    assert keeper.left() == [-30 * DAY, -29 * DAY, 0]


def test_intents_are_kept_a_week_once_they_are_closed_as_reconciliation_closes_those_cut_off(keeper: Keeper) -> None:
    ages = (8, 8, 6)
    opened = keeper.store.open_intents([Intent(str(n), "bind", NOW - age * DAY) for n, age in enumerate(ages)])
    ids = [intent.id or 0 for intent in opened]
    keeper.store.close_intents([ids[0], ids[2]], "done")
    keeper.round()
    assert [keeper.store.result_of(each) for each in ids] == [None, None, "done"]
    assert keeper.store.pending_intents() == []


def test_a_piece_a_round_until_nothing_old_is_left_and_then_once_an_hour(keeper: Keeper) -> None:
    keeper.decided(NOW - 40 * DAY, 1_100)
    for _ in range(5):
        keeper.round()
    assert keeper.store.pieces == [500, 500, 100]
    keeper.lab.wait(3_600)
    keeper.decided(NOW - 40 * DAY)
    keeper.round()
    keeper.round()
    assert keeper.store.pieces == [500, 500, 100, 1]


def test_what_failed_is_tried_again(keeper: Keeper) -> None:
    keeper.decided(NOW - 40 * DAY)
    keeper.store.fails = True
    keeper.round()
    assert len(keeper.left()) == 1
    keeper.store.fails = False
    keeper.round()
    keeper.round()
    assert (keeper.left(), keeper.store.pieces) == ([], [1])


def test_a_clock_that_is_ahead_for_a_moment_deletes_nothing(keeper: Keeper) -> None:
    keeper.decided(NOW - 20 * DAY)
    clock = keeper.lab.clock
    clock.instant += 365 * DAY
    clock.wait(-365 * DAY)
    keeper.round()
    keeper.round()
    clock.instant -= 365 * DAY
    clock.wait(365 * DAY)
    keeper.lab.wait(3_600)
    keeper.round()
    keeper.round()
    assert len(keeper.left()) == 1


def test_a_clock_that_is_set_back_does_not_put_it_off(keeper: Keeper) -> None:
    keeper.decided(NOW - 80 * DAY)
    keeper.lab.clock.instant -= 40 * DAY
    keeper.lab.clock.wait(40 * DAY)
    keeper.round()
    assert keeper.left() == []
