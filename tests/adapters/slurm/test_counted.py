"""Slurm's commands counted: each with its time, and how it failed."""

from collections.abc import Iterator
from typing import Any

import pytest

from slurm_power.adapters.slurm.counted import CountedCommands
from slurm_power.adapters.slurm.runner import Completed
from slurm_power.core.errors import SlurmError, SlurmTimeout


class Commands:
    """Those that `raises` names fail so."""

    def __init__(self) -> None:
        self.raises: dict[str, SlurmError] = {}
        self.given: dict[str, Any] = {}

    def run(self, program: str, *args: str, **given: Any) -> Completed:
        self.given = {"program": program, "args": args, **given}
        if program in self.raises:
            raise self.raises[program]
        return Completed(0, "out", "")

    def stream(self, program: str, *args: str, **given: Any) -> Iterator[bytes]:
        yield b"one"
        if program in self.raises:
            raise self.raises[program]
        yield b"two"


def test_commands_are_passed_on_and_counted() -> None:
    inner = Commands()
    counted = CountedCommands(inner)
    assert counted.run("scontrol", "show", "node", stdin="x", check=False, writes=True, timeout_s=3).out == "out"
    assert inner.given == {
        "program": "scontrol", "args": ("show", "node"), "stdin": "x", "env": None, "check": False, "writes": True,
        "timeout_s": 3,
    }  # fmt: skip
    assert list(counted.stream("squeue", "-r")) == [b"one", b"two"]
    counted.run("/opt/venv/bin/python3", "-m", "worker")
    assert {name: (failed, late, sum(one.counts)) for name, (failed, late, one) in counted.counts().items()} == {
        "scontrol": (0, 0, 1), "squeue": (0, 0, 1), "pyslurm": (0, 0, 1),
    }  # fmt: skip


def test_what_fails_is_counted_and_raised() -> None:
    inner = Commands()
    inner.raises = {"scontrol": SlurmTimeout("late"), "squeue": SlurmError("failed")}
    counted = CountedCommands(inner)
    with pytest.raises(SlurmTimeout):
        counted.run("scontrol")
    with pytest.raises(SlurmError):
        list(counted.stream("squeue"))
    assert {name: found[:2] for name, found in counted.counts().items()} == {"scontrol": (1, 1), "squeue": (1, 0)}


def test_who_stops_reading_half_way_has_not_failed() -> None:
    counted = CountedCommands(Commands())
    pieces = counted.stream("squeue")
    next(pieces)
    assert counted.counts() == {}
    pieces.close()  # type: ignore[attr-defined]
    assert counted.counts()["squeue"][:2] == (0, 0)
