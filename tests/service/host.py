"""A fake Slurm with the launch gate, and a daemon on it that can die between any two of its steps."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from slurm_power.core.errors import SlurmError
from slurm_power.core.record import Standing, find_record
from slurm_power.ports import HoldKind, JobRecord, Outcome
from slurm_power.service.desk import Desk
from slurm_power.service.launch import entry_of, launch
from slurm_power.service.observe import Observer
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from tests.fakes.slurm import parse_licences
from tests.fakes.slurm_placing import expand
from tests.service.support import FakeClock, ListJournal, fake_slurm, site_of, tokens

_WAITED_S = 31


class Host:
    """Slurm and a daemon. `alive` tells whether the daemon answers."""

    def __init__(self, seed: int = 0, site_text: str | None = None) -> None:
        self.site = site_of(site_text) if site_text else site_of()
        self.clock = FakeClock()
        self.journal = ListJournal()
        self.slurm = fake_slurm(self.site, seed=seed, prolog=self._prolog)
        self.random = random.Random(seed)
        self._tokens = tokens()
        self._steps: Iterator[None] | None = None
        self._intents: list[Plan] = []
        """What the daemon is writing: in the database until it has taken in what became of it."""
        self._unwritten: list[Plan] = []
        self.desk: Desk | None = None
        self.observer: Observer | None = None
        self.revive()

    @property
    def alive(self) -> bool:
        return self.desk is not None

    # -- the daemon ------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """The daemon dies where it stands: nothing of it is left but the database. A command under way may be cut."""
        for plan in self._unwritten:
            cut = self.random.randint(0, len(plan.chain))
            self.slurm.write([plan.chain[:cut]])
        self._unwritten = []
        self.desk = self.observer = self._steps = None

    def revive(self) -> None:
        """A new daemon: learns from Slurm's records and the database, then serves."""
        desk = Desk(self.site, self.clock, self.journal, tokens=self._tokens)
        holds = {key: HoldKind.POWER for plan in self._intents if plan.action == "bind" for key in plan.keys}
        self._intents = []
        self.learn(desk)
        observer = Observer(desk, {**holds, **self.journal.holds})
        faults, self.slurm.faults = (
            self.slurm.faults,
            replace(self.slurm.faults, failed_read=0.0, stale_read=0.0),
        )
        for _ in self._round(desk, observer):
            pass
        self.slurm.faults = faults
        self.desk, self.observer = desk, observer

    def learn(self, desk: Desk) -> None:
        """What else a new daemon takes from the database."""

    def pass_time(self, desk: Desk) -> None:
        """What a round does besides, before its pass over the queue."""

    def mirror(self, desk: Desk) -> Iterator[None]:
        """What it writes to Slurm besides, after that."""
        return iter(())

    def step(self) -> bool:
        """One step of the daemon's round; True at its end."""
        if self.desk is None or self.observer is None:
            return True
        if self._steps is None:
            self._steps = self._round(self.desk, self.observer)
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return True
        except SlurmError:
            self._steps = None
            return True
        return False

    def round(self) -> None:
        """Whole rounds to the end of one."""
        while not self.step():
            pass

    def _round(self, desk: Desk, observer: Observer) -> Iterator[None]:
        """What daemon.rounds does, with a pause wherever others may get in between."""
        begun = self.clock.monotonic()
        nodes = self.slurm.nodes()
        yield
        desk.survey(nodes, self.slurm.partitions(), [licence.name for licence in self.slurm.licenses()])
        records = self.slurm.jobs()
        yield
        yield from observer.steps(records, begun)
        self.pass_time(desk)
        plans: list[Plan] = []
        for plan in run_pass(desk):
            if plan is not None:
                plans.append(plan)
            if self.random.random() < 0.2:
                yield
        self._intents = self._unwritten = plans
        yield
        self._unwritten = []
        outcomes: Sequence[Outcome] = self.slurm.write([plan.chain for plan in plans])
        yield
        for plan, outcome in zip(plans, outcomes, strict=True):
            applied(desk, plan, outcome)
        self._intents = []
        yield from self.mirror(desk)

    # -- the launch gate -------------------------------------------------------------------------------------

    def _prolog(self, job: JobRecord) -> bool:
        env = {
            "SLURM_JOB_ID": str(job.job_id),
            "SLURM_JOB_NODELIST": job.node_list,
            "SLURM_JOB_RESTART_COUNT": str(job.restarts),
        }
        if job.array_task_id is not None:
            env |= {
                "SLURM_ARRAY_JOB_ID": str(job.array_job_id),
                "SLURM_ARRAY_TASK_ID": str(job.array_task_id),
            }
        if self.desk is None:
            return self._gate_alone(job)
        while (answer := self._gate(env, job)) == "wait":
            self.clock.wait(_WAITED_S)
        return answer == "allow"

    def _gate(self, env: dict[str, str], job: JobRecord) -> str:
        """What daemon.hook does; a gate cannot look at all jobs while a round is under way."""
        desk, observer = self.desk, self.observer
        assert desk is not None
        assert observer is not None
        entry = entry_of(desk, env)
        if entry is None or entry.record is None or entry.dirty:
            observer.observe([self.slurm.job(job.job_id)], self.clock.monotonic(), whole=False)
        reply = launch(desk, env, final=False)
        if reply.verdict == "look":
            if self._steps is None:
                observer.observe(self.slurm.all_jobs(), self.clock.monotonic())
            reply = launch(desk, env)
        return reply.verdict

    def _gate_alone(self, job: JobRecord) -> bool:
        """What lua/power_gate.lua does while the daemon is away."""
        record = find_record(job.admin_comment)
        if record is None or record.restarts != job.restarts:
            return False
        zones = [self.site.topology.zone_of_node.get(node) for node in expand(job.node_list)]
        if record.standing is Standing.FREE:
            return not any(zones)
        if record.standing is not Standing.ADMIT:
            return False
        nodes = {charge.zone: charge.nodes for charge in record.charges}
        count = Counter(zones)
        if any(zone not in nodes for zone in zones):
            return False
        whole = record.any_nodes and len(count) == 1
        if not whole and any(count[zone] > nodes[zone or ""] for zone in count):
            return False
        leader = self.slurm.job(job.het_job_id) if job.het_job_id is not None else job
        parts = self.components(job.job_id) if job.het_job_id is not None else [job]
        charges: Counter[str] = Counter()
        for part in parts:
            for charge in found.charges if (found := find_record(part.admin_comment)) else ():
                charges[charge.zone] += charge.est_w
        held = parse_licences(leader.licenses)
        return all(held.get(f"pw_{zone}", 0) >= watts for zone, watts in charges.items())

    def components(self, job_id: int) -> list[JobRecord]:
        """The job, or all components of its het job."""
        job = self.slurm.job(job_id)
        if job.het_job_id is None:
            return [job]
        return [other for other in self.slurm.all_jobs() if other.het_job_id == job.het_job_id]
