"""The site files of sandboxes."""

from pathlib import Path

import pytest

from slurm_power.config import load_site
from slurm_power.core.binding import licence_plan
from slurm_power.sandbox.accounts import users_of
from slurm_power.sandbox.demo_site import demo_site
from slurm_power.sandbox.failure import SandboxError
from slurm_power.sandbox.layout import Layout
from slurm_power.sandbox.site import node_names, partitions, read_site, write_site


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.etc.mkdir()
    return made


@pytest.mark.parametrize(("racks", "nodes"), [(1, 1), (2, 1), (3, 4), (4, 4), (7, 3), (99, 99)])
def test_the_demos_site_is_right(layout: Layout, racks: int, nodes: int) -> None:
    site = write_site(layout, demo_site(racks, nodes))
    assert len(set(node_names(site))) == racks * nodes
    train, evaluation = partitions(site)
    assert set(train.nodes) == set(node_names(site))
    assert evaluation.nodes
    assert set(evaluation.nodes) <= set(train.nodes)


def test_the_demos_feeds_bind(layout: Layout) -> None:
    """Two racks of a 2N pair cannot both be full; those of an N pair can."""
    counted = {licence.element for licence in licence_plan(write_site(layout, demo_site(4, 4)).topology).licences}
    assert {"pdu-a1", "pdu-b1"} <= counted
    assert not {"pdu-a2", "pdu-b2", "ups-a", "ups-b"} & counted


@pytest.mark.parametrize(("racks", "nodes"), [(0, 4), (4, 0), (100, 1)])
def test_no_cluster_of_that_size(racks: int, nodes: int) -> None:
    with pytest.raises(SandboxError, match="--racks 4"):
        demo_site(racks, nodes)


def test_a_sites_values_stay_as_written(layout: Layout, tmp_path: Path) -> None:
    """What YAML would take for numbers and truth values: 20:00, no, 1_0."""
    own = tmp_path / "own.yaml"
    own.write_text(
        "zones: {no: {nodes: n1, limit: 30kW}}\n"
        "classes: {night: {hours: 20:00-06:00}}\n"
        "hook: {socket: /run/x/y.sock, timeout: 50ms}\n"
        "state: {url: 'postgresql:///power'}\n"
    )
    mine, theirs = write_site(layout, read_site(own)), load_site(own)
    assert mine.topology.zones == theirs.topology.zones
    assert mine.policy == theirs.policy
    assert mine.hook.timeout_ms == theirs.hook.timeout_ms
    assert mine.hook.socket.is_relative_to(layout.root)
    assert mine.hook.control.is_relative_to(layout.root)
    assert str(layout.root) in mine.state_url


def test_who_may_use_which_tier(layout: Layout) -> None:
    policy = write_site(layout, demo_site(1, 1)).policy
    found = [(user.account, user.qos) for user in users_of(("a", "b", "c", "d"), policy)]
    assert found == [
        ("research", ("gold", "silver", "bronze")),
        ("research", ("silver", "bronze")),
        ("ops", ("bronze",)),
        ("research", ("bronze",)),
    ]
