"""Room for a reservation that begins later: just those go who are in its way, on any floor."""

from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.ledger import Ledger
from slurm_power.core.offer import Candidate
from slurm_power.core.preemption import make_room
from slurm_power.core.steps import finish
from slurm_power.core.trial import Trial
from slurm_power.core.want import lacking_for
from slurm_power.core.window import FOREVER, Window
from tests.core.floors import NOW, claim, ledger, zone
from tests.core.oracle import excess, touched
from tests.core.recount import differences
from tests.core.test_preemption import candidates
from tests.core.test_preemption_floors import SETTINGS, floors
from tests.core.test_properties import fingerprint

TONIGHT = Window(NOW + 3_600, NOW + 7_200)


def reservation(est_w: int, *zones: str, burst_w: int = 0, window: Window = TONIGHT) -> Claim:
    charges = tuple(Charge(name, 0, est_w, est_w + burst_w) for name in zones)
    return Claim("res:spring:k3", charges, window, "res:spring:k3", "gold", tentative=True, reserves=True)


def test_who_ends_before_it_begins_stays() -> None:
    one = ledger([zone("r1", 10_000)])
    one.add(claim("ends", "r1", 5_000, tier="bronze", hours=1))
    one.add(claim("runs", "r1", 4_000, tier="bronze"))
    found = finish(make_room(one, reservation(9_000, "r1"), candidates(one)))
    assert found is not None
    assert [victim.id for victim in found] == ["runs"]


def test_its_own_booking_is_not_in_its_way() -> None:
    one = ledger([zone("r1", 10_000)])
    wanted = reservation(9_000, "r1")
    one.keep(wanted)
    assert finish(make_room(one, wanted, ())) == ()
    one.add(claim("gold", "r1", 4_000))
    assert finish(make_room(one, wanted, ())) is None


@st.composite
def wanted(draw: st.DrawFn) -> tuple[Ledger, list[Candidate], Claim]:
    """A floor, who may be preempted there, and a reservation."""
    one, lawful = draw(floors())
    names = draw(st.sets(st.sampled_from(sorted(one.nodes)), min_size=1, max_size=2))
    start = NOW + draw(st.sampled_from([0, 1_800, 5_000]))
    window = Window(start, draw(st.sampled_from([FOREVER, start + 3_600])))
    burst_w = draw(st.sampled_from([0, 0, 2_000]))
    return one, lawful, reservation(draw(st.integers(1, 6_000)), *sorted(names), burst_w=burst_w, window=window)


@SETTINGS
@given(wanted())
def test_it_then_fits_nobody_goes_in_vain_and_the_ledger_is_as_it_was(
    case: tuple[Ledger, list[Candidate], Claim],
) -> None:
    one, lawful, claimed = case
    before = fingerprint(one)
    found = finish(make_room(one, claimed, lawful))
    assert fingerprint(one) == before
    assert differences(one) == []
    assert finish(make_room(one, claimed, lawful[::-1])) == found
    limits = {name: meter.limit_w for name, meter in one.meters.items()}
    elements = touched(one.topology, claimed.charges)

    def passes_a_limit(gone: set[str]) -> bool:
        rest = [each for each in [*one.claims.values(), *one.bookings()] if each.id not in gone]
        return bool(excess(one.topology, one.rule, limits, [*rest, claimed], claimed.window, NOW, elements))

    if found is None:
        assert passes_a_limit({candidate.id for candidate in lawful})
        return
    gone = {victim.id for victim in found}
    assert gone <= {candidate.id for candidate in lawful}
    assert not passes_a_limit(gone)
    for name in gone:
        assert passes_a_limit(gone - {name})
    with Trial(one) as trial:
        trial.without(found)
        assert not lacking_for(one, claimed)
