"""A description that was read before is understood as if it were new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.service import descriptions as module
from slurm_power.service.asking import Ask, interpret
from slurm_power.service.descriptions import Descriptions
from slurm_power.service.facts import from_hook
from tests.service.support import START, Lab, site_of

PLAIN: dict[str, object] = {"user_id": 1001, "partition": "main", "comment": "power:est=5kW", "min_nodes": 1}


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


jobs = st.fixed_dictionaries(
    {"user_id": st.sampled_from([1001, 1002])},
    optional={
        "partition": st.sampled_from(["main", "outside", "both", "main,both", "nowhere"]),
        "comment": st.sampled_from(
            ["", "power:est=5kW", "power:est=2kW,max=3kW", "power:est=5kW,class=overnight", "power:est=x", "mine"]
            + [f"power:est=1kW,deadline=now+{hours}hours" for hours in (1, 9)]
        ),
        "min_nodes": st.integers(1, 4),
        "time_limit": st.sampled_from([10, 600, 4294967295]),
        "begin_time": st.sampled_from([0, START - 10, START + 50, START + 4_000]),
        "qos": st.sampled_from(["gold", "bronze"]),
        "priority": st.sampled_from([0, 4294967294]),
        "features": st.sampled_from(["fast", "slow", "pw_z_rack01"]),
        "array_inx": st.sampled_from(["0-9%2", "1,2"]),
        "batch": st.booleans(),
    },
)


@given(jobs=st.lists(jobs, min_size=1, max_size=6), gaps=st.lists(st.integers(0, 3_600), min_size=6, max_size=6))
def test_as_if_it_were_new(lab: Lab, jobs: list[dict[str, object]], gaps: list[int]) -> None:
    known = Descriptions(lab.desk.world)
    now = START
    for turn in range(2):
        for number, job in enumerate(jobs):
            now += gaps[number]
            token = f"t{turn}-{number}"
            fresh = Descriptions(lab.desk.world).read(dict(job), token, now)
            assert known.read(dict(reversed(job.items())), token, now) == fresh


def test_it_is_read_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    known, other = Descriptions(lab.desk.world), Descriptions(lab.desk.world)
    known.read(PLAIN, "one", START)
    fresh = other.read(PLAIN, "two", START + 9)
    monkeypatch.setattr(module, "from_hook", None)
    assert known.read(dict(PLAIN), "two", START + 9) == fresh


@pytest.mark.parametrize("odd", [{"comment": ["a"]}, {"min_nodes": {"a": 1}}])
def test_what_no_hook_sends_is_read_all_the_same(lab: Lab, odd: dict[str, object]) -> None:
    job = {**PLAIN, **odd}
    facts, asked = Descriptions(lab.desk.world).read(job, "one", START)
    assert facts == from_hook(job)
    assert asked == interpret(facts, lab.desk.world, "one", START)


def test_not_more_than_so_many_are_kept(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    known = Descriptions(lab.desk.world)
    for number in range(5):
        known.read({**PLAIN, "name": str(number)}, "t", START)
    known.read({**PLAIN, "name": "x" * 3_000}, "t", START)
    monkeypatch.setattr(module, "_ZONES", 1)
    known.read({**PLAIN, "features": "fast"}, "t", START)  # which narrows it to a list of three zones
    assert [facts.name for facts, _ in known._known.values()] == ["2", "3", "4"]


def test_another_site_file_is_not_answered_from_the_old_one() -> None:
    desk = Lab().desk
    asked = [desk.descriptions.read(PLAIN, "one", START)[1]]
    desk.change_site(site_of(defaults="{margin: 10%, tier: gold, max_factor: 2, start_grace: 5m}"))
    asked.append(desk.descriptions.read(PLAIN, "two", START)[1])
    requests = [ask.request for ask in asked if isinstance(ask, Ask)]
    assert [(request.tier.name, request.max_w) for request in requests] == [("bronze", 6_500), ("gold", 10_000)]
