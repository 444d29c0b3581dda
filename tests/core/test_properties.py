"""Properties of the ledger and the decision over any history, judged by tests.core.oracle."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import product
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slurm_power.core import capacity, timeline
from slurm_power.core.admission import Admit, Hold, Reject, Verdict, decide
from slurm_power.core.asker import Asker
from slurm_power.core.binding import licence_counts, licence_of, licence_plan
from slurm_power.core.claim import RESERVATION, Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeAsk, NodeFree, ZoneNodes
from slurm_power.core.policy import BurstRule
from slurm_power.core.queue import SHADOW, shadow
from slurm_power.core.request import Request
from slurm_power.core.topology import Feed, FeedKind, Lane, Redundancy, Side, Topology, Zone
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import BRONZE, GOLD, NOW, SILVER
from tests.core.oracle import charged, excess, touched
from tests.core.recount import differences

RULES = st.sampled_from([BurstRule(), BurstRule(rss=False), BurstRule(z_milli=1_000)])
MARGINS = st.sampled_from([Fraction(0), Fraction(15, 100), Fraction(1, 3)])
WATTS = st.integers(1, 6_000)
GROUPS = st.sampled_from(["u/a", *(f"v/{k}" for k in range(9))])
"""Enough of them that the root of squares is less than the sum."""


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Up to five zones under up to six feeds: sides, parents, a common utility, a cooling loop."""
    limits = st.integers(3_000, 25_000)
    feeds = [Feed("utility", draw(st.integers(5_000, 60_000)))]
    for name, side in (("ups-a", Side.A), ("ups-b", Side.B)):
        parent = draw(st.sampled_from([None, "utility"]))
        feeds.append(Feed(name, draw(limits), side, parent, margin=draw(MARGINS)))
    for name, side, parent in (
        ("pdu-a", Side.A, "ups-a"),
        ("pdu-b", Side.B, "ups-b"),
        ("pdu-a2", Side.A, "ups-a"),
    ):
        feeds.append(Feed(name, draw(limits), side, draw(st.sampled_from([None, parent]))))
    feeds.append(Feed("loop", draw(limits), kind=FeedKind.COOLING))
    chosen = st.sets(st.sampled_from([feed.name for feed in feeds[1:]]), max_size=4)
    zones = [
        Zone(
            name=f"rack{i}",
            nodes=tuple(f"n{i}-{k}" for k in range(draw(st.integers(1, 4)))),
            limit_w=draw(st.integers(2_000, 15_000)),
            baseline_w=draw(st.integers(0, 500)),
            margin=draw(MARGINS),
            lane=draw(st.sampled_from(list(Lane))),
            redundancy=draw(st.sampled_from(list(Redundancy))),
            feeds=tuple(sorted(draw(chosen))),
            switch=draw(st.sampled_from(["", "leaf1", "leaf2"])),
        )
        for i in range(draw(st.integers(1, 5)))
    ]
    return Topology(zones, feeds)


@st.composite
def requests(draw: st.DrawFn, names: tuple[str, ...] = ()) -> Request:
    est_w = draw(WATTS)
    nodes = draw(st.sampled_from([1, 1, 1, 2, 3, 6]))
    copies = draw(st.sampled_from([1, 1, 1, 2, 3])) if nodes == 1 else 1
    return Request(
        id="",
        tier=draw(st.sampled_from([GOLD, SILVER, BRONZE])),
        est_w=est_w * copies,
        max_w=(est_w + draw(st.sampled_from([0, 0, est_w // 10, est_w // 3, est_w, 4 * est_w]))) * copies,
        group=draw(GROUPS),
        headroom_w=draw(st.sampled_from([0, 0, 0, 3_000])),
        ask=NodeAsk(nodes, copies, draw(st.integers(1, 8)), draw(st.integers(0, 4)), draw(st.booleans())),
        time_limit_s=draw(st.sampled_from([None, 100, 3_600, 20_000])),
        zones=draw(st.none() | st.frozensets(st.sampled_from(names))) if names else None,
        not_before=draw(st.sampled_from([0, 0, 0, NOW + 5_000])),
    )


@st.composite
def zone_nodes(draw: st.DrawFn, count: int) -> ZoneNodes:
    idle = draw(st.integers(0, count))
    parts = st.builds(NodeFree, st.integers(1, 7), st.integers(0, 3))
    partly = draw(st.lists(parts, max_size=count - idle))
    return ZoneNodes(up=count, idle=idle, cpus=8, gpus=4, partly=tuple(partly))


def fingerprint(ledger: Ledger) -> object:
    """All that a decision could change."""
    meters = {name: (meter.limit_w, meter.numbers()) for name, meter in ledger.meters.items()}
    rooms = {zone: ledger.room_w(zone) for zone in ledger.nodes}
    promised = {zone: ledger.promised_milli(zone) for zone in ledger.nodes}
    bookings = {claim.id: claim for claim in ledger.bookings()}
    return meters, rooms, promised, dict(ledger.claims), bookings, dict(ledger.closed), ledger.now


def fits(ledger: Ledger, charges: tuple[Charge, ...], request: Request) -> bool:
    """Whether the rules of power let these charges in now, beside all live claims; bookings are left out."""
    new = request.claim(charges, ledger.now, 0)
    limits = {name: meter.limit_w for name, meter in ledger.meters.items()}
    every = [*ledger.claims.values(), new]
    elements = touched(ledger.topology, charges)
    return not excess(ledger.topology, ledger.rule, limits, every, new.window, ledger.now, elements)


def fitting_zones(request: Request, ledger: Ledger) -> list[str]:
    """The zones that could take the whole request now, one by one."""
    found = []
    for name, zone in ledger.topology.zones.items():
        headroom_w = ledger.meters[name].headroom_w
        allowed = name not in ledger.closed and zone.lane in request.lanes
        named = request.zones is None or name in request.zones
        free = ledger.nodes[name].could_start(request.ask, ledger.promised_milli(name))
        charges = (Charge(name, request.ask.total, request.est_w, request.max_w),)
        roomy = free >= request.ask.total and headroom_w >= request.headroom_w
        if allowed and named and roomy and fits(ledger, charges, request):
            found.append(name)
    return found


def some_split_fits(request: Request, floor: Ledger) -> bool:
    """Whether any way to spread the nodes over zones of its lanes is allowed."""
    ask = request.ask
    zones = [
        name
        for name, zone in floor.topology.zones.items()
        if zone.lane in request.lanes
        and (request.zones is None or name in request.zones)
        and floor.meters[name].headroom_w >= request.headroom_w
    ]
    most = [min(ask.nodes, floor.nodes[name].could_start(ask, 0)) for name in zones]
    for counts in product(*(range(count + 1) for count in most)):
        if sum(counts) == ask.nodes:
            charges = tuple(
                Charge(zone, n, -(-request.est_w * n // ask.nodes), -(-request.max_w * n // ask.nodes))
                for zone, n in zip(zones, counts, strict=True)
                if n
            )
            if fits(floor, charges, request):
                return True
    return False


class History(RuleBasedStateMachine):
    """Any mix of decisions, facts, reservations, ends, cuts and time."""

    narrow = 64
    longest = 128

    def __init__(self) -> None:
        super().__init__()
        self.patch = patch.object(capacity, "_NARROW", self.narrow)
        self.patch.start()
        self.chunks = patch.object(timeline, "_LONGEST", self.longest)
        self.chunks.start()
        self.number = 0
        self.steps: list[tuple[Callable[[Ledger, Ledger], object], object]] = []

    def teardown(self) -> None:
        if hasattr(self, "topology"):
            self.replay()
        self.patch.stop()
        self.chunks.stop()

    @initialize(topology=topologies(), burst=RULES)
    def start(self, topology: Topology, burst: BurstRule) -> None:
        self.topology = topology
        self.burst = burst
        self.ledger, self.floor = self.fresh()
        self.names = tuple(sorted(topology.zones))

    def fresh(self) -> tuple[Ledger, Ledger]:
        ledger = Ledger(self.topology, {"part": sorted(self.topology.zones)[:2]}, self.burst, NOW)
        for name, zone in self.topology.zones.items():
            ledger.set_nodes(name, ZoneNodes(len(zone.nodes), len(zone.nodes), 8, 4))
        return ledger, ledger.empty()

    def do(self, step: Callable[[Ledger, Ledger], object]) -> object:
        outcome = step(self.ledger, self.floor)
        self.steps.append((step, outcome))
        return outcome

    def new_id(self) -> str:
        self.number += 1
        return f"j{self.number}"

    def any_claim(self, data: st.DataObject) -> str:
        every = [*self.ledger.claims, *(claim.id for claim in self.ledger.bookings())]
        return data.draw(st.sampled_from(sorted(every)))

    # -- what happens -------------------------------------------------------------------------------------------

    @rule(data=st.data(), pool=st.sampled_from(["", "part"]), ignore=st.booleans())
    def submit(self, data: st.DataObject, pool: str, ignore: bool) -> None:
        """Decide, judge the verdict by the oracle, and add what was admitted."""
        request = replace(data.draw(requests(self.names)), id=self.new_id(), pool=pool)
        shadows = [claim.id for claim in self.ledger.bookings() if claim.tentative]
        ignored = shadows[0] if ignore and shadows else None
        before, floor_before = fingerprint(self.ledger), fingerprint(self.floor)

        def step(ledger: Ledger, floor: Ledger) -> Verdict:
            verdict = decide(request, ledger, floor, ignore=ignored, others=(GOLD, SILVER, BRONZE))
            if ledger is self.ledger:
                assert fingerprint(ledger) == before
                assert fingerprint(floor) == floor_before
                self.judge(request, verdict, ignored)
            if isinstance(verdict, Admit):
                ledger.add(verdict.claim)
            return verdict

        self.do(step)

    def judge(self, request: Request, verdict: Verdict, ignored: str | None) -> None:
        ledger = self.ledger
        if isinstance(verdict, Admit):
            self.judge_admission(request, verdict.claim, ignored)
        elif isinstance(verdict, Reject):
            allowed = set(self.names) if request.zones is None else request.zones
            if request.pool:
                allowed = allowed & set(self.names[:2])
            narrowed = replace(request, zones=frozenset(allowed), not_before=0)
            assert not fitting_zones(narrowed, self.floor)
            assert request.ask.nodes == 1 or not some_split_fits(narrowed, self.floor)
        elif request.not_before <= ledger.now and not list(ledger.bookings()):
            pool = set(self.names[:2]) if request.pool else set(self.names)
            assert not [zone for zone in fitting_zones(request, ledger) if zone in pool]
        if isinstance(verdict, Hold) and verdict.earliest is not None:
            assert verdict.earliest > ledger.now

    def judge_admission(self, request: Request, claim: Claim, ignored: str | None) -> None:
        ledger, topology = self.ledger, self.topology
        booked = [c for c in ledger.bookings() if c.id != ignored]
        self.judge_window(claim, [*ledger.claims.values(), *booked, claim])
        assert sum(charge.nodes for charge in claim.charges) == request.ask.total
        assert sum(charge.est_w for charge in claim.charges) >= request.est_w
        for charge in claim.charges:
            zone = topology.zones[charge.zone]
            assert zone.lane in request.lanes
            assert charge.zone not in ledger.closed
            assert request.zones is None or charge.zone in request.zones
            assert not request.pool or charge.zone in self.names[:2]
            assert ledger.meters[charge.zone].headroom_w >= request.headroom_w
            free = ledger.nodes[charge.zone].could_start(request.ask, ledger.promised_milli(charge.zone))
            assert free >= charge.nodes
        plan = licence_plan(topology)
        counts = licence_counts(claim.charges, plan)
        for licence in plan.licences:
            est_w, _ = charged(topology, claim.charges, licence.element)
            load = ledger.loads(claim.charges).get(licence.element)
            assert (
                counts.get(licence_of(licence.element), 0) == est_w == (load.est_w if load is not None else 0)
            )

    @rule(data=st.data(), est_w=WATTS, burst_w=st.integers(0, 9_000), group=GROUPS, placed=st.booleans())
    def fact(self, data: st.DataObject, est_w: int, burst_w: int, group: str, placed: bool) -> None:
        """Slurm runs something that nobody asked us about, or a booking is made."""
        zones = data.draw(st.sets(st.sampled_from(self.names), min_size=1, max_size=2))
        start = self.ledger.now + data.draw(st.sampled_from([-500, 0, 0, 1_000, 7_200]))
        end = data.draw(st.sampled_from([FOREVER, start + 100, start + 4_000, start + 30_000]))
        charges = tuple(Charge(zone, 1, est_w, est_w + burst_w) for zone in sorted(zones))
        milli = data.draw(st.sampled_from([0, 250, 1_000]))
        new = Claim(self.new_id(), charges, Window(start, end), group, share_milli=milli, placed=placed)
        self.do(lambda ledger, floor: ledger.add(new))

    @rule(data=st.data(), est_w=WATTS, burst_w=st.integers(0, 4_000), milli=st.sampled_from([0, 0, 500]))
    def reserve(self, data: st.DataObject, est_w: int, burst_w: int, milli: int) -> None:
        """Watts are reserved where they fit over the whole window, and only there."""
        zones = data.draw(st.sets(st.sampled_from(self.names), min_size=1, max_size=2))
        start = self.ledger.now + data.draw(st.sampled_from([0, 60, 1_000, 7_200, 30_000]))
        end = start + data.draw(st.sampled_from([60, 4_000, 30_001]))
        charges = tuple(Charge(zone, 1, est_w, est_w + burst_w) for zone in sorted(zones))
        name = f"{RESERVATION}{self.new_id()}"
        new = Claim(name, charges, Window(start, end), name, share_milli=milli, reserves=True)

        def step(ledger: Ledger, floor: Ledger) -> object:
            short = ledger.shortfall(new.charges, Asker(new.group, new.window))
            if short is None:
                if ledger is self.ledger:
                    self.judge_window(new, [*ledger.claims.values(), *ledger.bookings(), new])
                ledger.add(new)
            return short

        self.do(step)

    def judge_window(self, new: Claim, every: list[Claim]) -> None:
        """Nothing that the claim touches passes its budget at any instant of the claim's window."""
        limits = {name: meter.limit_w for name, meter in self.ledger.meters.items()}
        elements = touched(self.topology, new.charges)
        assert not excess(self.topology, self.burst, limits, every, new.window, self.ledger.now, elements)

    @precondition(lambda self: bool(self.ledger.claims or list(self.ledger.bookings())))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        gone = self.any_claim(data)
        self.do(lambda ledger, floor: ledger.remove(gone))

    @precondition(lambda self: bool(self.ledger.claims or list(self.ledger.bookings())))
    @rule(data=st.data(), est_w=WATTS, burst_w=st.integers(0, 3_000), group=GROUPS)
    def change(self, data: st.DataObject, est_w: int, burst_w: int, group: str) -> None:
        """Another claim takes the place of one, if there is room for it."""
        old = self.any_claim(data)
        zone = data.draw(st.sampled_from(self.names))
        new = Claim(old, (Charge(zone, 1, est_w, est_w + burst_w),), Window(self.ledger.now), group)
        before = fingerprint(self.ledger)

        def step(ledger: Ledger, floor: Ledger) -> object:
            short = ledger.shortfall_instead(old, new)
            if ledger is self.ledger:
                assert fingerprint(ledger) == before
            if short is None:
                ledger.replace(old, new)
            return short

        self.do(step)

    @rule(seconds=st.sampled_from([1, 59, 600, 3_600, 20_000]))
    def wait(self, seconds: int) -> None:
        def step(ledger: Ledger, floor: Ledger) -> None:
            ledger.advance(ledger.now + seconds)

        self.do(step)

    @rule(data=st.data(), part=st.sampled_from([0, 30, 60, 100, 120]))
    def cut(self, data: st.DataObject, part: int) -> None:
        element = data.draw(st.sampled_from([*self.names, *sorted(self.topology.feeds)]))
        declared = (
            self.topology.zones[element] if element in self.topology.zones else self.topology.feeds[element]
        )
        self.do(lambda ledger, floor: ledger.set_limit(element, declared.limit_w * part // 100))

    @rule(data=st.data())
    def survey(self, data: st.DataObject) -> None:
        zone = data.draw(st.sampled_from(self.names))
        nodes = data.draw(zone_nodes(len(self.topology.zones[zone].nodes)))
        self.do(lambda ledger, floor: ledger.set_nodes(zone, nodes))

    @rule(data=st.data(), why=st.sampled_from([None, "too hot"]))
    def close(self, data: st.DataObject, why: str | None) -> None:
        zone = data.draw(st.sampled_from(self.names))
        self.do(lambda ledger, floor: ledger.close(zone, why))

    @rule(data=st.data())
    def cast(self, data: st.DataObject) -> None:
        """The head of the queue gets a shadow, which fits where it lies."""
        request = replace(data.draw(requests(self.names)), id=self.new_id())

        def step(ledger: Ledger, floor: Ledger) -> Claim | None:
            for booked in [claim.id for claim in ledger.bookings() if claim.tentative]:
                ledger.remove(booked)
            claim = shadow(request, ledger)
            if claim is not None:
                if ledger is self.ledger:
                    self.judge_shadow(claim)
                ledger.add(claim)
            return claim

        self.do(step)

    def judge_shadow(self, claim: Claim) -> None:
        ledger = self.ledger
        assert claim.id.startswith(SHADOW)
        assert claim.tentative
        assert claim.window.start > ledger.now
        self.judge_window(claim, [*ledger.claims.values(), *ledger.bookings(), claim])

    # -- what always holds --------------------------------------------------------------------------------------

    @invariant()
    def adds_up(self) -> None:
        """Sums, rooms and index are what a fresh count gives; looked at now and then, so that changes pile up."""
        if hasattr(self, "ledger") and len(self.steps) % 3 == 0:
            assert differences(self.ledger) == []

    def replay(self) -> None:
        """The same history gives the same verdicts."""
        ledger, floor = self.fresh()
        for step, outcome in self.steps:
            assert step(ledger, floor) == outcome


class WideHistory(History):
    """The same where every feed of more than one zone is a wide one, and four steps of a timeline are many."""

    narrow = 1
    longest = 4


BUDGET = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestHistory = History.TestCase
TestHistory.settings = BUDGET
TestWideHistory = WideHistory.TestCase
TestWideHistory.settings = BUDGET
