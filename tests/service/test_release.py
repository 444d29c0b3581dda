from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.admission import deciding
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.core.record import find_record
from slurm_power.ports import (
    HoldKind,
    JobRecord,
    JobState,
    Outcome,
    Release,
    Update,
    UserHold,
)
from slurm_power.service.book import Entry
from slurm_power.service.launch import launch
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit
from tests.service.cluster import Cluster
from tests.service.spec import Spec
from tests.service.support import START, Lab, floor_nodes, job, site_of


@pytest.fixture
def lab() -> Lab:
    return Lab()


def held(job_id: int, comment: str = "power:est=5kW,zones=rack03", **fields: Any) -> JobRecord:
    """Held for power since before we were there."""
    given: dict[str, Any] = {
        "name": f"train{job_id}",
        "user": "alice",
        "account": "research",
        "partition": "main",
        "qos": "bronze",
        "time_limit_s": 3_600,
        "submit_time": START - 100 + job_id,
        "admin_comment": f"power:id=t{job_id},v=hold,hold=power",
        **fields,
    }
    return JobRecord(job_id, JobState.PENDING, 1001, comment=comment, **given)


def runs(job_id: int, watts: int, node: str = "n07", **fields: Any) -> JobRecord:
    record = held(job_id, f"power:est={watts},max={watts}", **fields)
    return replace(
        record, state=JobState.RUNNING, priority=1_000, node_list=node, start_time=START, admin_comment=""
    )


def plans(lab: Lab, *records: JobRecord) -> list[Plan]:
    if records:
        lab.observe(*records)
    return [plan for plan in run_pass(lab.desk) if plan is not None]


def targets(found: list[Plan]) -> list[tuple[str, str]]:
    return [(plan.action, plan.target) for plan in found]


def entry(lab: Lab, job_id: int) -> Entry:
    found = lab.desk.book.of_job(job_id)
    assert found is not None
    return found


def updated(plan: Plan) -> dict[str, str]:
    (update, *_) = plan.chain
    assert isinstance(update, Update)
    return dict(update.fields)


class TestOneJob:
    def test_it_is_bound_then_released(self, lab: Lab) -> None:
        (plan,) = plans(
            lab,
            held(1, licenses="matlab:2", features="fast", admin_comment="x=1;power:id=t1,v=hold,hold=power"),
        )
        assert plan.chain[1:] == (Release("1"),)
        fields = updated(plan)
        assert fields["Licenses"].startswith("matlab:2,pw_rack03:5000")
        assert fields["Features"] == "fast&pw_rack03"
        assert fields["AdminComment"].startswith("x=1;power:id=t1,v=admit")
        found = find_record(fields["AdminComment"])
        assert found is not None
        assert [(c.zone, c.nodes, c.est_w, c.max_w) for c in found.charges] == [("rack03", 1, 5_000, 6_500)]
        assert entry(lab, 1).state is State.BINDING
        assert lab.committed("rack03") == 5_000

    def test_success_makes_it_admitted(self, lab: Lab) -> None:
        (plan,) = plans(lab, held(1))
        assert lab.journal.holds
        applied(lab.desk, plan, Outcome(2))
        assert (entry(lab, 1).state, entry(lab, 1).hold) == (State.ADMITTED, None)
        assert not lab.journal.holds
        assert plans(lab) == []

    def test_the_qos_of_its_tier_is_asked_for(self, lab: Lab) -> None:
        (plan,) = plans(lab, held(1, "power:est=5kW,tier=gold", qos=""))
        assert updated(plan)["QOS"] == "gold"

    @pytest.mark.parametrize("done", [0, 1])
    def test_a_refusal_puts_it_off(self, lab: Lab, done: int) -> None:
        record = held(1)
        (plan,) = plans(lab, record)
        applied(lab.desk, plan, Outcome(done, "Invalid feature specification"))
        assert entry(lab, 1).state is State.WAITING
        assert "Invalid feature" in entry(lab, 1).note
        assert lab.committed("rack03") == 0
        assert plans(lab, record) == []
        lab.wait(30)
        assert targets(plans(lab, record)) == [("bind", "1")]

    def test_meanwhile_others_have_its_watts(self, lab: Lab) -> None:
        first, second = (
            held(1, "power:est=20kW,max=20kW,zones=rack03"),
            held(2, "power:est=20kW,max=20kW,zones=rack03"),
        )
        (plan,) = plans(lab, first, second)
        applied(lab.desk, plan, Outcome(0, "no"))
        assert targets(plans(lab, first, second)) == [("bind", "2")]

    def test_its_user_mends_it_and_it_is_tried_at_once(self, lab: Lab) -> None:
        (plan,) = plans(lab, held(1))
        applied(lab.desk, plan, Outcome(0, "no"))
        assert targets(plans(lab, held(1, "power:est=4kW,zones=rack03"))) == [("bind", "1")]

    def test_an_unsure_outcome_is_settled_by_the_next_snapshot(self, lab: Lab) -> None:
        record = held(1)
        (plan,) = plans(lab, record)
        applied(lab.desk, plan, Outcome(0, "time-out", unsure=True))
        assert (entry(lab, 1).state, lab.committed("rack03")) == (State.BINDING, 5_000)
        lab.observe(record)
        assert (entry(lab, 1).state, lab.committed("rack03")) == (State.WAITING, 0)

    def test_or_it_turns_out_to_have_been_done(self, lab: Lab) -> None:
        record = held(1)
        (plan,) = plans(lab, record)
        applied(lab.desk, plan, Outcome(0, "time-out", unsure=True))
        lab.observe(replace(record, priority=1_000, admin_comment=updated(plan)["AdminComment"]))
        assert (entry(lab, 1).state, lab.committed("rack03")) == (State.ADMITTED, 5_000)

    def test_what_could_never_run_says_so_once(self, lab: Lab) -> None:
        record = held(1, "power:est=80kW,max=80kW")
        assert plans(lab, record) == []
        assert plans(lab, record) == []
        assert [d.action for d in lab.journal.decisions].count("never") == 1


class TestOrder:
    def test_tier_then_slack_then_age(self, lab: Lab) -> None:
        records = [
            held(1, "power:est=1kW,zones=rack03"),
            held(2, "power:est=1kW,zones=rack03,class=interactive", qos=""),
            held(3, "power:est=1kW,zones=rack03", qos="silver"),
            held(4, "power:est=1kW,zones=rack03,deadline=now+2hours"),
        ]
        assert [plan.target for plan in plans(lab, *records)] == ["2", "3", "4", "1"]

    def test_fair_share_before_age(self, lab: Lab) -> None:
        lab.desk.fair_shares = {("research", "alice"): 0.2, ("research", "bob"): 0.8}
        records = [held(1, "power:est=1kW"), held(2, "power:est=1kW", user="bob")]
        assert [plan.target for plan in plans(lab, *records)] == ["2", "1"]

    def test_a_smaller_job_overtakes_only_if_it_delays_nobody(self, lab: Lab) -> None:
        running = runs(9, 15_000)
        head = held(1, "power:est=20kW,max=20kW,zones=rack03")
        long, short = (
            held(2, "power:est=5kW,max=5kW,zones=rack03", time_limit_s=7_200),
            held(3, "power:est=5kW,max=5kW,zones=rack03", time_limit_s=1_800),
        )
        running = replace(running, end_time=START + 3_600)
        assert [plan.target for plan in plans(lab, running, head, long, short)] == ["3"]
        assert lab.desk.shadow.head is not None
        assert lab.desk.shadow.head.id == "t1"

    def test_new_submissions_respect_the_shadow_too(self, lab: Lab) -> None:
        running = replace(runs(9, 15_000), end_time=START + 3_600)
        plans(lab, running, held(1, "power:est=20kW,max=20kW,zones=rack03"))
        assert submit(lab.desk, job("power:est=5kW,max=5kW,zones=rack03", time_limit=120)).verdict == "hold"
        assert submit(lab.desk, job("power:est=5kW,max=5kW,zones=rack03", time_limit=30)).verdict == "admit"

    def test_the_shadow_goes_with_its_job(self, lab: Lab) -> None:
        running = replace(runs(9, 15_000), end_time=START + 3_600)
        plans(lab, running, held(1, "power:est=20kW,max=20kW,zones=rack03"))
        assert plans(lab, running) == []
        assert lab.desk.shadow.head is None
        assert not list(lab.desk.ledger.bookings())

    def test_many_alike_are_searched_for_once(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []

        def counted(request: Any, *args: Any, **options: Any) -> Any:
            asked.append(request.id)
            return deciding(request, *args, **options)

        monkeypatch.setattr("slurm_power.service.deciding.deciding", counted)
        running = replace(runs(9, 20_000), end_time=START + 3_600)
        waiting = [held(10 + n, "power:est=5kW,max=5kW,zones=rack03", name="same") for n in range(50)]
        assert plans(lab, running, *waiting) == []
        assert len(asked) < 5
        assert all(entry(lab, 10 + n).verdict is not None for n in range(50))


class TestArrays:
    def array(
        self,
        tasks: str = "0-7",
        throttle: int | None = None,
        comment: str = "power:est=6kW,max=6kW,zones=rack03",
    ) -> JobRecord:
        return held(5, comment, array_job_id=5, array_tasks=tasks, array_throttle=throttle)

    def test_range_by_range_as_many_as_fit(self, lab: Lab) -> None:
        record = self.array()
        (plan,) = plans(lab, record)
        assert plan.target == "5_[0,1]"
        assert plan.chain[-1] == Release("5_[0,1]")
        assert lab.committed("rack03") == 12_000
        found = find_record(updated(plan)["AdminComment"])
        assert found is not None
        assert [(c.nodes, c.est_w) for c in found.charges] == [(1, 6_000)]
        assert found.token != "t5"

    def test_the_rest_goes_on_waiting(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.array())
        applied(lab.desk, plan, Outcome(2))
        comment = updated(plan)["AdminComment"]
        task = replace(self.array(), array_tasks="", priority=1_000, admin_comment=comment)
        tasks = [replace(task, job_id=20 + n, array_task_id=n) for n in range(2)]
        found = plans(lab, *tasks, self.array("2-7"))
        assert [plan.target for plan in found] == ["5_[2]"]
        assert lab.committed("rack03") == 18_000

    def test_the_throttle_bounds_what_is_bound(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.array("0-9", 3, "power:est=1kW,max=1kW,zones=rack03"))
        assert plan.target == "5_[0,1,2]"

    def test_no_task_more_while_the_throttle_is_full(self, lab: Lab) -> None:
        running = runs(7, 1_000, array_job_id=5, array_task_id=0)
        assert plans(lab, running, self.array("1-9", 1, "power:est=1kW")) == []
        assert lab.desk.shadow.head is None

    def test_a_task_held_by_itself_respects_it_too(self, lab: Lab) -> None:
        running = runs(7, 1_000, array_job_id=5, array_task_id=0)
        task = held(8, "power:est=1kW", array_job_id=5, array_task_id=1, array_throttle=1)
        assert plans(lab, running, task) == []

    def test_what_is_left_is_bound_as_one(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.array("6-7"))
        assert plan.target == "5_[6-7]"
        assert plan.keys == ("t5",)
        assert lab.committed("rack03") == 12_000

    def test_a_refused_range_leaves_nothing_behind(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.array())
        applied(lab.desk, plan, Outcome(0, "Invalid license specification"))
        assert set(lab.desk.book.entries) == {"t5"}
        assert lab.committed("rack03") == 0
        assert plans(lab, self.array()) == []
        lab.wait(30)
        assert len(plans(lab, self.array())) == 1


class TestComponents:
    def part(
        self, offset: int, comment: str = "power:est=5kW,max=5kW,zones=rack03", **fields: Any
    ) -> JobRecord:
        return held(5 + offset, comment, het_job_id=5, het_offset=offset, **fields)

    def test_all_are_bound_and_the_leader_released(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.part(0), self.part(1))
        assert [command.target for command in plan.chain] == ["5+0", "5+1", "5"]
        assert isinstance(plan.chain[-1], Release)
        assert lab.committed("rack03") == 10_000
        applied(lab.desk, plan, Outcome(3))
        assert [entry(lab, number).state for number in (5, 6)] == [State.ADMITTED, State.ADMITTED]

    def test_the_leader_carries_the_licences_of_all(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.part(0), self.part(1, licenses="matlab:1"))
        leader, second, _ = plan.chain
        assert isinstance(leader, Update)
        assert isinstance(second, Update)
        assert leader.fields["Licenses"].startswith("pw_rack03:10000")
        assert second.fields["Licenses"] == "matlab:1"

    def test_all_or_none(self, lab: Lab) -> None:
        assert plans(lab, self.part(0), self.part(1, "power:est=22kW,max=22kW,zones=rack03")) == []
        assert not lab.desk.ledger.claims

    def test_one_that_is_not_ready_keeps_the_others(self, lab: Lab) -> None:
        user = self.part(1, admin_comment="power:id=t6,v=hold,hold=both")
        assert plans(lab, self.part(0), user) == []

    def test_a_refusal_unbinds_all(self, lab: Lab) -> None:
        (plan,) = plans(lab, self.part(0), self.part(1))
        applied(lab.desk, plan, Outcome(1, "no"))
        assert not lab.desk.ledger.claims


class TestHeldAgain:
    def test_a_stray_is_held_first(self, lab: Lab) -> None:
        (plan,) = plans(lab, held(1, priority=1_000, admin_comment="", licenses="pw_rack03:1,matlab:1"))
        assert plan.chain[0] == UserHold("1")
        second = plan.chain[1]
        assert isinstance(second, Update)
        record = "power:id=job1,v=hold,hold=power"
        assert second.fields == {"AdminComment": record, "Licenses": "matlab:1", "Features": ""}
        assert lab.journal.holds == {"job1": HoldKind.POWER}, "known before it is done"

    def test_what_was_denied_is_held_once_slurm_has_requeued_it(self, lab: Lab) -> None:
        record = held(1, priority=1_000, admin_comment="power:id=t1,v=admit,zones=rack03/1/5000/6500")
        lab.observe(record)
        found = entry(lab, 1)
        env = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n01", "SLURM_JOB_RESTART_COUNT": "0"}
        lab.observe(record, runs(2, 24_000, "n01", qos="gold"))
        assert launch(lab.desk, env).verdict == "deny"
        assert found.state is State.DENIED
        again = replace(record, restarts=1, reason="BeginTime", eligible_time=START + 120)
        assert targets(plans(lab, again, runs(2, 24_000, "n01", qos="gold"))) == [("hold", "1")]

    def test_what_does_not_start_in_time_is_held_and_keeps_its_claim_till_then(self, lab: Lab) -> None:
        record = held(
            1,
            priority=1_000,
            reason="Resources",
            admin_comment="power:id=t1,v=admit,zones=rack03/1/5000/6500",
        )
        lab.observe(record)
        assert plans(lab) == []
        lab.wait(300)
        (plan,) = plans(lab, record)
        assert plan.chain[0] == UserHold("1")
        assert lab.committed("rack03") == 5_000
        applied(lab.desk, plan, Outcome(2))
        after = replace(record, priority=0, admin_comment="power:id=t1,v=hold,hold=power")
        lab.observe(after)
        assert (entry(lab, 1).state, lab.committed("rack03")) == (State.WAITING, 0)

    @pytest.mark.parametrize("reason", ["Dependency", "Prolog"])
    def test_unless_it_starts_or_may_not_yet(self, lab: Lab, reason: str) -> None:
        record = held(
            1, priority=1_000, reason=reason, admin_comment="power:id=t1,v=admit,zones=rack03/1/5000/6500"
        )
        lab.observe(record)
        lab.wait(400)
        assert plans(lab, record) == []

    def test_a_begin_time_that_is_always_near_does_not_keep_its_watts(self, lab: Lab) -> None:
        admitted = "power:id=t1,v=admit,zones=rack03/1/5000/6500"
        record = held(1, priority=1_000, reason="BeginTime", admin_comment=admitted)
        lab.observe(record)
        found = []
        for _ in range(4):
            lab.wait(200)
            found += plans(lab, replace(record, eligible_time=lab.clock.instant + 250))
        assert ("hold", "1") in targets(found)

    def test_a_user_who_holds_it_meanwhile_is_heard(self, lab: Lab) -> None:
        record = held(
            1,
            priority=1_000,
            reason="Resources",
            admin_comment="power:id=t1,v=admit,zones=rack03/1/5000/6500",
        )
        lab.observe(record)
        lab.wait(400)
        entry(lab, 1).hold = HoldKind.USER
        assert plans(lab) == []


class TestFreed:
    def test_the_panic_switch_takes_off_our_holds_only(self, lab: Lab) -> None:
        records = [
            held(1),
            held(2, admin_comment="power:id=t2,v=hold,hold=user"),
            held(3, admin_comment="power:id=t3,v=hold,hold=both"),
            held(4, admin_comment=""),
            runs(9, 20_000),
        ]
        lab.observe(*records)
        lab.desk.mode = Mode.OBSERVE
        found = {plan.target: plan for plan in plans(lab)}
        assert sorted(found) == ["1", "3"]
        assert found["1"].chain[-1] == Release("1")
        assert found["3"].chain[-1] == UserHold("3")
        assert updated(found["1"])["AdminComment"] == "power:id=t1,v=free"
        for plan in found.values():
            applied(lab.desk, plan, Outcome(2))
        assert (entry(lab, 1).hold, entry(lab, 3).hold) == (None, HoldKind.USER)
        assert plans(lab) == []
        assert lab.committed("rack03") == 20_000

    def test_switched_on_again_meanwhile_it_takes_off_no_more(self, lab: Lab) -> None:
        lab.observe(held(1), held(2), held(3))
        lab.desk.mode = Mode.OBSERVE
        steps = run_pass(lab.desk)
        assert next(plan.action for plan in steps if plan is not None) == "free"
        lab.desk.mode = Mode.ENFORCE
        assert "free" not in [plan.action for plan in steps if plan is not None]

    def test_what_failed_is_tried_again_after_a_restart_too(self) -> None:
        lab = Lab(site_of(mode="observe"))
        assert targets(plans(lab, held(1))) == [("free", "1")]
        assert targets(plans(lab, held(1))) == [("free", "1")]

    def test_a_het_job_goes_as_a_whole(self, lab: Lab) -> None:
        records = [held(5 + n, het_job_id=5, het_offset=n) for n in range(2)]
        lab.observe(*records)
        lab.desk.mode = Mode.OBSERVE
        (plan,) = plans(lab)
        assert [command.target for command in plan.chain] == ["5+0", "5+1", "5"]

    def test_its_users_hold_of_one_component_stays(self, lab: Lab) -> None:
        records = [held(5, het_job_id=5, het_offset=0), held(6, het_job_id=5, het_offset=1)]
        records[1] = replace(records[1], admin_comment="power:id=t6,v=hold,hold=both")
        lab.observe(*records)
        lab.desk.mode = Mode.OBSERVE
        (plan,) = plans(lab)
        assert plan.chain[-1] == UserHold("5")

    def test_a_job_outside_all_zones_that_the_hook_alone_has_held(self, lab: Lab) -> None:
        record = held(1, "", partition="outside", admin_comment="power:id=lua-1,v=hold,hold=power")
        assert targets(plans(lab, record)) == [("free", "1")]

    def test_what_slurm_would_not_let_go_is_not_asked_for_each_round(self, lab: Lab) -> None:
        record = held(1, "", partition="outside", admin_comment="power:id=lua-1,v=hold,hold=power")
        (plan,) = plans(lab, record)
        applied(lab.desk, plan, Outcome(0, "Requested partition configuration not available now"))
        assert plans(lab, record) == []
        lab.wait(30)
        assert targets(plans(lab, record)) == [("free", "1")]

    def test_but_the_panic_switch_asks_for_all(self, lab: Lab) -> None:
        record = held(1, "", partition="outside", admin_comment="power:id=lua-1,v=hold,hold=power")
        (plan,) = plans(lab, record)
        applied(lab.desk, plan, Outcome(0, "no"))
        lab.desk.mode = Mode.OBSERVE
        assert targets(plans(lab, record)) == [("free", "1")]

    def test_out_of_scope_too(self) -> None:
        lab = Lab(site_of(enforce="reserved"))
        assert targets(plans(lab, held(1))) == [("free", "1")]


class TestOnACluster:
    def test_a_node_that_stays_down_does_not_strand_a_job(self) -> None:
        """Placed, not started, held, placed anew elsewhere."""
        cluster = Cluster()
        cluster.slurm.set_node("n01", up=True)
        job_id = cluster.submit(
            Spec(comment="power:est=5kW", qos="gold", nodes=3, exclusive=True, max_w=6_500)
        )
        assert job_id is not None
        cluster.slurm.set_node("n01", up=False)
        for _ in range(12):
            cluster.advance(60)
            cluster.round()
            cluster.check()
        cluster.advance(10)
        assert cluster.slurm.job(job_id).node_list == "n[04-06]"

    def test_no_job_is_lost_when_the_daemon_is_away_at_its_submission(self) -> None:
        cluster = Cluster()
        cluster.crash()
        assert cluster.submit(Spec()) is not None
        assert cluster.submit(Spec(partition="outside", comment="")) is not None
        cluster.advance(30)
        assert not cluster.running()
        cluster.drain_after_revival()

    def test_licences_and_the_gate_alone_keep_the_budgets(self) -> None:
        cluster = Cluster()
        for number in range(8):
            cluster.submit(
                Spec(est_w=6_000, max_w=6_000, comment="power:est=6kW,max=6kW", name=f"job{number}")
            )
        cluster.crash()
        for _ in range(20):
            cluster.advance(60)
            cluster.check_budgets()
        assert cluster.slurm.used()
        cluster.drain_after_revival()


def test_all_nodes_down_admits_nothing(lab: Lab) -> None:
    lab.survey(replace(node, up=False) for node in floor_nodes(lab.site))
    assert plans(lab, held(1)) == []
