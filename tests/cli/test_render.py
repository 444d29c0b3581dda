"""spower render: Slurm's own configuration for the site file."""

import json
import shlex
from pathlib import Path

import pytest

from slurm_power.cli import render
from slurm_power.config import load_site
from slurm_power.render import sacctmgr_commands, slurm_fragment
from tests.cli.conftest import run
from tests.cli.test_config import Slurm


def test_slurm_prints_the_fragment_and_the_qos_as_comments(site: Path) -> None:
    result = run("render", "slurm", str(site))
    assert result.exit_code == 0
    fragment = slurm_fragment(load_site(site))
    assert result.output.startswith(fragment)
    assert "# sacctmgr -i add qos gold\n" in result.output
    assert all(not line or line[0] == "#" for line in result.output.removeprefix(fragment).splitlines())


def test_sacctmgr_prints_commands_for_a_shell(site: Path) -> None:
    lines = run("render", "sacctmgr", str(site)).output.splitlines()
    assert [tuple(shlex.split(line)) for line in lines] == list(sacctmgr_commands(load_site(site)))


def test_versions_and_the_place_of_the_hook(site: Path) -> None:
    old = run("render", "slurm", str(site), "--slurm-version", "22.05", "--lua-dir", "/opt/pw").output
    new = run("render", "slurm", str(site), "--slurm-version", "26.05.5").output
    assert "PrologSlurmctld=/opt/pw/power_prolog" in old
    assert "reclaim_licenses" not in old
    assert "reclaim_licenses" in new


def test_the_running_slurm_gives_features_licences_and_version(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "SlurmCommands", lambda _runner: Slurm(site))
    text = run("render", "slurm", "--slurm", str(site)).output
    assert "Licenses=matlab:4,pw_rack01:26000," in text
    assert "# NodeName=n[01-02] Feature=h100,pw_rack01 ..." in text
    assert "reclaim_licenses" in text  # the fake's version is 24.11.5


def test_json(site: Path) -> None:
    found = json.loads(run("render", "slurm", str(site), "--json").output)
    assert found["slurm_conf"] == slurm_fragment(load_site(site))
    assert found["sacctmgr"][0] == ["sacctmgr", "-i", "add", "qos", "bronze"]
    assert json.loads(run("render", "sacctmgr", str(site), "--json").output)["sacctmgr"] == found["sacctmgr"]


def test_a_site_file_with_problems(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("zones: {}\n")
    for what in ("slurm", "sacctmgr"):
        result = run("render", what, str(path))
        assert result.exit_code == 2
        assert result.output.startswith(f"spower: {path}:1: zones: ")
