"""What the product costs a real slurmctld: submissions with and without the hook, releases, the launch gate.

Submissions go to a partition that is down, so that only submitting is measured. The arms of a round (without plugin and
daemon; with a daemon that answers at once and decides nothing; with ours) follow each other at once, in turns A B C
C B A, so that a slow spell hits all. The middle one tells what of the cost no daemon could avoid on this machine.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path

from tests.benchmarks.cores import apart
from tests.benchmarks.rig import NODES, Rig, rig, wait
from tests.benchmarks.statistics import ratio_interval, spread

SUBMITTERS = 4
_LOOP = 'n=$1; name=$2; shift 2; while [ "$n" -gt 0 ]; do "$@" -J "$name" >/dev/null 2>&1 || exit; n=$((n - 1)); done'
_LOOP_OF_NAMES = _LOOP.replace("$name", "$name-$$-$n")
"""The same, each job with a name of its own, so that the daemon has to read each description."""
_TIMED_HOOK = """\
local clock = require("socket").gettime
local real_submit = slurm_job_submit
function slurm_job_submit(...)
  local began = clock()
  local result = real_submit(...)
  slurm.log_info("bench: hook %.6f", clock() - began)
  return result
end
return slurm.SUCCESS
"""
_HOOK_TIME = re.compile(r"bench: hook ([0-9.]+)")


class Arm(StrEnum):
    """What a submission meets in slurmctld."""

    WITHOUT = "without"
    EMPTY = "empty"
    WITH = "with"


def run(quick: bool) -> dict[str, object]:
    """All figures of this module."""
    zones, feeds, claims = (200, 40, 2_000) if quick else (10_000, 2_000, 100_000)
    with rig(zones, feeds, claims) as bench:
        conf = bench.layout.slurm_conf
        # jobs are forgotten soon, for slurmctld keeps 10,000 at most
        conf.write_text(conf.read_text().replace("State=UP", "State=DOWN") + "MinJobAge=2\n")
        bench.run("scontrol", "reconfigure")
        return {
            "ledger": {"zones": zones, "feeds": feeds, "claims": claims},
            "licences_in_slurm_conf": bench.run("scontrol", "-o", "show", "licenses").count("LicenseName="),
            "submission": submission(bench, rounds=2 if quick else 10, jobs=20 if quick else 160),
            "release": release(bench, jobs=40 if quick else 1_000, runs=1 if quick else 5),
            "gate": gate(bench, launches=20 if quick else 400),
        }


def submission(bench: Rig, rounds: int, jobs: int) -> dict[str, object]:
    """Throughput with the plugin and the daemon ÷ with neither, and what the hook took by slurmctld's own log."""
    with _met(bench, Arm.WITH):
        _submit(bench, 8)
    with apart(bench.controller()) as cores:
        alone = _throughput(bench, rounds, jobs)
        hook = {
            f"{submitters} at once": {arm.value: _hook_time(bench, arm, jobs * 4, submitters) for arm in list(Arm)[1:]}
            for submitters in (1, SUBMITTERS)
        }
        hook["1 at once, each of another name"] = {
            Arm.WITH.value: _hook_time(bench, Arm.WITH, jobs * 4, 1, loop=_LOOP_OF_NAMES)
        }
    hook["1 at once, all on the same cores"] = {
        arm.value: _hook_time(bench, arm, jobs * 4, 1) for arm in list(Arm)[1:]
    }
    return {
        "submitters": SUBMITTERS,
        "jobs_per_arm": jobs,
        "cores": cores,
        **alone,
        "all_on_the_same_cores": _throughput(bench, rounds, jobs),
        "hook_ms": hook,
    }


def _throughput(bench: Rig, rounds: int, jobs: int) -> dict[str, object]:
    rates: dict[Arm, list[float]] = {arm: [] for arm in Arm}
    for number in range(rounds):
        for arm in list(Arm)[:: 1 if number % 2 == 0 else -1]:
            with _met(bench, arm):
                rates[arm].append(jobs / _submit(bench, jobs))
            bench.cancel_all()
    return {
        **{f"{arm}_per_s": spread(rates[arm], digits=1) for arm in Arm},
        "ratio": ratio_interval(rates[Arm.WITH], rates[Arm.WITHOUT]),
        "ratio_of_empty": ratio_interval(rates[Arm.EMPTY], rates[Arm.WITHOUT]),
    }


def _hook_time(bench: Rig, arm: Arm, jobs: int, submitters: int, loop: str = _LOOP) -> dict[str, float]:
    """Milliseconds from the hook's start to its end, in slurmctld's log."""
    script = bench.layout.etc / "job_submit.lua"
    plain = script.read_text()
    _renew(script, plain.rsplit("return slurm.SUCCESS", 1)[0] + _TIMED_HOOK)
    log = bench.layout.log / "slurmctld.log"
    before = log.stat().st_size
    with _met(bench, arm):
        _submit(bench, jobs, submitters, loop)
    with log.open(errors="replace") as text:
        text.seek(before)
        took = [float(found) for found in _HOOK_TIME.findall(text.read())]
    _renew(script, plain)
    bench.cancel_all()
    return {**spread(took, 1e3), "calls": len(took)}


def release(bench: Rig, jobs: int, runs: int) -> dict[str, object]:
    """Seconds from the moment that nodes come back until the last of so many held jobs is bound and released.

    Then, for comparison, what Slurm alone takes for as many updates and releases, one scontrol doing nothing else.
    """
    took, alone = [], []
    nodes = bench.run("sinfo", "-h", "-o", "%N").strip()
    for number in range(runs):
        bench.run("scontrol", "update", f"nodename={nodes}", "state=drain", "reason=bench")
        wait(lambda: not _idle(bench), "the daemon to see that no node is free")
        _submit(bench, jobs)
        wait(lambda: len(_known(bench, "waiting")) >= jobs, "the daemon to know all jobs")
        time.sleep(2.0 * number / runs)  # not always right after a round, nor always right before one
        before = _writes(bench)
        began = time.monotonic()
        bench.run("scontrol", "update", f"nodename={nodes}", "state=resume")
        # A question for all jobs would itself take much of the time, from slurmctld or from the daemon.
        wait(lambda: _writes(bench) >= before + jobs, "all jobs to be released", 0.05)  # noqa: B023 -- called here
        took.append(time.monotonic() - began)
        if _held(bench) or len(_known(bench, "admitted")) < jobs:
            raise RuntimeError("jobs are still held")
        with bench.without_daemon():
            alone.append(_released_by_hand(bench))
        bench.cancel_all()
    return {"jobs": jobs, "seconds": spread(took), "slurm_alone_seconds": spread(alone), "runs": runs}


def _released_by_hand(bench: Rig) -> float:
    """Seconds for a like update and release of each job."""
    known = bench.run("squeue", "-h", "-o", "%i").split()
    fields = "licenses=pw_rack00:10 features=pw_rack00 prefer= admincomment=power:id=bench,v=admit,zones=rack00/1/10/13"
    bench.run("scontrol", "hold", ",".join(known))
    began = time.monotonic()
    bench.run("scontrol", stdin="".join(f"update jobid={job} {fields}\n" for job in known))
    bench.run("scontrol", stdin="".join(f"release {job}\n" for job in known))
    return time.monotonic() - began


def gate(bench: Rig, launches: int) -> dict[str, object]:
    """The launch gate as a whole process, for jobs that the daemon has admitted."""
    _submit(bench, launches)
    wait(lambda: len(_known(bench, "admitted")) >= launches, "the daemon to know the jobs")
    took = []
    for job in _known(bench, "admitted")[:launches]:
        node = f"gpu{int(str(job['zones'][0]).removeprefix('rack')) * NODES + 1:06d}"  # type: ignore[index]
        env = {
            "SLURM_JOB_ID": str(job["job_id"]),
            "SLURM_JOB_NODELIST": node,
            "SLURM_JOB_RESTART_COUNT": "0",
            "SLURM_SCRIPT_CONTEXT": "prolog_slurmctld",
        }
        began = time.perf_counter()
        done = subprocess.run([bench.layout.etc / "power_prolog"], env=env, check=False, capture_output=True)
        took.append(time.perf_counter() - began)
        if done.returncode:
            raise RuntimeError(f"the gate denied job {job['job_id']}: {done.stderr!r}")
    bench.cancel_all()
    return {"launches": len(took), "ms": spread(took, 1e3)}


@contextmanager
def _met(bench: Rig, arm: Arm) -> Iterator[None]:
    """Submissions meet this meanwhile, and our daemon afterwards."""
    _plugin(bench, arm)
    try:
        with nullcontext() if arm is Arm.WITH else bench.without_daemon():
            yield
    finally:
        _plugin(bench, Arm.WITH)


def _plugin(bench: Rig, arm: Arm) -> None:
    conf, settings = bench.layout.slurm_conf, bench.layout.etc / "slurm_power_hook.lua"
    off = "#" if arm is Arm.WITHOUT else ""
    socket = bench.empty_socket if arm is Arm.EMPTY else bench.layout.run / "hook.sock"
    conf.write_text(re.sub(r"(?m)^#?JobSubmitPlugins=lua$", f"{off}JobSubmitPlugins=lua", conf.read_text()))
    settings.write_text(re.sub(r'socket = ".*"', f'socket = "{socket}"', settings.read_text()))
    script = bench.layout.etc / "job_submit.lua"
    _renew(script, script.read_text())
    bench.run("scontrol", "reconfigure")
    time.sleep(0.3)


def _renew(script: Path, text: str) -> None:
    """Write a script with a later second than before, by which slurmctld knows that it has to be loaded again."""
    later = max(time.time(), script.stat().st_mtime + 1)
    script.write_text(text)
    os.utime(script, (later, later))


def _submit(bench: Rig, jobs: int, submitters: int = SUBMITTERS, loop: str = _LOOP) -> float:
    """Seconds that several submitters took for so many jobs."""
    argv = ("sbatch", "-n1", "-t5", "-o", "/dev/null", "--comment=power:est=10W", "--wrap", "true")

    began = time.perf_counter()
    loops = [
        subprocess.Popen(["sh", "-c", loop, "submitter", str(jobs // submitters), "wrap", *argv], env=bench.env)
        for _ in range(submitters)
    ]
    statuses = [loop.wait() for loop in loops]
    if any(statuses):
        raise RuntimeError("a submission failed")
    return time.perf_counter() - began


def _known(bench: Rig, state: str = "") -> list[dict[str, object]]:
    jobs = bench.ask(op="jobs")["jobs"]
    return [job for job in jobs if job["job_id"] and (not state or job["state"] == state)]  # type: ignore[attr-defined]


def _writes(bench: Rig) -> int:
    return int(str(bench.ask(op="health")["writes"]))


def _idle(bench: Rig) -> int:
    zones = bench.ask(op="zones")["zones"]
    return sum(zone["nodes_idle"] for zone in zones if zone["name"].startswith("rack"))  # type: ignore[attr-defined]


def _held(bench: Rig) -> int:
    return bench.run("squeue", "-h", "-o", "%r").count("JobHeld")
