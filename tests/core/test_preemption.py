"""Plans of preemption and sheds: where, who, by which rules; the ledger stays as it was."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from slurm_power.core.admission import Hold, decide
from slurm_power.core.asker import Asker
from slurm_power.core.claim import RESERVATION, Claim
from slurm_power.core.excess import sums_over
from slurm_power.core.giving_way import longest_notice_s
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import NodeFree, ZoneNodes
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import Plan, Shed, plan, shed
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps, finish
from slurm_power.core.topology import Lane, Side
from slurm_power.core.trial import Trial, freed
from slurm_power.core.want import Aspect, Want
from slurm_power.core.window import Window
from tests.core.floors import GOLD, NOW, TWO_N, claim, feed, ledger, pair, request, reservation, zone
from tests.core.recount import differences
from tests.core.test_properties import fingerprint

RANKS = {"gold": 0, "silver": 1, "bronze": 2}


def candidates(one: Ledger, *names: str) -> list[Candidate]:
    """The claims of these names (none: all), tier by the claim's, all started at once."""
    return [
        Candidate(each, RANKS[each.tier], NOW, notice_s=600 * (each.tier == "silver"))
        for each in one.claims.values()
        if not names or each.id in names
    ]


def victims(found: Plan | Shed | None) -> list[str] | None:
    return None if found is None else sorted(victim.id for victim in found.victims)


def place(found: Plan | None) -> dict[str, int] | None:
    return None if found is None else {charge.zone: charge.nodes for charge in found.verdict.claim.charges}


def shed_over(
    one: Ledger, found: list[Candidate], elements: Iterable[str] | None = None, gone: Iterable[Candidate] = ()
) -> Steps[Shed]:
    """The shed for what is over on these zones and feeds (None: on all)."""
    return shed(one, found, sums_over(one.meters, one.meters if elements is None else elements), gone)


def filled(*claims: Claim, **limits_w: int) -> Ledger:
    one = ledger([zone(name, watts) for name, watts in limits_w.items()])
    one.load(claims)
    return one


def urgent(est_w: int, **more: object) -> Request:
    return replace(request(est_w, tier=GOLD), **more)  # type: ignore[arg-type]


class TestWhereAndWho:
    def test_the_zone_where_least_watts_go(self) -> None:
        one = filled(
            claim("a", "r1", 90_000, tier="bronze"),
            claim("b", "r2", 50_000, tier="bronze"),
            claim("c", "r2", 45_000, tier="bronze"),
            r1=100_000,
            r2=100_000,
        )
        found = finish(plan(urgent(45_000), one, candidates(one)))
        assert victims(found) == ["c"]
        assert place(found) == {"r2": 1}

    def test_the_zone_where_a_lower_tier_goes_though_it_costs_more(self) -> None:
        one = filled(
            claim("a", "r1", 90_000, tier="bronze"),
            claim("b", "r2", 90_000),
            claim("c", "r2", 10_000),
            r1=90_000,
            r2=100_000,
        )
        assert victims(finish(plan(urgent(10_000), one, candidates(one)))) == ["a"]

    def test_equals_go_by_fewer_jobs_then_work_lost_then_name(self) -> None:
        one = filled(
            claim("a", "r1", 5_000),
            claim("b", "r1", 5_000),
            claim("c", "r2", 10_000),
            claim("d", "r3", 10_000),
            r1=10_000,
            r2=10_000,
            r3=10_000,
        )
        assert victims(finish(plan(urgent(10_000), one, candidates(one)))) == ["c"]
        lost = [replace(each, lost_s=7 * (each.id == "c")) for each in candidates(one)]
        assert victims(finish(plan(urgent(10_000), one, lost))) == ["d"]
        assert victims(finish(plan(urgent(10_000), one, candidates(one, "a", "b")))) == ["a", "b"]

    def test_nobody_lawful_or_not_enough_of_them(self) -> None:
        one = filled(claim("a", "r1", 50_000), claim("b", "r1", 50_000), r1=100_000)
        assert finish(plan(urgent(60_000), one, [])) is None
        assert finish(plan(urgent(60_000), one, candidates(one, "a"))) is None
        assert victims(finish(plan(urgent(60_000), one, candidates(one)))) == ["a", "b"]

    def test_who_has_no_live_claim_gives_nothing(self) -> None:
        one = filled(claim("a", "r1", 50_000), r1=50_000)
        ended = Candidate(claim("ended", "r1", 50_000), 2, NOW)
        assert victims(finish(plan(urgent(50_000), one, [ended, *candidates(one)]))) == ["a"]

    @pytest.mark.parametrize(
        "narrowed",
        [
            {"zones": frozenset({"r2"})},
            {"excluded": frozenset({"r1"})},
            {"pool": "two"},
        ],
    )
    def test_only_zones_that_the_request_may_go_to(self, narrowed: dict[str, object]) -> None:
        one = ledger([zone("r1"), zone("r2")], pools={"two": ("r2",)})
        one.load([claim("a", "r1", 100_000), claim("b", "r2", 100_000)])
        assert victims(finish(plan(urgent(9_000), one, candidates(one)))) == ["a"]
        assert victims(finish(plan(urgent(9_000, **narrowed), one, candidates(one)))) == ["b"]

    def test_neither_closed_zones_nor_other_lanes(self) -> None:
        one = ledger([zone("r1", lane=Lane.COLD), zone("r2"), zone("r3")])
        one.load([claim(f"in-{name}", name, 100_000) for name in ("r1", "r2", "r3")])
        one.close("r2", "too hot")
        assert victims(finish(plan(urgent(9_000), one, candidates(one)))) == ["in-r3"]

    def test_a_job_whose_time_has_not_come_preempts_nobody(self) -> None:
        one = filled(claim("a", "r1", 50_000), r1=50_000)
        assert finish(plan(urgent(1_000, not_before=NOW + 1), one, candidates(one))) is None

    def test_the_longest_notice(self) -> None:
        one = filled(claim("a", "r1", 50_000), claim("b", "r1", 50_000, tier="bronze"), r1=100_000)
        found = finish(plan(urgent(60_000), one, candidates(one)))
        assert found is not None
        assert longest_notice_s(found.victims) == 600
        assert longest_notice_s(()) == 0


class TestWhatIsShort:
    def test_under_2n_each_feed_gets_back_the_whole(self) -> None:
        one = pair(100_000, r1=TWO_N, r2=TWO_N)
        one.load([claim("a", "r1", 30_000), claim("b", "r2", 30_000), claim("c", "r2", 40_000)])
        found = finish(plan(urgent(30_000, zones=frozenset({"r1"})), one, candidates(one, "b", "c")))
        assert victims(found) == ["b"]

    def test_under_n_each_feed_gets_back_half(self) -> None:
        one = ledger(
            [zone("r1", feeds=("a", "b")), zone("r2", redundancy=TWO_N, feeds=("a", "b"))],
            [feed("a", 60_000, Side.A), feed("b", 60_000, Side.B)],
        )
        one.load([claim("half", "r1", 40_000), claim("whole", "r2", 40_000)])
        asked = urgent(30_000, zones=frozenset({"r2"}))
        assert victims(finish(plan(asked, one, candidates(one, "half")))) is None
        assert victims(finish(plan(urgent(20_000, zones=frozenset({"r2"})), one, candidates(one, "half")))) == ["half"]
        assert victims(finish(plan(asked, one, candidates(one)))) == ["whole"]

    def test_nobody_goes_who_stands_beside_the_bottleneck(self) -> None:
        one = ledger(
            [zone("r1", feeds=("p",)), zone("r2", feeds=("p",)), zone("r3")],
            [feed("p", 100_000)],
        )
        one.load([claim("a", "r2", 90_000), claim("c", "r3", 10_000)])
        asked = urgent(50_000, zones=frozenset({"r1"}))
        assert victims(finish(plan(asked, one, candidates(one)))) == ["a"]
        assert finish(plan(asked, one, candidates(one, "c"))) is None

    def test_the_headroom_that_the_request_wants_before_it_is_placed(self) -> None:
        one = filled(claim("a", "r1", 30_000), claim("b", "r1", 60_000), r1=100_000)
        assert victims(finish(plan(urgent(1_000, headroom_w=30_000), one, candidates(one)))) == ["a"]
        assert victims(finish(plan(urgent(1_000, headroom_w=50_000), one, candidates(one)))) == ["b"]

    def test_a_burst_alone(self) -> None:
        one = filled(
            claim("a", "r1", 20_000, 70_000), claim("b", "r1", 15_000), claim("c", "r1", 20_000), r1=105_000
        )
        found = finish(plan(urgent(10_000), one, candidates(one)))
        assert victims(found) == ["b"]
        assert victims(finish(plan(urgent(45_000), one, candidates(one)))) == ["a"]

    def test_bursts_that_do_not_add_up_take_no_more_victims_than_needed(self) -> None:
        """Sixteen groups of 2 kW burst by 16 kW together, nine by 12 kW: by its own part none gives enough."""
        one = filled(*(claim(f"j{k:02}", "r1", 1_000, 3_000) for k in range(16)), r1=32_000)
        found = finish(plan(urgent(3_000), one, candidates(one)))
        assert victims(found) == ["j00", "j01"]
        with Trial(one) as trial:
            trial.without(candidates(one, "j00"))
            assert isinstance(decide(urgent(3_000), one, one.empty()), Hold)

    def test_the_whole_window_counts(self) -> None:
        one = filled(claim("a", "r1", 40_000, hours=1), claim("b", "r1", 50_000), r1=100_000)
        one.add(claim("later", "r1", 30_000, start_h=2, hours=4))
        asked = urgent(20_000, time_limit_s=4 * 3_600)
        assert victims(finish(plan(replace(asked, time_limit_s=1_800), one, candidates(one)))) == ["a"]
        found = finish(plan(asked, one, candidates(one)))
        assert victims(found) == ["a"]
        one.add(claim("more", "r1", 15_000, start_h=2, hours=4))
        assert victims(finish(plan(asked, one, candidates(one)))) == ["b"]

    def test_a_shadow_that_the_request_outranks_is_ignored(self) -> None:
        one = filled(claim("a", "r1", 40_000, hours=1), r1=50_000)
        one.add(claim("shadow:x", "r1", 50_000, start_h=1, tentative=True))
        assert finish(plan(urgent(30_000), one, candidates(one))) is None
        assert victims(finish(plan(urgent(30_000), one, candidates(one), ignore="shadow:x"))) == ["a"]


def busy(*claims: Claim, idle: int = 0, partly: tuple[NodeFree, ...] = ()) -> Ledger:
    """A zone of four nodes with 8 CPUs and 4 GPUs, and plenty of watts."""
    one = ledger([zone("r1", nodes=4)])
    one.set_nodes("r1", ZoneNodes(4, idle, 8, 4, partly))
    one.load(claims)
    return one


class TestNodes:
    def test_nodes_may_be_what_is_short(self) -> None:
        one = busy(
            claim("a", "r1", 9_000, nodes=2, share_milli=1_000), claim("b", "r1", 5_000, share_milli=1_000), idle=1
        )
        asked = urgent(1_000, ask=request(nodes=2, exclusive=True).ask)
        found = finish(plan(asked, one, candidates(one)))
        assert victims(found) == ["b"]
        three = replace(asked, ask=request(nodes=3, exclusive=True).ask)
        assert victims(finish(plan(three, one, candidates(one)))) == ["a"]

    def test_halves_of_a_node_are_a_node_where_they_are_known_to_be_on_one(self) -> None:
        one = busy(*(claim(f"h{k}", "r1", 1_000, share_milli=500) for k in range(8)))
        asked = urgent(1_000, ask=request(exclusive=True).ask)
        known = [replace(each, on=(f"r1-n{int(each.id[1]) % 4}",)) for each in candidates(one)]
        assert victims(finish(plan(asked, one, known))) in (["h0", "h4"], ["h1", "h5"], ["h2", "h6"], ["h3", "h7"])

    def test_a_lower_tier_that_the_estimate_takes_for_too_little(self) -> None:
        """A quarter of a node and the quarter that is free beside it are the half that is asked for."""
        one = busy(
            claim("s", "r1", 1_000, tier="silver", share_milli=500, placed=False),
            claim("b", "r1", 1_000, tier="bronze", share_milli=250, placed=False),
            idle=1,
        )
        assert victims(finish(plan(urgent(1_000, ask=request(cpus=4).ask), one, candidates(one)))) == ["b"]

    def test_promised_nodes_come_free_too(self) -> None:
        one = busy(claim("a", "r1", 1_000, share_milli=1_000, placed=False), idle=1)
        asked = urgent(1_000, ask=request(exclusive=True).ask)
        assert victims(finish(plan(asked, one, candidates(one)))) == ["a"]

    @pytest.mark.parametrize(
        ("what", "before", "parts", "after"),
        [
            ("a whole node", ZoneNodes(4, 1, 8, 4), [1_000], ZoneNodes(4, 2, 8, 4)),
            ("a part", ZoneNodes(4, 1, 8, 4), [500], ZoneNodes(4, 1, 8, 4, (NodeFree(4, 2),))),
            ("no part", ZoneNodes(4, 1, 8, 4), [0], ZoneNodes(4, 1, 8, 4)),
            ("never more than are up", ZoneNodes(2, 2, 8, 4), [1_000], ZoneNodes(2, 2, 8, 4)),
            (
                "the part can only lie on the node that half is free of",
                ZoneNodes(1, 0, 8, 4, (NodeFree(4, 2),)),
                [500],
                ZoneNodes(1, 1, 8, 4),
            ),
            (
                "of two such nodes the fuller",
                ZoneNodes(2, 0, 8, 4, (NodeFree(4, 2), NodeFree(2, 1))),
                [500],
                ZoneNodes(2, 0, 8, 4, (NodeFree(4, 2), NodeFree(6, 3))),
            ),
        ],
    )
    def test_freed(self, what: str, before: ZoneNodes, parts: list[int], after: ZoneNodes) -> None:
        assert freed(before, parts) == after


class TestSeveralZones:
    def two(self) -> Ledger:
        one = ledger([zone("r1", nodes=2), zone("r2", nodes=2), zone("r3", nodes=2)])
        one.load([claim("a", "r1", 95_000), claim("b", "r2", 60_000), claim("c", "r2", 40_000)])
        one.add(claim("d", "r3", 100_000))
        return one

    def test_room_is_made_in_several_where_one_does_not_do(self) -> None:
        one = self.two()
        asked = urgent(80_000, ask=request(nodes=4).ask)
        found = finish(plan(asked, one, candidates(one)))
        assert found is not None
        assert sum((place(found) or {}).values()) == 4
        with Trial(one) as trial:
            trial.without(found.victims)
            assert one.shortfall(found.verdict.claim.charges, Asker("new", Window(NOW))) is None

    def test_not_for_a_job_that_stays_together(self) -> None:
        one = self.two()
        asked = urgent(80_000, ask=replace(request(nodes=4).ask, together=True))
        assert finish(plan(asked, one, candidates(one))) is None

    def test_one_zone_goes_before_several(self) -> None:
        one = self.two()
        assert place(finish(plan(urgent(80_000, ask=request(nodes=2).ask), one, candidates(one)))) == {"r1": 2}


class TestShed:
    def test_nothing_is_over(self) -> None:
        one = filled(claim("a", "r1", 50_000), r1=50_000)
        assert finish(shed_over(one, candidates(one))) == Shed(())

    def test_a_cut_zone_and_a_cut_feed(self) -> None:
        one = pair(200_000, r1=TWO_N, r2=TWO_N)
        one.load([claim(f"a{k}", "r1", 10_000 + k) for k in range(5)] + [claim("b", "r2", 12_000)])
        one.set_limit("r1", 41_000)
        assert victims(finish(shed_over(one, candidates(one)))) == ["a0"]
        one.set_limit("a", 30_006)
        found = finish(shed_over(one, candidates(one)))
        assert sum(victim.claim.est_w for victim in found.victims) == 32_004
        assert not found.left
        assert victims(finish(shed_over(one, candidates(one), ["r1"]))) == ["a0"]

    def test_bursts_above_a_cut_limit(self) -> None:
        one = filled(claim("a", "r1", 20_000, 40_000), claim("b", "r1", 30_000), r1=80_000)
        one.set_limit("r1", 60_000)
        assert victims(finish(shed_over(one, candidates(one)))) == ["a"]

    def test_bursts_that_do_not_add_up(self) -> None:
        """Sixteen groups of 2 kW burst by 16 kW together, thirteen by 14.4 kW, twelve by 13.9 kW."""
        one = filled(*(claim(f"j{k:02}", "r1", 1_000, 3_000) for k in range(16)), r1=32_000)
        one.set_limit("r1", 27_000)
        assert victims(finish(shed_over(one, candidates(one)))) == ["j00", "j01", "j02", "j03"]

    def test_who_helps_where_not_all_suffice_and_what_is_left(self) -> None:
        one = ledger([zone("r1", feeds=("p",)), zone("r2", feeds=("p",))], [feed("p", 100_000)])
        one.load([claim("a", "r1", 30_000), claim("b", "r1", 20_000), claim("c", "r2", 30_000)])
        one.set_limit("r1", 10_000)
        found = finish(shed_over(one, candidates(one, "a", "c")))
        assert victims(found) == ["a"]
        assert found.left == ((Want("r1", Aspect.PACKING), 10_000), (Want("r1", Aspect.BURST), 10_000))[::-1]
        assert finish(shed_over(one, [])).victims == ()

    def test_cut_zones_apart_touch_no_higher_tier_for_each_other(self) -> None:
        one = filled(
            claim("a", "r1", 10_000, tier="bronze"),
            claim("b", "r1", 5_000),
            claim("c", "r2", 10_000),
            claim("both", {"r3": 5_000, "r4": 5_000}, 0),
            r1=15_000,
            r2=10_000,
            r3=5_000,
            r4=5_000,
        )
        for name in one.nodes:
            one.set_limit(name, one.meters[name].limit_w - 1)
        assert victims(finish(shed_over(one, candidates(one)))) == ["a", "both", "c"]

    def test_nobody_makes_up_for_those_who_go_already(self) -> None:
        one = filled(claim("a", "r1", 10_000), claim("b", "r1", 20_000), claim("c", "r1", 30_000, 45_000), r1=75_000)
        one.set_limit("r1", 55_000)
        gone, rest = candidates(one, "b"), candidates(one, "a", "c")
        assert victims(finish(shed_over(one, rest, gone=gone))) == []
        one.set_limit("r1", 50_000)
        assert victims(finish(shed_over(one, rest, gone=gone))) == ["a"]

    def test_who_draws_on_a_reservation_is_left_alone(self) -> None:
        one = filled(claim("a", "r1", 10_000), r1=20_000)
        one.keep(reservation("kept", "r1", 10_000, start_h=0, hours=9))
        one.add(one.drawing(claim("own", "r1", 9_000), f"{RESERVATION}kept"))
        one.set_limit("r1", 19_000)
        assert victims(finish(shed_over(one, candidates(one, "a", "own")))) == ["a"]
        assert victims(finish(shed_over(one, candidates(one, "own")))) == []

    def test_the_ledger_may_change_between_two_steps(self) -> None:
        names = [f"j{number:03}" for number in range(600)]
        one = filled(*(claim(name, "r1", 100, 130) for name in names), r1=70_000)
        one.set_limit("r1", 50_000)
        steps = shed_over(one, candidates(one))
        for name in names[:8]:
            next(steps)
            one.remove(name)
        found = finish(steps)
        assert not found.left
        with Trial(one) as trial:
            trial.without(found.victims)
            assert one.meters["r1"].room_w >= 0

    def test_lowest_tier_first(self) -> None:
        one = filled(claim("a", "r1", 10_000), claim("b", "r1", 90_000, tier="bronze"), r1=100_000)
        one.set_limit("r1", 95_000)
        assert victims(finish(shed_over(one, candidates(one)))) == ["b"]


class TestTrial:
    def test_an_error_puts_everybody_back(self) -> None:
        one = busy(claim("a", "r1", 9_000, nodes=2, share_milli=1_000), claim("b", "r1", 9_000, placed=False), idle=1)
        before = fingerprint(one)

        def fail() -> None:
            with Trial(one) as trial:
                trial.without(candidates(one))
                assert not one.claims
                assert one.nodes["r1"].idle == 3
                raise LookupError

        with pytest.raises(LookupError):
            fail()
        assert fingerprint(one) == before
        assert one.nodes["r1"].idle == 1
        assert differences(one) == []
