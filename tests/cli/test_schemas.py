"""docs/json against real answers: each is valid, and each of its fields is described."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from slurm_power.cli.sreservation import sreservation
from slurm_power.core.calendar import Kind
from slurm_power.core.estimate import EstFrom
from slurm_power.core.lifecycle import State
from slurm_power.core.policy import Mode
from slurm_power.core.reasons import Code, Cure
from slurm_power.core.reservation import ReservationState, WhenShort
from slurm_power.core.topology import FeedKind, Lane, Redundancy
from slurm_power.ports import Decision
from slurm_power.sandbox.parts import Part
from slurm_power.sandbox.state import State as SandboxState
from slurm_power.sandbox.state import User, save
from slurm_power.service.reserving import Answer
from tests.cli.conftest import Scene, run
from tests.cli.stage import ALICE, SITE, Stage

DIRECTORY = Path(__file__).parents[2] / "docs" / "json"
SCHEMAS = {path.name: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.schema.json"))}


def strict(schema: Any) -> Any:
    """The same, where a field that is not described is an error."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = (
        {"additionalProperties": False} if schema.get("type") == "object" and "properties" in schema else {}
    )
    return {**closed, **{key: strict(value) for key, value in schema.items()}}


def faults(name: str, answer: object) -> list[str]:
    """What is wrong with an answer."""
    resources = [(file, Resource.from_contents(strict(schema))) for file, schema in SCHEMAS.items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    validator = Draft202012Validator(strict(SCHEMAS[f"{name}.schema.json"]), registry=registry)
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(answer)
    ]


@pytest.mark.parametrize("file", SCHEMAS)
def test_schemas_are_schemas(file: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[file])
    assert SCHEMAS[file]["$schema"] == "https://json-schema.org/draft/2020-12/schema"


ANSWERS = [
    ("zones", ["zones"]),
    ("zones", ["zones", "rack02"]),
    ("jobs", ["jobs"]),
    ("explain", ["explain", "{runs}"]),
    ("explain", ["explain", "{waits}"]),
    ("explain", ["explain", "{held}"]),
    ("check", ["check", "--comment", "power:est=5kW"]),
    ("check", ["check", "--comment", "power:est=24kW,zones=rack01", "-q", "gold"]),
    ("check", ["check", "--comment", "power:est=28kW"]),
    ("check", ["check", "--comment", "power:est=?"]),
    ("check", ["check", "--comment", "power:class=overnight,est=1kW"]),
    ("check", ["check", "-w", "elsewhere"]),
    ("report", ["report"]),
    ("report", ["report", "--would"]),
    ("audit", ["audit"]),
    ("audit", ["audit", "{waits}"]),
    ("audit", ["audit", "4711"]),
    ("checkpointed", ["checkpointed", "{runs}"]),
    ("mode", ["mode"]),
    ("profiles", ["profiles"]),
    ("health", ["health"]),
]


@pytest.mark.parametrize(("name", "words"), ANSWERS)
def test_answers_of_the_daemon(scene: Scene, name: str, words: list[str]) -> None:
    answer = json.loads(scene.spower(*(word.format(**scene.jobs) for word in words), "--json").stdout)
    assert faults(name, answer) == []


def test_each_line_for_a_log_system(scene: Scene) -> None:
    found = [json.loads(line) for line in scene.spower("audit", "--json-lines").stdout.splitlines()]
    assert len(found) >= 3
    assert [faults("audit-line", line) for line in found] == [[]] * len(found)
    del found[0]["schema"]
    assert faults("audit-line", found[0]) == [": 'schema' is a required property"]


def test_every_kind_of_line_is_described(stage: Stage) -> None:
    """Also those that the daemon writes of starts past it, of refusals of Slurm, of the mode and of old versions."""
    stage.sbatch("power:est=24kW,max=24kW,zones=rack01")
    stage.sbatch("power:est=24kW,max=24kW,zones=rack01")
    stage.sbatch("power:est=900kW")
    socket = ("--json", "--socket", str(stage.socket))
    assert run("mode", "advise", *socket).exit_code == 0
    stage.slurm.submit(uid=ALICE, node_count=2, cpus=64, exclusive=True, comment="power:est=40kW", time_limit_s=3_600)
    stage.round()
    stage.round()
    stage.store.record([Decision(1, "end", "enforce", job="7", token="7", uid=1, account="a")])
    answer = json.loads(run("audit", *socket).stdout)
    actions = {line["action"] for line in answer["lines"]}
    assert {"hold", "reject", "mode", "found-running-over", "end"} <= actions
    assert faults("audit", answer) == []
    assert faults("report", json.loads(run("report", *socket).stdout)) == []


def test_answers_about_reservations(stage: Stage) -> None:
    """Of one in each state that a command can bring it to; with a job in it, in part, refused, and planned."""

    def answer(name: str, *words: str) -> Any:
        env = {"SLURM_POWER_SOCKET": str(stage.socket)}
        found = json.loads(CliRunner().invoke(sreservation, [*words, "--json"], env=env).stdout)
        assert faults(name, found) == []
        return found

    here = ("--zones=rack03", "--duration=1h", "--accounts=research")
    assert answer("reservation", "create", "spring", "--watts=6kW", *here)["verdict"] == "fits"
    part = ("--watts=9kW", "--min-watts=1kW", "--burst=1kW:2m")
    assert answer("reservation", "create", "part", *part, *here)["verdict"] == "fits"
    assert answer("reservation", "create", "no", "--watts=10kW", *here)["alternatives"]
    assert answer("reservation", "check", "--watts=40kW", *here)["verdict"] == "never"
    assert answer("reservation", "update", "part", "--watts=2kW", "--dry-run")["commands"]
    stage.round()
    stage.sbatch("power:est=5kW,max=5kW,reservation=spring")
    stage.round()
    shown = answer("reservations", "show")["reservations"]
    assert [(one["state"], bool(one["jobs"])) for one in shown] == [("active", False), ("active", True)]
    assert answer("reservation", "cancel", "part")["verdict"] == "done"
    assert [one["state"] for one in answer("reservations", "show", "--all")["reservations"]] == [
        "refused", "cancelled", "active",
    ]  # fmt: skip
    answer("reservations", "show", "spring")
    audit = run("audit", "-R", "spring", "--json", "--socket", str(stage.socket)).stdout
    assert faults("audit", json.loads(audit)) == []


def test_answers_in_the_modes_that_do_not_act(stage: Stage) -> None:
    socket = ("--json", "--socket", str(stage.socket))
    assert faults("mode", json.loads(run("mode", "observe", *socket).stdout)) == []
    job = stage.sbatch("power:est=24kW,zones=rack01")
    stage.sbatch("power:est=900kW")
    stage.round()
    for name, *words in (("report", "--would"), ("explain", str(job)), ("jobs",), ("zones",)):
        assert faults(name, json.loads(run(name, *words, *socket).stdout)) == []


LOCAL = [
    ("config-check", ["config", "check"]),
    ("config-show", ["config", "show"]),
    ("render-slurm", ["render", "slurm"]),
    ("render-sacctmgr", ["render", "sacctmgr"]),
]


@pytest.mark.parametrize(("name", "words"), LOCAL)
@pytest.mark.parametrize("text", [SITE, SITE.replace("limit: 62kW", "limit: 20kW"), None])
def test_answers_about_site_files(tmp_path: Path, name: str, words: list[str], text: str | None) -> None:
    path = tmp_path / "site.yaml"
    example = Path(__file__).parents[2] / "etc" / "slurm_power.yaml"
    path.write_text(example.read_text() if text is None else text)
    assert faults(name, json.loads(run(*words, str(path), "--json").stdout)) == []


def test_answers_about_a_bad_site_file(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text("zones: {r: {nodes: a}}\nmode: what\n")
    for where in (path, tmp_path / "none"):
        answer = json.loads(run("config", "check", str(where), "--json").stdout)
        assert answer["ok"] is False
        assert faults("config-check", answer) == []


def test_the_reference() -> None:
    assert faults("config-reference", json.loads(run("config", "reference", "--json").stdout)) == []


def test_the_state_of_a_sandbox(tmp_path: Path) -> None:
    parts = {
        name: Part(name, ("true",), "/log", "/log", {}, "/", node=name.startswith("gpu"))
        for name in ("slurmctld", "gpu001")
    }
    user = User("alice", "research", ("gold", "bronze"), "bronze")
    save(
        SandboxState(tmp_path, "sandbox", slurm_version="22.05.8", complete=True, users=(user,), parts=parts)
    )
    answer = json.loads(run("sandbox", "status", "--dir", str(tmp_path), "--json").stdout)
    assert answer["pids"] == {"slurmctld": None, "slurmd": {"gpu001": None}}
    assert faults("sandbox-status", answer) == []


def enumerated(name: str) -> set[str | None]:
    return set(SCHEMAS["common.schema.json"]["$defs"][name]["enum"])


def test_enumerations_are_those_of_the_code() -> None:
    cures = SCHEMAS["common.schema.json"]["$defs"]["help"]["properties"]["cure"]["enum"]
    assert enumerated("code") == set(map(str, Code))
    assert set(cures) == set(map(str, Cure))
    assert enumerated("state") == set(map(str, State))
    assert enumerated("mode") == set(map(str, Mode))
    assert enumerated("est_from") == {*map(str, EstFrom), None}
    assert enumerated("lane") == set(map(str, Lane))
    assert enumerated("redundancy") == set(map(str, Redundancy))
    assert enumerated("feed_kind") == set(map(str, FeedKind))
    assert enumerated("reservation_state") == set(map(str, ReservationState))
    assert enumerated("policy") == set(map(str, WhenShort))
    assert enumerated("offer") == {*map(str, Answer), "done"}
    assert enumerated("alternative_kind") == set(map(str, Kind))


BINDING = {
    (
        "zones",
        "zones",
    ): "name limit_w usable_w baseline_w committed_w reserved_w measured_w headroom_w lane thermal stale",
    ("zones", "feeds"): "name side limit_w committed_w headroom_w",
    ("reservation", ""): "verdict reservation reasons alternatives commands",
    ("explain", ""): "job_id verdict tier power_class zones est_w max_w reasons earliest_start helps",
}


@pytest.mark.parametrize("place", BINDING)
def test_fields_that_others_rely_on_are_required(place: tuple[str, str]) -> None:
    name, part = place
    schema = SCHEMAS[f"{name}.schema.json"]
    found = schema["properties"][part]["items"] if part else schema
    assert set(BINDING[place].split()) <= set(found["required"])


def references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"]
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def test_nothing_is_defined_in_vain() -> None:
    used = {reference.rpartition("/")[2] for schema in SCHEMAS.values() for reference in references(schema)}
    assert used == set(SCHEMAS["common.schema.json"]["$defs"])


def test_a_field_that_nobody_described_is_found(scene: Scene) -> None:
    answer = json.loads(scene.spower("jobs", "--json").stdout)
    answer["jobs"][0]["surprise"] = 1
    del answer["jobs"][1]["tier"]
    assert len(faults("jobs", answer)) == 2
