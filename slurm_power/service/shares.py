"""The most that one owner may reserve in a zone, so that nobody keeps it all."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from slurm_power.config import Site
from slurm_power.core.reservation import GRANTED, Owner, Reservation, Terms
from slurm_power.core.score import ceiling


def caps(
    site: Site, terms: Terms, others: Sequence[Reservation], score: Fraction | None = None
) -> dict[str, int]:
    """Zone → W that the owner may reserve there over the window, beside what he has in the others at any instant.

    `score`: how well he has used what he reserved; None for the most that anybody may reserve.
    """
    share = ceiling(site.reservations.max_share, score, site.reservations.score.floor)
    own = [one for one in others if one.state in GRANTED and same_owner(one.terms.owner, terms.owner)]
    taken = _taken_w(terms, own)
    return {
        name: max(floor(zone.usable_w * share) - taken.get(name, 0), 0) for name, zone in site.topology.zones.items()
    }


def same_owner(one: Owner, other: Owner) -> bool:
    """Whether two reservations count to one share: an account in common, or without accounts a user."""
    if one.accounts or other.accounts:
        return not set(one.accounts).isdisjoint(other.accounts)
    return not set(one.users).isdisjoint(other.users)


def _taken_w(terms: Terms, others: Sequence[Reservation]) -> dict[str, int]:
    """Zone → the most W that the others have there together at any instant of the window."""
    window = terms.window
    most: dict[str, int] = {}
    for one in others:
        if one.terms.window.end <= window.start or one.terms.window.start >= window.end:
            continue
        at = max(one.terms.window.start, window.start)  # the most is reached where one of them begins
        for zone in {grant.zone for grant in one.grants}:
            together = sum(g.watts_w for o in others if at in o.terms.window for g in o.grants if g.zone == zone)
            most[zone] = max(most.get(zone, 0), together)
    return most
