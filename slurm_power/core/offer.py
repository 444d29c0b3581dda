"""Candidates for preemption, and what they would give back."""

from slurm_power.core.claim import Claim
from slurm_power.core.immutable import immutable

Amounts = tuple[int, ...]
"""Of each thing that is short so much: W, or thousandths of nodes."""


@immutable
class Candidate:
    """A running job that may be preempted by law (QOS `Preempt` in sacctmgr; the caller has seen to that)."""

    claim: Claim
    rank: int
    """Of its tier: 0 is the highest promise."""
    started: int
    """The instant at which it started."""
    job_id: int = 0
    notice_s: int = 0
    lost_s: int = 0
    """Work since its last checkpoint, in node-seconds."""
    on: tuple[str, ...] = ()
    """The nodes that it runs on, so that two jobs are known to free one node together; empty if nobody knows."""

    @property
    def id(self) -> str:
        """The id of its claim."""
        return self.claim.id


@immutable
class Offer:
    """What a candidate would give back of each thing that is short, and what it loses in all, in W."""

    candidate: Candidate
    watts: int
    gives: Amounts


def minus(amounts: Amounts, less: Amounts) -> Amounts:
    """One amount less another, thing by thing."""
    return tuple(map(int.__sub__, amounts, less))
