"""sreservation renew, and reservations of nodes: what is said, kept, and written to Slurm."""

import json
from typing import Any

from click.testing import CliRunner, Result

from slurm_power.cli.sreservation import sreservation
from tests.cli.stage import Stage


def run(stage: Stage, *args: str) -> Result:
    return CliRunner().invoke(sreservation, [*args, "--socket", str(stage.socket)])


def create(stage: Stage, *args: str) -> Result:
    return run(stage, "create", "spring", "-z", "rack01", "-w", "5kW", "-d", "1:00:00", "-A", "research", *args)


def shown(stage: Stage, *args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(stage, "show", "--json", *args).output)["reservations"]
    return found


def test_one_that_lives_lasts_longer(stage: Stage) -> None:
    assert create(stage).exit_code == 0
    (before,) = shown(stage)
    result = run(stage, "renew", "spring", "-d", "2:00:00")
    assert result.exit_code == 0, result.output
    (after,) = shown(stage)
    assert (after["id"], after["start"]) == (before["id"], before["start"])
    hours = {one["end"][11:13] for one in (before, after)}
    assert len(hours) == 2


def test_one_that_is_over_is_made_anew(stage: Stage) -> None:
    create(stage, "--tier", "silver")
    run(stage, "cancel", "spring")
    result = run(stage, "renew", "spring", "-d", "30")
    assert result.exit_code == 0, result.output
    (now,) = shown(stage)
    assert (now["state"], now["tier"], now["watts_w"]) == ("approved", "silver", 5_000)
    assert sorted(one["state"] for one in shown(stage, "--all")) == ["approved", "cancelled"]


def test_what_cannot_be_renewed(stage: Stage) -> None:
    assert "there is no reservation 'spring'" in run(stage, "renew", "spring", "-d", "30").output
    create(stage)
    result = run(stage, "renew", "spring", "-d", "400d")
    assert result.exit_code == 2
    assert "lasts a year at most" in result.output


def test_nodes_come_with_the_watts(stage: Stage) -> None:
    result = create(stage, "-N", "2", "--dry-run")
    assert "scontrol create reservationname=pw_spring " in result.output
    assert "features=pw_rack01 nodecnt=2" in result.output
    assert create(stage, "-N", "2").exit_code == 0
    stage.round()
    records = {one.name: one for one in stage.slurm.reservations()}
    assert records["pw_spring"].node_count == 2
    assert records["pw_rack01_research"].licenses["pw_rack01"] == 5_000
    job = stage.sbatch("power:est=2kW,max=2kW,reservation=spring", min_nodes=2, max_nodes=2)
    claim = next(claim for claim in stage.desk.ledger.claims.values() if claim.within)
    assert [charge.zone for charge in claim.charges] == ["rack01"]
    assert stage.desk.ledger.promised_milli("rack01") == 2_000
    assert job
    run(stage, "cancel", "spring")
    stage.round()
    assert not [one for one in stage.slurm.reservations() if one.name.startswith("pw_")]


def test_nodes_that_nobody_has_are_refused(stage: Stage) -> None:
    result = create(stage, "-N", "3")
    assert result.exit_code == 4
    assert "not enough free nodes: asked 3 for the whole time, free 2" in result.output
    assert "two ways to say one thing" in create(stage, "-N", "1", "-G", "4").output
    both = run(stage, "check", "-z", "rack[01-02]", "-w", "5kW", "-d", "60", "-N", "1")
    assert "make a reservation for each zone" in both.output
    gpus = run(stage, "check", "-z", "any:rack[01-02]", "-w", "5kW", "-d", "60", "-G", "5", "--json")
    assert json.loads(gpus.output)["reservation"]["nodes"] == 2
