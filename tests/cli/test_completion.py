"""etc/completion, in a real bash."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from slurm_power.cli.sreservation import sreservation
from tests.cli.conftest import Scene
from tests.cli.stage import Stage

SCRIPT = Path(__file__).parents[2] / "etc" / "completion" / "spower.bash"
_COMPLETE = """\
source "$1"
compopt() { echo "option $2"; }
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_spower "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(scene: Scene, directory: Path, *words: str, of: str = "spower") -> list[str]:
    """What bash offers for the last word."""
    program = directory / of
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m slurm_power.cli.{of} "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", _COMPLETE, "bash", str(SCRIPT), str(program), *words],
        env={**os.environ, "SLURM_POWER_SOCKET": str(scene.stage.socket)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def test_commands(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "") == [
        "zones", "jobs", "explain", "check", "place", "protect", "derate", "telemetry", "profiles", "report", "audit",
        "health", "checkpointed", "mode", "config", "render", "sandbox",
    ]  # fmt: skip
    assert completed(scene, tmp_path, "re") == ["report", "render"]


def test_zones_are_those_of_the_daemon(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "zones", "rack0") == ["rack01", "rack02", "rack03"]


def test_jobs_are_those_of_the_daemon(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "explain", "") == list(scene.jobs.values())


def test_modes_and_options(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "mode", "") == ["observe", "advise", "enforce"]
    assert "--parsable2" in completed(scene, tmp_path, "zones", "--p")


def test_files(scene: Scene, tmp_path: Path) -> None:
    assert "option default" in completed(scene, tmp_path, "config", "check", "/et")


def test_audit_knows_jobs_and_zones(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "audit", "") == list(scene.jobs.values())
    assert completed(scene, tmp_path, "audit", "-z", "rack0") == ["rack01", "rack02", "rack03"]
    assert "--reservation" in completed(scene, tmp_path, "audit", "--r")


def test_reservations(stage: Stage, tmp_path: Path) -> None:
    scene = Scene(stage, {})
    terms = ["--zones=rack03", "--watts=1kW", "--duration=1h", "--users=alice", "--socket", str(stage.socket)]
    for name in ("spring", "summer", "autumn"):
        assert CliRunner().invoke(sreservation, ["create", name, *terms]).exit_code == 0
    assert completed(scene, tmp_path, "", of="sreservation") == [
        "create", "show", "update", "renew", "cancel", "check", "usage", "reconcile",
    ]  # fmt: skip
    for command in ("show", "update", "renew", "cancel"):
        assert completed(scene, tmp_path, command, "s", of="sreservation") == ["spring", "summer"]
    assert completed(scene, tmp_path, "create", "--policy", "", of="sreservation") == ["wait", "preempt"]
    assert completed(scene, tmp_path, "audit", "-R", "a") == ["autumn"]
    assert completed(scene, tmp_path, "create", "x", "--zones", "rack0", of="sreservation") == [
        "rack01", "rack02", "rack03",
    ]  # fmt: skip


def test_without_a_daemon_nothing_is_offered(scene: Scene, tmp_path: Path) -> None:
    assert completed(scene, tmp_path, "explain", "--socket", "/nowhere", "") == [""]
