"""A real cluster to test against."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from slurm_power.adapters.slurm import Runner
from slurm_power.sandbox import build, cluster
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.wrappers import variables


@pytest.fixture(scope="session")
def real_slurm() -> Iterator[Runner]:
    """The commands of a sandbox without the hook and the daemon.

    SLURM_POWER_TEST_CONF may name the slurm.conf of another private cluster (with SLURM_POWER_TEST_ROOT: by chroot),
    to try another version of Slurm.
    """
    conf = os.environ.get("SLURM_POWER_TEST_CONF", "")
    root = os.environ.get("SLURM_POWER_TEST_ROOT", "")
    if conf:
        yield Runner(conf=conf, prefix=("chroot", root) if root else ())
        return
    place = Path(tempfile.gettempdir()).resolve() / f"spw-{token_hex(4)}"
    state = build.up(build.Options(place, racks=1, nodes_per_rack=3, users=(), daemon=False))
    try:
        layout = Layout(state.root)
        env = {**os.environ, **variables(layout), "PATH": f"{layout.bin}:{os.environ['PATH']}"}
        yield Runner(conf=str(layout.slurm_conf), base_env=env)
    finally:
        cluster.down(state.root)
