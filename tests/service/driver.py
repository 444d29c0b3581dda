"""What happens on a cluster at random: shapes of submissions, and one step of a history."""

import random
from collections.abc import Callable
from dataclasses import replace

from slurm_power.core.record import find_record
from slurm_power.ports import JobRecord, JobState
from tests.fakes.slurm import BUSY, Faults
from tests.service.cluster import Cluster
from tests.service.spec import Spec

_TROUBLE = Faults(lost_answer=0.2, lost_write=0.2, repeated=0.2, failed_read=0.1)


def spec(rng: random.Random) -> Spec:
    """One job, of any shape that could fit."""
    nodes = rng.choice((1, 1, 1, 2, 3, 4))
    found = Spec(
        uid=rng.choice((1001, 1002, 1003)),
        name=rng.choice(("train", "eval")),
        nodes=nodes,
        cpus=rng.choice((1, 4, 16, 32)) * nodes,
        gpus=rng.choice((0, 0, 1, 4)),
        exclusive=rng.random() < 0.2,
        minutes=rng.choice((5, 30, 240)),
        runs_s=rng.choice((20, 120, 600)),
        qos=rng.choice(("", "gold", "silver", "bronze")),
        hold=rng.random() < 0.1,
        begin_s=rng.choice((0,) * 8 + (30, 300)),
        batch=rng.random() < 0.85,
        requeue=rng.random() < 0.9,
        features=rng.choice(("",) * 6 + ("fast", "fast|slow", "[fast*1]" if nodes == 1 else "fast")),
        licenses=rng.choice(("",) * 6 + ("matlab:2",)),
    )
    return _with_watts(found, rng)


def _with_watts(found: Spec, rng: random.Random) -> Spec:
    kind = rng.random()
    if kind < 0.15:  # no envelope: by boards, else by the node's rating
        share = (
            1_000
            if found.exclusive
            else max(-(-(found.cpus // found.nodes) * 1_000 // 32), -(-found.gpus * 1_000 // 4))
        )
        est_w = found.gpus * found.nodes * 700 or -(-8_000 * min(max(share, 1), 1_000) * found.nodes // 1_000)
        return replace(found, comment="", est_w=est_w, max_w=-(-est_w * 13 // 10))
    est_w = rng.choice((800, 2_000, 5_000, 9_000, 12_000))
    if kind < 0.3:
        est_w = min(est_w, 5_000)
        comment, est_w = f"a remark; power:est={est_w}W/node", est_w * found.nodes
        return replace(found, comment=comment, est_w=est_w, max_w=-(-est_w * 13 // 10))
    max_w = est_w * rng.choice((10, 12, 16)) // 10
    return replace(found, comment=f"power:est={est_w},max={max_w}W", est_w=est_w, max_w=max_w)


def array(rng: random.Random) -> Spec:
    """An array of small tasks."""
    est_w = rng.choice((500, 2_000, 4_000))
    return replace(
        spec(rng),
        array=rng.choice(("0-3", "1-9%2", "1-6%3", "2-12")),
        nodes=1,
        cpus=rng.choice((1, 8)),
        gpus=0,
        exclusive=False,
        batch=True,
        est_w=est_w,
        max_w=est_w * 12 // 10,
        comment=f"power:est={est_w},max={est_w * 12 // 10}",
    )


def components(rng: random.Random) -> list[Spec]:
    """A het job, small enough to fit somewhere."""
    first = replace(spec(rng), nodes=1, cpus=4, gpus=0, exclusive=False, features="", licenses="")
    parts = []
    for _ in range(rng.choice((2, 3))):
        est_w = rng.choice((800, 2_000, 4_000))
        parts.append(replace(first, est_w=est_w, max_w=est_w * 13 // 10, comment=f"power:est={est_w}"))
    return parts


def cron(rng: random.Random) -> Spec:
    """A job of scrontab. Slurm chooses its nodes, and nobody can bind it elsewhere: small enough to fit on any."""
    found = replace(
        spec(rng), cron=True, hold=False, begin_s=0, batch=True, requeue=True, licenses="", nodes=1
    )
    return replace(found, comment="power:est=3kW", est_w=3_000, max_w=3_900, cpus=min(found.cpus, 32))


def rubbish(rng: random.Random) -> Spec:
    """What has to be refused, or at least not to be let in unbound."""
    comment = rng.choice(
        ("power:est=", "power:est=1e9MW", "power:max=1W,est=2W", "power:zones=nowhere", "power:a b;c")
    )
    return replace(spec(rng), comment=comment, licenses=rng.choice(("", "pw_rack01:1")))


class Driver:
    """A random history on a cluster; the same seed is the same history."""

    def __init__(self, seed: int, cluster: Cluster | None = None) -> None:
        self.rng = random.Random(seed)
        self.cluster = cluster or Cluster(seed)
        self._actions: dict[str, tuple[int, Callable[[], None]]] = {
            "step": (24, self._step),
            "round": (10, self.cluster.round),
            "advance": (14, self._advance),
            "submit": (10, lambda: self._submit(spec(self.rng))),
            "submit array": (3, lambda: self._submit(array(self.rng))),
            "submit het": (2, lambda: self._submit(*components(self.rng))),
            "submit scrontab": (2, lambda: self._submit(cron(self.rng))),
            "rubbish": (1, self._rubbish),
            "root releases": (2, self._root),
            "release": (4, lambda: self._command(self.cluster.user_release)),
            "stranger releases": (1, self._stranger),
            "hold": (3, lambda: self._command(self.cluster.user_hold)),
            "requeue": (2, lambda: self._on(self._running(), self.cluster.requeue)),
            "finish": (4, lambda: self._on(self._running(), self.cluster.slurm.finish)),
            "cancel": (1, lambda: self._on(self._pending(), self.cluster.cancel)),
            "comment": (2, lambda: self._on(self._plain(), self._comment)),
            "limit": (2, lambda: self._on(self._plain(), self._limit)),
            "node": (2, self._node),
            "statistics": (1, lambda: self._on(self._running(), self._statistics)),
            "trouble": (1, self._trouble),
            "calm": (2, self._calm),
            "crash": (1, self.cluster.crash),
            "revive": (2, self._revive),
        }

    def act(self) -> str:
        """One thing happens; its name."""
        names = list(self._actions)
        (name,) = self.rng.choices(names, [self._actions[known][0] for known in names])
        self.do(name)
        return name

    def do(self, name: str) -> None:
        """This happens."""
        self._actions[name][1]()

    def _on(self, jobs: list[JobRecord], act: Callable[[int], None]) -> None:
        if jobs:
            act(self.rng.choice(jobs).job_id)

    def _command(self, act: Callable[[str], None]) -> None:
        jobs = [job for job in self._pending() if not self.cluster.spec_of(job).cron]
        if jobs:
            act(self.cluster.named(self.rng.choice(jobs)))

    def _pending(self) -> list[JobRecord]:
        return [job for job in self.cluster.slurm.all_jobs() if job.state is JobState.PENDING]

    def _plain(self) -> list[JobRecord]:
        """Neither part of an array nor of a het job."""
        whole = [job for job in self._pending() if job.array_job_id is None and job.het_job_id is None]
        return [job for job in whole if not self.cluster.spec_of(job).cron]

    def _running(self) -> list[JobRecord]:
        return [job for job in self.cluster.slurm.all_jobs() if job.state is JobState.RUNNING]

    def _submit(self, *specs: Spec) -> None:
        if self.cluster.accepted and not specs[0].cron and self.rng.random() < 0.1:
            after = self.rng.choice(self.cluster.accepted)
            specs = tuple(replace(found, after=after) for found in specs)
        self.cluster.submit(*specs)

    def _rubbish(self) -> None:
        if self.cluster.alive:
            assert self.cluster.submit(rubbish(self.rng)) is None

    def _stranger(self) -> None:
        jobs = [job for job in self._pending() if job.priority == 0]
        if jobs:
            job = self.rng.choice(jobs)
            self.cluster.asks(job, 4711, priority=4_294_967_295)

    def _root(self) -> None:
        """An administrator lets a job go that waits for power: no hook is asked, but the gate is."""
        jobs = [job for job in self._plain() if job.priority == 0 and not self.cluster.held_by_its_user(job)]
        if jobs:
            self.cluster.slurm.admin_releases(self.rng.choice(jobs))

    def _comment(self, job_id: int) -> None:
        self.cluster.user_comments(
            job_id, _with_watts(self.cluster.specs[job_id], random.Random(self.rng.random()))
        )

    def _limit(self, job_id: int) -> None:
        self.cluster.user_limits(job_id, self.rng.choice((3, 60, 600)))

    def _node(self) -> None:
        down = self.cluster.slurm.down()
        if down and self.rng.random() < 0.6:
            self.cluster.slurm.set_node(self.rng.choice(down), up=True)
        elif len(down) < 3:
            self.cluster.slurm.set_node(f"n0{self.rng.randint(1, 9)}", up=False)

    def _statistics(self, job_id: int) -> None:
        """Another tool writes the admin comment of a running job: behind ours, as it should."""
        job = self.cluster.slurm.job(job_id)
        if find_record(job.admin_comment) is not None and not self.cluster.spec_of(job).cron:
            self.cluster.slurm.user_update(job.target, AdminComment=f"{job.admin_comment};stats=1")

    def _step(self) -> None:
        self.cluster.step()

    def _advance(self) -> None:
        self.cluster.advance(self.rng.choice((1, 2, 5, 15, 60, 130, 400)))

    def _trouble(self) -> None:
        self.cluster.slurm.faults = replace(_TROUBLE)

    def _calm(self) -> None:
        self.cluster.slurm.faults = Faults()

    def _revive(self) -> None:
        if not self.cluster.alive:
            self.cluster.revive()


__all__ = ["BUSY", "Driver", "array", "components", "rubbish", "spec"]
