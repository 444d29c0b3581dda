"""The demo's eyes: Slurm and the daemon sampled again and again in a thread, and every instant held to the budgets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from slurm_power.adapters.lines_client import ask
from slurm_power.adapters.slurm import Runner, SlurmCommands
from slurm_power.cli.hostlists import expand
from slurm_power.config import Site
from slurm_power.core.binding import PREFIX
from slurm_power.core.errors import PowerError
from slurm_power.core.record import Standing, find_record
from slurm_power.core.topology import Topology
from slurm_power.demo.reckoning import Budget, Draw, Reckoned, budgets, miscounts, passed, reckon
from slurm_power.demo.story import Submission
from slurm_power.ports import JobRecord, JobState, LicenseRecord

_PERIOD_S = 0.2
_PATIENCE_S = 5.0
_MOST_FAULTS = 50
"""One is enough to fail; more only help to understand."""
_LEAVES_WITHIN = 50
"""Samples within which a victim leaves its nodes: ten seconds and more."""
_ON_NODES = frozenset({JobState.CONFIGURING, JobState.RUNNING, JobState.SUSPENDED, JobState.COMPLETING})

Known = Mapping[str, Submission]
"""Submissions by the names of their jobs."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a job: it was released, started or ended."""

    job: JobRecord
    what: str


@dataclass(slots=True)
class Peak:
    """The most that was seen on one zone or feed, in W."""

    committed_w: int = 0
    """By the daemon: the baseline and all claims, those too whose jobs have not started yet."""
    running_w: int = 0
    """By the demo's own account of running jobs, without the baseline."""
    counted_w: int = 0
    """By Slurm's licences in use."""


@dataclass(slots=True)
class Findings:
    """What was seen in the whole run."""

    samples: int = 0
    compared: int = 0
    """Samples in which no job changed, so that Slurm's count could be compared with the jobs."""
    faults: list[str] = field(default_factory=list)
    peaks: dict[str, Peak] = field(default_factory=dict)

    def blame(self, faults: Iterable[str]) -> None:
        """Keep what is wrong, each thing once."""
        for fault in faults:
            if fault not in self.faults and len(self.faults) < _MOST_FAULTS:
                self.faults.append(fault)


class Watch:
    """Samples until it is ended; what it has seen can be looked at all the time."""

    def __init__(self, site: Site, runner: Runner, known: Known) -> None:
        self.findings = Findings()
        self.zones: Mapping[str, Any] = {}
        """The daemon's last answer about zones and feeds."""
        self.jobs: Mapping[str, JobRecord] = {}
        """Slurm's last answer about jobs."""
        self.reserved: Mapping[str, int] = {}
        """Licence → what Slurm has reserved of it, by its last answer."""
        self.budgets = budgets(site.topology)
        self._site = site
        self._known = known
        self._slurm = SlurmCommands(runner)
        self._leaving: Mapping[str, int] = {}
        self._changes: list[Change] = []
        self._lock = Lock()
        self._ended = Event()
        self._thread = Thread(target=self._run, name="demo-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for the sample that is under way."""
        self._ended.set()
        self._thread.join()

    def take_changes(self) -> list[Change]:
        """What has happened since the last call."""
        with self._lock:
            taken, self._changes = self._changes, []
        return taken

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_S):
            try:
                self._sample()
            except (PowerError, LookupError) as error:  # a demo that cannot look has shown nothing
                self.findings.blame([f"an instant could not be checked: {error!r}"])

    def _sample(self) -> None:
        jobs = self._slurm.jobs()
        licenses = self._slurm.licenses()
        still = _states(self._slurm.jobs()) == _states(jobs)
        zones = ask(self._site.hook.control, {"v": 1, "op": "zones"}, _PATIENCE_S)
        self.findings.samples += 1
        reckoned = self._check(jobs)
        if still:
            self.findings.compared += 1
            self.findings.blame(miscounts(reckoned, licenses))
        self.findings.blame(_overcommitted(zones))
        self._keep_peaks(reckoned, licenses, zones)
        self.reserved = {record.name: record.reserved for record in licenses}
        before, self.jobs, self.zones = self.jobs, {job.target: job for job in jobs}, zones
        with self._lock:
            self._changes += changes(before, jobs)

    def _check(self, jobs: Sequence[JobRecord]) -> dict[str, Reckoned]:
        topology = self._site.topology
        reckoned = reckon(topology, self._site.policy.burst, draws(jobs, self._known))
        self.findings.blame(breaches(self.budgets, reckoned))
        self._leaving = leaving(jobs, self.jobs, self._leaving)
        self.findings.blame(unadmitted(jobs, topology, self._leaving))
        return reckoned

    def _keep_peaks(
        self, reckoned: Mapping[str, Reckoned], licenses: Iterable[LicenseRecord], zones: Mapping[str, Any]
    ) -> None:
        for name, found in reckoned.items():
            peak = self._peak(name)
            peak.running_w = max(peak.running_w, found.est_w)
        for licence in licenses:
            peak = self._peak(licence.name.removeprefix(PREFIX))
            peak.counted_w = max(peak.counted_w, licence.used)
        for row in (*zones["zones"], *zones["feeds"]):
            peak = self._peak(row["name"])
            peak.committed_w = max(peak.committed_w, row["committed_w"])

    def _peak(self, name: str) -> Peak:
        return self.findings.peaks.setdefault(name, Peak())


def draws(jobs: Iterable[JobRecord], known: Known) -> list[Draw]:
    """The jobs on nodes, with what they were submitted with. KeyError for one that the demo did not submit."""
    return [
        Draw(job.target, job.name, expand([job.node_list]), known[job.name].est_w, known[job.name].max_w)
        for job in _on_nodes(jobs)
    ]


def breaches(budgets: Mapping[str, Budget], reckoned: Mapping[str, Reckoned]) -> list[str]:
    """The budgets that are passed."""
    return [why for name, found in reckoned.items() if (why := passed(budgets[name], found))]


def unadmitted(jobs: Iterable[JobRecord], topology: Topology, leaving: Mapping[str, int]) -> list[str]:
    """The jobs on nodes that their admission record does not cover; those that leave them (`leaving`) have a moment."""
    wrong = []
    for job in _on_nodes(jobs):
        record = find_record(job.admin_comment)
        if 0 < leaving.get(job.target, 0) <= _LEAVES_WITHIN:
            continue
        if record is None or record.standing is not Standing.ADMIT:
            wrong.append(f"job {job.target} ({job.name}) runs without having been admitted")
            continue
        left = {charge.zone: charge.nodes for charge in record.charges}
        for node in expand([job.node_list]):
            zone = topology.zone_of_node[node]
            left[zone] = left.get(zone, 0) - 1
        if min(left.values()) < 0:
            wrong.append(f"job {job.target} ({job.name}) runs on {job.node_list}, where it was not admitted")
    return wrong


def leaving(
    jobs: Iterable[JobRecord], before: Mapping[str, JobRecord], known: Mapping[str, int]
) -> dict[str, int]:
    """Target → in how many samples, up to this one, a job has been on the nodes that it was admitted to and marked as
    held: a victim is marked first, and leaves its nodes a moment later. `before` and `known` are of the last sample.
    """
    found: dict[str, int] = {}
    for job in _on_nodes(jobs):
        record, last = find_record(job.admin_comment), before.get(job.target)
        was = find_record(last.admin_comment) if last is not None else None
        if record is None or last is None or was is None or record.standing is not Standing.HOLD:
            continue
        # While a job is COMPLETING Slurm counts its restart already, and shows only those nodes that it has not left.
        ends = job.state is JobState.COMPLETING
        same_run = job.restarts == last.restarts or ends
        same_nodes = job.node_list == last.node_list
        if ends and last.node_list:
            same_nodes = set(expand([job.node_list])) <= set(expand([last.node_list]))
        same = same_run and same_nodes and was.token == record.token
        if same and (was.standing is Standing.ADMIT or job.target in known):
            found[job.target] = known.get(job.target, 0) + 1
    return found


def changes(before: Mapping[str, JobRecord], jobs: Iterable[JobRecord]) -> list[Change]:
    """Jobs that have been released, have started or have ended since."""
    found = []
    for job in jobs:
        last = before.get(job.target)
        was = last.state if last is not None else JobState.PENDING
        if job.state is JobState.RUNNING and was is not JobState.RUNNING:
            found.append(Change(job, "starts"))
        elif job.state is JobState.ENDED and was is not JobState.ENDED:
            found.append(Change(job, "ends"))
        elif last is not None and last.held and not job.held and job.state is JobState.PENDING:
            found.append(Change(job, "released"))
    return found


def _overcommitted(zones: Mapping[str, Any]) -> list[str]:
    """What the daemon itself shows beyond a budget."""
    return [
        f"{row['name']}: by the daemon's own account {row['committed_w']} W are committed, and bursts of "
        f"{row['burst_w']} W, where {row['usable_w']} W are usable and the limit is {row['limit_w']} W"
        for row in (*zones["zones"], *zones["feeds"])
        if row["headroom_w"] < 0 or row["committed_w"] + row["burst_w"] > row["limit_w"]
    ]


def _on_nodes(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    return [job for job in jobs if job.state in _ON_NODES and job.node_list]


def _states(jobs: Iterable[JobRecord]) -> dict[str, JobState]:
    return {job.target: job.state for job in jobs}
