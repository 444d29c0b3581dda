"""The adapter keeps the contract on a real Slurm.

SLURM_POWER_TEST_PYSLURM may hold the command that starts pyslurm's process, to try that reader on the same cluster.
"""

import os
import pwd
import shlex
import time
from collections.abc import Iterator, Sequence

import pytest

from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.binding import PREFIX
from slurm_power.ports import DeleteReservation, JobRecord, Update
from slurm_power.sandbox.accounts import ACCOUNTS
from tests.adapters.slurm.contract import ODD
from tests.adapters.slurm.contract_reservations import ReservationContract


class AllByPyslurm(SlurmCommands):
    """Every reading is a whole one, and that of pyslurm."""

    def jobs(self, ids: Sequence[int] | None = None) -> Sequence[JobRecord]:
        found = super().jobs()
        assert self.reader().startswith("pyslurm "), self.reader()
        return [job for job in found if ids is None or job.job_id in ids]


class ClusterLab:
    """Submits by sbatch, and takes all of it away at the end, reservations of ours too."""

    user = pwd.getpwuid(os.geteuid()).pw_name
    foreign_account = ACCOUNTS[1]

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        pyslurm = shlex.split(os.environ.get("SLURM_POWER_TEST_PYSLURM", ""))
        self.slurm = AllByPyslurm(runner, pyslurm=pyslurm) if pyslurm else SlurmCommands(runner)
        self.license = next(found.name for found in self.slurm.licenses() if found.total >= 100 and not found.used)
        self.feature = next(node.features[0] for node in self.slurm.nodes() if node.features)
        self.submitted: list[int] = []

    def submit(self, *, name: str = "job", comment: str = "", array: str = "") -> int:
        options = ("-J", name, "--comment", comment, *(("-a", array) if array else ()))
        return self._sbatch(*options, "--wrap", "sleep 300")

    def submit_het(self) -> int:
        return self._sbatch("-n1", ":", "-n2", "--wrap", "sleep 300")

    def submit_into(self, reservation: str) -> str:
        done = self._run_sbatch("--reservation", reservation, "--wrap", "sleep 300")
        if not done.status:
            self.submitted.append(int(done.out))
        return done.err

    def now(self) -> int:
        return int(time.time())

    def settle(self) -> None:
        time.sleep(0.2)

    def clear(self) -> None:
        for job_id in self.submitted:
            self.runner.run("scancel", str(job_id), check=False)
        deadline = time.monotonic() + 30
        while any(found.used for found in self.slurm.licenses()) and time.monotonic() < deadline:
            time.sleep(0.2)
        ours = [found.name for found in self.slurm.reservations() if found.name.startswith(PREFIX)]
        assert not any(outcome.error for outcome in self.slurm.write([(DeleteReservation(name),) for name in ours]))

    def _sbatch(self, *options: str) -> int:
        done = self._run_sbatch(*options)
        assert not done.status, done.err
        self.submitted.append(int(done.out))
        return self.submitted[-1]

    def _run_sbatch(self, *options: str) -> Completed:
        common = ("--parsable", "-H", "--requeue", "-D", "/", "-o", "/dev/null", "-n1")
        return self.runner.run("sbatch", *common, *options, check=False)


@pytest.mark.cluster
class TestRealSlurm(ReservationContract):
    @pytest.fixture
    def lab(self, real_slurm: Runner) -> Iterator[ClusterLab]:
        lab = ClusterLab(real_slurm)
        yield lab
        lab.clear()

    def test_any_text_arrives_as_it_is(self, lab: ClusterLab) -> None:
        job_id = lab.submit()
        (outcome,) = self.write(lab, (Update(str(job_id), {"comment": ODD, "admincomment": "a b"}),))
        job = self.one(lab, job_id)
        assert (outcome.error, job.comment, job.admin_comment) == ("", ODD, "a b")

    def test_many_batches_keep_their_order(self, lab: ClusterLab) -> None:
        jobs = [lab.submit() for _ in range(7)]
        slurm = SlurmCommands(lab.runner, batch=3)
        chains = [
            (Update(str(job), {"comment": f"c{index}"} if index != 4 else {"licenses": "none_such:1"}),)
            for index, job in enumerate(jobs)
        ]
        assert [bool(outcome.error) for outcome in slurm.write(chains)] == [index == 4 for index in range(7)]
        comments = {job.job_id: job.comment for job in slurm.jobs(jobs)}
        assert [comments[job] for job in jobs] == ["c0", "c1", "c2", "c3", "", "c5", "c6"]
