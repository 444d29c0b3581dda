"""spower place: an operator's override, its rights and its line in the audit log."""

import json
import os

from click.testing import Result

from tests.cli.conftest import run
from tests.cli.stage import Stage, play, short_directory
from tests.cli.test_schemas import faults


def spower(stage: Stage, *args: str) -> Result:
    return run(*args, "--socket", str(stage.socket))


def test_a_held_job_is_placed_and_written_down(stage: Stage) -> None:
    play(stage)
    waits = str(stage.sbatch("power:est=2kW,max=2kW,headroom=20kW,zones=rack01"))
    stage.round()
    result = spower(stage, "place", waits, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert faults("jobs", found) == []
    assert found["jobs"][0]["state"] in ("binding", "admitted")
    (line,) = json.loads(spower(stage, "audit", waits, "-a", "place", "--json").output)["lines"]
    assert (line["actor"], line["rule"], line["cause"]) == (os.geteuid(), "override", "spower place")


def test_what_is_in_its_way_is_told(stage: Stage) -> None:
    waits = play(stage)["waits"]
    result = spower(stage, "place", waits)
    assert result.exit_code == 2
    assert "cannot be placed within physics: rack01: zone rack01 is short of power: asked 24kW" in result.output
    assert "may not go to zone rack03: its partition" in spower(stage, "place", waits, "-z", "rack03").output
    assert "there is no zone rack99; there are rack01" in spower(stage, "place", waits, "-z", "rack99").output
    assert "no job 4711 is known" in spower(stage, "place", "4711").output


def test_users_place_nothing() -> None:
    with short_directory() as directory, Stage(directory, masters=frozenset()).open() as stage:
        result = spower(stage, "place", play(stage)["waits"])
        assert result.exit_code == 1
        assert "only root, SlurmUser and Slurm's operators and administrators may place a job" in result.output


def test_there_is_nothing_to_place_while_nothing_is_held(stage: Stage) -> None:
    waits = play(stage)["waits"]
    spower(stage, "mode", "observe")
    assert "the mode is observe: jobs are not held for power" in spower(stage, "place", waits).output


def test_a_job_is_protected_until_it_no_longer_is(stage: Stage) -> None:
    runs = play(stage)["runs"]
    result = spower(stage, "protect", runs, "--json")
    assert result.exit_code == 0, result.output
    assert faults("jobs", json.loads(result.output)) == []
    entry = stage.desk.book.of_job(int(runs))
    assert entry is not None
    assert stage.desk.preempting.protected == {entry.token}
    stage.desk.preempting.protected.clear()
    stage.rounds.preemptions.load(stage.store)  # as after a restart
    assert stage.desk.preempting.protected == {entry.token}
    spower(stage, "protect", runs, "--off")
    assert stage.desk.preempting.protected == set()
    lines = json.loads(spower(stage, "audit", runs, "-a", "protect,unprotect", "--json").output)["lines"]
    assert [(line["action"], line["rule"], line["cause"]) for line in lines] == [
        ("protect", "override", "spower protect"),
        ("unprotect", "override", "spower protect --off"),
    ]


def test_users_protect_nothing() -> None:
    with short_directory() as directory, Stage(directory, masters=frozenset()).open() as stage:
        result = spower(stage, "protect", play(stage)["runs"])
        assert result.exit_code == 1
        assert "may protect a job by hand" in result.output
        assert stage.desk.preempting.protected == set()
