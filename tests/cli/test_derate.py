"""spower derate: what is cut, planned, named beforehand, refused, written down and kept over a restart."""

import json
import os
import time
from typing import Any

import pytest
from click.testing import Result

from slurm_power.core.errors import StoreError
from slurm_power.daemon import derating
from tests.cli.conftest import run
from tests.cli.stage import Stage, play, short_directory
from tests.cli.test_schemas import faults


def derate(stage: Stage, *args: str) -> Result:
    return run("derate", *args, "--socket", str(stage.socket))


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    assert faults("derate", found) == []
    return found


def limit(stage: Stage, zone: str) -> int:
    return stage.desk.ledger.meters[zone].limit_w


def test_a_zone_carries_less_until_it_is_cleared(stage: Stage) -> None:
    declared_w = limit(stage, "rack01")
    (row,) = told(derate(stage, "set", "rack01", "--percent=25", "--reason=chiller 2 is down", "--json"))["derates"]
    assert (row["limit_w"], row["declared_w"], row["active"], row["end"]) == (
        int(declared_w * 0.75), declared_w, True, None,
    )  # fmt: skip
    assert limit(stage, "rack01") == int(declared_w * 0.75)
    derate(stage, "set", "rack01", "--limit=10kW", "--for=1h", "--reason=hot")
    assert limit(stage, "rack01") == 10_000
    assert len(told(derate(stage, "list", "--json"))["derates"]) == 2
    assert "chiller 2 is down" in derate(stage, "list").output
    assert "Nothing derates rack01 any more." in derate(stage, "clear", "rack01").output
    assert limit(stage, "rack01") == declared_w
    assert "Nothing is derated." in derate(stage, "list").output
    lines = json.loads(run("audit", "-z", "rack01", "--json", "--socket", str(stage.socket)).output)["lines"]
    found = [(line["action"], line["actor"], line["rule"]) for line in lines if "derate" in line["action"]]
    assert found == [(action, os.geteuid(), "derate") for action in ("derate", "derate", *["derate-cleared"] * 2)]


def test_whoever_is_submitted_meanwhile_meets_it(stage: Stage) -> None:
    derate(stage, "set", "rack01", "--limit=10kW", "--reason=hot")
    waits = stage.sbatch("power:est=12kW,max=12kW,zones=rack01")
    stage.round()
    assert stage.desk.book.of_job(waits).state == "waiting"  # type: ignore[union-attr]
    derate(stage, "clear", "rack01")
    stage.round()
    assert stage.desk.book.of_job(waits).state in ("binding", "admitted")  # type: ignore[union-attr]


def test_one_to_come_is_planned_around(stage: Stage) -> None:
    result = derate(stage, "set", "rack01", "--percent=90", "--start=now+30minutes", "--for=1h", "--reason=grid")
    assert "carries" in result.output
    assert "from 20" in result.output
    assert limit(stage, "rack01") > 10_000
    waits = stage.sbatch("power:est=12kW,max=12kW,zones=rack01")  # of an hour
    stage.round()
    said = run("explain", str(waits), "--socket", str(stage.socket)).output
    assert "rack01 may carry less then" in said
    starts = stage.sbatch("power:est=12kW,max=12kW,zones=rack01", time_limit=20)
    assert stage.desk.book.of_job(starts) is None or stage.desk.book.of_job(starts).state != "waiting"  # type: ignore[union-attr]


def test_a_dry_run_names_whom_it_would_hit_and_changes_nothing(stage: Stage) -> None:
    jobs = play(stage)
    zone = next(iter(stage.desk.ledger.claims[stage.desk.book.of_job(int(jobs["runs"])).key].charges)).zone  # type: ignore[union-attr]
    before = limit(stage, zone)
    found = told(derate(stage, "set", zone, "--limit=5kW", "--reason=work on it", "--dry-run", "--json"))
    assert (found["jobs"], found["reservations"]) == ([], [])  # the one that runs is gold
    assert found["left_w"] > 0
    said = derate(stage, "set", zone, "--limit=5kW", "--reason=work on it", "--dry-run").output
    assert "would carry 5kW" in said
    assert "No job would have to give way." in said
    assert "would be too much still" in said
    assert derate(stage, "set", zone, "--limit", "5kW", "--dry-run").output == said  # nothing happens: no reason is due
    assert limit(stage, zone) == before
    assert told(derate(stage, "list", "--json"))["derates"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rack99", "--percent=5"], "there is no zone or feed rack99; spower zones lists them"),
        (["rack01"], "--limit=30kW or --percent=25, and not both"),
        (["rack01", "--percent=5", "--limit=1kW"], "--limit=30kW or --percent=25, and not both"),
        (["rack01", "--percent=0"], "more than 0, 100 at most, such as 25"),
        (["rack01", "--percent=101"], "more than 0, 100 at most, such as 25"),
        (["rack01", "--percent=1/0"], "more than 0, 100 at most, such as 25"),
        (["rack01", "--percent=1e999999999"], "more than 0, 100 at most, such as 25"),
        (["rack01", "--percent=much"], "more than 0, 100 at most, such as 25"),
        (["rack01", "--limit=900kW"], "that derates nothing"),
        (["rack01", "--limit=-5kW"], "is not"),
        (["rack01", "--percent=5", "--for=1h", "--until=now+2hours"], "and not by both"),
        (["rack01", "--percent=5", "--start=now+2hours", "--until=now+1hours"], "a derate ends after its start"),
    ],
)
def test_what_makes_no_sense_is_refused(stage: Stage, words: list[str], says: str) -> None:
    result = derate(stage, "set", *words, "--reason=x")
    assert result.exit_code != 0
    assert says in result.output
    assert list(stage.desk.derates) == []


def test_a_derate_takes_a_reason(stage: Stage) -> None:
    result = derate(stage, "set", "rack01", "--percent=5")
    assert (result.exit_code, list(stage.desk.derates)) == (2, [])
    assert 'say why: --reason="chiller 2 is down"; only --dry-run goes without' in result.output


def test_nothing_to_clear(stage: Stage) -> None:
    result = derate(stage, "clear", "rack01")
    assert result.exit_code == 2
    assert "nothing derates rack01" in result.output


def test_users_derate_nothing_and_see_all() -> None:
    with short_directory() as directory, Stage(directory, masters=frozenset()).open() as stage:
        result = derate(stage, "set", "rack01", "--percent=5", "--reason=x")
        assert result.exit_code == 1
        assert "only root, SlurmUser and Slurm's operators and administrators may derate" in result.output
        assert derate(stage, "list").exit_code == 0


def test_it_holds_over_a_restart_and_ends_in_its_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    declared_w = limit(stage, "rack01")
    derate(stage, "set", "rack01", "--percent=50", "--until", f"now+{2}", "--reason=short")
    stage.desk.derates.replace(())
    stage.desk.follow_derates()
    assert limit(stage, "rack01") == declared_w
    stage.rounds.derating.load(stage.store)
    assert limit(stage, "rack01") == declared_w // 2
    time.sleep(2.1)
    stage.round()
    assert limit(stage, "rack01") == declared_w
    assert "Nothing is derated." in derate(stage, "list").output
    monkeypatch.setattr(derating, "_SURE_S", 0)  # it waits, for the clock might be ahead for a moment
    stage.round()
    assert stage.writer.flush(10)
    assert stage.store.setting("derates") == "[]"
    lines = json.loads(run("audit", "-z", "rack01", "--json", "--socket", str(stage.socket)).output)["lines"]
    assert [line["action"] for line in lines if "derate" in line["action"]] == ["derate", "derate-ended"]


@pytest.mark.parametrize("text", ["{", "[1]", '[{"id": "x"}]'])
def test_what_cannot_be_read_is_told_at_the_start(stage: Stage, text: str) -> None:
    stage.store.set_setting("derates", text)
    with pytest.raises(StoreError, match="derates"):
        stage.rounds.derating.load(stage.store)
