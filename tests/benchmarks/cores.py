"""Which cores a measurement may use: the controller's processes on some, those who submit on the others.

On a real site the two are different machines. Where both share all cores, a benchmark of submissions measures above all
how dear it is to start sbatch.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def apart(controller: Iterable[int]) -> Iterator[dict[str, int]]:
    """These processes on the first half of the cores, and this one with what it starts on the rest, meanwhile.

    Yields how many cores each side has. With a single core nothing is changed.
    """
    every = sorted(os.sched_getaffinity(0))
    half = max(len(every) // 2, 1)
    theirs, ours = set(every[:half]), set(every[half:] or every)
    pids = list(controller)
    try:
        for pid in pids:
            _confine(pid, theirs)
        _confine(os.getpid(), ours)
        yield {"controller": len(theirs), "submitters": len(ours)}
    finally:
        for pid in [*pids, os.getpid()]:
            _confine(pid, set(every))


def _confine(pid: int, cores: set[int]) -> None:
    """All threads of a process; those that it starts later follow."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(task.name), cores)
