"""Preemption by watts: where a held request would cost least, and who has to go when a limit was cut.

What is short, and what each candidate would give back, is estimated as if it added up. Bursts do not (rss), nor do
nodes, nor ends before the window's worst instant: so each choice for a request is tried on the ledger itself, from
which the victims are taken for a while, and each choice after a cut on a copy of the sums that it is about. What is
still short then is asked on top; in the end everybody is put back who can be. Between two steps all are back, and the
ledger may change: so what comes of it is looked at once more.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import nsmallest
from itertools import accumulate
from typing import Protocol

from slurm_power.core.admission import Admit, admit
from slurm_power.core.claim import Claim
from slurm_power.core.excess import ElementSums, Excess
from slurm_power.core.immutable import immutable
from slurm_power.core.ledger import Ledger
from slurm_power.core.offer import Candidate, Offer
from slurm_power.core.placement import Placement, Placer
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps, finish
from slurm_power.core.trial import Trial
from slurm_power.core.victims import Price, choose, highest_touched, in_order, price
from slurm_power.core.want import Aspect, Carried, Lacks, Want, gift, lacking, lacking_for
from slurm_power.core.wiring import Loads

_LOOKED_AT = 128
"""Zones whose shortage is told, those that seem cheapest by their own watts."""
_TRIED = 16
"""Zones for which victims are chosen and tried."""
_ROUNDS = 6
"""How often a choice that did not suffice is raised, before all that help are taken and put back one by one."""
_MOST_PARTS = 64
"""The most zones among which room is made for one job over several."""
_AT_ONCE, _OUT_AT_ONCE, _ZONES_AT_ONCE = 200, 1_000, 8
"""Candidates looked at, victims taken out, and zones whose shortage is told, before others get their turn."""

Check = Callable[[], Lacks]
"""Says what is short without those who are out at that moment."""


class Out(Protocol):
    """Where victims are taken out for a while: the ledger (`Trial`), or sums of it (`Excess`)."""

    tries_at_once: int
    """Victims that are tried one by one, before others get their turn."""

    def without(self, victims: Iterable[Candidate]) -> None:
        """Have just these out."""

    def put_back(self, victim: Candidate) -> None:
        """Have one of them back."""

    def take_out(self, victim: Candidate) -> None:
        """Have one more out."""


@immutable
class Plan:
    """Victims that make room for a request, and the verdict once they are gone."""

    victims: tuple[Candidate, ...]
    placement: Placement
    verdict: Admit


@immutable
class Shed:
    """Victims of a cut; `left` is what then still passes a limit, in W, for no candidate is left who would help."""

    victims: tuple[Candidate, ...]
    left: tuple[tuple[Want, int], ...] = ()


def plan(
    request: Request,
    ledger: Ledger,
    candidates: Iterable[Candidate],
    gone: Iterable[Candidate] = (),
    *,
    ignore: str | None = None,
) -> Steps[Plan | None]:
    """The cheapest victims for a request that is held at `ledger.now`; None where none were found.

    One zone goes before several. Zones compare by what their victims cost (`victims.price`), then by name. A bounded
    number of zones is tried: those where by an estimate the lowest tiers and the fewest watts do. `gone` are thought
    away. `ignore` names a booked shadow that the request outranks. A plan stands at the last step, else there is none.
    """
    if request.not_before > ledger.now:
        return None
    placer = Placer(request, ledger, request.window(ledger.now), ignore)
    stock = _Stock(ledger, ledger.meters)
    yield from stock.fill(candidates)
    with Trial(ledger, gone) as trial:
        found = yield from trial.between(_cheapest(placer, stock, trial))
        if found is None or any(ledger.claims.get(victim.id) is not victim.claim for victim in found.victims):
            return None
        return _stands(placer, trial, found.victims, found.placement)


def make_room(
    ledger: Ledger, claim: Claim, candidates: Iterable[Candidate], gone: Iterable[Candidate] = ()
) -> Steps[tuple[Candidate, ...] | None]:
    """The victims after whom a reservation has its watts over its whole window; None where they do not suffice.

    Whoever ends before it begins is left alone; `gone` are thought away. If the ledger changes between two steps, see
    whether these still suffice.
    """
    start, now = claim.window.start, ledger.now
    stock = _Stock(ledger, ledger.meters)
    yield from stock.fill(one for one in candidates if one.claim.window.end > start or start <= now)
    with Trial(ledger, gone) as trial:
        return (yield from trial.between(_settle(trial, stock, lambda: lacking_for(ledger, claim))))


def fewest(ledger: Ledger, claim: Claim, candidates: Iterable[Candidate]) -> int:
    """At least so many of these would have to go before a reservation has its watts, whoever they are."""
    lacks, stock = lacking_for(ledger, claim), _Stock(ledger, ledger.meters)
    finish(stock.fill(candidates))
    offers, most = finish(stock.offers(sorted(lacks))), 0
    for place, want in enumerate(sorted(lacks)):
        given = accumulate(sorted((offer.gives[place] for offer in offers), reverse=True))
        most = max(most, 1 + sum(1 for watts in given if watts < lacks[want]))
    return most


def shed(
    ledger: Ledger,
    candidates: Iterable[Candidate],
    sums: Mapping[str, ElementSums],
    gone: Iterable[Candidate] = (),
) -> Steps[Shed]:
    """The victims after whom committed ≤ usable and committed + burst ≤ limit by these sums of zones and feeds.

    Where all candidates together do not suffice, those without whom it would be more. `gone` are thought away
    beforehand. Whoever draws on a reservation is left alone, for that keeps what its jobs give back. The ledger is read
    at the first step and may change after it.
    """
    sums = dict(sorted(sums.items()))
    stock = _Stock(ledger, sums)
    Excess(sums, stock.loads_of).without(gone)
    yield from stock.fill(one for one in candidates if not ledger.kept_beside(one.claim))
    victims: list[Candidate] = []
    left: Lacks = {}
    for part in (yield from _apart(stock, sums)):
        chosen, lacks = yield from _shed_part(stock, {name: sums[name] for name in part})
        victims += chosen
        left |= lacks
    return Shed(in_order(victims), tuple(sorted(left.items())))


def _shed_part(stock: "_Stock", sums: Mapping[str, ElementSums]) -> Steps[tuple[tuple[Candidate, ...], Lacks]]:
    """Victims of these zones and feeds, and what then is still over."""
    excess = Excess(sums, stock.loads_of)
    victims = yield from _settle(excess, stock, excess.lacks)
    if victims is not None:
        return victims, {}
    offers = yield from stock.offers(sorted(excess.lacks()))
    least = yield from _without(excess, [offer.candidate for offer in offers], excess.lacks)
    victims = yield from _settle(excess, stock, lambda: _beyond(excess.lacks(), least))
    return victims or (), least


def _apart(stock: "_Stock", elements: Iterable[str]) -> Steps[list[list[str]]]:
    """The elements in as many parts as can be chosen for apart: no candidate gives anything back in two of them."""
    parts = {name: [name] for name in elements}
    for number, one in enumerate(stock.of(stock.zones, 0)):
        if number % _AT_ONCE == 0:
            yield
        touched = [name for name in stock.loads_of(one) if name in parts]
        largest = max((parts[name] for name in touched), key=len, default=[])
        for name in touched:
            joined = parts[name]
            if joined is not largest:
                largest += joined
                parts.update(dict.fromkeys(joined, largest))
    found = {id(part): part for part in parts.values()}
    return sorted(sorted(part) for part in found.values())


class _Stock:
    """The candidates that have a live claim, by zone, and what they would give back on these meters."""

    def __init__(self, ledger: Ledger, meters: Mapping[str, Carried]) -> None:
        self._ledger = ledger
        self._meters = meters
        self._in_zone: dict[str, list[Candidate]] = {}
        self._loads: dict[str, Loads] = {}
        self.ranks: list[int] = []
        """Of all tiers, the lowest promise first."""

    def fill(self, candidates: Iterable[Candidate]) -> Steps[None]:
        """Take them in."""
        ranks: set[int] = set()
        for number, candidate in enumerate(candidates):
            if number % _AT_ONCE == 0:
                yield
            if candidate.id in self._ledger.claims:
                ranks.add(candidate.rank)
                for charge in candidate.claim.charges:
                    self._in_zone.setdefault(charge.zone, []).append(candidate)
        self.ranks = sorted(ranks, reverse=True)

    @property
    def zones(self) -> Iterable[str]:
        """Where there are any."""
        return self._in_zone

    def of(self, zones: Iterable[str], rank: int) -> list[Candidate]:
        """Those in these zones whose promise is no higher."""
        found = {one.id: one for zone in zones for one in self._in_zone.get(zone, ()) if one.rank >= rank}
        return list(found.values())

    def offers(self, wants: Sequence[Want]) -> Steps[list[Offer]]:
        """Those who give back anything of what is wanted. To be asked while nobody is out: bursts do not add up."""
        topology = self._ledger.topology
        zones: dict[str, None] = {}
        for want in wants:
            zones.update(dict.fromkeys(topology.zones_under.get(want.element, (want.element,))))
        found = []
        asked = [(want, self._meters[want.element]) for want in wants]
        for number, one in enumerate(self.of(zones, 0)):
            if number % _AT_ONCE == 0:
                yield
            loads = self.loads_of(one)
            gives = tuple([gift(meter, one.claim, loads.get(want.element), want) for want, meter in asked])
            if any(gives):
                found.append(Offer(one, one.claim.est_w, gives))
        return found

    def tier_for(self, zone: str, need_w: int) -> int | None:
        """The highest tier in a zone that has to be touched at least to free so many W there; None if all give less."""
        bursts = max(1, -(-self._ledger.rule.z_milli // 1_000))  # of one group's burst no more than z times may count
        watts: dict[int, int] = {}
        for one in self._in_zone.get(zone, ()):
            own_w = sum(c.est_w + bursts * (c.max_w - c.est_w) for c in one.claim.charges if c.zone == zone)
            watts[one.rank] = watts.get(one.rank, 0) + own_w
        for rank in self.ranks:
            if need_w <= 0:
                return rank
            need_w -= watts.get(rank, 0)
            if need_w <= 0:
                return rank
        return None

    def loads_of(self, one: Candidate) -> Loads:
        """What its claim puts on each zone and feed."""
        loads = self._loads.get(one.id)
        if loads is None:
            loads = self._loads[one.id] = self._ledger.loads(one.claim.charges, one.claim.share_milli)
        return loads


# -- one zone, or several --------------------------------------------------------------------------------------------


def _cheapest(placer: Placer, stock: _Stock, trial: Trial) -> Steps[Plan | None]:
    """The cheapest plan that is found: in one zone, or else over several."""
    found = yield from _in_one_zone(placer, stock, trial)
    return found if found is not None else (yield from _over_zones(placer, stock, trial))


def _in_one_zone(placer: Placer, stock: _Stock, trial: Trial) -> Steps[Plan | None]:
    """The cheapest plan in one zone, of those that seem cheapest beforehand."""
    best: tuple[Price, str] | None = None
    found: Plan | None = None
    near = _near(placer, stock, placer.request.ask.total)
    estimates = yield from _estimates(placer, stock, near)
    for minus_rank, _, zone in sorted(estimates)[:_TRIED]:
        if found is not None and all(victim.rank > -minus_rank for victim in found.victims):
            break  # from here on a higher tier would have to be touched
        one = yield from _tried(placer, stock, trial, placer.placement_in(zone))
        if one is not None:
            cost = price(one.victims, stock.ranks), zone
            if best is None or cost < best:
                best, found = cost, one
    return found


def _over_zones(placer: Placer, stock: _Stock, trial: Trial) -> Steps[Plan | None]:
    """A plan over several zones: the fewest of those that seem cheapest whose lowest tiers could make room."""
    request, ledger = placer.request, placer.ledger
    if not request.ask.spreads:
        return None
    near = _near(placer, stock, 1)
    for rank in stock.ranks:
        for count in _doubling(len(near)):
            narrowed = replace(request, zones=frozenset(near[:count]))
            trial.without(stock.of(near[:count], rank))
            placement = Placer(narrowed, ledger, placer.window, placer.ignore).place()
            trial.without(())
            yield
            found = (yield from _tried(placer, stock, trial, placement)) if placement is not None else None
            if found is not None:
                return found
    return None


def _doubling(most: int) -> Iterator[int]:
    """2, 4, 8 … up to `most`, which is the last, within bounds."""
    count, most = 2, min(most, _MOST_PARTS)
    while count < most:
        yield count
        count *= 2
    if most:
        yield most


def _near(placer: Placer, stock: _Stock, nodes: int) -> list[str]:
    """The zones where so many of the request's nodes seem cheapest, by the zone's own watts alone; cheapest first."""
    charge = placer.charge("", nodes)
    burst_milli = (charge.max_w - charge.est_w) * 1_000 // max(charge.est_w, 1)
    ranked = []
    for zone in placer.open_zones():
        need_w = charge.est_w - placer.ledger.meters[zone].room_for(burst_milli)
        rank = stock.tier_for(zone, need_w)
        if rank is not None:
            ranked.append((-rank, need_w, zone))
    return [zone for _, _, zone in nsmallest(_LOOKED_AT, ranked)]


def _estimates(placer: Placer, stock: _Stock, zones: Iterable[str]) -> Steps[list[tuple[int, int, str]]]:
    """(negative rank of the highest tier to be touched, least W to be freed, zone), where it could do at all."""
    found = []
    for number, zone in enumerate(zones):
        if number % _ZONES_AT_ONCE == 0:
            yield
        lacks = lacking(placer, placer.charges_in(zone))
        wants = sorted(lacks)
        offers = yield from stock.offers(wants)
        rank = highest_touched([lacks[want] for want in wants], offers) if lacks else stock.ranks[0]
        if rank is not None:
            need_w = max((w for want, w in lacks.items() if want.aspect is Aspect.PACKING), default=0)
            found.append((-rank, need_w, zone))
    return found


# -- tried on the ledger ---------------------------------------------------------------------------------------------


def _tried(placer: Placer, stock: _Stock, trial: Trial, placement: Placement) -> Steps[Plan | None]:
    """Victims for this very place; None if nobody's end makes it free."""
    victims = yield from _settle(trial, stock, lambda: lacking(placer, placement.charges))
    return _stands(placer, trial, victims, placement) if victims is not None else None


def _stands(placer: Placer, trial: Trial, victims: tuple[Candidate, ...], placement: Placement) -> Plan | None:
    """The plan for this very place after these victims, if it then stands by the rules of admission."""
    trial.without(victims)
    stands = placer.stands(placement.charges)
    verdict = admit(placer.request, placer.ledger, placement)
    trial.without(())
    return Plan(victims, placement, verdict) if stands else None


def _settle(trial: Out, stock: _Stock, check: Check) -> Steps[tuple[Candidate, ...] | None]:
    """Victims without whom nothing is short, none of whom can be put back; None where all who help do not suffice.

    The trial is left with nobody out, as it has to be at the beginning.
    """
    short, lacks = dict[Want, int](), check()
    if not lacks:
        return ()
    victims: tuple[Candidate, ...] = ()
    for _ in range(_ROUNDS):
        offers = yield from _raised(stock, short, lacks, victims)
        chosen = yield from choose([short[want] for want in sorted(short)], offers)
        if chosen is None:
            break
        victims = chosen
        lacks = yield from _without(trial, victims, check)
        if not lacks:
            victims = yield from _lower(trial, stock, short, victims, check)
            return (yield from _spared(trial, victims, check))
    everyone = yield from _all_who_help(trial, stock, short, check)
    return (yield from _spared(trial, everyone, check)) if everyone is not None else None


def _lower(
    trial: Out, stock: _Stock, short: Lacks, victims: tuple[Candidate, ...], check: Check
) -> Steps[tuple[Candidate, ...]]:
    """All of lower tiers than the highest among the victims where they suffice too: an estimate can miss that."""
    highest = min(victim.rank for victim in victims)
    offers = yield from stock.offers(sorted(short))
    lower = in_order(offer.candidate for offer in offers if offer.candidate.rank > highest)
    return lower if lower and not (yield from _without(trial, lower, check)) else victims


def _raised(stock: _Stock, short: Lacks, lacks: Lacks, victims: Sequence[Candidate]) -> Steps[list[Offer]]:
    """What there is for all that is short; `short` is raised to what the last victims gave and what still lacks."""
    wants = sorted({*short, *lacks})
    offers, gone = (yield from stock.offers(wants)), {victim.id for victim in victims}
    given = [offer.gives for offer in offers if offer.candidate.id in gone]
    for place, want in enumerate(wants):
        if want in lacks:
            short[want] = lacks[want] + sum(gives[place] for gives in given)
    return offers


def _all_who_help(trial: Out, stock: _Stock, short: Lacks, check: Check) -> Steps[tuple[Candidate, ...] | None]:
    """All who give back anything of what is short, or turns out to be; None if that does not suffice."""
    wants: set[Want] = set(short)
    while True:
        offers = yield from stock.offers(sorted(wants))
        everyone = in_order(offer.candidate for offer in offers)
        lacks = yield from _without(trial, everyone, check)
        if not lacks:
            return everyone
        if lacks.keys() <= wants:
            return None
        wants |= lacks.keys()


def _take_out(trial: Out, victims: Sequence[Candidate]) -> Steps[None]:
    """Have just these out, nobody being out before."""
    for end in range(_OUT_AT_ONCE, len(victims), _OUT_AT_ONCE):
        trial.without(victims[:end])
        yield
    trial.without(victims)


def _without(trial: Out, victims: Sequence[Candidate], check: Check) -> Steps[Lacks]:
    """What is short without these; then they are all back."""
    yield from _take_out(trial, victims)
    lacks = check()
    trial.without(())
    return lacks


def _spared(trial: Out, victims: Sequence[Candidate], check: Check) -> Steps[tuple[Candidate, ...]]:
    """The victims without those who can be put back: the highest promise first, of a tier the dearest first."""
    yield from _take_out(trial, victims)
    spared = set()
    dearest_last = sorted(victims, key=lambda v: (-v.rank, v.claim.est_w, v.lost_s, -v.started, v.job_id, v.id))
    for number, victim in enumerate(reversed(dearest_last)):
        if number % trial.tries_at_once == 0:
            yield
        trial.put_back(victim)
        if check():
            trial.take_out(victim)
        else:
            spared.add(victim.id)
    trial.without(())
    return tuple(victim for victim in victims if victim.id not in spared)


def _beyond(lacks: Lacks, least: Lacks) -> Lacks:
    """What is short beyond what cannot be helped."""
    return {want: more for want, amount in lacks.items() if (more := amount - least.get(want, 0)) > 0}
