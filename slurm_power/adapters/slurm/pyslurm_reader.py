"""Reading jobs through pyslurm, which asks slurmctld without a process or text between.

Only where a site has installed the pyslurm of the very version that its Slurm has (major and minor number); else, and
after any fault of it, jobs are read by the commands, and a line in the log says so. pyslurm takes its slurm.conf from
the environment of this process. Written against the interface of pyslurm 25.11.
"""

import importlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from slurm_power.adapters.slurm.dialect import Version
from slurm_power.adapters.slurm.jobs import job_state
from slurm_power.ports import JobRecord, JobState

log = logging.getLogger(__name__)


class JobSource(Protocol):
    """Who can read jobs."""

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs, or of these ids those that slurmctld knows."""


def find(version: Version) -> "PyslurmReader | None":
    """The reader, if the pyslurm for this version of Slurm can be imported."""
    try:
        module = importlib.import_module("pyslurm")
    except ImportError:
        return None
    except Exception as error:  # its import opens Slurm's library and its configuration, which fail in many ways
        log.info("pyslurm is there but cannot be used (%s); jobs are read by squeue", error)
        return None
    built_for = str(getattr(module, "__version__", "")).split(".")[:2]
    if built_for != [str(part) for part in version[:2]]:
        log.info("pyslurm %s is not for Slurm %d.%02d; jobs are read by squeue", ".".join(built_for), *version[:2])
        return None
    log.info("jobs are read by pyslurm")
    return PyslurmReader(module)


@dataclass(slots=True)
class FallingBack:
    """Reads by the first source until it fails once, from then on by the second."""

    first: JobSource
    second: JobSource
    _failed: bool = False

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs, or of these ids those that slurmctld knows. Raises what the second source raises."""
        if not self._failed:
            try:
                return self.first.read(ids)
            except Exception as error:  # a foreign library whose faults we cannot enumerate; the second way is sure
                log.warning("pyslurm failed (%s); jobs are read by squeue from now on", error)
                self._failed = True
        return self.second.read(ids)


@dataclass(frozen=True, slots=True)
class PyslurmReader:
    """Reads jobs through the module `pyslurm`."""

    module: ModuleType

    def read(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        """All jobs, or of these ids those that slurmctld knows. Raises pyslurm's errors."""
        wanted = None if ids is None else frozenset(ids)
        found: Iterable[Any] = self.module.Jobs.load().values()
        return [_record(job) for job in found if wanted is None or job.id in wanted]


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
