"""The choice of victims: which jobs have to go so that enough comes free.

What is short is a vector: watts of zones and feeds, nodes of zones. Each candidate gives back known amounts of it, and
a set of candidates suffices if what they give adds up to all that is short.

Lowest tier first, exactly: take the tiers from the lowest promise up until all candidates taken together suffice; of
the tiers above nobody is touched. Then, from the highest tier taken down, choose in each the set that comes first among
those that suffice together with what is chosen above and all of the tiers below. Sets are compared by their watts, then
jobs, then work lost, then youth (the greater sum of starts), then job ids. So a higher tier gives as little as it has
to in every respect, whatever that costs the lower ones; and nobody is chosen who could be left out.

Of one tier that is a covering knapsack in several dimensions. It is solved by branch and bound, exactly where few can
be meant; of many, all but a core are decided by what they give for their watts, and the search ends after so many
steps: bounded work, counted and not timed, so that the same input gives the same victims.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from slurm_power.core.claim import Claim
from slurm_power.core.immutable import immutable

_CORE_TAKEN, _CORE_NEXT, _CORE_SAMPLE = 10, 12, 16
"""Of many candidates the search decides on so many that a greedy choice takes last, that come next, of all sizes."""
_STEPS = 2_000
"""Sets that the search may look at."""
_SHIFT = 20
"""Watts per unit given are kept in units of 2⁻²⁰, rounded down so that bounds stay bounds."""

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


def choose(short: Sequence[int], offers: Iterable[Offer]) -> tuple[Candidate, ...] | None:
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
            must = _minus(must, totals[rank])
        chosen = _cover(must, tiers[touched[place]])
        for offer in chosen:
            need = _minus(need, offer.gives)
        victims += (offer.candidate for offer in chosen)
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
        need = _minus(need, totals[rank])
        found.append(rank)
    return found if max(need, default=0) <= 0 else None


def _cover(need: Amounts, offers: Sequence[Offer]) -> list[Offer]:
    """Of one tier the set that covers what is needed; all of it does."""
    places = [place for place, amount in enumerate(need) if amount > 0]
    if not places:
        return []
    if len(places) == len(need):
        items = _by_worth(need, offers, map(_GIVES, offers))
    else:
        need = tuple(need[place] for place in places)
        items = _by_worth(need, offers, [tuple([offer.gives[place] for place in places]) for offer in offers])
    settled, core = _split(need, items)
    left = need
    for item in settled:
        left = _minus(left, item.gives)
    return [item.offer for item in _reduced(need, settled + _Search(left, core).best())]


class _Item(NamedTuple):
    """An offer, and of what it gives that part which is needed; in order of its fields."""

    worth: int
    """Watts for what it covers; less is better."""
    minus_watts: int
    gives: Amounts
    lost_s: int
    minus_started: int
    job_id: int
    id: str
    watts: int
    offer: Offer


def _by_worth(need: Amounts, offers: Iterable[Offer], gifts: Iterable[Amounts]) -> list[_Item]:
    """The items that give anything, by the watts that they cost for what they cover; of equals the largest first."""
    scaled = [(amount, (1 << _SHIFT * 2) // amount + 1) for amount in need]
    found = []
    for offer, gives in zip(offers, gifts, strict=True):
        covered = 0
        for (amount, scale), given in zip(scaled, gives, strict=True):
            covered += (given if given < amount else amount) * scale
        if covered:
            watts, one = offer.watts, offer.candidate
            worth = (watts << _SHIFT * 3) // covered
            found.append(_Item(worth, -watts, gives, one.lost_s, -one.started, one.job_id, one.id, watts, offer))
    found.sort()
    return found


def _split(need: Amounts, items: list[_Item]) -> tuple[list[_Item], list[_Item]]:
    """The items that are taken in any case, and those among which the search decides; in order of worth."""
    if len(items) <= _CORE_TAKEN + _CORE_NEXT + _CORE_SAMPLE:
        return [], items
    left, lefts = need, [need]
    for item in items:
        if max(left) <= 0:
            break
        left = _minus(left, item.gives)
        lefts.append(left)
    taken = len(lefts) - 1
    first = max(0, taken - _CORE_TAKEN)
    last = taken + _CORE_NEXT
    step = max(1, (len(items) - last) // _CORE_SAMPLE)
    places = {*range(first, min(last, len(items))), *range(last, len(items), step)}
    for at in {first, max(first, taken - 2), taken - 1}:
        ending = _cheapest(lefts[at], items, first)
        if ending is not None:
            places.add(ending)
    return items[:first], [items[place] for place in sorted(places)]


def _cheapest(left: Amounts, items: list[_Item], first: int) -> int | None:
    """Of the items from `first` on, the place of the cheapest that alone covers what is left."""
    places = list(range(first, len(items)))
    for dimension, amount in enumerate(left):
        if amount > 0:
            places = [place for place in places if items[place].gives[dimension] >= amount]
    return min(places, key=lambda place: (items[place].watts, items[place][3:7]), default=None)


def _reduced(need: Amounts, items: list[_Item]) -> list[_Item]:
    """The items without those that can be left out, the dearest looked at first."""
    spare = tuple(-amount for amount in need)
    for item in items:
        spare = tuple(map(int.__add__, spare, item.gives))
    kept = []
    for item in sorted(items, key=lambda item: (item.watts, *item[3:7]), reverse=True):
        without = _minus(spare, item.gives)
        if min(without) >= 0:
            spare = without
        else:
            kept.append(item)
    return kept


class _Search:
    """Branch and bound over items in order of worth.

    Watts, jobs, work lost and youth make one number that adds up: each in units larger than all that may come below it.
    What is left of a dimension costs at least its amount × the least watts a unit of the items to come, and at least
    its amount ÷ the largest gift of them in jobs.
    """

    def __init__(self, need: Amounts, items: list[_Item]) -> None:
        self._need = need
        self._items = items
        youngest = min((item.minus_started for item in items), default=0)
        ages = [item.minus_started - youngest for item in items]
        lost = [item.lost_s for item in items]
        per_lost = sum(ages) + 1
        self._per_job = per_lost * (sum(lost) + 1)
        self._per_watt = self._per_job * (len(items) + 1)
        self._costs = [
            item.watts * self._per_watt + self._per_job + item_lost * per_lost + age
            for item, item_lost, age in zip(items, lost, ages, strict=True)
        ]
        self._bounds = self._bounds_from(len(need))
        self._next = self._next_unlike()
        self._steps = _STEPS
        greedy = self._greedy()
        self._best = (sum(self._costs[place] for place in greedy), self._ids(greedy), greedy)

    def best(self) -> list[_Item]:
        """The best set that was found; the best there is if the steps sufficed."""
        self._visit(0, self._need, 0, ())
        return [self._items[place] for place in self._best[2]]

    def _visit(self, place: int, need: Amounts, cost: int, taken: tuple[int, ...]) -> None:
        if max(need) <= 0:
            if cost <= self._best[0]:
                self._best = min(self._best, (cost, self._ids(taken), taken))
            return
        if not self._steps:
            return
        self._steps -= 1
        watts = jobs = 0
        for amount, (total, ratio, most) in zip(need, self._bounds[place], strict=True):
            if amount > 0:
                if amount > total:
                    return
                watts = max(watts, -(-amount * ratio >> _SHIFT))
                jobs = max(jobs, -(-amount // most))
        if cost + watts * self._per_watt + jobs * self._per_job > self._best[0]:
            return
        self._visit(place + 1, _minus(need, self._items[place].gives), cost + self._costs[place], (*taken, place))
        self._visit(self._next[place], need, cost, taken)

    def _greedy(self) -> tuple[int, ...]:
        """Places of the first items that suffice, without those that can be left out."""
        left, taken = self._need, []
        for item in self._items:
            if max(left, default=0) <= 0:
                break
            taken.append(item)
            left = _minus(left, item.gives)
        kept = set(map(id, _reduced(self._need, taken)))
        return tuple(place for place, item in enumerate(taken) if id(item) in kept)

    def _ids(self, places: Sequence[int]) -> list[tuple[int, str]]:
        return sorted((self._items[place].job_id, self._items[place].id) for place in places)

    def _bounds_from(self, dimensions: int) -> list[list[tuple[int, int, int]]]:
        """For each place and dimension, of the items from there on: sum, least watts a unit, and largest gift."""
        bounds = [[(0, 0, 0)] * dimensions]
        for item in reversed(self._items):
            row = []
            for gives, (total, ratio, most) in zip(item.gives, bounds[-1], strict=True):
                if gives:
                    own = (item.watts << _SHIFT) // gives
                    row.append((total + gives, min(ratio, own) if total else own, max(most, gives)))
                else:
                    row.append((total, ratio, most))
            bounds.append(row)
        return bounds[::-1]

    def _next_unlike(self) -> list[int]:
        """For each place the next item that differs in watts or gifts: of equals the later is not taken alone."""
        following = [0] * len(self._items)
        for place in reversed(range(len(self._items))):
            item, after = self._items[place], place + 1
            like = after < len(self._items) and _alike(item, self._items[after])
            following[place] = following[after] if like else after
        return following


def _alike(one: _Item, other: _Item) -> bool:
    return one.watts == other.watts and one.gives == other.gives


def _minus(amounts: Amounts, less: Amounts) -> Amounts:
    return tuple(map(int.__sub__, amounts, less))


_GIVES = attrgetter("gives")


def _sum(offers: Sequence[Offer], dimensions: int) -> Amounts:
    return tuple(map(sum, zip(*map(_GIVES, offers), strict=True))) if offers else (0,) * dimensions
