"""pyslurm's jobs as records. Written against the interface of pyslurm 25.11, tried with 24.11."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from slurm_power.adapters.slurm.jobs import job_state
from slurm_power.ports import JobRecord, JobState


@dataclass(frozen=True, slots=True)
class PyslurmJobs:
    """Reads jobs through the module `pyslurm`."""

    module: ModuleType

    def read(self) -> list[JobRecord]:
        """All jobs that slurmctld knows. Raises pyslurm's errors."""
        found: Iterable[Any] = self.module.Jobs.load().values()
        return [_record(job) for job in found]


def _record(job: Any) -> JobRecord:
    nodes = job.allocated_nodes or ""
    state = job_state(job.state, bool(nodes))
    started = state is not JobState.PENDING
    waiting = job.array_tasks_waiting or ""
    in_array = job.array_id is not None
    reason = job.state_reason or ""
    return JobRecord(
        job_id=job.id,
        state=state,
        uid=job.user_id,
        user=job.user_name or "",
        account=job.account or "",
        qos=job.qos or "",
        partition=job.partition or "",
        name=job.name or "",
        priority=job.priority or 0,
        reason="" if reason == "None" else reason,
        array_job_id=job.array_id,
        array_task_id=(job.array_task_id or 0) if in_array and not waiting else None,  # it gives None for task 0
        array_tasks=waiting,
        array_throttle=job.array_tasks_parallel if in_array else None,
        het_job_id=job.heterogeneous_id,
        het_offset=(job.heterogeneous_offset or 0) if job.heterogeneous_id is not None else None,  # and for offset 0
        node_list=nodes,
        node_count=job.num_nodes or 1,
        cpus=job.cpus or 1,
        gpus=_gpus(job),
        exclusive=job.resource_sharing == "NO",
        time_limit_s=job.time_limit * 60 if isinstance(job.time_limit, int) else None,
        submit_time=job.submit_time or 0,
        eligible_time=job.eligible_time,
        start_time=job.start_time if started else None,
        end_time=job.end_time if started else None,
        restarts=job.requeue_count or 0,
        batch=bool(job.is_batch_job),
        requeue=bool(job.is_requeueable),
        licenses=",".join(job.licenses),
        features=",".join(job.constraints),
        required_nodes=job.required_nodes or "",
        excluded_nodes=job.excluded_nodes or "",
        reservation=job.reservation or "",
        dependency=_dependency(job.dependencies),
        admin_comment=job.admin_comment or "",
        comment=job.comment or "",
        result=job.state if state is JobState.ENDED else "",
    )


def _gpus(job: Any) -> int:
    """GPUs of the whole job: those of the tracked resources, else those asked for."""
    tracked = _count(job.tres)
    if tracked is not None:
        return tracked
    asked = (job.tres_per_job, 1), (job.tres_per_node, job.num_nodes or 1), (job.tres_per_task, job.ntasks or 1)
    return max((_count(tres) or 0) * times for tres, times in asked)


def _count(tres: Any) -> int | None:
    """`gpu` holds the total where there is one, `gpu:TYPE` the parts."""
    found = {name: gres.count for name, gres in tres.gres.items() if name.split(":")[0] == "gpu"} if tres else {}
    if not found:
        return None
    return int(found["gpu"]) if "gpu" in found else int(sum(found.values()))


def _dependency(found: dict[str, Any] | None) -> str:
    """pyslurm's table in Slurm's own words, such as `afterok:4:5`; empty without one."""
    if not found:
        return ""
    kinds = [f"{kind}:{':'.join(map(str, jobs))}" for kind, jobs in found.items() if isinstance(jobs, list) and jobs]
    if found.get("singleton"):
        kinds.append("singleton")
    return ("?" if found.get("satisfy") == "any" else ",").join(kinds)
