"""Capture what a real Slurm says of the watts of its nodes: `python -m tests.assets.slurm.capture_watts --conf CONF`.

The cluster must be a private one of three nodes with an energy plugin, its `AcctGatherNodeFreq` above 0: one node idle,
one drained, one whose slurmd was killed and which does not answer any more. A sandbox in a mount namespace of its own
has such a plugin: mount a tmpfs at /sys, write `412 W` to /sys/cray/pm_counters/power and `123456 J` to …/energy, and
append AcctGatherEnergyType=acct_gather_energy/pm_counters to the slurm.conf that it makes.
"""

import argparse
import json
from pathlib import Path

from slurm_power.adapters.slurm import inventory
from slurm_power.adapters.slurm.dialect import read_version
from slurm_power.adapters.slurm.runner import Runner
from tests.adapters.slurm.replay import Recorder
from tests.assets.slurm.capture import neutral


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conf", required=True)
    recorder = Recorder(Runner(conf=parser.parse_args().conf))
    version = read_version(recorder)
    recorder.calls.clear()
    inventory.read_node_watts(recorder)
    calls = neutral(recorder.calls)
    for call in calls:
        if call["args"] == ["show", "config"]:
            shown = str(call["out"]).splitlines(keepends=True)
            call["out"] = "".join(line for line in shown if line.startswith("AcctGather"))
    target = Path(__file__).parent / f"{version[0]}.{version[1]:02d}"
    (target / "watts.json").write_text(json.dumps(calls, indent=1) + "\n")


if __name__ == "__main__":
    main()
