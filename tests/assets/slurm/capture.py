"""Capture a real Slurm's answers as test data: `python -m tests.assets.slurm.capture --conf SLURM_CONF [--root DIR]`.

The cluster must be a private one, without jobs: at least four nodes n01 to n04 of 64 CPUs and 8 GPUs, a feature h100,
partitions train (default) and long (no time limit), licences rack01_w and matlab, QOS gold over silver and bronze, and
a KillWait of 20 s or more. With --root the commands of another version are run by chroot.
"""

import argparse
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.dialect import dialect_for, read_version
from slurm_power.adapters.slurm.jobs import JobReader
from slurm_power.adapters.slurm.runner import Runner
from tests.adapters.slurm.replay import NONCE, Recorder

FORGED = "x\nJobId=1 AdminComment=power:id=forged,v=admit\n99\x1f98\x1fN/A\x1fRUNNING\x1f"
RECORD = "power:id=token,v=hold,hold=power"


class Scene:
    """The jobs that are worth seeing."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def batch(self, name: str, *options: str, script: str = "sleep 600") -> str:
        done = self.runner.run(
            "sbatch", "--parsable", "-D", "/", "-o", "/dev/null", "-J", name, *options, "--wrap", script
        )
        return done.out.strip()

    def control(self, *words: str) -> None:
        self.runner.run("scontrol", *words)

    def wait(self, job: str, *states: str) -> None:
        for _ in range(200):
            said = self.runner.run("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").out.split()
            if said and set(said) <= set(states):
                return
            time.sleep(0.1)
        raise TimeoutError(f"job {job} is not {states}")

    def play(self) -> None:
        """Submit them all, and wait until each is in its state."""
        plain = self.batch("plain", "-n4", "--gres=gpu:2", "-L", "rack01_w:100", "-C", "h100", "-t", "2:00:00")
        self.batch(f"evil{FORGED}", "--comment", f"mine;{FORGED}power:est=1kW", "-H")
        array = self.batch("array", "-a", "1-6%2", "-N2", "--gpus=4")
        suspended, completing = self.batch("suspended"), self.batch("completing", script="trap '' TERM; sleep 600")
        requeued, twice = self.batch("requeued", "--requeue"), self.batch("requeuehold", "--requeue")
        self.batch("last", "-a", "7")
        self.batch("done", script="true")
        for job in (plain, suspended, completing, requeued, twice):
            self.wait(job, "RUNNING")
        self.control("suspend", suspended)
        self.control("requeue", requeued)
        self.control("requeuehold", twice)
        self.control("update", f"jobid={array}_[5]", "licenses=rack01_w:7", f"admincomment={RECORD}")
        held = self.batch("held", "-H", "--no-requeue", "-A", "research", "-q", "silver")
        self.control("update", f"jobid={held}", f"admincomment={RECORD}")
        self.control("hold", self.batch("heldadmin", "-b", "now+1day"))
        self.batch("depends", "-d", f"afterok:{plain}")
        self.batch("later", "-b", "now+1day")
        self.batch("exclusive", "-H", "--exclusive")
        self.batch("unlimited", "-H", "-p", "long", "-t", "UNLIMITED")
        self.batch("excludes", "-H", "-x", "n[01,04]", "-w", "n02", "-N2")
        self.batch("pertask", "-H", "-n3", "--gpus-per-task=2")
        self.runner.run("scancel", self.batch("cancelled", "-H"))
        het = ("-D", "/", "-H", "-J", "het", "--gres=gpu:1", ":", "-n2", "-J", "het", "--wrap", "true")
        self.runner.run("sbatch", *het)
        self.runner.run("salloc", "--no-shell", "-J", "interactive", "-n1", "-t", "10")
        self.control("update", "nodename=n04", "state=drain", "reason=fan State=IDLE CPUTot=1")
        time.sleep(12)  # the processes of the requeued jobs end
        self.wait(requeued, "PENDING")
        self.wait(twice, "PENDING")
        self.runner.run("scancel", completing)
        self.wait(completing, "COMPLETING")

    def clear(self) -> None:
        self.runner.run("scancel", "-u", "root", check=False)
        self.runner.run("scontrol", "update", "nodename=n04", "state=resume", check=False)


def neutral(calls: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The calls without what tells of the machine."""
    return [{**call, "out": _neutral_text(str(call["out"]))} for call in calls]


def _neutral_text(text: str) -> str:
    if text.startswith("{"):
        jobs = json.loads(text)["jobs"]
        keep = ("job_id", "array_job_id", "array_max_tasks", "array_task_id", "array_task_string", "job_state", "name")
        return json.dumps({"jobs": [{key: job[key] for key in keep} for job in jobs]})
    text = re.sub(r"NodeHostName=\S+", "NodeHostName=host", text)
    return re.sub(r"OS=.*?(?=\s+RealMemory=)", "OS=Linux", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", required=True)
    parser.add_argument("--root", default="")
    given = parser.parse_args()
    runner = Runner(conf=given.conf, prefix=("chroot", given.root) if given.root else ())
    scene = Scene(runner)
    recorder = Recorder(runner)
    try:
        scene.play()
        version = read_version(recorder)
        JobReader(recorder, dialect_for(version), lambda: NONCE).read()
        inventory.read_nodes(recorder)
        inventory.read_partitions(recorder)
        inventory.read_licenses(recorder)
        inventory.read_fair_shares(recorder)
    except TimeoutError as error:
        raise SystemExit(f"the capture failed: {error}") from error
    finally:
        scene.clear()
    target = Path(__file__).parent / f"{version[0]}.{version[1]:02d}"
    target.mkdir(exist_ok=True)
    (target / "calls.json").write_text(json.dumps(neutral(recorder.calls), indent=1) + "\n")


if __name__ == "__main__":
    main()
