"""Nodes for late binding: shares, what could start beside promises, and the classes by which zones are filed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.nodes import (
    CLOSED,
    FULL,
    FreeClass,
    NodeAsk,
    NodeFree,
    ZoneNodes,
    all_free,
    class_for,
    class_of,
)

RACK = ZoneNodes(up=8, idle=4, cpus=64, gpus=8, partly=(NodeFree(32, 4), NodeFree(60, 1)))


@pytest.mark.parametrize(
    ("ask", "milli"),
    [
        (NodeAsk(exclusive=True), 1_000),
        (NodeAsk(cpus=1), 16),
        (NodeAsk(cpus=32), 500),
        (NodeAsk(cpus=1, gpus=2), 250),
        (NodeAsk(cpus=48, gpus=2), 750),
        (NodeAsk(cpus=64, gpus=8), 1_000),
        (NodeAsk(cpus=640), 1_000),
        (NodeAsk(cpus=0), 1),
    ],
)
def test_the_share_is_the_larger_of_cpus_and_gpus(ask: NodeAsk, milli: int) -> None:
    assert RACK.share_milli(ask) == milli


@pytest.mark.parametrize(
    ("ask", "promised_milli", "count"),
    [
        (NodeAsk(exclusive=True), 0, 4),
        (NodeAsk(exclusive=True), 1, 3),
        (NodeAsk(exclusive=True), 2_000, 2),
        (NodeAsk(exclusive=True), 9_000, 0),
        (NodeAsk(cpus=8, gpus=4), 0, 5),  # a node each: four idle ones and one partly used
        (NodeAsk(cpus=8, gpus=4), 4_000, 1),  # nine parts, of which eight are promised
        (NodeAsk(cpus=8, gpus=1), 0, 6),
        (NodeAsk(cpus=64), 0, 4),
        (NodeAsk(cpus=65), 0, 0),
        (NodeAsk(gpus=9), 0, 0),
        (NodeAsk(copies=9, cpus=8, gpus=4), 0, 9),  # copies may share a node
        (NodeAsk(copies=9, cpus=8, gpus=4), 500, 8),
        (NodeAsk(nodes=6, copies=2, cpus=8, gpus=4), 0, 0),  # the nodes of one copy may not
    ],
)
def test_how_many_could_start(ask: NodeAsk, promised_milli: int, count: int) -> None:
    assert RACK.could_start(ask, promised_milli) == count


def test_a_job_that_asks_all_of_a_free_part_may_share_its_node() -> None:
    nodes = ZoneNodes(up=1, idle=0, cpus=64, gpus=8, partly=(NodeFree(2, 8),))
    assert nodes.could_start(NodeAsk(cpus=2, gpus=8), 0) == 1
    assert nodes.could_start(NodeAsk(cpus=2, gpus=8, exclusive=True), 0) == 0


def test_where_sizes_are_not_known_every_job_fits() -> None:
    assert all_free(3).could_start(NodeAsk(cpus=10_000, gpus=100), 0) == 3


@pytest.mark.parametrize(
    ("nodes", "promised_milli", "expected"),
    [
        (RACK, 0, FreeClass(4, 8, 7)),
        (RACK, 1_500, FreeClass(2, 8, 7)),
        (RACK, 4_000, FreeClass(0, 7, 6)),
        (RACK, 9_000, FULL),
        (ZoneNodes(8, 0, 64, 8), 0, FULL),
        (ZoneNodes(8, 0, 64, 8, (NodeFree(3, 0),)), 0, FreeClass(0, 0, 2)),
        (all_free(100), 0, FreeClass(32, 1_024, 21)),
    ],
)
def test_the_class_of_a_zone(nodes: ZoneNodes, promised_milli: int, expected: FreeClass) -> None:
    assert class_of(nodes, promised_milli) == expected


def test_every_class_covers_closed_and_none_but_closed_is_below_full() -> None:
    for found in (CLOSED, FULL, class_of(RACK, 0)):
        assert found.covers(CLOSED)
        assert found.covers(FULL) is (found is not CLOSED)


@given(
    nodes=st.builds(
        ZoneNodes,
        up=st.just(8),
        idle=st.integers(0, 4),
        cpus=st.just(16),
        gpus=st.integers(0, 4),
        partly=st.lists(st.builds(NodeFree, st.integers(1, 16), st.integers(0, 4)), max_size=4).map(tuple),
    ),
    promised_milli=st.integers(0, 9_000),
    ask=st.builds(
        NodeAsk, st.integers(1, 3), st.integers(1, 3), st.integers(1, 16), st.integers(0, 4), st.booleans()
    ),
)
def test_a_zone_whose_class_is_too_low_could_indeed_not_start_the_job(
    nodes: ZoneNodes, promised_milli: int, ask: NodeAsk
) -> None:
    if nodes.could_start(ask, promised_milli) >= ask.total:
        assert class_of(nodes, promised_milli).covers(class_for(ask, ask.total))
