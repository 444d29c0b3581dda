"""Claims: watts that something holds in zones over a window."""

from dataclasses import replace

from slurm_power.core.immutable import immutable
from slurm_power.core.units import ceil_share
from slurm_power.core.window import Window

WHOLE_NODE = 1_000
"""Node shares count in thousandths of a node."""

RESERVATION = "res:"
"""What the id of a reservation's claim begins with; the reservation's name and id follow: `res:spring:k3Jd82`."""


def reservation_of(claim_id: str) -> str:
    """The name of the reservation whose claim has that id; empty for any other claim."""
    return claim_id.removeprefix(RESERVATION).partition(":")[0] if claim_id.startswith(RESERVATION) else ""


@immutable
class Charge:
    """What a job is charged in one zone; `nodes` are its nodes there."""

    zone: str
    nodes: int
    est_w: int
    max_w: int


@immutable
class Claim:
    """The charges of one job (or of a shadow, see queue.py, or of a reservation) over a window.

    `group` is the correlation group: claims of one group burst together. `share_milli` is the part of a node that
    each of the claim's nodes takes. `placed` says that Slurm's own node counts already contain it.
    """

    id: str
    charges: tuple[Charge, ...]
    window: Window
    group: str
    tier: str = ""
    uid: int = 0
    account: str = ""
    share_milli: int = WHOLE_NODE
    placed: bool = False
    copies: int = 1
    """How many tasks of an array it counts."""
    tentative: bool = False
    """A plan and not a promise (a shadow): others plan around it, but it never counts as committed."""
    within: str = ""
    """The id of the reservation's claim that it draws on; empty where it draws on what is everybody's."""
    reserves: bool = False
    """Watts that a reservation keeps for its owner. Its group is its own: no other claim bursts together with it."""
    through_cuts_s: int | None = None
    """As in its request."""

    @property
    def est_w(self) -> int:
        """Σ est over the zones, in W."""
        return sum(charge.est_w for charge in self.charges)

    @property
    def max_w(self) -> int:
        """Σ max over the zones, in W."""
        return sum(charge.max_w for charge in self.charges)

    def with_copies(self, copies: int) -> "Claim":
        """The same claim for another number of tasks."""
        now = self.copies
        charges = tuple(
            Charge(c.zone, c.nodes // now * copies, c.est_w // now * copies, c.max_w // now * copies)
            for c in self.charges
        )
        return replace(self, charges=charges, copies=copies)

    def at(self, window: Window) -> "Claim":
        """The same claim over another window."""
        return replace(self, window=window)


def split_over(zones: dict[str, int], est_w: int, max_w: int) -> tuple[Charge, ...]:
    """Charges of a job over zones (name → its nodes there), by nodes, demand rounded up; in order of name."""
    total = sum(zones.values())
    return tuple(
        Charge(zone, nodes, ceil_share(est_w, nodes, total), ceil_share(max_w, nodes, total))
        for zone, nodes in sorted(zones.items())
    )
