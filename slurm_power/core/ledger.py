"""The ledger: all live claims, and what they commit in every zone and feed.

The invariant of the product lives here: `shortfall` says of a claim-to-be whether committed watts stay within usable
and committed + burst within limit, at every instant of its window, in its zones and in all their feeds. `add` and
`remove` do not ask: what Slurm already runs is a fact, also where it passes a budget.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from slurm_power.core.all_rooms import AllRooms
from slurm_power.core.asker import Asker
from slurm_power.core.capacity import BURSTS_MILLI, FloorPlan, Rooms
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.derate import Planned
from slurm_power.core.kept import Kept, drawing
from slurm_power.core.level import Booking
from slurm_power.core.live import Part
from slurm_power.core.meter import Meter
from slurm_power.core.nodes import CLOSED, FreeClass, ZoneNodes, all_free, class_of
from slurm_power.core.policy import BurstRule
from slurm_power.core.shortfall import Shortfall
from slurm_power.core.topology import Topology
from slurm_power.core.wiring import Loads, Wiring

_LOT = 10_000
"""How many claims are put on the meters at a time when many are loaded."""


class Ledger:
    """Claims by id, a meter for each zone and feed, the zones' nodes, and their rooms.

    `pools` names sets of zones that requests choose from (a partition's zones). `now` only moves forward.
    """

    def __init__(
        self,
        topology: Topology,
        pools: Mapping[str, Iterable[str]] | None = None,
        rule: BurstRule | None = None,
        now: int = 0,
    ) -> None:
        self.topology = topology
        self.rule = rule or BurstRule()
        self.now = now
        self.claims: dict[str, Claim] = {}
        self._wiring = Wiring(topology, self.rule)
        self.meters = self._wiring.meters
        self.closed: dict[str, str] = {}
        """Zones that admit nothing now, and why."""
        self.plan = FloorPlan(topology, {"": topology.zones, **(pools or {})})
        self.nodes = {name: all_free(len(zone.nodes)) for name, zone in topology.zones.items()}
        self.most_nodes = max((len(zone.nodes) for zone in topology.zones.values()), default=0)
        self._promised = dict.fromkeys(topology.zones, 0)
        self._in_zone: dict[str, dict[str, None]] = {name: {} for name in topology.zones}
        self._booked: dict[str, Claim] = {}
        self._kept = Kept()
        self._starts: list[tuple[int, str]] = []
        """(start, id) of the booked claims that will be live, in order of time."""
        self._reserving: dict[str, str] = {}
        """Correlation group of a reservation → the reservation's id."""
        self._classes = {name: class_of(nodes, 0) for name, nodes in self.nodes.items()}
        self.freed = 0
        """How often something may have come free; who found no place need not look again while it stands still."""
        self._rooms = AllRooms(self.plan, self.meters, self._classes)

    # -- what is there ------------------------------------------------------------------------------------------

    def promised_milli(self, zone: str) -> int:
        """Thousandths of nodes of claims in the zone that Slurm's node counts do not contain yet."""
        return self._promised[zone]

    def loads(self, charges: Iterable[Charge], share_milli: int = 0) -> Loads:
        """What these charges put on each zone and feed. Raises KeyError for a zone that there is not."""
        return self._wiring.loads(charges, share_milli)

    def spread(self, charge: Charge) -> list[tuple[Meter, int, int]]:
        """(meter, est W, burst W) for the zone of a charge and each of its feeds."""
        return self._wiring.spread(charge)

    def room_w(self, zone: str) -> int:
        """The most est that one more claim without burst could have in the zone, its narrow feeds counted, in W."""
        return self._rooms.of(0).room_w(zone)

    def rooms_for(self, est_w: int, max_w: int) -> Rooms:
        """The rooms for claims as bursty as this, up to date; made when they are first asked for."""
        burst = (max_w - est_w) * 1_000
        return self._rooms.of(next(milli for milli in BURSTS_MILLI if burst >= milli * est_w))

    def make_rooms(self) -> Iterator[None]:
        """Make the rooms of all burst classes, or bring them up to date, in steps, so that no submission has to."""
        return self._rooms.make()

    def settle(self, rooms: Rooms) -> None:
        """Bring rooms of ours up to date."""
        self._rooms.settle(rooms)

    def shortfall(
        self, charges: Sequence[Charge], asker: Asker, *, beside: Loads | None = None
    ) -> Shortfall | None:
        """The first element, zones before feeds, that cannot carry the charges; None when all can.

        `beside` are loads to be counted as if they were there (other parts of the same job).
        """
        if len(charges) == 1 and not beside:
            for meter, est_w, burst_w in self._wiring.spread(charges[0]):
                short = self._short(meter, est_w, burst_w, asker)
                if short is not None:
                    return short
            return None
        for name, load in self.loads(charges).items():
            more = beside.get(name) if beside else None
            est_w = load.est_w + more.est_w if more else load.est_w
            burst_w = load.burst_w + more.burst_w if more else load.burst_w
            short = self._short(self.meters[name], est_w, burst_w, asker)
            if short is not None:
                return short
        return None

    def shortfall_instead(self, old: str | None, new: Claim, *, ignore: str | None = None) -> Shortfall | None:
        """Like `shortfall` for a claim that takes the place of `old`, an earlier one of the same job.

        Elements where it asks no more, for no longer than `old` or than nobody else is booked for, always pass.
        """
        if new.within:
            with self.lent(new):
                return self._shortfall_instead(old, new, ignore)
        return self._shortfall_instead(old, new, ignore)

    def _shortfall_instead(self, old: str | None, new: Claim, ignore: str | None) -> Shortfall | None:
        before = self._find(old) if old is not None else None
        asker = Asker(new.group, new.window, ignore, new.through_cuts_s)
        if before is None:
            return self.shortfall(new.charges, asker)
        live = before.id in self.claims
        had = self.loads(before.charges) if live and before.group == new.group else {}
        within = before.window.start <= new.window.start and new.window.end <= before.window.end
        self._discount(before)
        try:
            for name, load in self.loads(new.charges).items():
                held, meter = had.get(name), self.meters[name]
                no_more = held is not None and load.est_w <= held.est_w and load.burst_w <= held.burst_w
                if no_more and (within or not meter.others_ahead(ignore)):
                    continue
                short = self._short(meter, load.est_w, load.burst_w, asker)
                if short is not None:
                    return short
            return None
        finally:
            self._count(before, live=live)

    def ids_in(self, zone: str) -> Iterable[str]:
        """The ids of the live claims that charge a zone."""
        return self._in_zone[zone]

    def claims_in(self, zone: str) -> Iterator[Claim]:
        """The live claims that charge a zone, in order of id."""
        return (self.claims[name] for name in sorted(self._in_zone[zone]))

    def bookings(self) -> Iterator[Claim]:
        """The claims that begin later, reservations among them, and shadows."""
        return iter(self._booked.values())

    # -- what changes it ----------------------------------------------------------------------------------------

    def add(self, claim: Claim) -> None:
        """Count a claim, or book it if its window begins later than now.

        Raises KeyError on an unknown zone, ValueError on a known id and where a reservation and another claim, both
        with a burst, are of one correlation group.
        """
        self._claims_changed(self._put(claim))

    def load(self, claims: Iterable[Claim]) -> None:
        """Add many claims at once, much faster than one by one; raises like `add`, and then has added none after."""
        zones: set[str] = set()
        drawn_on: dict[str, None] = {}
        parts: dict[Meter, list[Part]] = {}
        try:
            for number, claim in enumerate(claims, start=1):
                zones.update(self._put(claim, parts))
                drawn_on[claim.within] = None
                if number % _LOT == 0:
                    _add_lot(parts)
        finally:
            _add_lot(parts)
            self._claims_changed(zones)
            for claim_id in drawn_on:
                self._reshape(claim_id)

    def remove(self, claim_id: str) -> Claim | None:
        """Forget a claim, live or booked; None if it is not there."""
        claim = self._take(claim_id)
        if claim is not None:
            self._claims_changed(charge.zone for charge in claim.charges)
        return claim

    def replace(self, old: str | None, new: Claim) -> None:
        """Put `new` in the place of `old` in one step. Raises like `add`."""
        before = self._take(old) if old is not None else None
        try:
            zones = self._put(new)
        except (KeyError, ValueError):
            if before is not None:
                self._put(before)
            raise
        self._claims_changed({*zones, *(charge.zone for charge in before.charges)} if before is not None else zones)

    # -- reservations -------------------------------------------------------------------------------------------

    def keep(self, claim: Claim) -> None:
        """Count what a reservation keeps, less what claims within it hold: always so, from here on.

        Raises KeyError on an unknown zone.
        """
        for charge in claim.charges:
            self.meters[charge.zone]  # raises KeyError before anything is counted
        self._kept.put(claim)
        for draw in self._kept.draws(claim.id):
            self.replace(draw.id, drawing(draw, claim))
        self._reshape(claim.id)

    def unkeep(self, claim_id: str) -> None:
        """A reservation keeps nothing any more; the claims within it stay."""
        self._kept.take(claim_id)
        self.remove(claim_id)

    def drawing(self, claim: Claim, claim_id: str) -> Claim:
        """The claim as one that draws on a reservation, whether that keeps anything now or not."""
        full = self._kept.full(claim_id)
        return drawing(claim, full) if full is not None else replace(claim, within=claim_id)

    def within(self, claim_id: str) -> list[Claim]:
        """The claims that draw on a reservation."""
        return self._kept.draws(claim_id)

    def kept_beside(self, claim: Claim) -> bool:
        """Whether the end of a claim gives nothing back to others, since a reservation keeps it where the claim is."""
        full = self._kept.full(claim.within) if claim.within else None
        if full is None:
            return bool(claim.within)
        zones = {charge.zone for charge in full.charges}
        return any(charge.zone in zones for charge in claim.charges)

    def drawn_w(self, claim_id: str) -> dict[str, int]:
        """Zone → watts that the claims within a reservation hold, in W."""
        return self._kept.drawn_w(claim_id)

    @contextmanager
    def lent(self, claim: Claim) -> Iterator[None]:
        """For a question: the reservation as it would be if this claim drew on it already; then as it was."""
        before = self.claims.get(claim.id)
        self._kept.draw(claim)
        self._reshape(claim.within)
        try:
            yield
        finally:
            self._kept.give_back(claim)
            if before is not None and before.within:
                self._kept.draw(before)
            self._reshape(claim.within)

    @contextmanager
    def set_aside(self, claim_id: str) -> Iterator[None]:
        """For a question: as if the reservation and the claims within it were not there; then as it was."""
        full, draws = self._kept.full(claim_id), self._kept.draws(claim_id)
        self.unkeep(claim_id)
        for draw in draws:
            self.remove(draw.id)
        try:
            yield
        finally:
            for draw in draws:
                self.add(draw)
            if full is not None:
                self.keep(full)

    def _draw(self, claim: Claim, *, at_once: bool) -> None:
        if claim.within and not claim.tentative:
            self._kept.draw(claim)
            if at_once:
                self._reshape(claim.within)

    def _give_back(self, claim: Claim) -> None:
        if claim.within and not claim.tentative:
            self._kept.give_back(claim)
            self._reshape(claim.within)

    def _reshape(self, claim_id: str) -> None:
        """Bring what a reservation keeps in step with what is held of it."""
        if claim_id not in self._kept:
            return
        left, before = self._kept.left(claim_id), self._find(claim_id)
        if left == before:
            return
        zones = {charge.zone for claim in (left, before) if claim is not None for charge in claim.charges}
        if before is not None:
            self._take(claim_id)
        if left is not None:
            self._put(left)
        self._claims_changed(zones)

    # -- time, limits, nodes ------------------------------------------------------------------------------------

    def advance(self, now: int) -> None:
        """Move time forward: booked claims whose window has begun become live, shadows never do."""
        self.now = max(self.now, now)
        while self._starts and self._starts[0][0] <= self.now:
            claim = self._booked[self._starts[0][1]]
            self.remove(claim.id)
            self.add(claim)

    def set_limit(self, element: str, limit_w: int) -> None:
        """Change what a zone or feed may carry, in W; nothing is evicted here."""
        self.meters[element].set_limit(limit_w)
        self._element_changed(element)

    def plan_limits(self, element: str, planned: Sequence[Planned]) -> None:
        """These, in place of those known before, are times to come at which it may carry less or more than now."""
        self.meters[element].plan_limits(planned)
        self._element_changed(element)

    def set_stray(self, element: str, stray_w: int, *, blind: bool) -> None:
        """So much is drawn there beyond what is committed, in W; `blind`: its sensors are silent, so max counts."""
        meter = self.meters[element]
        if (meter.stray_w, meter.blind) != (stray_w, blind):
            meter.set_stray(stray_w, blind=blind)
            self._element_changed(element)

    def _element_changed(self, element: str) -> None:
        """What it lets in has changed."""
        self.freed += 1
        zones = (element,) if element in self.nodes else ()
        feeds = (element,) if element in self.plan.narrow else ()
        self._rooms.expire(zones, feeds)

    def set_nodes(self, zone: str, nodes: ZoneNodes) -> None:
        """What Slurm shows of a zone's nodes."""
        if self.nodes[zone] != nodes:
            self.nodes[zone] = nodes
            self.freed += 1
            self._classify(zone)

    def close(self, zone: str, why: str | None) -> None:
        """Admit nothing in a zone (thermal state critical, maintenance), or with None admit again."""
        if why is None:
            self.closed.pop(zone, None)
            self.freed += 1
        else:
            self.closed[zone] = why
        self._classify(zone)

    def empty(self, topology: Topology | None = None) -> "Ledger":
        """The floor of this topology, which has the same zones, with no claims, declared limits and all nodes free.

        By it is judged what could ever fit.
        """
        floor = Ledger(topology or self.topology, self.plan.pools, self.rule, self.now)
        for name, nodes in self.nodes.items():
            floor.set_nodes(name, all_free(len(self.topology.zones[name].nodes), nodes.cpus, nodes.gpus))
        return floor

    # -- inside -------------------------------------------------------------------------------------------------

    def _short(self, meter: Meter, est_w: int, burst_w: int, asker: Asker) -> Shortfall | None:
        begins = asker.window.start <= self.now
        if begins and not meter.ahead and meter.fits(est_w, burst_w, asker.group):
            return None
        lack = meter.lack(est_w, burst_w, asker, self.now)
        if lack is None:
            return None
        return Shortfall(meter.name, lack.asked_w, lack.free_w, burst=lack.burst, at=lack.at)

    def _find(self, claim_id: str) -> Claim | None:
        """The claim of that id, live or booked."""
        return self.claims.get(claim_id) or self._booked.get(claim_id)

    def _put(self, claim: Claim, lot: dict[Meter, list[Part]] | None = None) -> list[str]:
        """Count or book a claim; the zones whose rooms may have changed. With `lot` its meters are left for later."""
        if claim.id in self.claims or claim.id in self._booked:
            raise ValueError(f"claim {claim.id} is in the ledger already")
        for charge in claim.charges:
            self.meters[charge.zone]  # raises KeyError before anything is counted
        live = claim.window.start <= self.now and not claim.tentative
        if (claim.reserves and not live) or claim.group in self._reserving:
            self._keep_groups_apart(claim)
        self._draw(claim, at_once=lot is None)
        if not live:
            self._booked[claim.id] = claim
            if not claim.tentative:
                insort(self._starts, (claim.window.start, claim.id))
            self._count(claim, live=False)
            return []
        self.claims[claim.id] = claim
        if lot is None:
            self._count(claim, live=True)
        else:
            for meter, part in self._wiring.parts(claim):
                lot.setdefault(meter, []).append(part)
        zones = [charge.zone for charge in claim.charges]
        for zone in zones:
            self._in_zone[zone][claim.id] = None
        self._promise(claim, 1)
        return zones

    def _take(self, claim_id: str) -> Claim | None:
        """Take a claim out, its rooms not marked yet."""
        claim = self._find(claim_id)
        if claim is None:
            return None
        self._discount(claim)
        if self._reserving.get(claim.group) == claim_id:
            del self._reserving[claim.group]
        if self._booked.pop(claim_id, None) is not None:
            if not claim.tentative:
                del self._starts[bisect_left(self._starts, (claim.window.start, claim_id))]
        else:
            del self.claims[claim_id]
            for charge in claim.charges:
                self._in_zone[charge.zone].pop(claim_id, None)
            self._promise(claim, -1)
        self._give_back(claim)
        self.freed += 1
        return claim

    def _count(self, claim: Claim, *, live: bool) -> None:
        """Put a claim on the meters alone."""
        if live:
            for meter, part in self._wiring.parts(claim):
                meter.add((part,))
            return
        for name, load in self.loads(claim.charges, claim.share_milli).items():
            booking = Booking(claim.window, claim.group, load)
            if claim.reserves:
                self.meters[name].reserve(claim.id, booking)
            else:
                self.meters[name].book(claim.id, booking)

    def _discount(self, claim: Claim) -> None:
        """Take a claim off the meters alone."""
        if claim.id in self.claims:
            for meter, part in self._wiring.parts(claim):
                meter.remove(part)
            return
        for name in self.loads(claim.charges):
            self.meters[name].unbook(claim.id)

    def _keep_groups_apart(self, claim: Claim) -> None:
        """Raise ValueError where a reservation and another claim would burst together: their squares are just added."""
        if claim.max_w == claim.est_w:
            return
        group = claim.group
        if group in self._reserving:
            raise ValueError(f"claim {claim.id}: reservation {self._reserving[group]} has the same correlation group")
        for name in self.loads(claim.charges):
            if self.meters[name].bursts(group):
                raise ValueError(f"reservation {claim.id}: another claim has the same correlation group")
        self._reserving[group] = claim.id

    def _promise(self, claim: Claim, sign: int) -> None:
        if not claim.placed:
            for charge in claim.charges:
                zone = charge.zone
                promised = self._promised[zone] = self._promised[zone] + sign * charge.nodes * claim.share_milli
                self._classes[zone] = self._class(zone, promised)

    def _class(self, zone: str, promised_milli: int) -> FreeClass:
        return CLOSED if zone in self.closed else class_of(self.nodes[zone], promised_milli)

    def _classify(self, zone: str) -> None:
        self._classes[zone] = self._class(zone, self._promised[zone])
        self._rooms.expire((zone,), ())

    def _claims_changed(self, zones: Iterable[str]) -> None:
        """Have rooms measured anew where claims in these zones changed."""
        changed = list(zones)
        self._rooms.expire(changed, (tap.feed for zone in changed for tap in self.plan.narrow_taps[zone]))


def _add_lot(parts: dict[Meter, list[Part]]) -> None:
    for meter, found in parts.items():
        meter.add(found)
    parts.clear()
