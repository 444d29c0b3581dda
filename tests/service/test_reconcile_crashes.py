"""kill -9 at every step of a reconciliation, and two at once: the next one ends in the right state."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from slurm_power.adapters.turn import Turn, TurnTaken
from slurm_power.daemon.alone import COMMAND, DAEMON, one_look
from slurm_power.ports import (
    Chain,
    CreateReservation,
    DeleteReservation,
    HoldKind,
    Intent,
    Outcome,
    StoredJob,
    UpdateReservation,
)
from tests.service.drift import ADMITTED, HOUR, RUNS, WAITS, World, kinds
from tests.service.support import START

SPRING = "pw_rack02_research"
_WRITES = ("save_jobs", "drop_jobs", "record", "open_intents", "close_intents", "save_reservations")


class Killed(Exception):
    """kill -9."""


@dataclass
class Deadly:
    """Slurm and the database, from whose writes nobody comes back after `left` steps: done, or not done at all."""

    world: World
    left: int
    after: bool
    """Whether the last step is carried out."""

    def step(self, act: Callable[[], Any]) -> Any:
        """One step. Raises Killed at the last and ever after."""
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.after):
            raise Killed
        done = act()
        if self.left == 0:
            raise Killed
        return done


class DeadlySlurm:
    """Each command is a step."""

    def __init__(self, deadly: Deadly) -> None:
        self._deadly = deadly

    def __getattr__(self, name: str) -> Any:
        return getattr(self._deadly.world.slurm, name)

    def write(self, chains: Sequence[Chain]) -> Sequence[Outcome]:
        return [self._one(chain) for chain in chains]

    def _one(self, chain: Chain) -> Outcome:
        for done, command in enumerate(chain):
            outcome = self._deadly.step(partial(self._deadly.world.slurm.write, [(command,)]))[0]
            if outcome.error:
                return Outcome(done, outcome.error)
        return Outcome(len(chain))


class DeadlyStore:
    """Each write is a step."""

    def __init__(self, deadly: Deadly) -> None:
        self._deadly = deadly

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._deadly.world.store, name)
        if name not in _WRITES:
            return method
        return lambda *args: self._deadly.step(lambda: method(*args))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.stop()


def disorder(world: World) -> None:
    """Much of what can drift, at once."""
    slurm = world.slurm
    slurm._apply(DeleteReservation(SPRING))
    slurm._apply(CreateReservation("pw_old", START, START + HOUR, ("bob",), licenses={"pw_rack02": 1}))
    slurm.user_update(str(RUNS), Licenses="")
    slurm.user_update(str(ADMITTED), Licenses="", Features="")
    slurm.admin_releases(world.job(WAITS))
    slurm.submit(held=True, partition="outside", admin_comment="power:id=t9,v=hold,hold=power")
    gone = StoredJob("gone", None, 1001, "research", "bronze", 1, 1, 0, "g", START, HoldKind.POWER)
    world.store.save_jobs([gone])
    world.store.open_intents([Intent("1", "bind", START - HOUR)])


def _killed_at(world: World, step: int, *, after: bool) -> bool:
    """A reconciliation that dies at that step; False where it has no such step."""
    deadly = Deadly(world, step, after)
    slurm: Any = DeadlySlurm(deadly)
    store: Any = DeadlyStore(deadly)
    try:
        one_look(world.site, slurm, store, world.clock, dry_run=False)
    except Exception:  # the writer hands the blow on in words of its own
        return True
    return deadly.left <= 0


def _in_order(world: World) -> dict[str, object]:
    found = world.shown()
    return {name: found[name] for name in ("jobs", "reservations", "counted", "holds", "intents", "states")}


@pytest.mark.long
def test_a_walk_over_every_step_ends_in_the_same_state() -> None:
    whole = World()
    whole.stop()
    disorder(whole)
    assert len(kinds(whole.reconcile("alone"))) == 8
    assert kinds(whole.reconcile("alone")) == []
    wanted, walked = _in_order(whole), 0
    for step in range(1, 60):
        cut_short = 0
        for after in (False, True):
            world = World()
            world.stop()
            disorder(world)
            cut_short += _killed_at(world, step, after=after)
            world.reconcile("alone")
            assert kinds(world.reconcile("alone")) == [], f"killed {'after' if after else 'before'} step {step}"
            assert _in_order(world) == wanted, f"killed {'after' if after else 'before'} step {step}"
        if not cut_short:
            break
        walked += 1
    assert walked >= 12


@pytest.mark.parametrize("order", [("daemon", "alone"), ("alone", "daemon")])
def test_one_after_the_other_does_it_once(world: World, order: tuple[str, str]) -> None:
    disorder(world)
    assert kinds(world.reconcile(order[0]))
    if order[1] == "daemon":
        world.start()
        world.round()
    written = len(world.slurm.written)
    assert kinds(world.reconcile(order[1])) == []
    assert len(world.slurm.written) == written


def test_two_at_once_without_any_lock_do_no_harm() -> None:
    """The lock keeps them apart; what they do would bear it even so."""
    whole, world = World(), World()
    for one in (whole, world):
        one.stop()
        disorder(one)
    whole.reconcile("alone")
    barrier = threading.Barrier(2)

    def go() -> None:
        barrier.wait()
        one_look(world.site, world.slurm, world.store, world.clock, dry_run=False)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    world.reconcile("alone")
    assert kinds(world.reconcile("alone")) == []
    whole.reconcile("alone")
    assert _in_order(world) == _in_order(whole)


# -- whose turn it is --------------------------------------------------------------------------------------------------


def test_a_turn_is_for_one_at_a_time(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    with Turn(socket, COMMAND), pytest.raises(TurnTaken, match=COMMAND) as taken, Turn(socket, DAEMON):
        pass
    assert taken.value.holder == COMMAND
    with Turn(socket, DAEMON):
        pass


def test_who_waits_gets_it_when_the_other_ends(tmp_path: Path) -> None:
    socket, order = tmp_path / "hook.sock", []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with Turn(socket, "second", wait_s=20):
            order.append("second")

    with Turn(socket, "first"):
        thread = threading.Thread(target=second)
        thread.start()
        assert begun.wait(10)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_nobody_waits_for_a_daemon_that_runs(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    with Turn(socket, DAEMON), pytest.raises(TurnTaken), Turn(socket, COMMAND, wait_s=10_000, never=(DAEMON,)):
        pass


def test_the_name_of_who_had_it_says_nothing_afterwards(tmp_path: Path) -> None:
    socket = tmp_path / "hook.sock"
    with Turn(socket, DAEMON):
        pass
    with Turn(socket, "x") as turn, pytest.raises(TurnTaken, match="x"), Turn(socket, COMMAND, never=(DAEMON,)):
        assert turn


def test_an_update_refused_in_the_middle_is_mended_too(world: World) -> None:
    """Slurm drops a reservation's watts where it refuses an update, and the adapter could not set them again."""
    world.slurm.faults.unmended = 1.0
    refused = world.slurm.write([(UpdateReservation(SPRING, {"pw_rack02": 10**9}),)])[0]
    assert refused.error
    assert world.slurm.licenses()[3].reserved == 0
    assert kinds(world.reconcile("alone")) == [("mended", "reservation-forgotten", SPRING)]
