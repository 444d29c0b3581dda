"""zones, jobs, explain, report, audit and health, each in every form, asked of a real daemon's desk."""

import getpass
import json
from typing import Any

import pytest

from slurm_power.ports import Decision
from tests.cli.conftest import Scene, run
from tests.cli.stage import ALICE, Stage


def as_json(scene: Scene, *args: str) -> Any:
    result = scene.spower(*args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def lines(scene: Scene, *args: str) -> list[str]:
    result = scene.spower(*args)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


ZONES = """\
ZONE    LANE   LIMIT  USABLE  BASELINE  COMMITTED  RESERVED   SLURM  HEADROOM  BURST  JOBS
rack01  hot     30kW    27kW       1kW     19.5kW        0W  18.5kW     7.5kW  1.5kW     1
rack02  mixed   30kW    27kW       1kW        1kW        0W      0W      26kW     0W     0
rack03  cold    20kW    18kW        0W         0W        0W      0W      18kW     0W     0

FEED   SIDE  LIMIT  USABLE  BASELINE  COMMITTED  SLURM  HEADROOM  BURST
loop   -      80kW    80kW       1kW     19.5kW      -    60.5kW  1.5kW
ups-a  A      62kW    62kW       2kW     20.5kW      -    41.5kW  1.5kW
ups-b  B      60kW    60kW       2kW     20.5kW      -    39.5kW  1.5kW
"""


def test_zones_and_then_feeds_with_what_slurm_counts(scene: Scene) -> None:
    assert scene.spower("zones").output == ZONES


def test_zones_without_headers(scene: Scene) -> None:
    found = lines(scene, "zones", "-h")
    assert [line.split()[0] for line in found] == ["rack01", "rack02", "rack03", "loop", "ups-a", "ups-b"]


def test_zones_for_programs(scene: Scene) -> None:
    header, *rows = (line.split("|") for line in lines(scene, "zones", "-P"))
    assert all(len(row) == len(header) for row in rows)
    first = dict(zip(header, rows[0], strict=True))
    assert {
        name: first[name] for name in ("KIND", "NAME", "LIMIT_W", "COMMITTED_W", "LICENSE_USED", "JOBS")
    } == {
        "KIND": "zone",
        "NAME": "rack01",
        "LIMIT_W": "30000",
        "COMMITTED_W": "19500",
        "LICENSE_USED": "18500",
        "JOBS": "1",
    }
    assert [row[0] for row in rows] == ["zone", "zone", "zone", "cooling", "feed", "feed"]
    assert first["MEASURED_W"] == ""


def test_chosen_columns_hold_for_people_and_programs(scene: Scene) -> None:
    assert lines(scene, "zones", "-o", "name,limit", "rack03") == ["NAME    LIMIT", "rack03   20kW"]
    assert lines(scene, "zones", "-P", "-o", "name,limit", "rack03") == ["NAME|LIMIT_W", "rack03|20000"]
    assert lines(scene, "zones", "-hP", "--format=limit_w", "rack03") == ["20000"]


@pytest.mark.parametrize(
    ("asked", "zones", "feeds"),
    [
        (["rack01"], ["rack01"], ["loop", "ups-a", "ups-b"]),
        (["rack[02-03]"], ["rack02", "rack03"], ["ups-a", "ups-b"]),
        (["rack03"], ["rack03"], []),
        (["rack03,rack01"], ["rack01", "rack03"], ["loop", "ups-a", "ups-b"]),
        (["rack03", "loop"], ["rack03"], ["loop"]),
        (["ups-a"], [], ["ups-a"]),
    ],
)
def test_hostlists_choose_zones_with_the_feeds_above_them(
    scene: Scene, asked: list[str], zones: list[str], feeds: list[str]
) -> None:
    found = as_json(scene, "zones", *asked)
    assert [row["name"] for row in found["zones"]] == zones
    assert [row["name"] for row in found["feeds"]] == feeds


@pytest.mark.parametrize("bad", ["rack[01-", "rack]", "rack[a-b]", "", "rack[0-999999999]", "@all"])
def test_a_hostlist_that_cannot_be_read(scene: Scene, bad: str) -> None:
    result = scene.spower("zones", bad)
    assert result.exit_code == 2
    assert result.output == f"spower: '{bad}' is not a hostlist; write rack[01-04,07] or rack01,rack02\n"


def test_a_zone_that_there_is_not(scene: Scene) -> None:
    result = scene.spower("zones", "rack[03-04]")
    assert result.exit_code == 2
    assert (
        "there is no zone or feed rack04; there are rack01, rack02, rack03, loop, ups-a, ups-b"
        in result.output
    )


def test_watts_are_integers_in_json(scene: Scene) -> None:
    zone = as_json(scene, "zones")["zones"][0]
    watts = {name: value for name, value in zone.items() if name.endswith("_w")}
    assert watts == {
        "limit_w": 30_000,
        "usable_w": 27_000,
        "baseline_w": 1_000,
        "committed_w": 19_500,
        "reserved_w": 0,
        "measured_w": None,
        "stray_w": 0,
        "over_w": 0,
        "headroom_w": 7_500,
        "burst_w": 1_500,
        "room_w": 7_500,
    }


def test_jobs_of_everybody(scene: Scene) -> None:
    header, *rows = lines(scene, "jobs")
    assert " ".join(header.split()) == "JOB USER ACCOUNT NAME STATE TIER POWER ZONES EST MAX NOTE"
    runs, waits, held = (row.split() for row in rows)
    assert runs == [
        scene.jobs["runs"],
        "alice",
        "research",
        "train",
        "running",
        "gold",
        "reserved",
        "rack01",
        "18.5kW",
        "20kW",
        "-",
    ]
    assert waits[4:] == ["waiting", "silver", "-", "-", "24kW", "26kW", "-"]
    assert held[4] == "parked"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["-t", "running"], ["runs"]),
        (["--states", "Parked,waiting"], ["waits", "held"]),
        (["-z", "rack[01-02]"], ["runs"]),
        (["-z", "rack03"], []),
        (["-u", str(ALICE)], ["runs", "waits", "held"]),
        (["-u", "4242"], []),
        (["-u", getpass.getuser()], []),
        (["--me"], []),
    ],
)
def test_jobs_chosen(scene: Scene, options: list[str], found: list[str]) -> None:
    rows = as_json(scene, "jobs", *options)["jobs"]
    assert [row["job"] for row in rows] == [scene.jobs[name] for name in found]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-t", "runing"], "there is no state 'runing'; there are parked, waiting"),
        (["-u", "no-such-user"], "there is no user 'no-such-user'"),
        (["-z", "rack["], "'rack[' is not a hostlist"),
        (["--me", "-u", str(ALICE)], "--me and --user"),
        (["extra"], "unexpected extra argument"),
    ],
)
def test_jobs_asked_for_wrongly(scene: Scene, options: list[str], told: str) -> None:
    result = scene.spower("jobs", *options)
    assert result.exit_code == 2
    assert told in result.output


def test_explain_says_one_sentence_first_and_then_the_numbers(scene: Scene) -> None:
    found = lines(scene, "explain", scene.jobs["waits"])
    why = "zone rack01 is short of power: asked 24kW, free 7.5kW, short by 16.5kW"
    assert found[0].startswith(f"Job {scene.jobs['waits']} waits because {why}; earliest start ")
    assert found[0].endswith(".")
    assert found[1] == ""
    assert "verdict         hold" in found
    assert "est             24kW" in found
    reason = next(line for line in found if line.startswith("zone_power"))
    assert reason.split()[:5] == ["zone_power", "rack01", "24kW", "7.5kW", "16.5kW"]
    assert any(line.startswith("rack01") and f"when job {scene.jobs['runs']} ends" in line for line in found)


def test_explain_of_a_running_job(scene: Scene) -> None:
    found = lines(scene, "explain", scene.jobs["runs"])
    assert found[0] == f"Job {scene.jobs['runs']} is running in rack01 on reserved power."
    assert not any(line.startswith(("REASON", "FITS")) for line in found)


def test_explain_for_programs_is_one_row(scene: Scene) -> None:
    header, row = (line.split("|") for line in lines(scene, "explain", scene.jobs["waits"], "-P"))
    found = dict(zip(header, row, strict=True))
    assert (found["VERDICT"], found["EST_W"], found["REASONS"]) == ("hold", "24000", "zone_power")
    assert lines(scene, "explain", scene.jobs["held"], "-hP", "-o", "reasons") == ["user_hold"]


def test_explain_of_a_job_that_nobody_knows(scene: Scene) -> None:
    result = scene.spower("explain", "4711")
    assert result.exit_code == 2
    assert result.output == "spower: no job 4711 is known; spower jobs lists those that are\n"


def fields(scene: Scene, *args: str) -> list[dict[str, str]]:
    """What a command says for programs."""
    header, *rows = (line.split("|") for line in lines(scene, *args, "-P"))
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_audit_shows_what_was_decided_why_and_by_which_numbers(scene: Scene) -> None:
    header, *found = lines(scene, "audit", scene.jobs["waits"])
    assert header.split() == [
        "AT", "JOB", "USER", "ACCOUNT", "RESERVATION", "ACTION", "ZONES", "CAUSE", "RULE", "NUMBERS", "ACTOR", "MODE",
    ]  # fmt: skip
    (line,) = found
    assert line.split()[1:] == [
        scene.jobs["waits"], str(ALICE), "research", "-", "hold", "-", "submission", "zone_power",
        "est", "24kW,", "max", "26kW,", "asked", "24kW,", "free", "7.5kW,", "short", "16.5kW", "daemon", "enforce",
    ]  # fmt: skip


def test_audit_for_programs(scene: Scene) -> None:
    (line,) = fields(scene, "audit", scene.jobs["waits"])
    assert line["NUMBERS"] == "est_w=24000,max_w=26000,asked_w=24000,free_w=7500,short_w=16500"
    assert (line["UID"], line["ACTOR"], line["RULE"]) == (str(ALICE), "daemon", "zone_power")
    assert line["TEXT"] == "zone rack01 is short of power: asked 24kW, free 7.5kW, short by 16.5kW"


def test_audit_for_a_log_system(scene: Scene) -> None:
    found = [json.loads(line) for line in lines(scene, "audit", "--json-lines")]
    assert found == [{"schema": 1, **line} for line in as_json(scene, "audit")["lines"]]
    assert len(found) >= 3
    assert lines(scene, "audit", "4711", "--json-lines") == []


def test_audit_of_what_is_wanted(scene: Scene) -> None:
    everything = fields(scene, "audit")
    holds = [line for line in everything if line["ACTION"] == "hold"]
    assert fields(scene, "audit", "-a", "hold,deny") == fields(scene, "audit", "--action", " hold") == holds
    in_rack01 = [line for line in everything if line["ZONES"] == "rack01" or "zone rack01" in line["TEXT"]]
    assert 2 <= len(in_rack01) < len(everything)
    assert fields(scene, "audit", "--zone", "rack01") == in_rack01
    assert fields(scene, "audit", "-u", str(ALICE), "-A", "research") == everything
    assert fields(scene, "audit", "-n", "2") == everything[-2:]
    assert fields(scene, "audit", "-S", "now-1hour", "-E", "now+1hour") == everything
    for words in (["-S", "now+1hour"], ["-E", "now-1hour"], ["-R", "nightly"], ["-A", "ops"], ["-u", "0"], ["4711"]):
        assert lines(scene, "audit", *words) == ["No lines."]
    assert lines(scene, "audit", "-R", "nightly", "-h") == ["No lines."]


def test_audit_tells_who_changed_the_mode_and_lines_of_old_versions(stage: Stage) -> None:
    env = {"SLURM_POWER_SOCKET": str(stage.socket)}
    assert run("mode", "observe", env=env).exit_code == 0
    reason = {"code": "over", "subject": "rack03", "asked_w": 5, "free_w": 1, "text": "rack03 lacks 4W for it"}
    line = Decision(1, "found-running-over", "enforce", job="7", uid=4711, zones=("rack03",), reasons=(reason,))
    stage.store.record([line])
    old, changed = run("audit", "-h", "-o", "at,job,user,actor,cause,rule,numbers", env=env).output.splitlines()
    assert old.split() == ["1970-01-01T00:00:01Z", "7", "4711", "daemon", "-", "-", "-"]
    assert " ".join(changed.split()[1:]) == f"- {getpass.getuser()} {getpass.getuser()} " + (
        "spower mode: observe after enforce mode -"
    )


def test_report_counts_and_lists(scene: Scene) -> None:
    found = lines(scene, "report")
    assert found[0].split() == ["ACTION", "TIMES"]
    assert ["hold", "2"] in [line.split() for line in found]
    assert ["zone_power", "1"] in [line.split() for line in found]
    assert any("zone rack01 is short of power: asked 24kW" in line for line in found)


def test_report_for_programs_is_its_lines(scene: Scene) -> None:
    actions = [line["ACTION"] for line in fields(scene, "report")]
    assert actions.count("hold") == 2
    assert "admit" in actions


def test_report_of_what_was_not_done_is_empty_while_the_mode_acts(scene: Scene) -> None:
    assert lines(scene, "report", "--would") == ["No decisions."]
    assert as_json(scene, "report", "--would")["counts"] == {}


def test_report_since_a_time(scene: Scene) -> None:
    assert as_json(scene, "report", "--since", "now+1minutes")["decisions"] == []
    assert len(as_json(scene, "report", "--since", "now-1hour")["decisions"]) >= 3
    assert len(as_json(scene, "report", "--limit", "1")["decisions"]) == 1


@pytest.mark.parametrize("since", ["yesterdayish", "now-", "now-5parsecs", "2026-13-01"])
def test_report_since_what_is_no_time(scene: Scene, since: str) -> None:
    result = scene.spower("report", "--since", since)
    assert result.exit_code == 2
    assert f"'{since}' is not a time; write 2026-04-20T18:00:00Z, now-2hours, today or 24h" in result.output


def test_health(scene: Scene) -> None:
    found = lines(scene, "health")
    assert found[0] == "The daemon is well."
    assert "mode            enforce" in found
    assert lines(scene, "health", "-P", "-o", "mode,jobs,failures") == ["MODE|JOBS|FAILURES", "enforce|3|0"]
