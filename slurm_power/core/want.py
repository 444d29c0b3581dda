"""What is short on zones and feeds, and what the end of a claim would give back of it."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from math import isqrt
from typing import NamedTuple, Protocol

from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.level import Load
from slurm_power.core.placement import Placer
from slurm_power.core.policy import BurstRule


class Aspect(StrEnum):
    """In which respect something is short: watts under usable, watts and bursts under limit, thousandths of nodes."""

    PACKING = "packing"
    BURST = "burst"
    NODES = "nodes"


class Want(NamedTuple):
    """A zone or feed, and what is short there."""

    element: str
    aspect: Aspect


Lacks = dict[Want, int]
"""How much is short, in W or thousandths of nodes; what is not short is left out."""


class Carried(Protocol):
    """What is live on one zone or feed, and what it may carry, in W: its meter, or a copy of the meter's sums."""

    rule: BurstRule
    usable_w: int
    limit_w: int
    committed_w: int
    bursts_sum_w: int
    squares: int
    groups: dict[str, int]

    @property
    def burst_w(self) -> int:
        """What may come on top of committed."""

    @property
    def room_w(self) -> int:
        """How much more may come; negative where it holds more than it may."""


def lacking(placer: Placer, charges: Iterable[Charge]) -> Lacks:
    """What is short for a request with these charges, over its whole window. That zones are closed is not seen."""
    charges = tuple(charges)
    ledger, request = placer.ledger, placer.request
    found = _lacking(ledger, charges, placer.asker)
    for charge in charges:
        packing = Want(charge.zone, Aspect.PACKING)
        if request.headroom_w:
            found[packing] = max(found[packing], request.headroom_w - placer.headroom_w(charge.zone))
        nodes = charge.nodes - placer.free_nodes(charge.zone)
        found[Want(charge.zone, Aspect.NODES)] = nodes * placer.share_milli(charge.zone)
    return _short(found)


def lacking_for(ledger: Ledger, claim: Claim) -> Lacks:
    """What is short for a claim over its whole window, itself left out where it is booked. Of nodes nothing is said."""
    return _short(_lacking(ledger, claim.charges, Asker(claim.group, claim.window, ignore=claim.id)))


def _lacking(ledger: Ledger, charges: Iterable[Charge], asker: Asker) -> Lacks:
    found: Lacks = {}
    for name, load in ledger.loads(charges).items():
        lacks = ledger.meters[name].missing(load.est_w, load.burst_w, asker, ledger.now)
        found[Want(name, Aspect.PACKING)], found[Want(name, Aspect.BURST)] = lacks
    return found


def over(meters: Mapping[str, Carried], elements: Iterable[str]) -> Lacks:
    """By how much committed passes usable, or committed + burst the limit, on these zones and feeds now."""
    found: Lacks = {}
    for name in elements:
        meter = meters[name]
        if meter.room_w < 0:  # a meter remembers it, so that to look at all of a large floor takes little
            found[Want(name, Aspect.PACKING)] = meter.committed_w - meter.usable_w
            found[Want(name, Aspect.BURST)] = meter.committed_w + meter.burst_w - meter.limit_w
    return _short(found)


def gift(meter: Carried, claim: Claim, load: Load | None, want: Want) -> int:
    """About what the end of a live claim gives back on an element, `load` being what it puts there."""
    if load is None:
        return 0
    if want.aspect is Aspect.NODES:
        return load.node_milli
    if want.aspect is Aspect.PACKING:
        return load.est_w
    return load.est_w + _relief_w(meter, claim.group, load.burst_w)


def _relief_w(meter: Carried, group: str, burst_w: int) -> int:
    """By how much at least the burst on an element falls without `burst_w` of a group, in W.

    z·√Q − z·√(Q − Δ) ≥ z·Δ ÷ 2√Q with Δ = x² − (x − b)² = b(2x − b), x being the group's burst; where the sum of all
    bursts is less than that root, what counts of it falls by b.
    """
    if not burst_w or meter.burst_w == meter.bursts_sum_w:
        return burst_w
    less = burst_w * (2 * meter.groups.get(group, 0) - burst_w)
    return min(burst_w, meter.rule.z_milli * less // (2_000 * (isqrt(meter.squares) + 1)))


def _short(amounts: Lacks) -> Lacks:
    return {want: amount for want, amount in amounts.items() if amount > 0}
