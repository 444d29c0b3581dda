"""Who may reserve, change, approve and see what, through the control socket, by Slurm's own words about people."""

from collections.abc import Iterator
from typing import Any

import pytest

from slurm_power.core.errors import PowerError, StoreError
from slurm_power.core.reservation import Owner
from slurm_power.ports import AdminLevel, PrivilegeRecord
from slurm_power.service.rights import Rights, check_owner, rights_of
from tests.service.bureau import ALICE, BOB, CAROL, DORA, EVE, OTTO, PEOPLE, ROOT, START, Bureau
from tests.service.support import SITE, site_of


def bureau_of(patch: pytest.MonkeyPatch, approval: str = "none") -> Bureau:
    return Bureau(patch, site_of(f"{SITE}reservations: {{approval: {approval}}}\n"))


@pytest.fixture
def bureau(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bureau]:
    found = bureau_of(monkeypatch)
    yield found
    found.close()


RESEARCH: dict[str, Any] = {"accounts": ["research"]}
ALICES: dict[str, Any] = {"accounts": [], "users": ["alice"]}
BOBS: dict[str, Any] = {"accounts": ["research"], "users": ["bob"]}
BOTH: dict[str, Any] = {"accounts": ["ops", "research"]}
NO = "refused"


@pytest.mark.parametrize(
    ("approval", "uid", "owner", "becomes"),
    [
        ("none", ROOT, RESEARCH, "approved"),
        ("none", DORA, RESEARCH, "approved"),
        ("none", OTTO, RESEARCH, "approved"),
        ("none", ALICE, RESEARCH, "approved"),
        ("none", ALICE, BOBS, "approved"),
        ("none", ALICE, BOTH, NO),
        ("none", ALICE, ALICES, NO),
        ("none", BOB, RESEARCH, NO),
        ("none", BOB, BOBS, NO),
        ("none", CAROL, RESEARCH, NO),
        ("none", EVE, RESEARCH, NO),
        ("coordinator", ROOT, RESEARCH, "approved"),
        ("coordinator", ALICE, RESEARCH, "approved"),
        ("coordinator", BOB, RESEARCH, "requested"),
        ("coordinator", BOB, BOBS, "requested"),
        ("coordinator", ALICE, ALICES, "requested"),
        ("coordinator", CAROL, BOTH, "requested"),
        ("coordinator", BOB, BOTH, "requested"),
        ("coordinator", CAROL, BOBS, NO),
        ("coordinator", EVE, RESEARCH, NO),
        ("administrator", OTTO, RESEARCH, "approved"),
        ("administrator", ALICE, RESEARCH, "requested"),
        ("administrator", BOB, RESEARCH, "requested"),
        ("administrator", EVE, RESEARCH, NO),
    ],
)
def test_who_may_reserve_for_whom(
    monkeypatch: pytest.MonkeyPatch, approval: str, uid: int, owner: dict[str, Any], becomes: str
) -> None:
    bureau = bureau_of(monkeypatch, approval)
    if becomes is NO:
        with pytest.raises(PowerError, match="only administrators and coordinators may reserve for"):
            bureau.create(uid, start=START + 600, **owner)
        assert bureau.rows() == {}
        assert bureau.desk.reserved.get("spring") is None
    else:
        assert bureau.create(uid, start=START + 600, **owner)["reservation"]["state"] == becomes
        assert bureau.rows() == {"spring": becomes}
    bureau.close()


@pytest.mark.parametrize(
    ("uid", "may_update", "may_cancel"),
    [(ROOT, True, True), (OTTO, True, True), (ALICE, True, True), (BOB, False, False), (EVE, False, False)],
)
def test_who_may_change_what_is_granted(bureau: Bureau, uid: int, may_update: bool, may_cancel: bool) -> None:
    bureau.create(start=START + 600)
    before = bureau.the()
    for do, may, more in (("update", may_update, {"terms": {"watts_w": 14_000}}), ("cancel", may_cancel, {})):
        if may:
            bureau.change(do, uid, name="spring", **more)
        else:
            with pytest.raises(PowerError):
                bureau.change(do, uid, name="spring", **more)
            assert bureau.the() is before


def test_an_approval_that_cannot_be_written_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    bureau = bureau_of(monkeypatch, "coordinator")
    bureau.create(BOB, start=START + 600)
    before, bureau.store.refuses = bureau.the(), True
    with pytest.raises(StoreError):
        bureau.change("update", ROOT, {}, name="spring", approve=True)
    assert bureau.the() == before
    assert bureau.committed() == 0
    bureau.close()


def test_who_asked_may_change_and_give_up_what_waits_for_approval(monkeypatch: pytest.MonkeyPatch) -> None:
    bureau = bureau_of(monkeypatch, "coordinator")
    bureau.create(BOB, start=START + 600)
    assert bureau.update(BOB, watts_w=9_000)["reservation"]["state"] == "requested"
    for wrong in ({"terms": {"watts_w": 9_000}, "approve": True}, {"terms": {"accounts": ["ops"]}}):
        with pytest.raises(PowerError):
            bureau.change("update", BOB, name="spring", **wrong)
    assert bureau.the().grants == ()
    assert bureau.change("cancel", BOB, name="spring")["reservation"]["state"] == "cancelled"
    assert bureau.rows() == {}
    bureau.close()


def test_an_approval_grants_and_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bureau = bureau_of(monkeypatch, "coordinator")
    bureau.create(BOB, start=START + 600)
    assert bureau.committed() == 0
    assert bureau.change("update", ALICE, {}, name="spring", approve=True)["reservation"]["granted_w"] == 15_000
    with pytest.raises(PowerError, match="is approved; there is nothing to approve"):
        bureau.change("update", ALICE, {}, name="spring", approve=True)
    with pytest.raises(PowerError, match="administrators and coordinators of account research"):
        bureau.update(BOB, watts_w=15_001)
    bureau.close()


def test_a_coordinator_cannot_change_what_an_administrator_has_to_approve(monkeypatch: pytest.MonkeyPatch) -> None:
    bureau = bureau_of(monkeypatch, "administrator")
    bureau.create(ROOT, start=START + 600)
    with pytest.raises(PowerError, match="is for administrators to approve and to change"):
        bureau.update(ALICE, watts_w=15_001)
    assert bureau.the().granted_w == 15_000
    bureau.close()


def test_who_sees_what(bureau: Bureau) -> None:
    bureau.create(name="all", start=START + 600, watts_w=1_000)
    bureau.create(name="bobs", start=START + 600, watts_w=1_000, **BOBS)
    bureau.create(name="ops", start=START + 600, watts_w=1_000, accounts=["ops"])
    seen = {
        uid: [row["name"] for row in bureau.ask(uid, op="reservations")["reservations"]]
        for uid in (ROOT, DORA, OTTO, ALICE, BOB, CAROL, EVE)
    }
    everything = ["all", "bobs", "ops"]
    assert seen == {
        ROOT: everything,
        DORA: everything,
        OTTO: everything,
        ALICE: ["all", "bobs"],
        BOB: ["all", "bobs"],
        CAROL: ["all", "ops"],
        EVE: [],
    }
    with pytest.raises(PowerError, match="there is no reservation 'ops'"):
        bureau.change("cancel", BOB, name="ops")


@pytest.mark.parametrize(
    ("owner", "says"),
    [
        (Owner(("physics",)), "Slurm has no account physics with users; there are ops, research, root"),
        (Owner((), ("eve",)), "Slurm has no user eve"),
        (Owner(("ops",), ("bob",)), "bob is not in account ops, and both have to hold"),
        (Owner(("ops", "research"), ("bob",)), "bob is not in account ops"),
    ],
)
def test_an_owner_whom_slurm_would_refuse(bureau: Bureau, owner: Owner, says: str) -> None:
    with pytest.raises(PowerError, match=says):
        check_owner(owner, PEOPLE)
    with pytest.raises(PowerError, match=says):
        bureau.create(accounts=list(owner.accounts), users=list(owner.users))
    assert bureau.rows() == {}


def test_owners_that_slurm_takes() -> None:
    check_owner(Owner(("research",), ("alice", "bob")), PEOPLE)
    check_owner(Owner(("anything",), ("anybody",)), ())


def test_without_a_record_nobody_may_anything_but_the_master() -> None:
    assert not rights_of(EVE, "eve", PEOPLE, master=False).administers
    assert rights_of(EVE, "eve", PEOPLE, master=True).administers
    alone = rights_of(1, "x", [PrivilegeRecord("x", AdminLevel.NONE, ("a",), ("a",))], master=False)
    assert alone == Rights(1, "x", False, AdminLevel.NONE, frozenset({"a"}), frozenset({"a"}))


def test_an_update_gives_nothing_to_an_owner_for_whom_one_may_not_reserve(bureau: Bureau) -> None:
    bureau.create(ALICE, start=START + 600)
    with pytest.raises(PowerError, match="only administrators and coordinators may reserve for account ops"):
        bureau.update(ALICE, accounts=["ops"])
    assert bureau.the().terms.owner == Owner(("research",))
