"""Jobs read through pyslurm's process keep the contract: the fake's jobs in the shape of pyslurm's."""

from collections.abc import Sequence

import pytest

from slurm_power.adapters.slurm.pyslurm_reader import PyslurmReader
from slurm_power.ports import JobRecord, JobState
from tests.adapters.slurm.contract_reservations import ReservationContract
from tests.adapters.slurm.test_contract_fake import FakeLab
from tests.adapters.slurm.test_pyslurm import Job, Worker, module, tres
from tests.fakes.slurm import FakeSlurm


def shaped(job: JobRecord) -> Job:
    """The job as pyslurm shows it, with its habits: None for zero, for what is unset and for what is empty."""
    return Job(
        id=job.job_id,
        state="COMPLETED" if job.state is JobState.ENDED else str(job.state),
        user_id=job.uid,
        user_name=job.user or None,
        account=job.account or None,
        qos=job.qos or None,
        partition=job.partition or None,
        name=job.name or None,
        priority=job.priority or None,
        state_reason=job.reason or "None",
        array_id=job.array_job_id,
        array_task_id=job.array_task_id or None,
        array_tasks_waiting=job.array_tasks or None,
        array_tasks_parallel=job.array_throttle,
        heterogeneous_id=job.het_job_id,
        heterogeneous_offset=job.het_offset or None,
        allocated_nodes=job.node_list or None,
        num_nodes=job.node_count,
        cpus=job.cpus,
        tres=tres(gpu=job.gpus),
        resource_sharing="NO" if job.exclusive else "OK",
        time_limit=job.time_limit_s // 60 if job.time_limit_s is not None else "UNLIMITED",
        submit_time=job.submit_time,
        eligible_time=job.eligible_time,
        start_time=job.start_time,
        end_time=job.end_time,
        requeue_count=job.restarts,
        is_batch_job=job.batch,
        is_requeueable=job.requeue,
        licenses=job.licenses.split(",") if job.licenses else [],
        constraints=job.features.split(",") if job.features else [],
        required_nodes=job.required_nodes or None,
        excluded_nodes=job.excluded_nodes or None,
        reservation=job.reservation or None,
        admin_comment=job.admin_comment or None,
        comment=job.comment or None,
    )


class ReadByPyslurm(FakeSlurm):
    """The fake, its jobs read through the process."""

    worker: Worker

    def jobs(self, ids: Sequence[int] | None = None) -> list[JobRecord]:
        self.worker.found = module(*map(shaped, super().jobs()))
        return [job for job in PyslurmReader(self.worker, "pyslurm").read() if ids is None or job.job_id in ids]


class TestPyslurm(ReservationContract):
    @pytest.fixture
    def lab(self, monkeypatch: pytest.MonkeyPatch) -> FakeLab:
        lab = FakeLab(ReadByPyslurm)
        assert isinstance(lab.slurm, ReadByPyslurm)
        lab.slurm.worker = Worker(None, monkeypatch)
        return lab
