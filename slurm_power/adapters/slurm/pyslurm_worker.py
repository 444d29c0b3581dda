"""The process in which pyslurm lives: it prints pyslurm's version, or all jobs, as JSON, one a line.

It is apart from the daemon because Slurm's library ends its process where it finds no slurm.conf, and because pyslurm
keeps Python's lock while it waits for slurmctld, which may just then be waiting for the daemon to answer the hook.
"""

import importlib
import json
import sys
from types import ModuleType

from slurm_power.adapters.slurm.pyslurm_job import PyslurmJobs
from slurm_power.adapters.slurm.pyslurm_reader import NONE, WHAT_JOBS, WHAT_VERSION, encode


def main(what: str) -> None:
    """Print what is asked for. Raises SystemExit without a pyslurm that will do, and pyslurm's own errors."""
    try:
        pyslurm: ModuleType = importlib.import_module("pyslurm")
    except ModuleNotFoundError:
        sys.exit(NONE)
    if not hasattr(pyslurm.Job, "tres"):  # older ones tell only what a job asks for by node
        sys.exit(f"pyslurm {pyslurm.__version__} does not tell how many GPUs a job has")
    if what == WHAT_VERSION:
        sys.stdout.write(json.dumps(str(pyslurm.__version__)) + "\n")
    elif what == WHAT_JOBS:
        for job in PyslurmJobs(pyslurm).read():
            sys.stdout.write(encode(job))
    else:
        raise ValueError(what)


if __name__ == "__main__":
    main(*sys.argv[1:])
