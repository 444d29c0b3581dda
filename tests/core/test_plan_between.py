"""Plans made step by step: in between all are back, and what others do to the ledger meanwhile is heeded."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.claim import Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import ZoneNodes
from slurm_power.core.offer import Candidate
from slurm_power.core.placement import Placer
from slurm_power.core.preemption import Plan, fewest, make_room, plan
from slurm_power.core.request import Request
from slurm_power.core.steps import Steps, T, into
from slurm_power.core.trial import Trial
from slurm_power.core.want import lacking_for
from tests.core.floors import GOLD, NOW, claim, ledger, request, zone
from tests.core.recount import differences
from tests.core.test_make_room import wanted
from tests.core.test_preemption import candidates, urgent
from tests.core.test_preemption_floors import SETTINGS, floors
from tests.core.test_properties import fingerprint, requests


def watched(steps: Steps[T], between: Callable[[], object]) -> T:
    """What they return; something is done between two of them."""
    found: list[T] = []
    for _ in into(found, steps):
        between()
    return found[0]


@SETTINGS
@given(floor=floors(), asked=requests(), gone=st.integers(0, 2))
def test_in_between_all_are_back(floor: tuple[Ledger, list[Candidate]], asked: Request, gone: int) -> None:
    one, lawful = floor
    before, seen = fingerprint(one), set[bool]()
    steps = plan(replace(asked, id="new", tier=GOLD), one, lawful[gone:], lawful[:gone])
    watched(steps, lambda: seen.add(fingerprint(one) == before))
    assert fingerprint(one) == before
    assert seen <= {True}


@SETTINGS
@given(case=wanted())
def test_in_between_all_are_back_for_a_reservation_too(case: tuple[Ledger, list[Candidate], Claim]) -> None:
    one, lawful, claimed = case
    before, seen = fingerprint(one), set[bool]()
    watched(make_room(one, claimed, lawful[1:], lawful[:1]), lambda: seen.add(fingerprint(one) == before))
    assert fingerprint(one) == before
    assert seen <= {True}


@SETTINGS
@given(floor=floors(), asked=requests(), data=st.data())
def test_a_plan_stands_whatever_has_happened_meanwhile(
    floor: tuple[Ledger, list[Candidate]], asked: Request, data: st.DataObject
) -> None:
    """Jobs end, others come, nodes are seen anew, zones close."""
    one, lawful = floor
    asked = replace(asked, id="new", tier=GOLD)
    names, numbers = sorted(one.nodes), count()

    def happens() -> None:
        name = data.draw(st.sampled_from(names))
        match data.draw(st.sampled_from(["", "", "", "ends", "comes", "nodes", "closes"])):
            case "ends" if one.claims:
                one.remove(data.draw(st.sampled_from(sorted(one.claims))))
            case "comes":
                one.add(claim(f"more{next(numbers)}", name, data.draw(st.integers(1, 3_000))))
            case "nodes":
                one.set_nodes(name, ZoneNodes(2, data.draw(st.integers(0, 2)), 8, 4))
            case "closes":
                one.close(name, "it is being looked at")

    made: Plan | None = watched(plan(asked, one, lawful), happens)
    assert differences(one) == []
    if made is None:
        return
    assert all(one.claims.get(victim.id) is victim.claim for victim in made.victims)
    with Trial(one, made.victims):
        assert Placer(asked, one, asked.window(NOW)).stands(made.verdict.claim.charges)


def test_slurms_newer_count_of_nodes_is_kept() -> None:
    """It came while a victim that had been tried was back."""
    one = ledger([zone("r1", 50_000)])
    one.add(claim("a", "r1", 45_000, tier="bronze", placed=True, share_milli=1_000))
    newer = ZoneNodes(4, 1, 8, 4)
    watched(plan(urgent(45_000), one, candidates(one)), lambda: one.set_nodes("r1", newer))
    assert one.nodes["r1"] == newer


def test_at_least_so_many() -> None:
    one = ledger([zone("r1", 10_000), zone("r2", 10_000)])
    for number in range(5):
        one.add(claim(f"j{number}", "r1", 2_000, tier="bronze"))
    one.add(claim("elsewhere", "r2", 9_000, tier="bronze"))
    kept = request(8_000).window(NOW)
    for watts, least in ((1_000, 1), (4_000, 2), (4_001, 3), (10_000, 5)):
        asked = replace(claim("res", "r1", watts), window=kept, tentative=True, reserves=True)
        assert fewest(one, asked, candidates(one)) == least
    free = replace(claim("res", "r2", 500), window=kept, tentative=True, reserves=True)
    assert lacking_for(one, free) == {}
    assert fewest(one, free, candidates(one)) == 0
