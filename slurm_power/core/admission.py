"""The decision: admit, hold or reject, with reasons. `decide` is pure; production, what-if and replay call the same.

Rejected is only what could never run: what finds no place even on an empty floor with its declared limits.
"""

from collections.abc import Iterable
from enum import StrEnum

from slurm_power.core.asker import Asker
from slurm_power.core.claim import Claim
from slurm_power.core.diagnosis import diagnosing, tiers_that_fit
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.placement import Placement, Placer
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Help, Reason
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps, finish
from slurm_power.core.topology import Lane
from slurm_power.core.window import Window


class PowerClass(StrEnum):
    """What a job runs on."""

    RESERVED = "reserved"
    SHARED = "shared"
    INTERRUPTIBLE = "interruptible"


@immutable
class Admit:
    """The request fits now: the claim to count, and what the job will run on."""

    claim: Claim
    power_class: PowerClass
    cut_at: int | None = None
    """When the first planned cut begins that it does not fit under: its tier accepts that it has to go by then."""


@immutable
class Hold:
    """Not now."""

    reasons: tuple[Reason, ...]
    earliest: int | None = None
    helps: tuple[Help, ...] = ()


@immutable
class Reject:
    """Never."""

    reasons: tuple[Reason, ...]
    helps: tuple[Help, ...] = ()


Verdict = Admit | Hold | Reject


def decide(
    request: Request, ledger: Ledger, floor: Ledger, *, ignore: str | None = None, others: Iterable[Tier] = ()
) -> Verdict:
    """Decide on a request at `ledger.now`. `floor` is `ledger.empty()`, kept by the caller; neither is changed.

    `ignore` names a booked shadow that the request outranks; `others` are tiers to try when explaining a hold.
    """
    return finish(deciding(request, ledger, floor, ignore=ignore, others=others))


def deciding(
    request: Request, ledger: Ledger, floor: Ledger, *, ignore: str | None = None, others: Iterable[Tier] = ()
) -> Steps[Verdict]:
    """The same, step by step: more than one where a job goes over many zones.

    Where something else is done between two steps, an admission is a proposal: see `Placer.stands`.
    """
    now = ledger.now
    if request.not_before > now:
        return (yield from _too_early(request, ledger, floor, others))
    placement = yield from Placer(request, ledger, request.window(now), ignore).placing()
    if placement is not None:
        return admit(request, ledger, placement)
    if not (yield from _may_ever_fit(request, floor)):
        return (yield from _never(request, ledger, floor, others))
    found = yield from diagnosing(request, ledger, ignore, others)
    return Hold(found.reasons, found.start.at if found.start else None, found.helps)


def admit(request: Request, ledger: Ledger, placement: Placement) -> Admit:
    """The verdict for a request that found its place."""
    lanes = {ledger.topology.zones[charge.zone].lane for charge in placement.charges}
    claim = request.claim(placement.charges, ledger.now, placement.share_milli)
    return Admit(claim, power_class(request.tier, lanes), _cut_at(request, ledger, claim))


def _cut_at(request: Request, ledger: Ledger, claim: Claim) -> int | None:
    if request.through_cuts_s is None:
        return None
    cuts = [cut for name in ledger.loads(claim.charges) for cut in ledger.meters[name].cuts]
    starts = sorted({cut.window.start for cut in cuts if cut.window.start < claim.window.end})
    short = (
        start
        for start in starts
        if ledger.shortfall(claim.charges, Asker(claim.group, Window(start, start + 1)))
    )
    return next(short, None)


def power_class(tier: Tier, lanes: Iterable[Lane]) -> PowerClass:
    """Never preempted: reserved; preempted at once, or in a cold lane: interruptible; else shared."""
    if tier.notice_s is None:
        return PowerClass.RESERVED
    if tier.notice_s == 0 or Lane.COLD in lanes:
        return PowerClass.INTERRUPTIBLE
    return PowerClass.SHARED


def could_ever_fit(request: Request, floor: Ledger) -> bool:
    """Whether the request might find a place on an empty floor.

    Over several zones placement takes the largest parts first and may miss a split; only what no split could carry
    is denied for ever.
    """
    return finish(_may_ever_fit(request, floor))


def _may_ever_fit(request: Request, floor: Ledger) -> Steps[bool]:
    placer = Placer(request, floor, request.window(floor.now), any_will_do=True)
    return (yield from placer.placing()) is not None or (yield from placer.spreading())


def _never(request: Request, ledger: Ledger, floor: Ledger, others: Iterable[Tier]) -> Steps[Reject]:
    """The verdict for a request that finds no place even on an empty floor: what stands in its way there.

    Less might fit there some day; only another tier is tried on the floor as it is.
    """
    found = yield from diagnosing(request, floor)
    helps = yield from tiers_that_fit(request, ledger, others)
    return Reject(found.reasons, found.helps + helps)


def _too_early(request: Request, ledger: Ledger, floor: Ledger, others: Iterable[Tier]) -> Steps[Verdict]:
    if not (yield from _may_ever_fit(request, floor)):
        return (yield from _never(request, ledger, floor, others))
    return Hold((Reason(Code.NOT_ELIGIBLE, detail="its time has not come"),), request.not_before)
