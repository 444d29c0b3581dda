"""The choice of victims: which jobs have to go so that enough comes free.

What is short is a vector: watts of zones and feeds, nodes of zones. Each candidate gives back known amounts of it, and
a set of candidates suffices if what they give adds up to all that is short.

Lowest tier first, exactly: take the tiers from the lowest promise up until all candidates taken together suffice; of
the tiers above nobody is touched. Then, from the highest tier taken down, choose in each the set that comes first among
those that suffice together with what is chosen above and all of the tiers below. Sets are compared by their watts, then
jobs, then work lost, then youth (the greater sum of starts), then job ids. So a higher tier gives as little as it has
to in every respect, whatever that costs the lower ones; and nobody is chosen who could be left out.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter

from slurm_power.core.cover import cover
from slurm_power.core.offer import Amounts, Candidate, Offer, minus
from slurm_power.core.steps import Steps


def choose(short: Sequence[int], offers: Iterable[Offer]) -> Steps[tuple[Candidate, ...] | None]:
    """The victims, lowest tier first, then by job id; None where all candidates together do not suffice."""
    tiers: dict[int, list[Offer]] = {}
    for offer in offers:
        tiers.setdefault(offer.candidate.rank, []).append(offer)
    need, totals = tuple(short), {rank: _sum(tier, len(short)) for rank, tier in tiers.items()}
    touched = _touched(need, totals)
    if touched is None:
        return None
    victims: list[Candidate] = []
    for place in reversed(range(len(touched))):
        must = need
        for rank in touched[:place]:
            must = minus(must, totals[rank])
        chosen = yield from cover(must, tiers[touched[place]])
        for offer in chosen:
            need = minus(need, offer.gives)
        victims += (offer.candidate for offer in chosen)
    return in_order(victims)


def in_order(victims: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The lowest tier first, then by job id."""
    return tuple(sorted(victims, key=lambda victim: (-victim.rank, victim.job_id, victim.id)))


def highest_touched(short: Sequence[int], offers: Iterable[Offer]) -> int | None:
    """The rank of the highest tier that a choice has to touch; None where all do not suffice or nothing is short."""
    totals: dict[int, Amounts] = {}
    for offer in offers:
        rank = offer.candidate.rank
        before = totals.get(rank)
        totals[rank] = offer.gives if before is None else tuple(map(int.__add__, before, offer.gives))
    touched = _touched(tuple(short), totals)
    return touched[-1] if touched else None


Price = tuple[tuple[int, int, int, int], ...]
"""For each tier, the highest first: watts, jobs, work lost, and the negative sum of starts."""


def price(victims: Iterable[Candidate], ranks: Iterable[int]) -> Price:
    """What a set of victims costs, to compare sets; `ranks` are all tiers that any of these sets might touch."""
    sums = {rank: [0, 0, 0, 0] for rank in sorted(ranks)}
    for victim in victims:
        own = sums[victim.rank]
        own[0] += victim.claim.est_w
        own[1] += 1
        own[2] += victim.lost_s
        own[3] -= victim.started
    return tuple((watts, jobs, lost, young) for watts, jobs, lost, young in sums.values())


def _touched(need: Amounts, totals: dict[int, Amounts]) -> list[int] | None:
    """The ranks of the tiers that have to be touched, the lowest promise first."""
    found: list[int] = []
    for rank in sorted(totals, reverse=True):
        if max(need, default=0) <= 0:
            break
        need = minus(need, totals[rank])
        found.append(rank)
    return found if max(need, default=0) <= 0 else None


_GIVES = attrgetter("gives")


def _sum(offers: Sequence[Offer], dimensions: int) -> Amounts:
    return tuple(map(sum, zip(*map(_GIVES, offers), strict=True))) if offers else (0,) * dimensions
