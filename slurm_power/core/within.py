"""The decision on a request that draws on a reservation: its zones, and of each no more than is left there.

What it takes comes out of what the reservation keeps, so that watts which are kept for it never stand in its own way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from slurm_power.core.admission import Admit, Hold, PowerClass, decide
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeAsk
from slurm_power.core.policy import Tier
from slurm_power.core.reasons import Code, Reason
from slurm_power.core.request import Request


class Within:
    """One request in one reservation, on a ledger that is left as it is.

    claim_id: the id of the reservation's claim; one that keeps nothing now only says where to, and how much.
    left_w: what is left of the reservation in each of its zones, in W.
    The rest is as for `decide`.
    """

    def __init__(
        self,
        request: Request,
        claim_id: str,
        left_w: Mapping[str, int],
        ledger: Ledger,
        floor: Ledger,
        *,
        ignore: str | None = None,
        others: Iterable[Tier] = (),
    ) -> None:
        self._request = request
        self._claim_id = claim_id
        self._ledger = ledger
        self._floor = floor
        self._ignore = ignore
        self._others = tuple(others)
        self._left_w = {
            zone: left
            for zone, left in left_w.items()
            if (request.zones is None or zone in request.zones) and zone not in request.excluded
        }

    def decide(self) -> Admit | Hold:
        """One zone if one will do, that with the least left first; else several, where the request may spread."""
        held: Hold | None = None
        for zone in self._by_room():
            verdict = self._in_one(zone)
            if isinstance(verdict, Admit):
                return verdict
            held = held or verdict
        if self._request.ask.spreads and len(self._left_w) > 1:
            verdict = self._in_several()
            if isinstance(verdict, Admit):
                return verdict
            held = held or verdict
        return held or Hold((self._short(),))

    def _by_room(self) -> list[str]:
        """The zones with enough left, the tightest first."""
        enough = [zone for zone, left in self._left_w.items() if left >= self._request.est_w]
        return sorted(enough, key=lambda zone: (self._left_w[zone], zone))

    def _in_one(self, zone: str) -> Admit | Hold:
        request = self._request
        charge = Charge(zone, request.ask.total, request.est_w, request.max_w)
        return self._as_if((charge,), (zone,), request.ask)

    def _in_several(self) -> Admit | Hold:
        """A place is looked for as if nothing were kept; it has to stand beside what will be, else with a zone less."""
        ask, known = self._request.ask, dict(self._request.ask.most)
        # No more nodes in a zone than what is left there is enough for.
        most = {zone: left * ask.total // self._request.est_w for zone, left in self._left_w.items()}
        zones = {zone: min(count, known.get(zone, count)) for zone, count in most.items() if count}
        while zones:
            left_w = {zone: self._left_w[zone] for zone in zones}
            everything = tuple(Charge(zone, 0, left, left + self._request.max_w) for zone, left in left_w.items())
            verdict = self._as_if(everything, zones, replace(ask, most=tuple(zones.items())))
            if not isinstance(verdict, Admit):
                return verdict
            wrong = self._overdrawn(verdict.claim)
            if wrong is None:
                return verdict
            del zones[wrong]
        return Hold((self._short(),))

    def _overdrawn(self, claim: Claim) -> str | None:
        """A zone that cannot carry its part of the claim; None where all can."""
        short = self._ledger.shortfall_instead(None, claim, ignore=self._ignore)
        if short is None:
            return None
        charged = {charge.zone for charge in claim.charges}
        return short.element if short.element in charged else min(charged)

    def _as_if(self, charges: tuple[Charge, ...], zones: Iterable[str], ask: NodeAsk) -> Admit | Hold:
        """The verdict in these zones, on these nodes, if the reservation kept so much less."""
        request, ledger = self._request, self._ledger
        probe = ledger.drawing(request.claim(charges, ledger.now, 0), self._claim_id)
        with ledger.lent(probe):
            narrowed = replace(request, zones=frozenset(zones), group=probe.group, ask=ask)
            verdict = decide(narrowed, ledger, self._floor, ignore=self._ignore, others=self._others)
        if isinstance(verdict, Admit):
            return Admit(ledger.drawing(verdict.claim, self._claim_id), PowerClass.RESERVED)
        return verdict if isinstance(verdict, Hold) else Hold(verdict.reasons, None, verdict.helps)

    def _short(self) -> Reason:
        """None of its zones has so much left."""
        most_w = max(self._left_w.values(), default=0)
        return Reason(Code.RESERVED_POWER, self._request.reservation, self._request.est_w, most_w)
