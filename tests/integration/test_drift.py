"""Twenty kinds of drift, made by hand on a real cluster while the daemon is dead: by an administrator with scontrol, by
one who edits the database, by one who edits the site file. `sreservation reconcile` mends them all, and once.
"""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration import faults
from tests.integration.driver import Driver
from tests.integration.test_reconcile import SRESERVATION, in_slurm, reconcile

pytestmark = [pytest.mark.cluster, pytest.mark.long]

SITE = Path(__file__).with_name("racks.yaml").read_text()
RESERVED = {
    "deleted": ("a", "--accounts=research"),
    "counted": ("a", "--users=alice"),
    "given": ("a", "--users=bob"),
    "ending": ("a", "--users=carol"),
    "refused": ("b", "--accounts=research"),
    "over": ("b", "--users=alice"),
    "late": ("b", "--users=bob"),
    "homeless": ("lab", "--users=alice"),
}
"""Reservation → its zone and owner, of whom each zone has one in Slurm."""
LEFT = [name for name in RESERVED if name not in ("over", "homeless")]


@dataclass
class Hall:
    """What is there before anything drifts."""

    home: Driver
    jobs: dict[str, int] = field(default_factory=dict)
    slurms: dict[str, str] = field(default_factory=dict)
    """Reservation → its name in Slurm."""

    @property
    def database(self) -> Path:
        return self.home.cluster.layout.power / "state.db"

    def scontrol(self, *words: str) -> None:
        self.home.cluster.run("scontrol", *words)

    def change_job(self, name: str, *changes: str) -> None:
        self.scontrol("update", f"jobid={self.jobs[name]}", *changes)

    def change_reservation(self, name: str, *changes: str) -> None:
        self.scontrol("update", f"reservationname={self.slurms[name]}", *changes)

    def sql(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.database) as database:
            assert database.execute(statement, values).rowcount == 1, statement

    def in_slurm(self) -> object:
        """All that a reconciliation could touch there."""
        jobs = [self.home.cluster.job(number) for number in self.jobs.values()]
        fields = ("JobState", "Priority", "Licenses", "Features", "ExcNodeList", "AdminComment")
        reservations = self.home.cluster.run("scontrol", "-o", "show", "reservation")
        return [[job.get(field) for field in fields] for job in jobs], reservations

    def is_in_order(self, live: Iterable[str]) -> None:
        """Jobs are bound and held as they were, and Slurm reserves what these reservations are to have."""
        job = {name: self.home.cluster.job(number) for name, number in self.jobs.items()}
        watts = {"robbed": "c:1000", "modest": "c:1000", "relicensed": "c:1000", "past the hook": "a:1000",
                 "released": "b:16000"}  # fmt: skip
        for name, count in watts.items():
            if name in job and job[name]["Priority"] != "0":
                assert f"pw_{count}" in job[name]["Licenses"], name
        for name in ("unbound", "elsewhere"):
            assert "pw_c" in job[name]["Features"], name
        assert job["let go"]["Priority"] == "0"
        said = self.home.cluster.run("scontrol", "-o", "show", "reservation")
        found = dict(re.findall(r"ReservationName=(pw_\S+) .*? Licenses=([^ ,]+)", said))
        kept = {self.slurms[name]: f"pw_{RESERVED[name][0]}:1000" for name in live}
        assert found == kept

    def edit_row(self, name: str, change: Callable[[dict[str, Any]], None]) -> None:
        """A reservation as the database has it."""
        with sqlite3.connect(self.database) as database:
            ((text,),) = database.execute("SELECT detail FROM reservations WHERE live_name = ?", (name,))
        detail = json.loads(text)
        change(detail)
        state, end = detail["state"], detail["terms"]["window"]["end"]
        row = "UPDATE reservations SET detail = ?, state = ?, end_at = ? WHERE live_name = ?"
        self.sql(row, json.dumps(detail), state, end, name)


# -- each of them ------------------------------------------------------------------------------------------------------


def _refuse_an_update(hall: Hall) -> None:
    """Slurm forgets the watts that it counted as reserved, and shows them still."""
    words = ("scontrol", "update", f"reservationname={hall.slurms['refused']}", "users=nosuchuser")
    assert hall.home.cluster.call(*words).returncode != 0


def _leave_behind(hall: Hall) -> None:
    hall.scontrol("create", "reservation", "reservationname=pw_old", "users=bob", "starttime=now", "duration=60",
                  "licenses=pw_c:1", "flags=ANY_NODES")  # fmt: skip


def _over(hall: Hall) -> None:
    """Its hours were over a second after they had begun."""

    def change(detail: dict[str, Any]) -> None:
        window = detail["terms"]["window"]
        window["end"] = window["start"] + 1

    hall.edit_row("over", change)


def _late(hall: Hall) -> None:
    hall.edit_row("late", lambda detail: detail.update(state="approved"))


def _remembered(hall: Hall, token: str) -> None:
    hall.sql(
        "INSERT INTO jobs (token, uid, account, tier, est_w, max_w, headroom_w, correlation_group, submitted_at, hold, "
        "detail) VALUES (?, 1001, 'research', 'bronze', 1, 1, 0, 'g', ?, 'power', '{}')",
        token, int(time.time()),
    )  # fmt: skip


def _token_of(hall: Hall, name: str) -> str:
    (found,) = re.findall(r"power:id=([^,; ]+)", hall.home.cluster.job(hall.jobs[name])["AdminComment"])
    return str(found)


def _give_up_the_lab(hall: Hall) -> None:
    """By an editor alone: nobody reads the file before the next look."""
    path = hall.home.cluster.layout.site_file
    data = yaml.safe_load(path.read_text())
    del data["zones"]["lab"], data["partitions"]["lab"]
    path.write_text(yaml.safe_dump(data, sort_keys=False))


Make = Callable[[Hall], None]
DRIFTS: tuple[tuple[str, str, Make], ...] = (
    ("reservation-missing", "deleted", lambda hall: hall.scontrol("delete", f"reservation={hall.slurms['deleted']}")),
    ("reservation-count", "counted", lambda hall: hall.change_reservation("counted", "licenses=pw_a:1")),
    ("reservation-owner", "given", lambda hall: hall.change_reservation("given", "users=carol")),
    ("reservation-ending", "ending", lambda hall: hall.change_reservation("ending", "endtime=now+60")),
    ("reservation-forgotten", "refused", _refuse_an_update),
    ("reservation-foreign", "pw_old", _leave_behind),
    ("reservation-over", "over", _over),
    ("reservation-late", "late", _late),
    ("reservation-zone", "homeless", _give_up_the_lab),
    ("hold-groundless", "in the lab", lambda _: None),  # held for the watts of a zone that has gone
    ("running-licences", "robbed", lambda hall: hall.change_job("robbed", "licenses=")),
    ("running-licences", "modest", lambda hall: hall.change_job("modest", "licenses=pw_c:1")),
    ("running-unadmitted", "past the hook", lambda _: None),  # it came while slurm.conf named no hook
    ("running-unadmitted", "released", lambda _: None),  # its hold was taken off then, and it is on nodes
    ("pending-licences", "relicensed", lambda hall: hall.change_job("relicensed", "licenses=pw_c:1")),
    ("pending-binding", "unbound", lambda hall: hall.change_job("unbound", "features=")),
    ("pending-binding", "elsewhere", lambda hall: hall.change_job("elsewhere", "features=pw_a")),
    ("hold-lost", "let go", lambda hall: hall.scontrol("release", str(hall.jobs["let go"]))),
    ("hold-stale", "gone", lambda hall: _remembered(hall, "gone")),
    ("hold-stale", "robbed", lambda hall: _remembered(hall, _token_of(hall, "robbed"))),
    ("intent-open", "", lambda hall: hall.sql(
        "INSERT INTO intents (target, action, at, detail, pending) VALUES ('1', 'bind', ?, '{}', 1)",
        int(time.time()) - 3600)),
)  # fmt: skip
"""Kind, what it is about, and what does it."""


def _subject(hall: Hall, kind: str, name: str) -> str:
    """What reconcile calls it: of reservations Slurm's name where Slurm's is off, and ours where ours is."""
    if kind == "hold-stale":
        return _token_of(hall, name) if name in hall.jobs else name
    if name in hall.jobs:
        return str(hall.jobs[name])
    return hall.slurms[name] if name in ("deleted", "counted", "given", "ending", "refused") else name


# -- before ------------------------------------------------------------------------------------------------------------


@contextmanager
def without_hook(home: Driver) -> Iterator[None]:
    """slurm.conf names neither hook nor gate for a while."""
    conf = home.cluster.layout.slurm_conf
    with_us = conf.read_text()
    conf.write_text(re.sub(r"(?m)^(JobSubmitPlugins|PrologSlurmctld)=.*$", "", with_us))
    home.cluster.run("scontrol", "reconfigure")
    try:
        yield
    finally:
        conf.write_text(with_us)
        home.cluster.run("scontrol", "reconfigure")


def reserve(home: Driver) -> dict[str, str]:
    """Each of `RESERVED`, and its name in Slurm."""
    names: dict[str, str] = {}
    for name, (zone, owner) in RESERVED.items():
        before = set(re.findall(r"ReservationName=(pw_\S+)", home.cluster.run("scontrol", "-o", "show", "reservation")))
        words = ("create", name, f"--zones={zone}", "--watts=1kW", "--duration=2h", owner)
        home.cluster.run(*SRESERVATION, *words)

        def made(before: set[str] = before) -> set[str]:
            shown = home.cluster.run("scontrol", "-o", "show", "reservation")
            return set(re.findall(r"ReservationName=(pw_\S+)", shown)) - before

        (names[name],) = home.cluster.wait(made, bool, f"{name} in Slurm")
    return names


def admitted(home: Driver, job_id: int) -> None:
    home.cluster.wait(lambda: home.state(job_id), lambda state: state == "admitted", f"job {job_id} to be admitted")


@pytest.fixture(scope="module")
def hall(site: Driver) -> Hall:
    """Eight reservations, jobs on nodes, admitted ones that cannot start, and held ones; nothing is out of order."""
    home = site
    hall = Hall(home)
    home.close_partition("closed")
    hall.slurms = reserve(home)
    jobs = hall.jobs
    for name in ("robbed", "modest"):
        jobs[name] = home.submit(est_w=1_000, more=",zones=c", script="sleep 3000")
    home.running(*jobs.values())
    for name in ("relicensed", "unbound", "elsewhere"):
        jobs[name] = home.submit("--partition=closed", est_w=1_000, more=",zones=c")
        admitted(home, jobs[name])
    for name, options in (("let go", ["--partition=closed"]), ("released", ["--nodelist=b1"])):
        jobs[name] = home.submit(*options, est_w=16_000, more=",zones=" + ("c" if name == "let go" else "b"))
        home.held(jobs[name])
    jobs["in the lab"] = home.submit("--partition=lab", est_w=17_000)
    home.held(jobs["in the lab"])
    home.settle()
    assert reconcile(home) == (0, [])
    return hall


OF_THE_LAB = [("left", "licence-total", "pw_lab"), ("left", "node-feature", "pw_lab")]
"""For somebody to mend: slurm.conf names a zone that the site file no longer has."""


AGAIN = ("reservation-missing", "reservation-count", "reservation-owner", "reservation-ending", "reservation-forgotten",
         "reservation-foreign", "running-licences", "pending-licences", "pending-binding", "hold-lost", "intent-open")
"""What can be made over and over again."""


def test_killed_at_any_moment_it_is_made_good_by_the_next(hall: Hall) -> None:
    """kill -9, a little later each time, from before it has read anything to after it has mended all."""
    home = hall.home
    drifts = [make for kind, _, make in DRIFTS if kind in AGAIN]
    ended = 0
    with faults.dead(home):
        for step in range(1, 50):
            for make in drifts:
                make(hall)
            reconciling = subprocess.Popen([*SRESERVATION, "reconcile"], env=home.cluster.env)
            try:
                reconciling.wait(0.25 * step)
                ended += 1
            except subprocess.TimeoutExpired:
                reconciling.kill()
                reconciling.wait()
            assert reconcile(home)[0] in (0, 1)
            assert reconcile(home) == (0, [])
            hall.is_in_order(RESERVED)
            if ended == 2:
                break
        assert ended == 2
    home.settle()
    assert reconcile(home) == (0, [])


def test_twenty_kinds_of_drift_are_mended_once(hall: Hall) -> None:
    home = hall.home
    hall.scontrol("create", "reservation", "reservationname=theirs", "users=bob", "starttime=now", "duration=60",
                  "nodes=b2", "licenses=pw_c:1")  # fmt: skip
    with faults.dead(home):
        with without_hook(home):
            hall.jobs["past the hook"] = home.submit("--nodelist=a1", est_w=1_000, more=",zones=a")
            hall.scontrol("release", str(hall.jobs["released"]))
            home.running(hall.jobs["past the hook"], hall.jobs["released"])
        for _, _, make in DRIFTS:
            make(hall)
        theirs = in_slurm(home, "theirs")
        wanted = {(kind, _subject(hall, kind, name)) for kind, name, _ in DRIFTS if name}
        shown = hall.in_slurm()
        assert reconcile(home, "--dry-run")[0] == 6
        assert hall.in_slurm() == shown
        code, found = reconcile(home)
        assert code == 6
        assert wanted <= {(kind, subject) for _, kind, subject in found}
        assert {kind for kind, _, _ in DRIFTS} <= {kind for _, kind, _ in found}
        assert [one for one in found if one[0] != "mended"] == OF_THE_LAB
        assert reconcile(home) == (6, OF_THE_LAB)
        hall.is_in_order(LEFT)
    home.settle()
    assert reconcile(home) == (6, OF_THE_LAB)
    hall.is_in_order(LEFT)
    assert in_slurm(home, "theirs") == theirs
