"""Users of the fake Slurm: they submit through the hook, hold, release, change, requeue and cancel."""

from dataclasses import replace
from typing import Any

from slurm_power.ports import JobRecord, JobState
from slurm_power.service.modify import modify
from slurm_power.service.submit import submit
from tests.fakes.slurm import Refusal
from tests.service.host import Host
from tests.service.spec import Spec


class Users(Host):
    """Those who use it, and what they remember of their jobs."""

    def __init__(self, seed: int = 0, site_text: str | None = None) -> None:
        super().__init__(seed, site_text)
        self.specs: dict[int, Spec] = {}
        """By job id; of an array, by the array's."""
        self.accepted: list[int] = []
        self.held_by_user: set[tuple[int, int | None]] = set()
        """Records whose owner holds them, as `identity` names them."""
        self._lua = 0

    def submit(self, *specs: Spec) -> int | None:
        """A submission, of several components if there are several; the first job's id, or None if it was refused."""
        prepared = [self._hook(spec, offset if len(specs) > 1 else None) for offset, spec in enumerate(specs)]
        if any(fields is None for fields in prepared):
            return None
        fields = [found for found in prepared if found is not None]
        begin = self.slurm.now + specs[0].begin_s if specs[0].begin_s else None
        if len(specs) > 1:
            jobs = self.slurm.submit_het(*fields, runs_s=specs[0].runs_s, begin=begin)
        else:
            jobs = [self.slurm.submit(runs_s=specs[0].runs_s, begin=begin, array=specs[0].array, **fields[0])]
        for job, spec in zip(jobs, specs, strict=True):
            self.specs[job.job_id] = spec
        self.accepted.append(jobs[0].job_id)
        if specs[0].hold:
            self.held_by_user |= {self.identity(job) for job in jobs}
        return jobs[0].job_id

    def _hook(self, spec: Spec, offset: int | None) -> dict[str, Any] | None:
        fields = spec.fields()
        described = spec.described(self.slurm.now)
        if offset is not None:
            described["het_job_offset"] = offset
        if self.desk is None and spec.cron:
            return None
        if self.desk is None:
            self._lua += 1
            hold = "both" if spec.hold else "power"
            return {**fields, "held": True, "admin_comment": f"power:id=lua-{self._lua},v=hold,hold={hold}"}
        reply = submit(self.desk, described)
        if reply.verdict == "reject":
            return None
        fields["cron"] = spec.cron
        names = {"exc_nodes": "excluded_nodes", "min_nodes": "node_count"}
        for name, value in reply.fields.items():
            if name not in ("priority", "max_nodes"):
                fields[names.get(name, name)] = value
        fields["held"] = spec.hold or reply.verdict == "hold"
        return fields

    def asks(self, job: JobRecord, uid: int, **changes: object) -> dict[str, Any] | None:
        """What the modify hook answers: fields that it sets instead, or None if it refuses."""
        if self.desk is None:
            return None
        rec = {
            "job_id": job.job_id,
            "user_id": job.uid,
            "priority": job.priority,
            "admin_comment": job.admin_comment,
            "time_limit": (job.time_limit_s or 0) // 60,
        }
        if job.array_job_id is not None:
            rec["array_job_id"] = job.array_job_id
        if job.array_task_id is not None:
            rec["array_task_id"] = job.array_task_id
        reply = modify(self.desk, uid, changes, rec)
        return dict(reply.fields) if reply.verdict == "allow" else None

    def user_release(self, target: str) -> None:
        """`scontrol release`: the hook is asked once a record, tasks that are named are split off before."""
        for job in self._named_by(target):
            if job.state is not JobState.PENDING:
                continue
            answer = self.asks(job, job.uid, priority=4_294_967_295)
            if answer is None:
                continue
            if "priority" not in answer:
                self.slurm.user_releases_one(job)
            self.held_by_user.discard(self.identity(job))

    def user_hold(self, target: str) -> None:
        """`scontrol hold`."""
        for job in self._named_by(target):
            if job.state is JobState.PENDING and self.asks(job, job.uid, priority=0) is not None:
                self.slurm.user_holds_one(job)
                self.held_by_user.add(self.identity(job))

    def _named_by(self, target: str) -> list[JobRecord]:
        """Tasks that are split off here were held with the rest."""
        before = {self.identity(job) for job in self.slurm.all_jobs()}
        found = self.slurm.user_names(target)
        held = {self.root(job) for job in found if (self.root(job), None) in self.held_by_user}
        self.held_by_user |= {self.identity(job) for job in found if self.root(job) in held} - before
        return found

    def user_comments(self, job_id: int, spec: Spec) -> None:
        """The owner writes another envelope into the comment."""
        job = self.slurm.job(job_id)
        if self.asks(job, job.uid, comment=spec.comment) is not None:
            self.slurm.user_update(job.target, Comment=spec.comment)
            root = self.root(job)
            self.specs[root] = replace(
                self.specs[root], comment=spec.comment, est_w=spec.est_w, max_w=spec.max_w
            )

    def user_limits(self, job_id: int, minutes: int) -> None:
        """The owner changes the time limit."""
        job = self.slurm.job(job_id)
        if self.asks(job, job.uid, time_limit=minutes) is not None:
            self.slurm.user_update(job.target, TimeLimit=str(minutes))

    def requeue(self, job_id: int) -> None:
        """By the owner, or by Slurm's own preemption: the same thing. A het job goes as a whole."""
        parts = self.components(job_id)
        if any(part.state is not JobState.RUNNING for part in parts):
            return
        for part in parts:
            try:
                self.slurm.user_requeue(part.job_id)
            except Refusal:
                return

    def cancel(self, job_id: int) -> None:
        for part in self.components(job_id):
            if part.state is JobState.PENDING or part.state is JobState.RUNNING:
                self.slurm.cancel(part.job_id)

    def held_by_its_user(self, job: JobRecord) -> bool:
        return self.identity(job) in self.held_by_user

    def named(self, job: JobRecord) -> str:
        """How its owner names it: the whole array or het job, or this record alone."""
        if job.het_job_id is not None:
            return str(job.het_job_id)
        return str(job.array_job_id) if job.array_tasks and self.random.random() < 0.7 else job.target

    def root(self, job: JobRecord) -> int:
        return job.array_job_id or job.het_job_id or job.job_id

    def identity(self, job: JobRecord) -> tuple[int, int | None]:
        """The first job id of an array or het job, and the task or component; None for the pending rest of an array."""
        return self.root(job), job.array_task_id if job.het_job_id is None else job.het_offset

    def advance(self, seconds: int) -> None:
        """Time passes; jobs end and start."""
        self.clock.instant += seconds
        self.slurm.tick(self.clock.instant)

    def spec_of(self, job: JobRecord) -> Spec:
        return self.specs[job.job_id] if job.het_job_id is not None else self.specs[self.root(job)]
