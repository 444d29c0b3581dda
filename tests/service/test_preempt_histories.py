"""Random histories of a floor on which tiers preempt each other, with crashes and a Slurm that loses commands.

What must hold is computed from Slurm's own records, not from anything that the service believes.
"""

import random
from collections import Counter

import pytest

from slurm_power.ports import JobRecord, JobState
from tests.fakes.slurm import BUSY, Faults
from tests.service.conftest import LONG
from tests.service.preempt_rig import SITE, Rig

TIERS = ("gold", "gold", "silver", "silver", "bronze", "bronze", "bronze")
SEEDS, STEPS = (60, 120) if LONG else (4, 60)
KINDS = {"submit": 9, "look": 12, "finish": 2, "cancel": 1, "crash": 1, "trouble": 1, "calm": 2}
ROOM_W = 20_000


class History:
    """One history; the same seed is the same one."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rig = Rig(text=SITE.replace("notice: 10m", "notice: 30s") + "preemption: {min_run: 1m}\n")
        self.est: dict[int, int] = {}
        self.cancelled: set[int] = set()

    def act(self) -> None:
        rig, rng = self.rig, self.rng
        (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
        if kind == "submit":
            est_w = rng.choice((3_000, 6_000, 12_000, 18_000))
            job = rig.submit(
                rng.choice(TIERS), est_w=est_w, requeue=rng.random() < 0.9, batch=rng.random() < 0.9,
                time_limit_s=rng.choice((300, 3_600)),
            )  # fmt: skip
            self.est[job] = est_w
        elif kind == "look":
            rig.slurm.completing_s = rng.choice((0, 0, 5))
            rig.later(rng.choice((1, 2, 7, 40, 130)))
        elif kind in ("finish", "cancel"):
            jobs = [job for job in rig.slurm.all_jobs() if job.state is JobState.RUNNING or kind == "cancel"]
            jobs = [job for job in jobs if job.state is not JobState.ENDED]
            if jobs:
                job_id = rng.choice(jobs).job_id
                self.cancelled.add(job_id)
                (rig.slurm.finish if kind == "finish" else rig.slurm.cancel)(job_id)
        elif kind == "crash":
            rig.crash()
        else:
            rig.slurm.faults = Faults(0.2, 0.2, 0.2) if kind == "trouble" else Faults()

    def check(self) -> None:
        """No zone is over, gold is never touched, and nobody is held by anybody but us."""
        load: Counter[str] = Counter()
        for job in self.rig.slurm.all_jobs():
            if job.state in BUSY:
                load[job.node_list[0]] += self.est[job.job_id]
            assert job.qos != "gold" or job.restarts == 0, job
            assert (job.batch and job.requeue) or job.restarts == 0, job
            assert job.reason != "JobHeldAdmin", job
        assert max(load.values(), default=0) <= ROOM_W, load

    def drain(self) -> None:
        """With nothing new, every job runs to its end."""
        self.rig.slurm.faults = Faults()
        for _ in range(300):
            left = [job for job in self.rig.slurm.all_jobs() if job.state is not JobState.ENDED]
            if not left:
                break
            self.rig.later(60)
            self.check()
        assert not self._left(), self._left()
        self.rig.later(2, 2)
        assert self.rig.live == []
        assert list(self.rig.store.pending_intents()) == []

    def _left(self) -> list[JobRecord]:
        return [job for job in self.rig.slurm.all_jobs() if job.state is not JobState.ENDED]

    def told(self) -> list[str]:
        lines = [line for line in self.rig.lines() if line.action.startswith("preempt")]
        return [f"{line.at} {line.action} {line.job} {line.cause}" for line in lines]


def run(seed: int) -> list[str]:
    history = History(seed)
    try:
        for _ in range(STEPS):
            history.act()
            history.check()
        history.drain()
    finally:
        history.rig.end()
    return history.told()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_history(seed: int) -> None:
    run(seed)


def test_the_same_seed_is_the_same_history() -> None:
    told = run(4)
    assert sum(" preempt " in line for line in told) > 2, "hardly anybody was preempted: the history shows nothing"
    assert run(4) == told
