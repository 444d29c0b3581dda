"""What is learnt of runs that are alike: margins at few samples, age, nodes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_power.core.profile import Learnt, Profile, ProfileKey
from slurm_power.core.sketch import Sketch

KEY = ProfileKey("research", "train", "main", 8)
HOUR, DAY, NOW = 3_600, 86_400, 1_800_000_000


def sketch(*values: tuple[int, int]) -> Sketch:
    made = Sketch()
    for watts, seconds in values:
        made.add(watts, seconds)
    return made


def learnt(runs: int, *values: tuple[int, int], nodes: int = 1) -> Learnt:
    profile = Profile(KEY)
    for number in range(runs):
        profile.learn(sketch(*values), nodes, NOW + number, new_run=True)
    return profile.says()


def test_the_same_job_on_more_nodes_is_the_same_profile() -> None:
    two, eight = learnt(4, (10_000, 600), nodes=2), learnt(4, (40_000, 600), nodes=8)
    assert two.p95_w == pytest.approx(5_000, rel=0.012)
    assert eight.p95_w == pytest.approx(5_000, rel=0.012)
    assert (two.peak_w, eight.peak_w) == (5_000, 5_000)


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=60), st.integers(1, 64))
def test_a_nodes_part_is_never_told_too_small(values: list[int], nodes: int) -> None:
    whole = sketch(*((watts, 1) for watts in values))
    one = whole.over(nodes)
    assert (one.total, one.peak_w) == (whole.total, -(-whole.peak_w // nodes))
    for percent in (50, 95, 100):
        part, all_w = one.percentile(percent), whole.percentile(percent)
        assert part is not None
        assert all_w is not None
        assert all_w / nodes * 0.994 - 1 <= part <= all_w / nodes * 1.017 + 1


def test_not_used_below_three_runs_or_a_day_of_one() -> None:
    assert learnt(2, (5_000, HOUR)).est_w is None
    assert learnt(3, (5_000, 90)).est_w is None
    assert learnt(3, (5_000, 100)).est_w is not None
    service = Profile(KEY)
    for hour in range(16):
        service.learn(sketch((5_000, HOUR)), 1, NOW + hour * HOUR, new_run=hour == 0)
        assert (service.says().est_w is None) == (hour < 15)
    assert service.says().runs == 1


def test_more_samples_bring_est_and_max_nearer_to_what_was_measured() -> None:
    found = [learnt(runs, (4_000, 570), (6_000, 30)) for runs in (3, 12, 100, 10_000)]
    assert [one.peak_w for one in found] == [6_000] * 4
    assert [one.max_w for one in found] == [7_734, 6_870, 6_300, 6_030]  # 6 kW × (1 + 0.5 ÷ √n)
    ests = [one.est_w or 0 for one in found]
    assert ests == pytest.approx([4_000 * factor for factor in (1.289, 1.145, 1.05, 1.005)], rel=0.006)
    assert all(one > other > 0 for one, other in pairwise(ests))


def test_a_mean_decides_nothing() -> None:
    """Nine tenths of the time idle, and one tenth at full draw: est is by the latter."""
    found = learnt(4, (500, 900), (10_000, 100))
    assert found.p50_w == pytest.approx(500, rel=0.006)
    assert found.p95_w == pytest.approx(10_000, rel=0.006)


def test_a_margin_asks_for_no_more_than_is_asked_without_a_profile() -> None:
    found = learnt(3, (4_000, 570), (6_000, 30))
    assert found.asked_w(2, 20_000, 20_000) == (2 * (found.est_w or 0), 2 * 7_734)
    assert found.asked_w(2, 9_000, 13_000) == (9_000, 13_000)
    est, most = found.asked_w(2, 7_000, 9_000) or (0, 0)  # less than what was measured: that was wrong
    assert (est, most) == (2 * (found.est_w or 0), 2 * 7_734)
    assert found.asked_w(2, 7_000, 9_000, whole=False) == (7_000, 9_000)
    assert learnt(1, (4_000, 600)).asked_w(2, 9_000, 9_000) is None


def test_the_percentile_rolls_with_the_traffic() -> None:
    profile = Profile(KEY)

    def days(first: int, last: int, watts: int) -> Learnt:
        for hour in range(first * 24, last * 24):
            profile.learn(sketch((watts, HOUR)), 1, NOW + hour * HOUR, new_run=False)
        return profile.says()

    assert days(0, 21, 9_000).p95_w == pytest.approx(9_000, rel=0.006)
    now = days(21, 23, 3_000)
    assert now.p95_w == pytest.approx(9_000, rel=0.006)
    assert now.peak_w == 9_000
    later = days(23, 60, 3_000)
    assert later.p95_w == pytest.approx(3_000, rel=0.006)
    assert later.peak_w == 3_000
    assert days(60, 62, 8_000).p95_w == pytest.approx(8_000, rel=0.006)  # what is new counts at once


def test_many_at_once_do_not_age_each_other() -> None:
    """A hundred copies of a service measure a week in two hours; night must not make day forgotten."""
    profile = Profile(KEY)
    for hour in range(24):
        watts = 9_000 if hour < 8 else 3_000
        profile.learn(sketch((watts, 100 * HOUR)), 1, NOW + hour * HOUR, new_run=False)
    assert profile.says().p95_w == pytest.approx(9_000, rel=0.006)


def test_what_is_rare_and_short_stays_known() -> None:
    profile = Profile(KEY)
    for month in range(24):
        profile.learn(sketch((9_000 if month == 0 else 3_000, HOUR)), 1, NOW + month * 30 * DAY, new_run=True)
    assert (profile.says().peak_w, profile.sketch.total) == (9_000, 24 * HOUR)


def test_a_clock_that_was_ahead() -> None:
    profile = Profile(KEY)
    profile.learn(sketch((9_000, 8 * DAY)), 1, NOW + 900 * DAY, new_run=True)
    for day in range(20):
        profile.learn(sketch((3_000, DAY)), 1, NOW + day * DAY, new_run=True)
    assert profile.says().peak_w == 3_000
