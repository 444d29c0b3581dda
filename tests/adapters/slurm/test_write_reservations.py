"""Writing reservations: what is sent, what never is, and what follows a refused update."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.adapters.slurm.runner import Completed
from slurm_power.adapters.slurm.writer import Writer
from slurm_power.ports import Chain, Command, CreateReservation, DeleteReservation, Outcome, UpdateReservation
from tests.adapters.slurm.test_writer import Scontrol

SHOWN = (
    "ReservationName={} StartTime=100 EndTime=200 Duration=00:01:40 Nodes=(null) NodeCnt=0 CoreCnt=0 Features=(null) "
    "PartitionName=(null) Flags=ANY_NODES TRES=(null) Users=alice Groups=(null) Accounts=(null) Licenses={} "
    "State=ACTIVE BurstBuffer=(null) Watts=n/a MaxStartDelay=(null)\n"
)
NO_USER = "Error updating the reservation: Invalid user id\nslurm_update error: Invalid user id\n"


class Reserving(Scontrol):
    """scontrol with reservations (name → licences) to show."""

    def __init__(self, shown: Mapping[str, str], complain: Callable[[Sequence[str]], str] = lambda words: "") -> None:
        super().__init__(complain)
        self.shown = shown

    def run(self, program: str, *args: str, **options: Any) -> Completed:
        if args == ("-o", "show", "reservation"):
            return Completed(0, "".join(SHOWN.format(*record) for record in self.shown.items()), "")
        return super().run(program, *args, **options)


def words(command: Command) -> list[str]:
    scontrol = Scontrol()
    (outcome,) = Writer(scontrol).write([(command,)])
    assert outcome == Outcome(1)
    return scontrol.sent


def refused(command: Command) -> str:
    scontrol = Scontrol()
    (outcome,) = Writer(scontrol).write([(command,)])
    assert (outcome.done, outcome.unsure, scontrol.sent, scontrol.alone) == (0, False, [], [])
    return outcome.error


def create(**fields: Any) -> CreateReservation:
    given = {"name": "pw_a", "start": 1_800_000_000, "end": 1_800_000_100, "users": ("bob",), **fields}
    return CreateReservation(**given)


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (
            create(licenses={"rack2_w": 5, "rack1_w": 0}, accounts=("research", "ops")),
            "users=bob accounts=research,ops licenses=rack1_w:0,rack2_w:5 flags=ANY_NODES",
        ),
        (create(users=("bob", "eve-2")), "users=bob,eve-2 flags=ANY_NODES"),
        (
            create(nodes="n[1-3]", flags=("IGNORE_JOBS", "PURGE_COMP=5")),
            "users=bob nodes=n[1-3] flags=IGNORE_JOBS,PURGE_COMP=5",
        ),
        (
            create(node_count=2, features="a&b", partition="train", licenses={"w": 1}),
            "users=bob licenses=w:1 features=a&b partitionname=train nodecnt=2",
        ),
        (create(gpus=8, partition="train"), "users=bob partitionname=train tres=gres/gpu=8"),
    ],
)
def test_the_words_of_a_new_one(command: CreateReservation, sent: str) -> None:
    times = "starttime=uts1800000000 endtime=uts1800000100"
    assert words(command) == [f"create reservationname=pw_a {times} {sent}"]


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (UpdateReservation("pw_a", {"w": 5}), "licenses=w:5"),
        (UpdateReservation("pw_a", users=(), accounts=("ops",)), "users= accounts=ops"),
        (UpdateReservation("pw_a", end=1_800_000_100), "endtime=uts1800000100"),
        (UpdateReservation("pw_a", {}), "licenses="),
    ],
)
def test_the_words_of_a_change(command: UpdateReservation, sent: str) -> None:
    assert words(command) == [f"update reservationname=pw_a {sent}"]


def test_the_words_of_an_end() -> None:
    assert words(DeleteReservation("pw_rack-01.b")) == ["delete reservationname=pw_rack-01.b"]


@given(st.text())
def test_no_other_name_is_ever_sent(name: str) -> None:
    for command in (create(name=name), UpdateReservation(name, {"w": 1}), DeleteReservation(name)):
        scontrol = Scontrol()
        (outcome,) = Writer(scontrol).write([(command,)])
        if scontrol.sent or scontrol.alone:
            assert name.startswith("pw_")
            assert name.isascii()
        else:
            assert "not a reservation of ours" in outcome.error


@pytest.mark.parametrize(
    "name", ["maint", "pw_", "pw_a b", "pw_a,maint", "pw_a=b", "pw_a\n", "xpw_a", "pw_ä", "pw_" + "a" * 61]
)
def test_names_that_are_not_ours(name: str) -> None:
    for command in (create(name=name), UpdateReservation(name, {"w": 1}), DeleteReservation(name)):
        assert "not a reservation of ours" in refused(command)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (create(users=()), "nobody owns pw_a"),
        (create(users=("-bob",)), "'-bob' is not the name of a user"),
        (create(users=("bob,eve",)), "is not the name of a user"),
        (create(accounts=("a b",)), "is not the name of a user or account"),
        (create(licenses={"w:9,x": 1}), "is not the name of a licence"),
        (create(licenses={"w": -1}), "below 0"),
        (create(flags=("any_nodes users=eve",)), "is not the name of a flag"),
        (create(nodes="n1\nshutdown"), "control character"),
        (UpdateReservation("pw_a"), "nothing to change"),
        (UpdateReservation("pw_a", {"": 1}), "is not the name of a licence"),
    ],
)
def test_what_cannot_be_sent(command: Command, said: str) -> None:
    assert said in refused(command)


def against_users(sent: Sequence[str]) -> str:
    return NO_USER if any(word.startswith("users=nosuch") for word in sent) else ""


def test_after_a_refused_update_licences_are_set_again_as_they_are_shown() -> None:
    scontrol = Reserving({"pw_a": "w:40,v:2", "pw_b": "w:1", "pw_c": "(null)"}, against_users)
    outcomes = Writer(scontrol).write(
        [
            (UpdateReservation("pw_a", {"w": 1}, users=("nosuch",)),),
            (UpdateReservation("pw_b", {"w": 2}),),
            (UpdateReservation("pw_c", users=("nosuch",)),),
        ]
    )
    assert [outcome.done for outcome in outcomes] == [0, 1, 0]
    assert outcomes[0].error == "Error updating the reservation: Invalid user id; slurm_update error: Invalid user id"
    assert [" ".join(sent) for sent in scontrol.together[-1]] == ["update reservationname=pw_a licenses=v:2,w:40"]
    assert len(scontrol.together) == 2


def test_where_that_is_refused_too_it_is_said() -> None:
    def complain(sent: Sequence[str]) -> str:
        return against_users(sent) or ("Invalid license specification\n" if "licenses=w:40" in sent else "")

    (outcome,) = Writer(Reserving({"pw_a": "w:40"}, complain)).write([(UpdateReservation("pw_a", users=("nosuch",)),)])
    assert outcome.error.endswith("its licences count for nothing: Invalid license specification")


def test_where_reservations_cannot_be_read_then_it_is_said() -> None:
    class Unreadable(Scontrol):
        def run(self, program: str, *args: str, **options: Any) -> Completed:
            return Completed(0, "what is this\n", "") if args else super().run(program, **options)

    (outcome,) = Writer(Unreadable(against_users)).write([(UpdateReservation("pw_a", users=("nosuch",)),)])
    assert "its licences may count for nothing" in outcome.error


def test_nothing_is_set_again_where_nothing_was_refused_or_slurm_is_away() -> None:
    scontrol = Reserving({"pw_a": "w:40"}, lambda _: "Unable to contact slurm controller (connect failure)\n")
    (outcome,) = Writer(scontrol).write([(UpdateReservation("pw_a", {"w": 1}),)])
    assert outcome.unreached
    assert len(scontrol.together) == 1
    scontrol = Reserving({"pw_a": "w:40"})
    chains: list[Chain] = [(UpdateReservation("pw_a", {"w": 1}),), (DeleteReservation("pw_b"),)]
    assert Writer(scontrol).write(chains) == [Outcome(1)] * 2
    assert len(scontrol.together) == 1
