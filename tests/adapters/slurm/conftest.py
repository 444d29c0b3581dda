"""A real cluster to test against."""

import os

import pytest

from slurm_power.adapters.slurm import Runner


@pytest.fixture(scope="session")
def real_slurm() -> Runner:
    """The commands of a private cluster whose slurm.conf SLURM_POWER_TEST_CONF names (with SLURM_POWER_TEST_ROOT: by
    chroot). Its jobs are submitted as the user of the tests, who must be root or SlurmUser."""
    conf = os.environ.get("SLURM_POWER_TEST_CONF", "")
    root = os.environ.get("SLURM_POWER_TEST_ROOT", "")
    if not conf:
        missing = "SLURM_POWER_TEST_CONF names no slurm.conf of a private cluster"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return Runner(conf=conf, prefix=("chroot", root) if root else ())
