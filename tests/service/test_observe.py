from dataclasses import replace

import pytest

from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.ports import HoldKind, JobRecord, JobState
from slurm_power.service.book import Entry
from slurm_power.service.observe import Observer
from slurm_power.service.submit import submit
from tests.service.support import SITE, START, Lab, floor_nodes, job, site_of

ADMITTED = "power:id=old,v=admit,tier=bronze,zones=rack03/1/5000/6500"


@pytest.fixture
def lab() -> Lab:
    return Lab()


def pending(job_id: int = 1, **fields: object) -> JobRecord:
    given: dict[str, object] = {
        "partition": "main",
        "user": "alice",
        "name": "train",
        "qos": "bronze",
        "comment": "power:est=5kW,max=6500W",
        "priority": 1_000,
        "time_limit_s": 3_600,
        "submit_time": START,
        **fields,
    }
    return JobRecord(job_id, JobState.PENDING, 1001, **given)  # type: ignore[arg-type]


def running(job_id: int = 1, nodes: str = "n07", **fields: object) -> JobRecord:
    return replace(pending(job_id, **fields), state=JobState.RUNNING, node_list=nodes, start_time=START - 60)


def entry(lab: Lab, job_id: int = 1) -> Entry:
    found = lab.desk.book.of_job(job_id)
    assert found is not None
    return found


class TestRunning:
    def test_found_without_the_gate_it_counts_and_is_told(self, lab: Lab) -> None:
        lab.observe(running())
        assert lab.committed("rack03") == 5_000
        assert lab.journal.decisions[-1].action == "found-running"

    def test_past_a_budget_it_counts_too(self, lab: Lab) -> None:
        lab.observe(running(comment="power:est=24kW,max=24kW"))
        assert lab.committed("rack03") == 24_000
        assert lab.desk.ledger.meters["rack03"].headroom_w < 0
        decision = lab.journal.decisions[-1]
        assert decision.action == "found-running-over"
        assert decision.reasons[0]["subject"] == "rack03"

    def test_what_cannot_be_read_counts_by_its_admission_record(self, lab: Lab) -> None:
        lab.observe(running(comment="power:rubbish", admin_comment=ADMITTED))
        assert lab.committed("rack03") == 5_000

    def test_and_without_one_by_its_nodes_part_of_the_zone(self, lab: Lab) -> None:
        lab.observe(running(comment="power:rubbish"))
        assert lab.committed("rack03") == 25_000 // 3

    @pytest.mark.parametrize("state", [JobState.SUSPENDED, JobState.COMPLETING])
    def test_suspended_and_completing_count(self, lab: Lab, state: JobState) -> None:
        lab.observe(replace(running(), state=state))
        assert lab.committed("rack03") == 5_000

    def test_it_counts_until_it_is_gone(self, lab: Lab) -> None:
        lab.observe(running())
        lab.observe(replace(running(), state=JobState.ENDED))
        assert lab.committed("rack03") == 0
        assert not lab.desk.book.entries

    def test_outside_all_zones_it_does_not_count(self, lab: Lab) -> None:
        lab.observe(running(nodes="x1", partition="outside"))
        assert not lab.desk.ledger.claims
        assert entry(lab).state is State.FREE

    def test_starting_past_an_admission_that_was_not_seen_counts(self, lab: Lab) -> None:
        """We were away when it was let start: the gate will not ask us again."""
        lab.observe(replace(running(admin_comment=ADMITTED), state=JobState.CONFIGURING))
        assert lab.committed("rack03") == 5_000

    def test_starting_without_one_is_the_gates_business(self, lab: Lab) -> None:
        lab.observe(replace(running(), state=JobState.CONFIGURING))
        assert lab.committed("rack03") == 0


class TestUnheld:
    def test_an_admission_that_fits_is_believed(self, lab: Lab) -> None:
        lab.observe(pending(admin_comment=ADMITTED))
        assert entry(lab).state is State.ADMITTED
        assert lab.committed("rack03") == 5_000

    def test_one_that_does_not_fit_any_more_goes_back_to_the_queue(self, lab: Lab) -> None:
        lab.observe(running(2, comment="power:est=20kW,max=20kW"), pending(admin_comment=ADMITTED))
        assert (entry(lab).state, entry(lab).hold) == (State.WAITING, HoldKind.POWER)

    def test_one_of_a_zone_that_there_is_no_more(self, lab: Lab) -> None:
        lab.observe(pending(admin_comment=ADMITTED.replace("rack03", "rack77")))
        assert entry(lab).state is State.WAITING

    def test_one_that_was_written_late_moves_the_claim(self, lab: Lab) -> None:
        lab.observe(pending(admin_comment=ADMITTED))
        lab.observe(pending(admin_comment=ADMITTED.replace("rack03", "rack02")))
        assert (lab.committed("rack03"), lab.committed("rack02")) == (0, 5_000)

    def test_the_elder_promise_is_kept_first(self, lab: Lab) -> None:
        younger = pending(1, admin_comment=ADMITTED.replace("5000/6500", "15000/15000"), submit_time=START)
        elder = pending(
            2,
            admin_comment=ADMITTED.replace("old", "elder").replace("5000/6500", "15000/15000"),
            submit_time=START - 60,
        )
        lab.observe(younger, elder)
        assert (entry(lab, 2).state, entry(lab, 1).state) == (State.ADMITTED, State.WAITING)

    def test_a_stray_goes_to_the_queue(self, lab: Lab) -> None:
        lab.observe(pending())
        assert (entry(lab).state, entry(lab).hold) == (State.WAITING, HoldKind.POWER)

    def test_a_requeued_job_goes_back_through_admission(self, lab: Lab) -> None:
        lab.observe(running(admin_comment=ADMITTED))
        lab.observe(pending(admin_comment=ADMITTED, restarts=1, eligible_time=START + 120))
        assert entry(lab).state is State.WAITING
        assert lab.committed("rack03") == 0

    def test_outside_all_zones_it_is_free(self, lab: Lab) -> None:
        lab.observe(pending(partition="outside"))
        assert entry(lab).state is State.FREE


class TestHeld:
    def test_whose_hold_it_is(self, lab: Lab) -> None:
        record = "power:id={},v=hold,hold={}"
        lab.observe(
            pending(1, priority=0),
            pending(2, priority=0, admin_comment=record.format("b", "power")),
            pending(3, priority=0, admin_comment=record.format("c", "user")),
            pending(4, priority=0, admin_comment=record.format("d", "both")),
            pending(5, priority=0, admin_comment=ADMITTED),
        )
        holds = [entry(lab, number).hold for number in range(1, 6)]
        assert holds == [HoldKind.USER, HoldKind.POWER, HoldKind.USER, HoldKind.BOTH, HoldKind.USER]
        states = [entry(lab, number).state for number in range(1, 6)]
        assert states == [State.PARKED, State.WAITING, State.PARKED, State.PARKED, State.PARKED]

    def test_the_database_knows_better_than_the_record(self, lab: Lab) -> None:
        observer = Observer(lab.desk, {"b": HoldKind.BOTH})
        record = pending(2, priority=0, admin_comment="power:id=b,v=hold,hold=power")
        observer.observe([record], lab.clock.monotonic())
        assert entry(lab, 2).hold is HoldKind.BOTH

    def test_but_not_for_ever(self, lab: Lab) -> None:
        """What was held for power at our start and is held by its user later stays held."""
        observer = Observer(lab.desk, {"old": HoldKind.POWER})
        observer.observe([pending(admin_comment=ADMITTED)], lab.clock.monotonic())
        observer.observe([pending(admin_comment=ADMITTED, priority=0)], lab.clock.monotonic())
        assert (entry(lab).state, entry(lab).hold) == (State.PARKED, HoldKind.USER)
        assert lab.committed("rack03") == 0

    def test_an_admitted_job_that_its_user_holds_gives_its_watts_back(self, lab: Lab) -> None:
        lab.observe(pending(admin_comment=ADMITTED))
        lab.observe(pending(admin_comment=ADMITTED, priority=0))
        assert (entry(lab).state, lab.committed("rack03")) == (State.PARKED, 0)

    def test_a_begin_time_that_has_come(self, lab: Lab) -> None:
        reply = submit(lab.desk, job(begin_time=START + 60))
        record = pending(priority=0, admin_comment=str(reply.fields["admin_comment"]))
        lab.observe(record)
        assert entry(lab).state is State.PARKED
        lab.wait(60)
        lab.observe(record)
        assert entry(lab).state is State.WAITING

    def test_class_hours_that_have_come(self, lab: Lab) -> None:
        reply = submit(lab.desk, job("power:est=2kW,class=overnight"))
        record = pending(
            priority=0,
            admin_comment=str(reply.fields["admin_comment"]),
            comment="power:est=2kW,class=overnight",
        )
        lab.observe(record)
        lab.wait(12 * 3_600)
        lab.observe(record)
        assert entry(lab).state is State.WAITING

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("afterok:7(unfulfilled)", ""),
            ("afterok:7(unfulfilled)", "afterok:7(unfulfilled)"),
            ("afterany:6(unfulfilled),afternotok:7_*(unfulfilled)", "afternotok:7_*(unfulfilled)"),
        ],
    )
    def test_a_dependency_that_is_met(self, lab: Lab, before: str, after: str) -> None:
        """Slurm looks at those of held jobs but once a minute: once all that it names have ended, we let it judge."""
        other = JobRecord(7, JobState.PENDING, 1001, partition="main")
        reply = submit(lab.desk, job(dependency="afterok:7"))
        record = pending(priority=0, admin_comment=str(reply.fields["admin_comment"]), dependency=before)
        lab.observe(other, record)
        lab.observe(other, record)
        assert entry(lab).state is State.PARKED
        lab.observe(replace(record, dependency=after))
        lab.observe(replace(record, dependency=after))
        assert entry(lab).state is State.WAITING

    @pytest.mark.parametrize(
        "dependency",
        ["afterok:7(failed)", "singleton", "after:7+5(unfulfilled)", "afterok:8(unfulfilled)?afterok:7"],
    )
    def test_a_dependency_that_only_slurm_can_judge(self, lab: Lab, dependency: str) -> None:
        reply = submit(lab.desk, job(dependency="afterok:7"))
        record = pending(priority=0, admin_comment=str(reply.fields["admin_comment"]), dependency=dependency)
        lab.observe(record)
        lab.observe(record)
        assert entry(lab).state is State.PARKED

    def test_a_dependency_that_slurm_finds_failed_gives_the_watts_back(self, lab: Lab) -> None:
        reply = submit(lab.desk, job("power:est=5kW,zones=rack03"))
        record = pending(
            admin_comment=str(reply.fields["admin_comment"]), comment="power:est=5kW,zones=rack03"
        )
        lab.observe(record)
        assert lab.committed("rack03") == 5_000
        lab.observe(replace(record, dependency="afterok:7(failed)", reason="DependencyNeverSatisfied"))
        assert lab.committed("rack03") == 0

    def test_what_cannot_be_read_is_parked_with_its_verdict_until_its_user_mends_it(self, lab: Lab) -> None:
        record = pending(priority=0, comment="power:est=", admin_comment="power:id=lua-1,v=hold,hold=power")
        lab.observe(record)
        assert entry(lab).state is State.PARKED
        assert entry(lab).verdict is not None
        lab.observe(replace(record, comment="power:est=2kW"))
        assert entry(lab).state is State.WAITING


class TestSnapshots:
    def test_one_older_than_a_hooks_word_changes_nothing(self, lab: Lab) -> None:
        begun = lab.clock.monotonic()
        submit(lab.desk, job())
        lab.wait(60)
        lab.observe(begun=begun)
        assert lab.committed("rack03") == 5_000

    def test_part_of_the_jobs_says_nothing_of_the_rest(self, lab: Lab) -> None:
        lab.observe(running(1), running(2, "n08"))
        lab.observe(running(1), whole=False)
        assert lab.committed("rack03") == 10_000

    def test_vanished_jobs_give_their_watts_back(self, lab: Lab) -> None:
        lab.observe(running(1), running(2, "n08"), pending(3, priority=0))
        lab.observe(running(2, "n08"))
        assert lab.committed("rack03") == 5_000
        assert set(lab.desk.book.by_job) == {2}
        assert not lab.journal.jobs

    def test_nothing_is_kept_of_what_is_gone(self, lab: Lab) -> None:
        for number in range(1, 50):
            lab.observe(
                running(number),
                pending(
                    1_000 + number, array_job_id=1_000 + number, array_tasks="0-3", admin_comment=ADMITTED
                ),
                pending(2_000 + number, het_job_id=2_000 + number, het_offset=0, priority=0),
            )
        lab.observe()
        book = lab.desk.book
        kept = [
            book.entries,
            book.by_job,
            book.arrays,
            book.components,
            book.rumours,
            book._tokens,
            lab.journal.jobs,
        ]
        assert not any(kept)
        assert not any(book._states.values())
        assert not lab.desk.ledger.claims

    def test_one_job_that_cannot_be_taken_in_does_not_stop_the_others(self, lab: Lab) -> None:
        """Text that no version of Slurm writes."""
        lab.observe(running(1, nodes="n0["), running(2, "n08"))
        assert lab.committed("rack03") >= 5_000


class TestArrays:
    REST = pending(array_job_id=1, array_tasks="0-5", array_throttle=2, admin_comment=ADMITTED)

    def task(self, number: int, **fields: object) -> JobRecord:
        return replace(
            self.REST,
            job_id=10 + number,
            array_tasks="",
            array_task_id=number,
            state=JobState.RUNNING,
            node_list="n07",
            start_time=START,
            **fields,  # type: ignore[arg-type]
        )

    def test_the_rest_claims_what_may_start_beside_what_runs(self, lab: Lab) -> None:
        lab.observe(self.REST)
        assert lab.committed("rack03") == 10_000
        lab.observe(self.task(0), replace(self.REST, array_tasks="1-5"))
        assert lab.committed("rack03") == 10_000
        lab.observe(self.task(0), self.task(1), replace(self.REST, array_tasks="2-5"))
        assert lab.committed("rack03") == 10_000
        lab.observe(self.task(1), replace(self.REST, array_tasks="2-5"))
        assert lab.committed("rack03") == 10_000

    def test_a_changed_throttle_is_believed(self, lab: Lab) -> None:
        lab.observe(self.REST)
        lab.observe(replace(self.REST, array_throttle=1))
        assert lab.committed("rack03") == 5_000

    def test_the_last_task_keeps_the_arrays_id(self, lab: Lab) -> None:
        lab.observe(self.REST)
        lab.observe(replace(self.task(5), job_id=1))
        assert lab.committed("rack03") == 5_000
        assert len(lab.desk.book.entries) == 1
        found = lab.desk.book.of_task(1, 5)
        assert found is not None
        assert found.name == "1_5"

    def test_a_requeued_task_goes_back_by_itself(self, lab: Lab) -> None:
        lab.observe(self.task(0), replace(self.REST, array_tasks="1-5"))
        lab.observe(
            replace(self.task(0), state=JobState.PENDING, node_list="", restarts=1),
            replace(self.REST, array_tasks="1-5"),
        )
        task, rest = lab.desk.book.of_task(1, 0), entry(lab)
        assert task is not None
        assert (task.state, rest.state) == (State.WAITING, State.ADMITTED)


class TestModeAndSite:
    def test_enforcing_after_observing_judges_what_has_not_changed(self) -> None:
        lab = Lab(site_of(mode="observe"))
        lab.observe(pending(), running(2))
        assert entry(lab).state is State.FREE
        assert lab.committed("rack03") == 5_000, "what runs counts in every mode"
        lab.desk.mode = Mode.ENFORCE
        lab.observe(pending(), running(2))
        assert entry(lab).state is State.WAITING

    def test_what_the_panic_switch_freed_is_judged_again_when_we_enforce(self, lab: Lab) -> None:
        lab.observe(pending(admin_comment="power:id=a,v=free"))
        assert entry(lab).state is State.WAITING

    def test_out_of_scope_a_users_hold_is_only_his(self) -> None:
        lab = Lab(site_of(enforce="reserved"))
        lab.observe(pending(priority=0))
        assert (entry(lab).state, entry(lab).hold) == (State.FREE, HoldKind.USER)

    def test_a_zone_that_goes_and_nodes_that_move(self, lab: Lab) -> None:
        lab.observe(running(1, "n07"), running(2, "n04"), pending(3, admin_comment=ADMITTED))
        text = "\n".join(
            line.replace('"n[04-06]"', '"n[04-09]"')
            for line in _lines()
            if not line.strip().startswith("rack03")
        )
        lab.desk.change_site(site_of(text))
        assert "rack03" not in lab.desk.ledger.meters
        lab.observe(running(1, "n07"), running(2, "n04"), pending(3, admin_comment=ADMITTED))
        assert lab.committed("rack02") == 10_000
        assert entry(lab, 3).state is State.WAITING

    def test_partitions_that_change_keep_the_claims(self, lab: Lab) -> None:
        lab.observe(running())
        licenses = lab.desk.world.all_licenses
        partitions = [replace(p.record, nodes="n[01-08]") for p in lab.desk.world.partitions.values()]
        lab.desk.survey(floor_nodes(lab.site), partitions, licenses)
        assert lab.committed("rack03") == 5_000


class TestRestart:
    def test_everything_is_rebuilt_from_slurms_records(self, lab: Lab) -> None:
        submit(lab.desk, job())
        reply = submit(lab.desk, job("power:est=2kW", array_inx="0-3", user_id=1002))
        array = pending(
            5,
            array_job_id=5,
            array_tasks="1-3",
            comment="power:est=2kW",
            admin_comment=str(reply.fields["admin_comment"]),
        )
        started = replace(
            array,
            job_id=6,
            array_tasks="",
            array_task_id=0,
            state=JobState.RUNNING,
            node_list="n08",
            start_time=START,
        )
        hold = submit(lab.desk, job("power:est=15kW,zones=rack03", user_id=1003))
        records = [
            running(1, admin_comment=ADMITTED),
            array,
            started,
            pending(
                9,
                priority=0,
                comment="power:est=15kW,zones=rack03",
                admin_comment=str(hold.fields["admin_comment"]),
            ),
        ]
        lab.observe(*records)
        lab.wait(20)
        lab.observe(*records)
        again = Lab()
        again.clock.instant = lab.clock.instant
        Observer(again.desk, lab.journal.holds).observe(records, again.clock.monotonic())
        for name, meter in lab.desk.ledger.meters.items():
            other = again.desk.ledger.meters[name]
            assert (meter.committed_w, meter.burst_w) == (other.committed_w, other.burst_w), name
        states = {e.key: (e.state, e.hold) for e in lab.desk.book.entries.values()}
        assert {e.key: (e.state, e.hold) for e in again.desk.book.entries.values()} == states


def _lines() -> list[str]:
    return SITE.splitlines()
