"""A whole cluster in one process: a fake Slurm with the submit hook and the launch gate, users, and a daemon that can
die between any two of its steps. What is true about watts is computed here from Slurm's own records and from what each
job was submitted with, not from anything that the service believes.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, sqrt

from slurm_power.core.lifecycle import CLAIMING, State
from slurm_power.core.record import Standing, find_record
from slurm_power.ports import JobRecord, JobState
from slurm_power.service.book import Entry
from tests.fakes.slurm import BUSY
from tests.fakes.slurm_placing import expand
from tests.service.spec import Spec
from tests.service.users import Users


class Cluster(Users):
    """All of it, and the checks that must hold after every step."""

    # -- what is true ----------------------------------------------------------------------------------------

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
                    group[self.group(job, spec)] += ceil(max_w * share) - part
        burst = {
            name: min(sum(found.values()), ceil(2 * sqrt(sum(b * b for b in found.values()))))
            for name, found in bursts.items()
        }
        return {name: (watts, burst.get(name, 0)) for name, watts in est.items()}

    def group(self, _: JobRecord, spec: Spec) -> str:
        """What bursts together."""
        return f"{spec.uid}/{spec.name}"

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
        assert claiming == {claim.id for claim in ledger.claims.values() if not claim.reserves}
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
