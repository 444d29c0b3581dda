"""On a large floor the choice of victims looks at some zones alone."""

import pytest

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.offer import Candidate
from slurm_power.core.request import Request
from slurm_power.core.steps import finish
from slurm_power.core.window import Window
from slurm_power.service.nearest import nearest
from tests.service.support import START, Lab


@pytest.fixture
def lab() -> Lab:
    return Lab()


def candidate(name: str, zone: str, est_w: int, rank: int) -> Candidate:
    charge = Charge(zone, 1, est_w, est_w)
    return Candidate(Claim(name, (charge,), Window(START, START + 60), name), rank, START)


def chosen(lab: Lab, found: list[Candidate], most: int, est_w: int = 30_000) -> list[str]:
    """rack01 and rack02 have room for 22 kW without anybody else, for their cooling loop; rack03 for 22 kW too."""
    request = Request("r", lab.site.policy.tiers["gold"], est_w, est_w, "g")
    return [one.id for one in finish(nearest(lab.desk, request, found, most))]


def test_few_are_taken_as_they_are_in_order_of_id(lab: Lab) -> None:
    found = [candidate(name, "rack01", 1_000, 2) for name in "cab"]
    assert chosen(lab, found, 3) == ["a", "b", "c"]


def test_zones_where_the_lowest_tier_does_go_first(lab: Lab) -> None:
    found = [
        candidate("s", "rack01", 20_000, 1),
        candidate("b1", "rack02", 10_000, 2),
        candidate("b2", "rack02", 10_000, 2),
        candidate("x", "rack03", 1_000, 2),
    ]
    assert chosen(lab, found, 3) == ["b1", "b2", "s"]
    assert chosen(lab, found, 2) == ["b1", "b2"]


def test_the_first_zone_is_taken_whole_however_many_it_has(lab: Lab) -> None:
    found = [candidate(f"b{number}", "rack02", 10_000, 2) for number in range(5)]
    assert chosen(lab, [*found, candidate("s", "rack01", 20_000, 1)], 2) == [one.id for one in found]


def test_order_does_not_matter(lab: Lab) -> None:
    found = [candidate(f"b{number}", f"rack0{number % 3 + 1}", 9_000, 2) for number in range(12)]
    assert chosen(lab, found, 5) == chosen(lab, found[::-1], 5)
