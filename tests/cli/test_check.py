"""spower check: what it asks, what it says, and what it ends with."""

import json

import pytest

from slurm_power.cli.check import check, describe, exit_code
from tests.cli.conftest import Scene, run
from tests.cli.test_schemas import faults

FITS = ["check", "--comment", "power:est=5kW", "-t", "1:00:00", "-q", "bronze"]


@pytest.mark.parametrize(
    ("options", "code", "verdict", "sentence"),
    [
        (
            ["--comment", "power:est=5kW", "-t", "60"],
            0,
            "admit",
            "Such a job fits now in rack03 with 5kW (at most 6.5kW)",
        ),
        (
            ["--comment", "power:est=24kW,max=26kW,zones=rack01", "-q", "silver", "-t", "60"],
            3,
            "hold",
            "Such a job would wait because zone rack01 is short of power: asked 24kW, free 7.5kW",
        ),
        (
            ["--comment", "power:est=28kW,zones=rack01"],
            4,
            "reject",
            "Such a job could never run because zone rack01",
        ),
        (
            ["--comment", "power:est=5kW,tier=gold", "-q", "bronze"],
            4,
            "reject",
            "Such a job could never run because --qos",
        ),
        (
            ["--comment", "power:est=5kX"],
            2,
            "reject",
            "Such a job could never run because est: '5kX' is not a power",
        ),
        (["--comment", "power:class=nosuch"], 2, "reject", "Such a job could never run because class=nosuch"),
        (["-N", "1"], 0, "admit", "Such a job fits now"),
    ],
)
def test_exit_codes_follow_the_verdict(
    scene: Scene, options: list[str], code: int, verdict: str, sentence: str
) -> None:
    people, programs = scene.spower("check", *options), scene.spower("check", *options, "--json")
    assert (people.exit_code, programs.exit_code) == (code, code), people.output
    assert people.output.startswith(sentence)
    assert json.loads(programs.output)["verdict"] == verdict


def test_check_shows_what_the_job_would_get(scene: Scene) -> None:
    found = scene.spower(*FITS).output.splitlines()
    assert found[2:] == [
        "verdict         admit",
        "tier            bronze",
        "power           interruptible",
        "zones           rack03",
        "est             5kW",
        "max             6.5kW",
        "est from        declared",
    ]
    assert scene.spower(*FITS, "-hP", "-o", "verdict,zones,est").output == "admit|rack03|5000\n"


def test_check_gives_advice(scene: Scene) -> None:
    result = scene.spower("check", "--comment", "power:est=2kW,max=9kW", "-t", "1")
    assert result.exit_code == 0
    assert "advice          max 9kW is more than twice est 2kW" in result.output


def test_check_claims_nothing(scene: Scene) -> None:
    before = scene.spower("zones", "--json").output
    scene.spower(*FITS)
    assert scene.spower("zones", "--json").output == before


def test_check_without_a_daemon() -> None:
    result = run(*FITS, "--socket", "/nowhere/control.sock")
    assert result.exit_code == 5
    assert result.output.startswith("spower: /nowhere/control.sock: there is no such socket")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-N", "many"], "--nodes=many is not a number of nodes; write 4 or 2-4"),
        (["-N", "0"], "--nodes=0 is not a number of nodes"),
        (["-N", "0-4"], "--nodes=0-4 is not a number of nodes"),
        (["-N", "4-2"], "--nodes=4-2 is not a number of nodes"),
        (["-G", "lots"], "--gpus=lots is not a number of GPUs; write 8 or h100:8"),
        (["--gpus-per-node", "gpu:"], "--gpus-per-node=gpu: is not"),
        (["-c", "0"], "Invalid value for '-c'"),
        (["-t", "soon"], "'soon' is not a duration"),
        (["--nonsense"], "No such option"),
        (["-i", "5"], "No such option"),
    ],
)
def test_usage(options: list[str], told: str) -> None:
    result = run("check", *options)
    assert result.exit_code == 2
    assert told in result.output


GIVEN: dict[str, object] = dict.fromkeys(parameter.name or "" for parameter in check.params)
"""Every option as it is when left out."""


@pytest.mark.parametrize(
    ("given", "job"),
    [
        ({}, {}),
        (
            {"comment": "power:est=5kW", "partition": "main"},
            {"comment": "power:est=5kW", "partition": "main"},
        ),
        ({"nodes": "4"}, {"min_nodes": 4, "max_nodes": 4}),
        ({"nodes": "2-4"}, {"min_nodes": 2, "max_nodes": 4}),
        ({"gpus": "8"}, {"tres_per_job": "gres:gpu:8"}),
        ({"gpus": "h100:8,a100:2"}, {"tres_per_job": "gres:gpu:h100:8,gres:gpu:a100:2"}),
        ({"gpus_per_node": "4"}, {"tres_per_node": "gres:gpu:4"}),
        ({"ntasks": 4, "cpus_per_task": 8}, {"num_tasks": 4, "cpus_per_task": 8}),
        ({"limit": "90"}, {"time_limit": 90}),
        ({"limit": "1:00:01"}, {"time_limit": 61}),
        ({"limit": "1-00"}, {"time_limit": 1_440}),
        ({"limit": "unlimited"}, {"time_limit": 4_294_967_295}),
        ({"limit": "0"}, {"time_limit": 4_294_967_295}),
        ({"exclusive": True}, {"shared": 0}),
        ({"exclusive": False}, {}),
        ({"qos": "gold", "account": "ops"}, {"qos": "gold", "account": "ops"}),
        ({"array": "0-9%2", "constraint": "h100"}, {"array_inx": "0-9%2", "features": "h100"}),
        ({"nodelist": "n[1-2]", "exclude": "n3"}, {"req_nodes": "n[1-2]", "exc_nodes": "n3"}),
    ],
)
def test_the_job_is_described_as_the_submit_hook_would(
    given: dict[str, object], job: dict[str, object]
) -> None:
    assert describe({**GIVEN, **given}) == job


def test_only_a_request_that_cannot_be_read_is_the_callers_mistake() -> None:
    assert exit_code({"verdict": "reject", "reasons": [{"code": "envelope"}]}) == 2
    assert exit_code({"verdict": "reject", "reasons": [{"code": "zone_power"}]}) == 4
    assert exit_code({"verdict": "reject", "reasons": [{"code": "tier"}]}) == 4


AT = ["check", "--comment", "power:est=24kW,max=26kW,zones=rack01", "-q", "silver", "-t", "60"]


@pytest.mark.parametrize(("at", "code", "word"), [("now+30minutes", 3, "wait"), ("now+3hours", 0, "fits")])
def test_a_later_start(scene: Scene, at: str, code: int, word: str) -> None:
    """The job that has rack01 ends within the hour, and the one that waits for it an hour later."""
    result = scene.spower(*AT, "--at", at)
    assert result.exit_code == code, result.output
    sentence, _, *facts = result.output.splitlines()
    assert sentence.startswith("Such a job ")
    assert f" {word} " in sentence
    (shown,) = [fact.split()[1] for fact in facts if fact.startswith("at ")]
    assert f" at {shown} " in sentence
    assert any(fact.startswith("counted ") and "until its time limit ends" in fact for fact in facts)
    found = json.loads(scene.spower(*AT, "--at", at, "--json").output)
    assert found["at"].endswith("Z")
    assert faults("check", found) == []


def test_a_start_now_is_asked_as_ever(scene: Scene) -> None:
    result = scene.spower(*AT, "--at", "now")
    assert result.exit_code == 3
    assert "counted" not in result.output


@pytest.mark.parametrize("at", ["", "yesterday", "now+", "now+2fortnights", "2026-13-01", "24h", "24:00"])
def test_a_time_that_is_none(at: str) -> None:
    result = run(*AT, "--at", at)
    assert result.exit_code == 2
    assert result.output == f"spower: '{at}' is not a time; write 2026-04-20T18:00:00Z or now+2hours\n"


@pytest.mark.parametrize("at", ["2020-01-01", "2020-01-01T00:00:00Z"])
def test_a_time_that_has_been(at: str) -> None:
    result = run(*AT, "--at", at)
    assert result.exit_code == 2
    assert result.output == f"spower: '{at}' is in the past; write a time to come, such as now+2hours\n"
