"""On a large floor, the candidates in the zones where room seems cheapest, so that the choice is quick."""

from collections.abc import Iterator, Sequence
from operator import attrgetter

from slurm_power.core.offer import Candidate
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps
from slurm_power.service.desk import Desk

_MOST = 2_000
"""So many are looked at as they are: to choose and try takes some tens of ms, and the hook waits meanwhile."""
_AT_ONCE = 1_000
"""Candidates that are counted before others get their turn."""
_id = attrgetter("id")


def nearest(desk: Desk, request: Request, found: Sequence[Candidate], most: int = _MOST) -> Steps[list[Candidate]]:
    """These in order of id, or where they are more than that, those in as many zones as have no more.

    Zones go by the highest tier that would have to be touched there, then by the watts that lack, then by name. Bursts,
    nodes and feeds are left to the choice itself.
    """
    if len(found) <= most:
        return sorted(found, key=_id)
    in_zone: dict[str, list[Candidate]] = {}
    watts: dict[str, dict[int, int]] = {}
    for number, one in enumerate(found):
        if number % _AT_ONCE == 0:
            yield
        for charge in one.claim.charges:
            in_zone.setdefault(charge.zone, []).append(one)
            zone = watts.setdefault(charge.zone, {})
            zone[one.rank] = zone.get(one.rank, 0) + charge.est_w
    yield
    near: dict[str, Candidate] = {}
    for _, _, name in sorted(_ranked(desk, request, watts)):
        if near and len(near) + len(in_zone[name]) > most:
            break
        near.update({one.id: one for one in in_zone[name]})
    yield
    return sorted(near.values(), key=_id)


def _ranked(desk: Desk, request: Request, watts: dict[str, dict[int, int]]) -> Iterator[tuple[int, int, str]]:
    """(negative rank of the highest tier to be touched, W that lack, zone); last those where all do not suffice."""
    for zone, by_rank in watts.items():
        lacks_w = need_w = request.est_w - desk.ledger.room_w(zone)
        touched = 0
        for rank in sorted(by_rank, reverse=True):
            lacks_w -= by_rank[rank]
            if lacks_w <= 0:
                touched = -rank
                break
        yield (touched if lacks_w <= 0 else 1), need_w, zone
