"""What the tests of a whole cluster share: questions to the daemon, and a count of watts that owes nothing to it.

The count reads the site file and Slurm's own list of jobs; est is what the test wrote down when it submitted the job.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ClusterShell.NodeSet import NodeSet

from slurm_power.adapters.lines_client import ask
from slurm_power.sandbox.layout import Layout
from tests.integration.running import Cluster

_ON_NODES = frozenset({"RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING"})
_EST = re.compile(r"power:\S*?\best=([0-9.]+)(kW|W)?(/node)?")
Job = Mapping[str, Any]


def watts(text: str) -> int:
    """`34.5kW` as watts."""
    number, kilo = re.fullmatch(r"([0-9.]+)(k?)W", text).groups()  # type: ignore[union-attr]
    return round(float(number) * (1_000 if kilo else 1))


@dataclass(frozen=True, slots=True)
class Floor:
    """A site file of limits in kW, whole-percent margins and feeds in pairs, read without the project's help."""

    zone_of: Mapping[str, str]
    room: Mapping[str, int]
    """Zone or feed → what jobs may have of it: usable less baselines, in W."""
    feeds: Mapping[str, tuple[tuple[str, int], ...]]
    """Zone → its feeds, and into how many parts its load is split over them."""

    @classmethod
    def read(cls, path: Path) -> "Floor":
        data = yaml.safe_load(path.read_text())
        margin = int(data["defaults"]["margin"].rstrip("%"))
        zone_of: dict[str, str] = {}
        room: dict[str, int] = {}
        feeds: dict[str, tuple[tuple[str, int], ...]] = {}
        for name, zone in data["zones"].items():
            zone_of |= dict.fromkeys(NodeSet(zone["nodes"]), name)
            room[name] = watts(zone["limit"]) * (100 - margin) // 100 - watts(zone["baseline"])
            parts = 1 if zone["redundancy"] == "2N" else len(zone["feeds"])
            feeds[name] = tuple((feed, parts) for feed in zone["feeds"])
        for name, feed in data["feeds"].items():
            below = [(zone, parts) for zone in feeds for one, parts in feeds[zone] if one == name]
            baseline = sum(-(-watts(data["zones"][zone]["baseline"]) // parts) for zone, parts in below)
            room[name] = watts(feed["limit"]) - baseline
        return cls(zone_of, room, feeds)

    def loads(self, jobs: Sequence[Job], est_of: Callable[[Job], int]) -> dict[str, int]:
        """Zone or feed → watts of these jobs, each shared out by its nodes; zones without jobs are there with 0."""
        loads = dict.fromkeys(self.room, 0)
        for job in jobs:
            nodes = [self.zone_of[node] for node in NodeSet(job["nodes"]) if node in self.zone_of]
            for zone in set(nodes):
                est_w = -(-est_of(job) * nodes.count(zone) // len(nodes))
                loads[zone] += est_w
                for feed, parts in self.feeds[zone]:
                    loads[feed] += -(-est_w // parts)
        return loads


@dataclass(slots=True)
class Driver:
    """A cluster with its daemon."""

    cluster: Cluster
    floor: Floor
    est: dict[int, int] = field(default_factory=dict)
    """Job or array id → est of the job, or of each task, in W."""

    @classmethod
    def of(cls, cluster: Cluster) -> "Driver":
        return cls(cluster, Floor.read(cluster.layout.site_file))

    # -- the daemon ---------------------------------------------------------------------------------------------

    def ask(self, op: str, **more: object) -> Mapping[str, Any]:
        return ask(self.cluster.layout.run / "control.sock", {"v": 1, "op": op, **more}, 10)

    def entries(self, job_id: int) -> list[Mapping[str, Any]]:
        """What the daemon says of a job, of each task of an array, of each component."""
        name = re.compile(rf"{job_id}(?:[_+].*)?")
        return [job for job in self.ask("jobs")["jobs"] if name.fullmatch(job["job"]) or job["job_id"] == job_id]

    def state(self, job_id: int) -> str:
        """The daemon's word for where a job stands; empty if it does not know the job."""
        return next((str(entry["state"]) for entry in self.entries(job_id)), "")

    def settle(self, rounds: int = 2) -> None:
        """Wait until the daemon has looked at everything anew, so many times from the beginning."""
        begun = self.ask("health")["rounds"]

        def done() -> int:
            if self.ask("mode")["mode"] == "enforce":
                self.ask("mode", mode="enforce")  # it is that already; the daemon looks at once, though
            return int(self.ask("health")["rounds"])

        self.cluster.wait(done, lambda now: now > begun + rounds, "the daemon's rounds")

    def change_site(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Rewrite the site file and have the daemon read it."""
        path = self.cluster.layout.site_file
        data = yaml.safe_load(path.read_text())
        change(data)
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        os.kill(self.cluster.status()["pids"]["slurm-powerd"], signal.SIGHUP)
        self.floor = Floor.read(path)

    def limits(self) -> dict[str, int]:
        """Zone → the limit in W that the daemon goes by."""
        return {zone["name"]: zone["limit_w"] for zone in self.ask("zones")["zones"]}

    def give_up_zone(self, name: str) -> None:
        """Take a zone out of the site file: its nodes, and their partition, belong to no zone from now on."""

        def change(data: dict[str, Any]) -> None:
            del data["zones"][name]
            del data["partitions"][name]

        self.change_site(change)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Without the daemon."""
        self.cluster.stop("slurm-powerd")
        try:
            yield
        finally:
            self.cluster.start("slurm-powerd")

    # -- jobs ---------------------------------------------------------------------------------------------------

    def submit(self, *options: str, est_w: int, user: str = "alice", script: str = "sleep 300", more: str = "") -> int:
        """Submit a batch job of so many watts, or an array of that many a task; its id."""
        return self.submit_as_is(f"--comment=power:est={est_w}W{more}", *options, est_w=est_w, user=user, script=script)

    def submit_as_is(self, *options: str, est_w: int, user: str = "alice", script: str = "sleep 300") -> int:
        """Submit a job whose options say everything; `est_w` is what they come to."""
        job_id = self.cluster.sbatch(*options, user=user, script=script)
        self.est[job_id] = est_w
        return job_id

    def told(self, comment: str, *, user: str = "alice") -> tuple[int, str]:
        """Submit a batch job with this comment; its id, and what the user is told beside it."""
        done = self.cluster.call(
            "sbatch", "--parsable", "--output=/dev/null", f"--comment={comment}",
            user=user, stdin="#!/bin/sh\nsleep 300\n",
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout), done.stderr

    def id_of(self, name: str) -> int:
        """The job of that name which has not ended, once Slurm has it."""

        def look() -> list[int]:
            return [job["job_id"] for job in self.jobs() if job["name"] == name and job["job_state"] not in _ENDED]

        return self.cluster.wait(look, bool, f"the job {name}")[0]

    def task_states(self, array: int) -> list[str]:
        """The states of an array's records."""
        return [job["job_state"] for job in self.jobs() if job["array_job_id"] == array]

    def may_start_now(self, job_id: int, *more: str) -> None:
        """As if time had passed: Slurm lets a requeued job start after two minutes.

        Not in the second in which its last run was killed: slurmd holds a credential of that second for revoked, and
        the job ends as FAILED with exit code 1 ("already killed, do not launch batch job").
        """
        time.sleep(1.1)
        self.cluster.run("scontrol", "update", f"jobid={job_id}", "starttime=now", *more)

    def scontrol(self, *words: str, user: str) -> bool:
        """Whether a user got his way."""
        return self.cluster.call("scontrol", *words, user=user).returncode == 0

    def running(self, *job_ids: int) -> None:
        for job_id in job_ids:
            self.cluster.wait_job(job_id, "RUNNING")

    def held(self, job_id: int) -> dict[str, str]:
        """Wait until a job is held in Slurm and waits in the daemon's queue; its fields in Slurm."""
        self.cluster.wait(lambda: self.state(job_id), lambda state: state == "waiting", f"job {job_id} in the queue")
        return self.cluster.wait(
            lambda: self.cluster.job(job_id),
            lambda job: (job["JobState"], job["Priority"]) == ("PENDING", "0"),
            f"job {job_id} held",
        )

    def still_held(self, job_id: int) -> None:
        """It has no claim, now and after two more looks."""
        self.settle()
        self.held(job_id)
        assert self.state(job_id) == "waiting"

    def cancel_all(self) -> None:
        """End all jobs and wait until Slurm and the daemon have let go of their watts."""
        users = sorted({job["user_name"] for job in self.jobs() if job["job_state"] not in _ENDED})
        for user in users:
            self.cluster.run("scancel", "--user", user)
        self.cluster.wait(lambda: [job["job_id"] for job in self.on_nodes()], lambda jobs: not jobs, "all jobs gone")
        self.cluster.wait(lambda: self.ask("health")["claims"], lambda claims: claims == 0, "all claims gone")

    # -- the independent count ----------------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """All jobs that Slurm knows, a record each, `nodes` being those they run on. One instant."""
        said = subprocess.run(
            ("squeue", "--all", "--states=all", "--json"),
            env=self.cluster.env,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        jobs = json.loads(said.decode(errors="replace"))["jobs"]  # comments may hold any bytes
        return [{**job, "nodes": (job.get("job_resources") or {}).get("nodes") or ""} for job in jobs]

    def on_nodes(self) -> list[Job]:
        return [job for job in self.jobs() if job["job_state"] in _ON_NODES and job["nodes"]]

    def est_of(self, job: Job) -> int:
        """What a job was submitted with."""
        for key in ("job_id", "array_job_id", "het_job_id"):
            if job.get(key) in self.est:
                return self.est[job[key]]
        found = _EST.search(job["comment"] or "")
        assert found is not None, f"nobody said what job {job['job_id']} draws: {job['comment']!r}"
        nodes = len(NodeSet(job["nodes"])) if found[3] else 1
        return watts(f"{found[1]}{found[2] or 'W'}") * nodes

    def loads(self) -> dict[str, int]:
        """Zone or feed → Σ est of what is on nodes at this instant."""
        return self.floor.loads(self.on_nodes(), self.est_of)

    def licences(self) -> dict[str, int]:
        """Zone or feed → watts that Slurm itself counts as used, of those that have a licence."""
        said = self.cluster.run("scontrol", "-o", "show", "licenses")
        return {name: int(used) for name, used in re.findall(r"LicenseName=pw_(\S+) Total=\d+ Used=(\d+)", said)}

    def ledger(self) -> dict[str, int]:
        """Zone or feed → what the daemon has committed there beyond the baseline."""
        said = self.ask("zones")
        return {each["name"]: each["committed_w"] - each["baseline_w"] for each in [*said["zones"], *said["feeds"]]}

    def agree(self) -> dict[str, int]:
        """Wait until the ledger, Slurm's licences and our own count are the same to the watt; the count."""

        def look() -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
            return self.loads(), self.ledger(), self.licences()

        def same(seen: tuple[dict[str, int], dict[str, int], dict[str, int]]) -> bool:
            loads, ledger, licences = seen
            return loads == ledger and all(loads.get(name, 0) == used for name, used in licences.items())

        return self.cluster.wait(look, same, "ledger, licences and the jobs on nodes to agree")[0]

    def close_partition(self, name: str) -> None:
        """Nothing starts there; in slurm.conf, so that it stays so when that is read again."""
        conf = Layout(self.cluster.root).slurm_conf
        conf.write_text(re.sub(rf"(?m)^(PartitionName={name} .*State=)UP", r"\1DOWN", conf.read_text()))
        self.cluster.run("scontrol", "reconfigure")
        assert "State=DOWN" in self.cluster.run("scontrol", "-o", "show", "partition", name)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look at every moment meanwhile whether what is on nodes passes a budget; fails in the end if it did."""
        over: list[str] = []
        looks = 0
        ended = threading.Event()
        broken: list[BaseException] = []

        def look() -> None:
            nonlocal looks
            try:
                while not (ended.wait(0.15) and looks):
                    try:
                        on_nodes = self.on_nodes()
                    except subprocess.CalledProcessError:  # a slurmctld that is being configured anew may not answer
                        if ended.is_set():
                            raise
                        continue
                    drawing = [job for job in on_nodes if job["job_state"] != "CONFIGURING"]  # not at the gate
                    loads = self.floor.loads(drawing, self.est_of)
                    looks += 1
                    over.extend(
                        f"{name}: {load_w} of {self.floor.room[name]} W"
                        for name, load_w in loads.items()
                        if load_w > self.floor.room[name]
                    )
            except BaseException as problem:  # told below, in the thread of the test
                broken.append(problem)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert not broken, broken
        assert looks, "nothing was looked at"
        assert not over, over


_ENDED = frozenset({"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE",
                    "OUT_OF_MEMORY"})


def wait_for(look: Callable[[], bool], what: str, patience_s: float = 60.0) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + patience_s
    while not look():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for {what}"
        time.sleep(0.1)
