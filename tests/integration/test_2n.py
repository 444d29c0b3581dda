"""Two feeds, one load: under 2N each carries it whole, under N they share it. And Slurm counts what we count."""

import pytest

from tests.integration.driver import Driver

pytestmark = pytest.mark.cluster

SITE = """\
defaults: {margin: 0%, max_factor: 1}
feeds:
  whole-a: {side: A, limit: 34.5kW}
  whole-b: {side: B, limit: 34.5kW}
  split-a: {side: A, limit: 34.5kW}
  split-b: {side: B, limit: 34.5kW}
zones:
  w1: {nodes: "w[1-2]", feeds: [whole-a, whole-b], redundancy: 2N, limit: 25kW, baseline: 0W}
  w2: {nodes: "w[3-4]", feeds: [whole-a, whole-b], redundancy: 2N, limit: 25kW, baseline: 0W}
  s1: {nodes: "s[1-2]", feeds: [split-a, split-b], redundancy: N, limit: 25kW, baseline: 0W}
  s2: {nodes: "s[3-4]", feeds: [split-a, split-b], redundancy: N, limit: 25kW, baseline: 0W}
partitions:
  whole: {zones: "w[1-2]"}
  split: {zones: "s[1-2]"}
"""


def two_of_17kw(home: Driver, partition: str, zones: tuple[str, str]) -> list[int]:
    jobs = [home.submit(f"--partition={partition}", est_w=17_000, more=f",zones={zone}") for zone in zones]
    home.running(*jobs)
    return jobs


def test_under_2n_the_third_job_waits(home: Driver) -> None:
    """34.5 kW each side, 17 kW + 17 kW run; 5 kW more would leave the survivor of a lost side with 39 kW."""
    jobs = two_of_17kw(home, "whole", ("w1", "w2"))
    third = home.submit("--partition=whole", est_w=5_000)
    home.still_held(third)
    assert home.agree() | {"split-a": 0} == {
        "w1": 17_000, "w2": 17_000, "s1": 0, "s2": 0,
        "whole-a": 34_000, "whole-b": 34_000, "split-a": 0, "split-b": 0,
    }
    zones = {zone["name"]: zone for zone in home.ask("zones")["zones"]}
    assert [zones[name]["headroom_w"] for name in ("w1", "w2")] == [8_000, 8_000]  # both racks have room
    told = home.ask("explain", job=str(third))
    assert {reason["subject"] for reason in told["reasons"]} <= {"whole-a", "whole-b", "w1", "w2"}
    assert any(reason["subject"].startswith("whole-") for reason in told["reasons"]), told
    home.cluster.run("scancel", str(jobs[0]))
    home.running(third)
    home.agree()


def test_under_n_the_third_job_starts(home: Driver) -> None:
    two_of_17kw(home, "split", ("s1", "s2"))
    third = home.submit("--partition=split", est_w=5_000)
    home.running(third)
    loads = home.agree()
    assert loads["s1"] + loads["s2"] == 39_000
    assert (loads["split-a"], loads["split-b"]) == (19_500, 19_500)


def test_counts_agree_after_everything_that_ends_a_job(home: Driver) -> None:
    """Odd watts, so that the halves of N round; jobs that end, are cancelled, are requeued, run on two racks."""
    ends = home.submit("--partition=split", est_w=3_001, script="sleep 2")
    stays = home.submit("--partition=split", est_w=4_001)
    over_two = home.submit("--partition=whole", "--nodes=3", est_w=10_001)
    requeued = home.submit("--partition=whole", "--requeue", est_w=5_003)
    home.running(stays, over_two, requeued)
    home.agree()
    home.cluster.wait_job(ends, "COMPLETED")
    loads = home.agree()
    assert loads["s1"] + loads["s2"] == 4_001
    assert loads["whole-a"] == loads["w1"] + loads["w2"]
    home.cluster.run("scontrol", "requeue", str(requeued), user="alice")
    home.cluster.wait_job(requeued, "PENDING")
    loads = home.agree()
    assert loads["w1"] + loads["w2"] in (10_001, 10_002)  # shared out over two racks, each part rounded up
    home.cluster.run("scancel", str(stays))
    home.cluster.wait_job(stays, "CANCELLED")  # until then it is completing, and counts
    loads = home.agree()
    assert loads["s1"] + loads["s2"] == 0
