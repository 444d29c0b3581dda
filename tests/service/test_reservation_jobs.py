"""Jobs within a reservation: of every shape, through their whole life, and what outsiders see of it meanwhile."""

from typing import Any

import pytest

from slurm_power.core.record import find_record
from slurm_power.core.window import format_instant
from slurm_power.ports import JobState
from slurm_power.service.launch import launch
from slurm_power.service.modify import modify
from slurm_power.service.submit import submit
from tests.service.bureau import ALICE, BOB, CAROL, HOUR, ROOT, START, Bureau
from tests.service.support import job

OPS: dict[str, Any] = {"accounts": ["ops"]}
FIVE = "power:est=5kW,max=5kW,reservation=spring"


def used(bureau: Bureau) -> dict[str, int]:
    return bureau.desk.reserved.used_w(bureau.the())


def state_of(bureau: Bureau, job_id: int) -> JobState:
    return bureau.slurm.job(job_id).state


class TestWhoMayUseIt:
    @pytest.mark.parametrize(
        ("uid", "account", "verdict"),
        [(ALICE, "research", "admit"), (BOB, "research", "admit"), (ALICE, "ops", "reject"), (CAROL, "", "reject")],
    )
    @pytest.mark.parametrize("more", [{}, {"array_inx": "0-1"}, {"min_nodes": 2, "num_tasks": 2}])
    def test_by_account(self, bureau: Bureau, uid: int, account: str, verdict: str, more: dict[str, Any]) -> None:
        bureau.open()
        reply = bureau.submit(FIVE, uid, account=account, **more)
        assert reply.verdict == verdict
        assert used(bureau) == ({} if verdict == "reject" else used(bureau))
        if verdict == "reject":
            assert "reservation spring: it is not for user" in reply.message

    def test_account_and_user_both(self, bureau: Bureau) -> None:
        bureau.open(users=["bob"])
        assert bureau.submit(FIVE, BOB).verdict == "admit"
        assert bureau.submit(FIVE, ALICE).verdict == "reject"
        assert bureau.submit(FIVE, BOB, account="ops").verdict == "reject"

    def test_the_default_account_counts(self, bureau: Bureau) -> None:
        bureau.open()
        assert bureau.submit(FIVE, BOB, account=None, default_account="research").verdict == "admit"

    @pytest.mark.parametrize(
        ("comment", "code", "says"),
        [
            ("power:est=5kW,reservation=winter", "reservation", "there is none of that name"),
            ("power:est=15001W,max=15001W,reservation=spring", "reserved_power", "no zone with so much left"),
            ("power:est=5kW,reservation=spring,zones=rack02", "reservation", "its watts are in rack01, where this job"),
        ],
    )
    def test_what_can_never_be_is_refused_at_once(self, bureau: Bureau, comment: str, code: str, says: str) -> None:
        bureau.open()
        shapes: list[dict[str, Any]] = [{}, {"array_inx": "0-3"}]
        for fields in shapes:
            reply = bureau.submit(comment, **fields)
            assert (reply.verdict, says in reply.message) == ("reject", True)
            checked = bureau.ask(ROOT, op="check", job=job(comment, **fields))
            assert (checked["verdict"], checked["reasons"][0]["code"]) == ("reject", code)

    def test_one_that_waits_for_more_than_all_its_zones_together_is_refused(self, bureau: Bureau) -> None:
        bureau.open(zones=["rack01", "rack02"], watts_w=20_000)
        spread = {"min_nodes": 4, "num_tasks": 4, "min_cpus": 4}
        assert bureau.submit("power:est=21kW,max=21kW,reservation=spring", **spread).verdict == "reject"
        assert bureau.submit("power:est=20kW,max=20kW,reservation=spring", **spread).verdict == "admit"
        assert used(bureau) == {"rack01": 10_000, "rack02": 10_000}


class TestByAnyShape:
    def test_an_array_as_many_tasks_as_there_is_room_for(self, bureau: Bureau) -> None:
        bureau.open()
        array = bureau.sbatch(FIVE, array="0-5", minutes=60)
        for _ in range(4):
            bureau.wait(1)
        running = [one for one in bureau.slurm.all_jobs() if one.state is JobState.RUNNING]
        assert len(running) == 3
        assert (used(bureau), bureau.committed()) == ({"rack01": 15_000}, 15_000)
        for one in running:
            bureau.slurm.finish(one.job_id)
        for _ in range(4):
            bureau.wait(1)
        assert {one.state for one in bureau.slurm.all_jobs()} == {JobState.RUNNING, JobState.ENDED}
        assert bureau.committed() == 15_000
        bureau.restart()
        assert (used(bureau), bureau.committed()) == ({"rack01": 15_000}, 15_000)
        assert array.array_job_id is not None

    def test_the_pending_rest_of_an_admitted_array_draws_after_a_restart_too(self, bureau: Bureau) -> None:
        bureau.open()
        for node in ("n01", "n02", "n03"):
            bureau.slurm.set_node(node, up=False)
        bureau.sbatch(FIVE, array="0-2")
        bureau.round()
        for _ in range(2):
            assert (used(bureau), bureau.committed()) == ({"rack01": 15_000}, 15_000)
            bureau.restart()

    def test_a_het_job_all_or_none(self, bureau: Bureau) -> None:
        bureau.open()
        fields = []
        for offset in range(2):
            described = job(FIVE, het_job_offset=offset)
            reply = submit(bureau.desk, described)
            assert reply.verdict == "hold"
            fields.append(
                {"uid": ALICE, "user": "alice", "account": "research", "name": "train", "comment": FIVE}
                | {"cpus": 1, "node_count": 1, "time_limit_s": HOUR, "batch": True, "requeue": True, "held": True}
                | {"admin_comment": str(reply.fields["admin_comment"])}
            )
        parts = bureau.slurm.submit_het(*fields)
        for _ in range(3):
            bureau.wait(1)
        assert {state_of(bureau, part.job_id) for part in parts} == {JobState.RUNNING}
        assert (used(bureau), bureau.committed()) == ({"rack01": 10_000}, 15_000)

    def test_over_several_zones(self, bureau: Bureau) -> None:
        bureau.open(zones=["rack01", "rack02"], watts_w=20_000)
        wide = bureau.sbatch("power:est=16kW,max=16kW,reservation=spring", nodes=4, num_tasks=4, min_cpus=4)
        bureau.wait(1)
        assert state_of(bureau, wide.job_id) is JobState.RUNNING
        assert used(bureau) == {"rack01": 8_000, "rack02": 8_000}
        assert (bureau.committed("rack01"), bureau.committed("rack02")) == (10_000, 10_000)
        bureau.restart()
        assert (bureau.committed("rack01"), bureau.committed("rack02")) == (10_000, 10_000)


class TestThroughItsLife:
    def test_on_nodes_elsewhere_it_counts_where_it_is(self, bureau: Bureau) -> None:
        bureau.open()
        record = bureau.sbatch(FIVE)
        bureau.observer.observe([record], bureau.clock.monotonic())
        env = {"SLURM_JOB_ID": str(record.job_id), "SLURM_JOB_NODELIST": "n04", "SLURM_JOB_UID": str(ALICE)}
        assert launch(bureau.desk, env).verdict == "allow"
        assert (bureau.committed("rack01"), bureau.committed("rack02")) == (15_000, 5_000)

    def test_requeued_it_comes_back_into_it(self, bureau: Bureau) -> None:
        bureau.open()
        record = bureau.sbatch(FIVE)
        bureau.wait(1)
        bureau.slurm.user_requeue(record.job_id)
        for _ in range(4):
            bureau.wait(60)
            assert bureau.committed() == 15_000
        assert state_of(bureau, record.job_id) is JobState.RUNNING
        found = find_record(bureau.slurm.job(record.job_id).admin_comment)
        assert found is not None
        assert found.reservation == bureau.the().key
        assert found.restarts == 1
        assert used(bureau) == {"rack01": 5_000}

    def test_suspended_it_keeps_its_watts(self, bureau: Bureau) -> None:
        bureau.open()
        record = bureau.sbatch(FIVE)
        bureau.wait(1)
        bureau.slurm.suspend(record.job_id)
        for _ in range(2):
            bureau.round()
            assert (used(bureau), bureau.committed()) == ({"rack01": 5_000}, 15_000)
            bureau.restart()

    def test_a_longer_time_limit_is_asked_beside_what_follows_the_reservation(self, bureau: Bureau) -> None:
        bureau.open(length_s=2 * HOUR)
        bureau.create(name="next", start=START + 2 * HOUR, watts_w=16_000, **OPS)
        bureau.create(name="then", start=START + 2 * HOUR, watts_w=8_000)
        record = bureau.sbatch(FIVE)
        bureau.wait(1)
        rec = {"job_id": record.job_id, "user_id": ALICE, "time_limit": 60, "priority": 1}
        assert modify(bureau.desk, ALICE, {"time_limit": 110}, rec).verdict == "allow"
        assert modify(bureau.desk, ALICE, {"time_limit": 150}, rec).verdict == "deny"
        assert (used(bureau), bureau.committed()) == ({"rack01": 5_000}, 15_000)

    def test_with_no_jobs_left_all_is_kept_again(self, bureau: Bureau) -> None:
        bureau.open()
        records = [bureau.sbatch(FIVE) for _ in range(3)]
        bureau.wait(1)
        assert bureau.held() == 0
        for record in records:
            bureau.slurm.finish(record.job_id)
        bureau.wait(1)
        assert (used(bureau), bureau.committed(), bureau.held()) == ({}, 15_000, 15_000)

    def test_outsiders_get_what_is_left_for_everybody_and_no_more(self, bureau: Bureau) -> None:
        bureau.open()
        for _ in range(2):
            assert bureau.submit("power:est=11001W,max=11001W,zones=rack01", CAROL, account="ops").verdict == "hold"
            bureau.sbatch(FIVE)
            bureau.wait(1)
        other = bureau.sbatch("power:est=11kW,max=11kW,zones=rack01", CAROL, account="ops")
        bureau.wait(1)
        assert state_of(bureau, other.job_id) is JobState.RUNNING
        assert bureau.committed() == 26_000


class TestWaiting:
    def test_for_one_that_opens_later_and_as_soon_as_it_does(self, bureau: Bureau) -> None:
        bureau.create(start=START + HOUR)
        record = bureau.sbatch(FIVE)
        assert record.priority == 0
        shown = bureau.ask(ROOT, op="check", job=job(FIVE))
        assert (shown["verdict"], shown["earliest_start"]) == ("hold", "2027-01-15T09:00:00Z")
        bureau.wait(1)
        explained = bureau.ask(ROOT, op="explain", job=str(record.job_id))
        assert "it opens at 2027-01-15T09:00:00Z" in explained["reasons"][0]["text"]
        bureau.clock.instant = START + HOUR
        bureau.slurm.tick(START + HOUR)
        bureau.round()
        assert state_of(bureau, record.job_id) is JobState.RUNNING
        assert bureau.committed() == 15_000

    def test_it_casts_no_shadow_for_what_is_kept_anyway(self, bureau: Bureau) -> None:
        bureau.open()
        bureau.sbatch("power:est=15kW,max=15kW,reservation=spring")
        held = bureau.sbatch("power:est=10kW,max=10kW,reservation=spring")
        bureau.wait(1)
        assert bureau.slurm.job(held.job_id).priority == 0
        assert bureau.desk.shadow.head is None
        # 11 kW are everybody's, for as long as anybody likes.
        assert bureau.submit("power:est=11kW,max=11kW,zones=rack01", CAROL, account="ops").verdict == "admit"

    def test_nor_for_one_that_is_not_open_and_the_next_in_the_queue_does(self, bureau: Bureau) -> None:
        bureau.create(start=START + HOUR)
        bureau.sbatch("power:est=15kW,max=15kW,reservation=spring")
        bureau.sbatch("power:est=20kW,max=20kW,zones=rack01", CAROL, account="ops", minutes=30)
        waits = bureau.sbatch("power:est=20kW,max=20kW,zones=rack01", CAROL, account="ops", minutes=20)
        bureau.wait(1)
        assert bureau.desk.shadow.head is not None
        assert bureau.desk.book.name_of(bureau.desk.shadow.head.id) == str(waits.job_id)


class TestBySlurmsName:
    def test_it_draws_on_it(self, bureau: Bureau) -> None:
        bureau.open()
        record = bureau.sbatch("power:est=5kW", reservation="pw_rack01_research")
        bureau.wait(1)
        assert state_of(bureau, record.job_id) is JobState.RUNNING
        assert (used(bureau), bureau.committed()) == ({"rack01": 5_000}, 15_000)

    def test_of_two_under_one_name_the_one_with_room(self, bureau: Bureau) -> None:
        bureau.open(name="autumn", watts_w=5_000)
        bureau.open(watts_w=9_000)
        named: dict[str, Any] = {"reservation": "pw_rack01_research"}
        first, second = (bureau.sbatch("power:est=5kW,max=5kW", **named) for _ in range(2))
        bureau.wait(1)
        assert {state_of(bureau, one.job_id) for one in (first, second)} == {JobState.RUNNING}
        assert bureau.desk.reserved.used_w(bureau.the("autumn")) == used(bureau) == {"rack01": 5_000}
        assert bureau.submit("power:est=5kW,max=5kW", **named).verdict == "hold"

    def test_anothers_is_refused_and_two_that_differ(self, bureau: Bureau) -> None:
        bureau.open()
        other = bureau.submit("power:est=5kW", CAROL, account="ops", reservation="pw_rack01_research")
        assert other.verdict == "reject"
        reply = bureau.submit("power:est=5kW,reservation=winter", reservation="pw_rack01_research")
        assert "leave one of them out" in reply.message

    def test_a_reservation_of_slurms_own_is_none_of_ours(self, bureau: Bureau) -> None:
        bureau.open()
        assert bureau.submit("power:est=5kW", reservation="maintenance").verdict == "admit"
        assert used(bureau) == {}

    def test_cancelled_while_its_job_is_in_slurms_reservation(self, bureau: Bureau) -> None:
        """Slurm deletes none that jobs are in: it keeps nothing from others, and goes when they have ended."""
        bureau.open()
        record = bureau.sbatch("power:est=5kW", reservation="pw_rack01_research")
        bureau.wait(1)
        bureau.change("cancel", ROOT, name="spring")
        bureau.wait(1)
        assert (bureau.held(), len(bureau.reserved_in_slurm())) == (0, 1)
        written = len(bureau.slurm.written)
        for _ in range(5):
            bureau.round()
        assert len(bureau.slurm.written) == written
        bureau.slurm.finish(record.job_id)
        bureau.wait(31)
        assert bureau.reserved_in_slurm() == {}


class TestCheckLater:
    """`spower check --at`: a job within is judged within, as the reservation will stand then."""

    def at(self, bureau: Bureau, instant: int, comment: str = FIVE, **fields: Any) -> dict[str, Any]:
        return bureau.ask(ROOT, op="check", at=instant, job=job(comment, **fields))

    def test_not_yet_open_open_and_over(self, bureau: Bureau) -> None:
        bureau.create(start=START + HOUR)
        early = self.at(bureau, START + HOUR - 1)
        assert (early["verdict"], early["earliest_start"]) == ("hold", "2027-01-15T09:00:00Z")
        assert self.at(bureau, START + HOUR)["zones"] == ["rack01"]
        assert self.at(bureau, START + 3 * HOUR)["verdict"] == "reject"

    def test_an_outsider_neither_gets_it_nor_gets_into_it(self, bureau: Bureau) -> None:
        bureau.create(start=START + HOUR)
        outsider: dict[str, Any] = {"account": "ops", "user_name": "carol", "user_id": CAROL}
        assert self.at(bureau, START + 2 * HOUR, **outsider)["verdict"] == "reject"
        assert self.at(bureau, START + 2 * HOUR, FIVE, array_inx="0-1", **outsider)["verdict"] == "reject"
        twelve = "power:est=12kW,max=12kW,zones=rack01"
        assert self.at(bureau, START + 2 * HOUR, twelve, **outsider)["verdict"] == "hold"
        assert self.at(bureau, START + 3 * HOUR, twelve, **outsider)["verdict"] == "admit"

    def test_what_its_jobs_will_have_given_back_is_its_own_again(self, bureau: Bureau) -> None:
        bureau.open(length_s=4 * HOUR)
        bureau.sbatch("power:est=12kW,max=12kW,reservation=spring")
        bureau.wait(1)
        bureau.wait(1)
        assert self.at(bureau, START + HOUR - 60)["verdict"] == "hold"
        assert self.at(bureau, START + 2 * HOUR)["verdict"] == "admit"
        outsider: dict[str, Any] = {"account": "ops", "user_name": "carol", "user_id": CAROL}
        twelve = "power:est=12kW,max=12kW,zones=rack01"
        assert self.at(bureau, START + 2 * HOUR, twelve, **outsider)["verdict"] == "hold"


def test_who_holds_a_zone_is_told_by_the_jobs_own_time_limit(bureau: Bureau) -> None:
    """Its claim counts to the end of the reservation, for its watts are kept again when it ends."""
    one = bureau.open()
    bureau.sbatch(FIVE, minutes=10)
    bureau.wait(2)
    rows = [row for row in bureau.ask(ROOT, op="holders")["holders"] if row["kind"] == "job"]
    assert len(rows) == 1
    assert rows[0]["until"] < format_instant(one.terms.window.end)
