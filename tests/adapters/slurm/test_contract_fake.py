"""The fake keeps the contract."""

import pytest

from slurm_power.ports import QosRecord
from tests.adapters.slurm.contract import SlurmContract
from tests.fakes.slurm import FakeSlurm, make_nodes


class FakeLab:
    license = "rack01_w"
    feature = "rack01"

    def __init__(self, kind: type[FakeSlurm] = FakeSlurm) -> None:
        self.slurm = kind(
            make_nodes("n[01-04]", features=["rack01"]),
            licenses={"rack01_w": 40_000},
            qos=[QosRecord("gold", 100, ("bronze",)), QosRecord("bronze")],
        )

    def submit(self, *, name: str = "job", comment: str = "", array: str = "") -> int:
        return self.slurm.submit(held=True, name=name, comment=comment, array=array).job_id

    def submit_het(self) -> int:
        return self.slurm.submit_het({}, {"cpus": 2}, held=True)[0].job_id

    def settle(self) -> None:
        self.slurm.tick(self.slurm.now + 1)


class TestFakeSlurm(SlurmContract):
    @pytest.fixture
    def lab(self) -> FakeLab:
        return FakeLab()
