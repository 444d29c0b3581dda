"""What would become of a request that started at a later instant: the same decision, on the floor as it will be.

Counted by then are claims until their windows end, bookings, and the head of the queue where its start is foreseen; of
nodes those that are up now. Nobody knows what else will be submitted, or in which order the rest of the queue starts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from slurm_power.core.admission import Hold, Reject, Verdict, could_ever_fit, decide
from slurm_power.core.claim import Claim
from slurm_power.core.derate import Planned
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import all_free
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.reservation import Reservation, ReservationState, due
from slurm_power.core.topology import Topology
from slurm_power.core.window import Window
from slurm_power.service.asking import Ask, advice
from slurm_power.service.deciding import named, verdict_in
from slurm_power.service.desk import Desk
from slurm_power.service.reserved import after

COUNTED = (
    "what runs or is admitted, until its time limit ends; bookings; the head of the queue from its foreseen start on; "
    "not the other jobs that wait, and not what may still be submitted"
)


@immutable
class Foresight:
    """A question about a later instant, with copies of all that it takes to answer, in whatever thread."""

    ask: Ask
    at: int
    empty: Callable[[], Ledger]
    """Makes a ledger at that instant, without claims."""
    claims: Sequence[Claim]
    reserved: Sequence[Reservation]
    """The reservations as they will stand then; what they keep is not among the claims."""
    declared: Topology
    """The floor with all its feeds."""
    derated: Mapping[str, tuple[int, Sequence[Planned]]]
    """Element → what derates leave of it then, in W, and what is planned after that."""
    closed: Mapping[str, str]
    tiers: Sequence[Tier]

    def verdict(self) -> Verdict:
        """The verdict at that instant. Takes long where claims are many."""
        request, ledger = self.ask.request, self.empty()
        floor = ledger.empty(self.declared)
        for element, (limit_w, planned) in self.derated.items():
            ledger.set_limit(element, limit_w)
            ledger.plan_limits(element, planned)
        for zone, why in self.closed.items():
            ledger.close(zone, why)
        ledger.load(_by_then(claim, self.at) for claim in self.claims if claim.window.end > self.at)
        for one in self.reserved:
            kept = one.claim()
            if kept is not None:
                ledger.keep(kept)
        if request.reservation:
            found = named(self.reserved, request.reservation)
            verdict = verdict_in(found, self.ask, request, ledger, floor, others=self.tiers)
        else:
            verdict = decide(request, ledger, floor, others=self.tiers)
        if isinstance(verdict, Reject) and not request.reservation:
            single = request.with_copies(1)
            return Hold((Reason(Code.ARRAY),)) if request.ask.copies > 1 and could_ever_fit(single, floor) else verdict
        if self.ask.waits is not None and not isinstance(verdict, Reject):
            return Hold((self.ask.waits,), request.not_before if request.not_before > self.at else None)
        return verdict


def foresee(desk: Desk, ask: Ask, at: int) -> Foresight:
    """The question; what it is asked of may change meanwhile. `ask` was interpreted for that instant."""
    ledger, topology, declared = desk.ledger, desk.site.topology, desk.declared.topology
    dark = desk.derates.dark(declared, at)
    if dark != desk.dark:
        topology = declared.without(dark)
    nodes, pools, rule = dict(ledger.nodes), desk.world.pools(), ledger.rule

    def empty() -> Ledger:
        made = Ledger(topology, pools, rule, at)
        for zone, known in nodes.items():
            made.set_nodes(zone, all_free(known.up, known.cpus, known.gpus))
        return made

    derated = desk.derates.foreseen(declared, topology, at)
    everything = (*ledger.claims.values(), *ledger.bookings())
    claims = [_alone(desk, claim) for claim in everything if not claim.reserves]
    reserved = [one for known in desk.reserved if (one := _standing(known, at)) is not None]
    return Foresight(ask, at, empty, claims, reserved, declared, derated, dict(ledger.closed), desk.tiers)


def _standing(reservation: Reservation, at: int) -> Reservation | None:
    """The reservation as time alone will have changed it by then; None where it will be over."""
    one = reservation
    while event := due(one, at, used=one.state is ReservationState.ACTIVE):
        one = after(one, event, at)
    return one if one.live else None


def _alone(desk: Desk, claim: Claim) -> Claim:
    """The claim until its job ends; one that draws on a reservation is counted to that one's end otherwise."""
    entry = desk.book.get(claim.id) if claim.within else None
    end = entry.record.end_time if entry is not None and entry.record is not None else None
    if end is None or not claim.window.start < end < claim.window.end:
        return claim
    return claim.at(Window(claim.window.start, end))


def _by_then(claim: Claim, at: int) -> Claim:
    """The claim as it counts then: on nodes that are still free in our picture, and no plan where it has begun."""
    return replace(claim, placed=False, tentative=claim.tentative and claim.window.start > at)


def remark_at(ask: Ask, now: int, at: int) -> str:
    """A remark for the user about a start at a later instant."""
    if ask.deadline is not None and at + (ask.request.time_limit_s or 0) > ask.deadline:
        return "the time limit ends after the deadline, if the job starts then"
    return advice(ask, now)
