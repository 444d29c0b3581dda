"""Victims of one tier: the least watts that give back enough, a covering knapsack in several dimensions.

Few candidates are decided by branch and bound. Of many a greedy choice is made first, and then mended: some of those
who are taken, and some who are not, are decided anew by the same search, again and again with others. The work is
bounded, and counted rather than timed, so that the same input gives the same victims.
"""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import islice
from math import inf
from operator import add
from typing import NamedTuple, overload

from slurm_power.core.offer import Amounts, Offer, minus
from slurm_power.core.steps import Steps

_FEW = 36
"""Up to so many candidates are all decided by one search."""
_TAKEN, _NEXT, _OTHERS = 8, 8, 16
"""Of many a search decides so many who are taken, so many who come next, and others from all the rest."""
_MENDINGS, _MENDINGS_OF_MANY, _MANY = 12, 4, 1_000
"""How often a greedy choice is mended."""
_MENDED = 64
"""Of so many who are taken, those of least worth, some are decided anew."""
_WAITING = 64
"""Of many, so many are looked at beyond the next of a greedy choice."""
_STEPS, _STEPS_MENDING = 3_000, 300
"""Sets that a search may look at."""
_SHIFT = 20
"""Bounds are kept as whole numbers of 2⁻²⁰ (of values 2⁻⁶⁰), rounded down so that they stay bounds."""


def cover(need: Amounts, offers: Sequence[Offer]) -> Steps[list[Offer]]:
    """Of offers that suffice together a set that does too, none of which can be left out.

    It comes first, or nearly, by watts, jobs, work lost, youth and job ids.
    """
    places = [place for place, amount in enumerate(need) if amount > 0]
    if not places:
        return []
    need = tuple(need[place] for place in places)
    if len(places) == len(offers[0].gives):
        gifts = [offer.gives for offer in offers]
    else:
        gifts = [tuple([offer.gives[place] for place in places]) for offer in offers]
    # To give all of one thing that is needed is worth as much as to give all of another.
    values = tuple((1 << 2 * _SHIFT) // amount + 1 for amount in need)
    ranked = yield from _by_worth(need, values, offers, gifts)
    yield
    chosen = _greedy(need, values, ranked)
    yield
    if len(ranked) <= _FEW:
        chosen = _Search(need, values, list(ranked), _STEPS).best(chosen)
    else:
        chosen = yield from _mended(need, values, ranked, chosen)
    return [item.offer for item in _reduced(need, chosen)]


class _Item(NamedTuple):
    """An offer, and of what it gives that part which is needed; in order of its fields."""

    worth: float
    """Watts for what it covers; less is better. It says whom to try first and bounds nothing, so it may be rounded."""
    minus_watts: int
    gives: Amounts
    lost_s: int
    minus_started: int
    job_id: int
    id: str
    watts: int
    offer: Offer


class _Ranked(Sequence[_Item]):
    """Items in order. Each is made when it is first looked at: of 10,000 few ever are."""

    def __init__(self, worths: Sequence[float], offers: Sequence[Offer], gifts: Sequence[Amounts]) -> None:
        self._worths = worths
        self._offers = offers
        self._gifts = gifts
        self._watts = [offer.watts for offer in offers]
        self._order = sorted(range(len(worths)), key=self._watts.__getitem__, reverse=True)
        self._order.sort(key=worths.__getitem__)
        while self._order and worths[self._order[-1]] == inf:  # gives nothing that is needed
            self._order.pop()
        self._items: list[_Item | None] = [None] * len(self._order)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, place: int) -> _Item: ...
    @overload
    def __getitem__(self, place: slice) -> list[_Item]: ...
    def __getitem__(self, place: int | slice) -> _Item | list[_Item]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        item = self._items[place]
        return item if item is not None else self._made(place)

    def _made(self, place: int) -> _Item:
        """With all of the same worth and watts, which stand by their other fields."""
        order, start, end = self._order, place, place + 1
        while start and self._alike(order[start - 1], order[place]):
            start -= 1
        while end < len(order) and self._alike(order[end], order[place]):
            end += 1
        items = [self._item(number) for number in order[start:end]]
        self._items[start:end] = sorted(items)
        return self[place]

    def _alike(self, one: int, other: int) -> bool:
        return self._worths[one] == self._worths[other] and self._watts[one] == self._watts[other]

    def _item(self, number: int) -> _Item:
        offer = self._offers[number]
        watts, one = offer.watts, offer.candidate
        order = (self._worths[number], -watts, self._gifts[number], one.lost_s, -one.started, one.job_id, one.claim.id)
        return _Item(*order, watts, offer)


def _by_worth(
    need: Amounts, values: Amounts, offers: Sequence[Offer], gifts: Sequence[Amounts]
) -> Steps[_Ranked]:
    """The items that give anything, by the watts that they cost for what they cover; of equals the largest first."""
    covers = [0] * len(offers)  # by dimension and not by offer: with 10,000 that takes half the time
    for most, value, column in zip(need, values, zip(*gifts, strict=True), strict=True):
        yield
        covers = list(map(add, covers, [(given if given < most else most) * value for given in column]))
    yield
    worths = [offer.watts / covered if covered else inf for offer, covered in zip(offers, covers, strict=True)]
    yield
    return _Ranked(worths, offers, gifts)


def _greedy(need: Amounts, values: Amounts, ranked: _Ranked) -> list[_Item]:
    """Each time the item that costs the fewest watts for what it gives of what is still missing, until nothing is.

    The less is missing, the less an item is worth; so it is told anew only once its turn comes, and if it has lost by
    that it waits. When many wait, the best of them goes before any that was not looked at.
    """
    at = _at_once(need, ranked)
    taken = ranked[:at]
    left = minus(need, _given(taken, len(need)))
    later: list[tuple[float, _Item]] = []
    waiting = _WAITING if len(ranked) > _MANY else len(ranked)
    while max(left) > 0:
        if later and (at == len(ranked) or len(later) >= waiting or later[0][0] < ranked[at].worth):
            worth, item = heappop(later)
        else:
            item = ranked[at]
            worth = item.worth
            at += 1
        covered = _covered(left, values, item.gives)
        if not covered:
            continue
        now = item.watts / covered
        if now > worth and ((later and later[0] < (now, item)) or (at < len(ranked) and ranked[at].worth < now)):
            heappush(later, (now, item))
        else:
            taken.append(item)
            left = minus(left, item.gives)
    return _reduced(need, taken)


def _at_once(need: Amounts, ranked: _Ranked) -> int:
    """How many of the first items may be taken one after another, for none gives more of anything than is missing."""
    left = need
    for number, item in enumerate(ranked):
        left = minus(left, item.gives)
        if min(left) < 0:
            return number
    return len(ranked)


def _covered(left: Amounts, values: Amounts, gives: Amounts) -> int:
    covered = 0
    for amount, value, given in zip(left, values, gives, strict=True):
        if amount > 0:
            covered += (given if given < amount else amount) * value
    return covered


def _mended(need: Amounts, values: Amounts, ranked: _Ranked, chosen: list[_Item]) -> Steps[list[_Item]]:
    """A choice, parts of which are decided anew; of a long one only among those who are worth least."""
    chosen.sort()
    settled, open_ = chosen[:-_MENDED], chosen[-_MENDED:]
    need = minus(need, _given(settled, len(need)))
    taken = {item.id for item in chosen}
    for turn in range(_MENDINGS_OF_MANY if len(ranked) > _MANY else _MENDINGS):
        yield
        again = open_[-_TAKEN:] if turn % 2 == 0 else open_[turn // 2 :: -(-len(open_) // _TAKEN)]
        names = {item.id for item in again}
        kept = [item for item in open_ if item.id not in names]
        left = minus(need, _given(kept, len(need)))
        others = _others(ranked, taken, turn)
        found = _Search(left, values, sorted([*again, *others]), _STEPS_MENDING).best(again)
        open_ = sorted(kept + found)
        taken = taken - names | {item.id for item in found}
    return settled + open_


def _others(ranked: _Ranked, taken: set[str], turn: int) -> list[_Item]:
    """Of the items that are not taken those that come first, and some of all worths, each turn others."""
    stride = max(1, len(ranked) // (2 * _OTHERS))
    first = islice((item for item in ranked if item.id not in taken), _NEXT)
    all_worths = (ranked[place] for place in range(turn * 7 % stride, len(ranked), stride))
    spread = islice((item for item in all_worths if item.id not in taken), _OTHERS)
    return list({item.id: item for item in (*first, *spread)}.values())


def _given(items: Iterable[_Item], dimensions: int) -> Amounts:
    return tuple(map(sum, zip(*(item.gives for item in items), strict=True))) or (0,) * dimensions


def _reduced(need: Amounts, items: list[_Item]) -> list[_Item]:
    """The items without those that can be left out, the dearest looked at first."""
    spare = minus(_given(items, len(need)), need)
    small = items
    for place, amount in enumerate(spare):
        small = [item for item in small if item.gives[place] <= amount]
    out: set[str] = set()
    for item in sorted(small, key=lambda item: (item.watts, *item[3:7]), reverse=True):
        without = minus(spare, item.gives)
        if min(without) >= 0:
            spare = without
            out.add(item.id)
    return [item for item in items if item.id not in out] if out else items


class _Search:
    """Branch and bound over items in order of worth.

    Watts, jobs, work lost and youth make one number that adds up: each in units larger than all that may come below it.
    What is left of a dimension costs at least its amount × the least watts a unit of the items to come, and at least
    its amount ÷ the largest gift of them in jobs; what is left in all, at its values, likewise.
    """

    def __init__(self, need: Amounts, values: Amounts, items: list[_Item], steps: int) -> None:
        self._need = need
        self._values = values
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
        self._worths = self._least_worths()
        self._bounds = self._bounds_from(len(need))
        self._next = self._next_unlike()
        self._steps = steps
        self._best: tuple[int, list[tuple[int, str]], tuple[int, ...]] = 0, [], ()

    def best(self, known: Iterable[_Item]) -> list[_Item]:
        """The best set that was found, no worse than one that is known; the best there is if the steps sufficed."""
        ids = {item.id for item in known}
        places = tuple(place for place, item in enumerate(self._items) if item.id in ids)
        self._best = sum(self._costs[place] for place in places), self._ids(places), places
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
        watts = jobs = value = 0
        for amount, each, (total, ratio, most) in zip(need, self._values, self._bounds[place], strict=True):
            if amount > 0:
                if amount > total:
                    return
                value += amount * each
                watts = max(watts, -(-amount * ratio >> _SHIFT))
                jobs = max(jobs, -(-amount // most))
        watts = max(watts, -(-value * self._worths[place] >> 3 * _SHIFT))
        if cost + watts * self._per_watt + jobs * self._per_job > self._best[0]:
            return
        self._visit(place + 1, minus(need, self._items[place].gives), cost + self._costs[place], (*taken, place))
        self._visit(self._next[place], need, cost, taken)

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

    def _least_worths(self) -> list[int]:
        """For each place the least watts, in 2⁻⁶⁰ W, that an item from there on costs for a unit of value."""
        least, found = 0, [0]
        for item in reversed(self._items):
            value = sum(each * given for each, given in zip(self._values, item.gives, strict=True))
            own = (item.watts << 3 * _SHIFT) // value
            least = min(least, own) if len(found) > 1 else own
            found.append(least)
        return found[::-1]

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
