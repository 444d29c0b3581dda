"""The life of a preemption, as data: who gives way to whom, the steps that lead there, and what is stored of them.

    PLANNED ──warn──▶ WARNING ──warned──▶ NOTICE ──strike──▶ STRIKING ──free──▶ FREE ──place──▶ DONE
        └───────────────────────strike───────────────────────────▲

Each state is durable before what is done in it is begun. So a state says what may have been done already, and after a
crash it is gone on with from there: a signal is sent in WARNING and never again; to requeue, to hold and to cancel can
be repeated. docs/states.md draws every step.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Any

from slurm_power.core.claim import Charge
from slurm_power.core.immutable import immutable
from slurm_power.core.offer import Candidate

AGAIN_S = 10
"""How long no victims are looked for again where there were none."""
LEAVE_S = 60
"""So long victims may take to leave their nodes: before a reservation or a planned cut begins, and after a notice."""


class Stage(StrEnum):
    """Where a preemption stands."""

    PLANNED = "planned"
    """The victims are chosen; nothing has been done to them."""
    WARNING = "warning"
    """Those who have notice are being sent the signal, once."""
    NOTICE = "notice"
    """They have been told; nobody is touched before the instant that is stored with it."""
    STRIKING = "striking"
    """Victims are requeued and held, or cancelled, until each has left its nodes and COMPLETING."""
    FREE = "free"
    """Their watts are free, in Slurm's own count too, and kept for whom they were freed."""
    DONE = "done"
    """Whom they were freed for has them."""
    CALLED_OFF = "called_off"
    """Nobody was touched: it was no longer needed, or no longer allowed."""
    FAILED = "failed"
    """Victims were touched, and yet it came to nothing; its cause says why."""


class Step(StrEnum):
    """What can happen to a preemption."""

    WARN = "warn"
    WARNED = "warned"
    STRIKE = "strike"
    FREE = "free"
    PLACE = "place"
    CALL_OFF = "call_off"
    GIVE_UP = "give_up"


STEPS: Mapping[tuple[Stage, Step], Stage] = {
    (Stage.PLANNED, Step.WARN): Stage.WARNING,
    (Stage.PLANNED, Step.STRIKE): Stage.STRIKING,
    (Stage.PLANNED, Step.CALL_OFF): Stage.CALLED_OFF,
    (Stage.WARNING, Step.WARNED): Stage.NOTICE,
    (Stage.WARNING, Step.CALL_OFF): Stage.CALLED_OFF,
    (Stage.NOTICE, Step.STRIKE): Stage.STRIKING,
    (Stage.NOTICE, Step.CALL_OFF): Stage.CALLED_OFF,
    (Stage.STRIKING, Step.FREE): Stage.FREE,
    (Stage.STRIKING, Step.GIVE_UP): Stage.FAILED,
    (Stage.FREE, Step.PLACE): Stage.DONE,
    (Stage.FREE, Step.GIVE_UP): Stage.FAILED,
}

UNTOUCHED = frozenset({Stage.PLANNED, Stage.WARNING, Stage.NOTICE})
"""Stages in which it can still be called off."""
LIVE = UNTOUCHED | {Stage.STRIKING, Stage.FREE}
"""Stages of a preemption that is not over."""


class Trigger(StrEnum):
    """What a preemption is for."""

    JOB = "job"
    """A held job whose QOS may preempt others."""
    RESERVATION = "reservation"
    """A reservation with the policy `preempt` that is short of its watts."""
    OVER = "over"
    """A zone or feed that holds more than its limit lets it."""
    CUT = "cut"
    """A zone or feed that will hold more than its limit lets it, once a cut that is planned begins."""
    DRAW = "draw"
    """A zone or feed that draws more than its limit, as measured."""
    MAX = "max"
    """A job that draws more than its own max; its key is the beneficiary."""
    MOVE = "move"
    """A job that leaves a crowded zone for another; its key is the beneficiary."""


PLACED = frozenset({Trigger.JOB, Trigger.MOVE})
"""Those that end with a job in the place that was kept for it."""
PHYSICAL = frozenset({Trigger.OVER, Trigger.CUT, Trigger.DRAW, Trigger.MAX, Trigger.MOVE})
"""Those that go by no QOS's right."""


class Means(StrEnum):
    """How a victim is taken off its nodes."""

    REQUEUE = "requeue"
    CANCEL = "cancel"


@immutable
class Victim:
    """One run of one job that gives way. Watts in W; `lost_s` in node-seconds since its last checkpoint."""

    key: str
    """Of its claim."""
    job: str
    """As people call it."""
    target: str
    """As Slurm's commands call it."""
    job_id: int
    token: str
    uid: int
    account: str
    restarts: int
    """Slurm's count, which tells this run from a later one."""
    tier: str
    est_w: int
    notice_s: int
    lost_s: int
    means: Means
    zones: tuple[str, ...] = ()
    """Where it runs."""


@immutable
class Preemption:
    """Victims for one beneficiary. Instants are seconds since 1970-01-01 UTC."""

    id: str
    trigger: Trigger
    beneficiary: str
    """The key of a job, the name of a reservation, or zones and feeds parted by commas."""
    tier: str
    """The tier of the beneficiary; empty where there is none."""
    stage: Stage
    since: int
    """When it came to stand so."""
    victims: tuple[Victim, ...]
    charges: tuple[Charge, ...] = ()
    """Where the watts are kept for the job that it is for, or that moves."""
    share_milli: int = 0
    cut_at: int | None = None
    """When a zone or feed is going to hold too much, where it is for that."""
    strike_at: int | None = None
    """Nobody is touched before this instant; None until all have been told."""
    cause: str = ""
    """Why it ended, for people."""

    @property
    def elements(self) -> list[str]:
        """The zones and feeds that it is for, where it is for such."""
        return self.beneficiary.split(",")

    @property
    def notice_s(self) -> int:
        """The longest notice that a victim has; all go together then, so that nobody loses more than he has to."""
        return longest_notice_s(self.victims)

    @property
    def watts_w(self) -> int:
        """Σ est of the victims, in W."""
        return sum(victim.est_w for victim in self.victims)

    @property
    def live(self) -> bool:
        """Whether it is not over."""
        return self.stage in LIVE


def longest_notice_s(victims: Iterable[Candidate | Victim]) -> int:
    """The longest notice that one of them has, in seconds; 0 of nobody."""
    return max((victim.notice_s for victim in victims), default=0)


def follow(stage: Stage, step: Step) -> Stage:
    """The stage after a step. Raises ValueError where the table has no such step."""
    try:
        return STEPS[stage, step]
    except KeyError:
        raise ValueError(f"a preemption that is {stage} cannot {step}") from None


def stored(preemption: Preemption) -> dict[str, object]:
    """A preemption as JSON."""
    return asdict(preemption)


def _read_victim(found: Mapping[str, Any]) -> Victim:
    return Victim(**{**found, "means": Means(found["means"]), "zones": tuple(found.get("zones", ()))})


def read_stored(found: Mapping[str, Any]) -> Preemption:
    """A preemption out of `stored`. Raises KeyError, TypeError or ValueError for what is none."""
    return Preemption(
        id=str(found["id"]),
        trigger=Trigger(found["trigger"]),
        beneficiary=str(found["beneficiary"]),
        tier=str(found["tier"]),
        stage=Stage(found["stage"]),
        since=int(found["since"]),
        victims=tuple(_read_victim(each) for each in found["victims"]),
        charges=tuple(Charge(**each) for each in found["charges"]),
        share_milli=int(found["share_milli"]),
        cut_at=found.get("cut_at"),
        strike_at=found["strike_at"],
        cause=str(found["cause"]),
    )
