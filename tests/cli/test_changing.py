"""spower mode and what follows from it; health of a daemon that is not well."""

import getpass
import json
import os
from pathlib import Path

import pytest
from click.testing import Result

from slurm_power.cli.health import troubles
from slurm_power.core.errors import SlurmError
from tests.cli.conftest import run
from tests.cli.stage import Stage, play, short_directory


def spower(stage: Stage, *args: str) -> Result:
    return run(*args, "--socket", str(stage.socket))


def test_mode_alone_shows_the_mode(stage: Stage) -> None:
    result = spower(stage, "mode")
    assert (result.exit_code, result.output) == (0, "enforce\nIt is the site file's.\n")
    assert spower(stage, "mode", "-h").output == "enforce\n"
    assert spower(stage, "mode", "-hP").output == "enforce|0|enforce|file||\n"


def test_mode_tells_who_set_it_and_what_the_site_file_says(stage: Stage) -> None:
    spower(stage, "mode", "observe")
    mode, source = spower(stage, "mode").output.splitlines()
    assert mode == "observe"
    assert source.startswith(f"Set by {getpass.getuser()} at 20")
    assert source.endswith("Z, with `spower mode`; the site file says enforce.")


def test_observe_is_the_panic_switch(stage: Stage) -> None:
    jobs = play(stage)
    result = spower(stage, "mode", "observe")
    assert result.exit_code == 0
    assert result.output == "The mode is now observe. Jobs released that were held for watts: 1.\n"
    stage.round()
    held = {str(job.job_id): job.held for job in stage.slurm.jobs()}
    assert held == {jobs["runs"]: False, jobs["waits"]: False, jobs["held"]: True}
    assert spower(stage, "zones").output.startswith("The mode is observe: no job is held for watts.\n")
    assert not spower(stage, "zones", "-h").output.startswith("The mode")


def test_enforce_and_advise(stage: Stage) -> None:
    assert spower(stage, "mode", "enforce").output == "The mode is now enforce.\n"
    told = json.loads(spower(stage, "mode", "advise", "--json").output)
    assert {**told, "set_at": None} == {
        "schema": 1, "mode": "advise", "released": 0, "file_mode": "enforce", "source": "command",
        "set_uid": os.geteuid(), "set_at": None,
    }  # fmt: skip


def test_what_would_have_been_done_is_reported(stage: Stage) -> None:
    spower(stage, "mode", "observe")
    stage.sbatch("power:est=90kW")
    result = spower(stage, "report", "--would")
    assert result.exit_code == 0
    assert ["would-reject", "1"] in [line.split() for line in result.output.splitlines()]


def test_a_mode_that_there_is_not(stage: Stage) -> None:
    result = spower(stage, "mode", "panic")
    assert result.exit_code == 2
    assert "'panic' is not one of 'observe', 'advise', 'enforce'" in result.output


def test_the_mode_is_for_root_and_slurm_user() -> None:
    with short_directory() as directory, Stage(directory, masters=frozenset()).open() as stage:
        result = spower(stage, "mode", "observe")
        assert (result.exit_code, result.output) == (
            1,
            "spower: only root and SlurmUser may change the mode\n",
        )
        assert spower(stage, "mode", "-h").output == "enforce\n"


def test_a_zone_in_the_red_is_told_first(stage: Stage) -> None:
    spower(stage, "mode", "observe")
    for _ in range(2):
        stage.sbatch("power:est=29kW,zones=rack01")
    stage.round()
    stage.round()
    result = spower(stage, "zones", "-o", "name,headroom")
    rows = dict(line.split() for line in result.output.splitlines())
    short = [name for name, headroom in rows.items() if headroom.startswith("-")]
    assert short
    assert f"More is committed than may be planned: {', '.join(short)}." in spower(stage, "zones").output


WELL = {"last_good": "2026-04-20T16:00:00Z", "error": "", "store_error": "", "store_lost": 0, "miscounts": {}}
THEN = 1_776_700_800


@pytest.mark.parametrize(
    ("change", "age_s", "told"),
    [
        ({}, 0, []),
        ({}, 60, []),
        ({"error": "an old one"}, 5, []),
        ({}, 61, ["Slurm was last read at 2026-04-20T16:00:00Z."]),
        ({"error": "no answer"}, 61, ["Slurm was last read at 2026-04-20T16:00:00Z: no answer."]),
        ({"last_good": None}, 0, ["Slurm was last read at no time yet."]),
        ({"store_error": "disk full"}, 0, ["The database fails: disk full."]),
        (
            {"miscounts": {"pw_rack01": 300, "pw_pdu": -20_000}},
            0,
            [
                f"Slurm counts {told} than its jobs hold: scontrol reconfigure mends it, while no job is completing."
                for told in ("20000 W less of pw_pdu", "300 W more of pw_rack01")
            ],
        ),
        ({"store_lost": 3}, 0, ["3 changes never reached the database since the daemon's start."]),
    ],
)
def test_what_is_wrong_with_a_daemon(change: dict[str, object], age_s: int, told: list[str]) -> None:
    assert troubles({**WELL, **change}, THEN + age_s) == told


def test_a_daemon_that_cannot_read_slurm_is_not_well(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.rounds.health.last_good = 1
    stage.rounds.health.error = str(SlurmError("failed", ("squeue",)))
    result = spower(stage, "health")
    assert result.exit_code == 1
    assert result.output.startswith("Slurm was last read at 1970-01-01T00:00:01Z: failed (squeue).\n")
    assert spower(stage, "health", "--json").exit_code == 1


def test_the_socket_comes_from_the_site_file(stage: Stage) -> None:
    assert run("mode", "-h", "--conf", str(stage.conf)).output == "enforce\n"
    assert run("mode", "-h", env={"SLURM_POWER_CONF": str(stage.conf)}).output == "enforce\n"


def test_a_site_file_with_problems_does_not_keep_anybody_from_the_panic_switch(stage: Stage) -> None:
    stage.conf.write_text(f"zones: [what]\nmode: panic\nhook: {{socket: {stage.directory}/hook.sock}}\n")
    assert run("mode", "observe", "--conf", str(stage.conf)).output.startswith("The mode is now observe.")


def test_a_site_file_that_was_named_and_is_not_there_is_not_replaced_by_another(tmp_path: Path) -> None:
    for result in (
        run("mode", "--conf", str(tmp_path / "none.yaml")),
        run("mode", env={"SLURM_POWER_CONF": str(tmp_path / "none.yaml")}),
    ):
        assert result.exit_code == 2
        assert "none.yaml: cannot be read: No such file or directory" in result.output
        assert "--socket or $SLURM_POWER_SOCKET does without the site file" in result.output


def test_a_hook_section_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("hook:\n  socket: relative/path\n")
    result = run("mode", "--conf", str(site))
    assert result.exit_code == 2
    assert f"{site}:2: hook.socket: 'relative/path' is not an absolute path" in result.output
