"""How the tests share two cores: those of real clusters one after another, everything else beside them."""

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of clusters go to one worker (`--dist=loadgroup`): two clusters at once would be too slow for both."""
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A cluster has to answer in time, and nothing else is in a hurry. Only root can go back to precedence 0."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    if not item.get_closest_marker("cluster"):
        os.setpriority(os.PRIO_PROCESS, 0, 10)
    elif os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)
