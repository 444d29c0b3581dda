"""Plans and sheds on any floor, against counts that know nothing of how they are found."""

from dataclasses import replace
from itertools import combinations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_power.core.admission import Admit, decide
from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.nodes import ZoneNodes
from slurm_power.core.offer import Candidate
from slurm_power.core.placement import Placer
from slurm_power.core.policy import BurstRule
from slurm_power.core.preemption import plan
from slurm_power.core.request import Request
from slurm_power.core.steps import finish
from slurm_power.core.topology import Topology
from slurm_power.core.trial import Trial
from slurm_power.core.victims import price
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import GOLD, NOW
from tests.core.oracle import excess, touched
from tests.core.recount import differences
from tests.core.test_preemption import candidates, shed_over
from tests.core.test_properties import RULES, fingerprint, requests, topologies


@st.composite
def floors(draw: st.DrawFn, rule: BurstRule | None = None) -> tuple[Ledger, list[Candidate]]:
    """A floor that is full or over, with bookings; some of its claims may be preempted."""
    topology: Topology = draw(topologies())
    one = Ledger(topology, None, rule or draw(RULES), NOW)
    names = sorted(topology.zones)
    for name in names:
        up = len(topology.zones[name].nodes)
        one.set_nodes(name, ZoneNodes(up, draw(st.integers(0, up)), 8, 4))
    for number in range(draw(st.integers(0, 9))):
        est_w = draw(st.integers(1, 6_000))
        burst_w = draw(st.sampled_from([0, 0, est_w // 3, 2 * est_w]))
        start = NOW + draw(st.sampled_from([-500, -500, -500, -500, 7_200]))
        one.add(
            Claim(
                f"j{number}",
                tuple(
                    Charge(each, 1, est_w, est_w + burst_w)
                    for each in sorted(draw(st.sets(st.sampled_from(names), min_size=1, max_size=2)))
                ),
                Window(start, draw(st.sampled_from([FOREVER, start + 4_000]))),
                draw(st.sampled_from(["g", f"g{number}"])),
                draw(st.sampled_from(["bronze", "silver"])),
                share_milli=draw(st.sampled_from([250, 1_000])),
                placed=draw(st.booleans()),
            )
        )
    lawful = draw(st.sets(st.sampled_from(sorted(one.claims)))) if one.claims else set()
    return one, candidates(one, "", *lawful)


SETTINGS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(floor=floors(), wanted=requests())
def test_any_plan_admits_spares_whom_it_can_and_leaves_the_ledger_as_it_was(
    floor: tuple[Ledger, list[Candidate]], wanted: Request
) -> None:
    one, lawful = floor
    asked = replace(wanted, id="new", tier=GOLD)
    before = fingerprint(one)
    found = finish(plan(asked, one, lawful))
    assert fingerprint(one) == before
    assert differences(one) == []
    assert finish(plan(asked, one, lawful[::-1])) == found
    if found is None:
        return
    new, placer = found.verdict.claim, Placer(asked, one, asked.window(NOW))
    gone = {victim.id for victim in found.victims}
    assert gone <= {each.id for each in lawful}
    limits = {name: meter.limit_w for name, meter in one.meters.items()}
    rest = [each for each in [*one.claims.values(), *one.bookings()] if each.id not in gone]
    elements = touched(one.topology, new.charges)
    assert not excess(one.topology, one.rule, limits, [*rest, new], new.window, NOW, elements)
    with Trial(one) as trial:
        trial.without(found.victims)
        narrowed = replace(asked, zones=frozenset(charge.zone for charge in new.charges))
        verdict = decide(narrowed, one, one.empty())
        assert len(new.charges) > 1 or (isinstance(verdict, Admit) and verdict.claim == new)
        for victim in found.victims:
            trial.put_back(victim)
            assert not placer.stands(new.charges)
            trial.take_out(victim)
        trial.without(each for each in lawful if each.rank > min((v.rank for v in found.victims), default=0))
        assert not found.victims or not placer.stands(new.charges)


@SETTINGS
@given(floor=floors(BurstRule(rss=False)), wanted=requests())
def test_where_all_adds_up_no_zone_and_no_set_of_victims_is_cheaper(
    floor: tuple[Ledger, list[Candidate]], wanted: Request
) -> None:
    one, lawful = floor
    for name in one.nodes:
        one.set_nodes(name, ZoneNodes(100, 100, 8, 4))
    for booked in list(one.bookings()):
        one.remove(booked.id)
    asked = replace(wanted, id="new", tier=GOLD, ask=replace(wanted.ask, together=True))
    found = finish(plan(asked, one, lawful))
    possible = []
    with Trial(one) as trial:
        for size in range(len(lawful) + 1):
            for some in combinations(lawful, size):
                trial.without(some)
                placer = Placer(asked, one, asked.window(NOW))
                if asked.not_before <= NOW and placer.place() is not None:
                    possible.append(price(some, (1, 2)))
    if not lawful:
        return
    assert (found is None) == (not possible)
    if found is not None:
        assert price(found.victims, (1, 2)) == min(possible)


@SETTINGS
@given(floor=floors(), data=st.data())
def test_any_shed_ends_what_can_be_ended_and_spares_whom_it_can(
    floor: tuple[Ledger, list[Candidate]], data: st.DataObject
) -> None:
    one, lawful = floor
    for element in data.draw(st.sets(st.sampled_from(sorted(one.meters)), max_size=2)):
        one.set_limit(element, one.meters[element].limit_w * data.draw(st.integers(0, 100)) // 100)
    before = fingerprint(one)
    found = finish(shed_over(one, lawful))
    assert fingerprint(one) == before
    assert differences(one) == []
    assert finish(shed_over(one, lawful[::-1])) == found
    gone = [each for each in lawful if data.draw(st.booleans())]
    rest = [each for each in lawful if each not in gone]
    on_top = finish(shed_over(one, rest, gone=gone))
    with Trial(one) as trial:
        trial.without(gone)
        assert finish(shed_over(one, rest)) == on_top

    def left() -> int:
        found = 0
        for meter in one.meters.values():
            found += max(0, meter.committed_w - meter.usable_w)
            found += max(0, meter.committed_w + meter.burst_w - meter.limit_w)
        return found

    with Trial(one) as trial:
        trial.without(lawful)
        least = left()
        trial.without(found.victims)
        assert left() == least == sum(watts for _, watts in found.left)
        for victim in found.victims:
            trial.put_back(victim)
            assert left() > least
            trial.take_out(victim)
