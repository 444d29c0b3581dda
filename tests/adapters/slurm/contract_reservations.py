"""What every `ports.Slurm` has to do about reservations and preemption, over the fake and over a real cluster."""

from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from slurm_power.ports import (
    Cancel,
    Command,
    CreateReservation,
    DeleteReservation,
    JobState,
    Outcome,
    Release,
    Requeue,
    ReservationRecord,
    Resume,
    Signal,
    Suspend,
    Update,
    UpdateReservation,
)
from tests.adapters.slurm.contract import Lab, SlurmContract, until

NAME = "pw_contract"


class ReservingLab(Lab, Protocol):
    """A Slurm that keeps accounts. Its submitter belongs to some of them."""

    @property
    def user(self) -> str:
        """Who submits."""

    @property
    def foreign_account(self) -> str:
        """An account that the submitter does not belong to."""

    def now(self) -> int:
        """The instant."""

    def submit_into(self, reservation: str) -> str:
        """Submit a job that asks for a reservation; what Slurm says against it."""


class ReservationContract(SlurmContract):
    """The suite, that of jobs included."""

    def reserve(self, lab: ReservingLab, count: int, name: str = NAME, **fields: Any) -> CreateReservation:
        given = {"users": (lab.user,), "licenses": {lab.license: count}, "start": lab.now(), **fields}
        return CreateReservation(name=name, **{"end": given["start"] + 7_200, **given})

    def told(self, lab: ReservingLab, *commands: Command) -> str:
        """What is said against the first of the commands that fails."""
        (outcome,) = self.write(lab, commands)
        assert (outcome.unsure, outcome.unreached) == (False, False)
        assert bool(outcome.error) is (outcome.done < len(commands))
        return outcome.error

    def shown(self, lab: ReservingLab, name: str = NAME) -> ReservationRecord:
        (found,) = [record for record in lab.slurm.reservations() if record.name == name]
        return found

    def counted(self, lab: ReservingLab) -> int:
        return next(found.reserved for found in lab.slurm.licenses() if found.name == lab.license)

    def total(self, lab: ReservingLab) -> int:
        return next(found.total for found in lab.slurm.licenses() if found.name == lab.license)

    def start(self, lab: ReservingLab, count: int, **fields: str) -> int:
        """A job of so many licences, let go."""
        job_id = lab.submit()
        update = Update(str(job_id), {"licenses": f"{lab.license}:{count}", **fields})
        assert self.told(lab, update, Release(str(job_id))) == ""
        return job_id

    def runs(self, lab: ReservingLab, job_id: int) -> bool:
        return self.one(lab, job_id).state is JobState.RUNNING

    def waits_for_licences(self, lab: ReservingLab, job_id: int) -> bool:
        return self.one(lab, job_id).reason == "Licenses"

    # -- what is written and read -----------------------------------------------------------------------------------

    def test_without_reservations(self, lab: ReservingLab) -> None:
        assert list(lab.slurm.reservations()) == []

    def test_a_reservation_is_read_as_it_was_written(self, lab: ReservingLab) -> None:
        start = lab.now()
        command = self.reserve(lab, 40, start=start, end=start + 5_000)
        assert self.told(lab, command) == ""
        found = self.shown(lab)
        assert (found.users, found.accounts, found.groups) == ((lab.user,), (), ())
        assert (found.licenses, found.nodes, found.node_count) == ({lab.license: 40}, "", 0)
        assert (found.features, found.partition, "ANY_NODES" in found.flags) == ("", "", True)
        assert found.active
        assert start <= found.start <= start + 5
        assert found.end == start + 5_000
        assert self.counted(lab) == 40
        assert self.told(lab, DeleteReservation(NAME)) == ""
        assert list(lab.slurm.reservations()) == []
        assert self.counted(lab) == 0

    def test_a_window_to_come_is_not_active_and_not_counted_as_reserved_yet(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 40, start=lab.now() + 3_600)) == ""
        assert not self.shown(lab).active
        assert self.counted(lab) == 0

    @pytest.mark.parametrize("name", ["maintenance", "pw_", "PW_x", "pw_a,b", "pw_a b", "pw_ä", "", "pw_a=1"])
    def test_what_is_not_ours_is_neither_written_nor_deleted(self, lab: ReservingLab, name: str) -> None:
        for command in (
            self.reserve(lab, 1, name=name),
            UpdateReservation(name, {lab.license: 1}),
            DeleteReservation(name),
        ):
            assert "not a reservation of ours" in self.told(lab, command)
        assert list(lab.slurm.reservations()) == []

    def test_names_are_taken_once(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 1)) == ""
        assert "Duplicate" in self.told(lab, self.reserve(lab, 2))
        assert self.counted(lab) == 1

    @pytest.mark.parametrize(
        "fields",
        [
            {"users": ("no_such_user",)},
            {"users": (), "accounts": ("no_such_account",)},
            {"users": (), "accounts": ()},
            {"licenses": {"no_such_licence": 1}},
            {"licenses": {}},
            {"end": 1_000_000_000},
        ],
    )
    def test_what_slurm_refuses_to_create_is_not_there(self, lab: ReservingLab, fields: Mapping[str, Any]) -> None:
        assert self.told(lab, self.reserve(lab, 1, **fields))
        assert list(lab.slurm.reservations()) == []

    def test_each_part_is_changed_alone(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 40)) == ""
        before = self.shown(lab)
        assert self.told(lab, UpdateReservation(NAME, {lab.license: 7})) == ""
        assert (self.shown(lab).licenses, self.counted(lab)) == ({lab.license: 7}, 7)
        assert self.told(lab, UpdateReservation(NAME, end=before.end + 600)) == ""
        assert self.shown(lab).end == before.end + 600
        assert self.told(lab, UpdateReservation(NAME, users=(), accounts=(lab.foreign_account,))) == ""
        found = self.shown(lab)
        assert (found.users, found.accounts) == ((), (lab.foreign_account,))
        assert (found.licenses, found.start, self.counted(lab)) == ({lab.license: 7}, before.start, 7)

    def test_an_unknown_reservation_is_an_error(self, lab: ReservingLab) -> None:
        for command in (UpdateReservation("pw_none", {lab.license: 1}), DeleteReservation("pw_none")):
            assert "Requested reservation is invalid" in self.told(lab, command)

    def test_nodes_are_reserved(self, lab: ReservingLab) -> None:
        command = self.reserve(lab, 0, licenses={}, node_count=1, accounts=(lab.foreign_account,), users=())
        assert self.told(lab, command) == ""
        found = self.shown(lab)
        assert (found.node_count, found.licenses, "ANY_NODES" in found.flags) == (1, {}, False)
        assert self.told(lab, DeleteReservation(NAME)) == ""
        assert self.told(lab, self.reserve(lab, 0, licenses={}, nodes=found.nodes)) == ""
        assert self.shown(lab).nodes == found.nodes
        overlapping = self.reserve(lab, 0, licenses={}, nodes=found.nodes, name="pw_other")
        assert "overlaps" in self.told(lab, overlapping)
        outsider = self.start(lab, 1)
        until(lab, lambda: self.runs(lab, outsider))
        assert self.one(lab, outsider).node_list != found.nodes

    def test_of_nodes_there_may_be_fewer_than_asked_for(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 0, licenses={}, node_count=99)) == ""
        assert self.shown(lab).node_count == len(lab.slurm.nodes())

    # -- how licences are counted -----------------------------------------------------------------------------------

    def test_the_sum_is_checked_on_creation_and_not_on_an_update_of_licences(self, lab: ReservingLab) -> None:
        total = self.total(lab)
        assert self.told(lab, self.reserve(lab, total - 10)) == ""
        assert "license" in self.told(lab, self.reserve(lab, 11, name="pw_b")).lower()
        assert self.told(lab, self.reserve(lab, 10, name="pw_b")) == ""
        assert self.told(lab, UpdateReservation("pw_b", {lab.license: 11})) == ""
        assert self.counted(lab) == total + 1
        assert "license" in self.told(lab, self.reserve(lab, 0, name="pw_c")).lower(), "not even nothing, from then on"

    def test_after_a_refused_update_as_much_is_counted_as_before(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 40)) == ""
        for command in (
            UpdateReservation(NAME, users=("no_such_user",)),
            UpdateReservation(NAME, {lab.license: self.total(lab) + 1}),
            UpdateReservation(NAME, {lab.license: 50}, end=1_000_000_000),
        ):
            assert "count for nothing" not in self.told(lab, command) != ""
            assert self.counted(lab) == 40
        assert (self.shown(lab).users, self.shown(lab).licenses) == ((lab.user,), {lab.license: 40})

    def test_its_licences_are_kept_from_others_until_they_are_taken_out(self, lab: ReservingLab) -> None:
        total = self.total(lab)
        assert self.told(lab, self.reserve(lab, total - 10)) == ""
        outsider, insider = self.start(lab, 11), self.start(lab, 11, reservationname=NAME)
        until(lab, lambda: self.runs(lab, insider) and self.waits_for_licences(lab, outsider))
        assert self.one(lab, insider).reservation == NAME
        assert self.told(lab, UpdateReservation(NAME, {lab.license: 1})) == ""
        until(lab, lambda: self.runs(lab, outsider))

    def test_what_runs_inside_counts_twice(self, lab: ReservingLab) -> None:
        half = self.total(lab) // 2
        assert self.told(lab, self.reserve(lab, half)) == ""
        insider = self.start(lab, half, reservationname=NAME)
        until(lab, lambda: self.runs(lab, insider))
        outsider = self.start(lab, half - 1)
        until(lab, lambda: self.waits_for_licences(lab, outsider))
        assert self.told(lab, UpdateReservation(NAME, {lab.license: 1})) == ""
        until(lab, lambda: self.runs(lab, outsider))

    def test_windows_in_sequence_are_kept_both_in_full(self, lab: ReservingLab) -> None:
        half, now = self.total(lab) // 2, lab.now()
        for name, start in ((NAME, now + 600), ("pw_b", now + 1_200)):
            assert self.told(lab, self.reserve(lab, half, name=name, start=start, end=start + 300)) == ""
        outsider = self.start(lab, 2, timelimit="60")
        until(lab, lambda: self.waits_for_licences(lab, outsider))
        short = self.start(lab, 2, timelimit="5")
        until(lab, lambda: self.runs(lab, short))

    # -- who may use it ---------------------------------------------------------------------------------------------

    def test_only_its_owners_get_in(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 1, users=(), accounts=(lab.foreign_account,))) == ""
        held = str(lab.submit())
        assert "Access denied" in lab.submit_into(NAME)
        assert "Access denied" in self.told(lab, Update(held, {"reservationname": NAME}))
        assert "reservation is invalid" in self.told(lab, Update(held, {"reservationname": "pw_none"}))
        assert self.told(lab, UpdateReservation(NAME, users=(lab.user,), accounts=())) == ""
        assert lab.submit_into(NAME) == ""
        assert self.told(lab, Update(held, {"reservationname": NAME})) == ""
        assert self.told(lab, Update(held, {"reservationname": ""})) == ""
        assert self.one(lab, int(held)).reservation == ""

    def test_a_used_one_is_not_deleted(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 5)) == ""
        insider = self.start(lab, 5, reservationname=NAME)
        until(lab, lambda: self.runs(lab, insider))
        assert "in use" in self.told(lab, DeleteReservation(NAME))
        assert self.counted(lab) == 5
        assert self.told(lab, Cancel(str(insider))) == ""
        until(lab, lambda: self.told(lab, DeleteReservation(NAME)) == "")

    def test_a_job_is_moved_out_of_one_that_is_to_be_deleted(self, lab: ReservingLab) -> None:
        assert self.told(lab, self.reserve(lab, 5, start=lab.now() + 3_600)) == ""
        insider = self.start(lab, 5, reservationname=NAME)
        until(lab, lambda: self.one(lab, insider).reason == "Reservation")
        assert "in use" in self.told(lab, DeleteReservation(NAME)), "pending jobs keep it too"
        assert self.told(lab, Update(str(insider), {"reservationname": ""}), DeleteReservation(NAME)) == ""
        until(lab, lambda: self.runs(lab, insider))
        assert self.told(lab, self.reserve(lab, 5), Update(str(insider), {"reservationname": NAME})) == ""
        assert self.one(lab, insider).reservation == NAME, "a running job may be moved in"
        assert "in use" in self.told(lab, DeleteReservation(NAME))

    def test_users_and_accounts_both_have_to_fit_and_to_belong_together(self, lab: ReservingLab) -> None:
        own = next(person.accounts for person in lab.slurm.privileges() if person.user == lab.user)
        assert "account" in self.told(lab, self.reserve(lab, 1, accounts=(lab.foreign_account,)))
        assert self.told(lab, self.reserve(lab, 1, accounts=own[:1])) == ""
        assert self.told(lab, UpdateReservation(NAME, accounts=(lab.foreign_account,)))
        assert self.shown(lab).accounts == own[:1]

    # -- preemption -------------------------------------------------------------------------------------------------

    def test_requeued(self, lab: ReservingLab) -> None:
        job_id = self.start(lab, 3)
        until(lab, lambda: self.runs(lab, job_id))
        assert self.told(lab, Requeue(str(job_id))) == ""
        until(lab, lambda: self.one(lab, job_id).state is JobState.PENDING)
        job = self.one(lab, job_id)
        assert (job.held, job.restarts, job.reason, job.requeue, job.batch) == (False, 1, "BeginTime", True, True)
        assert self.told(lab, Requeue(str(job_id)))

    def test_suspended_it_keeps_its_licences_and_goes_on(self, lab: ReservingLab) -> None:
        job_id = self.start(lab, 3)
        assert self.told(lab, Suspend(str(job_id))), "it does not run yet"
        until(lab, lambda: self.runs(lab, job_id))
        assert self.told(lab, Suspend(str(job_id))) == ""
        job = self.one(lab, job_id)
        assert (job.state, job.priority, self.used(lab)) == (JobState.SUSPENDED, 0, 3)
        assert self.told(lab, Resume(str(job_id))) == ""
        assert self.runs(lab, job_id)
        assert self.told(lab, Resume(str(job_id)))

    def test_cancelled(self, lab: ReservingLab) -> None:
        waits, runs = lab.submit(), self.start(lab, 3)
        until(lab, lambda: self.runs(lab, runs))
        commands = [(Cancel(str(waits)),), (Cancel("4000000"),), (Cancel(str(runs)),), (Cancel("x"),)]
        outcomes = self.write(lab, *commands)
        assert [outcome.done for outcome in outcomes] == [1, 0, 1, 0]
        assert "Invalid job id" in outcomes[1].error
        assert "not a job" in outcomes[3].error
        until(lab, lambda: {self.one(lab, job).state for job in (waits, runs)} == {JobState.ENDED})
        assert "completed" in self.told(lab, Cancel(str(waits)))

    def test_a_signal_reaches_running_jobs_alone(self, lab: ReservingLab) -> None:
        first, second, waits = self.start(lab, 1), self.start(lab, 1), lab.submit()
        until(lab, lambda: self.runs(lab, first) and self.runs(lab, second))
        targets = (str(first), "4000000", str(waits), str(second))
        outcomes = self.write(lab, *((Signal(target, "URG"),) for target in targets))
        assert [outcome.done for outcome in outcomes] == [1, 0, 0, 1]
        assert not any(outcome.unsure for outcome in outcomes)
        assert "not a signal" in self.told(lab, Signal(str(first), "USR1 --user=root"))
        assert self.runs(lab, first)
        assert self.write(lab, (Signal(str(first), "URG"), Cancel(str(first)))) == [Outcome(2)]

    # -- who may do what --------------------------------------------------------------------------------------------

    def test_privileges(self, lab: ReservingLab) -> None:
        people = {person.user: person for person in lab.slurm.privileges()}
        assert list(people) == sorted(people)
        assert people[lab.user].accounts
        assert lab.foreign_account not in people[lab.user].accounts

    def test_preemption(self, lab: ReservingLab) -> None:
        found = lab.slurm.preemption()
        assert (found.mode, found.exempt_s) == ("REQUEUE", 0)
        assert all(qos.grace_s >= 0 for qos in lab.slurm.qos())
