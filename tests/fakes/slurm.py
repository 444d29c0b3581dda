"""A Slurm in memory, which passes the same contract suite as the real one.

Time stands still but for `tick`. Jobs are submitted, start when nodes, licences and the prolog allow, end when their
run time is over or `finish` is called, stay COMPLETING for a while, and are forgotten later. `faults` makes it
misbehave as a real one does under load; the same seed gives the same history.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slurm_power.adapters.slurm.words import scancel_words, scontrol_words
from slurm_power.core.errors import SlurmTimeout, UsageError
from slurm_power.ports import (
    Cancel,
    Chain,
    Command,
    CreateReservation,
    DeleteReservation,
    JobRecord,
    JobState,
    LicenseRecord,
    NodeRecord,
    Outcome,
    PartitionRecord,
    PreemptionRecord,
    PrivilegeRecord,
    QosRecord,
    Release,
    ReservationRecord,
    Resume,
    Signal,
    Suspend,
    Update,
    UpdateReservation,
    UserHold,
)
from tests.fakes import slurm_placing as placing
from tests.fakes.slurm_engine import BUSY, Ending, Engine, Snapshot
from tests.fakes.slurm_targets import Refusal, parse_licences

__all__ = ["BUSY", "FakeSlurm", "Faults", "Refusal", "make_nodes", "parse_licences"]


@dataclass
class Faults:
    """How often something goes wrong, 0 to 1, for each chain written or each read.

    lost_answer: the chain takes effect, its outcome is unsure.
    lost_write: nothing takes effect, the outcome is unsure.
    repeated: the chain is carried out twice.
    stale_read: a read shows the state before one of the last ticks.
    failed_read: a read ends in SlurmTimeout.
    unmended: the licences of a reservation whose update was refused are not set again.
    """

    lost_answer: float = 0.0
    lost_write: float = 0.0
    repeated: float = 0.0
    stale_read: float = 0.0
    failed_read: float = 0.0
    unmended: float = 0.0


def make_nodes(names: str, *, cpus: int = 64, gpus: int = 8, features: Sequence[str] = ()) -> list[NodeRecord]:
    """Idle nodes, all alike."""
    return [NodeRecord(name, True, cpus, 0, gpus, 0, features=tuple(features)) for name in placing.expand(names)]


class FakeSlurm(Engine):
    """`ports.Slurm`, with controls for tests.

    prolog: asked with the record of a job that is about to start, its nodes chosen; False denies the start.
    epilog: told when a job begins to end.
    completing_s: how long a job stays COMPLETING. min_job_age_s: how long an ended job is remembered.
    """

    def __init__(
        self,
        nodes: Sequence[NodeRecord],
        *,
        licenses: Mapping[str, int] | None = None,
        partitions: Sequence[PartitionRecord] = (),
        qos: Sequence[QosRecord] = (),
        privileges: Sequence[PrivilegeRecord] = (),
        version: tuple[int, int, int] = (24, 11, 5),
        now: int = 1_800_000_000,
        seed: int = 0,
        completing_s: int = 0,
        min_job_age_s: int = 300,
        prolog: Callable[[JobRecord], bool] | None = None,
        epilog: Callable[[JobRecord], None] | None = None,
    ) -> None:
        super().__init__(nodes, licenses or {}, partitions, privileges, now)
        self.faults = Faults()
        self.prolog, self.epilog = prolog, epilog
        self.completing_s, self.min_job_age_s = completing_s, min_job_age_s
        self.fair: dict[tuple[str, str], float] = {}
        self.written: list[Command] = []
        self.private: frozenset[str] = frozenset()
        self.preempts = PreemptionRecord("REQUEUE", 0)
        self.watts: dict[str, int] = {}
        self._qos, self._privileges = tuple(qos), tuple(privileges)
        self._version = version
        self._random = random.Random(seed)
        self._past: deque[Snapshot] = deque([self._snapshot()], maxlen=4)

    # -- ports.Slurm --------------------------------------------------------------------------------------------

    def version(self) -> tuple[int, int, int]:
        return self._version

    def jobs(self, ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        found = self._read().jobs
        return found if ids is None else tuple(job for job in found if job.job_id in frozenset(ids))

    def nodes(self) -> Sequence[NodeRecord]:
        return self._read().nodes

    def node_watts(self) -> Mapping[str, int]:
        up = (node.name for node in self._read().nodes if node.up)
        return {name: self.watts[name] for name in up if self.watts.get(name)}

    def partitions(self) -> Sequence[PartitionRecord]:
        return tuple(self._partitions.values())

    def licenses(self) -> Sequence[LicenseRecord]:
        return self._read().licenses

    def fair_shares(self) -> Mapping[tuple[str, str], float]:
        return dict(self.fair)

    def qos(self) -> Sequence[QosRecord]:
        return self._qos

    def reservations(self) -> Sequence[ReservationRecord]:
        return self._read().reservations

    def preemption(self) -> PreemptionRecord:
        return self.preempts

    def privileges(self) -> Sequence[PrivilegeRecord]:
        return sorted(self._privileges, key=lambda found: found.user)

    def private_data(self) -> frozenset[str]:
        return self.private

    def write(self, chains: Sequence[Chain]) -> Sequence[Outcome]:
        return [self._write(chain) for chain in chains]

    # -- what users and administrators do -----------------------------------------------------------------------

    def submit(
        self, *, held: bool = False, runs_s: int | None = None, begin: int | None = None, **fields: Any
    ) -> JobRecord:
        """A job as it stands after its submission. `array="1-6%2"` makes an array; the rest are JobRecord's fields.

        cron: it comes from scrontab. prefer: features, as given to `--prefer`.
        runs_s: how long it runs; None: until `finish`, or its time limit. begin: not before this instant.
        """
        array = str(fields.pop("array", ""))
        job_id = self._take_id()
        if fields.pop("cron", False):
            self._cron.add(job_id)
        self._preferences[job_id] = fields.pop("prefer", "")
        default = next(p.name for p in self._partitions.values() if p.default)
        job = JobRecord(
            job_id=job_id,
            state=JobState.PENDING,
            submit_time=self.now,
            **{"uid": 1000, "user": "alice", "partition": default, "priority": 1_000, **fields},
        )
        if job.reservation:
            self._reservations.check_access(job.reservation, job.user, job.account, "")
        if held:
            job = replace(job, priority=0)
        if array:
            tasks, _, throttle = array.partition("%")
            job = replace(
                job, array_job_id=job_id, array_tasks=tasks, array_throttle=int(throttle) if throttle else None
            )
        self._runs_s[job_id] = runs_s
        self._begin[job_id] = begin or 0
        if job.priority == 0:
            job = replace(job, reason="JobHeldUser")
        self._put(job)
        return self._refresh(job_id)

    def submit_het(self, *components: Mapping[str, Any], **shared: Any) -> list[JobRecord]:
        """A het job; its components start together or not at all."""
        leader = self._next_id
        return [
            self.submit(**{**shared, **component, "het_job_id": leader, "het_offset": offset})
            for offset, component in enumerate(components)
        ]

    def user_hold(self, target: str) -> None:
        """The owner's `scontrol hold`; changes nothing where an administrator holds the job. Raises Refusal."""
        if all(job.reason != "JobHeldAdmin" for job in self._resolve(target)):
            self._apply(UserHold(target))

    def user_release(self, target: str) -> None:
        """The owner's `scontrol release`. Raises Refusal for a hold that an administrator has set."""
        for job in self._resolve(target):
            if job.reason == "JobHeldAdmin":
                raise Refusal(f"Access/permission denied for job {target}")
        self._apply(Release(target))

    def user_names(self, target: str) -> list[JobRecord]:
        """The records that a user's command is carried out on, one by one. Tasks that it names are split off."""
        return self._resolve(target)

    def user_holds_one(self, job: JobRecord) -> None:
        """The owner's hold, for one record of those that his command names."""
        if job.reason != "JobHeldAdmin":
            self._apply_to(job, UserHold(job.target))

    def user_releases_one(self, job: JobRecord) -> None:
        """The owner's release, for one record."""
        if job.reason != "JobHeldAdmin":
            self._apply_to(job, Release(job.target))

    def admin_releases(self, job: JobRecord) -> None:
        """root's `scontrol release`, past the modify hook."""
        self._apply_to(job, Release(job.target))

    def user_requeue(self, job_id: int) -> None:
        """The owner's `scontrol requeue`. Raises Refusal."""
        self._requeue(self._jobs[job_id], held=self._jobs[job_id].priority == 0)

    def user_update(self, target: str, **fields: str) -> None:
        """The owner's `scontrol update`, past any hook. Raises Refusal."""
        self._apply(Update(target, fields))

    def cancel(self, job_id: int) -> None:
        """scancel."""
        self._cancel(self._jobs[job_id])

    def suspend(self, job_id: int) -> None:
        """`scontrol suspend` of a running job: it keeps its licences, and its priority becomes 0."""
        self._apply(Suspend(str(job_id)))

    def resume(self, job_id: int) -> None:
        """`scontrol resume`."""
        self._apply(Resume(str(job_id)))

    def finish(self, job_id: int) -> None:
        """The job's processes end now."""
        self._end(self._jobs[job_id], Ending(self.now + self.completing_s))

    def power_down(self, name: str) -> None:
        """As a power-saving Slurm does with an idle node."""
        self._nodes[name] = replace(self._nodes[name], up=False, off=True)

    def set_node(self, name: str, *, up: bool) -> None:
        """A node fails or is drained, or comes back. Jobs on it run on."""
        self._nodes[name] = replace(self._nodes[name], up=up)

    def set_partition(self, record: PartitionRecord) -> None:
        """`scontrol create partition`, or update of one."""
        self._partitions[record.name] = record
        self._members[record.name] = placing.expand(record.nodes)

    def down(self) -> list[str]:
        """The nodes that are not up, past all faults."""
        return sorted(node.name for node in self._nodes.values() if not node.up)

    def reserve(self, license_name: str, count: int) -> None:
        """Licences held back by a reservation that nobody sees."""
        self._reserved[license_name] = count

    def admin_updates(self, command: UpdateReservation) -> None:
        """root's `scontrol update reservation`, after which nobody sets anything again. Raises Refusal."""
        self._apply(command)

    # -- time ---------------------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        """Let time pass until `now`: jobs end, complete, are forgotten, and start."""
        assert now >= self.now, "time never runs backwards"
        self._past.append(self._snapshot())
        self.now = now
        for job in list(self._jobs.values()):
            runs_s = self._runs_s.get(job.job_id)
            over = job.start_time is not None and (
                (runs_s is not None and now >= job.start_time + runs_s)
                or (job.time_limit_s is not None and now >= job.start_time + job.time_limit_s)
            )
            if job.state is JobState.RUNNING and over:
                self.finish(job.job_id)
        for job_id, ending in list(self._endings.items()):
            if now >= ending.at:
                self._complete(self._jobs[job_id], ending)
        for job in list(self._jobs.values()):
            if job.state is JobState.ENDED and now >= (job.end_time or 0) + self.min_job_age_s:
                del self._jobs[job.job_id]
        for name in self._reservations.pass_time(now, self._busy()):
            self._forget_reservation(name)
        self.schedule()

    # -- misbehaviour -----------------------------------------------------------------------------------------------

    def _chance(self, likelihood: float) -> bool:
        return likelihood > 0 and self._random.random() < likelihood

    def _read(self) -> Snapshot:
        if self._chance(self.faults.failed_read):
            raise SlurmTimeout("no end after 30 s", ("squeue",))
        if self._chance(self.faults.stale_read):
            return self._random.choice(self._past)
        return self._snapshot()

    def _write(self, chain: Chain) -> Outcome:
        if self._chance(self.faults.lost_write):
            return Outcome(0, "no end after 30 s", unsure=True)
        lost = self._chance(self.faults.lost_answer)
        outcome = self._carry_out(chain)
        if self._chance(self.faults.repeated):
            self._carry_out(chain)
        return Outcome(0, "no end after 30 s", unsure=True) if lost else outcome

    def _carry_out(self, chain: Chain) -> Outcome:
        for done, command in enumerate(chain):
            try:
                _check(command)
                self._apply(command)
            except UsageError as error:
                return Outcome(done, str(error))
            except Refusal as refusal:
                return Outcome(done, str(refusal) + self._mend(command))
            self.written.append(command)
        return Outcome(len(chain))

    def _mend(self, command: Command) -> str:
        """What the adapter does after a refused update: set again what is shown. Returns what it says if it cannot."""
        if not isinstance(command, UpdateReservation) or command.name not in self._reservations.records:
            return ""
        if self._chance(self.faults.unmended):
            return "; its licences count for nothing: Requested reservation is invalid"
        self._apply(UpdateReservation(command.name, self._reservations.records[command.name].licenses))
        return ""


def _check(command: Command) -> None:
    """Raises UsageError for what the adapter does not send."""
    if isinstance(command, Signal | Cancel):
        scancel_words(command)
    elif isinstance(command, CreateReservation | UpdateReservation | DeleteReservation):
        scontrol_words(command)
