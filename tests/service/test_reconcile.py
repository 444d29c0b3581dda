"""What drifts is found and mended, once, and nothing of others is touched; by the daemon, and without it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from slurm_power.core.claim import Charge, Claim
from slurm_power.core.policy import Mode
from slurm_power.core.reservation import ReservationState
from slurm_power.core.window import Window
from slurm_power.ports import (
    CreateReservation,
    DeleteReservation,
    HoldKind,
    Intent,
    LicenseRecord,
    StoredJob,
    StoredReservation,
    UpdateReservation,
)
from slurm_power.service.finding import Kind
from slurm_power.service.reservation_rows import to_row
from tests.fakes.slurm import Refusal
from tests.service.drift import ADMITTED, HOUR, OUTSIDE, QOS, RUNS, WAITS, World, kinds, reservation
from tests.service.support import SITE, START, site_of

SPRING = "pw_rack02_research"
BOTH = ("daemon", "alone")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.stop()


# -- what is put out of order ------------------------------------------------------------------------------------------


def _deleted(world: World) -> None:
    world.slurm._apply(DeleteReservation(SPRING))


def _counted(world: World) -> None:
    world.slurm.admin_updates(UpdateReservation(SPRING, {"pw_rack02": 1_000}))


def _given_away(world: World) -> None:
    world.slurm.admin_updates(UpdateReservation(SPRING, users=("bob",), accounts=()))


def _ending(world: World) -> None:
    world.slurm.admin_updates(UpdateReservation(SPRING, end=START + HOUR))


def _refused_update(world: World) -> None:
    with pytest.raises(Refusal):
        world.slurm.admin_updates(UpdateReservation(SPRING, {"pw_rack02": 1_000_000}))


def _left_behind(world: World) -> None:
    world.slurm._apply(CreateReservation("pw_old", START, START + HOUR, ("bob",), licenses={"pw_rack02": 1}))


def _over(world: World) -> None:
    world.clock.instant = START + HOUR


def _late(world: World) -> None:
    world.rounds.reservations.load([_row(world, state=ReservationState.APPROVED)])


def _unused(world: World) -> None:
    """Since before we look, not since a start: then its grace begins anew."""
    world.rounds.reservations.load([_row(world, start=START - 3 * HOUR)])
    found = world.desk.reserved.get("autumn")
    assert found is not None
    world.desk.reserved.note(replace(found, last_used=START - 2 * HOUR))


def _homeless(world: World) -> None:
    world.rounds.reservations.load([_row(world, zone="rack09")])


def _row(world: World, **changes: Any) -> StoredReservation:
    row = to_row(reservation("autumn", changes.pop("zone", "rack03"), **changes))
    world.store.save_reservations([row])
    return row


def _unclaimed(world: World) -> None:
    world.desk.ledger.remove("t1")


def _orphaned(world: World) -> None:
    charges = (Charge("rack01", 1, 700, 700),)
    world.desk.ledger.add(Claim("ghost", charges, Window(START, START + HOUR), "ghost"))


def _released_and_started(world: World) -> None:
    world.slurm.admin_releases(world.job(WAITS))
    world.slurm.cancel(ADMITTED)
    world.slurm.schedule()


def _past_the_hook(world: World) -> None:
    world.slurm.cancel(ADMITTED)
    world.slurm.submit(comment="power:est=2kW", partition="main", licenses="matlab:1", time_limit_s=HOUR)
    world.slurm.schedule()


def _fewer_licences(world: World) -> None:
    world.slurm.user_update(str(RUNS), Licenses="matlab:1,pw_rack01:1")


def _no_licences(world: World) -> None:
    world.slurm.user_update(str(RUNS), Licenses="")


def _pending_licences(world: World) -> None:
    world.slurm.user_update(str(ADMITTED), Licenses="pw_rack03:1")


def _unbound(world: World) -> None:
    world.slurm.user_update(str(ADMITTED), Features="")


def _bound_elsewhere(world: World) -> None:
    world.slurm.user_update(str(ADMITTED), Features="pw_rack02")


def _released(world: World) -> None:
    world.slurm.admin_releases(world.job(WAITS))


def _held_for_nothing(world: World) -> None:
    world.slurm.submit(held=True, partition="outside", admin_comment="power:id=t9,v=hold,hold=power")


def _remembered(token: str) -> Callable[[World], None]:
    row = StoredJob(token, None, 1001, "research", "bronze", 1, 1, 0, "g", START, HoldKind.POWER)
    return lambda world: world.store.save_jobs([row])


def _cut_off(world: World) -> None:
    world.store.open_intents([Intent("1", "bind", START - HOUR)])


def _other_total(world: World) -> None:
    world.slurm._totals["pw_rack02"] -= 1_000


def _stray_licence(world: World) -> None:
    world.slurm._totals["pw_old"] = 5


def _miscounted(world: World) -> None:
    honest = world.slurm.licenses

    def licenses() -> list[LicenseRecord]:
        return [replace(one, used=one.used + 100) if one.name == "pw_rack01" else one for one in honest()]

    world.slurm.licenses = licenses  # type: ignore[method-assign]


def _no_such_node(world: World) -> None:
    del world.slurm._nodes["n09"]


def _bare_node(world: World) -> None:
    world.slurm._nodes["n06"] = replace(world.slurm._nodes["n06"], features=("fast",))


def _no_such_partition(world: World) -> None:
    world.site = site_of(SITE.replace("partitions:\n", "partitions:\n  lost: {node_watts: 8kW}\n"))
    world.rounds.change_site(world.site)


def _no_such_qos(world: World) -> None:
    world.slurm._qos = tuple(QOS[1:])


@dataclass
class Drift:
    """Something out of order, and what is to be said of it."""

    kind: Kind
    subject: str
    make: Callable[[World], None]
    mended: bool = True
    how: tuple[str, ...] = BOTH
    changes: tuple[str, ...] = ()
    """What is not to be as it was before the drift."""
    also: tuple[tuple[str, Kind, str], ...] = ()
    """(how, kind, subject) of what else is out of order then."""

    def found(self, how: str, status: str) -> list[tuple[str, str, str]]:
        also = [(status, str(kind), subject) for by, kind, subject in self.also if by == how]
        return sorted([(status, str(self.kind), self.subject), *also])


ALSO_MISSING = tuple((how, Kind.RESERVATION_MISSING, "pw_rack03_research") for how in BOTH)
DRIFTS = [
    Drift(Kind.RESERVATION_MISSING, SPRING, _deleted),
    Drift(Kind.RESERVATION_COUNT, SPRING, _counted),
    Drift(Kind.RESERVATION_OWNER, SPRING, _given_away),
    Drift(Kind.RESERVATION_ENDING, SPRING, _ending),
    Drift(Kind.RESERVATION_FORGOTTEN, SPRING, _refused_update),
    Drift(Kind.RESERVATION_FOREIGN, "pw_old", _left_behind),
    Drift(Kind.RESERVATION_OVER, "spring", _over, changes=("reservations", "counted", "states")),
    Drift(Kind.RESERVATION_LATE, "autumn", _late, changes=("reservations", "counted", "states")),
    Drift(
        Kind.RESERVATION_UNUSED,
        "autumn",
        _unused,
        how=("daemon",),
        changes=("reservations", "states"),
        also=ALSO_MISSING,
    ),
    Drift(Kind.RESERVATION_ZONE, "autumn", _homeless, changes=("states",)),
    Drift(Kind.JOB_UNCLAIMED, str(RUNS), _unclaimed, how=("daemon",)),
    Drift(Kind.CLAIM_ORPHAN, "ghost", _orphaned, how=("daemon",)),
    Drift(
        Kind.RUNNING_UNADMITTED,
        str(WAITS),
        _released_and_started,
        changes=("jobs", "counted", "holds"),
        also=(("alone", Kind.HOLD_STALE, "t2"),),
    ),
    Drift(Kind.RUNNING_UNADMITTED, "5", _past_the_hook, changes=("jobs", "counted")),
    Drift(Kind.RUNNING_LICENCES, str(RUNS), _fewer_licences, changes=("jobs", "counted")),
    Drift(Kind.RUNNING_LICENCES, str(RUNS), _no_licences),
    Drift(Kind.PENDING_LICENCES, str(ADMITTED), _pending_licences),
    Drift(Kind.PENDING_BINDING, str(ADMITTED), _unbound),
    Drift(Kind.PENDING_BINDING, str(ADMITTED), _bound_elsewhere),
    Drift(Kind.HOLD_LOST, str(WAITS), _released),
    Drift(Kind.HOLD_GROUNDLESS, "5", _held_for_nothing, changes=("jobs",)),
    Drift(Kind.HOLD_STALE, "gone", _remembered("gone")),
    Drift(Kind.HOLD_STALE, "t1", _remembered("t1")),
    Drift(Kind.INTENT_OPEN, "4", _cut_off),
    Drift(Kind.LICENCE_TOTAL, "pw_rack02", _other_total, mended=False),
    Drift(Kind.LICENCE_TOTAL, "pw_old", _stray_licence, mended=False),
    Drift(Kind.LICENCE_USED, "pw_rack01", _miscounted, mended=False),
    Drift(Kind.ZONE_NODES, "rack03", _no_such_node, mended=False),
    Drift(Kind.NODE_FEATURE, "rack02", _bare_node, mended=False),
    Drift(Kind.PARTITION_MISSING, "lost", _no_such_partition, mended=False),
    Drift(Kind.QOS_MISSING, "gold", _no_such_qos, mended=False),
]
CASES = [
    pytest.param(drift, how, id=f"{drift.make.__name__.strip('_<>')}-{drift.subject}-{how}")
    for drift in DRIFTS
    for how in drift.how
]


def theirs(world: World) -> tuple[object, ...]:
    """What belongs to others in Slurm."""
    shown = world.shown()
    jobs, reservations, counted = shown["jobs"], shown["reservations"], shown["counted"]
    return jobs[OUTSIDE], reservations["theirs"], counted["matlab"][1]  # type: ignore[index]


def test_every_kind_is_tried() -> None:
    assert {drift.kind for drift in DRIFTS} == set(Kind)


@pytest.mark.parametrize("how", BOTH)
def test_nothing_is_done_where_all_is_in_order(world: World, how: str) -> None:
    before, written = world.shown(), len(world.slurm.written)
    assert kinds(world.reconcile(how)) == []
    assert (world.shown(), len(world.slurm.written)) == (before, written)


@pytest.mark.parametrize(("drift", "how"), CASES)
def test_drift_is_found_and_mended_once(world: World, drift: Drift, how: str) -> None:
    before = world.shown()
    drift.make(world)
    others = theirs(world)
    answer = world.reconcile(how)
    assert kinds(answer) == drift.found(how, "mended" if drift.mended else "left")
    after = world.shown()
    if drift.mended:
        assert {name for name in after if after[name] != before[name]} - {"intents"} == set(drift.changes)
        assert after["intents"] == []
    written = len(world.slurm.written)
    again = world.reconcile(how)
    assert kinds(again) == ([] if drift.mended else kinds(answer))
    assert len(world.slurm.written) == written
    assert theirs(world) == others


@pytest.mark.parametrize("how", BOTH)
def test_what_shows_only_after_a_mend_is_mended_too(world: World, how: str) -> None:
    """One reservation that is off in two ways is found so one by one; a second run has nothing to do all the same."""
    _given_away(world)
    _ending(world)
    found = kinds(world.reconcile(how))
    assert {kind for _, kind, _ in found} == {"reservation-owner", "reservation-ending"}
    assert {status for status, _, _ in found} == {"mended"}
    assert kinds(world.reconcile(how)) == []


@pytest.mark.parametrize(("drift", "how"), CASES)
def test_a_dry_run_tells_the_same_and_does_nothing(world: World, drift: Drift, how: str) -> None:
    drift.make(world)
    before, lines, written = world.shown(), len(world.store.decisions()), len(world.slurm.written)
    answer = world.reconcile(how, dry_run=True)
    assert kinds(answer) == drift.found(how, "would" if drift.mended else "left")
    assert len(world.slurm.written) == written
    if how == "alone":  # the daemon itself looks at jobs all the time, and writes down what it sees of them
        assert (world.shown(), len(world.store.decisions())) == (before, lines)


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.ADVISE])
@pytest.mark.parametrize("make", [_no_licences])
def test_where_nothing_is_enforced_it_is_told_and_left(world: World, mode: Mode, make: Callable[[World], None]) -> None:
    world.desk.mode = mode
    world.round()
    make(world)
    before = world.shown()
    answer = world.reconcile("daemon")
    assert {status for status, _, _ in kinds(answer)} == {"left"}
    assert world.shown() == before


def test_what_runs_past_us_holds_its_watts_beside_what_it_asked_for_itself(world: World) -> None:
    _past_the_hook(world)
    world.reconcile("alone")
    assert world.job(5).licenses.startswith("matlab:1,pw_rack0")


def test_a_mend_is_in_the_audit_log(world: World) -> None:
    _no_licences(world)
    world.reconcile("alone")
    line = world.store.decisions(actions=["mend"])[-1]
    assert (line.job, line.rule) == (str(RUNS), "reconcile")


def test_the_daemon_mends_by_itself_within_a_minute(world: World) -> None:
    before = world.shown()
    _no_licences(world)
    world.round()
    assert world.shown() != before
    world.clock.instant += 60
    world.round()
    assert world.shown() == before


def test_without_the_daemon_nobody_is_admitted(world: World) -> None:
    """Held jobs wait for it, also where there is room for them."""
    world.slurm.cancel(RUNS)
    assert kinds(world.reconcile("alone")) == []
    assert world.job(WAITS).held
