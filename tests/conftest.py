"""How the tests share two cores: those of real clusters one after another, everything else beside them."""

import os

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

_OF_CLUSTERS = ("tests/integration/", "tests/adapters/slurm/test_contract_cluster.py")
"""How the ids of tests begin that are marked `cluster`: who hands tests out knows their ids alone."""


class _OneClusterAtATime(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """All tests of clusters go to one worker: two clusters at once would be too slow for both."""

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.startswith(_OF_CLUSTERS) else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _OneClusterAtATime:
    """Who hands the tests out."""
    return _OneClusterAtATime(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """No test of a cluster may stand where it would run beside another."""
    astray = [i.nodeid for i in items if i.get_closest_marker("cluster") and not i.nodeid.startswith(_OF_CLUSTERS)]
    if astray:
        raise pytest.UsageError(f"{astray[0]} is marked `cluster`; such tests belong into one of {_OF_CLUSTERS}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A cluster has to answer in time, and nothing else is in a hurry. Only root can go back to precedence 0."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    if not item.nodeid.startswith(_OF_CLUSTERS):
        os.setpriority(os.PRIO_PROCESS, 0, 10)
    elif os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
