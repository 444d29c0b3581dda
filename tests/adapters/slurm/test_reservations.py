"""Reservations, privileges and preemption as Slurm prints them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.text import licence_counts
from slurm_power.core.errors import SlurmParseError
from slurm_power.ports import AdminLevel, PreemptionRecord, PrivilegeRecord, ReservationRecord
from tests.adapters.slurm.replay import VERSIONS, Replay
from tests.adapters.slurm.test_inventory import Answering
from tests.assets.slurm.capture_reservations import ODD_NAME

HOUR, DAY = 3_600, 86_400


@pytest.fixture(params=VERSIONS)
def replay(request: pytest.FixtureRequest) -> Replay:
    return Replay.of(request.param)


def record(name: str, start: int, duration_s: int, **fields: Any) -> ReservationRecord:
    return ReservationRecord(name, start, start + duration_s, **{"active": False, **fields})


def test_each_reservation(replay: Replay) -> None:
    found = inventory.read_reservations(replay)
    now = found[0].start
    assert found == [
        record(
            "pw_rack01", now, HOUR, active=True, users=("alice",), licenses={"pw_rack01": 40, "pw_rack02": 2},
            flags=("ANY_NODES", "NO_HOLD_JOBS_AFTER_END"),
        ),
        record(
            "pw_later", now + DAY, DAY, accounts=("research", "ops"), nodes="gpu003", node_count=1,
            features="pw_rack02", partition="train",
        ),
        record(
            ODD_NAME, now + 3 * DAY, HOUR // 2, groups=("daemon",), nodes="gpu[001-004]", node_count=4,
            flags=("MAINT", "IGNORE_JOBS", "SPEC_NODES", "ALL_NODES"),
        ),
        record(
            "but_bob", now + 5 * DAY, HOUR // 2, users=("-bob",), nodes="gpu001", node_count=1,
            flags=("SPEC_NODES", "PURGE_COMP=00:05:00"),
        ),
    ]  # fmt: skip
    assert [reservation.end - reservation.start for reservation in found] == [HOUR, DAY, HOUR // 2, HOUR // 2]


def test_no_reservations() -> None:
    assert inventory.read_reservations(Answering("No reservations in the system\n")) == []


LINE = (
    "ReservationName={name} StartTime=100 EndTime=200 Duration=00:01:40 Nodes=(null) NodeCnt=0 CoreCnt=0 "
    "Features=(null) PartitionName=(null) Flags=ANY_NODES TRES=(null) Users=alice Groups=(null) Accounts=(null) "
    "Licenses=w:1 State=ACTIVE BurstBuffer={burst} MaxStartDelay=(null) Comment={comment}\n"
)


@given(*[st.text(st.characters(exclude_characters="\n"))] * 2)
def test_free_text_forges_no_field(burst: str, comment: str) -> None:
    (found,) = inventory.read_reservations(Answering(LINE.format(name="pw_a", burst=burst, comment=comment)))
    assert found == record("pw_a", 100, 100, active=True, users=("alice",), licenses={"w": 1}, flags=("ANY_NODES",))


@pytest.mark.parametrize("text", [" Users=eve Licenses=w:9 State=INACTIVE", " StartTime=7 EndTime=8 Duration=9"])
def test_free_text_that_looks_like_fields(text: str) -> None:
    line = LINE.format(name=f"pw_a{text}", burst=text, comment=text)
    (found,) = inventory.read_reservations(Answering(line))
    assert (found.name, found.start, found.users, found.licenses) == (f"pw_a{text}", 100, ("alice",), {"w": 1})


@pytest.mark.parametrize(
    "out",
    [
        "what is this\n",
        "ReservationName=a\n",
        LINE.replace("State=ACTIVE ", ""),
        LINE.replace("NodeCnt=0", "NodeCnt=x"),
    ],
)
def test_what_is_no_reservation_is_an_error(out: str) -> None:
    with pytest.raises(SlurmParseError):
        inventory.read_reservations(Answering(out))


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", {}),
        ("(null)", {}),
        ("a", {"a": 1}),
        ("a:2,b:0", {"a": 2, "b": 0}),
        ("a:2;b,a:3", {"a": 5, "b": 1}),
        ("a=2,lic@server:3", {"a": 2, "lic@server": 3}),
    ],
)
def test_licences(text: str, counts: dict[str, int]) -> None:
    assert licence_counts(text) == counts


def test_privileges(replay: Replay) -> None:
    assert inventory.read_privileges(replay) == [
        PrivilegeRecord("alice", AdminLevel.OPERATOR, (), ("research",)),
        PrivilegeRecord("bob", AdminLevel.NONE, ("below", "research"), ("research",)),
        PrivilegeRecord("carol", AdminLevel.NONE, (), ("ops",)),
        PrivilegeRecord("root", AdminLevel.ADMIN, (), ("root",)),
    ]


def test_preemption(replay: Replay) -> None:
    assert inventory.read_preemption(replay) == PreemptionRecord("REQUEUE", 0)


def test_no_preemption() -> None:
    shown = "PreemptMode = OFF\nPreemptType = preempt/none\nPreemptExemptTime = NONE\nJobRequeue = 0\n"
    assert inventory.read_preemption(Answering(shown)) == PreemptionRecord("OFF", None, requeue=False)
    with pytest.raises(SlurmParseError, match="PreemptMode"):
        inventory.read_preemption(Answering(shown.replace("PreemptMode", "Mode")))
