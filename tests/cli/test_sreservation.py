"""sreservation: each command in every form, each error with its exit code, asked of a real daemon's desk."""

import getpass
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slurm_power.cli import output
from slurm_power.cli.reservation_show import COLUMNS
from slurm_power.cli.sreservation import sreservation
from slurm_power.core.errors import SlurmError
from slurm_power.ports import PrivilegeRecord
from tests.cli.conftest import run as spower
from tests.cli.stage import SITE, Stage, short_directory

ME = getpass.getuser()
HERE = ("--zones=rack03", "--watts=6kW", "--duration=1:00:00")
OURS, THEIRS = (*HERE, "--accounts=research"), (*HERE, "--accounts=ops")


@dataclass(frozen=True)
class Counter:
    """Where one asks for reservations."""

    stage: Stage

    def __call__(self, *args: str, code: int = 0) -> Result:
        """`sreservation ARGS`, which ends with that exit code."""
        env = {"SLURM_POWER_CONF": None, "SLURM_POWER_SOCKET": str(self.stage.socket)}
        result = CliRunner().invoke(sreservation, args, env=env, prog_name="sreservation")
        assert result.exit_code == code, result.output
        return result

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code).stdout)

    def names(self, *args: str) -> list[str]:
        return self("show", "-hP", "-o", "name", *args).stdout.split()


@pytest.fixture
def counter(stage: Stage) -> Counter:
    return Counter(stage)


@pytest.fixture(scope="module")
def quiet() -> Iterator[Counter]:
    """For questions that change nothing; there is `spring`, active, and `lost`, which was refused."""
    with short_directory() as directory, Stage(directory).open() as stage:
        counter = Counter(stage)
        counter("create", "spring", *OURS)
        counter("create", "lost", "-z", "rack03", "-w", "12kW", "-d", "1h", "-A", "ops", code=4)
        stage.round()
        yield counter


# -- create ----------------------------------------------------------------------------------------------------------


def test_created_and_open(counter: Counter) -> None:
    said = counter("create", "spring", *OURS).output
    assert said.startswith("Reservation spring is approved: 6kW in rack03, from 20")
    assert said.count("\n") == 1
    counter.stage.round()
    made = counter.json("show", "spring")["reservations"][0]
    assert (made["state"], made["granted_w"], made["left_w"]) == ("active", 6_000, 6_000)
    assert made["slurm"] == ["pw_rack03_research"]
    assert [(one.name, dict(one.licenses)) for one in counter.stage.slurm.reservations()] == [
        ("pw_rack03_research", {"pw_rack03": 6_000})
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-z", "rack[01,03]", "-w", "9kW"], {"grants": {"rack01": 4_500, "rack03": 4_500}, "any_zone": False}),
        (["-z", "any:rack[02-03]", "-w", "9kW"], {"grants": {"rack03": 9_000}, "any_zone": True}),
        (["-z", "rack03", "-w", "12kW", "--min-watts", "8kW"], {"grants": {"rack03": 10_800}, "min_w": 8_000}),
        (["--tier", "gold", "--policy", "preempt"], {"tier": "gold", "policy": "preempt"}),
        (["--grace", "5", "--burst", "1kW:2m"], {"grace_s": 300, "burst_w": 1_000, "burst_s": 120}),
        (["-u", "alice,bob"], {"accounts": ["ops"], "users": ["alice", "bob"]}),
        (["-s", "2099-01-01T00:00Z", "-d", "1"], None),
        (["-s", "now+1hour", "-d", "1-12"], {"state": "approved"}),
    ],
)
def test_what_the_options_mean(quiet: Counter, words: list[str], expected: dict[str, object] | None) -> None:
    if expected is None:
        assert "begins within a year" in quiet("create", "new", *THEIRS, *words, "--dry-run", code=2).output
        return
    one = quiet.json("create", "new", *THEIRS, *words, "--dry-run")["reservation"]
    one["grants"] = {grant["zone"]: grant["watts_w"] for grant in one["grants"]}
    assert {name: one[name] for name in expected} == expected
    assert quiet.names() == ["spring"]


def test_an_end_instead_of_a_duration(quiet: Counter) -> None:
    at = ("--start=2026-12-24T18:00Z", "--end=2026-12-25T06:00Z")
    if time.time() > 1_798_100_000:  # that evening is over
        at = ("--start=now+1hour", "--end=now+2hours")
    one = quiet.json("create", "new", "-z", "rack03", "-w", "1kW", "-u", "alice", *at, "--dry-run")["reservation"]
    assert one["state"] == "approved"
    assert one["start"] < one["end"]


def test_refused_with_what_would_fit_instead(counter: Counter) -> None:
    counter("create", "spring", "-z", "rack03", "-w", "10kW", "-d", "1h", "-A", "research")
    result = counter("create", "more", "-z", "rack03", "-w", "10kW", "-d", "1h", "-A", "ops", code=3)
    sentence, _, *tables = result.output.splitlines()
    assert sentence == (
        "Reservation more cannot be fulfilled as asked: zone rack03 is short of power: "
        "asked 10kW, free 8kW, short by 2kW."
    )
    assert [line.split()[0] for line in tables if line] == [
        "REASON", "zone_power", "INSTEAD", "later", "less", "elsewhere",
    ]  # fmt: skip
    said = counter.json("check", "-z", "rack03", "-w", "10kW", "-d", "1h", "-A", "ops", code=3)
    less = next(one for one in said["alternatives"] if one["kind"] == "less")
    assert (less["watts_w"], less["zones"]) == (8_000, ["rack03"])
    assert counter.names() == ["spring"]
    assert counter.names("--all") == ["more", "spring"]


def test_never(counter: Counter) -> None:
    result = counter("create", "huge", "-z", "rack03", "-w", "40kW", "-d", "1h", "-A", "research", code=4)
    assert "cannot be fulfilled as asked and never can be: by the site's max_share" in result.output


def test_a_dry_run_says_what_slurm_would_be_told_and_does_nothing(counter: Counter) -> None:
    said = counter.json("create", "spring", *OURS, "--dry-run")
    assert said["sentence"].startswith("Nothing is done. Reservation spring is approved: 6kW in rack03")
    create, update = said["commands"]
    assert create.startswith("scontrol create reservationname=pw_rack03_research starttime=")
    assert " accounts=research licenses=pw_rack03:0 " in create
    assert update == "scontrol update reservationname=pw_rack03_research licenses=pw_rack03:6000"
    later = counter.json("create", "spring", *OURS, "--start=now+1hour", "--dry-run")["commands"]
    assert later[0].startswith("# at 20")
    assert later[1].startswith("scontrol create")
    assert counter.names("--all") == []
    counter.stage.round()
    assert list(counter.stage.slurm.reservations()) == []
    lines = counter("create", "spring", *OURS, "--dry-run").output.splitlines()
    assert [line.partition(" reservationname=")[0] for line in lines[1:]] == ["", "scontrol create", "scontrol update"]


# -- update, cancel and check ----------------------------------------------------------------------------------------


def test_updated_or_as_it_was(counter: Counter) -> None:
    counter("create", "spring", *OURS)
    assert "is approved: 9kW in rack03" in counter("update", "spring", "--watts=9kW").output
    result = counter("update", "spring", "--watts=15kW", code=4)
    assert result.output.startswith("Reservation spring stays as it is: by the site's max_share")
    assert counter("show", "-hP", "-o", "granted").output == "9000\n"
    counter("update", "spring", "--watts=1kW", "--dry-run")
    assert counter("show", "-hP", "-o", "granted").output == "9000\n"


def test_cancelled_while_a_job_runs_in_it(counter: Counter) -> None:
    counter("create", "spring", *OURS)
    counter.stage.round()
    job = counter.stage.sbatch("power:est=5kW,max=5kW,reservation=spring")
    counter.stage.round()
    counter.stage.round()
    row = counter.json("show", "spring")["reservations"][0]
    assert (row["jobs"], row["used_w"], row["left_w"]) == ([str(job)], 5_000, 1_000)
    assert counter("cancel", "spring", "--dry-run").output.splitlines()[0] == (
        "Nothing is done. Reservation spring is cancelled; 1 of its jobs goes on."
    )
    assert counter.names() == ["spring"]
    assert counter("cancel", "spring").output == "Reservation spring is cancelled; 1 of its jobs goes on.\n"
    assert counter.names() == []
    row = counter.json("show", "spring")["reservations"][0]
    assert (row["state"], row["cause"]) == ("cancelled", f"cancelled by {ME}")


def test_a_job_of_a_reservation_is_on_reserved_power_and_in_the_audit_log_under_its_name(counter: Counter) -> None:
    counter("create", "spring", *OURS)
    counter.stage.round()
    job = str(counter.stage.sbatch("power:est=5kW,max=5kW,reservation=spring"))
    counter.stage.round()
    counter.stage.round()
    socket = ("--socket", str(counter.stage.socket))
    assert spower("jobs", "-hP", "-o", "job,power", *socket).output == f"{job}|reserved\n"
    found = spower("audit", "-R", "spring", "-hP", "-o", "job,action", *socket).output.splitlines()
    assert found == ["|approved", "|active", f"{job}|admit", f"{job}|found-running"]


def test_zones_show_what_is_reserved_and_not_used(quiet: Counter) -> None:
    words = ("zones", "rack03", "--socket", str(quiet.stage.socket))
    header, row = spower(*words).output.splitlines()
    assert dict(zip(header.split(), row.split(), strict=True))["RESERVED"] == "6kW"


def test_check_reserves_nothing(quiet: Counter) -> None:
    assert quiet("check", *HERE).output.startswith("Such a reservation is approved: 6kW in rack03")
    quiet("check", "-z", "rack03", "-w", "13kW", "-d", "1h", code=4)
    quiet("check", "-z", "rack03", "-w", "5kW", "-d", "1h", "-A", "research", code=3)  # for its share is 10.8 kW
    assert quiet.names("--all") == ["lost", "spring"]


# -- show ------------------------------------------------------------------------------------------------------------


def test_nothing_to_show(counter: Counter) -> None:
    assert counter("show").output == "No reservations.\n"
    assert counter.json("show") == {"schema": 1, "reservations": []}


def test_a_table_of_those_that_are_not_over(quiet: Counter) -> None:
    header, row = quiet("show").output.splitlines()
    assert header.split() == [
        "NAME", "STATE", "ACCOUNTS", "USERS", "GRANTED_IN", "GRANTED", "USED", "START", "END", "TIER", "CAUSE",
    ]  # fmt: skip
    assert row.split()[:7] == ["spring", "active", "research", "-", "rack03:6000", "6kW", "0W"]
    assert quiet("show", "-h").output.split() == row.split()
    assert quiet.names("--all") == ["lost", "spring"]


def test_one_by_name_is_shown_whole(quiet: Counter) -> None:
    lines = quiet("show", "spring").output.splitlines()
    facts = {line[:16].strip(): line[16:] for line in lines}
    assert list(facts) == [column.name.replace("_", " ") for column in COLUMNS.all]
    assert (facts["grace"], facts["granted"], facts["created by"]) == ("00:15:00", "6kW", ME)
    assert "max_share" not in facts["cause"]
    assert "state           refused" in quiet("show", "lost").output


def test_several_by_name_are_a_table_in_order_of_name(quiet: Counter) -> None:
    assert quiet.names("spring", "lost") == ["lost", "spring"]
    assert quiet("show", "spring", "lost").output.startswith("NAME")


def test_a_name_that_there_is_not(quiet: Counter) -> None:
    result = quiet("show", "spring", "autumn", code=2)
    assert result.output == "sreservation: there is no reservation 'autumn'; sreservation show --all lists them\n"


def test_for_programs(quiet: Counter) -> None:
    header, row = (line.split("|") for line in quiet("show", "-P").output.splitlines())
    fields = dict(zip(header, row, strict=True))
    assert fields["WATTS_W"] == fields["LEFT_W"] == "6000"
    assert (fields["GRACE_S"], fields["MIN_W"], fields["JOBS"]) == ("900", "", "")
    assert quiet("show", "-o", "name,watts,grace").output.split() == [
        "NAME", "WATTS", "GRACE", "spring", "6kW", "00:15:00",
    ]  # fmt: skip


def test_looked_at_again(quiet: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    class Time:
        @staticmethod
        def sleep(seconds: float) -> None:
            assert seconds == 5
            raise KeyboardInterrupt

    monkeypatch.setattr(output, "time", Time)
    assert quiet("show", "-i", "5", "-hP", "-o", "name").stdout == "spring\n"


# -- whatever goes wrong ---------------------------------------------------------------------------------------------

NEW = ("create", "new")
OFF = [
    ((*NEW,), "where? give --zones"),
    ((*NEW, "-z", "rack03"), "how much? give --watts"),
    ((*NEW, "-z", "rack03", "-w", "1kW"), "for how long? give --duration or --end"),
    ((*NEW, *HERE), "whose is it? give --accounts or --users"),
    ((*NEW, *OURS, "-e", "now+2hours"), "give one of them"),
    ((*NEW, *OURS, "-z", "rack["), "--zones: 'rack[' is not a hostlist"),
    ((*NEW, *OURS, "-z", "any:"), "--zones: '' is not a hostlist"),
    ((*NEW, *OURS, "-z", "rack09"), "there is no rack09; there are rack01, rack02, rack03"),
    ((*NEW, *OURS, "-w", "12kWh"), "--watts: '12kWh' is not a power"),
    ((*NEW, *OURS, "-w", "0"), "--watts: input should be greater than or equal to 1"),
    ((*NEW, *OURS, "-d", "0"), "--duration: input should be greater than or equal to 1"),
    ((*NEW, *OURS, "-d", "soon"), "--duration: 'soon' is not a duration"),
    ((*NEW, *OURS, "-d", "500-00"), "lasts a year at most"),
    ((*NEW, *OURS, "-s", "2020-01-01T00:00Z"), "--start: '2020-01-01T00:00Z' is in the past"),
    ((*NEW, *OURS, "--min-watts", "7kW"), "write --min-watts below --watts"),
    ((*NEW, *OURS, "--burst", "5kW"), "--burst: '5kW' has no length; write --burst=5kW:2m"),
    ((*NEW, *OURS, "--tier", "tin"), "there is no tin; this site's tiers are gold, silver, bronze"),
    ((*NEW, *OURS, "--policy", "preempt"), "tier bronze preempts nobody; write --policy=wait, or a higher --tier"),
    ((*NEW, *OURS, "--policy", "fight"), "'fight' is not one of 'wait', 'preempt'"),
    ((*NEW, *OURS, "-u", "a b"), "'a b' is not a name of Slurm's"),
    (("create", "pw_x", *OURS), "cannot be a reservation's name"),
    (("create", "spring", *OURS), "there is a reservation spring already"),
    (("create",), "Missing argument 'NAME'"),
    (("update", "spring"), "say what to change"),
    (("update", "spring", "--approve"), "reservation spring is active; there is nothing to approve"),
    (("update", "spring", "-s", "now+1hour"), "it has begun already"),
    (("update", "autumn", "-w", "1kW"), "there is no reservation 'autumn' that is not over"),
    (("update", "lost", "-w", "1kW"), "there is no reservation 'lost' that is not over"),
    (("cancel", "autumn"), "there is no reservation 'autumn' that is not over"),
    (("cancel",), "Missing argument 'NAME'"),
    (("check", "-z", "rack03"), "how much? give --watts"),
    (("show", "-o", "colour"), "there is no column 'colour'"),
    (("show", "--json", "-P"), "--json has every field; leave -P and -o out"),
    (("show", "-i", "0"), "is not in the range"),
    (("reserve",), "No such command 'reserve'"),
]


@pytest.mark.parametrize(("words", "told"), OFF, ids=lambda part: " ".join(part) if isinstance(part, tuple) else "")
def test_words_that_are_off(quiet: Counter, words: tuple[str, ...], told: str) -> None:
    assert told in quiet(*words, code=2).output


@pytest.mark.parametrize(
    "command", [["show"], ["create", "x", *OURS], ["update", "x", "-w", "1"], ["cancel", "x"], ["check", *HERE]]
)
def test_nobody_there(quiet: Counter, tmp_path: Path, command: list[str]) -> None:
    result = quiet(*command, "--socket", str(tmp_path / "none"), code=5)
    assert result.output.startswith(f"sreservation: {tmp_path}/none: there is no such socket; is slurm-powerd running?")


@pytest.mark.parametrize("command", ["create", "show", "update", "renew", "cancel", "check"])
def test_every_command_has_slurms_habits_and_explains_itself(quiet: Counter, command: str) -> None:
    text = quiet(command, "--help").output
    for option in ("-h, --noheader", "-o, --format", "--json", "-P, --parsable2", "--socket", "--timeout"):
        assert option in text
    assert ("-i, --iterate" in text) is (command == "show")


def test_help_lists_the_commands_and_the_exit_codes(quiet: Counter) -> None:
    text = quiet("--help").output
    for word in ("create", "show", "update", "cancel", "check", "3  it does not fit as asked", "5  the daemon cannot"):
        assert word in text


# -- who may ---------------------------------------------------------------------------------------------------------


def someone(directory: Path, approval: str, *records: PrivilegeRecord) -> Stage:
    """A daemon to which we are nobody in particular."""
    text = f"{SITE}reservations: {{approval: {approval}}}\n"
    stage = Stage(directory, text, masters=frozenset())
    stage.slurm._privileges = records
    return stage


def test_only_administrators_and_coordinators_reserve() -> None:
    member = PrivilegeRecord(ME, accounts=("research",))
    with short_directory() as directory, someone(directory, "none", member).open() as stage:
        result = Counter(stage)("create", "spring", *OURS, code=1)
        assert "sreservation: only administrators and coordinators may reserve for account research;" in result.output
        assert "sacctmgr show account research withcoord" in result.output


def test_a_member_asks_and_a_coordinator_approves() -> None:
    member = PrivilegeRecord(ME, accounts=("research",))
    chief = PrivilegeRecord(ME, accounts=("research",), coordinates=("research",))
    with short_directory() as directory:
        stage = someone(directory, "coordinator", member)
        with stage.open():
            counter = Counter(stage)
            said = counter("create", "spring", *OURS, "--start=now+1hour").output
            assert said.endswith("and waits for approval by: coordinator.\n")
            assert counter("show", "-hP", "-o", "state,granted").output == "requested|0\n"
            told = counter("update", "spring", "--approve", code=2).output
            who = "administrators and coordinators"
            assert told == f"sreservation: reservation spring is for {who} to approve and to change\n"
            stage.slurm._privileges = (chief,)
            stage.rounds.reservations._privileges_at = float("-inf")
            counter("update", "spring", "--approve")
            assert counter("show", "-hP", "-o", "state,granted").output == "approved|6000\n"


def test_an_owner_whom_slurm_does_not_know() -> None:
    with short_directory() as directory:
        stage = Stage(directory)
        stage.slurm._privileges = (PrivilegeRecord("alice", accounts=("research",)),)
        with stage.open():
            counter = Counter(stage)
            told = counter("create", "new", *HERE, "-A", "physics", code=2).output
            assert told == "sreservation: accounts: Slurm has no account physics with users; there are research\n"
            assert "Slurm has no user bob" in counter("create", "new", *HERE, "-u", "bob", code=2).output


def test_accounting_that_cannot_be_read_stops_nobody_who_may(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> list[PrivilegeRecord]:
        raise SlurmError("slurmdbd is away")

    monkeypatch.setattr(counter.stage.slurm, "privileges", away)
    counter("create", "spring", *OURS)
    assert counter.names() == ["spring"]
