"""Scores by hand: what was used of what was reserved, and how far runs were from what they asked for."""

from fractions import Fraction

import pytest

from slurm_power.core.reservation import Owner
from slurm_power.core.score import DAY_S, UNKNOWN_ACCURACY, Standings, ceiling, tenants
from slurm_power.core.usage import Usage

HALF = 30 * DAY_S
NOW = 1_000 * DAY_S


def row(age_days: int, **sums: int) -> Usage:
    return Usage("r", "research", 1, "gold", NOW - age_days * DAY_S, **sums)


def standings(*rows: Usage, owners: tuple[str, ...] = ("research",)) -> Standings:
    found = Standings()
    for one in rows:
        found.add(owners, one.account, one)
    return found


@pytest.mark.parametrize(
    ("rows", "score"),
    [
        ([], None),
        ([row(0, jobs_ws=50)], None),
        ([row(0, reserved_ws=100, used_ws=50)], Fraction(1, 2)),
        ([row(0, reserved_ws=100), row(0, reserved_ws=100, used_ws=100)], Fraction(1, 2)),
        ([row(30, reserved_ws=200, used_ws=200), row(0, reserved_ws=100)], Fraction(1, 2)),
        ([row(60, reserved_ws=400, used_ws=0), row(0, reserved_ws=100, used_ws=100)], Fraction(1, 2)),
        ([row(500, reserved_ws=100)], Fraction(0)),
        ([row(0, reserved_ws=3_000, used_ws=2_000)], Fraction(666, 1_000)),
    ],
)
def test_score(rows: list[Usage], score: Fraction | None) -> None:
    assert standings(*rows).score(("research",), NOW, HALF) == score


def test_a_reservation_of_two_accounts_counts_for_both() -> None:
    found = standings(row(0, reserved_ws=10, used_ws=5), owners=("a", "b"))
    scores = [found.score((name,), NOW, HALF) for name in ("a", "b", "research")]
    assert scores == [Fraction(1, 2), Fraction(1, 2), None]
    assert found.score(("b", "a"), NOW, HALF) == Fraction(1, 2)


@pytest.mark.parametrize(
    ("rows", "accuracy"),
    [
        ([], UNKNOWN_ACCURACY),
        ([row(0, runs=1, ended_ws=100, off_ws=0)], 1.0),
        ([row(0, runs=1, ended_ws=100, off_ws=300)], 0.25),
        ([row(30, runs=1, ended_ws=200, off_ws=200), row(0, runs=1, ended_ws=100)], 0.666),
        ([row(0, runs=1, ended_ws=0, off_ws=300)], UNKNOWN_ACCURACY),
    ],
)
def test_accuracy(rows: list[Usage], accuracy: float) -> None:
    assert standings(*rows).accuracy("research", NOW, HALF) == accuracy


def test_runs_count_for_their_account_and_reservations_for_their_owner() -> None:
    found = standings(row(0, reserved_ws=10, used_ws=10, runs=1, ended_ws=1, off_ws=1), owners=("u.alice",))
    assert found.score(("research",), NOW, HALF) is None
    assert found.score(("u.alice",), NOW, HALF) == 1
    assert (found.accuracy("research", NOW, HALF), found.accuracy("u.alice", NOW, HALF)) == (0.5, UNKNOWN_ACCURACY)
    assert found.accuracy("research", NOW, HALF) == 0.5


def test_what_counts_no_more_is_forgotten() -> None:
    found = standings(row(241, reserved_ws=10), row(239, reserved_ws=10, used_ws=10))
    found.forget(NOW, HALF)
    assert found.score(("research",), NOW, HALF) == 1
    found.forget(NOW + 30 * DAY_S, HALF)
    assert found.score(("research",), NOW, HALF) is None


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [row(age, reserved_ws=10**13 + age, used_ws=10**12 * (age % 7)) for age in range(200)]
    assert standings(*rows).score(("research",), NOW, HALF) == standings(*rows[::-1]).score(("research",), NOW, HALF)


@pytest.mark.parametrize(
    ("score", "found"),
    [(None, "0.6"), ("1", "0.6"), ("0.5", "0.3"), ("0.4", "0.24"), ("0.1", "0.24"), ("0", "0.24")],
)
def test_ceiling(score: str | None, found: str) -> None:
    asked = Fraction(score) if score is not None else None
    assert ceiling(Fraction("0.6"), asked, Fraction("0.4")) == Fraction(found)


def test_tenants() -> None:
    assert tenants(Owner(("a", "b"), ("alice",))) == ("a", "b")
    assert tenants(Owner((), ("alice", "bob"))) == ("u.alice", "u.bob")
