"""Readings of nodes from Slurm."""

import pytest

from slurm_power.adapters.telemetry.slurm_energy import SlurmEnergySource
from slurm_power.core.errors import TelemetryError
from slurm_power.ports import Kind, Quantity, Reading
from tests.fakes.slurm import FakeSlurm, make_nodes


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm(make_nodes("n[01-03]"))


def test_a_reading_for_each_node_that_is_measured(slurm: FakeSlurm) -> None:
    slurm.watts = {"n02": 812, "n01": 411, "n03": 0}
    assert SlurmEnergySource(slurm).read().readings == [
        Reading(Kind.NODE, "n01", Quantity.POWER, 411.0),
        Reading(Kind.NODE, "n02", Quantity.POWER, 812.0),
    ]
    slurm.set_node("n02", up=False)
    assert [reading.element for reading in SlurmEnergySource(slurm).read().readings] == ["n01"]


def test_a_slurm_that_measures_nothing_is_told_of(slurm: FakeSlurm) -> None:
    with pytest.raises(TelemetryError, match=r"^slurm: shows the watts of no node.*AcctGatherNodeFreq"):
        SlurmEnergySource(slurm).read()


def test_a_slurm_that_is_away(slurm: FakeSlurm) -> None:
    slurm.faults.failed_read = 1.0
    with pytest.raises(TelemetryError, match=r"^slurm: no end after 30 s"):
        SlurmEnergySource(slurm).read()
