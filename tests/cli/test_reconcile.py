"""`sreservation reconcile`: exit codes and forms of output, with a daemon and without one."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from slurm_power.cli.sreservation import sreservation
from slurm_power.config import Site
from slurm_power.core.errors import DaemonUnreachable, PowerError, SlurmError
from slurm_power.daemon import alone
from slurm_power.service.finding import Kind
from tests.cli.stage import SITE, Stage, short_directory
from tests.cli.test_schemas import SCHEMAS, faults
from tests.fakes.slurm import FakeSlurm


def reconcile(socket: Path, *words: str, conf: Path | None = None) -> Result:
    env = {"SLURM_POWER_CONF": str(conf) if conf else None, "SLURM_POWER_SOCKET": str(socket)}
    return CliRunner().invoke(sreservation, ["reconcile", *words], env=env, prog_name="sreservation")


def put_out_of_order(stage: Stage) -> str:
    """A job that runs without its licences; its id."""
    job = stage.sbatch("power:est=5kW,zones=rack01")
    stage.round()
    stage.round()
    stage.slurm.user_update(str(job), Licenses="")
    return str(job)


def test_nothing_to_do(stage: Stage) -> None:
    done = reconcile(stage.socket)
    assert (done.exit_code, done.stdout) == (0, "Nothing to do.\n")
    assert reconcile(stage.socket, "-h").output == ""


def test_a_line_for_each_finding_and_an_exit_code_for_cron(stage: Stage) -> None:
    job = put_out_of_order(stage)
    dry = reconcile(stage.socket, "--dry-run")
    assert dry.exit_code == 1
    assert dry.stdout.startswith(f"would be mended: running-licences {job}: has no licence of ours, and should have")
    done = reconcile(stage.socket, "-h")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 1)
    assert done.stdout.startswith(f"mended: running-licences {job}: ")
    assert reconcile(stage.socket).exit_code == 0


def test_what_is_left(stage: Stage) -> None:
    stage.slurm._totals["pw_rack01"] -= 1
    job = put_out_of_order(stage)
    done = reconcile(stage.socket, "-P", "-o", "status,kind,subject")
    assert done.exit_code == 6
    lines = done.stdout.splitlines()
    assert lines[0] == "STATUS|KIND|SUBJECT"
    assert {f"mended|running-licences|{job}", "left|licence-total|pw_rack01"} == set(lines[1:])


def test_json(stage: Stage) -> None:
    put_out_of_order(stage)
    answer = json.loads(reconcile(stage.socket, "--json", "--dry-run").stdout)
    assert faults("reconcile", answer) == []
    assert answer["findings"][0]["commands"][0].startswith("scontrol update jobid=1 Licenses=pw_rack01:5000")
    assert answer["counts"] == {"mended": 0, "would": 1, "left": 0}


def test_the_schema_has_every_kind() -> None:
    finding = SCHEMAS["reconcile.schema.json"]["properties"]["findings"]["items"]
    assert finding["properties"]["kind"]["enum"] == [str(kind) for kind in Kind]


def test_only_for_those_who_may() -> None:
    with short_directory() as directory, Stage(directory, masters=frozenset({4711})).open() as stage:
        done = reconcile(stage.socket)
    assert (done.exit_code, "only root and SlurmUser" in done.output) == (5, True)


# -- without the daemon ------------------------------------------------------------------------------------------------


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(
        f"{SITE}hook: {{socket: {tmp_path}/run/hook.sock}}\nstate: {{url: 'sqlite:///{tmp_path}/state.db'}}\n"
    )
    return path


def test_alone_where_nobody_answers(tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm: list[FakeSlurm] = []
    with short_directory() as directory:
        stage = Stage(directory)
        stage.writer.close(10)
        slurm.append(stage.slurm)
    monkeypatch.setattr(alone, "read_slurm_user", lambda _: os.geteuid())
    monkeypatch.setattr(alone, "SlurmCommands", lambda _: slurm[0])
    slurm[0]._totals["pw_rack01"] -= 1
    done = reconcile(tmp_path / "none.sock", "--json", conf=conf)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (done.exit_code, answer["by"]) == (6, "command")
    assert faults("reconcile", answer) == []
    assert (tmp_path / "run" / "hook.sock.turn").read_text() == ""


@pytest.mark.parametrize("error", [SlurmError("slurmctld does not answer"), DaemonUnreachable("it hangs")])
def test_what_could_not_be_done_is_no_mend(
    tmp_path: Path, conf: Path, monkeypatch: pytest.MonkeyPatch, error: PowerError
) -> None:
    def fails(site: Site, *, dry_run: bool) -> None:
        raise error

    monkeypatch.setattr(alone, "reconcile_alone", fails)
    done = reconcile(tmp_path / "none.sock", conf=conf)
    assert (done.exit_code, str(error) in done.output) == (5, True)


def test_a_bad_site_file(tmp_path: Path) -> None:
    assert reconcile(tmp_path / "none.sock", conf=tmp_path / "no.yaml").exit_code == 2
