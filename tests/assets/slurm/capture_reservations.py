"""Capture what a real Slurm says of reservations, privileges and preemption.

`python -m tests.assets.slurm.capture_reservations --conf SLURM_CONF`, with the slurm.conf of a sandbox of two racks of
two nodes, without slurm-powerd: `spower sandbox up --racks 2 --nodes-per-rack 2 --no-daemon`. It is changed by this.
"""

import argparse
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.dialect import read_version
from slurm_power.adapters.slurm.runner import Runner
from tests.adapters.slurm.replay import Recorder

ODD_NAME = "odd name StartTime=7"
RESERVATIONS: tuple[tuple[str, ...], ...] = (
    ("reservationname=pw_rack01", "starttime=now", "duration=60", "users=alice", "licenses=pw_rack01:40,pw_rack02:2",
     "flags=ANY_NODES,NO_HOLD_JOBS_AFTER"),
    ("reservationname=pw_later", "starttime=now+1days", "endtime=now+2days", "accounts=research,ops", "nodecnt=1",
     "features=pw_rack02", "partitionname=train"),
    ("reservation", f"reservationname={ODD_NAME}", "starttime=now+3days", "duration=30", "nodes=ALL", "groups=daemon",
     "flags=MAINT,IGNORE_JOBS"),
    ("reservationname=but_bob", "starttime=now+5days", "duration=30", "nodes=gpu001", "users=-bob",
     "flags=PURGE_COMP=00:05:00"),
)  # fmt: skip
ACCOUNTS: tuple[tuple[str, ...], ...] = (
    ("add", "account", "below", "parent=research"),
    ("add", "coordinator", "account=research", "names=bob"),
    ("modify", "user", "alice", "set", "adminlevel=operator"),
    ("modify", "qos", "silver", "set", "preemptexempttime=00:05:00"),
)


def neutral(calls: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The calls, of the configuration those lines alone that are read."""
    found = []
    for call in calls:
        if call["args"] == ["show", "config"]:
            kept = re.findall(r"^Preempt.*\n", str(call["out"]), re.MULTILINE)
            found.append({**call, "out": "".join(kept)})
        else:
            found.append(call)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", required=True)
    runner = Runner(conf=parser.parse_args().conf)
    for words in ACCOUNTS:
        runner.run("sacctmgr", "-i", *words, check=False)  # it may have been changed before
    for words in RESERVATIONS:
        runner.run("scontrol", "create", *words)
    time.sleep(1)
    recorder = Recorder(runner)
    try:
        version = read_version(recorder)
        inventory.read_reservations(recorder)
        inventory.read_qos(recorder)
        inventory.read_privileges(recorder)
        inventory.read_preemption(recorder)
    finally:
        for name in ("pw_rack01", "pw_later", ODD_NAME, "but_bob"):
            runner.run("scontrol", "delete", f"reservationname={name}")
    target = Path(__file__).parent / f"{version[0]}.{version[1]:02d}" / "reservations.json"
    target.write_text(json.dumps({"note": "captured", "calls": neutral(recorder.calls)}, indent=1) + "\n")


if __name__ == "__main__":
    main()
