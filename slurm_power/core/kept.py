"""What reservations keep, less what their owners' jobs hold of it.

    kept in a zone = max(0, granted − Σ est of the jobs that draw on it); so for bursts, and for nodes

Both count as committed, so that a job that starts in its reservation changes nothing for anybody else. The claims of
such jobs end with the reservation at the earliest, see `drawing`: else their watts would look free from the end
of the job on, although they are kept again then.
"""

from dataclasses import replace

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.window import Window


def drawing(claim: Claim, kept: Claim) -> Claim:
    """The claim of a job as one that draws on what a reservation keeps.

    It counts until the reservation's end at least: what the job gives back earlier is kept again, and nobody may plan
    with it. It bursts in the reservation's group, so that both together never burst less than the reservation alone.
    """
    end = max(claim.window.end, kept.window.end)
    return replace(claim, within=kept.id, group=kept.group, window=Window(claim.window.start, end))


class Kept:
    """The claims of reservations in full, and the claims that draw on them."""

    def __init__(self) -> None:
        self._full: dict[str, Claim] = {}
        self._draws: dict[str, dict[str, Claim]] = {}

    def put(self, claim: Claim) -> None:
        """A reservation keeps this, in the place of what it kept before."""
        self._full[claim.id] = claim

    def take(self, claim_id: str) -> None:
        """It keeps nothing any more; jobs that draw on it go on."""
        self._full.pop(claim_id, None)

    def full(self, claim_id: str) -> Claim | None:
        """What a reservation keeps while nobody draws on it; None where it keeps nothing."""
        return self._full.get(claim_id)

    def draws(self, claim_id: str) -> list[Claim]:
        """The claims of the jobs that draw on it."""
        return list(self._draws.get(claim_id, {}).values())

    def draw(self, claim: Claim) -> None:
        """A job holds watts of the reservation that it names."""
        self._draws.setdefault(claim.within, {})[claim.id] = claim

    def give_back(self, claim: Claim) -> None:
        """It does not any more."""
        draws = self._draws.get(claim.within, {})
        draws.pop(claim.id, None)
        if not draws:
            self._draws.pop(claim.within, None)

    def drawn_w(self, claim_id: str) -> dict[str, int]:
        """Zone → Σ est of the jobs that draw on it, in W."""
        return {zone: est_w for zone, (est_w, _, _) in self._drawn(claim_id).items()}

    def left(self, claim_id: str) -> Claim | None:
        """What it keeps now; None where nothing is left."""
        full = self._full.get(claim_id)
        if full is None:
            return None
        drawn = self._drawn(claim_id)
        charges = []
        for charge in full.charges:
            est_w, burst_w, nodes = drawn.get(charge.zone, (0, 0, 0))
            left_w, left_burst_w = max(charge.est_w - est_w, 0), max(charge.max_w - charge.est_w - burst_w, 0)
            left = Charge(charge.zone, max(charge.nodes - nodes, 0), left_w, left_w + left_burst_w)
            if left.max_w or left.nodes:
                charges.append(left)
        return replace(full, charges=tuple(charges)) if charges else None

    def __contains__(self, claim_id: str) -> bool:
        """Whether a reservation keeps anything in full under that id."""
        return claim_id in self._full

    def _drawn(self, claim_id: str) -> dict[str, tuple[int, int, int]]:
        """Zone → Σ est and Σ burst in W, and Σ nodes, of the jobs that draw on it."""
        found: dict[str, tuple[int, int, int]] = {}
        for claim in self._draws.get(claim_id, {}).values():
            for charge in claim.charges:
                est_w, burst_w, nodes = found.get(charge.zone, (0, 0, 0))
                burst_w += charge.max_w - charge.est_w
                found[charge.zone] = est_w + charge.est_w, burst_w, nodes + charge.nodes
        return found
