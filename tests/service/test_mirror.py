"""What Slurm is made to hold: every difference is found and set right once, and nothing of others is touched."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.errors import SlurmError
from slurm_power.core.reservation import Owner
from slurm_power.ports import CreateReservation, DeleteReservation, LicenseRecord, ReservationRecord, UpdateReservation
from slurm_power.service.mirror import Holding, Step, name_of, steps
from tests.service.bureau import ROOT, START, Bureau

NOW, OLD, NEW = START, (24, 11, 5), (26, 5, 5)
YEAR_S = 364 * 86_400
RESEARCH = Owner(("research",))
NAME = "pw_rack01_research"


def holding(watts: int = 15_000, owner: Owner = RESEARCH, zone: str = "rack01") -> Holding:
    return Holding(name_of(zone, owner), owner, {f"pw_{zone}": watts})


def shown(watts: int = 15_000, name: str = NAME, **changes: Any) -> ReservationRecord:
    record = ReservationRecord(
        name=name,
        start=NOW - 60,
        end=NOW + YEAR_S,
        active=True,
        users=(),
        accounts=("research",),
        licenses={"pw_rack01": watts},
        flags=("ANY_NODES",),
    )
    return replace(record, **changes)


def licence(reserved: int, total: int = 27_000, name: str = "pw_rack01") -> LicenseRecord:
    return LicenseRecord(name, total, 0, reserved)


def found(
    wanted: list[Holding],
    records: list[ReservationRecord],
    counted: list[LicenseRecord] | None = None,
    version: tuple[int, int, int] = OLD,
    *,
    fresh: bool = True,
) -> list[Step]:
    return steps(wanted, records, [licence(15_000)] if counted is None else counted, NOW, version, fresh=fresh)


class TestEachFinding:
    def test_nothing(self) -> None:
        assert found([holding()], [shown()]) == []
        assert found([], []) == []

    def test_missing_it_is_made_empty_and_then_filled(self) -> None:
        made = CreateReservation(NAME, NOW, NOW + YEAR_S, (), ("research",), {"pw_rack01": 0})
        update = UpdateReservation(NAME, {"pw_rack01": 15_000})
        assert found([holding()], []) == [Step("missing", NAME, (made, update))]

    @pytest.mark.parametrize("counts", [{"pw_rack01": 14_999}, {"pw_rack01": 0}, {"pw_rack01": 15_000, "pw_rack02": 1}])
    def test_count(self, counts: Mapping[str, int]) -> None:
        update = UpdateReservation(NAME, {"pw_rack01": 15_000})
        assert found([holding()], [shown(licenses=counts)]) == [Step("count", NAME, (update,))]

    @pytest.mark.parametrize("changes", [{"users": ("eve",)}, {"accounts": ("ops",)}, {"accounts": ()}])
    def test_owner_and_the_licences_are_set_with_it(self, changes: dict[str, Any]) -> None:
        update = UpdateReservation(NAME, {"pw_rack01": 15_000}, (), ("research",))
        assert found([holding()], [shown(**changes)]) == [Step("owner", NAME, (update,))]

    def test_forgotten_where_a_refused_update_has_dropped_the_count(self) -> None:
        update = UpdateReservation(NAME, {"pw_rack01": 15_000})
        assert found([holding()], [shown()], [licence(0)]) == [Step("forgotten", NAME, (update,))]
        assert found([holding()], [shown()], [licence(0)], fresh=False) == []

    def test_ending_long_before_it_does(self) -> None:
        update = UpdateReservation(NAME, {"pw_rack01": 15_000}, end=NOW + YEAR_S)
        (step,) = found([holding()], [shown(end=NOW + YEAR_S // 2 - 1)])
        assert step == Step("ending", NAME, (update,))

    def test_foreign_it_keeps_nothing_and_goes(self) -> None:
        name = "pw_rack01_gone"
        empty, delete = UpdateReservation(name, {"pw_rack01": 0}), DeleteReservation(name)
        assert found([], [shown(name=name)]) == [Step("foreign", name, (empty, delete))]
        assert found([], [shown(0, name=name)]) == [Step("foreign", name, (delete,))]

    def test_several_what_goes_first_then_each_by_name(self) -> None:
        wanted = [holding(), holding(zone="rack02")]
        kinds = [step.finding for step in found(wanted, [shown(name="pw_zzz"), shown(7)])]
        assert kinds == ["foreign", "count", "missing"]


class TestOthers:
    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "maintenance"},
            {"name": "rack01_pw_"},
            {"name": "pw_nodes", "licenses": {}, "node_count": 3, "nodes": "n[01-03]"},
            {"name": "pw_both", "node_count": 3, "nodes": "n[01-03]"},
        ],
    )
    def test_are_left_alone(self, changes: dict[str, Any]) -> None:
        record = shown(**changes)
        assert found([], [record]) == []
        assert [step.name for step in found([holding(9_000)], [record])] == [NAME]


class TestTotals:
    def test_no_more_than_slurm_has(self) -> None:
        (step,) = found([holding()], [], [licence(0, total=9_000)])
        assert step.chain[-1] == UpdateReservation(NAME, {"pw_rack01": 9_000})
        assert found([holding()], [shown(9_000)], [licence(9_000, total=9_000)]) == []
        assert found([holding()], [shown(9_000)], [licence(9_000, total=9_000)], fresh=False) == []

    def test_nor_together_nor_with_what_others_reserve(self) -> None:
        wanted = sorted([holding(), holding(owner=Owner(("ops",)))], key=lambda one: one.name)
        others = [shown(5_000, name="theirs")]
        chains = [step.chain[-1] for step in found(wanted, others, [licence(5_000)])]
        assert chains == [
            UpdateReservation("pw_rack01_ops", {"pw_rack01": 15_000}),
            UpdateReservation(NAME, {"pw_rack01": 7_000}),
        ]
        chains = [step.chain[-1] for step in found(wanted, [shown(99_000, name="theirs")], [licence(99_000)])]
        assert [chain.licenses for chain in chains if isinstance(chain, UpdateReservation)] == [{"pw_rack01": 0}] * 2


class TestFrom2605:
    """Slurm drops counts of 0 there, and refuses a reservation without any."""

    def test_no_count_is_ever_zero(self) -> None:
        for step in found([holding(0)], [], [licence(0, total=0)], NEW) + found([], [shown()], version=NEW):
            for command in step.chain:
                if isinstance(command, CreateReservation | UpdateReservation):
                    assert set((command.licenses or {}).values()) == {1}

    def test_and_then_all_is_right(self) -> None:
        assert found([holding(0)], [shown(1)], [licence(1)], NEW) == []
        assert [step.chain for step in found([], [shown(1)], [licence(1)], NEW)] == [(DeleteReservation(NAME),)]


def test_no_two_tenants_share_a_name() -> None:
    words = ["a", "b", "a_b", "a-b", "u.a", "a+b", "x" * 70, "x" * 71, "A"]
    owners = [Owner((one,)) for one in words] + [Owner((), (one,)) for one in words]
    owners += [Owner((one,), (two,)) for one in words for two in words]
    owners += [Owner(tuple(sorted({one, two}))) for one in words for two in words if one < two]
    names = [name_of(zone, owner) for zone in ("r", "r_a", "r_a_b", "r-a") for owner in owners]
    assert len(set(names)) == len(names)
    assert all(name.startswith("pw_") and len(name) <= 63 for name in names)


# -- on a Slurm -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[OLD, NEW], ids=["24.11", "26.05"])
def bureau(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Bureau]:
    found = Bureau(monkeypatch, version=request.param)
    yield found
    found.close()


LEAST = {OLD: 0, NEW: 1}


def in_slurm(bureau: Bureau) -> dict[str, int]:
    """Name → watts that it keeps in rack01; of feeds that are narrow it keeps some too."""
    return {name: licenses["pw_rack01"] for name, licenses in bureau.reserved_in_slurm().items()}


def quiet(bureau: Bureau) -> bool:
    """Whether nothing is written in rounds to come, also in those that look at Slurm anew."""
    written = len(bureau.slurm.written)
    for _ in range(3):
        bureau.wait(31)
    return len(bureau.slurm.written) == written


def test_its_count_follows_what_is_left(bureau: Bureau) -> None:
    least = LEAST[bureau.slurm.version()]
    bureau.open(grace_s=86_400, length_s=86_400)
    for expected in (10_000, 5_000, 0):
        bureau.sbatch("power:est=5kW,max=5kW,reservation=spring", minutes=600)
        bureau.wait(1)
        assert bureau.held() == max(expected, least)
    assert quiet(bureau)


def test_two_of_one_owner_in_a_zone_are_one_in_slurm(bureau: Bureau) -> None:
    bureau.open(watts_w=9_000, grace_s=86_400)
    bureau.open(name="other", watts_w=4_000, grace_s=86_400)
    assert in_slurm(bureau) == {NAME: 13_000}
    bureau.change("cancel", ROOT, name="other")
    bureau.round()
    assert in_slurm(bureau) == {NAME: 9_000}
    assert quiet(bureau)


@pytest.mark.parametrize("how", ["deleted", "changed", "emptied", "another owner"])
def test_what_somebody_did_by_hand_is_set_right(bureau: Bureau, how: str) -> None:
    bureau.open(grace_s=86_400)
    if how == "deleted":
        bureau.slurm.write([(DeleteReservation(NAME),)])
    elif how == "changed":
        bureau.slurm.write([(UpdateReservation(NAME, {"pw_rack01": 3_000}),)])
    elif how == "emptied":
        with pytest.raises(Exception, match="Invalid user id"):
            bureau.slurm.admin_updates(UpdateReservation(NAME, None, users=("nosuch",)))
        assert bureau.held() == 0
    else:
        bureau.slurm.write([(UpdateReservation(NAME, {"pw_rack01": 15_000}, (), ("ops",)),)])
    bureau.wait(61)
    assert (in_slurm(bureau), bureau.held()) == ({NAME: 15_000}, 15_000)
    assert bureau.slurm.reservations()[0].accounts == ("research",)
    assert quiet(bureau)


def test_a_count_that_others_have_lost_is_not_written_again_each_round(bureau: Bureau) -> None:
    bureau.open(grace_s=86_400)
    theirs = CreateReservation("theirs", NOW, NOW + 86_400, (), ("ops",), {"pw_rack01": 2_000})
    bureau.slurm.admin_updates(theirs)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="Invalid user id"):
        bureau.slurm.admin_updates(UpdateReservation("theirs", None, users=("nosuch",)))
    bureau.wait(31)
    written = len(bureau.slurm.written)
    for _ in range(10):
        bureau.wait(2)
    assert len(bureau.slurm.written) <= written + 1
    assert in_slurm(bureau)["theirs"] == 2_000


def test_what_slurm_refuses_is_not_tried_each_round(bureau: Bureau) -> None:
    bureau.open(start=START + 60, grace_s=86_400)
    tried = 0
    write = bureau.slurm.write

    def refusing(chains: Any) -> Any:
        nonlocal tried
        tried += len(chains)
        return [replace(outcome, done=0, error="no") for outcome in write([(DeleteReservation("none"),)] * len(chains))]

    bureau.slurm.write = refusing  # type: ignore[method-assign]
    bureau.wait(60)
    for _ in range(5):
        bureau.wait(2)
    assert tried == 1
    bureau.slurm.write = write  # type: ignore[method-assign]
    bureau.wait(31)
    assert bureau.held() == 15_000


@pytest.mark.parametrize("fault", ["lost_answer", "lost_write", "repeated", "unmended"])
def test_through_a_slurm_that_misbehaves(bureau: Bureau, fault: str) -> None:
    setattr(bureau.slurm.faults, fault, 0.5)
    bureau.create(grace_s=86_400, length_s=86_400)
    for _ in range(3):
        bureau.sbatch("power:est=4kW,max=4kW,reservation=spring", minutes=600)
        bureau.wait(2)
    setattr(bureau.slurm.faults, fault, 0.0)
    bureau.wait(61)
    assert bureau.held() == 3_000
    assert quiet(bureau)


def test_what_cannot_be_written_is_known_to_be_open_no_longer(bureau: Bureau) -> None:
    """A write that ends in an error leaves no intent behind, and the next round looks anew."""
    write = bureau.slurm.write
    bureau.create(grace_s=86_400)

    def broken(_: Any) -> Any:
        raise SlurmError("scontrol cannot be started", ("scontrol",))

    bureau.slurm.write = broken  # type: ignore[method-assign,assignment]
    bureau.round()
    bureau.slurm.write = write  # type: ignore[method-assign]
    bureau.rows()
    assert bureau.store.pending_intents() == []
    bureau.round()
    assert bureau.held() == 15_000
