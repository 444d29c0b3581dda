"""The daemon killed at each step of a preemption: it goes on, or gives up cleanly."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from slurm_power.core.errors import StoreError
from slurm_power.core.giving_way import LIVE, STEPS, Stage
from slurm_power.ports import Chain, Command, JobState, Outcome, RequeueHold, Signal, Store
from tests.service.preempt_rig import LATER, Rig


class Killed(BaseException):
    """kill -9: nothing of ours goes on."""


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.end()


def crowded(rig: Rig, tier: str) -> tuple[int, int]:
    """A victim in one zone, and gold that waits for it."""
    victim = rig.running(tier, est_w=20_000, more=",zones=a")
    rig.running("gold", est_w=20_000, more=",zones=b")
    return victim, rig.submit("gold", est_w=20_000)


def killed(rig: Rig) -> None:
    """The round in which it happens; then the daemon comes back."""
    rig.clock.instant += 2
    rig.slurm.tick(rig.clock.instant)
    with pytest.raises(Killed):
        asyncio.run(rig.rounds.round())
    rig.crash()


def ends_well(rig: Rig, victim: int, gold: int) -> None:
    """Gold runs, the victim was taken once, and comes back by itself."""
    rig.later(2, 3)
    rig.later(601)
    rig.later(2, 5)
    assert rig.state(gold) is JobState.RUNNING
    assert (rig.live, list(rig.store.pending_intents())) == ([], [])
    assert rig.job(victim).restarts == 1
    rig.slurm.finish(gold)
    rig.later(2, 2)
    rig.later(LATER, 2)
    assert rig.state(victim) is JobState.RUNNING
    assert len(rig.signalled()) <= 1


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize(
    ("tier", "stage"),
    [
        ("bronze", Stage.PLANNED),
        ("bronze", Stage.STRIKING),
        ("silver", Stage.PLANNED),
        ("silver", Stage.WARNING),
        ("silver", Stage.NOTICE),
    ],
)
def test_between_two_stages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, tier: str, stage: Stage, durable: bool
) -> None:
    victim, gold = crowded(rig, tier)
    opened = rig.writer.submit_and_wait

    def dying(operation: Callable[[Store], Any]) -> Any:
        """The writer's thread takes what is put to it; we may be dead before it has, or before we hear of it."""
        seen: list[str] = []

        class Spy:
            def __getattr__(self, name: str) -> Any:
                return getattr(rig.store, name)

            def open_intents(self, intents: Sequence[Any]) -> Sequence[Any]:
                seen.extend(str(intent.detail.get("stage")) for intent in intents)
                if stage in seen and not durable:
                    raise StoreError("dead")
                return rig.store.open_intents(intents)

        future = opened(lambda store: operation(Spy()))
        future.exception()
        if stage in seen:
            raise Killed
        return future

    monkeypatch.setattr(rig.writer, "submit_and_wait", dying)
    killed(rig)
    ends_well(rig, victim, gold)


@pytest.mark.parametrize("tier", ["bronze", "silver"])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_in_the_middle_of_the_blow(rig: Rig, monkeypatch: pytest.MonkeyPatch, tier: str, done: int) -> None:
    """After each of its commands: marked, requeued, held."""
    victim, gold = crowded(rig, tier)
    if tier == "silver":
        rig.later(2)
        rig.clock.instant += 600
    dies_in_write(rig, monkeypatch, RequeueHold, done)
    killed(rig)
    ends_well(rig, victim, gold)


@pytest.mark.parametrize("done", [0, 1])
def test_around_the_signal(rig: Rig, monkeypatch: pytest.MonkeyPatch, done: int) -> None:
    """Whether it was sent or not, it is not sent again, and the notice begins after the restart."""
    victim, gold = crowded(rig, "silver")
    dies_in_write(rig, monkeypatch, Signal, done)
    killed(rig)
    rig.later(2)
    assert rig.stages == [Stage.NOTICE]
    assert rig.live[0].strike_at == rig.clock.instant + 601
    ends_well(rig, victim, gold)
    assert len(rig.signalled()) == done


def test_while_the_victim_completes_and_before_its_watts_are_given_on(rig: Rig) -> None:
    victim, gold = crowded(rig, "bronze")
    rig.slurm.completing_s = 20
    rig.later(2)
    assert rig.state(victim) is JobState.COMPLETING
    rig.crash()
    waits = rig.submit("bronze", est_w=20_000)
    rig.later(2)
    rig.crash()
    rig.later(20, 2)
    rig.crash()
    rig.later(2, 3)
    assert rig.state(gold) is JobState.RUNNING
    assert rig.state(waits) is JobState.PENDING


def test_during_the_notice(rig: Rig) -> None:
    victim, gold = crowded(rig, "silver")
    rig.later(2)
    (strike_at,) = (one.strike_at for one in rig.live)
    rig.crash()
    rig.later(2)
    assert [one.strike_at for one in rig.live] == [strike_at]
    ends_well(rig, victim, gold)
    assert len(rig.signalled()) == 1


def test_a_job_that_was_cancelled_meanwhile(rig: Rig) -> None:
    victim, gold = crowded(rig, "silver")
    rig.later(2)
    rig.slurm.cancel(gold)
    rig.crash()
    rig.later(2, 2)
    rig.later(700)
    assert (rig.live, list(rig.store.pending_intents())) == ([], [])
    assert rig.state(victim) is JobState.RUNNING


def test_nothing_is_done_while_the_database_fails(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    victim, gold = crowded(rig, "bronze")
    opened = rig.store.open_intents

    def fails(intents: Sequence[Any]) -> Sequence[Any]:
        raise StoreError("no disk")

    monkeypatch.setattr(rig.store, "open_intents", fails)
    rig.later(2, 3)
    assert (rig.written(), rig.stages) == ([], [Stage.PLANNED])
    monkeypatch.setattr(rig.store, "open_intents", opened)
    ends_well(rig, victim, gold)


def test_commands_that_are_lost_or_repeated(rig: Rig) -> None:
    victim, gold = crowded(rig, "bronze")
    rig.slurm.faults.lost_write = 1.0
    rig.later(2, 3)
    rig.slurm.faults.lost_write, rig.slurm.faults.lost_answer = 0.0, 1.0
    rig.later(2, 3)
    rig.slurm.faults.lost_answer = 0.0
    ends_well(rig, victim, gold)


def test_every_stage_leads_to_an_end() -> None:
    ends = {stage for stage in Stage if stage not in LIVE}
    for stage in LIVE:
        reached, ahead = set[Stage](), [stage]
        while ahead:
            at = ahead.pop()
            reached.add(at)
            ahead += [after for (before, _), after in STEPS.items() if before is at and after not in reached]
        assert reached & ends, stage
    assert not [step for step in STEPS if step[0] in ends]


def dies_in_write(rig: Rig, monkeypatch: pytest.MonkeyPatch, kind: type[Command], done: int) -> None:
    """Die once a chain with such a command has been carried out so far."""
    write = rig.slurm.write

    def dying(chains: Sequence[Chain]) -> Sequence[Outcome]:
        if not any(isinstance(command, kind) for chain in chains for command in chain):
            return write(chains)
        monkeypatch.undo()
        write([chain[:done] for chain in chains])
        raise Killed

    monkeypatch.setattr(rig.slurm, "write", dying)
