"""The commands in a sandbox's `bin`."""

import subprocess
from pathlib import Path

import pytest

from slurm_power.sandbox.layout import Layout, write_file
from slurm_power.sandbox.wrappers import CLIENTS, write_wrappers


def test_sudo_keeps_to_the_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables pass, and the first command of ours is named by its path, since sudo has a PATH of its own."""
    fake, layout = tmp_path / "sudo", Layout(tmp_path / "s")
    layout.bin.mkdir(parents=True)
    write_file(fake, '#!/bin/sh\nprintf "%s\\n" "$@"\n', 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    write_wrappers(layout, tree=True)
    argv = [str(layout.bin / "sudo"), "-u", "alice", "sbatch", "--wrap", "sbatch 'a  b' $c", "squeue"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [
        "--preserve-env=SLURM_CONF,SLURM_POWER_CONF",
        "-u",
        "alice",
        str(layout.bin / "sbatch"),
        "--wrap",
        "sbatch 'a  b' $c",
        "squeue",
    ]


@pytest.mark.parametrize("tree", [True, False])
def test_slurms_commands_only_for_another_tree(tmp_path: Path, tree: bool) -> None:
    layout = Layout(tmp_path)
    layout.bin.mkdir()
    write_wrappers(layout, tree=tree)
    there = {path.name for path in layout.bin.iterdir()}
    assert {"spower", "sreservation"} <= there
    assert (set(CLIENTS) <= there) is tree
