"""Reservations as they are offered, changed and given up, through the control socket on a daemon with its rounds."""

from collections.abc import Iterator
from typing import Any

import pytest

from slurm_power.adapters.store import StoreDataError
from slurm_power.core.errors import PowerError, UsageError
from slurm_power.core.reservation import Grant, ReservationState
from tests.core.recount import differences
from tests.service.bureau import ALICE, BOB, HOUR, ROOT, START, TERMS, Bureau
from tests.service.support import SITE, site_of

OPS: dict[str, Any] = {"accounts": ["ops"]}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bureau]:
    """Where one owner may reserve everything."""
    found = Bureau(monkeypatch, site_of(f"{SITE}reservations: {{max_share: 100%}}\n"))
    yield found
    found.close()


def state(bureau: Bureau) -> object:
    """All that a refused change must leave as it was."""
    numbers = {name: meter.numbers() for name, meter in bureau.desk.ledger.meters.items()}
    claims = {**bureau.desk.ledger.claims, **{claim.id: claim for claim in bureau.desk.ledger.bookings()}}
    return list(bureau.desk.reserved), numbers, claims, bureau.rows()


class TestShares:
    """60 % of the 27 kW that rack01 may use: 16.2 kW."""

    def test_one_owner_gets_no_more_than_the_sites_share(self, bureau: Bureau) -> None:
        found = bureau.create(watts_w=16_201)
        assert (found["verdict"], found["reasons"][0]["code"]) == ("never", "share")
        assert (found["reasons"][0]["asked_w"], found["reasons"][0]["free_w"]) == (16_201, 16_200)
        assert bureau.create(watts_w=16_200)["verdict"] == "fits"

    def test_what_he_has_at_the_same_time_counts(self, bureau: Bureau) -> None:
        bureau.create(watts_w=10_000, length_s=HOUR)
        found = bureau.create(name="more", watts_w=6_201, start=START + 1_800)
        assert (found["verdict"], found["reasons"][0]["free_w"]) == ("later", 6_200)
        assert bureau.create(name="more", watts_w=6_200, start=START + 1_800)["verdict"] == "fits"

    def test_windows_one_after_the_other_do_not_add_up(self, bureau: Bureau) -> None:
        for number in range(4):
            found = bureau.create(
                name=f"part{number}", watts_w=16_000, start=START + number * HOUR, length_s=HOUR
            )
            assert found["verdict"] == "fits"
        found = bureau.create(name="over", watts_w=1_000, start=START, length_s=4 * HOUR)
        assert (found["verdict"], found["reasons"][0]["free_w"]) == ("later", 200)

    def test_others_have_shares_of_their_own(self, bureau: Bureau) -> None:
        bureau.create(watts_w=16_000)
        assert bureau.create(name="other", watts_w=10_000, **OPS)["verdict"] == "fits"
        found = bureau.create(name="alices", accounts=[], users=["alice"], watts_w=1)
        assert found["reasons"][0]["code"] == "zone_power"


class TestOffers:
    def test_it_fits(self, bureau: Bureau) -> None:
        found = bureau.create()
        assert (found["verdict"], found["reservation"]["state"]) == ("fits", "approved")
        assert bureau.the().grants == (Grant("rack01", 15_000),)
        assert bureau.committed() == 15_000
        assert bureau.rows() == {"spring": "approved"}

    def test_refused_with_alternatives_and_nothing_kept(self, roomy: Bureau) -> None:
        roomy.create(name="first", watts_w=20_000, length_s=HOUR, **OPS)
        before = roomy.committed()
        found = roomy.create(watts_w=10_000)
        assert (found["verdict"], found["reservation"]["state"]) == ("later", "refused")
        assert roomy.committed() == before
        assert roomy.rows() == {"first": "approved"}
        kinds = {one["kind"]: one for one in found["alternatives"]}
        assert kinds["later"]["start"] == "2027-01-15T09:00:00Z"
        assert kinds["less"]["watts_w"] == 6_000
        assert kinds["elsewhere"]["zones"] == ["rack03"]
        # What is offered instead is to be had.
        assert roomy.create(watts_w=kinds["less"]["watts_w"])["verdict"] == "fits"

    def test_a_part_only_where_it_is_allowed(self, roomy: Bureau) -> None:
        roomy.create(name="first", watts_w=20_000, **OPS)
        assert roomy.create(watts_w=10_000, min_w=6_001)["verdict"] == "later"
        found = roomy.create(watts_w=10_000, min_w=6_000)
        assert (found["verdict"], found["reservation"]["granted_w"]) == ("fits", 6_000)

    def test_never_is_what_an_empty_floor_could_not_give(self, roomy: Bureau) -> None:
        found = roomy.create(watts_w=26_001)
        assert found["verdict"] == "never"
        assert "never can be" in found["sentence"]

    def test_what_could_be_given_in_part_on_an_empty_floor_is_not_never(self, roomy: Bureau) -> None:
        roomy.create(name="first", watts_w=26_000, **OPS)
        assert roomy.create(watts_w=40_000, min_w=1_000)["verdict"] == "later"
        assert roomy.create(watts_w=40_000, min_w=26_001)["verdict"] == "never"

    def test_of_several_zones_each_gives_its_part_or_any_will_do(self, bureau: Bureau) -> None:
        assert bureau.create(zones=["rack01", "rack02"], watts_w=15_001)["verdict"] == "fits"
        assert [(one.zone, one.watts_w) for one in bureau.the().grants] == [("rack01", 7_500), ("rack02", 7_501)]
        found = bureau.create(name="any", zones=["rack01", "rack02", "rack03"], any_zone=True, watts_w=9_000)
        assert (found["verdict"], len(found["reservation"]["grants"])) == ("fits", 1)

    def test_a_name_that_lives_is_not_given_twice(self, bureau: Bureau) -> None:
        bureau.create()
        before = state(bureau)
        with pytest.raises(UsageError, match="there is a reservation spring already"):
            bureau.create(watts_w=1)
        assert state(bureau) == before

    def test_a_dry_run_shows_and_does_nothing(self, bureau: Bureau) -> None:
        before = state(bureau)
        terms = {**TERMS, "length_s": HOUR}
        found = bureau.change("create", ROOT, terms, dry_run=True)
        assert found["sentence"].startswith("Nothing is done. Reservation spring is approved: 15kW in rack01")
        name = "reservationname=pw_rack01_research"
        assert [line.split()[:3] for line in found["commands"]] == [
            ["scontrol", "create", name],
            ["scontrol", "update", name],
        ]
        later = bureau.change("create", ROOT, {**terms, "start": START + HOUR}, dry_run=True)
        assert later["commands"][0] == "# at 2027-01-15T09:00:00Z:"
        assert state(bureau) == before
        assert bureau.reserved_in_slurm() == {}

    def test_check_asks_for_no_rights(self, bureau: Bureau) -> None:
        before = state(bureau)
        assert bureau.change("check", BOB, {**TERMS, "length_s": HOUR})["verdict"] == "fits"
        assert state(bureau) == before


class TestUpdates:
    def test_more_fewer_longer_shorter(self, bureau: Bureau) -> None:
        bureau.create()
        changes: list[tuple[dict[str, Any], int, int]] = [
            ({"watts_w": 16_000}, 16_000, 2 * HOUR),
            ({"watts_w": 9_000}, 9_000, 2 * HOUR),
            ({"length_s": 3 * HOUR}, 9_000, 3 * HOUR),
            ({"end": START + HOUR}, 9_000, HOUR),
        ]
        for change, watts_w, end in changes:
            assert bureau.update(**change)["verdict"] == "fits"
            assert (bureau.the().granted_w, bureau.the().terms.window.end) == (watts_w, START + end)
            assert bureau.committed() == watts_w
        bureau.restart()
        assert bureau.committed() == 9_000
        assert not differences(bureau.desk.ledger)

    def test_other_zones(self, bureau: Bureau) -> None:
        bureau.open()
        assert bureau.update(zones=["rack02"])["verdict"] == "fits"
        assert (bureau.committed("rack01"), bureau.committed("rack02")) == (0, 15_000)
        bureau.round()
        assert bureau.reserved_in_slurm().keys() == {"pw_rack02_research"}

    def test_a_refused_one_leaves_all_as_it_was(self, bureau: Bureau) -> None:
        bureau.create()
        bureau.create(name="other", watts_w=9_000, **OPS)
        before = state(bureau)
        for change in ({"watts_w": 16_201}, {"zones": ["rack01", "rack02"], "watts_w": 60_000}):
            found = bureau.update(**change)
            assert found["verdict"] != "fits"
            assert found["sentence"].startswith("Reservation spring stays as it is:")
            assert state(bureau) == before
        with pytest.raises(UsageError):
            bureau.update(watts_w=0)
        assert state(bureau) == before

    def test_it_keeps_its_name(self, bureau: Bureau) -> None:
        bureau.create()
        bureau.create(name="other", watts_w=1_000)
        before = state(bureau)
        for name in ("other", "summer"):
            with pytest.raises(UsageError, match="reservation spring keeps its name"):
                bureau.change("update", ROOT, {"name": name}, name="spring")
        assert state(bureau) == before

    def test_one_that_has_begun_keeps_its_start(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.wait(60)
        with pytest.raises(UsageError, match="it has begun already"):
            bureau.update(start=START + 600)
        assert bureau.update(length_s=HOUR)["verdict"] == "fits"
        assert bureau.the().terms.window.start == START

    def test_fewer_than_its_jobs_hold(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.sbatch("power:est=12kW,reservation=spring")
        bureau.round()
        assert bureau.update(watts_w=5_000)["verdict"] == "fits"
        assert bureau.committed() == 12_000
        bureau.round()
        assert bureau.committed() == 12_000
        assert bureau.held() == 0

    def test_a_shorter_one_no_longer_counts_its_jobs_to_its_old_end(self, bureau: Bureau) -> None:
        bureau.open(length_s=20 * HOUR)
        bureau.sbatch("power:est=12kW,reservation=spring", minutes=60)
        bureau.round()
        bureau.round()
        bureau.update(end=START + 2 * HOUR)
        bureau.round()
        found = bureau.create(name="next", start=START + 3 * HOUR, watts_w=16_000, **OPS)
        assert found["verdict"] == "fits"

    def test_fewer_watts_also_after_a_cut_that_it_does_not_fit(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.desk.ledger.set_limit("rack01", 12_000)
        assert bureau.update(watts_w=14_000)["verdict"] == "fits"
        assert bureau.committed() == 14_000
        assert bureau.update(watts_w=14_001)["verdict"] == "later"

    def test_to_where_its_jobs_are_not_they_still_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Feed f carries 20 kW: a job of 14 kW in rack01, and 14 kW kept in rack02, would be 28 kW."""
        site = site_of(
            "mode: enforce\ntimezone: UTC\ndefaults: {margin: 0%, redundancy: N}\n"
            "feeds: {f: {limit: 20kW}}\n"
            "zones:\n  rack01: {nodes: 'n[01-03]', feeds: [f], limit: 30kW}\n"
            "  rack02: {nodes: 'n[04-06]', feeds: [f], limit: 30kW}\n"
            "  rack03: {nodes: 'n[07-09]', limit: 30kW}\n"
            "tiers: {bronze: {qos: bronze, notice: 0s}}\nreservations: {max_share: 100%}\n"
        )
        bureau = Bureau(monkeypatch, site)
        bureau.open(watts_w=14_000)
        bureau.sbatch("power:est=14kW,max=14kW,reservation=spring")
        bureau.round()
        before = state(bureau)
        assert bureau.update(zones=["rack02"])["verdict"] == "later"
        assert state(bureau) == before
        assert bureau.update(zones=["rack02"], watts_w=6_000)["verdict"] == "fits"
        assert bureau.desk.ledger.meters["f"].committed_w == 20_000
        bureau.close()


class TestTheEnd:
    def test_cancelled_while_jobs_run_in_it(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.sbatch("power:est=5kW,reservation=spring")
        bureau.round()
        found = bureau.change("cancel", ALICE, name="spring")
        assert found["sentence"] == "Reservation spring is cancelled; 1 of its jobs goes on."
        assert bureau.rows() == {}
        bureau.round()
        assert bureau.committed() == 5_000
        assert bureau.reserved_in_slurm() == {}
        bureau.restart()
        assert bureau.committed() == 5_000
        assert bureau.sbatch("power:est=16kW,max=16kW", BOB, account="ops").priority > 0

    def test_a_name_used_again_is_another_reservation(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.sbatch("power:est=5kW,reservation=spring")
        bureau.round()
        bureau.change("cancel", ROOT, name="spring")
        bureau.open(watts_w=9_000)
        for _ in range(2):
            assert bureau.desk.reserved.used_w(bureau.the()) == {}
            assert bureau.committed() == 14_000
            bureau.restart()

    def test_what_is_over_can_be_seen_but_not_changed(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.change("cancel", ROOT, name="spring")
        for do in ("cancel", "update"):
            with pytest.raises(UsageError, match="there is no reservation 'spring' that is not over"):
                bureau.change(do, ROOT, {}, name="spring")
        assert bureau.ask(ROOT, op="reservations")["reservations"] == []
        (row,) = bureau.ask(ROOT, op="reservations", names=["spring"])["reservations"]
        assert (row["state"], row["cause"]) == ("cancelled", "cancelled by root")

    def test_a_requested_one_that_nobody_approves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bureau = Bureau(monkeypatch, site_of(f"{SITE}reservations: {{approval: coordinator}}\n"))
        bureau.create(BOB, start=START + 600)
        assert (bureau.committed(), bureau.desk.reserved.get("spring") is None) == (0, False)
        bureau.wait(601)
        assert bureau.rows() == {}
        (row,) = bureau.ask(ROOT, op="reservations", names=["spring"])["reservations"]
        assert (row["state"], row["cause"]) == ("refused", "nobody has approved it before its start")
        bureau.close()


class TestAStoreThatFails:
    def test_nothing_is_promised(self, bureau: Bureau) -> None:
        before = state(bureau)
        bureau.store.refuses = True
        with pytest.raises(PowerError):
            bureau.create()
        assert state(bureau) == before

    def test_nothing_is_changed_or_given_up(self, bureau: Bureau) -> None:
        bureau.open()
        before = state(bureau)
        bureau.store.refuses = True
        changes: list[tuple[str, dict[str, Any]]] = [
            ("update", {"watts_w": 9_000}),
            ("update", {"zones": ["rack02"]}),
            ("cancel", {}),
        ]
        for do, terms in changes:
            with pytest.raises(StoreDataError):
                bureau.change(do, ROOT, terms, name="spring")
            assert state(bureau) == before


def test_what_a_round_writes_while_one_is_cancelled_does_not_bring_it_back(bureau: Bureau) -> None:
    """It opens between the moment when its end is handed to the database and the moment when that is durable."""
    bureau.create(start=START + 60)
    save = bureau.rounds.reservations.save

    async def slowly(one: Any) -> None:
        await save(one)
        bureau.clock.instant = START + 61 + bureau.clock.instant % 2
        bureau.desk.now()
        await bureau.rounds.reservations.tick()

    bureau.rounds.reservations.save = slowly  # type: ignore[method-assign]
    bureau.change("cancel", ROOT, name="spring")
    assert bureau.rows() == {}
    assert bureau.desk.reserved.get("spring") is None
    assert bureau.committed() == 0


def test_every_step_is_in_the_audit_log(bureau: Bureau) -> None:
    bureau.open()
    bureau.update(watts_w=14_000)
    bureau.wait(901)
    assert bureau.the().state is ReservationState.DEGRADED
    bureau.change("cancel", ALICE, name="spring")
    lines = bureau.ask(ROOT, op="audit", reservation="spring")["lines"]
    assert [(line["action"], line["actor"]) for line in lines] == [
        ("approved", ROOT),
        ("active", None),
        ("updated", ROOT),
        ("degraded", None),
        ("cancelled", ALICE),
    ]
