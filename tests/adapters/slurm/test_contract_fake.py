"""The fake keeps the contract."""

from typing import Any

import pytest

from slurm_power.ports import PrivilegeRecord, QosRecord
from tests.adapters.slurm.contract_reservations import ReservationContract
from tests.fakes.slurm import FakeSlurm, Refusal, make_nodes


class FakeLab:
    license = "rack01_w"
    feature = "rack01"
    user = "alice"
    foreign_account = "ops"

    def __init__(self, kind: type[FakeSlurm] = FakeSlurm) -> None:
        self.slurm = kind(
            make_nodes("n[01-04]", features=["rack01"]),
            licenses={"rack01_w": 40_000},
            qos=[QosRecord("gold", 100, ("bronze",)), QosRecord("bronze")],
            privileges=[PrivilegeRecord("bob", accounts=("ops",)), PrivilegeRecord("alice", accounts=("research",))],
        )

    def submit(self, *, name: str = "job", comment: str = "", array: str = "") -> int:
        mine: dict[str, Any] = {"account": "research", "time_limit_s": 3_600}
        return self.slurm.submit(held=True, name=name, comment=comment, array=array, **mine).job_id

    def submit_into(self, reservation: str) -> str:
        try:
            self.slurm.submit(held=True, account="research", reservation=reservation)
        except Refusal as refusal:
            return str(refusal)
        return ""

    def now(self) -> int:
        return self.slurm.now

    def submit_het(self) -> int:
        return self.slurm.submit_het({}, {"cpus": 2}, held=True)[0].job_id

    def settle(self) -> None:
        self.slurm.tick(self.slurm.now + 1)


class TestFakeSlurm(ReservationContract):
    @pytest.fixture
    def lab(self) -> FakeLab:
        return FakeLab()
