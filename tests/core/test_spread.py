"""Jobs over several zones: against the rule written plainly, over many zones, and in steps with others in between."""

import random
from dataclasses import replace
from unittest.mock import patch

import pytest

from slurm_power.core import capacity, spread
from slurm_power.core.admission import Admit, Reject, decide, deciding
from slurm_power.core.asker import Asker
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeFree, ZoneNodes
from slurm_power.core.placement import Placer
from slurm_power.core.queue import shading, shadow
from slurm_power.core.request import Request
from slurm_power.core.spread import Spread
from slurm_power.core.steps import finish
from slurm_power.core.topology import Side
from slurm_power.core.window import Window
from tests.core.floors import BRONZE, NOW, RSS, TWO_N, N, claim, feed, ledger, request, zone
from tests.core.oracle import excess, touched


def plainly(job: Request, one: Ledger) -> dict[str, int]:
    """Each time the zone that takes most; then the least room, the least headroom, the name. All nodes, or none."""
    parts: dict[str, int] = {}
    left = job.ask.nodes
    while left:
        found = [
            (-most_in(job, one, name, parts, left), name)
            for name in one.nodes.keys() - parts.keys() - one.closed.keys()
        ]
        takers = [(less, one.room_w(name), one.meters[name].headroom_w, name) for less, name in found if less]
        if not takers:
            return {}
        less, *_, name = min(takers)
        parts[name] = -less
        left += less
    return parts


def most_in(job: Request, one: Ledger, name: str, parts: dict[str, int], left: int) -> int:
    free = one.nodes[name].could_start(job.ask, one.promised_milli(name))
    for count in range(min(left, job.ask.nodes - 1, free), 0, -1):
        charges = charged(job, {**parts, name: count})
        if one.shortfall(charges, Asker(job.group, job.window(one.now))) is None:
            return count
    return 0


def charged(job: Request, parts: dict[str, int]) -> tuple[Charge, ...]:
    total = job.ask.nodes
    return tuple(
        Charge(name, count, -(-job.est_w * count // total), -(-job.max_w * count // total))
        for name, count in parts.items()
    )


def found_by_steps(job: Request, one: Ledger) -> dict[str, int]:
    placer = Placer(job, one, job.window(one.now))
    return {charge.zone: charge.nodes for charge in finish(Spread(placer, job.lanes).parts())}


def random_floor(chance: random.Random) -> Ledger:
    """Up to fourteen zones of unlike size, idleness and load, under feeds that carry some of them."""
    names = [f"rack{k:02d}" for k in range(chance.randint(2, 14))]
    feeds = [feed(name, chance.randint(5_000, 60_000), side, "top") for name, side in (("l", Side.A), ("r", Side.B))]
    zones = [
        zone(
            name,
            chance.randint(3_000, 30_000),
            nodes=chance.choice((1, 2, 4, 9, 40)),
            feeds=chance.choice((("l",), ("r",), ("l", "r"), ())),
            redundancy=chance.choice((N, TWO_N)),
        )
        for name in names
    ]
    one = ledger(zones, [*feeds, feed("top", chance.randint(9_000, 99_000))])
    for name in names:
        up = len(one.topology.zones[name].nodes)
        partly = min(up, chance.choice((0, 0, 1, 2)))
        one.set_nodes(name, ZoneNodes(up, chance.randint(0, up - partly), 8, 4, (NodeFree(4, 2),) * partly))
        if chance.random() < 0.5:
            one.add(claim(f"in-{name}", name, chance.randint(1, 3_000), hours=chance.choice((1, 2, None))))
    if chance.random() < 0.2:
        one.close(names[0], "too hot")
    return one


def random_job(chance: random.Random, bursts: tuple[int, ...] = (10,)) -> Request:
    nodes = chance.randint(2, 60)
    est_w = nodes * chance.randint(50, 2_000)
    return request(
        est_w, est_w * chance.choice(bursts) // 10, nodes=nodes, cpus=4, exclusive=chance.random() < 0.5, hours=1
    )


@pytest.mark.parametrize("narrow", [64, 1])
@pytest.mark.parametrize("at_once", [400, 1])
@pytest.mark.parametrize("one_by_one", [16, 1])
def test_it_takes_the_parts_that_the_rule_names(narrow: int, at_once: int, one_by_one: int) -> None:
    placed = 0
    with (
        patch.object(capacity, "_NARROW", narrow),
        patch.object(spread, "_AT_ONCE", at_once),
        patch.object(spread, "_ONE_BY_ONE", one_by_one),
    ):
        for seed in range(150):
            chance = random.Random(seed)
            one, job = random_floor(chance), random_job(chance)
            parts = found_by_steps(job, one)
            assert parts == plainly(job, one), seed
            if parts:
                placed += 1
                limits = {name: meter.limit_w for name, meter in one.meters.items()}
                new = Claim(job.id, charged(job, parts), job.window(NOW), job.group)
                claims = [*one.claims.values(), new]
                elements = touched(one.topology, new.charges)
                assert not excess(one.topology, RSS, limits, claims, Window(NOW), NOW, elements), seed
    assert 30 < placed < 140


def test_the_steps_lead_to_what_is_found_at_once() -> None:
    for seed in range(150):
        chance = random.Random(seed)
        one, job = random_floor(chance), random_job(chance, (10, 12, 15))
        floor = one.empty()
        at_once = decide(job, one, floor, others=(BRONZE,)), shadow(job, one)
        with patch.object(spread, "_AT_ONCE", 1), patch.object(spread, "_AT_ONCE_AHEAD", 1):
            assert (finish(deciding(job, one, floor, others=(BRONZE,))), finish(shading(job, one))) == at_once, seed


def test_a_zone_that_comes_free_between_two_steps_is_found() -> None:
    one = ledger([zone(name, 5_000, nodes=1) for name in ("rack0", "rack1")])
    for name in one.nodes:
        one.set_nodes(name, ZoneNodes(1, 1, 64, 8))
    one.add(Claim("busy", (Charge("rack1", 1, 5_000, 5_000),), Window(NOW - 5), "g", share_milli=0, placed=True))
    with patch.object(spread, "_AT_ONCE", 1):
        steps = deciding(request(4_000, nodes=2, exclusive=True), one, one.empty())
        next(steps)
        one.remove("busy")
        assert isinstance(finish(steps), Admit)


class TestManyZones:
    def floor(self, count: int = 3_000) -> Ledger:
        """Every third zone is idle; the others have no free node, or one."""
        one = ledger([zone(f"rack{k:04d}", nodes=10) for k in range(count)])
        for k, name in enumerate(one.nodes):
            one.set_nodes(name, ZoneNodes(10, (10, 0, 1)[k % 3], 64, 8))
        return one

    def test_a_job_over_hundreds_of_zones(self) -> None:
        one = self.floor()
        job = request(10_500 * 500, nodes=10_500, exclusive=True)
        verdict = decide(job, one, one.empty())
        assert isinstance(verdict, Admit)
        sizes = [charge.nodes for charge in verdict.claim.charges]
        assert (sizes.count(10), sizes.count(1)) == (1_000, 500)

    def test_not_one_more_than_there_are(self) -> None:
        one = self.floor(300)
        fits, too_many = (request(nodes * 500, nodes=nodes, exclusive=True) for nodes in (1_100, 1_101))
        assert isinstance(decide(fits, one, one.empty()), Admit)
        assert not isinstance(decide(too_many, one, one.empty()), Admit | Reject)
        assert isinstance(decide(request(3_001 * 500, nodes=3_001, exclusive=True), one, one.empty()), Reject)

    def test_it_looks_at_no_zone_in_vain(self) -> None:
        """What it looks at are the parts that it takes, and not the zones in between, again for each part."""
        one = self.floor()
        job = request(5_000 * 500, nodes=5_000, exclusive=True)
        looked_at = []
        spread_over = one.spread

        def counted(charge: Charge) -> object:
            looked_at.append(charge.zone)
            return spread_over(charge)

        with patch.object(one, "spread", counted):
            assert Placer(job, one, job.window(NOW)).place() is not None
        assert len(looked_at) < 600  # 500 parts

    def test_a_large_job_has_a_shadow_over_more_zones_than_a_small_one(self) -> None:
        one = ledger([zone(f"rack{k:03d}", nodes=4) for k in range(300)])
        one.load(
            [
                claim(f"j{k}", name, 90_000, hours=1 + k % 5, nodes=4, share_milli=1_000)
                for k, name in enumerate(one.nodes)
            ]
        )
        made = shadow(request(800 * 1_000, nodes=800, exclusive=True), one)
        assert made is not None
        assert sum(charge.nodes for charge in made.charges) == 800
        assert len(made.charges) == 200


class TestStands:
    """A place that took several steps to find, when others were answered meanwhile."""

    @pytest.fixture
    def one(self) -> Ledger:
        zones = [zone(name, nodes=2, feeds=("pdu",)) for name in ("rack1", "rack2")]
        one = ledger(zones, [feed("pdu", 50_000)])
        for name in one.nodes:
            one.set_nodes(name, ZoneNodes(2, 2, 64, 8))
        return one

    def stands(self, one: Ledger, headroom_w: int = 0) -> bool:
        job = request(40_000, nodes=4, exclusive=True, headroom_w=headroom_w)
        charges = charged(job, {"rack1": 2, "rack2": 2})
        return Placer(job, one, job.window(one.now)).stands(charges)

    def test_while_nothing_has_changed(self, one: Ledger) -> None:
        assert self.stands(one)

    def test_not_when_watts_are_gone(self, one: Ledger) -> None:
        one.add(claim("a", "rack1", 10_001))
        assert not self.stands(one)

    def test_not_when_a_node_is_gone(self, one: Ledger) -> None:
        one.set_nodes("rack2", ZoneNodes(2, 1, 64, 8))
        assert not self.stands(one)

    def test_not_when_a_zone_is_closed(self, one: Ledger) -> None:
        one.close("rack2", "too hot")
        assert not self.stands(one)

    def test_not_when_its_headroom_is_gone(self, one: Ledger) -> None:
        one.add(claim("a", "rack1", 5_000))
        assert self.stands(one, headroom_w=95_000)
        assert not self.stands(one, headroom_w=95_001)


class TestZonesOfWhichOnlySomeNodesWouldDo:
    def asked(self, nodes: int, copies: int = 1, **most: int) -> Request:
        job = request(1_000 * copies, nodes=nodes, copies=copies, exclusive=True)
        return replace(job, ask=replace(job.ask, most=tuple(most.items())))

    def place(self, job: Request, hours_ahead: int = 0) -> dict[str, int] | None:
        one = ledger([zone("a", nodes=4), zone("b", nodes=4), zone("c", nodes=4)])
        found = Placer(job, one, job.window(NOW + hours_ahead * 3_600)).place()
        return None if found is None else {charge.zone: charge.nodes for charge in found.charges}

    @pytest.mark.parametrize("hours_ahead", [0, 5])
    def test_no_zone_gets_more_than_would_do(self, hours_ahead: int) -> None:
        assert self.place(self.asked(3, a=1, b=2), hours_ahead) == {"c": 3}
        assert self.place(self.asked(7, a=1, b=2), hours_ahead) == {"a": 1, "b": 2, "c": 4}
        assert self.place(self.asked(8, a=1, b=2), hours_ahead) is None

    def test_each_copy_finds_its_nodes_among_them(self) -> None:
        assert self.place(self.asked(2, copies=2, a=1, c=1)) == {"b": 4}
        assert self.place(self.asked(2, copies=2, a=1, b=1, c=1)) is None

    def test_what_could_never_go_there_is_denied_and_waits_for_no_start(self) -> None:
        one = ledger([zone("a", nodes=4), zone("b", nodes=4)])
        verdict = decide(self.asked(3, a=1, b=1), one, one.empty())
        assert isinstance(verdict, Reject)
        assert not verdict.helps
        assert shadow(self.asked(3, a=1, b=1), one) is None
