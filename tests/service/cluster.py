"""A whole cluster in one process: a fake Slurm with the submit hook and the launch gate, users, and a daemon that can
die between any two of its steps. What is true about watts is computed here from Slurm's own records and from what each
job was submitted with, not from anything that the service believes.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, sqrt
from typing import Any

from slurm_power.core.errors import SlurmError
from slurm_power.core.lifecycle import CLAIMING, State
from slurm_power.core.record import Standing, find_record
from slurm_power.ports import HoldKind, JobRecord, JobState, Outcome
from slurm_power.service.book import Entry
from slurm_power.service.desk import Desk
from slurm_power.service.launch import entry_of, launch
from slurm_power.service.modify import modify
from slurm_power.service.observe import Observer
from slurm_power.service.plan import Plan
from slurm_power.service.release import applied, run_pass
from slurm_power.service.submit import submit
from tests.fakes.slurm import BUSY, Refusal, parse_licences
from tests.fakes.slurm_placing import expand
from tests.service.support import START, USERS, FakeClock, ListJournal, fake_slurm, site_of, tokens

_WAITED_S = 31
_CPUS, _GPUS = 32, 4


@dataclass(frozen=True)
class Spec:
    """A submission, and what it truly draws: est and max in W of one task or component."""

    uid: int = 1001
    name: str = "train"
    est_w: int = 5_000
    max_w: int = 6_500
    comment: str = "power:est=5kW,max=6500W"
    nodes: int = 1
    cpus: int = 1
    gpus: int = 0
    exclusive: bool = False
    minutes: int = 60
    qos: str = ""
    array: str = ""
    features: str = ""
    licenses: str = ""
    hold: bool = False
    begin_s: int = 0
    after: int = 0
    """The job that it depends on; 0: none."""
    batch: bool = True
    requeue: bool = True
    runs_s: int = 600
    partition: str = "main"
    cron: bool = False

    def described(self, now: int) -> dict[str, object]:
        """As the hook describes it."""
        given: dict[str, object] = {
            "user_id": self.uid,
            "user_name": USERS[self.uid],
            "account": "research",
            "name": self.name,
            "comment": self.comment,
            "min_nodes": self.nodes,
            "min_cpus": self.cpus,
            "num_tasks": self.nodes,
            "time_limit": self.minutes,
            "partition": self.partition,
            "qos": self.qos,
            "array_inx": self.array,
            "features": self.features,
            "licenses": self.licenses,
            "dependency": f"afterany:{self.after}" if self.after else "",
            "tres_per_node": f"gres/gpu:{self.gpus}" if self.gpus else "",
            "batch": self.batch,
            "requeue": int(self.requeue),
        }
        given |= {"cron_job": True, "het_job_offset": 0} if self.cron else {}
        given |= {"shared": 0} if self.exclusive else {}
        given |= {"priority": 0} if self.hold else {}
        given |= {"begin_time": now + self.begin_s} if self.begin_s else {}
        return {name: value for name, value in given.items() if value != ""}

    def fields(self) -> dict[str, Any]:
        """As Slurm's record has it."""
        return {
            "uid": self.uid,
            "user": USERS[self.uid],
            "account": "research",
            "name": self.name,
            "comment": self.comment,
            "node_count": self.nodes,
            "cpus": max(self.cpus, self.nodes),
            "gpus": self.gpus * self.nodes,
            "exclusive": self.exclusive,
            "time_limit_s": self.minutes * 60,
            "partition": self.partition,
            "qos": self.qos or "bronze",
            "features": self.features,
            "licenses": self.licenses,
            "dependency": f"afterany:{self.after}" if self.after else "",
            "batch": self.batch,
            "requeue": self.requeue,
        }


class Cluster:
    """Slurm, users and a daemon. `alive` tells whether the daemon answers."""

    def __init__(self, seed: int = 0, site_text: str | None = None) -> None:
        self.site = site_of(site_text) if site_text else site_of()
        self.clock = FakeClock()
        self.journal = ListJournal()
        self.slurm = fake_slurm(self.site, seed=seed, prolog=self._prolog)
        self.random = random.Random(seed)
        self.specs: dict[int, Spec] = {}
        """By job id; of an array, by the array's."""
        self.accepted: list[int] = []
        self.held_by_user: set[tuple[int, int | None]] = set()
        """Records whose owner holds them, as `identity` names them."""
        self._tokens = tokens()
        self._lua = 0
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
        observer = Observer(desk, {**holds, **self.journal.holds})
        faults, self.slurm.faults = (
            self.slurm.faults,
            replace(self.slurm.faults, failed_read=0.0, stale_read=0.0),
        )
        for _ in self._round(desk, observer):
            pass
        self.slurm.faults = faults
        self.desk, self.observer = desk, observer

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

    # -- users -----------------------------------------------------------------------------------------------

    def submit(self, *specs: Spec) -> int | None:
        """A submission, of several components if there are several; the first job's id, or None if it was refused."""
        prepared = [self._hook(spec, offset if len(specs) > 1 else None) for offset, spec in enumerate(specs)]
        if any(fields is None for fields in prepared):
            return None
        fields = [found for found in prepared if found is not None]
        begin = self.slurm.now + specs[0].begin_s if specs[0].begin_s else None
        if len(specs) > 1:
            jobs = self.slurm.submit_het(*fields, runs_s=specs[0].runs_s, begin=begin)
        else:
            jobs = [self.slurm.submit(runs_s=specs[0].runs_s, begin=begin, array=specs[0].array, **fields[0])]
        for job, spec in zip(jobs, specs, strict=True):
            self.specs[job.job_id] = spec
        self.accepted.append(jobs[0].job_id)
        if specs[0].hold:
            self.held_by_user |= {self.identity(job) for job in jobs}
        return jobs[0].job_id

    def _hook(self, spec: Spec, offset: int | None) -> dict[str, Any] | None:
        fields = spec.fields()
        described = spec.described(self.slurm.now)
        if offset is not None:
            described["het_job_offset"] = offset
        if self.desk is None and spec.cron:
            return None
        if self.desk is None:
            self._lua += 1
            hold = "both" if spec.hold else "power"
            return {**fields, "held": True, "admin_comment": f"power:id=lua-{self._lua},v=hold,hold={hold}"}
        reply = submit(self.desk, described)
        if reply.verdict == "reject":
            return None
        fields["cron"] = spec.cron
        names = {"exc_nodes": "excluded_nodes", "min_nodes": "node_count"}
        for name, value in reply.fields.items():
            if name not in ("priority", "max_nodes"):
                fields[names.get(name, name)] = value
        fields["held"] = spec.hold or reply.verdict == "hold"
        return fields

    def asks(self, job: JobRecord, uid: int, **changes: object) -> dict[str, Any] | None:
        """What the modify hook answers: fields that it sets instead, or None if it refuses."""
        if self.desk is None:
            return None
        rec = {
            "job_id": job.job_id,
            "user_id": job.uid,
            "priority": job.priority,
            "admin_comment": job.admin_comment,
            "time_limit": (job.time_limit_s or 0) // 60,
        }
        if job.array_job_id is not None:
            rec["array_job_id"] = job.array_job_id
        if job.array_task_id is not None:
            rec["array_task_id"] = job.array_task_id
        reply = modify(self.desk, uid, changes, rec)
        return dict(reply.fields) if reply.verdict == "allow" else None

    def user_release(self, target: str) -> None:
        """`scontrol release`: the hook is asked once a record, tasks that are named are split off before."""
        for job in self._named_by(target):
            if job.state is not JobState.PENDING:
                continue
            answer = self.asks(job, job.uid, priority=4_294_967_295)
            if answer is None:
                continue
            if "priority" not in answer:
                self.slurm.user_releases_one(job)
            self.held_by_user.discard(self.identity(job))

    def user_hold(self, target: str) -> None:
        """`scontrol hold`."""
        for job in self._named_by(target):
            if job.state is JobState.PENDING and self.asks(job, job.uid, priority=0) is not None:
                self.slurm.user_holds_one(job)
                self.held_by_user.add(self.identity(job))

    def _named_by(self, target: str) -> list[JobRecord]:
        """Tasks that are split off here were held with the rest."""
        before = {self.identity(job) for job in self.slurm.all_jobs()}
        found = self.slurm.user_names(target)
        held = {self.root(job) for job in found if (self.root(job), None) in self.held_by_user}
        self.held_by_user |= {self.identity(job) for job in found if self.root(job) in held} - before
        return found

    def user_comments(self, job_id: int, spec: Spec) -> None:
        """The owner writes another envelope into the comment."""
        job = self.slurm.job(job_id)
        if self.asks(job, job.uid, comment=spec.comment) is not None:
            self.slurm.user_update(job.target, Comment=spec.comment)
            root = self.root(job)
            self.specs[root] = replace(
                self.specs[root], comment=spec.comment, est_w=spec.est_w, max_w=spec.max_w
            )

    def user_limits(self, job_id: int, minutes: int) -> None:
        """The owner changes the time limit."""
        job = self.slurm.job(job_id)
        if self.asks(job, job.uid, time_limit=minutes) is not None:
            self.slurm.user_update(job.target, TimeLimit=str(minutes))

    def requeue(self, job_id: int) -> None:
        """By the owner, or by Slurm's own preemption: the same thing. A het job goes as a whole."""
        parts = self.components(job_id)
        if any(part.state is not JobState.RUNNING for part in parts):
            return
        for part in parts:
            try:
                self.slurm.user_requeue(part.job_id)
            except Refusal:
                return

    def cancel(self, job_id: int) -> None:
        for part in self.components(job_id):
            if part.state is JobState.PENDING or part.state is JobState.RUNNING:
                self.slurm.cancel(part.job_id)

    def held_by_its_user(self, job: JobRecord) -> bool:
        return self.identity(job) in self.held_by_user

    def components(self, job_id: int) -> list[JobRecord]:
        """The job, or all components of its het job."""
        job = self.slurm.job(job_id)
        if job.het_job_id is None:
            return [job]
        return [other for other in self.slurm.all_jobs() if other.het_job_id == job.het_job_id]

    def named(self, job: JobRecord) -> str:
        """How its owner names it: the whole array or het job, or this record alone."""
        if job.het_job_id is not None:
            return str(job.het_job_id)
        return str(job.array_job_id) if job.array_tasks and self.random.random() < 0.7 else job.target

    def root(self, job: JobRecord) -> int:
        return job.array_job_id or job.het_job_id or job.job_id

    def identity(self, job: JobRecord) -> tuple[int, int | None]:
        """The first job id of an array or het job, and the task or component; None for the pending rest of an array."""
        return self.root(job), job.array_task_id if job.het_job_id is None else job.het_offset

    def advance(self, seconds: int) -> None:
        """Time passes; jobs end and start."""
        self.clock.instant += seconds
        self.slurm.tick(self.clock.instant)

    # -- what is true ----------------------------------------------------------------------------------------

    def spec_of(self, job: JobRecord) -> Spec:
        return self.specs[job.job_id] if job.het_job_id is not None else self.specs[self.root(job)]

    def loads(self, jobs: Sequence[tuple[JobRecord, dict[str, int]]]) -> dict[str, tuple[int, int]]:
        """(Σ est, burst) in W by zone and feed, baselines in est, of jobs with their nodes in each zone."""
        est: Counter[str] = Counter()
        bursts: dict[str, Counter[str]] = {}
        topology = self.site.topology
        for zone in topology.zones.values():
            est[zone.name] += zone.baseline_w
            for tap in topology.taps[zone.name]:
                est[tap.feed] += ceil(Fraction(zone.baseline_w * tap.numerator, tap.denominator))
        for job, zones in jobs:
            spec = self.spec_of(job)
            total = sum(zones.values())
            for zone_name, count in zones.items():
                est_w, max_w = (ceil(Fraction(watts * count, total)) for watts in (spec.est_w, spec.max_w))
                shares = [(zone_name, Fraction(1))]
                shares += [
                    (tap.feed, Fraction(tap.numerator, tap.denominator)) for tap in topology.taps[zone_name]
                ]
                for element, share in shares:
                    part = ceil(est_w * share)
                    est[element] += part
                    group = bursts.setdefault(element, Counter())
                    group[f"{spec.uid}/{spec.name}"] += ceil(max_w * share) - part
        burst = {
            name: min(sum(found.values()), ceil(2 * sqrt(sum(b * b for b in found.values()))))
            for name, found in bursts.items()
        }
        return {name: (watts, burst.get(name, 0)) for name, watts in est.items()}

    def running(self) -> list[tuple[JobRecord, dict[str, int]]]:
        """What is on nodes of zones, with its nodes in each."""
        found = []
        for job in self.slurm.all_jobs():
            zones = Counter(
                zone for node in expand(job.node_list) if (zone := self.site.topology.zone_of_node.get(node))
            )
            if job.state in BUSY and zones:
                found.append((job, dict(zones)))
        return found

    def startable(self) -> list[tuple[JobRecord, dict[str, int]]]:
        """Pending, not held, admitted for this start: each as often as it may start."""
        found = []
        for job in self.slurm.all_jobs():
            record = find_record(job.admin_comment)
            if job.state is not JobState.PENDING or not job.priority or record is None:
                continue
            if record.standing is Standing.ADMIT and job.restarts == record.restarts:
                zones = {charge.zone: charge.nodes for charge in record.charges}
                found += [(job, zones)] * self._copies(job)
        return found

    def _copies(self, job: JobRecord) -> int:
        if not job.array_tasks:
            return 1
        tasks = sum(
            int(b or a) - int(a) + 1
            for a, _, b in (part.partition("-") for part in job.array_tasks.split(","))
        )
        if job.array_throttle is None:
            return tasks
        others = [
            other
            for other in self.slurm.all_jobs()
            if other.array_job_id == job.array_job_id
            and other.array_task_id is not None
            and (other.state in BUSY or (other.state is JobState.PENDING and other.priority))
        ]
        return max(0, min(tasks, job.array_throttle - len(others)))

    def check_budgets(self) -> None:
        """(a) What runs never passes usable, nor with its bursts the limit, in any zone or feed."""
        topology = self.site.topology
        for name, (est_w, burst_w) in self.loads(self.running()).items():
            element = topology.zones.get(name) or topology.feeds[name]
            usable_w = int(element.limit_w * (1 - element.margin))
            assert est_w <= usable_w, f"{name}: {est_w} W run, {usable_w} W are usable"
            assert est_w + burst_w <= element.limit_w, f"{name}: {est_w}+{burst_w} W of {element.limit_w} W"

    def check_covered(self) -> None:
        """(b) While the daemon lives, the ledger misses nothing that runs."""
        if self.desk is None:
            return
        for name, (est_w, _) in self.loads(self.running()).items():
            counted = self.desk.ledger.meters[name].committed_w
            assert counted >= est_w, f"{name}: {est_w} W run, {counted} W are counted"

    def check_exact(self) -> None:
        """(b) Once it is quiet, the ledger is exactly what runs and what may start."""
        assert self.desk is not None
        for name, (est_w, _) in self.loads([*self.running(), *self.startable()]).items():
            counted = self.desk.ledger.meters[name].committed_w
            assert counted == est_w, f"{name}: {est_w} W are true, {counted} W are counted; {self.picture()}"

    def check_book(self) -> None:
        """Book and ledger agree: a claim is there exactly in claiming states, and the meters are their sums."""
        if self.desk is None:
            return
        assert not self.desk.faults.count, self.desk.faults.by_key
        book, ledger = self.desk.book, self.desk.ledger
        claiming = {entry.key for entry in book.entries.values() if entry.state in CLAIMING}
        assert claiming == set(ledger.claims)
        fresh = ledger.empty()
        fresh.load(ledger.claims.values())
        for name, meter in ledger.meters.items():
            again = fresh.meters[name]
            assert (meter.committed_w, meter.burst_w) == (again.committed_w, again.burst_w), name

    def check_holds(self) -> None:
        """(d) and (e): what its user holds does not run; what power holds was not let go without a claim."""
        for job in self.slurm.all_jobs():
            if job.state is JobState.PENDING and self.identity(job) in self.held_by_user:
                assert job.priority == 0, f"the hold of job {job.job_id}'s user was lifted {self.picture()}"

    def check(self) -> None:
        """Everything that has to hold after every step."""
        self.check_budgets()
        self.check_covered()
        self.check_book()
        self.check_holds()

    def picture(self) -> str:
        """What Slurm and the book say, for a message."""
        jobs = [
            f"{job.target} {job.state} p={job.priority} r={job.restarts} {job.reason} {job.admin_comment}"
            for job in self.slurm.all_jobs()
            if job.state is not JobState.ENDED
        ]
        book = [] if self.desk is None else [_line(entry) for entry in self.desk.book.entries.values()]
        return "\n".join(["", "Slurm:", *jobs, "book:", *book])

    # -- the end ---------------------------------------------------------------------------------------------

    def calm(self, rounds: int = 4) -> None:
        """Nothing goes wrong any more, and nothing but the daemon moves."""
        self.slurm.faults = type(self.slurm.faults)()
        if self.desk is None:
            self.revive()
        for _ in range(rounds):
            self.clock.instant += 6
            self.slurm.now = self.clock.instant
            self.round()
            self.check()

    def drain_after_revival(self) -> None:
        """The daemon comes back, and everything runs to its end."""
        self.revive()
        self.check()
        self.drain()

    def drain(self) -> None:
        """(c) With all else out of the way, every job that was accepted runs to its end."""
        self.calm(1)
        for node in self.slurm.nodes():
            self.slurm.set_node(node.name, up=True)
        for _ in range(400):
            left = [job for job in self.slurm.all_jobs() if job.state is not JobState.ENDED]
            if not left:
                return
            for job in left:
                if job.state is JobState.PENDING and self.identity(job) in self.held_by_user:
                    self.user_release(job.target)
                elif job.state is JobState.SUSPENDED:
                    self.slurm.resume(job.job_id)
            self.advance(90)
            self.check()
            self.round()
            self.check()
        raise AssertionError(f"some jobs never ran{self.picture()}")


def _line(entry: Entry) -> str:
    text = f"{entry.key} job={entry.job_id} {entry.state} hold={entry.hold} {entry.note}"
    return text if entry.state in (State.RUNNING, State.ADMITTED) else f"{text} {entry.verdict}"


__all__ = ["START", "Cluster", "Spec"]
