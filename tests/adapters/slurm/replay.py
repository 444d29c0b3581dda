"""Captured answers of a real Slurm, given again call by call; and the recorder that captures them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slurm_power.adapters.slurm.runner import Commands, Completed

NONCE = "\x1ffixed-for-the-capture\x1f"
ASSETS = Path(__file__).parents[2] / "assets" / "slurm"
VERSIONS = tuple(sorted(path.name for path in ASSETS.iterdir() if (path / "calls.json").exists()))


def _key(program: str, args: tuple[str, ...], env: Mapping[str, str] | None) -> dict[str, Any]:
    return {"program": program, "args": list(args), "env": dict(env or {})}


@dataclass
class Replay:
    """Answers every call that was captured, and fails the test for any other."""

    calls: list[dict[str, Any]]

    @classmethod
    def of(cls, version: str) -> "Replay":
        jobs = json.loads((ASSETS / version / "calls.json").read_text())
        return cls(jobs + json.loads((ASSETS / version / "reservations.json").read_text())["calls"])

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        call = self._find(program, args, env)
        return Completed(call["status"], call["out"], call["err"])

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raw = self._find(program, args, env)["out"].encode()
        step = 97  # so that pieces end in the middle of fields and delimiters
        return (raw[first : first + step] for first in range(0, len(raw), step))

    def _find(self, program: str, args: tuple[str, ...], env: Mapping[str, str] | None) -> dict[str, Any]:
        key = _key(program, args, env)
        found = [call for call in self.calls if all(call[name] == value for name, value in key.items())]
        assert found, f"never captured: {key}"
        return found[0]


@dataclass
class Recorder:
    """Passes calls on and keeps the answers."""

    commands: Commands
    calls: list[dict[str, Any]] = field(default_factory=list)

    def run(
        self,
        program: str,
        *args: str,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        check: bool = True,
        writes: bool = False,
        timeout_s: float | None = None,
    ) -> Completed:
        done = self.commands.run(program, *args, stdin=stdin, env=env, check=check, writes=writes)
        self._keep(_key(program, args, env), done.status, done.out, done.err)
        return done

    def stream(self, program: str, *args: str, env: Mapping[str, str] | None = None) -> Iterator[bytes]:
        raw = b"".join(self.commands.stream(program, *args, env=env))
        self._keep(_key(program, args, env), 0, raw.decode(), "")
        yield raw

    def _keep(self, key: dict[str, Any], status: int, out: str, err: str) -> None:
        self.calls.append({**key, "status": status, "out": out, "err": err})
