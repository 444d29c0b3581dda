"""How a fake Slurm works inside: jobs, arrays, nodes, licences, commands. `tests.fakes.slurm` gives it its face."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slurm_power.ports import (
    Cancel,
    Command,
    CreateReservation,
    DeleteReservation,
    Hold,
    JobCommand,
    JobRecord,
    JobState,
    LicenseRecord,
    NodeRecord,
    PartitionRecord,
    PrivilegeRecord,
    Release,
    Requeue,
    RequeueHold,
    ReservationRecord,
    Resume,
    Signal,
    Suspend,
    Update,
    UpdateReservation,
    UserHold,
)
from tests.fakes import slurm_placing as placing
from tests.fakes.slurm_reservations import Reservations
from tests.fakes.slurm_targets import Refusal, Target, fold_tasks, parse_licences, parse_target, parse_tasks

BUSY = (JobState.CONFIGURING, JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING)
REQUEUE_DELAY_S = 121
_HELD = ("JobHeldUser", "JobHeldAdmin", "job requeued in held state")
_TEXT_FIELDS = {
    "admincomment": "admin_comment",
    "comment": "comment",
    "dependency": "dependency",
    "jobname": "name",
}
_PENDING_FIELDS = {
    "features": "features",
    "excnodelist": "excluded_nodes",
    "nodelist": "required_nodes",
    "reqnodelist": "required_nodes",
    "qos": "qos",
    "partition": "partition",
    "account": "account",
}


@dataclass
class Ending:
    """What happens to a job when it has left COMPLETING."""

    at: int
    requeue: bool = False
    held: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What a read shows."""

    jobs: tuple[JobRecord, ...]
    nodes: tuple[NodeRecord, ...]
    licenses: tuple[LicenseRecord, ...]
    reservations: tuple[ReservationRecord, ...]


class Engine:
    """Jobs on nodes, under licences. Time stands where `now` says; nothing starts unless `schedule` is called."""

    def __init__(
        self,
        nodes: Sequence[NodeRecord],
        licenses: Mapping[str, int],
        partitions: Sequence[PartitionRecord],
        people: Sequence[PrivilegeRecord],
        now: int,
    ) -> None:
        whole = PartitionRecord("main", placing.fold(node.name for node in nodes), default=True)
        self.now = now
        self.completing_s = 0
        self.prolog: Callable[[JobRecord], bool] | None = None
        self.epilog: Callable[[JobRecord], None] | None = None
        self._partitions = {p.name: p for p in (partitions or [whole])}
        self._members = {p.name: placing.expand(p.nodes) for p in self._partitions.values()}
        self._nodes = {node.name: replace(node, partitions=self._in(node.name)) for node in nodes}
        self._totals = dict(licenses)
        self._reserved: dict[str, int] = {}
        self._reservations = Reservations(self._totals, {person.user: person for person in people})
        self.signals: list[Signal] = []
        self._jobs: dict[int, JobRecord] = {}
        self._runs_s: dict[int, int | None] = {}
        self._begin: dict[int, int] = {}
        self._endings: dict[int, Ending] = {}
        self._cron: set[int] = set()
        """Jobs of scrontab, which nobody may update, hold or release."""
        self._preferences: dict[int, str] = {}
        """By job id: features whose nodes are taken in place of those that the job's own features name."""
        self._next_id = 1

    def schedule(self) -> None:
        """Start whatever can start now, by priority, then by id. What a job waited for is forgotten once it is met."""
        for job_id in list(self._jobs):
            self._refresh(job_id)
        for job in sorted(self._jobs.values(), key=lambda job: (-job.priority, job.job_id)):
            if job.state is JobState.PENDING and job.job_id in self._jobs:
                self._try_start(job.job_id)

    def used(self) -> dict[str, int]:
        """Licences in use, by name, of jobs that have started and not left COMPLETING."""
        used = dict.fromkeys(self._totals, 0)
        for job in self._jobs.values():
            if job.state in BUSY:
                for name, count in parse_licences(job.licenses).items():
                    used[name] = used.get(name, 0) + count
        return used

    def job(self, job_id: int) -> JobRecord:
        """The job as it truly is now, past all faults. KeyError when it is forgotten."""
        return self._jobs[job_id]

    def all_jobs(self) -> list[JobRecord]:
        """All jobs as they truly are now."""
        return sorted(self._jobs.values(), key=lambda job: job.job_id)

    def _in(self, node: str) -> tuple[str, ...]:
        return tuple(name for name, members in self._members.items() if node in members)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _put(self, job: JobRecord) -> None:
        self._jobs[job.job_id] = job

    def _snapshot(self) -> Snapshot:
        used, reserved = self.used(), self._reservations.reserved()
        busy = dict(self._nodes)
        for job in self._jobs.values():
            if job.state in BUSY:
                for name in placing.expand(job.node_list):
                    busy[name] = placing.take(busy[name], placing.share_of(job))
        return Snapshot(
            tuple(self.all_jobs()),
            tuple(busy[name] for name in sorted(busy)),
            tuple(
                LicenseRecord(name, total, used.get(name, 0), self._reserved.get(name, 0) + reserved.get(name, 0))
                for name, total in sorted(self._totals.items())
            ),
            tuple(self._reservations.records.values()),
        )

    def _apply(self, command: Command) -> None:
        match command:
            case CreateReservation():
                up = [name for name, node in self._nodes.items() if node.up]
                self._reservations.create(command, up, self.now)
            case UpdateReservation():
                self._reservations.update(command, self.now)
            case DeleteReservation():
                self._reservations.delete(command.name, self._unended())
            case _:
                for job in self._resolve(command.target):
                    self._apply_to(job, command)

    def _busy(self) -> list[JobRecord]:
        return [job for job in self._jobs.values() if job.state in BUSY]

    def _unended(self) -> list[JobRecord]:
        return [job for job in self._jobs.values() if job.state is not JobState.ENDED]

    def _forget_reservation(self, name: str) -> None:
        """Pending jobs of a reservation that is over are held."""
        for job in self._unended():
            if job.reservation == name:
                self._put(replace(job, reservation="", priority=0, reason=f"Reservation {name} was deleted"))
                self._refresh(job.job_id)

    def _apply_to(self, job: JobRecord, command: JobCommand) -> None:
        """Carry a command out on one record."""
        if job.job_id in self._cron:
            raise Refusal(f"Unable to modify a scrontab job for job {command.target}")
        if job.state is JobState.ENDED and not isinstance(command, Update):
            raise Refusal(f"Job/step already completing or completed for job {command.target}")
        match command:
            case Update():
                self._update(job, command)
            case Hold() | UserHold():
                reason = "JobHeldAdmin" if isinstance(command, Hold) else "JobHeldUser"
                pending = job.state is JobState.PENDING
                self._put(replace(job, priority=0, reason=reason if pending else job.reason))
            case Release():
                reason = "" if job.reason in _HELD else job.reason
                self._put(replace(job, priority=job.priority or 1_000, reason=reason))
            case Requeue() | RequeueHold():
                self._requeue(job, held=isinstance(command, RequeueHold))
            case Suspend():
                if job.state is not JobState.RUNNING:
                    raise Refusal(f"Job is pending execution for job {command.target}")
                self._put(replace(job, state=JobState.SUSPENDED, priority=0))
            case Resume():
                if job.state is not JobState.SUSPENDED:
                    raise Refusal(f"Job is pending execution for job {command.target}")
                self._put(replace(job, state=JobState.RUNNING, priority=1_000))
            case Signal():
                self._signal(job, command)
            case Cancel():
                self._cancel(job)
        self._refresh(job.job_id)

    def _signal(self, job: JobRecord, command: Signal) -> None:
        if job.state is not JobState.RUNNING:
            raise Refusal("no signal sent: it does not run, or not as a batch job")
        self.signals.append(command)

    def _cancel(self, job: JobRecord) -> None:
        if job.state is JobState.PENDING:
            over = replace(job, state=JobState.ENDED, array_tasks="", result="CANCELLED")
            self._put(replace(over, start_time=self.now, end_time=self.now))
        else:
            self._end(job, Ending(self.now + self.completing_s))

    def _update(self, job: JobRecord, command: Update) -> None:
        for key, value in command.fields.items():
            self._put(self._changed(self._jobs[job.job_id], key.lower(), value, command.target))

    def _changed(self, job: JobRecord, key: str, value: str, target: str) -> JobRecord:
        if job.state is JobState.ENDED and key not in _TEXT_FIELDS:
            raise Refusal(f"Job/step already completing or completed for job {target}")
        if key in _TEXT_FIELDS:
            return replace(job, **_one(_TEXT_FIELDS[key], value))
        if key == "licenses":
            asked = parse_licences(value)
            if any(count > self._totals.get(name, -1) for name, count in asked.items()):
                raise Refusal(f"Invalid license specification for job {target}")
            return replace(job, licenses=value)
        if key == "reservationname":
            if value:
                self._reservations.check_access(value, job.user, job.account, f" for job {target}")
            return replace(job, reservation=value)
        if key == "prefer":
            self._preferences[job.job_id] = value
            return job
        if key == "timelimit":
            return replace(job, time_limit_s=int(value) * 60)
        if key != "numnodes" and key not in _PENDING_FIELDS:
            raise Refusal(f"Update of this parameter is not supported: {key}={value}; Request aborted")
        if job.state is not JobState.PENDING:
            raise Refusal(f"Job is no longer pending execution for job {target}")
        if key == "numnodes":
            return replace(job, node_count=int(value.partition("-")[0]))
        known = {feature for node in self._nodes.values() for feature in node.features}
        if key == "features" and not placing.names_in(value) <= known:
            raise Refusal(f"Invalid feature specification for job {target}")
        return replace(job, **_one(_PENDING_FIELDS[key], value))

    def _resolve(self, text: str) -> list[JobRecord]:
        """The records that a target names; tasks named out of a pending array are split off first. Raises Refusal."""
        target = parse_target(text)
        if target.tasks is not None:
            return self._split(target)
        jobs = self._jobs.values()
        if target.offset is not None:
            found = [j for j in jobs if (j.het_job_id, j.het_offset) == (target.job_id, target.offset)]
        else:
            found = [j for j in jobs if target.job_id in (j.job_id, j.array_job_id, j.het_job_id)]
        if not found:
            raise Refusal(f"Invalid job id specified for job {text}")
        return found

    def _split(self, target: Target) -> list[JobRecord]:
        assert target.tasks is not None
        whole = next((j for j in self._jobs.values() if j.array_tasks and j.array_job_id == target.job_id), None)
        waiting = parse_tasks(whole.array_tasks) if whole is not None else []
        named = [j for j in self._jobs.values() if j.array_job_id == target.job_id and j.array_task_id in target.tasks]
        split = [task for task in waiting if task in target.tasks]
        if not named and not split:
            raise Refusal(f"{target.text}: Invalid job id specified")
        if whole is not None and len(split) == len(waiting):
            return [*named, whole]  # Slurm does not split what is the whole record
        return [*named, *(self._split_off(target.job_id, task) for task in split)]

    def _split_off(self, array: int, task: int) -> JobRecord:
        """One task as a record of its own; the last one keeps the array's id, as in Slurm."""
        whole = next(j for j in self._jobs.values() if j.array_tasks and j.array_job_id == array)
        rest = [other for other in parse_tasks(whole.array_tasks) if other != task]
        job_id = self._take_id() if rest else whole.job_id
        part = replace(whole, job_id=job_id, array_task_id=task, array_tasks="")
        self._runs_s[job_id], self._begin[job_id] = self._runs_s[whole.job_id], self._begin[whole.job_id]
        self._preferences[job_id] = self._preferences.get(whole.job_id, "")
        if rest:
            self._put(replace(whole, array_tasks=fold_tasks(rest)))
        self._put(part)
        return part

    def _refresh(self, job_id: int) -> JobRecord:
        """Bring a pending job's eligible time up to date."""
        job = self._jobs[job_id]
        if job.state is JobState.PENDING:
            begin = self._begin.get(job_id, 0)
            met = self._met(job)
            eligible = None if job.priority == 0 or not met else max(job.eligible_time or self.now, begin)
            self._put(replace(job, eligible_time=eligible, dependency="" if met else job.dependency))
        return self._jobs[job_id]

    def _met(self, job: JobRecord) -> bool:
        awaited = [int(word) for word in job.dependency.replace("(", ":").split(":") if word.isdigit()]
        return all(j not in self._jobs or self._jobs[j].state is JobState.ENDED for j in awaited)

    def _running(self, job_id: int) -> JobRecord:
        job = self._jobs[job_id]
        assert job.state is JobState.RUNNING, f"job {job_id} does not run"
        return job

    def _try_start(self, job_id: int) -> None:
        job = self._refresh(job_id)
        together = self._together(job)
        blocked = next((reason for part in together if (reason := self._blocked(part)) is not None), None)
        if blocked is not None:
            if job.priority:
                self._put(replace(job, reason=blocked))
            return
        placed = self._place_all(together)
        if isinstance(placed, str):
            self._put(replace(job, reason=placed))
            return
        if job.array_tasks:
            job = self._split_off(job.array_job_id or job.job_id, parse_tasks(job.array_tasks)[0])
            placed = {job.job_id: next(iter(placed.values()))}
            together = [job]
        self._start([(part, placed[part.job_id]) for part in together])
        if job.array_job_id in self._jobs and self._jobs[job.array_job_id].array_tasks:
            self._try_start(job.array_job_id)

    def _together(self, job: JobRecord) -> list[JobRecord]:
        if job.het_job_id is None:
            return [job]
        return [self._refresh(j.job_id) for j in self.all_jobs() if j.het_job_id == job.het_job_id]

    def _blocked(self, job: JobRecord) -> str | None:
        """Why a job may not start whatever is free; None if it may."""
        if job.state is not JobState.PENDING or job.priority == 0:
            return job.reason or "JobHeldUser"
        if not self._met(job):
            return "Dependency"
        if job.eligible_time is None or job.eligible_time > self.now:
            return "BeginTime"
        if job.reservation and not self._reservations.records[job.reservation].active:
            return "Reservation"
        running = sum(j.array_job_id == job.array_job_id and j.state in BUSY for j in self._jobs.values())
        if job.array_job_id is not None and job.array_throttle is not None and running >= job.array_throttle:
            return "JobArrayTaskLimit"
        return None

    def _place_all(self, jobs: Sequence[JobRecord]) -> dict[int, list[str]] | str:
        """Nodes for each, or the reason why not."""
        used, free = self.used(), {node.name: node for node in self._snapshot().nodes}
        placed: dict[int, list[str]] = {}
        for job in jobs:
            kept = self._reservations.kept_from(job, self.now)
            for name, count in parse_licences(job.licenses).items():
                spoken_for = used.get(name, 0) + self._reserved.get(name, 0) + kept.get(name, 0)
                if spoken_for + count > self._totals.get(name, 0):
                    return "Licenses"
                used[name] += count
            chosen = self._place_one(job, free)
            if chosen is None:
                return "Resources"
            free.update({name: placing.take(free[name], placing.share_of(job)) for name in chosen})
            placed[job.job_id] = chosen
        return placed

    def _place_one(self, job: JobRecord, free: Mapping[str, NodeRecord]) -> list[str] | None:
        """Nodes that it prefers, else others, of those that it may have."""
        inside = self._reservations.records.get(job.reservation)
        own = placing.expand(inside.nodes if inside is not None else "")
        barred = self._reservations.barred(job, self.now)
        members = [node for node in self._members[job.partition] if node not in barred and (not own or node in own)]
        preferred = self._preferences.get(job.job_id, "")
        if preferred:
            found = placing.place(replace(job, features=preferred), free, members)
            if found is not None:
                return found
        return placing.place(job, free, members)

    def _start(self, placed: Sequence[tuple[JobRecord, list[str]]]) -> None:
        started = [
            replace(
                job,
                state=JobState.CONFIGURING,
                node_list=placing.fold(nodes),
                start_time=self.now,
                end_time=None if job.time_limit_s is None else self.now + job.time_limit_s,
                reason="",
            )
            for job, nodes in placed
        ]
        for job in started:
            self._put(job)
        denied = [job for job in started if self.prolog is not None and not self.prolog(job)]
        for job in started:
            if not denied:
                self._put(replace(self._jobs[job.job_id], state=JobState.RUNNING))
            elif job.batch and job.requeue:
                self._back(job, held=False)
            else:
                self._put(replace(job, state=JobState.ENDED, end_time=self.now, result="FAILED"))

    def _requeue(self, job: JobRecord, *, held: bool) -> None:
        if job.state is JobState.PENDING:
            raise Refusal(f"Job is pending execution for job {job.job_id}")
        if not job.batch:
            raise Refusal(f"Only batch jobs are accepted or processed for job {job.job_id}")
        if not job.requeue:
            raise Refusal(f"Requested operation is presently disabled for job {job.job_id}")
        self._end(job, Ending(self.now + self.completing_s, requeue=True, held=held))

    def _end(self, job: JobRecord, ending: Ending) -> None:
        if job.state is JobState.COMPLETING:
            return
        if job.state is not JobState.ENDED and self.epilog is not None:
            self.epilog(job)
        self._put(replace(job, state=JobState.COMPLETING, end_time=self.now))
        self._endings[job.job_id] = ending
        if ending.at <= self.now:
            self._complete(self._jobs[job.job_id], ending)

    def _complete(self, job: JobRecord, ending: Ending) -> None:
        self._endings.pop(job.job_id, None)
        if ending.requeue:
            self._back(job, held=ending.held)
        else:
            self._put(replace(job, state=JobState.ENDED, result="COMPLETED"))

    def _back(self, job: JobRecord, *, held: bool) -> None:
        """Pending again, two minutes from now, with all that it was admitted under."""
        self._begin[job.job_id] = self.now + REQUEUE_DELAY_S
        self._put(
            replace(
                job,
                state=JobState.PENDING,
                node_list="",
                start_time=None,
                end_time=None,
                submit_time=self.now,
                eligible_time=None,
                restarts=job.restarts + 1,
                priority=0 if held else job.priority,
                reason="job requeued in held state" if held else "BeginTime",
            )
        )
        self._refresh(job.job_id)


def _one(field: str, value: str) -> dict[str, Any]:
    return {field: value}
