"""What every store must do with usage, with months that are closed, and with what is learnt from runs."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_power.core.usage import SUMS
from slurm_power.core.window import Window
from slurm_power.ports import USAGE_THROUGH, Store, StoredDraw
from tests.adapters.store.samples import MONTH, learnt, line, used


class UsageContract:
    """Needs a fixture `store`, which is empty."""

    def test_usage_adds_up(self, store: Store) -> None:
        assert store.add_usage([used(0, jobs_ws=5), used(0, jobs_ws=6), used(3_600, reserved_ws=1 << 50)], 60)
        assert store.add_usage([used(0, jobs_ws=1, used_ws=2), used(0, tier="bronze", jobs_ws=9)], 120)
        assert list(store.usage()) == [
            used(0, tier="bronze", jobs_ws=9), used(0, jobs_ws=12, used_ws=2), used(3_600, reserved_ws=1 << 50),
        ]  # fmt: skip

    def test_usage_that_is_put_again_counts_once(self, store: Store) -> None:
        assert store.add_usage([used(0, jobs_ws=5)], 60)
        for through in (60, 59, 0):
            assert not store.add_usage([used(0, jobs_ws=5)], through)
        assert list(store.usage()) == [used(0, jobs_ws=5)]
        assert store.setting(USAGE_THROUGH) == "60"
        assert store.add_usage([], 120)
        assert store.setting(USAGE_THROUGH) == "120"

    @pytest.mark.parametrize(
        ("wanted", "hours"),
        [
            ({}, [0, 3_600, 7_200, 7_200]),
            ({"since": 3_600}, [3_600, 7_200, 7_200]),
            ({"until": 3_600}, [0]),
            ({"since": 1, "until": 7_201, "account": "ops"}, [7_200]),
            ({"account": "Ops"}, []),
            ({"uid": 1_000}, [0, 3_600, 7_200]),
            ({"reservation": ""}, [0, 3_600]),
            ({"reservation": "r1"}, [7_200, 7_200]),
            ({"reservation": "r1", "uid": 4_294_967_294}, [7_200]),
        ],
    )
    def test_usage_is_found(self, store: Store, wanted: dict[str, object], hours: list[int]) -> None:
        theirs = replace(used(7_200, reservation="r1"), uid=4_294_967_294, account="ops")
        store.add_usage([used(0), used(3_600), used(7_200, reservation="r1"), theirs], 7_200)
        assert [row.hour for row in store.usage(**wanted)] == hours  # type: ignore[arg-type]

    def test_every_sum_of_usage_adds_up(self, store: Store) -> None:
        sums: Any = {name: number for number, name in enumerate(SUMS, start=1)}
        one = replace(used(0), **sums)
        store.add_usage([one], 60)
        store.add_usage([one, one], 120)
        sums = {name: 3 * number for name, number in sums.items()}
        assert list(store.usage()) == [replace(one, **sums)]

    def test_old_usage_is_deleted_in_pieces(self, store: Store) -> None:
        rows = [used(hour * 3_600, tier=tier) for hour in (3, 0, 1, 2) for tier in ("gold", "bronze")]
        store.add_usage(rows, 20_000)
        assert store.prune_usage(3 * 3_600, 2) == 2
        assert [row.hour for row in store.usage()] == [7_200, 7_200, 10_800, 10_800]
        assert store.prune_usage(3 * 3_600, 2) == 1
        assert store.prune_usage(3 * 3_600, 2) == 0
        assert [row.hour for row in store.usage()] == [10_800, 10_800]
        assert store.setting(USAGE_THROUGH) == "20000"

    def test_a_closed_month_stays_as_it_is(self, store: Store) -> None:
        assert store.close_month(MONTH)
        assert not store.close_month(replace(MONTH, rows=()))
        earlier = replace(MONTH, name="2026-03", window=Window(0, 100), tariffs=(), rows=())
        assert store.close_month(earlier)
        assert list(store.months()) == [earlier, MONTH]
        store.prune_usage(1 << 40, 100)
        store.prune(decisions=1 << 40, intents=1 << 40, limit=100)
        assert list(store.months()) == [earlier, MONTH]

    def test_what_runs_have_drawn_is_replaced_as_a_whole(self, store: Store) -> None:
        assert list(store.draws()) == []
        rows = [StoredDraw("b.1", 20, {"whole": True, "counts": {"900": 3}}), StoredDraw("a", 10, {})]
        store.replace_draws(rows)
        assert list(store.draws()) == rows[::-1]
        store.replace_draws([StoredDraw("b.1", 30, {"whole": False})])
        assert list(store.draws()) == [StoredDraw("b.1", 30, {"whole": False})]
        store.replace_draws([])
        assert list(store.draws()) == []

    def test_profiles_come_back_the_last_seen_last(self, store: Store) -> None:
        odd = [learnt(10, "a" * 2_000), learnt(20, "Train"), learnt(5, "odd \udcff\x00")]
        rows = [learnt(30), *odd, learnt(40, gpus=0)]
        store.save_profiles(rows)
        assert list(store.profiles(10)) == sorted(rows, key=lambda each: each.seen_at)
        assert [each.seen_at for each in store.profiles(2)] == [30, 40]
        assert list(store.profiles(0)) == []

    def test_a_later_save_replaces_a_profile(self, store: Store) -> None:
        store.save_profiles([learnt(10), learnt(10, gpus=4)])
        store.save_profiles([learnt(20, runs=4), learnt(30, runs=5)])
        assert list(store.profiles(10)) == [learnt(10, gpus=4), learnt(30, runs=5)]

    def test_profiles_that_were_not_seen_for_long_are_deleted_in_pieces(self, store: Store) -> None:
        store.save_profiles([learnt(at, f"job{at}") for at in (10, 40, 30, 20)])
        store.record([line(10)])
        assert store.prune(decisions=0, intents=0, limit=10) == 0
        assert store.prune(decisions=0, intents=0, profiles=40, limit=2) == 2
        assert [each.seen_at for each in store.profiles(10)] == [30, 40]
        assert store.prune(decisions=0, intents=0, profiles=40, limit=2) == 1
        assert (len(store.profiles(10)), len(store.decisions())) == (1, 1)
