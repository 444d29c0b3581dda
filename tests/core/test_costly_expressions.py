"""Expressions of users that cost far more than their length, or go too deep."""

from slurm_power.core.binding import asks_for_ours, foreign_licences
from slurm_power.core.constraint import suiting


def test_nested_groups_in_a_constraint_are_left_to_slurm() -> None:
    assert suiting("(" * 5_000 + "a", [frozenset({"b"})])


class _Counted(frozenset[str]):
    """A node's features; counts how often any node is asked for one."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        _Counted.asked += 1
        return super().__contains__(name)


def test_nodes_that_a_constraint_does_not_tell_apart_are_looked_at_once() -> None:
    # 500 names by 10,000 nodes, name by name and node by node, would take seconds while slurmctld waits
    nodes = [_Counted({f"pw_rack{number}", "ib"}) for number in range(1_000)]
    assert not suiting("|".join(["x1"] * 300), nodes)
    assert _Counted.asked <= 2 * len(nodes)


def test_a_constraint_that_is_too_long_for_slurm_is_left_to_slurm() -> None:
    assert suiting("|".join(["v100"] * 300), [frozenset({"a100"})])
    assert not suiting("|".join(["v100"] * 200), [frozenset({"a100"})])


def test_unclosed_groups_in_a_licence_request_are_read_once() -> None:
    # a scan to the end for each parenthesis would take minutes here
    assert not asks_for_ours("(," * 100_000)
    assert asks_for_ours("(," * 100 + "pw_rack01:1")
    assert foreign_licences("site:1,pw_rack01:5,fluent(n[1-2]):3") == "site:1,fluent(n[1-2]):3"
