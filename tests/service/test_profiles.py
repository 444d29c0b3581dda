"""Envelopes that are learnt: which runs teach, who is estimated by them, and what is told to who declares otherwise."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.accrual import Held
from slurm_power.core.claim import Charge
from slurm_power.core.errors import UsageError
from slurm_power.core.estimate import EstFrom
from slurm_power.core.lifecycle import State
from slurm_power.core.profile import Learnt, ProfileKey
from slurm_power.core.sketch import Sketch
from slurm_power.core.units import format_watts
from slurm_power.core.usage import Share
from slurm_power.ports import JobRecord, JobState, Kind, PrivilegeRecord, StoredProfile
from slurm_power.service import profiles as module
from slurm_power.service import views
from slurm_power.service.asking import Ask, interpret
from slurm_power.service.book import Entry
from slurm_power.service.facts import from_hook, from_record
from slurm_power.service.job_draws import RunDraw
from slurm_power.service.profiles import Profiles
from slurm_power.service.submit import submit
from tests.service import metered
from tests.service.support import START, Lab, job, site_of
from tests.service.test_job_draws import NODES, draws_by_nodes, finish
from tests.service.test_measuring import Metered

HOUR = 3_600
TRAIN = ProfileKey("research", "train", "main", 0)


@pytest.fixture
def rig() -> Iterator[Metered]:
    made = Metered(text=NODES)
    yield made
    made.end()


def stored(p95_w: int, peak_w: int, runs: int = 12, key: ProfileKey = TRAIN, seen_at: int = START) -> StoredProfile:
    """A profile of so many hours, with est 1.145 × p95 and max 1.145 × peak at 12 runs."""
    sketch = Sketch()
    sketch.add(p95_w, runs * HOUR - 10)
    sketch.add(peak_w, 10)
    numbers = {"runs": runs, "measured_s": 300, "peak_w": peak_w, "before_w": 0, "halved_at": START}
    return StoredProfile(*key, seen_at, {**numbers, "sketch": sketch.stored()})


def learnt(rig: Metered, key: ProfileKey = TRAIN) -> Learnt | None:
    return rig.desk.metering.profiles.learnt.get(key)


def train(rig: Metered, watts: int = 3_000, seconds: int = 110, **fields: Any) -> int:
    """A run on a node of its own that draws so much for so long."""
    asked: dict[str, Any] = {"node_count": 1, "name": "train", **fields}
    job_id = rig.running("bronze", est_w=9_000, more=",zones=a", **asked)
    draws_by_nodes(rig, {rig.job(job_id).node_list: watts}, seconds)
    return job_id


# -- who teaches ---------------------------------------------------------------------------------------------


def test_runs_teach_and_the_next_that_declares_nothing_asks_for_what_they_drew(rig: Metered) -> None:
    for _ in range(2):
        finish(rig, train(rig))
    plain: dict[str, Any] = {"comment": "", "name": "train", "required_nodes": "a1"}
    before = rig.running("bronze", **plain)
    told = views.explain(rig.desk, str(before))
    assert told is not None
    assert (told["est_w"], told["est_from"]) == (5_000, EstFrom.RATING)
    finish(rig, before)
    finish(rig, train(rig))
    known = learnt(rig)
    assert known is not None
    assert (known.runs, known.peak_w) == (3, 3_000)
    assert known.p95_w == pytest.approx(3_000, rel=0.006)
    told = views.explain(rig.desk, str(rig.running("bronze", **plain)))
    assert told is not None
    assert (told["est_w"], told["max_w"], told["est_from"]) == (known.est_w, 3_867, EstFrom.PROFILE)
    two = rig.running("bronze", comment="", name="train", node_count=2, required_nodes="b[1-2]")
    told = views.explain(rig.desk, str(two))
    assert told is not None
    assert (told["est_w"], told["max_w"]) == (2 * (known.est_w or 0), 2 * 3_867)


def test_what_shares_its_nodes_teaches_nothing(rig: Metered) -> None:
    share = {"exclusive": False, "cpus": 8, "required_nodes": "a1", "name": "train"}
    small = rig.running("bronze", est_w=1_000, more=",zones=a", **share)
    rig.running("bronze", est_w=3_000, more=",zones=a", **{**share, "name": "other"})
    draws_by_nodes(rig, {"a1": 6_000}, 100)
    finish(rig, small)
    assert learnt(rig) is None


def test_neither_a_short_run_nor_one_that_was_hardly_measured_does(rig: Metered) -> None:
    finish(rig, train(rig, seconds=40))
    assert learnt(rig) is None
    late = rig.running("bronze", est_w=9_000, more=",zones=a", node_count=1, name="train")
    rig.later(100, 3)
    draws_by_nodes(rig, {rig.job(late).node_list: 3_000}, 100)
    finish(rig, late)
    assert learnt(rig) is None
    finish(rig, train(rig))
    assert learnt(rig) is not None


def test_what_was_learnt_outlives_the_daemon(rig: Metered) -> None:
    for _ in range(3):
        finish(rig, train(rig))
    before = learnt(rig)
    rig.rounds.usage.end()
    rig.crash()
    assert learnt(rig) is None
    rig.rounds.usage.load(rig.store)
    assert learnt(rig) == before is not None
    rig.later(120)
    assert len(rig.store.profiles(10)) == 1


def service(profiles: Profiles, hours: int, watts: int, run: RunDraw, measured: float = 1.0) -> None:
    """A run since START that goes on for so many more hours."""
    record = JobRecord(7, JobState.RUNNING, 1_000, "alice", "research", name="serve", partition="main", gpus=8)
    entry = Entry("7", "7", State.RUNNING, START, 0.0, job_id=7, record=record)
    held = Held(Share("", "research", 1_000, "gold"), (Charge("a", 2, 9_000, 9_000),), START)
    begin = run.learnt_at or START
    for hour in range(1, hours + 1):
        run.add(watts, int(HOUR * measured), whole=True)
        profiles.goes_on(entry, run, held, begin + hour * HOUR)


def test_a_service_teaches_every_hour_and_is_one_run() -> None:
    profiles, run, key = Profiles(START), RunDraw(), ProfileKey("research", "serve", "main", 4)
    service(profiles, 15, 8_000, run)
    assert profiles.learnt[key].est_w is None
    service(profiles, 1, 8_000, run)
    known = profiles.learnt[key]
    assert (known.runs, known.measured_s, known.peak_w) == (1, 16 * HOUR, 4_000)
    assert known.est_w == pytest.approx(4_000 * 1.289, rel=0.012)
    service(profiles, 24, 12_000, run)
    assert profiles.learnt[key].p95_w == pytest.approx(6_000, rel=0.012)
    service(profiles, 5, 16_000, run, measured=0.4)
    assert profiles.learnt[key].peak_w == 6_000  # of these hours too little is known
    assert len(profiles.take()) == 1
    assert profiles.take() == []


def test_services_are_looked_at_by_the_hour(rig: Metered) -> None:
    going = train(rig)
    for _ in range(120):
        rig.says(3_000, zone=rig.job(going).node_list, kind=Kind.NODE)
        rig.later(15)
    assert learnt(rig) is None
    asyncio.run(rig.rounds.usage.tidy())
    known = learnt(rig)
    assert known is not None
    assert known.runs == 1
    draws_by_nodes(rig, {rig.job(going).node_list: 4_000}, 30)
    finish(rig, going)
    after = learnt(rig)
    assert after is not None
    assert (after.runs, after.peak_w) == (1, 4_000)


def test_not_more_than_so_many_are_known(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    profiles = Profiles(START)
    bad = replace(stored(1, 2), detail={"sketch": 7})
    rows = [stored(5_000, 6_000, key=TRAIN._replace(name=name)) for name in ("one", "two", "three")]
    profiles.load([bad, *rows])
    assert [key.name for key in profiles.learnt] == ["two", "three"]
    assert "cannot be read" in caplog.text
    assert profiles.take() == []


# -- who asks by them ----------------------------------------------------------------------------------------


@pytest.fixture
def lab() -> Lab:
    return Lab(site_of())


def knows(lab: Lab, *rows: StoredProfile) -> None:
    lab.desk.metering.profiles.load(rows)


def whole(comment: str = "", **fields: object) -> dict[str, object]:
    """A job that takes its node whole."""
    return job(comment, **{"shared": 0, **fields})


def asked(lab: Lab, comment: str = "", **fields: object) -> Ask:
    found = interpret(from_hook(whole(comment, **fields)), lab.desk.world, "t", START)
    assert isinstance(found, Ask)
    return found


def test_the_order_of_what_est_comes_from(lab: Lab) -> None:
    gpus = {"tres_per_node": "gres:gpu:4"}
    assert (asked(lab).est_from, asked(lab, **gpus).est_from) == (EstFrom.RATING, EstFrom.BOARDS)
    knows(lab, stored(5_000, 6_000), stored(2_000, 2_500, key=TRAIN._replace(gpus=4)))
    by_profile, by_boards = asked(lab), asked(lab, **gpus)
    assert (by_profile.est_from, by_boards.est_from) == (EstFrom.PROFILE, EstFrom.PROFILE)
    assert by_profile.request.max_w == 6_870
    assert by_boards.request.est_w == pytest.approx(2_290, rel=0.006)
    assert asked(lab, "power:class=lean").est_from is EstFrom.CLASS
    for comment in ("power:est=1kW", "power:max=1kW"):
        declared = asked(lab, comment)
        assert (declared.est_from, declared.request.est_w) == (EstFrom.DECLARED, 1_000)


def test_a_class_still_limits_what_was_learnt(lab: Lab) -> None:
    knows(lab, stored(5_000, 9_000))
    found = asked(lab, "power:class=interactive")
    assert (found.est_from, found.request.max_w) == (EstFrom.PROFILE, 6_000)


def test_tasks_of_an_array_ask_each_for_what_such_a_run_drew(lab: Lab) -> None:
    knows(lab, stored(5_000, 6_000))
    assert asked(lab, array_inx="0-3").request.max_w == 4 * 6_870


def test_another_jobs_profile_by_name(lab: Lab) -> None:
    knows(lab, stored(5_000, 6_000, key=TRAIN._replace(name="resnet50")))
    found = asked(lab, "power:profile=resnet50")
    assert (found.est_from, found.request.max_w) == (EstFrom.PROFILE, 6_870)
    assert asked(lab, "power:profile=resnet50", account="ops").est_from is EstFrom.RATING
    told = submit(lab.desk, job("power:profile=resnet")).message
    assert "profile=resnet: too little is known of jobs of that name in account research, without GPUs" in told


def test_a_description_that_is_known_follows_its_profile(lab: Lab) -> None:
    def est_w() -> int:
        found = lab.desk.descriptions.read(whole(), "t", START)[1]
        assert isinstance(found, Ask)
        return found.request.est_w

    assert est_w() == 8_000
    knows(lab, stored(5_000, 6_000))
    first = est_w()
    assert first == pytest.approx(5_725, rel=0.006)
    knows(lab, stored(3_000, 6_000))
    assert est_w() == pytest.approx(3_435, rel=0.006)
    knows(lab, stored(4_000, 6_000, key=TRAIN._replace(name="other")))
    assert lab.desk.descriptions._known
    lab.desk.change_site(site_of(defaults="{margin: 10%, tier: gold}"))
    assert est_w() == pytest.approx(3_435, rel=0.006)


def test_what_was_admitted_stays_as_its_licences_say(lab: Lab) -> None:
    """A restart reads the job anew, by a profile that has changed meanwhile."""
    knows(lab, stored(5_000, 6_000))
    reply = submit(lab.desk, whole())
    assert reply.verdict == "admit"
    record = JobRecord(
        7, JobState.PENDING, 1001, "alice", "research", name="train", partition="main", time_limit_s=3_600,
        exclusive=True, admin_comment=str(reply.fields["admin_comment"]),
    )  # fmt: skip
    entry = lab.desk.book.get(reply.token)
    assert entry is not None
    assert entry.ask is not None
    before = entry.ask.request
    knows(lab, stored(2_000, 2_500))
    anew = interpret(from_record(record), lab.desk.world, "t", START, START)
    assert isinstance(anew, Ask)
    assert (anew.request.est_w, anew.request.max_w) == (before.est_w, before.max_w)


# -- advice --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("power:est=9kW,max=9kW", "its last 12 runs drew {p95} at the 95th percentile and 6kW at most; est=9kW keeps"),
        ("power:est=4kW,max=6kW", "at the 95th percentile and 6kW at most; est=4kW promises less than that"),
        ("power:max=9kW", "est=9kW keeps more than that from others"),
        ("power:est=5kW,max=6kW", ""),
        ("power:est=8kW,max=8kW", ""),
        ("", ""),
        ("power:est=9kW,max=9kW,profile=big", "big's last 12 runs drew"),
    ],
)
def test_who_declares_too_much_or_too_little_is_told(lab: Lab, comment: str, said: str) -> None:
    knows(lab, stored(5_000, 6_000), stored(14_000, 15_000, key=TRAIN._replace(name="big")))
    p95_w = lab.desk.metering.profiles.learnt[TRAIN].p95_w
    for text in (
        submit(lab.desk, whole(comment)).message,
        str(views.check(lab.desk, from_hook(whole(comment)))["advice"]),
    ):
        assert said.format(p95=format_watts(p95_w)) in text
        assert said or "runs drew" not in text


def test_who_takes_a_part_of_a_node_is_not_told_that_it_is_too_little(lab: Lab) -> None:
    knows(lab, stored(5_000, 6_000))
    assert "runs drew" not in submit(lab.desk, job("power:est=500W,max=500W")).message
    assert "keeps more than that" in submit(lab.desk, job("power:est=9kW,max=9kW")).message
    by_rating = interpret(from_hook(job("")), lab.desk.world, "t", START)
    assert isinstance(by_rating, Ask)
    assert (by_rating.request.est_w, by_rating.est_from) == (256, EstFrom.RATING)  # of 8 kW for one of 32 CPUs


def test_of_few_runs_nothing_is_said(lab: Lab) -> None:
    knows(lab, stored(5_000, 6_000, runs=2))
    assert "runs drew" not in submit(lab.desk, whole("power:est=20kW,max=20kW")).message


# -- who may know --------------------------------------------------------------------------------------------


@pytest.fixture
def shared() -> Iterator[metered.Metered]:
    privileges = (PrivilegeRecord("61001", accounts=("research",)), PrivilegeRecord("61002", coordinates=("ops",)))
    with metered.Metered(privileges=privileges).open() as found:
        theirs = stored(1_000, 2_000, key=TRAIN._replace(account="ops"))
        found.desk.metering.profiles.load([stored(5_000, 6_000), theirs])
        yield found


@pytest.mark.parametrize(
    ("uid", "private", "accounts"),
    [
        (0, True, ["ops", "research"]),
        (61_001, True, ["research"]),
        (61_002, True, ["ops"]),
        (61_003, True, []),
        (61_003, False, ["ops", "research"]),
    ],
)
def test_who_sees_which(shared: metered.Metered, uid: int, private: bool, accounts: list[str]) -> None:
    shared.desk.private_jobs = private
    assert [row["account"] for row in shared.ask("profiles", uid)["profiles"]] == accounts


def test_those_of_an_account_or_a_name(shared: metered.Metered) -> None:
    assert [row["account"] for row in shared.ask("profiles", account="ops")["profiles"]] == ["ops"]
    assert shared.ask("profiles", name="other")["profiles"] == []
    with pytest.raises(UsageError):
        shared.ask("profiles", name=7)


def test_a_question_does_not_tell_what_others_draw(shared: metered.Metered) -> None:
    """spower check may name any account."""
    desk = shared.desk
    facts = from_hook(job("power:est=9kW,max=9kW", user_id=61_003))
    assert views.check(desk, facts, 61_003, {})["advice"] == ""
    assert "runs drew" in str(views.check(desk, facts, 61_001)["advice"])

