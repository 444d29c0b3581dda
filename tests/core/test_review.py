"""What a review found: expressions of users that cost far more than their length, or went too deep."""

from slurm_power.core.binding import asks_for_ours, foreign_licences
from slurm_power.core.constraint import could_satisfy


def test_nested_groups_in_a_constraint_are_left_to_slurm() -> None:
    assert could_satisfy("(" * 5_000 + "a", [frozenset({"b"})])


def test_unclosed_groups_in_a_licence_request_are_read_once() -> None:
    # a scan to the end for each parenthesis would take minutes here
    assert not asks_for_ours("(," * 100_000)
    assert asks_for_ours("(," * 100 + "pw_rack01:1")
    assert foreign_licences("site:1,pw_rack01:5,fluent(n[1-2]):3") == "site:1,fluent(n[1-2]):3"
