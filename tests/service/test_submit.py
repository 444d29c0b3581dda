from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from slurm_power.core.admission import Hold
from slurm_power.core.reasons import Code
from slurm_power.core.record import Standing, find_record
from slurm_power.ports import HoldKind, JobRecord, JobState
from slurm_power.service.desk import Reply
from slurm_power.service.submit import submit
from tests.service.support import SITE, START, Lab, floor_nodes, job, site_of


def told(lab: Lab, comment: str = "power:est=5kW", **fields: object) -> Reply:
    return submit(lab.desk, job(comment, **fields))


def code_of(lab: Lab, reply: Reply) -> Code:
    """The code of the reason for which the last submission is held."""
    del reply
    verdict = list(lab.desk.book.entries.values())[-1].verdict
    assert isinstance(verdict, Hold)
    return verdict.reasons[0].code


@pytest.fixture
def lab() -> Lab:
    return Lab()


class TestAdmitted:
    def test_it_is_bound_to_a_zone_and_counted(self, lab: Lab) -> None:
        reply = told(lab, "power:est=5kW,max=6kW")
        record = find_record(str(reply.fields["admin_comment"]))
        assert reply.verdict == "admit"
        assert record is not None
        assert (record.standing, record.tier, record.restarts) == (Standing.ADMIT, "bronze", 0)
        (charge,) = record.charges
        assert (charge.zone, charge.nodes, charge.est_w, charge.max_w) == ("rack03", 1, 5_000, 6_000)
        assert reply.fields["features"] == "pw_rack03"
        assert str(reply.fields["licenses"]).startswith("pw_rack03:5000,")
        assert lab.committed("rack03") == 5_000
        assert lab.committed("ups-a") == 2_500, "redundancy N: half on either side"
        assert "rack03" in reply.message

    def test_either_side_carries_all_under_2n(self, lab: Lab) -> None:
        told(lab, "power:est=5kW,zones=rack01", qos="gold")
        assert [lab.committed(name) for name in ("rack01", "pdu-a1", "pdu-b1", "ups-a", "ups-b", "loop")] == [
            5_000
        ] * 6

    def test_the_users_own_licences_and_constraint_stay(self, lab: Lab) -> None:
        reply = told(lab, licenses="matlab:2", features="fast", comment="mine; power:est=2kW,zones=rack03")
        assert str(reply.fields["licenses"]).startswith("matlab:2,pw_rack03:2000")
        assert reply.fields["features"] == "fast&pw_rack03"

    def test_a_zone_is_bound_by_excluded_nodes_where_its_feature_is_missing(self) -> None:
        lab = Lab()
        lab.survey(replace(node, features=()) for node in floor_nodes(lab.site))
        reply = told(lab, "power:est=5kW,zones=rack01", exc_nodes="n02")
        assert "features" not in reply.fields
        assert reply.fields["exc_nodes"] == "n02,n[04-09]"

    def test_gold_goes_to_the_hot_lane_and_bronze_to_the_cold(self, lab: Lab) -> None:
        gold, bronze = told(lab, qos="gold"), told(lab, qos="bronze")
        assert (gold.fields["features"], bronze.fields["features"]) == ("pw_rack01", "pw_rack03")

    def test_over_several_zones_each_is_charged_by_its_nodes(self, lab: Lab) -> None:
        reply = told(lab, "power:est=8kW", min_nodes=4, shared=0)
        record = find_record(str(reply.fields["admin_comment"]))
        assert record is not None
        assert sorted((charge.nodes, charge.est_w) for charge in record.charges) == [(1, 2_000), (3, 6_000)]
        assert (reply.fields["min_nodes"], reply.fields["max_nodes"]) == (4, 4)

    def test_an_array_that_fits_one_zone_is_admitted_as_a_whole(self, lab: Lab) -> None:
        reply = told(lab, "power:est=2kW", array_inx="0-4")
        record = find_record(str(reply.fields["admin_comment"]))
        assert record is not None
        assert [(c.nodes, c.est_w) for c in record.charges] == [(1, 2_000)], "the record is of one task"
        assert lab.committed("rack03") == 10_000

    def test_a_throttled_array_claims_what_may_run_at_once(self, lab: Lab) -> None:
        told(lab, "power:est=2kW", array_inx="0-99%3")
        assert lab.committed("rack03") == 6_000

    def test_boards_stand_for_a_job_without_an_envelope(self, lab: Lab) -> None:
        told(lab, "no words of power", tres_per_node="gres/gpu:4", min_nodes=2, num_tasks=2)
        assert sum(claim.est_w for claim in lab.desk.ledger.claims.values()) == 5_600

    def test_the_nodes_rating_stands_where_it_has_no_boards(self, lab: Lab) -> None:
        told(lab, "", min_cpus=16)
        (claim,) = lab.desk.ledger.claims.values()
        assert (claim.est_w, claim.max_w) == (4_000, 5_200)

    def test_the_class_gives_an_estimate(self, lab: Lab) -> None:
        told(lab, "power:class=lean")
        assert lab.committed("rack03") == 2_000


class TestTiers:
    @pytest.mark.parametrize(
        ("comment", "fields", "qos", "tier"),
        [
            ("power:est=2kW", {}, None, "bronze"),
            ("power:est=2kW", {"default_qos": "silver"}, None, "silver"),
            ("power:est=2kW", {"default_qos": "normal"}, None, "bronze"),
            ("power:est=2kW,tier=gold", {}, "gold", "gold"),
            ("power:est=2kW,tier=gold", {"qos": "gold"}, None, "gold"),
            ("power:est=2kW", {"qos": "silver"}, None, "silver"),
            ("power:est=2kW,class=interactive", {}, "silver", "silver"),
            ("power:est=2kW,class=interactive,tier=gold", {}, "gold", "gold"),
        ],
    )
    def test_where_the_tier_comes_from(
        self, lab: Lab, comment: str, fields: dict[str, object], qos: str | None, tier: str
    ) -> None:
        reply = told(lab, comment, **fields)
        (claim,) = lab.desk.ledger.claims.values()
        assert (claim.tier, reply.fields.get("qos")) == (tier, qos)

    @pytest.mark.parametrize(
        ("comment", "fields", "words"),
        [
            ("power:est=2kW,tier=gold", {"qos": "bronze"}, "write --qos=gold"),
            ("power:est=2kW,tier=platinum", {}, "gold, silver, bronze"),
            ("power:est=2kW,class=unheard", {}, "interactive"),
            ("power:est=2kW,preemptible=no", {"qos": "bronze"}, "preemptible=no"),
            ("power:est=2kW,notice=1h", {"qos": "silver"}, "more than tier silver gives"),
            ("power:est=7kW,class=interactive", {}, "class interactive allows at most 6kW"),
            ("power:est=2kW,max=7kW,class=interactive", {}, "asked 7kW"),
            ("power:est=2kW,zones=rack77", {}, "there is no rack77"),
            ("power:est=2kW,zones=rack01", {"req_nodes": "n09"}, "leave none"),
            ("power:est=2kW", {"features": "slow"}, "leave none"),
            ("power:est=2kW", {"exc_nodes": "n[01-09]"}, "--exclude leave none"),
            ("power:est=80kW", {}, "short of power"),
            ("power:est=2kW", {"licenses": "pw_rack01:1"}, "licences pw_"),
            ("power:est=2kW", {"licenses": "matlab:1;pw_rack01"}, "licences pw_"),
            ("power:est=2kW", {"tres_per_task": "license/pw_rack01:5"}, "licences pw_"),
            ("power:est=2kW", {"features": "fast&pw_rack01"}, "power:zones="),
            ("power:est=2kW", {"dependency": "expand:77"}, "expand"),
            ("power:est=2kW,max=1kW", {}, "max"),
        ],
    )
    def test_what_is_refused_and_why(
        self, lab: Lab, comment: str, fields: dict[str, object], words: str
    ) -> None:
        reply = told(lab, comment, **fields)
        assert reply.verdict == "reject"
        assert words in reply.message
        assert not reply.fields
        assert not lab.desk.ledger.claims
        assert lab.journal.decisions[-1].action == "reject"

    def test_gold_may_say_that_it_is_not_preemptible(self, lab: Lab) -> None:
        assert told(lab, "power:est=2kW,preemptible=no,tier=gold").verdict == "admit"

    def test_the_classes_limit_caps_a_max_that_was_not_given(self, lab: Lab) -> None:
        told(lab, "power:est=5kW,class=interactive")
        (claim,) = lab.desk.ledger.claims.values()
        assert claim.max_w == 6_000


class TestHeld:
    def test_short_of_watts(self, lab: Lab) -> None:
        told(lab, "power:est=20kW,max=20kW,zones=rack03")
        reply = told(lab, "power:est=5kW,zones=rack03", user_id=1002)
        assert reply.verdict == "hold"
        assert reply.fields["priority"] == 0
        record = find_record(str(reply.fields["admin_comment"]))
        assert record is not None
        assert (record.standing, record.hold) == (Standing.HOLD, "power")
        assert "short" in reply.message
        assert "earliest start: 2027-01-15T09:00:00Z" in reply.message
        assert lab.committed("rack03") == 20_000
        (entry,) = (e for e in lab.desk.book.entries.values() if e.hold is HoldKind.POWER)
        assert lab.journal.holds == {entry.token: HoldKind.POWER}

    @pytest.mark.parametrize(
        ("comment", "fields", "code", "hold"),
        [
            ("power:est=2kW", {"priority": 0}, Code.USER_HOLD, "user"),
            ("power:est=2kW", {"dependency": "afterok:77"}, Code.NOT_ELIGIBLE, "power"),
            ("power:est=2kW", {"begin_time": START + 600}, Code.NOT_ELIGIBLE, "power"),
            ("power:est=2kW,class=overnight", {}, Code.HOURS, "power"),
            ("power:est=2kW", {"het_job_offset": 0}, Code.HET, "power"),
            ("power:est=2kW", {"het_job_offset": 1}, Code.HET, "power"),
            ("power:est=8kW", {"array_inx": "0-9"}, Code.ARRAY, "power"),
            ("power:est=2kW,headroom=21kW,zones=rack03", {}, Code.HEADROOM, "power"),
        ],
    )
    def test_what_cannot_claim_watts_yet(
        self, lab: Lab, comment: str, fields: dict[str, object], code: Code, hold: str
    ) -> None:
        if code is Code.HEADROOM:
            told(lab, "power:est=4kW,zones=rack03")
        reply = told(lab, comment, **fields)
        record = find_record(str(reply.fields["admin_comment"]))
        assert reply.verdict == "hold"
        assert code_of(lab, reply) is code
        assert record is not None
        assert record.hold == hold

    def test_class_hours_tell_when_they_open(self, lab: Lab) -> None:
        reply = told(lab, "power:est=2kW,class=overnight")
        assert "20:00-06:00" in reply.message
        assert "earliest start: 2027-01-15T20:00:00Z" in reply.message

    def test_inside_the_hours_it_runs(self) -> None:
        lab = Lab()
        lab.wait(13 * 3_600)
        assert told(lab, "power:est=2kW,class=overnight").verdict == "admit"

    def test_nodes_that_are_busy_hold_it_too(self, lab: Lab) -> None:
        lab.survey(replace(node, cpus_alloc=32) for node in floor_nodes(lab.site))
        reply = told(lab)
        assert reply.verdict == "hold"
        assert code_of(lab, reply) is Code.NODES

    def test_a_job_that_could_never_be_placed_by_tasks_is_refused(self, lab: Lab) -> None:
        assert told(lab, "power:est=70kW", array_inx="0-1").verdict == "reject"


class TestRumours:
    def test_submissions_that_slurm_has_not_shown_are_capped(self, lab: Lab) -> None:
        assert told(lab, "power:est=20kW,max=20kW,zones=rack01").verdict == "admit"
        assert told(lab, "power:est=20kW,max=20kW,zones=rack02").verdict == "admit"
        third = told(lab, "power:est=2kW,max=2kW,zones=rack03")
        assert third.verdict == "hold"
        assert code_of(lab, third) is Code.RUMOURS

    def test_others_and_a_first_large_one_are_not(self, lab: Lab) -> None:
        told(lab, "power:est=20kW,max=20kW,zones=rack01")
        told(lab, "power:est=20kW,max=20kW,zones=rack02")
        assert told(lab, "power:est=2kW,zones=rack03", user_id=1002).verdict == "admit"

    def test_they_end_with_their_time(self, lab: Lab) -> None:
        told(lab)
        lab.wait(9)
        lab.observe()
        assert lab.committed("rack03") == 5_000
        lab.wait(1)
        lab.observe()
        assert lab.committed("rack03") == 0
        assert not lab.desk.book.entries
        assert not lab.journal.jobs

    def test_who_submits_what_never_comes_has_less_for_ten_minutes(self, lab: Lab) -> None:
        trial = "power:est=20kW,max=20kW,zones=rack01"
        assert [told(lab, trial).verdict, told(lab, "power:est=8kW,zones=rack02").verdict] == ["admit", "admit"]
        lab.wait(10)
        lab.observe()
        held = told(lab, trial)
        assert (held.verdict, code_of(lab, held)) == ("hold", Code.RUMOURS)
        assert "12kW left" in held.message
        assert told(lab, trial, user_id=1002).verdict == "admit"
        lab.wait(600)
        lab.observe()
        assert told(lab, trial).verdict == "admit"

    def test_what_slurm_has_shown_counts_no_longer(self, lab: Lab) -> None:
        reply = told(lab)

        def left_w() -> int | None:
            return lab.desk.book.rumours.left_w(1001, 40_000, lab.clock.monotonic())

        assert left_w() == 35_000
        comment = str(reply.fields["admin_comment"])
        lab.observe(JobRecord(7, JobState.PENDING, 1001, partition="main", priority=1, admin_comment=comment))
        assert left_w() is None
        lab.wait(20)
        lab.observe()
        assert left_w() is None

    @pytest.mark.parametrize("state", [JobState.PENDING, JobState.ENDED])
    def test_what_slurm_shows_late_or_ended_was_no_trial(self, lab: Lab, state: JobState) -> None:
        reply = told(lab, "power:est=20kW,max=20kW,zones=rack01")
        comment = str(reply.fields["admin_comment"])
        record = JobRecord(7, state, 1001, partition="main", priority=1, admin_comment=comment)
        rumours = lab.desk.book.rumours
        if state is JobState.ENDED:  # cancelled before Slurm was read for the first time
            lab.observe(record)
            assert lab.committed("rack01") == 0
        else:
            lab.wait(10)
            lab.observe()
            assert rumours.left_w(1001, 40_000, lab.clock.monotonic()) == 20_000
            lab.observe(record)
        assert rumours.left_w(1001, 40_000, lab.clock.monotonic()) is None

    def test_many_small_trials_count_too(self, lab: Lab) -> None:
        for _ in range(5):
            assert told(lab, "power:est=1W,max=1W,zones=rack01").verdict == "admit"
            lab.wait(10)
            lab.observe()
        assert told(lab, "power:est=1W,max=1W,zones=rack01").verdict == "hold"
        lab.wait(601)
        lab.observe()
        assert told(lab, "power:est=1W,max=1W,zones=rack01").verdict == "admit"


class TestNoneOfOurBusiness:
    def test_nodes_outside_all_zones_are_free(self, lab: Lab) -> None:
        reply = told(lab, partition="outside")
        record = find_record(str(reply.fields["admin_comment"]))
        assert reply.verdict == "admit"
        assert record is not None
        assert record.standing is Standing.FREE
        assert not lab.desk.ledger.claims

    def test_a_scrontab_job_goes_in_marked_since_nobody_could_hold_it(self, lab: Lab) -> None:
        reply = told(lab, cron_job=True, het_job_offset=0)
        record = find_record(str(reply.fields["admin_comment"]))
        assert reply.verdict == "admit"
        assert record is not None
        assert (record.standing, record.hold) == (Standing.FREE, "never")
        assert not lab.desk.book.entries

    def test_a_scrontab_job_is_still_refused_for_rubbish(self, lab: Lab) -> None:
        assert told(lab, "power:est=", cron_job=True).verdict == "reject"


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "message"),
        [("observe", lambda text: text == ""), ("advise", lambda text: "would be" in text)],
    )
    def test_only_enforce_touches_a_job(self, mode: str, message: Callable[[str], bool]) -> None:
        lab = Lab(site_of(mode=mode))
        big, bad = told(lab, "power:est=80kW"), told(lab, "power:est=")
        fits = told(lab)
        assert [reply.verdict for reply in (big, bad, fits)] == ["pass"] * 3
        assert not any(reply.fields for reply in (big, bad, fits))
        assert message(fits.message)
        assert message(bad.message)
        assert not lab.desk.ledger.claims
        actions = [decision.action for decision in lab.journal.decisions]
        assert actions == ["would-reject", "would-reject", "would-admit"]

    def test_what_only_would_have_been_is_forgotten(self) -> None:
        lab = Lab(site_of(mode="observe"))
        told(lab)
        lab.wait(11)
        lab.observe()
        assert not lab.desk.book.entries

    def test_scope_reserved_acts_on_reserved_work_alone(self) -> None:
        lab = Lab(site_of(SITE, enforce="reserved"))
        assert told(lab).verdict == "pass"
        assert told(lab, reservation="acme").verdict == "admit"


class Unwalked(dict[Any, Any]):
    """A dictionary that answers for single keys alone."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("a submission walks over all jobs")

    def keys(self) -> NoReturn:
        raise AssertionError("a submission walks over all jobs")

    values = items = keys


@pytest.mark.parametrize(
    "fields",
    [{}, {"array_inx": "0-3"}, {"priority": 0}, {"min_nodes": 4}, {"qos": "gold"}, {"partition": "outside"}],
)
def test_no_submission_walks_over_all_jobs(lab: Lab, fields: dict[str, object]) -> None:
    """With a hundred thousand of them it would cost more than slurmctld can wait."""
    for number in range(10):
        told(lab, "power:est=1kW", user_id=2_000 + number)
    lab.desk.book.entries = Unwalked(lab.desk.book.entries)
    lab.desk.book.by_job = Unwalked(lab.desk.book.by_job)
    lab.desk.ledger.claims = Unwalked(lab.desk.ledger.claims)
    assert told(lab, "power:est=1kW", **fields).verdict in ("admit", "hold")
